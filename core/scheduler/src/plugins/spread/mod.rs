//! Spreads pods that belong together over zones, hosts and other groups of nodes.

mod constraints;
mod view;

use k8s_openapi::api::core::v1::{Pod, TopologySpreadConstraint};
use parking_lot::Mutex;

use super::domain_counts::Views;
use crate::cluster::{Cluster, NodeIndex};
use crate::framework::{
    Answer, ClusterEvent, Concern, Cycle, Events, Filter, Hint, MAX_SCORE, Normalization, Plugin,
    Prepared, Reasons, Score, Verdict,
};
use crate::pod::PodInfo;
use constraints::{HOSTNAME, Spread, Spreads};
use view::{SpreadView, normalize};

const MISMATCH: &str = "node(s) didn't match pod topology spread constraints";
const NO_LABEL: &str =
    "node(s) didn't match pod topology spread constraints (missing required label)";

/// Keeps to `topologySpreadConstraints`: excludes nodes whose group would have too many of the pods
/// that belong together, and prefers groups that have few.
///
/// Counts are kept per group of nodes and follow every pod that comes or goes; a decision costs as
/// many steps as there are groups and nodes, however many pods there are.
#[derive(Debug)]
pub struct PodTopologySpread {
    defaults: Vec<TopologySpreadConstraint>,
    lenient: bool,
    spreads: Mutex<Spreads>,
    views: Mutex<Views<(u64, u64), SpreadView>>,
}

impl Default for PodTopologySpread {
    /// With upstream's constraints for pods that have none of their own and belong to a Service,
    /// a ReplicaSet, a StatefulSet or a ReplicationController: they would rather be spread over
    /// hosts and zones.
    fn default() -> Self {
        let soft = |key: &str, max_skew| TopologySpreadConstraint {
            topology_key: key.to_owned(),
            max_skew,
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            ..Default::default()
        };
        let defaults = vec![soft(HOSTNAME, 3), soft("topology.kubernetes.io/zone", 5)];
        Self { lenient: true, ..Self::with_defaults(defaults) }
    }
}

impl PodTopologySpread {
    /// The plugin's name.
    pub const NAME: &'static str = "PodTopologySpread";

    /// With these constraints for pods that have none of their own and belong together.
    pub fn with_defaults(defaults: Vec<TopologySpreadConstraint>) -> Self {
        Self { defaults, lenient: false, spreads: Mutex::default(), views: Mutex::default() }
    }

    fn view<T>(&self, cycle: &Cycle<'_>, look: impl FnOnce(&mut SpreadView) -> T) -> Option<T> {
        let spread = cycle.pod.prepared::<Spread>()?;
        let class = cycle.pod.class();
        let mut views = self.views.lock();
        let shared = cycle.pod.prepared_shared::<Spread>()?;
        let view =
            views.get(&(class.id(), spread.id), cycle.cluster, || SpreadView::new(class, &shared));
        Some(look(view))
    }
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn prepare(&self, pod: &Pod, cluster: &mut Cluster) -> Option<Prepared> {
        let spread = self.spreads.lock().read(pod, cluster, &self.defaults, self.lenient)?;
        Some(spread)
    }

    fn concern(&self, cycle: &Cycle<'_>) -> Concern {
        let spread = cycle.pod.prepared::<Spread>();
        spread.map_or(Concern::NONE, |spread| Concern {
            filters: !spread.hard.is_empty(),
            scores: !spread.soft.is_empty(),
        })
    }

    fn events(&self) -> Events {
        Events::POD_ADD
            | Events::POD_DELETE
            | Events::POD_LABEL
            | Events::NODE_ADD
            | Events::NODE_DELETE
            | Events::NODE_LABEL
            | Events::NODE_TAINT
            | Events::OWN_LABEL
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent<'_>) -> Hint {
        let Some(spread) = pod.prepared::<Spread>() else { return Hint::Queue };
        let helps = if event.what.overlaps(Events::OWN_LABEL) {
            true
        } else if event.what.overlaps(Events::POD_ADD | Events::POD_DELETE | Events::POD_LABEL) {
            let (old, new) = event.read::<Pod>();
            let counts = |pod: Option<&Pod>| {
                pod.is_some_and(|pod| spread.hard.iter().any(|one| one.selects(pod)))
            };
            counts(old) || counts(new)
        } else {
            let (old, new) = event.read::<k8s_openapi::api::core::v1::Node>();
            let complete = |node: Option<&k8s_openapi::api::core::v1::Node>| {
                let labels = node.and_then(|node| node.metadata.labels.as_ref());
                spread.keys.iter().all(|key| labels.is_some_and(|labels| labels.contains_key(key)))
            };
            complete(old) || complete(new)
        };
        if helps { Hint::Queue } else { Hint::Skip }
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }

    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl Filter for PodTopologySpread {
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer {
        self.view(cycle, |view| view.filter(cycle.cluster, nodes, verdicts));
        Ok(())
    }

    fn reasons(&self, cycle: &Cycle<'_>, node: NodeIndex) -> Reasons {
        let lacks = self.view(cycle, |view| view.lacks_label(cycle.cluster, node));
        vec![if lacks == Some(true) { NO_LABEL } else { MISMATCH }.into()]
    }
}

impl Score for PodTopologySpread {
    fn score(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], scores: &mut [i64]) -> Answer {
        self.view(cycle, |view| view.score(cycle.cluster, nodes, scores));
        Ok(())
    }

    fn normalization(&self) -> Normalization {
        Normalization::Own
    }

    fn normalize(&self, _: &Cycle<'_>, scores: &mut [i64]) -> Answer {
        normalize(scores, MAX_SCORE);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use pinnace_api::Typed;
    use pinnace_env::Random;

    use super::super::testing::{node, pod_object};
    use super::*;
    use crate::framework::{CycleState, Profile};
    use crate::plugins::NodeResourcesFit;
    use crate::pod::PodClasses;
    use crate::{Decider, Decision};

    /// Where three pods go that one Service selects.
    fn nodes_of_three(plugins: Vec<(Arc<dyn Plugin>, i64)>) -> BTreeSet<usize> {
        let mut cluster = Cluster::new();
        for name in ["a", "b", "c"] {
            let labels = format!("metadata: {{labels: {{kubernetes.io/hostname: {name}}}}}");
            let status = "status: {allocatable: {cpu: 100, memory: 100Gi, pods: 110}}";
            cluster.set_node(&node(name, &format!("{labels}\n{status}")));
        }
        let labels = [("app".to_owned(), "web".to_owned())].into();
        cluster.set_service("default", "web", Some(&labels));
        let profile = Profile::new("default-scheduler", 0, plugins);
        let mut decider = Decider::new(Random::seeded(1));
        let place = |name: &str| {
            let mut pod = pod_object(name, "").to_owned();
            pod.metadata.labels = Some(labels.clone());
            let pod = PodClasses::default().read(&mut cluster, &profile, &Typed::<Pod>::new(pod));
            match decider.decide(&cluster, &profile, &pod, &CycleState::default()) {
                Decision::Node(node) => {
                    cluster.assume(&pod, node);
                    node.index()
                }
                other => panic!("{other:?}"),
            }
        };
        ["x", "y", "z"].into_iter().map(place).collect()
    }

    #[test]
    fn small_pods_that_belong_together_are_spread_though_resources_see_no_difference() {
        let fit = || -> (Arc<dyn Plugin>, i64) { (Arc::new(NodeResourcesFit::default()), 1) };
        let spread = (Arc::new(PodTopologySpread::default()) as Arc<dyn Plugin>, 2);
        assert_eq!(nodes_of_three(vec![fit(), spread]).len(), 3);
        assert!(nodes_of_three(vec![fit()]).len() < 3);
    }
}
