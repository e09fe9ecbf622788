//! `metrics.k8s.io`: what nodes and pods use, as their agents measure it when somebody asks. A node
//! that does not answer is left out, with its pods, as upstream's metrics-server does.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use pinnace_api::metrics::{Amounts, ContainerMetrics, NodeMetrics, PodMetrics, window};
use pinnace_api::quantity::Quantity;
use pinnace_api::{Key, Object, Result};
use pinnace_client::summary::{CpuUse, MemoryUse, PodUse, Summary};

use super::{Computed, Wanted};
use crate::Server;

/// How many nodes are asked at once.
const NODES_AT_ONCE: usize = 32;
/// How long a node may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What nodes use.
pub(super) struct Nodes;

/// What pods use.
pub(super) struct Pods;

#[async_trait]
impl Computed for Nodes {
    async fn get(&self, server: &Server, key: &Key) -> Result<Option<Object>> {
        let found = server.snapshot().get("nodes", key).cloned();
        let Some(node) = found else { return Ok(None) };
        Ok(ask(server, node.name()).await.and_then(|summary| of_node(server, &node, &summary)))
    }

    async fn list(
        &self,
        server: &Server,
        _namespace: Option<&str>,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<Object>> {
        let nodes: Vec<Object> = {
            let snapshot = server.snapshot();
            snapshot.iter("nodes").filter(|node| wanted.has(node)).cloned().collect()
        };
        let answers = stream::iter(nodes).map(|node| async move {
            let summary = ask(server, node.name()).await?;
            of_node(server, &node, &summary)
        });
        Ok(answers.buffered(NODES_AT_ONCE).filter_map(std::future::ready).collect().await)
    }
}

#[async_trait]
impl Computed for Pods {
    async fn get(&self, server: &Server, key: &Key) -> Result<Option<Object>> {
        let found = server.snapshot().get("pods", key).cloned();
        Ok(of_pods(server, found.into_iter().collect()).await.pop())
    }

    async fn list(
        &self,
        server: &Server,
        namespace: Option<&str>,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<Object>> {
        let pods: Vec<Object> = {
            let snapshot = server.snapshot();
            let all: Box<dyn Iterator<Item = &Object>> = match namespace {
                Some(namespace) => Box::new(snapshot.iter_namespace("pods", namespace)),
                None => Box::new(snapshot.iter("pods")),
            };
            all.filter(|pod| wanted.has(pod)).cloned().collect()
        };
        Ok(of_pods(server, pods).await)
    }
}

/// What a node measures; `None` when it does not say.
async fn ask(server: &Server, name: &str) -> Option<Summary> {
    let asked = async { server.node(name)?.summary(true).await };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(Ok(summary)) => Some(summary),
        Ok(Err(error)) => {
            tracing::debug!(node = name, %error, "nothing measured");
            None
        }
        Err(_) => {
            tracing::debug!(node = name, "nothing measured within {PATIENCE:?}");
            None
        }
    }
}

/// What some pods use, in their order. Each of their nodes is asked once.
async fn of_pods(server: &Server, pods: Vec<Object>) -> Vec<Object> {
    let mut by_node: BTreeMap<String, Vec<(usize, Object)>> = BTreeMap::new();
    for (index, pod) in pods.into_iter().enumerate() {
        if let Some(node) = running_on(&pod) {
            by_node.entry(node).or_default().push((index, pod));
        }
    }
    let answers = stream::iter(by_node).map(|(node, pods)| async move {
        let summary = ask(server, &node).await?;
        let uses: BTreeMap<&str, &PodUse> =
            summary.pods.iter().map(|one| (&*one.pod_ref.uid, one)).collect();
        let made = pods
            .iter()
            .filter_map(|(index, pod)| Some((*index, of_pod(server, pod, uses.get(pod.uid())?)?)));
        Some(made.collect::<Vec<_>>())
    });
    let found: Vec<Option<Vec<_>>> = answers.buffer_unordered(NODES_AT_ONCE).collect().await;
    let mut found: Vec<(usize, Object)> = found.into_iter().flatten().flatten().collect();
    found.sort_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, object)| object).collect()
}

fn running_on(pod: &Object) -> Option<String> {
    let pod = pod.typed::<Pod>().ok()?;
    let runs = pod.status.as_ref()?.phase.as_deref() == Some("Running");
    pod.spec.as_ref()?.node_name.clone().filter(|name| runs && !name.is_empty())
}

fn of_node(server: &Server, node: &Object, summary: &Summary) -> Option<Object> {
    let (cpu, memory) = (summary.node.cpu?, summary.node.memory?);
    Some(Object::new(NodeMetrics {
        metadata: metadata(server, node),
        timestamp: Time(seconds(cpu.time)),
        window: window(cpu.window),
        usage: amounts(Some(cpu), Some(memory))?,
    }))
}

/// What a pod uses; `None` before anything is known of one of its containers.
fn of_pod(server: &Server, pod: &Object, found: &PodUse) -> Option<Object> {
    let first = found.containers.first()?.cpu?;
    let container = |one: &pinnace_client::summary::ContainerUse| {
        Some(ContainerMetrics { name: one.name.clone(), usage: amounts(one.cpu, one.memory)? })
    };
    Some(Object::new(PodMetrics {
        metadata: metadata(server, pod),
        timestamp: Time(seconds(first.time)),
        window: window(first.window),
        containers: found.containers.iter().map(container).collect::<Option<_>>()?,
    }))
}

fn metadata(server: &Server, of: &Object) -> ObjectMeta {
    let namespace = Some(of.namespace().to_owned()).filter(|namespace| !namespace.is_empty());
    ObjectMeta {
        name: Some(of.name().to_owned()),
        namespace,
        labels: of.meta().labels.clone(),
        creation_timestamp: Some(Time(server.env().clock().now_seconds())),
        ..ObjectMeta::default()
    }
}

fn amounts(cpu: Option<CpuUse>, memory: Option<MemoryUse>) -> Option<Amounts> {
    let whole = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    let cpu = Quantity::from_nanos(whole(cpu?.usage_nano_cores?));
    let memory = Quantity::from_bytes(whole(memory?.working_set_bytes?));
    let text = |amount: Quantity| Text(amount.to_string());
    Some(Amounts::from([("cpu".to_owned(), text(cpu)), ("memory".to_owned(), text(memory))]))
}

/// Times of objects are whole seconds.
fn seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
