use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use parking_lot::Mutex;
use pinnace_api::{ApiError, Key, Object, Reason, Resource, Result};
use pinnace_client::{DeleteOptions, Delta, DynamicApi, Informers, ListOptions, PropagationPolicy};
use pinnace_reconcile::Queue;

use super::Namespaces;
use super::conditions::Findings;
use crate::pods;

/// How many objects are deleted before other tasks get their turn.
const PAGE: u64 = 64;
/// In how many seconds a finalizer should have done its work.
const FINALIZER_ESTIMATE: u64 = 15;
/// How long deletions are collected before their namespace is looked at again.
const SETTLE: Duration = Duration::from_millis(10);

impl Namespaces {
    /// Deletes the objects of a kind and counts what stays.
    pub(super) async fn clear_kind(
        &self,
        kind: &Arc<Resource>,
        namespace: &Namespace,
        findings: &mut Findings,
    ) {
        let api = self.informers.client().resource(kind.clone());
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        let left = match delete_all(&api, name).await {
            Ok(left) => left,
            Err(error) if is_unsupported(&error) => return,
            Err(error) => return findings.errors.push(error.to_string()),
        };
        if left.is_empty() {
            return;
        }
        let mut estimate = self.grace_left(&left, namespace);
        let mut held = false;
        for finalizer in left.iter().flat_map(|object| object.meta().finalizers.iter().flatten()) {
            held = true;
            *findings.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        findings.remaining.insert(format!("{}.{}", kind.plural, kind.group), left.len());
        if estimate == 0 && held {
            estimate = FINALIZER_ESTIMATE;
        }
        if estimate == 0 {
            findings.errors.push(format!(
                "unexpected items still remain in namespace: {name} for gvr: {}/{}, Resource={}",
                kind.group, kind.version, kind.plural
            ));
        }
        findings.estimate = findings.estimate.max(estimate);
    }

    /// How many seconds pods may still take to end, as they were told when the namespace was
    /// deleted.
    fn grace_left(&self, objects: &[Object], namespace: &Namespace) -> u64 {
        let grace = |object: &Object| -> u64 {
            let Ok(pod) = object.get::<Pod>() else { return 0 };
            let spec = pod.spec.as_ref().filter(|_| !pods::is_terminal(pod));
            let seconds = spec.and_then(|spec| spec.termination_grace_period_seconds);
            seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(0)
        };
        let longest = objects.iter().map(grace).max().unwrap_or(0);
        let deleted = namespace.metadata.deletion_timestamp.as_ref();
        let passed = deleted.map_or(Duration::ZERO, |time| self.env.clock().since(time.0));
        if passed < Duration::from_secs(longest) { longest } else { 0 }
    }
}

/// Whether objects of the kind cannot be deleted at all: then they are not content.
fn is_unsupported(error: &ApiError) -> bool {
    matches!(error.reason(), Reason::NotFound | Reason::MethodNotAllowed)
}

async fn delete_all(api: &DynamicApi, namespace: &str) -> Result<Vec<Object>> {
    if api.list(Some(namespace), ListOptions::default()).await?.items.is_empty() {
        return Ok(Vec::new());
    }
    let options = DeleteOptions {
        propagation: Some(PropagationPolicy::Background),
        ..DeleteOptions::default()
    };
    if !api.resource().verbs.0.contains(&"deletecollection") {
        for object in api.list(Some(namespace), ListOptions::default()).await?.items {
            match api.delete(&object.key(), options.clone()).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        return Ok(api.list(Some(namespace), ListOptions::default()).await?.items);
    }
    let mut page = ListOptions { limit: Some(PAGE), ..ListOptions::default() };
    loop {
        let deleted = api.delete_collection(Some(namespace), page.clone(), options.clone()).await?;
        tokio::task::yield_now().await;
        match deleted.continue_token {
            Some(token) => page.continue_token = Some(token),
            None => break,
        }
    }
    Ok(api.list(Some(namespace), ListOptions::default()).await?.items)
}

/// The namespaces that wait for their content to go, and the kinds whose deletions are watched
/// for that.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    namespaces: Arc<Mutex<HashSet<String, ahash::RandomState>>>,
    watched: Mutex<HashSet<Arc<str>, ahash::RandomState>>,
}

impl Waiting {
    /// Enqueues the namespace, from now on, when an object goes from it.
    pub(super) fn watch(
        &self,
        namespace: &str,
        kinds: &[Arc<Resource>],
        informers: &Informers,
        queue: &Queue,
    ) {
        self.namespaces.lock().insert(namespace.to_owned());
        for kind in kinds {
            // Events go at once: nothing ever waits for them.
            let is_heard = kind.kind != "Event" && kind.verbs.0.contains(&"watch");
            if !is_heard || !self.watched.lock().insert(kind.name().clone()) {
                continue;
            }
            let (namespaces, queue) = (self.namespaces.clone(), queue.clone());
            informers.resource(kind.clone()).on_change(move |delta| {
                if let Some(namespace) = leaving(delta)
                    && namespaces.lock().contains(namespace)
                {
                    queue.add_after(Key::cluster(namespace), SETTLE);
                }
            });
        }
    }

    /// Stops enqueuing the namespace.
    pub(super) fn remove(&self, namespace: &str) {
        self.namespaces.lock().remove(namespace);
    }
}

/// The namespace that an object has left, or leaves sooner than thought.
fn leaving(delta: &Delta) -> Option<&str> {
    let old = delta.old.as_ref()?;
    let nearer = match &delta.new {
        None => true,
        Some(new) => new.is_deleting() && new.meta().finalizers != old.meta().finalizers,
    };
    nearer.then(|| old.namespace())
}
