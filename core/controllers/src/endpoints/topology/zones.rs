//! Which part of the nodes' processors each zone has.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use pinnace_api::quantity::Quantity;
use pinnace_api::{Object, Typed};
use pinnace_client::Delta;

const ZONE: &str = "topology.kubernetes.io/zone";
/// Nodes with one of these labels are not for the pods of services.
const EXCLUDED: [&str; 2] =
    ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// The part of each zone, all together 1.
pub(super) type Shares = BTreeMap<String, f64>;

/// What counts of a node: its zone, if it has one, and its processors in thousandths.
type Weight = (Option<String>, i64);

/// Whether a change of a node may change the shares.
pub(in super::super) fn matters(delta: &Delta) -> bool {
    let view = |object: &Object| object.get::<Node>().ok().and_then(weight);
    delta.old.as_ref().map(view) != delta.new.as_ref().map(view)
}

/// The shares of all nodes that are ready.
///
/// # Errors
/// That too little is known of some node, or that there are not two zones.
pub(super) fn shares(nodes: &[Typed<Node>]) -> Result<Shares, String> {
    let mut millis: BTreeMap<String, i64> = BTreeMap::new();
    for (zone, cpu) in nodes.iter().filter_map(|node| weight(node)) {
        match zone {
            Some(zone) if cpu > 0 => *millis.entry(zone).or_default() += cpu,
            _ => return Err(insufficient()),
        }
    }
    if millis.len() < 2 {
        return Err(insufficient());
    }
    let total: i64 = millis.values().sum();
    #[expect(clippy::cast_precision_loss, reason = "no cluster has as many processors")]
    let part = |millis: i64| millis as f64 / total as f64;
    Ok(millis.into_iter().map(|(zone, millis)| (zone, part(millis))).collect())
}

fn insufficient() -> String {
    let what = "allocatable CPU or zone not specified on one or more nodes";
    format!("Insufficient Node information: {what}")
}

/// What counts of a node; `None` for one that does not count.
fn weight(node: &Node) -> Option<Weight> {
    let labels = node.metadata.labels.as_ref();
    let has = |name: &&str| labels.is_some_and(|labels| labels.contains_key(*name));
    let status = node.status.as_ref()?;
    let mut conditions = status.conditions.iter().flatten();
    let is_ready =
        conditions.find(|one| one.type_ == "Ready").is_some_and(|one| one.status == "True");
    if !is_ready || EXCLUDED.iter().any(has) {
        return None;
    }
    let cpu = status.allocatable.as_ref().and_then(|all| all.get("cpu"));
    let cpu = cpu.and_then(|cpu| Quantity::parse(&cpu.0).ok()).map_or(0, Quantity::millis);
    let zone = labels.and_then(|labels| labels.get(ZONE)).filter(|zone| !zone.is_empty());
    Some((zone.cloned(), cpu))
}
