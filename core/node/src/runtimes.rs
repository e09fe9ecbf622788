//! What runtimes tell: events of containers, and whether they answer.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use pinnace_client::EventType;
use pinnace_runtime::{PodState, RuntimeEvent};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use crate::agent::Shared;
use crate::host::{Host, HostRuntime};
use crate::{heartbeat, logs, volumes};

/// How long to wait before asking again a runtime that does not answer: at first, and at most.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Takes over what a runtime has, then passes on what it tells. `synced` turns true when the pods
/// of the API are known.
pub(crate) async fn follow(
    shared: &Arc<Shared>,
    runtime: &Arc<HostRuntime>,
    mut synced: watch::Receiver<bool>,
) {
    // Before the first look, so that nothing falls between.
    let mut events = runtime.runtime.events();
    let found = find(shared, runtime).await;
    shared.keep_found(found);
    runtime.set_adopted();
    // The sender lives as long as the agent runs.
    let _ = synced.wait_for(|synced| *synced).await;
    shared.signal_all(runtime, |signals| signals.pod = true);
    remove_orphans(shared, runtime).await;
    loop {
        match events.recv().await {
            Ok(RuntimeEvent::Started { .. }) => {}
            Ok(RuntimeEvent::Exited { pod, .. }) => {
                shared.signal(&pod.0, |signals| signals.runtime = true);
            }
            Ok(RuntimeEvent::Lost { message }) => set_failure(shared, runtime, Some(message)).await,
            Ok(RuntimeEvent::Recovered) => recovered(shared, runtime).await,
            Err(RecvError::Lagged(_)) => recovered(shared, runtime).await,
            Err(RecvError::Closed) => return,
        }
    }
}

/// Asks until the runtime has answered what pods it has.
async fn find(shared: &Arc<Shared>, runtime: &Arc<HostRuntime>) -> Vec<PodState> {
    let mut retry = RETRY_FIRST;
    loop {
        let answer = match runtime.runtime.version().await {
            Ok(version) => {
                runtime.set_health(|health| health.version = version);
                runtime.runtime.list_pods().await
            }
            Err(error) => Err(error),
        };
        match answer {
            Ok(pods) => {
                set_failure(shared, runtime, None).await;
                return pods;
            }
            Err(error) => {
                set_failure(shared, runtime, Some(error.to_string())).await;
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }
}

async fn recovered(shared: &Arc<Shared>, runtime: &Arc<HostRuntime>) {
    let version = runtime.runtime.version().await;
    match runtime.runtime.check().await {
        Ok(()) => {
            if let Ok(version) = version {
                runtime.set_health(|health| health.version = version);
            }
            set_failure(shared, runtime, None).await;
        }
        Err(error) => set_failure(shared, runtime, Some(error.to_string())).await,
    }
    shared.signal_all(runtime, |signals| signals.runtime = true);
}

/// Asks a runtime again that did not answer.
pub(crate) async fn check_again(shared: &Arc<Shared>, runtime: &Arc<HostRuntime>) {
    if runtime.is_adopted()
        && runtime.health().failure.is_some()
        && runtime.runtime.check().await.is_ok()
    {
        recovered(shared, runtime).await;
    }
}

/// Notes whether the runtime answers, and shows it on the nodes that depend on it.
async fn set_failure(shared: &Arc<Shared>, runtime: &Arc<HostRuntime>, failure: Option<String>) {
    if let Some(message) = &failure {
        tracing::warn!(runtime = runtime.runtime.name(), message, "runtime does not answer");
    }
    let ready = failure.is_none();
    let was_ready = runtime.health().failure.is_none();
    if !runtime.set_health(|health| health.failure = failure) {
        return;
    }
    let hosts: Vec<Arc<Host>> = shared
        .hosts
        .values()
        .filter(|host| Arc::ptr_eq(&host.runtime, runtime) && host.reported.lock().is_some())
        .cloned()
        .collect();
    heartbeat::report(shared, &hosts).await;
    if ready != was_ready {
        for host in &hosts {
            heartbeat::node_event(shared, host, EventType::Normal, ready);
        }
    }
}

/// Removes what ran before the agent began and belongs to no pod of the API.
async fn remove_orphans(shared: &Arc<Shared>, runtime: &Arc<HostRuntime>) {
    for orphan in shared.take_orphans() {
        let id = orphan.sandbox.id;
        tracing::info!(pod = orphan.config.name, uid = %id, "removing a pod that the API does not have");
        if let Err(error) = runtime.runtime.remove_pod(&id).await {
            tracing::warn!(uid = %id, %error, "orphaned pod not removed");
        }
    }
    let known: HashSet<String> = shared.known_uids();
    let mine = shared.hosts.values().filter(|host| Arc::ptr_eq(&host.runtime, runtime));
    for host in mine {
        if let Err(error) = host.network.reconcile(&known).await {
            tracing::warn!(node = %host.name, %error, "old pod addresses not released");
        }
    }
    if let Some(state) = shared.machine.state() {
        let (state, logs) = (state.to_owned(), shared.logs.clone());
        let work = tokio::task::spawn_blocking(move || {
            for uid in volumes::pods_on_disk(&state) {
                if !known.contains(&uid)
                    && let Err(error) = volumes::remove(&state, &uid)
                {
                    tracing::warn!(uid, %error, "orphaned volumes not removed");
                }
            }
            logs::remove_unknown(&logs, |uid| known.contains(uid));
        });
        if let Err(error) = work.await {
            tracing::warn!(%error, "orphaned files not removed");
        }
    }
}
