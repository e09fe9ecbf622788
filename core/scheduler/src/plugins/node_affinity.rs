use k8s_openapi::api::core::v1::Node;

use crate::cluster::NodeIndex;
use crate::framework::{
    Answer, ClusterEvent, Cycle, Events, Filter, Hint, Normalization, Obstacle, Plugin, PreFilter,
    PreFiltered, Reasons, Refusal, Scope, Score, Verdict,
};
use crate::pod::{Affinity, PodInfo};

/// Keeps pods to the nodes that `nodeSelector` and `nodeAffinity` select, and prefers those that
/// `nodeAffinity` prefers.
#[derive(Debug, Default)]
pub struct NodeAffinity {
    /// What holds for all pods of the profile beside what they say themselves.
    added: Affinity,
}

impl NodeAffinity {
    /// The plugin's name.
    pub const NAME: &'static str = "NodeAffinity";

    /// One that demands and prefers the same for all pods, beside what they say themselves.
    pub fn with_added(added: Affinity) -> Self {
        Self { added }
    }

    fn allows(&self, pod: &PodInfo, node: &Node) -> bool {
        self.added.allows(node) && pod.class().affinity().allows(node)
    }
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn scope(&self) -> Scope {
        Scope::NodeObject
    }

    fn events(&self) -> Events {
        Events::NODE_ADD | Events::NODE_LABEL
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent<'_>) -> Hint {
        let (old, new) = event.read::<Node>();
        let allows = |node: Option<&Node>| node.is_some_and(|node| self.allows(pod, node));
        if allows(new) && !allows(old) { Hint::Queue } else { Hint::Skip }
    }

    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }

    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl PreFilter for NodeAffinity {
    fn pre_filter(&self, cycle: &Cycle<'_>) -> Answer<PreFiltered> {
        let affinity = cycle.pod.class().affinity();
        match affinity.names() {
            _ if affinity.demands_nothing() && self.added.demands_nothing() => {
                Ok(PreFiltered::Skip)
            }
            None => Ok(PreFiltered::All),
            Some([]) => Err(Refusal::unresolvable("pod affinity terms conflict")),
            Some(names) => Ok(PreFiltered::Only(names.to_vec())),
        }
    }
}

impl Filter for NodeAffinity {
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer {
        for (node, verdict) in nodes.iter().zip(verdicts) {
            let object = cycle.cluster.node(*node).object();
            if !object.is_some_and(|node| self.allows(cycle.pod, node)) {
                *verdict = Verdict::Unresolvable;
            }
        }
        Ok(())
    }

    fn reasons(&self, cycle: &Cycle<'_>, node: NodeIndex) -> Reasons {
        let object = cycle.cluster.node(node).object();
        vec![match object.is_some_and(|node| self.added.allows(node)) {
            true => "node(s) didn't match Pod's node affinity/selector".into(),
            false => "node(s) didn't match scheduler-enforced node affinity".into(),
        }]
    }

    fn obstacles(&self, _: &Cycle<'_>, _: NodeIndex) -> Vec<Obstacle> {
        vec![Obstacle::AllowNode]
    }
}

impl Score for NodeAffinity {
    fn applies(&self, pod: &PodInfo) -> bool {
        self.added.has_preferences() || pod.class().affinity().has_preferences()
    }

    fn score(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], scores: &mut [i64]) -> Answer {
        let affinity = cycle.pod.class().affinity();
        for (node, score) in nodes.iter().zip(scores) {
            let object = cycle.cluster.node(*node).object();
            let preference = |node| affinity.preference(node) + self.added.preference(node);
            *score = object.map_or(0, |node| preference(node));
        }
        Ok(())
    }

    fn normalization(&self) -> Normalization {
        Normalization::ToHighest
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{hint, node, pod, scores, unschedulable, verdicts};
    use super::*;

    const REASON: &str = "node(s) didn't match Pod's node affinity/selector";

    fn labelled(name: &str, labels: &str) -> pinnace_api::Typed<Node> {
        node(name, &format!("metadata: {{labels: {{{labels}}}}}"))
    }

    fn required(terms: &str) -> PodInfo {
        pod(&format!(
            "affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: \
             {{nodeSelectorTerms: [{terms}]}}}}}}"
        ))
    }

    #[test]
    fn the_node_selector_must_match() {
        let nodes = [labelled("a", "disk: ssd, zone: x"), labelled("b", "disk: hdd")];
        assert_eq!(
            verdicts(&NodeAffinity::default(), &pod("nodeSelector: {disk: ssd}"), &nodes),
            ["", REASON]
        );
    }

    #[test]
    fn one_of_the_required_terms_must_match() {
        let nodes = [labelled("a", "disk: ssd, m: '7'"), labelled("b", "disk: hdd")];
        let check = |terms: &str, expected: [&str; 2]| {
            assert_eq!(
                verdicts(&NodeAffinity::default(), &required(terms), &nodes),
                expected,
                "{terms}"
            );
        };
        let expression = |rest: &str| format!("{{matchExpressions: [{{{rest}}}]}}");
        check(&expression("key: disk, operator: In, values: [ssd, nvme]"), ["", REASON]);
        check(&expression("key: disk, operator: NotIn, values: [ssd]"), [REASON, ""]);
        check(&expression("key: m, operator: Exists"), ["", REASON]);
        check(&expression("key: m, operator: DoesNotExist"), [REASON, ""]);
        check(&expression("key: m, operator: Gt, values: ['6']"), ["", REASON]);
        check(&expression("key: m, operator: Lt, values: ['6']"), [REASON, REASON]);
        check(&expression("key: m, operator: Gt, values: [six]"), [REASON, REASON]);
        check("{}", [REASON, REASON]);
        check(
            "{matchExpressions: [{key: m, operator: Exists}]}, {matchFields: [{key: metadata.name, operator: In, values: [b]}]}",
            ["", ""],
        );
        check("{matchFields: [{key: metadata.name, operator: NotIn, values: [b]}]}", ["", REASON]);
        check(
            "{matchExpressions: [{key: m, operator: Exists}], matchFields: [{key: metadata.name, operator: In, values: [b]}]}",
            [REASON, REASON],
        );
    }

    #[test]
    fn a_pod_for_a_named_node_is_told_apart_from_the_others() {
        let named = |names: &str| {
            required(&format!(
                "{{matchFields: [{{key: metadata.name, operator: In, values: [{names}]}}]}}"
            ))
        };
        let nodes = [node("a", ""), node("b", "")];
        assert_eq!(
            unschedulable(&named("x"), &nodes),
            "0/2 nodes are available: 2 node(s) didn't satisfy plugin(s) [NodeAffinity]."
        );
        let conflict = required(
            "{matchFields: [{key: metadata.name, operator: In, values: [a]}, \
             {key: metadata.name, operator: In, values: [b]}]}",
        );
        assert_eq!(
            unschedulable(&conflict, &nodes),
            "0/2 nodes are available: pod affinity terms conflict."
        );
    }

    #[test]
    fn preferred_terms_score_by_weight() {
        let nodes = [labelled("a", "x: ''"), labelled("b", "x: '', z: ''"), labelled("c", "")];
        let preferred =
            pod("affinity: {nodeAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [
              {weight: 10, preference: {matchExpressions: [{key: x, operator: Exists}]}},
              {weight: 30, preference: {matchExpressions: [{key: z, operator: Exists}]}}]}}");
        assert_eq!(scores(&NodeAffinity::default(), &preferred, &nodes), [25, 100, 0]);
    }

    #[test]
    fn a_node_helps_when_its_labels_begin_to_match() {
        let (with, without) = (labelled("a", "disk: ssd"), labelled("a", ""));
        let check = |old, new, expected| {
            let pod = pod("nodeSelector: {disk: ssd}");
            assert_eq!(
                hint(&NodeAffinity::default(), &pod, Events::NODE_LABEL, old, new),
                expected
            );
        };
        check(Some(&without), Some(&with), Hint::Queue);
        check(None, Some(&with), Hint::Queue);
        check(None, Some(&without), Hint::Skip);
        check(Some(&with), Some(&with), Hint::Skip);
    }

    #[test]
    fn what_a_profile_adds_holds_beside_what_pods_say() {
        let spec = serde_json::json!({"containers": [], "affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}]},
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "preference":
                {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}]}}});
        let spec: k8s_openapi::api::core::v1::PodSpec = serde_json::from_value(spec).unwrap();
        let plugin = NodeAffinity::with_added(Affinity::of(&spec));
        let nodes = [
            labelled("a", "zone: a"),
            labelled("b", "zone: b"),
            labelled("c", "zone: a, disk: ssd"),
        ];
        let enforced = "node(s) didn't match scheduler-enforced node affinity";
        let own = pod("nodeSelector: {disk: ssd}");
        assert_eq!(verdicts(&plugin, &pod(""), &nodes), ["", enforced, ""]);
        assert_eq!(verdicts(&plugin, &own, &nodes), [REASON, enforced, ""]);
        assert_eq!(scores(&plugin, &pod(""), &nodes), [0, 0, 100]);
    }
}
