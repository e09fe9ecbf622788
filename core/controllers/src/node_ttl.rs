//! How long nodes may keep secrets and config maps for fresh: longer, the more nodes there are.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Node;
use pinnace_api::patch::Patch;
use pinnace_api::{Key, Result};
use pinnace_client::{Api, Lister};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};
use serde_json::json;

use crate::Context;

const ANNOTATION: &str = "node.alpha.kubernetes.io/ttl";
/// Seconds, each with the fewest and most nodes for which it holds: the bounds overlap, so that a
/// cluster at a bound does not write all its nodes again and again.
const STEPS: [(usize, usize, u32); 5] =
    [(0, 100, 0), (90, 500, 15), (450, 1_000, 30), (900, 2_000, 60), (1_800, usize::MAX, 300)];

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let nodes = context.informers.of::<Node>()?;
    let ttl = Ttl { nodes: nodes.clone(), api: context.client().of()?, step: AtomicUsize::new(0) };
    Ok(Controller::new(ttl, &context.env).maps(nodes.informer(), |delta, queue| {
        let annotation = |node: &Option<pinnace_api::Object>| {
            let annotations = node.as_ref().and_then(|node| node.meta().annotations.as_ref());
            annotations.and_then(|all| all.get(ANNOTATION).cloned())
        };
        // Heartbeats are of no concern.
        let changed = delta.old.is_none() || annotation(&delta.old) != annotation(&delta.new);
        if let Some(node) = delta.new.as_ref().filter(|_| changed) {
            queue.add(node.key());
        }
    }))
}

struct Ttl {
    nodes: Lister<Node>,
    api: Api<Node>,
    /// The step that holds.
    step: AtomicUsize,
}

#[async_trait]
impl Reconciler for Ttl {
    fn name(&self) -> &str {
        "ttl"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(node) = self.nodes.get(key) else { return Ok(Action::Done) };
        let step = step(self.step.load(Ordering::Relaxed), self.nodes.informer().len());
        self.step.store(step, Ordering::Relaxed);
        let seconds = STEPS[step].2.to_string();
        let annotations = node.metadata.annotations.as_ref();
        if annotations.and_then(|all| all.get(ANNOTATION)) == Some(&seconds) {
            return Ok(Action::Done);
        }
        let change = json!({"metadata": {"annotations": {ANNOTATION: seconds}}});
        match self.api.patch(key, Patch::Merge(change)).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(Action::Done),
        }
    }
}

/// The step for so many nodes, after the one that holds.
fn step(mut now: usize, nodes: usize) -> usize {
    while nodes > STEPS[now].1 {
        now += 1;
    }
    while nodes < STEPS[now].0 {
        now -= 1;
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_left_only_well_beyond_its_bounds() {
        for (now, nodes, seconds) in [
            (0, 1, 0),
            (0, 100, 0),
            (0, 101, 15),
            (1, 95, 15),
            (1, 89, 0),
            (0, 5_000, 300),
            (4, 1_900, 300),
            (4, 1_799, 60),
        ] {
            assert_eq!(STEPS[step(now, nodes)].2, seconds, "{nodes} nodes after step {now}");
        }
    }
}
