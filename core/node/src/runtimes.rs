//! What runtimes tell: events of containers, and whether they answer.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use pinnace_runtime::{ContainerPhase, ContainerState, Error, PodState, RuntimeEvent};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use crate::agent::Shared;
use crate::host::{Health, Host, HostRuntime};
use crate::{csi, heartbeat, logs, volumes};

/// How long to wait before asking again a runtime that does not answer: at first, and at most.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How long the agent waits for more after it has missed events.
const SETTLE: Duration = Duration::from_millis(20);
/// How long nodes wait for their runtime before they are registered without it.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

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
    shared.keep_found(runtime, found);
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
            Ok(RuntimeEvent::Lost { message }) => {
                let lost = Error::Unavailable { runtime: runtime.runtime.name(), message };
                note(shared, runtime, Err(lost)).await;
            }
            Ok(RuntimeEvent::Recovered) => look_again(shared, runtime).await,
            Err(RecvError::Lagged(_)) => catch_up(shared, runtime).await,
            Err(RecvError::Closed) => return,
        }
    }
}

/// Asks the runtimes for the first time how they are, so that nodes are registered as they are.
pub(crate) async fn ask(runtimes: &[Arc<HostRuntime>]) {
    let ask = |runtime: &Arc<HostRuntime>| {
        let runtime = runtime.clone();
        async move {
            let answer = tokio::time::timeout(ANSWER_WITHIN, runtime.ask()).await;
            match answer {
                Ok(answer) => runtime.note(answer),
                Err(_) => runtime.set_health(|health| {
                    health.failure = Some(format!("no answer within {ANSWER_WITHIN:?}"));
                }),
            };
        }
    };
    futures::future::join_all(runtimes.iter().map(ask)).await;
}

/// Asks until the runtime has answered what pods it has.
async fn find(shared: &Arc<Shared>, runtime: &Arc<HostRuntime>) -> Vec<PodState> {
    let mut retry = RETRY_FIRST;
    loop {
        let answer = runtime.ask().await;
        let found = match &answer {
            Ok(_) => runtime.runtime.list_pods().await,
            Err(_) => Ok(Vec::new()),
        };
        let (answer, found) = match found {
            Ok(found) => (answer, found),
            Err(error) => (Err(error), Vec::new()),
        };
        let answered = answer.is_ok();
        note(shared, runtime, answer).await;
        if answered {
            return found;
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(RETRY_MAX);
    }
}

/// Looks at everything again: something may have happened that was not told.
async fn look_again(shared: &Arc<Shared>, runtime: &Arc<HostRuntime>) {
    let answer = match runtime.runtime.check().await {
        Ok(()) => runtime.ask().await,
        Err(error) => Err(error),
    };
    note(shared, runtime, answer).await;
    shared.signal_all(runtime, |signals| signals.runtime = true);
}

/// Finds out what events that were missed would have told: whether the containers still run that
/// are believed to. Only what has ended is told of to its pod.
async fn catch_up(shared: &Arc<Shared>, runtime: &Arc<HostRuntime>) {
    // Events are missed when many come at once: let all of them come.
    tokio::time::sleep(SETTLE).await;
    for slot in shared.slots_of(runtime) {
        for id in slot.running() {
            let found = runtime.runtime.container(&id).await;
            let runs =
                |found: &ContainerState| matches!(found.phase, ContainerPhase::Running { .. });
            if !matches!(&found, Ok(Some(found)) if runs(found)) {
                slot.signal(shared, |signals| signals.runtime = true);
            }
        }
    }
}

/// Asks a runtime again that did not answer.
pub(crate) async fn check_again(shared: &Arc<Shared>, runtime: &Arc<HostRuntime>) {
    let failed = runtime.is_adopted() && runtime.health().failure.is_some();
    if failed && runtime.runtime.check().await.is_ok() {
        look_again(shared, runtime).await;
    }
}

/// Notes what a runtime says of itself, and shows it on the nodes that depend on it.
async fn note(shared: &Arc<Shared>, runtime: &Arc<HostRuntime>, answer: Result<Health, Error>) {
    let was_ready = runtime.health().failure.is_none();
    if !runtime.note(answer) {
        return;
    }
    let failure = runtime.health().failure;
    if let Some(message) = &failure {
        tracing::warn!(runtime = runtime.runtime.name(), message, "runtime does not answer");
    }
    let registered =
        |host: &&Arc<Host>| Arc::ptr_eq(&host.runtime, runtime) && host.reported.lock().is_some();
    let hosts: Vec<Arc<Host>> = shared.hosts.values().filter(registered).cloned().collect();
    heartbeat::report(shared, &hosts).await;
    if failure.is_none() != was_ready {
        for host in &hosts {
            heartbeat::ready_event(shared, host, failure.is_none());
        }
    }
}

/// Removes what ran before the agent began and belongs to no pod of the API.
async fn remove_orphans(shared: &Arc<Shared>, runtime: &Arc<HostRuntime>) {
    for orphan in shared.take_orphans(runtime) {
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
        let (state, agent) = (state.to_owned(), shared.clone());
        let handle = tokio::runtime::Handle::current();
        // Asked anew for each: a pod is known before it has files.
        let work = shared.tasks.spawn_blocking(move || {
            for uid in volumes::pods_on_disk(&state) {
                if !agent.knows(&uid) && agent.csi.has_volumes(&uid) {
                    // Their drivers may not be there yet.
                    agent.tasks.spawn_on(csi::remove_orphan(agent.clone(), uid), &handle);
                } else if !agent.knows(&uid)
                    && let Err(error) = volumes::remove(&state, &uid)
                {
                    tracing::warn!(uid, %error, "orphaned volumes not removed");
                }
            }
            logs::remove_unknown(&agent.logs, |uid| agent.knows(uid));
        });
        if let Err(error) = work.await {
            tracing::warn!(%error, "orphaned files not removed");
        }
    }
}
