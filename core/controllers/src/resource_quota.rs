//! Counts what the objects of a namespace use of its quotas. Admission charges what is written; what
//! goes or changes by itself is found here, as is whatever there was before the quota.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use parking_lot::Mutex;
use pinnace_api::quantity::Quantity;
use pinnace_api::quota::{self, Amounts, Counted};
use pinnace_api::{ApiError, Key, Resource, Result};
use pinnace_client::{Api, Delta, Informers, ListOptions, Lister};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Queue, Reconciler};

use crate::Context;

/// How often everything is counted again, whatever has been heard.
const RESYNC: Duration = Duration::from_secs(5 * 60);
/// How soon it is looked again for a kind that a quota names and that there is not.
const UNKNOWN_KIND: Duration = Duration::from_secs(30);
/// How long changes are collected before a quota is counted again.
const SETTLE: Duration = Duration::from_millis(10);

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let quotas = context.informers.of::<ResourceQuota>()?;
    let definitions = context.informers.of::<CustomResourceDefinition>()?;
    let reconciler = Arc::new(Quotas {
        quotas: quotas.clone(),
        api: context.client().of()?,
        informers: context.informers.clone(),
        env: context.env.clone(),
        watched: Mutex::default(),
        queue: OnceLock::new(),
    });
    let controller = Controller::shared(reconciler.clone(), &context.env);
    let _ = reconciler.queue.set(controller.queue().clone());
    let controller = controller.maps(quotas.informer(), |delta, queue| {
        let Some(new) = &delta.new else { return };
        let settled = new.get::<ResourceQuota>().is_ok_and(is_settled);
        if delta.old.is_none() || !settled {
            queue.add(new.key());
        }
    });
    // A kind that comes may be one that a quota has named before.
    Ok(controller.maps(definitions.informer(), move |delta, queue| {
        let Some(definition) = delta.object() else { return };
        let name = format!("count/{}", definition.name());
        for quota in quotas.list(None) {
            if quota::hard_of(&quota).is_some_and(|hard| hard.contains_key(&name)) {
                queue.add_after(quota.object().key(), SETTLE);
            }
        }
    }))
}

/// Whether a quota says how much is used of all that it limits.
fn is_settled(quota: &ResourceQuota) -> bool {
    let status = quota.status.as_ref();
    let counted = status.and_then(|status| status.hard.as_ref());
    quota::are_equal(quota::hard_of(quota), counted)
}

struct Quotas {
    quotas: Lister<ResourceQuota>,
    api: Api<ResourceQuota>,
    informers: Informers,
    env: Env,
    /// The kinds whose changes are heard, by name and version.
    watched: Mutex<HashSet<(Arc<str>, String), ahash::RandomState>>,
    /// Where changes of objects bring their quotas back.
    queue: OnceLock<Queue>,
}

#[async_trait]
impl Reconciler for Quotas {
    fn name(&self) -> &str {
        "resource-quota"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        // Read before anything is counted: what is charged from now on changes it, and the answer
        // is not written.
        let Some(quota) = self.api.find(key).await? else { return Ok(Action::Done) };
        let (kinds, is_complete) = quota::kinds_of(&quota, self.informers.client().catalog());
        self.watch(&kinds);
        let (counted, failed) = self.count(&quota, &kinds).await?;
        let hard = quota::hard_of(&quota).cloned().unwrap_or_default();
        let before = quota.status.as_ref();
        let mut used = before.and_then(|before| before.used.clone()).unwrap_or_default();
        used.extend(counted.into_iter().map(|(name, amount)| (name, amount.into())));
        used.retain(|name, _| hard.contains_key(name));
        let was = before.and_then(|before| before.used.as_ref());
        if !is_settled(&quota) || !quota::are_equal(was, Some(&used)) {
            let mut quota = quota.to_owned();
            quota.status = Some(ResourceQuotaStatus { hard: Some(hard), used: Some(used) });
            self.api.update_status(quota).await?;
        }
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(Action::RequeueAfter(if is_complete { RESYNC } else { UNKNOWN_KIND })),
        }
    }
}

impl Quotas {
    /// How much is used, and why that is not known of some kinds: another server that is away
    /// keeps nobody from knowing the rest.
    async fn count(
        &self,
        quota: &ResourceQuota,
        kinds: &[Arc<Resource>],
    ) -> Result<(Amounts, Option<ApiError>)> {
        let mut failed = None;
        let hard = quota::hard_of(quota);
        let names = || hard.into_iter().flatten().map(|(name, _)| name);
        let unknown = names().filter(|name| name.starts_with("count/"));
        let mut sums: Amounts = unknown.map(|name| (name.clone(), Quantity::ZERO)).collect();
        let namespace = quota.metadata.namespace.as_deref();
        for kind in kinds {
            let Some(counted) = Counted::of(kind) else { continue };
            let mut of_kind: BTreeMap<&String, Quantity> = names()
                .filter(|name| counted.covers(name))
                .map(|name| (name, Quantity::ZERO))
                .collect();
            let api = self.informers.client().resource(kind.clone());
            let listed = match api.list(namespace, ListOptions::default()).await {
                Err(error) if kind.is_elsewhere() => {
                    sums.retain(|name, _| !counted.covers(name));
                    failed = Some(error);
                    continue;
                }
                listed => listed?,
            };
            for object in listed.items {
                let usage = counted.usage(&object, self.env.now())?;
                if !usage.is_in_scope_of(quota) {
                    continue;
                }
                for (name, sum) in &mut of_kind {
                    *sum += usage.amounts.get(*name).copied().unwrap_or_default();
                }
            }
            sums.extend(of_kind.into_iter().map(|(name, sum)| (name.clone(), sum)));
        }
        Ok((sums, failed))
    }

    /// Hears, from now on, of objects that use less or other than before.
    fn watch(&self, kinds: &[Arc<Resource>]) {
        let Some(queue) = self.queue.get() else { return };
        for kind in kinds {
            let Some(counted) = Counted::of(kind) else { continue };
            let place = (kind.name().clone(), kind.version.to_string());
            if !self.watched.lock().insert(place) {
                continue;
            }
            let (quotas, queue, env) = (self.quotas.clone(), queue.clone(), self.env.clone());
            self.informers.resource(kind.clone()).on_change(move |delta| {
                let Some(old) = &delta.old else { return };
                let of_namespace = quotas.list(Some(old.namespace()));
                if of_namespace.is_empty() || !frees(&counted, delta, &env) {
                    return;
                }
                for quota in of_namespace {
                    let mut names = quota::hard_of(&quota).into_iter().flatten();
                    if names.any(|(name, _)| counted.covers(name)) {
                        queue.add_after(quota.object().key(), SETTLE);
                    }
                }
            });
        }
    }
}

/// Whether a change of an object that was there before changes what is used.
fn frees(counted: &Counted, delta: &Delta, env: &Env) -> bool {
    let (Some(old), Some(new)) = (&delta.old, &delta.new) else { return true };
    let usage = |object| counted.usage(object, env.now()).ok();
    usage(old) != usage(new)
}
