//! Plugins of the host that see all nodes in one call.

mod apart;
mod nodes;

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use pinnace_api::Typed;

use super::{Answer, Cycle, Events, Filter, MAX_SCORE, Plugin, Reasons, Refusal, Score, Verdict};
use crate::cluster::NodeIndex;
use apart::Apart;
pub use nodes::BatchNodes;

/// A plugin of the host, perhaps in another language, that excludes and ranks nodes in one call per
/// pod: crossing a boundary once costs the same for one node and for thousands.
/// [`batched`] makes a [`Plugin`] of it.
pub trait BatchPlugin: Send + Sync + 'static {
    /// The name that configuration uses and that messages give.
    fn name(&self) -> &str;

    /// What may help a pod for which no node was left.
    fn events(&self) -> Events {
        Events::ALL
    }

    /// Judges all nodes that the plugins before it let pass: `scores` has one place per node, 0 at
    /// first, and takes 0 to [`MAX_SCORE`](crate::MAX_SCORE), or a negative number for a node that
    /// will not do. Fractions are rounded.
    ///
    /// # Errors
    /// When the plugin cannot tell; the pod is tried again later.
    fn judge(&self, pod: &Pod, nodes: &BatchNodes, scores: &mut [f64]) -> Answer;

    /// Why nodes are excluded.
    fn reason(&self) -> String;

    /// Whether evicting pods may make an excluded node do. If not, which is so unless a plugin says
    /// otherwise, it need not be asked again when pods are looked for that might be evicted.
    fn evicting_may_help(&self) -> bool {
        false
    }
}

/// A plugin that asks a [`BatchPlugin`] once per pod.
pub fn batched(plugin: impl BatchPlugin) -> Arc<dyn Plugin> {
    let asked = Arc::new(plugin);
    let direct = asked.clone();
    let ask = move |pod: &Typed<Pod>, nodes: BatchNodes| {
        let mut scores = vec![0.0; nodes.len()];
        direct.judge(pod, &nodes, &mut scores)?;
        Ok(scores)
    };
    Arc::new(Batched { plugin: asked, ask: Box::new(ask) })
}

/// The same for a plugin that may never answer, as one in another language: it is asked on a thread of
/// its own, and while it has not answered for longer than `limit`, pods that need its word fail with
/// an error that names it, and others go on.
pub fn batched_within(plugin: impl BatchPlugin, limit: Duration) -> Arc<dyn Plugin> {
    let plugin = Arc::new(plugin);
    let apart = Apart::new(plugin.clone(), limit);
    Arc::new(Batched { plugin, ask: Box::new(move |pod, nodes| apart.ask(pod.clone(), nodes)) })
}

type Ask = Box<dyn Fn(&Typed<Pod>, BatchNodes) -> Answer<Vec<f64>> + Send + Sync>;

struct Batched<P> {
    plugin: Arc<P>,
    ask: Ask,
}

/// The scores of one pod's nodes, from when they were excluded until they are ranked.
struct Judged<P>(HashMap<NodeIndex, i64, ahash::RandomState>, PhantomData<P>);

impl<P: BatchPlugin> Batched<P> {
    fn judge(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex]) -> Answer<Vec<i64>> {
        let seen = BatchNodes::of(cycle.cluster, nodes);
        let scores = (self.ask)(cycle.pod.pod(), seen)?;
        if scores.len() != nodes.len() {
            let (given, asked) = (scores.len(), nodes.len());
            return Err(self.wrong(&format!("gives {given} scores for {asked} nodes")));
        }
        let whole = |(score, node): (f64, &NodeIndex)| match score {
            _ if score < 0.0 => Ok(-1),
            // Not a number compares with nothing.
            _ if score <= MAX_SCORE as f64 => Ok(score.round() as i64),
            _ => {
                let name = cycle.cluster.node(*node).name();
                Err(self.wrong(&format!(
                    "gives node {name:?} the score {score}, which is not from 0 to {MAX_SCORE}"
                )))
            }
        };
        scores.into_iter().zip(nodes).map(whole).collect()
    }

    /// What it has said of all these nodes for this pod.
    fn known(cycle: &Cycle<'_>, nodes: &[NodeIndex]) -> Option<Vec<i64>> {
        let judged = cycle.state.get::<Judged<P>>()?;
        nodes.iter().map(|node| judged.0.get(node).copied()).collect()
    }

    fn wrong(&self, why: &str) -> Refusal {
        Refusal::Error(format!("plugin {:?} {why}", self.plugin.name()))
    }
}

impl<P: BatchPlugin> Plugin for Batched<P> {
    fn name(&self) -> &str {
        self.plugin.name()
    }
    fn events(&self) -> Events {
        self.plugin.events()
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl<P: BatchPlugin> Filter for Batched<P> {
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer {
        let may_help = self.plugin.evicting_may_help();
        let out = if may_help { Verdict::Unschedulable } else { Verdict::Unresolvable };
        let known = if may_help { None } else { Self::known(cycle, nodes) };
        let scores = match known {
            Some(known) => known,
            None => {
                let scores = self.judge(cycle, nodes)?;
                let judged = nodes.iter().copied().zip(scores.iter().copied()).collect();
                cycle.state.put(Judged::<P>(judged, PhantomData));
                scores
            }
        };
        for (verdict, score) in verdicts.iter_mut().zip(scores) {
            if score < 0 {
                *verdict = out;
            }
        }
        Ok(())
    }

    fn reasons(&self, _: &Cycle<'_>, _: NodeIndex) -> Reasons {
        vec![self.plugin.reason().into()]
    }
}

impl<P: BatchPlugin> Score for Batched<P> {
    fn score(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], scores: &mut [i64]) -> Answer {
        let all = match Self::known(cycle, nodes) {
            Some(all) => all,
            None => self.judge(cycle, nodes)?,
        };
        for (score, known) in scores.iter_mut().zip(all) {
            *score = known.max(0);
        }
        Ok(())
    }
}
