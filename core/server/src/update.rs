use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::field::{Bare, ErrorList, Path};
use pinnace_api::kinds::metadata;
use pinnace_api::patch::Patch;
use pinnace_api::{ApiError, Draft, Object, Resource, Result};
use pinnace_client::{Annotations, Subresource, Target, Warnings, WriteOptions};
use pinnace_store::{CommitError, Expect, Transaction};

use crate::caller::Writing;
use crate::certificates;
use crate::create::{first, merge_owners, storage_error, warn};
use crate::patching::{apply_patch, check_patched};
use crate::server::WRITE_ATTEMPTS;
use crate::write::Write;

use crate::{AdmissionRequest, Operation, Server, User};

/// Kinds whose objects come to be when one that is not there is updated.
const MADE_BY_UPDATES: [&str; 10] = [
    "clusterrolebindings.rbac.authorization.k8s.io",
    "clusterroles.rbac.authorization.k8s.io",
    "endpoints",
    "events",
    "leases.coordination.k8s.io",
    "limitranges",
    "rolebindings.rbac.authorization.k8s.io",
    "roles.rbac.authorization.k8s.io",
    "runtimeclasses.node.k8s.io",
    "services",
];
/// Kinds whose objects are only updated by who says which version they have seen, as are all custom
/// ones.
const VERSIONED: [&str; 15] = [
    "apiservices.apiregistration.k8s.io",
    "csidrivers.storage.k8s.io",
    "csinodes.storage.k8s.io",
    "csistoragecapacities.storage.k8s.io",
    "customresourcedefinitions.apiextensions.k8s.io",
    "leases.coordination.k8s.io",
    "mutatingadmissionpolicies.admissionregistration.k8s.io",
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "poddisruptionbudgets.policy",
    "runtimeclasses.node.k8s.io",
    "validatingadmissionpolicies.admissionregistration.k8s.io",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "volumeattachments.storage.k8s.io",
];

impl Server {
    /// Whether an update of what is not there makes it.
    fn is_made_by(&self, target: &Target) -> bool {
        let table = target.resource.table();
        MADE_BY_UPDATES.contains(&&**table) && self.snapshot().get(table, &target.key).is_none()
    }

    pub(crate) async fn update(
        &self,
        user: &User,
        target: Target,
        draft: Draft,
        options: WriteOptions,
    ) -> Result<Object> {
        let resource = &*target.resource;
        let (namespace, name) = (target.key.namespace(), target.key.name());
        self.authorize(user, "update", resource, target.subresource, namespace, name)?;
        Self::check_part(resource, name, target.subresource, "update")?;
        Self::check_scope(resource, &target.key)?;
        if target.subresource == Some(Subresource::Scale) {
            return self.update_scale(user, target, draft, options).await;
        }
        let mut draft = Self::accept(resource, draft)?;
        Self::check_namespace(&mut draft, resource, namespace)?;
        let given = draft.meta().name.as_deref().unwrap_or_default();
        if given != name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        if target.subresource.is_none() && self.is_made_by(&target) {
            self.authorize(user, "create", resource, None, namespace, name)?;
            match self.create_accepted(user, target.clone(), draft.clone(), options.clone()).await {
                // Somebody has made it since we looked.
                Err(error) if error.is_already_exists() => {}
                done => return done,
            }
        }
        // A draft that names its version is written at most once, so it need not be kept.
        let versioned = !version_of(&draft).is_empty();
        let mut draft = Some(draft);
        let (server, target, options) = (self, &target, &options);
        self.rewrite(target, options, |old| {
            let new = if versioned { draft.take() } else { draft.clone() };
            async move {
                let new = new.ok_or_else(|| ApiError::modified(resource, name))?;
                check_versioned(resource, &new, name)?;
                server.finish_tracked(user, "update", target, new, &old, options).await
            }
        })
        .await
    }

    pub(crate) async fn patch(
        &self,
        user: &User,
        target: Target,
        patch: Patch,
        options: WriteOptions,
    ) -> Result<Object> {
        let resource = &*target.resource;
        let (namespace, name) = (target.key.namespace(), target.key.name());
        self.authorize(user, "patch", resource, target.subresource, namespace, name)?;
        Self::check_part(resource, name, target.subresource, "patch")?;
        Self::check_scope(resource, &target.key)?;
        if target.subresource == Some(Subresource::Scale) {
            return self.patch_scale(user, target, &patch, options).await;
        }
        if let Patch::Apply(applied) = &patch {
            return self.apply(user, target, applied, options).await;
        }
        let (server, target, options, patch) = (self, &target, &options, &patch);
        self.rewrite(target, options, |old| async move {
            let new = Self::patched(resource, patch, &old, options)?;
            Self::check_unmoved(&new, &old)?;
            server.finish_tracked(user, "patch", target, new, &old, options).await
        })
        .await
    }

    /// What a patch makes of an object, accepted.
    fn patched(
        resource: &Resource,
        patch: &Patch,
        old: &Object,
        options: &WriteOptions,
    ) -> Result<Draft> {
        let kind = resource.type_of();
        let served = resource.to_served(old.clone())?;
        let before = if patch.touches_managed_fields() {
            served.to_value()?
        } else {
            served.to_unmanaged_value()?
        };
        let patched = apply_patch(kind, !resource.is_custom(), patch, before)?;
        check_patched(kind, patch, &patched, options)?;
        Self::accept(resource, Draft::from_value(resource.codec, patched)?)
    }

    /// Checks that a patch has not made the object another one.
    pub(crate) fn check_unmoved(new: &Draft, old: &Object) -> Result<()> {
        if new.key() != old.key() {
            return Err(ApiError::bad_request(format!(
                "a patch may not change the name or namespace of an object ({} to {})",
                old.key(),
                new.key()
            )));
        }
        Ok(())
    }

    /// As [`Server::finish_update`], noting who has changed what.
    pub(crate) async fn finish_tracked(
        &self,
        user: &User,
        verb: &str,
        target: &Target,
        new: Draft,
        old: &Object,
        options: &WriteOptions,
    ) -> Result<Draft> {
        let mut new = new;
        let sent = new.meta_mut().managed_fields.take();
        let mut new = self.finish_update(user, verb, target, new, old, options).await?;
        if options.warnings.are_kept() {
            warn(&target.resource, &new, Some(old), &options.warnings);
        }
        self.own_changed(user, target, &mut new, old, sent, options)?;
        Ok(new)
    }

    /// From what a caller wants to what is stored: checks versions, keeps what this part of the
    /// object may not change, admits and validates.
    pub(crate) async fn finish_update(
        &self,
        user: &User,
        verb: &str,
        target: &Target,
        mut new: Draft,
        old: &Object,
        options: &WriteOptions,
    ) -> Result<Draft> {
        self.check_expected(target, &new, old)?;
        if verb == "update" {
            merge_owners(&mut new, false, &options.warnings);
        }
        self.admit_changed(user, target, &mut new, old)?;
        let write = Write::to(user, Operation::Update, target, Some(old), options);
        self.mutate(&write, Some(&mut new), |new| self.admit_changed(user, target, new, old))
            .await?;
        merge_owners(&mut new, true, &options.warnings);
        let mut errors = ErrorList::default();
        if target.subresource == Some(Subresource::Status) {
            let resource = &*target.resource;
            let caller = Writing { server: self, user, verb, resource };
            resource.strategy.authorize_status_update(&caller, &new, old, &mut errors);
        }
        validate_changed(target, &new, old, errors)?;
        self.review_final(&write, Some(&mut new)).await?;
        Ok(new)
    }

    /// Checks that an object is the one that its writer has seen, where the writer says which.
    pub(crate) fn check_expected(&self, target: &Target, new: &Draft, old: &Object) -> Result<()> {
        let resource = &*target.resource;
        let name = target.key.name();
        let version = version_of(new);
        if !version.is_empty() && old.meta().resource_version.as_deref() != Some(version) {
            return Err(ApiError::modified(resource, name));
        }
        if let Some(uid) = new.meta().uid.as_deref().filter(|uid| !uid.is_empty())
            && uid != old.uid()
        {
            let why = format!(
                "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                old.uid()
            );
            return Err(ApiError::conflict(resource, name, &why));
        }
        Ok(())
    }

    /// Keeps what this part of the object may not change, and has the rules of admission have their
    /// say about the rest.
    pub(crate) fn admit_changed(
        &self,
        user: &User,
        target: &Target,
        new: &mut Draft,
        old: &Object,
    ) -> Result<()> {
        let resource = &*target.resource;
        new.meta_mut().resource_version.clone_from(&old.meta().resource_version);
        keep_system_metadata(new, old);
        match target.subresource {
            Some(Subresource::Status) => resource.strategy.prepare_for_status_update(new, old),
            Some(Subresource::Finalize) => resource.strategy.prepare_for_finalize(new, old),
            Some(part) => resource.strategy.prepare_for_part(part, new, old),
            None => resource.strategy.prepare_for_update(new, old),
        }
        if target.subresource.is_some() {
            let now = Time(self.env().clock().now_seconds());
            certificates::stamp_conditions(new, old, &now);
        }
        self.admit(&mut AdmissionRequest {
            user,
            operation: Operation::Update,
            resource,
            key: &target.key,
            subresource: target.subresource,
            new: Some(new),
            old: Some(old),
            snapshot: &self.snapshot(),
            warnings: &Warnings::default(),
            annotations: &Annotations::default(),
        })
    }

    /// Reads an object, has `change` make its next version, and writes that, anew when another
    /// writer comes between. An unchanged object is not written; one that was only kept by what
    /// `change` has removed goes.
    pub(crate) async fn rewrite<Change>(
        &self,
        target: &Target,
        options: &WriteOptions,
        mut change: impl FnMut(Object) -> Change + Send,
    ) -> Result<Object>
    where
        Change: Future<Output = Result<Draft>> + Send,
    {
        let resource = &*target.resource;
        let (table, key) = (resource.table(), &target.key);
        for _ in 0..WRITE_ATTEMPTS {
            let snapshot = self.snapshot();
            let stored = snapshot
                .get(table, key)
                .ok_or_else(|| ApiError::not_found(resource, key.name()))?
                .unfolded();
            drop(snapshot);
            let old = self.loaded(resource, stored.clone()).await?;
            let mut new = change(old.clone()).await?;
            let mut claims = self.claim(resource, &mut new, Some(&old))?;
            if new.equals(&old) && is_current(resource, &stored) {
                return Ok(old);
            }
            if options.dry_run {
                let new = new.freeze();
                self.check_quotas(&target.resource, target.subresource, Some(&old), &new)?;
                return Ok(new);
            }
            let expect = Expect::Revision(old.revision());
            let mut transaction = Transaction::new();
            if may_go(resource, &new) {
                transaction.delete(table, key.clone(), expect);
                claims = self.release(resource, &old)?;
            } else {
                let new = self.to_storage(resource, new).await?;
                transaction.put(table, key.clone(), expect, new);
                let part = target.subresource;
                self.charge_quotas(&target.resource, part, Some(&old), &mut transaction);
            }
            self.write_claims(&mut claims, &mut transaction)?;
            match self.store().commit(transaction).await {
                Ok(committed) => return first(committed),
                Err(CommitError::Conflict { .. }) => {}
                Err(CommitError::Refused(error)) => return Err(error),
                Err(CommitError::Storage(error)) => return Err(storage_error(&error)),
            }
        }
        Err(ApiError::modified(resource, key.name()))
    }
}

/// Checks that an update says which version its writer has seen, of kinds where it has to.
fn check_versioned(resource: &Resource, new: &Draft, name: &str) -> Result<()> {
    let has_to = resource.is_custom() || VERSIONED.contains(&&**resource.name());
    if !has_to || !version_of(new).is_empty() {
        return Ok(());
    }
    let mut errors = ErrorList::default();
    let path = Path::root("metadata");
    let path = path.child("resourceVersion");
    errors.invalid(&path, Bare("0x0"), "must be specified for an update");
    // As upstream, which names the resource where the kind would stand.
    Err(ApiError::invalid_kind(&resource.group, &resource.plural, name, &errors))
}

/// Checks a changed object, or the part of it that was changed; `errors` are known already.
pub(crate) fn validate_changed(
    target: &Target,
    new: &Draft,
    old: &Object,
    mut errors: ErrorList,
) -> Result<()> {
    let resource = &*target.resource;
    let path = Path::root("metadata");
    metadata::validate_meta_update(new.meta(), old.meta(), &path, &mut errors);
    if !resource.is_extension() {
        metadata::validate_finalizers(new.meta(), &path, &mut errors);
    }
    match target.subresource {
        Some(Subresource::Status) => {
            resource.strategy.validate_status_update(new, old, &mut errors);
        }
        Some(Subresource::Finalize) => {}
        Some(part) => resource.strategy.validate_part(part, new, old, &mut errors),
        None => resource.strategy.validate_update(new, old, &mut errors),
    }
    let name = target.key.name();
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(resource, name, &errors)) }
}

/// Whether an object is stored in the version in which it would be stored now. One that is not is
/// written even when nothing about it changes: so those who move what is stored to another version
/// get it done.
fn is_current(resource: &Resource, stored: &Object) -> bool {
    let Some(webhook) = resource.conversion_webhook() else { return true };
    stored.api_version().is_ok_and(|version| version == webhook.stored)
}

/// Whether an object that is being deleted has nothing left that keeps it.
fn may_go(resource: &Resource, draft: &Draft) -> bool {
    let meta = draft.meta();
    meta.deletion_timestamp.is_some()
        && meta.finalizers.as_ref().is_none_or(Vec::is_empty)
        && meta.deletion_grace_period_seconds.unwrap_or(0) == 0
        && !resource.strategy.is_held(draft)
}

fn version_of(draft: &Draft) -> &str {
    draft.meta().resource_version.as_deref().unwrap_or_default()
}

fn keep_system_metadata(new: &mut Draft, old: &Object) {
    let old = old.meta();
    let new = new.meta_mut();
    new.uid.clone_from(&old.uid);
    new.creation_timestamp.clone_from(&old.creation_timestamp);
    new.deletion_timestamp.clone_from(&old.deletion_timestamp);
    new.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    new.generation = old.generation;
    new.generate_name.clone_from(&old.generate_name);
    new.self_link = None;
}
