//! What pods and nodes use.

use jiff::Timestamp;
use serde_json::Value;

use super::typed::Entry;
use super::{Column, NAME, cells};
use crate::metrics::{Amounts, NodeMetrics, PodMetrics};
use crate::quantity::Quantity;

const METRICS: &[Column] = &[
    NAME,
    Column::new("cpu", "string", "quantity", ""),
    Column::new("memory", "string", "quantity", ""),
    Column::new("Window", "string", "duration", ""),
];

pub(super) fn printers() -> Vec<Entry> {
    vec![Entry::new(METRICS, node), Entry::new(METRICS, pod)]
}

fn node(node: &NodeMetrics, _now: Timestamp) -> Vec<Value> {
    row(node.metadata.name.as_deref(), std::iter::once(&node.usage), &node.window)
}

fn pod(pod: &PodMetrics, _now: Timestamp) -> Vec<Value> {
    let usage = pod.containers.iter().map(|container| &container.usage);
    row(pod.metadata.name.as_deref(), usage, &pod.window)
}

fn row<'a>(
    name: Option<&str>,
    usage: impl Iterator<Item = &'a Amounts> + Clone,
    window: &str,
) -> Vec<Value> {
    let sum = |resource: &str| {
        let amounts = usage.clone().filter_map(|all| Quantity::parse(&all.get(resource)?.0).ok());
        let sum = amounts.reduce(|a, b| a.checked_add(b).unwrap_or(a));
        sum.map_or_else(|| "0".to_owned(), |sum| sum.to_string())
    };
    cells![name, sum("cpu"), sum("memory"), window]
}
