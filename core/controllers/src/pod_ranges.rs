//! Where the pods of a node have their addresses, for nodes that ask: none sees another, so none can
//! tell what is free.

use async_trait::async_trait;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use pinnace_api::patch::Patch;
use pinnace_api::{Key, Result};
use pinnace_client::{Api, EventType, ListOptions, Lister, Recorder};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};
use serde_json::json;

use crate::Context;

/// The annotation by which a node asks for a range.
pub const POD_RANGE_WANTED: &str = "pinnace.dev/pod-range-wanted";
/// Where ranges are given from: what nodes pick by themselves begins elsewhere, as do most networks
/// of offices.
const SPACE: ([u8; 4], u8) = ([10, 128, 0, 0], 9);
/// The length of the prefix of a node's range, as upstream's.
const PREFIX: u8 = 24;

/// The controller. Ranges are given one after the other, lest two nodes get the same.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let nodes = context.informers.of::<Node>()?;
    let ranges = Ranges {
        nodes: nodes.clone(),
        api: context.client().of()?,
        recorder: context.recorder.component("cidrAllocator"),
    };
    let controller = Controller::new(ranges, &context.env).workers(1);
    Ok(controller.maps(nodes.informer(), |delta, queue| {
        let node = delta.new.as_ref();
        if let Some(node) = node.filter(|node| node.get::<Node>().is_ok_and(wants)) {
            queue.add(node.key());
        }
    }))
}

struct Ranges {
    nodes: Lister<Node>,
    api: Api<Node>,
    recorder: Recorder,
}

#[async_trait]
impl Reconciler for Ranges {
    fn name(&self) -> &str {
        "node-ipam"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(node) = self.nodes.get(key).filter(|node| wants(node)) else {
            return Ok(Action::Done);
        };
        // What a cache says may be older than what was given last.
        let all = self.api.list(None, ListOptions::default()).await?;
        if all.items.iter().any(|other| other.object().key() == *key && !wants(other)) {
            return Ok(Action::Done);
        }
        let taken: Vec<Ipv4Net> = all.items.iter().flat_map(|node| ranges_of(node)).collect();
        let Some(range) = free(&taken) else {
            let message = format!("Node {} status is now: CIDRNotAvailable", key.name());
            let object = node.object();
            self.recorder.record(object, EventType::Normal, "CIDRNotAvailable", message);
            return Ok(Action::Done);
        };
        let range = range.to_string();
        let change = json!({"spec": {"podCIDR": range, "podCIDRs": [range]}});
        match self.api.patch(key, Patch::Merge(change)).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(Action::Done),
        }
    }
}

/// Whether a node asks for a range and has none.
fn wants(node: &Node) -> bool {
    let annotations = node.metadata.annotations.as_ref();
    annotations.is_some_and(|all| all.contains_key(POD_RANGE_WANTED)) && texts_of(node).is_empty()
}

fn texts_of(node: &Node) -> &[String] {
    node.spec.as_ref().and_then(|spec| spec.pod_cidrs.as_deref()).unwrap_or_default()
}

fn ranges_of(node: &Node) -> impl Iterator<Item = Ipv4Net> {
    texts_of(node).iter().filter_map(|range| range.parse().ok())
}

/// The first range that overlaps nothing that is taken.
fn free(taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    let space = Ipv4Net::new(SPACE.0.into(), SPACE.1).ok()?;
    let overlaps = |range: &Ipv4Net| {
        taken
            .iter()
            .any(|other| range.contains(&other.network()) || other.contains(&range.network()))
    };
    space.subnets(PREFIX).ok()?.find(|range| !overlaps(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_given_while_there_are_any() {
        let nets = |all: &[&str]| all.iter().map(|net| net.parse().unwrap()).collect::<Vec<_>>();
        let check = |taken: &[&str], expected: Option<&str>| {
            assert_eq!(free(&nets(taken)).map(|net| net.to_string()).as_deref(), expected);
        };
        check(&[], Some("10.128.0.0/24"));
        check(&["10.128.0.128/25", "10.128.2.0/24"], Some("10.128.1.0/24"));
        check(&["10.128.0.0/10"], Some("10.192.0.0/24"));
        check(&["10.0.0.0/8"], None);
    }
}
