//! Taint eviction: pods go from nodes whose `NoExecute` taints they don't tolerate, at once or
//! when the time that they tolerate them for is over.

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use pinnace_api::disruption::Disruption;
use pinnace_api::{Key, Object, Result, Typed};
use pinnace_client::{Api, DeleteOptions, EventType, Informer, Lister, Preconditions, Recorder};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Queue, Reconciler};

use crate::Context;
use crate::taints::{self, NO_EXECUTE};
use crate::{condition, pods};

const REASON: &str = "TaintManagerEviction";

/// The controller. Its keys are pods, and nodes (which have no namespace).
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let nodes = context.informers.of::<Node>()?;
    let pods = context.informers.of::<Pod>()?;
    pods::index_by_node(&pods);
    let reconciler = TaintEviction {
        nodes: nodes.clone(),
        pods: pods.clone(),
        api: context.client().of()?,
        recorder: context.recorder.component("taint-eviction-controller"),
        env: context.env.clone(),
        marked: Mutex::default(),
    };
    let (known_nodes, known_pods) = (nodes.informer().clone(), pods.informer().clone());
    Ok(Controller::new(reconciler, &context.env)
        .maps(nodes.informer(), move |delta, queue| {
            let Some(new) = &delta.new else { return };
            let driving = |node: &Object| -> Vec<Taint> {
                node.get().map(|node| no_execute(node).cloned().collect()).unwrap_or_default()
            };
            if delta.old.as_ref().map(driving).unwrap_or_default() != driving(new) {
                enqueue_pods(&known_pods, new.name(), queue);
            }
        })
        .maps(pods.informer(), move |delta, queue| {
            let Some(new) = &delta.new else { return };
            let Ok(pod) = new.get::<Pod>() else { return };
            let old = delta.old.as_ref().and_then(|old| old.get::<Pod>().ok());
            let same = |old: &Pod| {
                pods::node_name(old) == pods::node_name(pod)
                    && tolerations(old) == tolerations(pod)
                    && old.metadata.uid == pod.metadata.uid
            };
            if pods::node_name(pod).is_empty() || old.is_some_and(same) {
                return;
            }
            let node = known_nodes.get(&Key::cluster(pods::node_name(pod)));
            let tainted = node.as_ref().and_then(|node| node.get::<Node>().ok());
            if tainted.is_some_and(|node| no_execute(node).next().is_some()) {
                queue.add(new.key());
            }
        }))
}

fn enqueue_pods(pods: &Informer, node: &str, queue: &Queue) {
    for pod in pods.by_index(pods::BY_NODE, node) {
        queue.add(pod.key());
    }
}

fn no_execute(node: &Node) -> impl Iterator<Item = &Taint> {
    taints::taints(node).iter().filter(|taint| taint.effect == NO_EXECUTE)
}

fn tolerations(pod: &Pod) -> &[Toleration] {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default()
}

struct TaintEviction {
    nodes: Lister<Node>,
    pods: Lister<Pod>,
    api: Api<Pod>,
    recorder: Recorder,
    env: Env,
    /// The pods whose time runs, and since when. If their taint goes, people are told.
    marked: Mutex<HashMap<Key, Timestamp, ahash::RandomState>>,
}

#[async_trait]
impl Reconciler for TaintEviction {
    fn name(&self) -> &str {
        "taint-eviction"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let pod = self.pods.get(key).filter(|pod| !pod.object().is_deleting());
        let Some(pod) = pod else {
            self.marked.lock().remove(key);
            return Ok(Action::Done);
        };
        let node = self.nodes.get(&Key::cluster(pods::node_name(&pod)));
        let since = self.marked.lock().get(key).copied().unwrap_or_else(|| self.env.now());
        let stay = match &node {
            Some(node) => stay(&pod, no_execute(node), since),
            None => Stay::Forever,
        };
        match stay {
            Stay::Forever => {
                if self.marked.lock().remove(key).is_some() {
                    let message = format!("Cancelling deletion of Pod {key}");
                    self.recorder.record(pod.object(), EventType::Normal, REASON, message);
                }
                Ok(Action::Done)
            }
            Stay::Until(moment) => {
                let left = self.env.clock().until(moment);
                if !left.is_zero() {
                    self.marked.lock().insert(key.clone(), since);
                    return Ok(Action::RequeueAfter(left));
                }
                self.evict(key, &pod).await?;
                self.marked.lock().remove(key);
                Ok(Action::Done)
            }
        }
    }
}

impl TaintEviction {
    async fn evict(&self, key: &Key, pod: &Typed<Pod>) -> Result<()> {
        let message = format!("Marking for deletion Pod {key}");
        self.recorder.record(pod.object(), EventType::Normal, REASON, message);
        let uid = pod.metadata.uid.clone();
        let now = Time(self.env.clock().now_seconds());
        let noted = self.api.modify_status(key, |pod| {
            let same = pod.metadata.uid == uid;
            if same {
                Disruption::Taint.mark(pod, &now);
            }
            same
        });
        let options = DeleteOptions {
            preconditions: Some(Preconditions { uid: uid.clone(), ..Default::default() }),
            ..Default::default()
        };
        let gone = match noted.await {
            Ok(_) => self.api.delete(key, options).await.map(drop),
            Err(error) => Err(error),
        };
        match gone {
            Err(error) if error.is_not_found() => Ok(()),
            gone => gone,
        }
    }
}

/// How long a pod may stay where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    Forever,
    Until(Timestamp),
}

/// The least time that the pod tolerates counts, from the moment at which both the pod and the
/// taint were there. A taint that does not say when it was added counts from `seen`.
fn stay<'a>(pod: &Pod, taints: impl Iterator<Item = &'a Taint>, seen: Timestamp) -> Stay {
    let mut stay = Stay::Forever;
    for taint in taints {
        let matching: Vec<_> =
            tolerations(pod).iter().filter(|one| taints::tolerates(one, taint)).collect();
        let least = matching.iter().filter_map(|one| one.toleration_seconds).min();
        let end = match least {
            _ if matching.is_empty() => Timestamp::MIN,
            None => continue,
            Some(seconds) => {
                let added = taint.time_added.as_ref().map_or(seen, |time| time.0);
                let both = added.max(placed(pod));
                both.checked_add(SignedDuration::from_secs(seconds.max(0)))
                    .unwrap_or(Timestamp::MAX)
            }
        };
        stay = match stay {
            Stay::Forever => Stay::Until(end),
            Stay::Until(other) => Stay::Until(other.min(end)),
        };
    }
    stay
}

/// When the pod was bound to its node.
fn placed(pod: &Pod) -> Timestamp {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let bound = condition::find(conditions, "PodScheduled")
        .filter(|scheduled| scheduled.status == "True")
        .and_then(|scheduled| scheduled.last_transition_time.as_ref());
    let made = pod.metadata.creation_timestamp.as_ref();
    bound.or(made).map_or(Timestamp::MIN, |time| time.0)
}
