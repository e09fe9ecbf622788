//! Pod garbage collection: pods whose node is gone for good or out of service, pods that end
//! without ever having had a node, and the oldest of too many that have ended.

use std::cmp::Reverse;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::disruption::Disruption;
use pinnace_api::{Key, Result, Typed};
use pinnace_client::{Api, DeleteOptions, Lister, Preconditions};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Queue, Reconciler};

use crate::Context;
use crate::{pods, taints};

/// How long a node must be missing before its pods go.
const QUARANTINE: Duration = Duration::from_secs(40);
/// How many ended pods are kept.
const TERMINATED_MAX: usize = 12_500;
/// After how many pods other tasks get their turn.
const YIELD_EVERY: usize = 8;

/// The index of all pods that have ended, under one value.
const TERMINATED: &str = "terminated";
const ALL: &str = "";

/// The key that stands for all ended pods: no pod and no node has it.
fn terminated() -> Key {
    Key::cluster("")
}

/// The controller. Its keys are pods, nodes (which have no namespace) and [`terminated`].
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let nodes = context.informers.of::<Node>()?;
    let pods = context.informers.of::<Pod>()?;
    pods::index_by_node(&pods);
    pods.informer().index(TERMINATED, |pod| {
        let ended = pod.get::<Pod>().is_ok_and(pods::is_terminal);
        if ended { vec![ALL.to_owned()] } else { vec![] }
    });
    let reconciler = PodGc {
        nodes: nodes.clone(),
        pods: pods.clone(),
        node_api: context.client().of()?,
        pod_api: context.client().of()?,
        env: context.env.clone(),
    };
    let (known_nodes, known_pods) = (nodes.clone(), pods.clone());
    Ok(Controller::new(reconciler, &context.env)
        .maps(nodes.informer(), |delta, queue| match (&delta.old, &delta.new) {
            (Some(old), None) => queue.add_after(old.key(), QUARANTINE),
            (_, Some(new)) if new.get().is_ok_and(is_out_of_service) => queue.add(new.key()),
            _ => {}
        })
        .maps(pods.informer(), move |delta, queue| {
            let Some(new) = &delta.new else { return };
            let Ok(pod) = new.get::<Pod>() else { return };
            let old = delta.old.as_ref().and_then(|old| old.get::<Pod>().ok());
            if old.is_none_or(|old| facts(old) != facts(pod)) {
                sort_out(new.key(), pod, &known_nodes, &known_pods, queue);
            }
        }))
}

/// All that this controller asks about a pod.
fn facts(pod: &Pod) -> (&str, bool, bool, Option<&str>) {
    let meta = &pod.metadata;
    let deleting = meta.deletion_timestamp.is_some();
    (pods::node_name(pod), deleting, pods::is_terminal(pod), meta.uid.as_deref())
}

/// Enqueues what a change of a pod makes necessary.
fn sort_out(key: Key, pod: &Pod, nodes: &Lister<Node>, pods: &Lister<Pod>, queue: &Queue) {
    let deleting = pod.metadata.deletion_timestamp.is_some();
    let node = pods::node_name(pod);
    if node.is_empty() {
        if deleting {
            queue.add(key);
        }
    } else {
        match nodes.get(&Key::cluster(node)) {
            None => queue.add_after(Key::cluster(node), QUARANTINE),
            Some(node) if deleting && is_out_of_service(&node) => queue.add(key),
            Some(_) => {}
        }
    }
    if pods::is_terminal(pod) && ended(pods) > TERMINATED_MAX {
        queue.add(terminated());
    }
}

fn ended(pods: &Lister<Pod>) -> usize {
    pods.informer().count_by_index(TERMINATED, ALL)
}

fn is_out_of_service(node: &Node) -> bool {
    taints::is_out_of_service(node) && !taints::is_ready(node)
}

struct PodGc {
    nodes: Lister<Node>,
    pods: Lister<Pod>,
    node_api: Api<Node>,
    pod_api: Api<Pod>,
    env: Env,
}

#[async_trait]
impl Reconciler for PodGc {
    fn name(&self) -> &str {
        "pod-gc"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        if *key == terminated() {
            self.collect_terminated().await?;
        } else if key.namespace().is_empty() {
            self.look_at_node(key).await?;
        } else if let Some(pod) = self.pods.get(key) {
            self.look_at_pod(&pod).await?;
        }
        Ok(Action::Done)
    }
}

impl PodGc {
    async fn look_at_node(&self, key: &Key) -> Result<()> {
        let pods = self.pods.by_index(pods::BY_NODE, key.name());
        let going = |pod: &Typed<Pod>| pod.object().is_deleting();
        match self.nodes.get(key) {
            Some(node) if is_out_of_service(&node) => {
                self.collect(pods.into_iter().filter(going), None).await
            }
            Some(_) => Ok(()),
            // The cache may be behind; a pod that is taken for lost wrongly is lost.
            None if pods.is_empty() || self.node_api.find(key).await?.is_some() => Ok(()),
            None => self.collect(pods.into_iter(), Some(Disruption::NodeGone)).await,
        }
    }

    async fn look_at_pod(&self, pod: &Typed<Pod>) -> Result<()> {
        if !pod.object().is_deleting() {
            return Ok(());
        }
        let node = pods::node_name(pod);
        let collect = node.is_empty()
            || self.nodes.get(&Key::cluster(node)).is_some_and(|node| is_out_of_service(&node));
        if collect { self.fail_and_delete(pod, None).await } else { Ok(()) }
    }

    /// Evicted pods go first, then the oldest.
    async fn collect_terminated(&self) -> Result<()> {
        let surplus = ended(&self.pods).saturating_sub(TERMINATED_MAX);
        let mut pods = self.pods.by_index(TERMINATED, ALL);
        pods.sort_by_cached_key(|pod| {
            let reason = pod.status.as_ref().and_then(|status| status.reason.as_deref());
            let evicted = pods::phase(pod) == "Failed" && reason == Some("Evicted");
            let made = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
            (Reverse(evicted), made, pod.object().name().to_owned())
        });
        self.collect(pods.into_iter().take(surplus), None).await
    }

    async fn collect(
        &self,
        pods: impl Iterator<Item = Typed<Pod>> + Send,
        why: Option<Disruption<'static>>,
    ) -> Result<()> {
        let mut failure = Ok(());
        for (count, pod) in pods.enumerate() {
            if let Err(error) = self.fail_and_delete(&pod, why).await {
                failure = Err(error);
            }
            if count % YIELD_EVERY == YIELD_EVERY - 1 {
                tokio::task::yield_now().await;
            }
        }
        failure
    }

    /// No node agent will ever say how the pod has ended, so this does, for those who count on it.
    async fn fail_and_delete(
        &self,
        pod: &Typed<Pod>,
        why: Option<Disruption<'static>>,
    ) -> Result<()> {
        let key = pod.object().key();
        let now = Time(self.env.clock().now_seconds());
        let uid = pod.metadata.uid.clone();
        let failed = self.pod_api.modify_status(&key, |pod| {
            if pod.metadata.uid != uid || pods::is_terminal(pod) {
                return false;
            }
            pod.status.get_or_insert_default().phase = Some("Failed".to_owned());
            if let Some(why) = why {
                why.mark(pod, &now);
            }
            true
        });
        let options = DeleteOptions {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: uid.clone(), ..Default::default() }),
            ..Default::default()
        };
        let gone = match failed.await {
            Ok(_) => self.pod_api.delete(&key, options).await.map(drop),
            Err(error) => Err(error),
        };
        match gone {
            Err(error) if error.is_not_found() => Ok(()),
            gone => gone,
        }
    }
}
