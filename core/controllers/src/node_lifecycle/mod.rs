//! Node lifecycle: a node that is silent for too long is taken for failed; taints say what is
//! wrong with a node, so that pods keep away from it or leave it.

mod conditions;
mod health;
mod zones;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::{Key, Object, Result, Typed};
use pinnace_client::{Api, Delta, EventType, Lister, Recorder};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Queue, Reconciler};

use crate::Context;
use crate::{condition, pods, taints};
use health::Health;
use zones::{Verdict, Zones};

/// How long a node may be silent.
const MONITOR_GRACE: Duration = Duration::from_secs(50);
/// How long a node may be silent that has never said how it is.
const STARTUP_GRACE: Duration = Duration::from_secs(60);
/// How soon a node is looked at again that gave a sign of life just before it was given up.
const MONITOR_PERIOD: Duration = Duration::from_secs(5);
/// Where nodes renew their leases.
const LEASES: &str = "kube-node-lease";
/// After how many pods other tasks get their turn.
const YIELD_EVERY: usize = 8;

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let nodes = context.informers.of::<Node>()?;
    let leases = context.informers.of::<Lease>()?;
    let pods = context.informers.of::<Pod>()?;
    pods::index_by_node(&pods);
    let recorder = context.recorder.component("node-controller");
    let health = Arc::new(Health::default());
    let zones = Arc::new(Zones::default());
    let reconciler = NodeLifecycle {
        nodes: nodes.clone(),
        pods: pods.clone(),
        node_api: context.client().of()?,
        pod_api: context.client().of()?,
        recorder: recorder.clone(),
        env: context.env.clone(),
        health: health.clone(),
        zones: zones.clone(),
    };
    let known_nodes = nodes.clone();
    let renewals = health.clone();
    Ok(Controller::new(reconciler, &context.env)
        .maps(leases.informer(), move |delta, _| note_renewal(delta, &renewals))
        .maps(nodes.informer(), move |delta, queue| {
            note_node(delta, &health, &zones, &recorder, queue);
        })
        .maps(pods.informer(), move |delta, queue| {
            if let Some(node) = late_pod(delta, &known_nodes) {
                queue.add(node);
            }
        }))
}

fn note_renewal(delta: &Delta, health: &Health) {
    let Some(new) = delta.new.as_ref().filter(|lease| lease.namespace() == LEASES) else { return };
    let time = |lease: &Object| -> Option<_> {
        lease.get::<Lease>().ok()?.spec.as_ref()?.renew_time.clone()
    };
    if delta.old.as_ref().and_then(time) != time(new) {
        health.heard(new.name());
    }
}

/// Notes signs of life, counts the node in its zone, and enqueues it if anything but the time of
/// its heartbeat has changed.
fn note_node(delta: &Delta, health: &Health, zones: &Zones, recorder: &Recorder, queue: &Queue) {
    let Some(object) = delta.object() else { return };
    let name = object.name();
    let old = delta.old.as_ref().and_then(|old| old.get::<Node>().ok());
    let new = delta.new.as_ref().and_then(|new| new.get::<Node>().ok());
    match new {
        None => {
            health.forget(name);
            let message = format!("Node {name} event: Removing Node {name} from Controller");
            recorder.record(object, EventType::Normal, "RemovingNode", message);
        }
        Some(node) => {
            let ready = conditions::ready(node);
            // What this controller writes itself is no sign of life.
            let spoke = ready.is_some_and(|ready| ready.status != "Unknown");
            if spoke && old.and_then(conditions::ready) != ready {
                health.heard(name);
            }
            if old.is_none_or(|old| facts(old) != facts(node)) {
                queue.add(Key::cluster(name));
            }
        }
    }
    let consequence = zones.set(name, new);
    if consequence.start_over {
        health.heard_all();
    }
    for node in consequence.look_at {
        queue.add(Key::cluster(node));
    }
}

/// All that this controller asks about a node, but for times.
#[derive(PartialEq)]
struct Facts<'a> {
    uid: Option<&'a str>,
    taints: &'a [Taint],
    unschedulable: Option<bool>,
    conditions: Vec<(&'a str, &'a str)>,
}

fn facts(node: &Node) -> Facts<'_> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref());
    let conditions = conditions.unwrap_or_default().iter();
    Facts {
        uid: node.metadata.uid.as_deref(),
        taints: taints::taints(node),
        unschedulable: node.spec.as_ref().and_then(|spec| spec.unschedulable),
        conditions: conditions.map(|one| (one.type_.as_str(), one.status.as_str())).collect(),
    }
}

/// The failed node of a pod that the cache learns of too late to be marked with the others.
fn late_pod(delta: &Delta, nodes: &Lister<Node>) -> Option<Key> {
    let pod = delta.new.as_ref()?.get::<Pod>().ok()?;
    let node = pods::node_name(pod);
    let old = delta.old.as_ref().and_then(|old| old.get::<Pod>().ok());
    if node.is_empty()
        || old.is_some_and(|old| pods::node_name(old) == node)
        || pods::ready_since(pod).is_none()
    {
        return None;
    }
    let key = Key::cluster(node);
    let node = nodes.get(&key)?;
    is_unknown(&node).then_some(key)
}

fn is_unknown(node: &Node) -> bool {
    conditions::ready(node).is_some_and(|ready| ready.status == "Unknown")
}

struct NodeLifecycle {
    nodes: Lister<Node>,
    pods: Lister<Pod>,
    node_api: Api<Node>,
    pod_api: Api<Pod>,
    recorder: Recorder,
    env: Env,
    health: Arc<Health>,
    zones: Arc<Zones>,
}

#[async_trait]
impl Reconciler for NodeLifecycle {
    fn name(&self) -> &str {
        "node-lifecycle"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(node) = self.nodes.get(key) else { return Ok(Action::Done) };
        let name = key.name();
        if self.health.meet(name) {
            let message = format!("Node {name} event: Registered Node {name} in Controller");
            self.recorder.record(node.object(), EventType::Normal, "RegisteredNode", message);
        }
        let known = conditions::ready(&node).is_some();
        let grace = if known { MONITOR_GRACE } else { STARTUP_GRACE };
        let left = grace.saturating_sub(self.health.silence(name));
        if left.is_zero() && !is_unknown(&node) {
            self.give_up(key, &node).await?;
            // The change brings the node back, counted as failed.
            return Ok(Action::RequeueAfter(MONITOR_PERIOD));
        }
        let turn = self.settle_taints(key, &node).await?;
        if is_unknown(&node) {
            self.mark_pods(name).await?;
        }
        let look = Some(left).filter(|left| !left.is_zero());
        match turn.into_iter().chain(look).min() {
            Some(wait) => Ok(Action::RequeueAfter(wait)),
            None => Ok(Action::Done),
        }
    }
}

impl NodeLifecycle {
    /// Marks a silent node as unknown, unless it has spoken since.
    async fn give_up(&self, key: &Key, seen: &Typed<Node>) -> Result<()> {
        let now = self.env.clock().now_seconds();
        let mut was_ready = false;
        let written = self.node_api.modify_status(key, |node| {
            let heartbeat = |ready: &NodeCondition| ready.last_heartbeat_time.clone();
            let quiet = node.metadata.uid == seen.metadata.uid
                && conditions::ready(node).map(heartbeat) == conditions::ready(seen).map(heartbeat);
            if quiet {
                was_ready = taints::is_ready(node);
                conditions::set_unknown(node, now);
            }
            quiet
        });
        match written.await {
            Ok(node) if was_ready => {
                let message = format!("Node {} status is now: NodeNotReady", key.name());
                self.recorder.record(node.object(), EventType::Normal, "NodeNotReady", message);
                Ok(())
            }
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Gives the node the taints that its conditions ask for. If its pods are to be driven away
    /// later, says when.
    async fn settle_taints(&self, key: &Key, node: &Typed<Node>) -> Result<Option<Duration>> {
        let mut wait = None;
        let driven = taints::taints(node).iter().any(|taint| {
            taint.effect == taints::NO_EXECUTE
                && [conditions::NOT_READY, conditions::UNREACHABLE].contains(&taint.key.as_str())
        });
        let driving =
            conditions::driving_taint(node).filter(|_| match self.zones.ask(key.name()) {
                Verdict::Go => true,
                Verdict::Wait(left) => {
                    wait = Some(left).filter(|_| !driven);
                    driven
                }
                Verdict::Stop => driven,
                Verdict::Undo => false,
            });
        let now = self.env.clock().now_seconds();
        let wanted = conditions::wanted(node, driving);
        let mut taints = taints::taints(node).to_vec();
        if !conditions::set_taints(&mut taints, &wanted, now) {
            return Ok(wait);
        }
        let written = self.node_api.modify(key, |node| {
            let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
            conditions::set_taints(taints, &wanted, now)
        });
        match written.await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(wait),
        }
    }

    /// Nobody on a failed node will say that its pods are not ready, so this does.
    async fn mark_pods(&self, node: &str) -> Result<()> {
        let now = self.env.clock().now_seconds();
        let ready = |pod: &Typed<Pod>| pods::ready_since(pod).is_some();
        let pods = self.pods.by_index(pods::BY_NODE, node);
        for (count, pod) in pods.into_iter().filter(ready).enumerate() {
            let key = pod.object().key();
            let marked = self.pod_api.modify_status(&key, |fresh| {
                let status = fresh.status.get_or_insert_default();
                let Some(ready) = condition::find(status.conditions.as_ref(), "Ready") else {
                    return false;
                };
                if ready.status == "False" || fresh.metadata.uid != pod.metadata.uid {
                    return false;
                }
                let mut ready = ready.clone();
                ready.status = "False".to_owned();
                ready.last_transition_time = Some(Time(now));
                condition::set(&mut status.conditions, ready);
                true
            });
            match marked.await {
                Ok(pod) => {
                    let message = "Node is not ready";
                    self.recorder.record(pod.object(), EventType::Warning, "NodeNotReady", message);
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
            if count % YIELD_EVERY == YIELD_EVERY - 1 {
                tokio::task::yield_now().await;
            }
        }
        Ok(())
    }
}
