//! What a node does when it runs out of memory, disk or processes, and with pods that write more
//! than they may: it evicts pods, as upstream's kubelet does, one at a time.

mod config;
mod limits;
mod rank;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::{Object, Typed};
use pinnace_client::EventType;
use pinnace_client::summary::{PodUse, Summary};
use pinnace_runtime::PodId;
use tokio::sync::watch as watch_channel;
use tokio::time::{Instant, MissedTickBehavior};

pub use config::{Amount, Eviction, Signal, Threshold};
pub(crate) use config::{Observed, Pressure, Resource};
use rank::Candidate;
use watch::{Findings, Watch};

use crate::agent::Shared;
use crate::host::Host;
use crate::measure::{self, Detail};
use crate::pod::phase;
use crate::slot::{Evict, Slot};
use crate::{heartbeat, images};

/// The reason of an eviction in a pod's status and in Events.
pub(crate) const REASON: &str = "Evicted";
/// What a pod is given to end when there is no time to lose.
const IMMEDIATE: Duration = Duration::from_secs(1);
/// How long the node waits for an evicted pod to be gone before it looks again, and how often it
/// looks whether it is.
const CLEANUP_WITHIN: Duration = Duration::from_secs(30);
const CLEANUP_EVERY: Duration = Duration::from_secs(1);
/// Pods of this priority or more are never evicted by their node.
const CRITICAL: i32 = 2_000_000_000;

/// Looks after the nodes of an agent that are told to look after themselves, as long as it is
/// polled.
pub(crate) async fn run(shared: &Arc<Shared>, mut synced: watch_channel::Receiver<bool>) {
    // The sender lives as long as the agent runs.
    let _ = synced.wait_for(|synced| *synced).await;
    let watched = shared.hosts.values().filter_map(|host| {
        let config = host.eviction.clone()?;
        Some(async move { guard(shared, host, &config).await })
    });
    futures::future::join_all(watched).await;
}

async fn guard(shared: &Arc<Shared>, host: &Arc<Host>, config: &Eviction) {
    let mut watch = Watch::default();
    let mut ticks = tokio::time::interval(config.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        while look(shared, host, config, &mut watch).await {}
    }
}

/// Takes a look, and says whether a pod was evicted: then there is another at once.
async fn look(
    shared: &Arc<Shared>,
    host: &Arc<Host>,
    config: &Eviction,
    watch: &mut Watch,
) -> bool {
    let summary = match measure::summary(shared, host, Detail::Of(limits::has_any)).await {
        Ok(summary) => summary,
        Err(error) => {
            tracing::warn!(node = %host.name, %error, "nothing measured");
            return false;
        }
    };
    let Findings { pressures, urgent } = watch.look(config, &summary, Instant::now());
    if host.set_pressures(pressures) {
        heartbeat::report(shared, std::slice::from_ref(host)).await;
    }
    let written = evict_for_limits(shared, host, summary);
    if !written.is_empty() {
        return until_gone(host, &written).await;
    }
    let Some((threshold, seen)) = urgent.into_iter().next() else { return false };
    let resource = threshold.signal.resource();
    node_event(host, &format!("Attempting to reclaim {}", resource.name()));
    if matches!(resource, Resource::Storage | Resource::Inodes)
        && reclaim(shared, host, config).await
    {
        return false;
    }
    match evict_for_pressure(shared, host, config, threshold, seen).await {
        Some(slot) => until_gone(host, &[slot]).await,
        None => {
            tracing::warn!(node = %host.name, "unable to evict any pods from the node");
            false
        }
    }
}

/// Frees what no pod needs, and says whether that is enough.
async fn reclaim(shared: &Arc<Shared>, host: &Arc<Host>, config: &Eviction) -> bool {
    images::remove_unused(shared, host).await;
    match measure::summary(shared, host, Detail::Of(|_| false)).await {
        Ok(summary) => watch::is_well(config, &summary),
        Err(error) => {
            tracing::warn!(node = %host.name, %error, "nothing measured");
            false
        }
    }
}

/// Evicts whatever has written more than it may.
fn evict_for_limits(shared: &Arc<Shared>, host: &Arc<Host>, summary: Summary) -> Vec<Arc<Slot>> {
    let mut evicted = Vec::new();
    for (slot, Candidate { pod, used }) in candidates(shared, host, summary) {
        let message = used.as_ref().and_then(|used| limits::exceeded(&pod, used));
        if let Some(message) = message
            && evict(shared, &slot, &pod, message, IMMEDIATE, false)
        {
            evicted.push(slot);
        }
    }
    evicted
}

/// Evicts the pod that should go first, if any may.
async fn evict_for_pressure(
    shared: &Arc<Shared>,
    host: &Arc<Host>,
    config: &Eviction,
    threshold: Threshold,
    seen: Observed,
) -> Option<Arc<Slot>> {
    let resource = threshold.signal.resource();
    let disk = matches!(resource, Resource::Storage | Resource::Inodes);
    let detail = if disk { Detail::Full } else { Detail::Of(limits::has_any) };
    let summary = measure::summary(shared, host, detail).await.ok()?;
    let (slots, mut ranked): (Vec<_>, Vec<_>) =
        candidates(shared, host, summary).into_iter().unzip();
    rank::rank(&mut ranked, resource);
    ranked.iter().find_map(|candidate| {
        let pod = &candidate.pod;
        let slot = slots.iter().find(|slot| *slot.uid == *pod.object().uid())?;
        let own = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
        let own = Duration::from_secs(own.and_then(|own| u64::try_from(own).ok()).unwrap_or(30));
        let grace = if threshold.is_hard() { IMMEDIATE } else { config.max_pod_grace.min(own) };
        let message = rank::message(candidate, &threshold, seen);
        evict(shared, slot, pod, message, grace, true).then(|| slot.clone())
    })
}

/// The pods of a node that have not ended, each with what it uses.
fn candidates(
    shared: &Arc<Shared>,
    host: &Arc<Host>,
    summary: Summary,
) -> Vec<(Arc<Slot>, Candidate)> {
    let mut uses: std::collections::HashMap<String, PodUse> =
        summary.pods.into_iter().map(|one| (one.pod_ref.uid.clone(), one)).collect();
    let slots = shared.slots_of(&host.runtime);
    let mine = slots.into_iter().filter(|slot| Arc::ptr_eq(&slot.host, host));
    let mut found: Vec<_> = mine
        .filter_map(|slot| {
            let pod: Typed<Pod> = slot.pod().typed().ok()?;
            let ended = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            let used = uses.remove(&*slot.uid);
            let active = !phase::is_terminal(ended) && !pod.object().is_deleting();
            active.then_some((slot, Candidate { pod, used }))
        })
        .collect();
    found.sort_by_cached_key(|(slot, _)| slot.key.clone());
    found
}

/// Whether the node never evicts a pod.
pub(crate) fn is_critical(pod: &Pod) -> bool {
    let annotated = |name| {
        pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(name))
    };
    let priority = pod.spec.as_ref().and_then(|spec| spec.priority);
    annotated("kubernetes.io/config.mirror")
        || priority.is_some_and(|priority| priority >= CRITICAL)
}

fn evict(
    shared: &Arc<Shared>,
    slot: &Arc<Slot>,
    pod: &Typed<Pod>,
    message: String,
    grace: Duration,
    disruption: bool,
) -> bool {
    if is_critical(pod) {
        tracing::warn!(pod = %slot.key, "cannot evict a critical pod");
        return false;
    }
    slot.host.recorder.record(pod.object(), EventType::Warning, REASON, &message);
    slot.evict(shared, Evict { message, grace, disruption });
    true
}

/// Waits until nothing is left of pods, or for as long as that may take.
async fn until_gone(host: &Host, slots: &[Arc<Slot>]) -> bool {
    let ids: Vec<PodId> = slots.iter().map(|slot| PodId(slot.uid.to_string())).collect();
    let gone = async {
        loop {
            tokio::time::sleep(CLEANUP_EVERY).await;
            match host.runtime.runtime.stats(&ids, false).await {
                Ok(left) if left.is_empty() => return,
                Ok(_) => {}
                Err(error) => tracing::debug!(node = %host.name, %error, "nothing measured"),
            }
        }
    };
    tokio::time::timeout(CLEANUP_WITHIN, gone).await.is_ok()
}

fn node_event(host: &Host, message: &str) {
    let about = Node {
        metadata: ObjectMeta {
            name: Some(host.name.to_string()),
            uid: Some(host.name.to_string()),
            ..ObjectMeta::default()
        },
        ..Node::default()
    };
    let reason = "EvictionThresholdMet";
    host.recorder.record(&Object::new(about), EventType::Warning, reason, message);
}
