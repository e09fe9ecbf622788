use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use super::{Answer, Cycle, Events, Filter, MAX_SCORE, Plugin, Reasons, Refusal, Score, Verdict};
use crate::cluster::{Cluster, NodeIndex, Resource};

/// The nodes that a [`BatchPlugin`] is asked about, in arrays of the same length.
#[derive(Debug)]
pub struct BatchNodes<'a> {
    cluster: &'a Cluster,
    nodes: &'a [NodeIndex],
}

impl<'a> BatchNodes<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.nodes.iter().map(|node| self.cluster.node(*node).name())
    }

    /// The value of a label, where a node has it.
    pub fn label<'b>(&'b self, key: &'b str) -> impl Iterator<Item = Option<&'a str>> + 'b {
        let labels = self.nodes.iter().map(|node| self.cluster.node(*node).labels());
        labels.map(move |labels| labels.and_then(|labels| labels.get(key)).map(String::as_str))
    }

    /// What each has of a resource, in its unit: thousandths of a core, bytes, pieces. Zeros when
    /// nobody knows the resource.
    pub fn allocatable(&self, resource: &str) -> Vec<i64> {
        self.gather(resource, |resource| self.cluster.allocatable(resource))
    }

    /// What the pods of each ask of a resource.
    pub fn requested(&self, resource: &str) -> Vec<i64> {
        self.gather(resource, |resource| self.cluster.requested(resource))
    }

    fn gather(&self, name: &str, column: impl Fn(Resource) -> &'a [i64]) -> Vec<i64> {
        match self.cluster.resources().get(name) {
            None => vec![0; self.nodes.len()],
            Some(resource) => {
                let column = column(resource);
                self.nodes.iter().map(|node| column[node.index()]).collect()
            }
        }
    }
}

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

    /// Judges all nodes that the built-in plugins let pass: `scores` has one place per node, 0 at
    /// first, and takes 0 to [`MAX_SCORE`](crate::MAX_SCORE), or a negative number for a node that
    /// will not do.
    ///
    /// # Errors
    /// When the plugin cannot tell; the pod is tried again later.
    fn judge(&self, pod: &Pod, nodes: &BatchNodes<'_>, scores: &mut [i64]) -> Answer;

    /// Why nodes are excluded.
    fn reason(&self) -> String;
}

/// A plugin that asks a [`BatchPlugin`] once per pod.
pub fn batched(plugin: impl BatchPlugin) -> Arc<dyn Plugin> {
    Arc::new(Batched(plugin))
}

struct Batched<P>(P);

/// The scores of one pod's nodes, from when they were excluded until they are ranked.
struct Judged<P>(Mutex<HashMap<NodeIndex, i64, ahash::RandomState>>, std::marker::PhantomData<P>);

impl<P: BatchPlugin> Batched<P> {
    fn judge(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex]) -> Answer<Vec<i64>> {
        let mut scores = vec![0; nodes.len()];
        let batch = BatchNodes { cluster: cycle.cluster, nodes };
        self.0.judge(cycle.pod.pod(), &batch, &mut scores)?;
        match scores.iter().find(|score| **score > MAX_SCORE) {
            Some(score) => Err(Refusal::Error(format!("score {score} is above {MAX_SCORE}"))),
            None => Ok(scores),
        }
    }
}

impl<P: BatchPlugin> Plugin for Batched<P> {
    fn name(&self) -> &str {
        self.0.name()
    }
    fn events(&self) -> Events {
        self.0.events()
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
        let scores = self.judge(cycle, nodes)?;
        for (verdict, score) in verdicts.iter_mut().zip(&scores) {
            if *score < 0 {
                *verdict = Verdict::Unschedulable;
            }
        }
        let known = nodes.iter().copied().zip(scores).collect();
        cycle.state.put(Judged::<P>(Mutex::new(known), std::marker::PhantomData));
        Ok(())
    }

    fn reasons(&self, _: &Cycle<'_>, _: NodeIndex) -> Reasons {
        vec![self.0.reason().into()]
    }
}

impl<P: BatchPlugin> Score for Batched<P> {
    fn score(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], scores: &mut [i64]) -> Answer {
        let judged = cycle.state.get::<Judged<P>>();
        let known = judged.as_ref().map(|judged| judged.0.lock());
        let all: Option<Vec<i64>> =
            known.and_then(|known| nodes.iter().map(|node| known.get(node).copied()).collect());
        let all = match all {
            Some(all) => all,
            None => self.judge(cycle, nodes)?,
        };
        for (score, known) in scores.iter_mut().zip(all) {
            *score = known.max(0);
        }
        Ok(())
    }
}
