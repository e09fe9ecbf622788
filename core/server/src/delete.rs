use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use pinnace_api::{ApiError, Dependents, Draft, Object, Resource, Result};
use pinnace_client::{DeleteOptions, List, ListOptions, PropagationPolicy, Target};
use pinnace_store::{CommitError, Expect, Transaction};
use std::sync::Arc;

use crate::create::{first, storage_error};
use crate::read::check_verb;
use crate::server::WRITE_ATTEMPTS;
use crate::write::{Options, Write};
use crate::{AdmissionRequest, Operation, Server, User};

/// Finalizers by which the garbage collector learns of a policy.
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// What a deletion does to the object itself.
enum Step {
    /// Nothing: it is on its way already.
    None(Object),
    /// It is marked and stays for now.
    Mark(Box<Draft>),
    /// It goes.
    Remove,
}

impl Server {
    pub(crate) async fn delete(
        &self,
        user: &User,
        target: Target,
        options: DeleteOptions,
    ) -> Result<Object> {
        let resource = &*target.resource;
        let (namespace, name) = (target.key.namespace(), target.key.name());
        self.authorize(user, "delete", resource, target.subresource, namespace, name)?;
        self.delete_authorized(user, target, options).await
    }

    /// As [`Server::delete`], for a user who has been asked whether they may.
    pub(crate) async fn delete_authorized(
        &self,
        user: &User,
        target: Target,
        options: DeleteOptions,
    ) -> Result<Object> {
        self.delete_asking(user, target, options, true).await
    }

    /// As [`Server::delete_authorized`], where those outside have been asked before, about what the
    /// deletion is a part of.
    pub(crate) async fn delete_admitted(
        &self,
        user: &User,
        target: Target,
        options: DeleteOptions,
    ) -> Result<Object> {
        self.delete_asking(user, target, options, false).await
    }

    async fn delete_asking(
        &self,
        user: &User,
        target: Target,
        options: DeleteOptions,
        asks: bool,
    ) -> Result<Object> {
        let resource = &*target.resource;
        let name = target.key.name();
        Self::check_scope(resource, &target.key)?;
        if target.subresource.is_some() {
            return Err(ApiError::method_not_supported(resource, "delete"));
        }
        if options.grace_period_seconds.is_some_and(|seconds| seconds < 0) {
            return Err(ApiError::bad_request("gracePeriodSeconds must not be negative"));
        }
        for _ in 0..WRITE_ATTEMPTS {
            let snapshot = self.snapshot();
            let old = snapshot
                .get(resource.table(), &target.key)
                .ok_or_else(|| ApiError::not_found(resource, name))?
                .clone();
            check_preconditions(resource, &old, &options)?;
            self.admit(&mut AdmissionRequest {
                user,
                operation: Operation::Delete,
                resource,
                key: &target.key,
                subresource: None,
                new: None,
                old: Some(&old),
                snapshot: &snapshot,
                warnings: &options.warnings,
                annotations: &options.annotations,
            })?;
            drop(snapshot);
            if asks {
                let write = Write {
                    user,
                    operation: Operation::Delete,
                    resource: &target.resource,
                    key: &target.key,
                    part: "",
                    old: Some(&old),
                    options: Options::Delete(&options),
                };
                self.mutate(&write, None, |_| Ok(())).await?;
                self.review_final(&write, None).await?;
            }
            let expect = Expect::Revision(old.revision());
            let mut transaction = Transaction::new();
            match self.next_step(resource, &old, &options)? {
                Step::None(object) => return Ok(object),
                Step::Mark(draft) if options.dry_run => return Ok(draft.freeze()),
                Step::Remove if options.dry_run => return Ok(old),
                Step::Mark(draft) => {
                    transaction.put(resource.table(), target.key.clone(), expect, *draft);
                }
                Step::Remove => {
                    transaction.delete(resource.table(), target.key.clone(), expect);
                    self.write_claims(&mut self.release(resource, &old)?, &mut transaction)?;
                }
            }
            match self.store().commit(transaction).await {
                Ok(committed) => return first(committed),
                Err(CommitError::Conflict { .. }) => {}
                Err(CommitError::Refused(error)) => return Err(error),
                Err(CommitError::Storage(error)) => return Err(storage_error(&error)),
            }
        }
        Err(ApiError::modified(resource, name))
    }

    pub(crate) async fn delete_collection(
        &self,
        user: &User,
        resource: Arc<Resource>,
        namespace: Option<&str>,
        selection: ListOptions,
        options: DeleteOptions,
    ) -> Result<List<Object>> {
        self.authorize_several(user, "deletecollection", &resource, namespace, &selection)?;
        check_verb(&resource, "deletecollection")?;
        let mut list = self.selected(&resource, namespace, &selection).await?;
        let mut deleted = Vec::with_capacity(list.items.len());
        for object in list.items {
            let target = Target::new(resource.clone(), object.key());
            match self.delete_authorized(user, target, options.clone()).await {
                Ok(object) => deleted.push(object),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        list.items = deleted;
        Ok(list)
    }

    fn next_step(
        &self,
        resource: &Resource,
        old: &Object,
        options: &DeleteOptions,
    ) -> Result<Step> {
        let now = self.env().clock().now_seconds();
        let grace = resource.strategy.grace_period(old, options.grace_period_seconds).unwrap_or(0);
        let mut draft = old.draft()?;
        let policy = match resource.dependents {
            // Whoever looks after dependents never sees these.
            Dependents::None => Some(PropagationPolicy::Background),
            Dependents::Orphaned if options.propagation.is_none() && !has_policy(old.meta()) => {
                Some(PropagationPolicy::Orphan)
            }
            _ => options.propagation,
        };
        let finalizers = finalizers_for(old.meta(), policy);
        let meta = draft.meta_mut();
        meta.finalizers = Some(finalizers).filter(|finalizers| !finalizers.is_empty());
        match old.meta().deletion_grace_period_seconds {
            // A second deletion may only shorten what the first one granted.
            Some(granted) if old.is_deleting() && grace >= granted && granted > 0 => {
                if draft.equals(old) {
                    return Ok(Step::None(old.clone()));
                }
                return Ok(Step::Mark(Box::new(draft)));
            }
            _ => {}
        }
        if !old.is_deleting() || grace > 0 || old.meta().deletion_grace_period_seconds != Some(0) {
            let seconds = jiff::SignedDuration::from_secs(grace);
            let at = now.checked_add(seconds).unwrap_or(now);
            if !old.is_deleting() {
                meta.generation = meta.generation.map(|generation| generation.saturating_add(1));
            }
            meta.deletion_timestamp = Some(Time(at));
            meta.deletion_grace_period_seconds = Some(grace);
        }
        if !old.is_deleting() {
            resource.strategy.begin_deletion(&mut draft);
        }
        let kept = draft.meta().finalizers.is_some() || resource.strategy.is_held(&draft);
        if grace == 0 && !kept {
            return Ok(Step::Remove);
        }
        if draft.equals(old) {
            return Ok(Step::None(old.clone()));
        }
        Ok(Step::Mark(Box::new(draft)))
    }
}

pub(crate) fn check_preconditions(
    resource: &Resource,
    old: &Object,
    options: &DeleteOptions,
) -> Result<()> {
    let Some(wanted) = &options.preconditions else { return Ok(()) };
    let found = old.meta();
    let checks = [
        ("UID", wanted.uid.as_deref(), found.uid.as_deref()),
        ("ResourceVersion", wanted.resource_version.as_deref(), found.resource_version.as_deref()),
    ];
    for (what, wanted, found) in checks {
        if let Some(wanted) = wanted
            && Some(wanted) != found
        {
            let why = format!(
                "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {}",
                found.unwrap_or_default()
            );
            return Err(ApiError::conflict(resource, old.name(), &why));
        }
    }
    Ok(())
}

/// Whether an object says itself what is to become of what it owns.
fn has_policy(meta: &ObjectMeta) -> bool {
    meta.finalizers.iter().flatten().any(|finalizer| finalizer == FOREGROUND || finalizer == ORPHAN)
}

/// The finalizers of an object after a deletion with this policy.
fn finalizers_for(meta: &ObjectMeta, policy: Option<PropagationPolicy>) -> Vec<String> {
    let mut finalizers = meta.finalizers.clone().unwrap_or_default();
    let Some(policy) = policy else { return finalizers };
    let wanted = match policy {
        PropagationPolicy::Foreground => Some(FOREGROUND),
        PropagationPolicy::Orphan => Some(ORPHAN),
        PropagationPolicy::Background => None,
    };
    finalizers.retain(|finalizer| {
        (finalizer != FOREGROUND && finalizer != ORPHAN) || Some(finalizer.as_str()) == wanted
    });
    if let Some(wanted) = wanted
        && !finalizers.iter().any(|finalizer| finalizer == wanted)
    {
        finalizers.push(wanted.to_owned());
    }
    finalizers
}
