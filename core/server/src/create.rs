use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails, Time};
use pinnace_api::field::{ErrorList, Path};
use pinnace_api::kinds::metadata;
use pinnace_api::{ApiError, Draft, Key, Object, Resource, Result};
use pinnace_client::{Annotations, Target, Warnings, WriteOptions};
use pinnace_store::{CommitError, Committed, Expect, Snapshot, Transaction};

use crate::binding;
use crate::certificates;
use crate::server::WRITE_ATTEMPTS;
use crate::write::Write;
use crate::{AdmissionRequest, Operation, Server, User, reviews};

/// Characters that `generateName` appends, and the longest prefix that leaves room for them.
const SUFFIX: usize = 5;
const MAX_PREFIX: usize = 63 - SUFFIX;
/// How many generated names are tried before the caller is told that they are taken.
const NAME_ATTEMPTS: usize = 8;

impl Server {
    pub(crate) async fn create(
        &self,
        user: &User,
        target: Target,
        draft: Draft,
        options: WriteOptions,
    ) -> Result<Object> {
        let resource = &*target.resource;
        let namespace = target.key.namespace();
        let name = target.key.name();
        self.authorize(user, "create", resource, target.subresource, namespace, name)?;
        if let Some(answer) = reviews::of(resource) {
            return self.review(user, &target, draft, answer, &options).await;
        }
        if binding::binds(resource) {
            return self.bind_by_name(user, &target, draft, options).await;
        }
        let draft = Self::accept(resource, draft)?;
        self.create_accepted(user, target, draft, options).await
    }

    /// As [`Server::create`], for a user who has been asked whether they may, and a draft that has
    /// been accepted.
    pub(crate) async fn create_accepted(
        &self,
        user: &User,
        target: Target,
        mut draft: Draft,
        options: WriteOptions,
    ) -> Result<Object> {
        self.own_new(user, &target, &mut draft, &options)?;
        self.create_owned(user, target, draft, options).await
    }

    /// As [`Server::create_accepted`], for a draft that knows who owns its fields.
    pub(crate) async fn create_owned(
        &self,
        user: &User,
        target: Target,
        mut draft: Draft,
        options: WriteOptions,
    ) -> Result<Object> {
        let resource = &*target.resource;
        let generated = is_unnamed(&draft);
        let key = self.admit_new(user, &target, &mut draft, &options).await?;
        match self.write_new(&target.resource, &key, draft, &options).await? {
            Some(object) => Ok(object),
            None if generated => Err(ApiError::no_free_name(resource, key.name())),
            None => Err(ApiError::already_exists(resource, key.name())),
        }
    }

    /// Puts a draft in order for its creation, and asks whether it may be.
    async fn admit_new(
        &self,
        user: &User,
        target: &Target,
        draft: &mut Draft,
        options: &WriteOptions,
    ) -> Result<Key> {
        let resource = &*target.resource;
        let namespace = target.key.namespace();
        if resource.is_namespaced() && namespace.is_empty() {
            return Err(ApiError::bad_request("an empty namespace may not be set during creation"));
        }
        Self::check_namespace(draft, resource, namespace)?;
        if draft.meta().resource_version.as_deref().is_some_and(|version| !version.is_empty()) {
            return Err(ApiError::bad_request(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        merge_owners(draft, false, &options.warnings);
        self.prepare_new(draft);
        // Before the strategy sees it: labels may be made of the name.
        self.generate_name(resource, &self.snapshot(), draft)?;
        self.admit_created(user, target, draft)?;
        let key = draft.key();
        let write =
            Write { key: &key, ..Write::to(user, Operation::Create, target, None, options) };
        self.mutate(&write, Some(&mut *draft), |draft| {
            Self::check_namespace(draft, resource, namespace)?;
            self.admit_created(user, target, draft)
        })
        .await?;
        merge_owners(draft, true, &options.warnings);
        let key = draft.key();
        validate_new(resource, draft)?;
        self.review_final(&Write { key: &key, ..write }, Some(&mut *draft)).await?;
        if options.warnings.are_kept() {
            warn(resource, draft, None, &options.warnings);
        }
        Ok(key)
    }

    /// Has the strategy and the rules of admission have their say about what is new.
    fn admit_created(&self, user: &User, target: &Target, draft: &mut Draft) -> Result<()> {
        let resource = &*target.resource;
        resource.strategy.prepare_for_create(draft);
        resource.strategy.default(draft);
        certificates::note_requester(user, draft);
        let key = draft.key();
        self.admit(&mut AdmissionRequest {
            user,
            operation: Operation::Create,
            resource,
            key: &key,
            subresource: None,
            new: Some(draft),
            old: None,
            snapshot: &self.snapshot(),
            warnings: &Warnings::default(),
            annotations: &Annotations::default(),
        })
    }

    /// Writes a draft that has been admitted; `None` where there is an object of that name.
    async fn write_new(
        &self,
        resource: &Arc<Resource>,
        key: &Key,
        mut draft: Draft,
        options: &WriteOptions,
    ) -> Result<Option<Object>> {
        if options.dry_run {
            if self.snapshot().get(resource.table(), key).is_some() {
                return Ok(None);
            }
            self.claim(resource, &mut draft, None)?;
            let new = draft.freeze();
            self.check_quotas(resource, None, None, &new)?;
            return Ok(Some(new));
        }
        let mut draft = self.to_storage(resource, draft).await?;
        for _ in 0..WRITE_ATTEMPTS {
            // Somebody may take first what is chosen for it; then it is given something else.
            let again = Self::claims(resource) || self.has_belongings(resource);
            let unclaimed = again.then(|| draft.clone());
            let mut claims = self.claim(resource, &mut draft, None)?;
            let mut transaction = Transaction::new();
            transaction.put(resource.table(), key.clone(), Expect::Absent, draft);
            self.write_claims(&mut claims, &mut transaction)?;
            self.write_belongings(resource, key, &mut transaction)?;
            self.charge_quotas(resource, None, None, &mut transaction);
            let committed = self.store().commit(transaction).await;
            drop(claims);
            match (committed, unclaimed) {
                (Ok(committed), _) => return first(committed).map(Some),
                (Err(CommitError::Conflict { index, .. }), Some(before)) if index > 0 => {
                    draft = before;
                }
                (Err(CommitError::Conflict { .. }), _) => return Ok(None),
                (Err(CommitError::Refused(error)), _) => return Err(error),
                (Err(CommitError::Storage(error)), _) => return Err(storage_error(&error)),
            }
        }
        Err(ApiError::modified(resource, key.name()))
    }

    /// Puts a draft of an object that does not exist yet in order, name apart.
    pub(crate) fn prepare_new(&self, draft: &mut Draft) {
        let meta = draft.meta_mut();
        meta.deletion_timestamp = None;
        meta.deletion_grace_period_seconds = None;
        meta.self_link = None;
        meta.resource_version = None;
        meta.generation = None;
        meta.uid = Some(self.env().random().uid());
        meta.creation_timestamp = Some(Time(self.env().clock().now_seconds()));
    }

    /// Makes up a name that is free for an object that has only `generateName`. Somebody else may
    /// still take it before this one is written, once in millions of times; the caller is told.
    fn generate_name(
        &self,
        resource: &Resource,
        snapshot: &Snapshot,
        draft: &mut Draft,
    ) -> Result<()> {
        if !is_unnamed(draft) {
            return Ok(());
        }
        let prefix = draft.meta().generate_name.as_deref().unwrap_or_default();
        let end =
            (0..=prefix.len().min(MAX_PREFIX)).rev().find(|end| prefix.is_char_boundary(*end));
        let prefix = prefix[..end.unwrap_or(0)].to_owned();
        let mut name = String::new();
        for _ in 0..NAME_ATTEMPTS {
            name = format!("{prefix}{}", self.env().random().suffix(SUFFIX));
            draft.meta_mut().name = Some(name.clone());
            if snapshot.get(resource.table(), &draft.key()).is_none() {
                return Ok(());
            }
        }
        Err(ApiError::no_free_name(resource, &name))
    }

    /// Checks that a draft is of the kind that the request is about.
    pub(crate) fn check_kind(resource: &Resource, draft: &Draft) -> Result<()> {
        if draft.kind() == resource.kind && draft.api_version() == resource.api_version() {
            return Ok(());
        }
        Err(ApiError::bad_request(format!(
            "the API version in the data ({}, {}) does not match the expected API version ({}, {})",
            draft.api_version(),
            draft.kind(),
            resource.api_version(),
            resource.kind
        )))
    }

    /// Fills in the namespace of the request, or checks that the draft names the same.
    pub(crate) fn check_namespace(
        draft: &mut Draft,
        resource: &Resource,
        namespace: &str,
    ) -> Result<()> {
        let meta = draft.meta_mut();
        if !resource.is_namespaced() {
            meta.namespace = None;
            return Ok(());
        }
        match meta.namespace.as_deref() {
            None | Some("") => meta.namespace = Some(namespace.to_owned()),
            Some(given) if given != namespace => {
                return Err(ApiError::bad_request(
                    "the namespace of the provided object does not match the namespace sent on \
                     the request",
                ));
            }
            Some(_) => {}
        }
        Ok(())
    }
}

/// Whether a name is to be made up.
fn is_unnamed(draft: &Draft) -> bool {
    let text = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    !text(&draft.meta().name) && text(&draft.meta().generate_name)
}

fn validate_new(resource: &Resource, draft: &Draft) -> Result<()> {
    let mut errors = ErrorList::default();
    let path = Path::root("metadata");
    metadata::validate_meta(draft.meta(), resource.is_namespaced(), &path, &mut errors);
    if !resource.is_extension() {
        metadata::validate_finalizers(draft.meta(), &path, &mut errors);
    }
    let name = draft.meta().name.as_deref().unwrap_or_default();
    if !name.is_empty()
        && let Err(why) = resource.strategy.validate_name(name)
    {
        errors.invalid(&path.child("name"), name, &why);
    }
    resource.strategy.validate(draft, &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid(resource, name, &errors)) }
}

/// Takes out owners that are there twice, which is told; `admitted` says whether those outside have
/// had their say.
pub(crate) fn merge_owners(draft: &mut Draft, admitted: bool, warnings: &Warnings) {
    let few =
        |draft: &Draft| draft.meta().owner_references.as_ref().is_none_or(|all| all.len() < 2);
    if few(draft) {
        return;
    }
    let twice = metadata::merge_owners(draft.meta_mut());
    if twice.is_empty() {
        return;
    }
    let when = if admitted { " after mutating admission happens" } else { "" };
    warnings.add(format!(
        ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner \
         references in 1.20+, and may reject such requests as early as 1.24; please fix your \
         requests; duplicate UID(s) observed: {}",
        twice.join(", ")
    ));
}

/// Says what is valid and most often a mistake.
pub(crate) fn warn(resource: &Resource, new: &Draft, old: Option<&Object>, warnings: &Warnings) {
    for finalizer in new.meta().finalizers.iter().flatten() {
        let known = matches!(finalizer.as_str(), "foregroundDeletion" | "orphan" | "kubernetes");
        let had = old.is_some_and(|old| {
            old.meta().finalizers.iter().flatten().any(|before| before == finalizer)
        });
        if !known && !had && !finalizer.contains('/') {
            warnings.add(format!(
                "metadata.finalizers: {finalizer:?}: prefer a domain-qualified finalizer name \
                 including a path (/) to avoid accidental conflicts with other finalizer writers"
            ));
        }
    }
    for text in resource.strategy.warnings(new, old) {
        warnings.add(text);
    }
}

/// What a caller is told when the store itself fails.
pub(crate) fn storage_error(error: &pinnace_store::StoreError) -> ApiError {
    use pinnace_api::Reason;
    use pinnace_store::StoreError;
    match error {
        StoreError::Expired { requested, oldest } => {
            ApiError::expired(format!("too old resource version: {requested} ({oldest})"))
        }
        StoreError::Future { requested, current } => ApiError::from_status(Status {
            code: Some(Reason::Timeout.code().into()),
            reason: Some(Reason::Timeout.as_str().to_owned()),
            message: Some(format!(
                "Timeout: Too large resource version: {requested}, current: {current}"
            )),
            details: Some(StatusDetails {
                causes: Some(vec![StatusCause {
                    reason: Some("ResourceVersionTooLarge".to_owned()),
                    message: Some("Too large resource version".to_owned()),
                    ..Default::default()
                }]),
                retry_after_seconds: Some(1),
                ..Default::default()
            }),
            ..Default::default()
        }),
        StoreError::Closed => {
            ApiError::new(Reason::ServiceUnavailable, "the engine has been shut down")
        }
        _ => ApiError::internal(error),
    }
}

/// What the first operation of a transaction has written.
pub(crate) fn first(committed: Committed) -> Result<Object> {
    committed
        .objects
        .into_iter()
        .next()
        .ok_or_else(|| ApiError::internal("the store gave nothing back"))
}
