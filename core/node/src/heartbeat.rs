//! Nodes and their Leases in the API: registered once, renewed in turn by one timer.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use pinnace_api::{Key, Object};
use pinnace_client::EventType;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::agent::Shared;
use crate::host::{Host, HostRuntime};
use crate::{node, runtimes};

/// Where upstream keeps the Leases of nodes.
const LEASE_NAMESPACE: &str = "kube-node-lease";
/// How long a Lease holds, in seconds, and how often it is renewed.
const LEASE_SECONDS: i32 = 40;
const RENEW_EVERY: Duration = Duration::from_secs(10);
/// How often the status of a node is written although nothing has changed.
const REPORT_EVERY: Duration = Duration::from_secs(300);
/// Into how many parts the nodes are divided, so that their writes spread over the interval.
const PARTS: usize = 100;
/// How many writes may be under way at once.
const WRITES_AT_ONCE: usize = 32;
/// How long a node waits that could not be registered: at first, and at most.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(7);

/// Registers all nodes, trying until each of them is.
pub(crate) async fn register(shared: &Arc<Shared>) {
    let all = futures::stream::iter(shared.hosts.values());
    all.for_each_concurrent(WRITES_AT_ONCE, |host| register_one(shared, host)).await;
}

async fn register_one(shared: &Arc<Shared>, host: &Arc<Host>) {
    let mut retry = RETRY_FIRST;
    loop {
        let registered = write_node(shared, host).await;
        match registered {
            Ok(()) => break,
            Err(error) => {
                tracing::warn!(node = %host.name, %error, "node not registered");
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }
    node_event(shared, host, "Starting", "Starting kubelet.");
    renew(shared, host).await;
}

/// Creates the Node, or takes over the one that exists: its user's labels, annotations and taints
/// stay.
async fn write_node(shared: &Arc<Shared>, host: &Arc<Host>) -> pinnace_api::Result<()> {
    let key = Key::cluster(&*host.name);
    let now = shared.env.clock().now_seconds();
    let health = host.runtime.health();
    let created = match shared.nodes.find(&key).await? {
        Some(_) => None,
        None => {
            let new = node::object(host, &shared.machine, &health, now);
            match shared.nodes.create(new).await {
                Err(error) if error.is_already_exists() => None,
                created => Some(created?),
            }
        }
    };
    if created.is_none() {
        shared.nodes.modify(&key, |present| node::adopt(host, present)).await?;
    }
    let complete = created
        .is_some_and(|node| node.status.as_ref().is_some_and(|status| status.conditions.is_some()));
    if !complete {
        write_status(shared, host).await?;
    }
    *host.reported.lock() = Some(Instant::now());
    Ok(())
}

/// Writes the status of a node.
///
/// # Errors
/// What the API answers.
pub(crate) async fn write_status(
    shared: &Arc<Shared>,
    host: &Arc<Host>,
) -> pinnace_api::Result<()> {
    let health = host.runtime.health();
    let now = shared.env.clock().now_seconds();
    let key = Key::cluster(&*host.name);
    let change = |node: &mut Node| {
        // Read with the node: what is written then is newer than what another writer has written.
        let in_use = shared.csi.in_use();
        let (machine, current) = (&shared.machine, node.status.as_ref());
        let status = node::status(host, machine, &health, current, in_use, now);
        node.status = Some(status);
        true
    };
    shared.nodes.modify_status(&key, change).await?;
    *host.reported.lock() = Some(Instant::now());
    Ok(())
}

/// Writes the status of some nodes.
pub(crate) async fn report(shared: &Arc<Shared>, hosts: &[Arc<Host>]) {
    let all = futures::stream::iter(hosts);
    all.for_each_concurrent(WRITES_AT_ONCE, |host| async move {
        if let Err(error) = write_status(shared, host).await {
            tracing::warn!(node = %host.name, %error, "node status not written");
        }
    })
    .await;
}

/// Renews all Leases in turn, and now and then the nodes' status, as long as it is polled.
pub(crate) async fn run(
    shared: &Arc<Shared>,
    runtimes: &[Arc<HostRuntime>],
    mut synced: watch::Receiver<bool>,
) {
    // The sender lives as long as the agent runs.
    let _ = synced.wait_for(|synced| *synced).await;
    let mut hosts: Vec<&Arc<Host>> = shared.hosts.values().collect();
    if hosts.is_empty() {
        return;
    }
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    let parts = hosts.len().min(PARTS);
    let parts_u32 = u32::try_from(parts).unwrap_or(1);
    let mut ticks = tokio::time::interval(RENEW_EVERY / parts_u32);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first tick is now, and all Leases have just been renewed.
    ticks.tick().await;
    for part in (0..parts).cycle() {
        ticks.tick().await;
        if part == 0 {
            for runtime in runtimes {
                runtimes::check_again(shared, runtime).await;
            }
        }
        let due = hosts.iter().skip(part).step_by(parts);
        futures::stream::iter(due)
            .for_each_concurrent(WRITES_AT_ONCE, |host| async {
                renew(shared, host).await;
                let reported = *host.reported.lock();
                let stale =
                    reported.is_none_or(|at| at.elapsed() + RENEW_EVERY / 2 >= REPORT_EVERY);
                if stale && let Err(error) = write_status(shared, host).await {
                    tracing::warn!(node = %host.name, %error, "node status not written");
                }
            })
            .await;
    }
}

async fn renew(shared: &Arc<Shared>, host: &Arc<Host>) {
    if let Err(error) = try_renew(shared, host).await {
        tracing::warn!(node = %host.name, %error, "lease not renewed");
    }
}

async fn try_renew(shared: &Arc<Shared>, host: &Arc<Host>) -> pinnace_api::Result<()> {
    let api = shared.client.of::<Lease>()?;
    let key = Key::new(LEASE_NAMESPACE, &*host.name);
    let now = MicroTime(shared.env.clock().now_micros());
    let spec = LeaseSpec {
        holder_identity: Some(host.name.to_string()),
        lease_duration_seconds: Some(LEASE_SECONDS),
        renew_time: Some(now),
        ..LeaseSpec::default()
    };
    let renewed = api.modify(&key, |lease| {
        lease.spec = Some(spec.clone());
        true
    });
    match renewed.await {
        Err(error) if error.is_not_found() => {}
        renewed => return renewed.map(drop),
    }
    let node = shared.nodes.find(&Key::cluster(&*host.name)).await?;
    let owner = node.and_then(|node| node.metadata.uid.clone()).map(|uid| OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: host.name.to_string(),
        uid,
        ..OwnerReference::default()
    });
    let metadata = ObjectMeta {
        name: Some(host.name.to_string()),
        namespace: Some(LEASE_NAMESPACE.to_owned()),
        owner_references: owner.map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    api.create(Lease { metadata, spec: Some(spec) }).await.map(drop)
}

/// Records that a node has become ready, or ceased to be.
pub(crate) fn ready_event(shared: &Arc<Shared>, host: &Host, ready: bool) {
    let reason = if ready { "NodeReady" } else { "NodeNotReady" };
    let message = format!("Node {} status is now: {reason}", host.name);
    node_event(shared, host, reason, &message);
}

fn node_event(shared: &Arc<Shared>, host: &Host, reason: &str, message: &str) {
    // One such Event per simulated node would crowd out those of pods.
    if shared.machine.state().is_none() {
        return;
    }
    let about = Node {
        metadata: ObjectMeta {
            name: Some(host.name.to_string()),
            // Events about nodes name them by name, as upstream's do.
            uid: Some(host.name.to_string()),
            ..ObjectMeta::default()
        },
        ..Node::default()
    };
    host.recorder.record(&Object::new(about), EventType::Normal, reason, message);
}
