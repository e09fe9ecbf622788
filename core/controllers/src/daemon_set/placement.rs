//! Which nodes a DaemonSet's pods belong on: what the scheduler would say, asked before a pod is
//! made.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, PodSpec, Toleration};
use pinnace_api::selector::NodeTerm;

use crate::taints::{NO_EXECUTE, NO_SCHEDULE, taints, tolerates};

/// The field by which a term names its node.
pub(super) const NAME_FIELD: &str = "metadata.name";

/// What becomes of a DaemonSet on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A pod should run there.
    Run,
    /// None is made, but one that is there may stay.
    Stay,
    /// No pod belongs there.
    Leave,
}

/// Where pods of a template go.
pub(super) struct Placement<'a> {
    spec: &'a PodSpec,
    tolerations: Vec<Toleration>,
    /// The terms of the required affinity, any of which is enough; `None` when there is none.
    terms: Option<Vec<NodeTerm>>,
}

impl<'a> Placement<'a> {
    /// Of a DaemonSet; `None` for one without template.
    pub(super) fn of(set: &'a DaemonSet) -> Option<Self> {
        let spec = set.spec.as_ref()?.template.spec.as_ref()?;
        let affinity = spec.affinity.as_ref().and_then(|all| all.node_affinity.as_ref());
        let required = affinity
            .and_then(|node| node.required_during_scheduling_ignored_during_execution.as_ref());
        let terms = required.map(NodeTerm::of);
        Some(Self { spec, tolerations: tolerations(spec), terms })
    }

    /// What becomes of the set on a node.
    pub(super) fn verdict(&self, node: &Node) -> Verdict {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let asked = self.spec.node_name.as_deref().unwrap_or_default();
        if (!asked.is_empty() && asked != name) || !self.fits(node, name) {
            return Verdict::Leave;
        }
        let untolerated = |effects: &[&str]| {
            taints(node).iter().any(|taint| {
                effects.contains(&taint.effect.as_str())
                    && !self.tolerations.iter().any(|one| tolerates(one, taint))
            })
        };
        if untolerated(&[NO_EXECUTE]) {
            Verdict::Leave
        } else if untolerated(&[NO_SCHEDULE]) {
            Verdict::Stay
        } else {
            Verdict::Run
        }
    }

    fn fits(&self, node: &Node, name: &str) -> bool {
        let labels = node.metadata.labels.as_ref();
        let label = |key: &String| labels.and_then(|labels| labels.get(key));
        self.spec.node_selector.iter().flatten().all(|(key, value)| label(key) == Some(value))
            && self
                .terms
                .as_ref()
                .is_none_or(|terms| terms.iter().any(|term| term.matches(name, labels)))
    }
}

/// The tolerations of a set's pods: those of the template, and those by which daemons stay on
/// nodes that others leave.
pub(super) fn tolerations(spec: &PodSpec) -> Vec<Toleration> {
    const ALWAYS: [(&str, &str); 6] = [
        ("node.kubernetes.io/not-ready", NO_EXECUTE),
        ("node.kubernetes.io/unreachable", NO_EXECUTE),
        ("node.kubernetes.io/disk-pressure", NO_SCHEDULE),
        ("node.kubernetes.io/memory-pressure", NO_SCHEDULE),
        ("node.kubernetes.io/pid-pressure", NO_SCHEDULE),
        ("node.kubernetes.io/unschedulable", NO_SCHEDULE),
    ];
    let own_network = spec.host_network == Some(true);
    let network = own_network.then_some(("node.kubernetes.io/network-unavailable", NO_SCHEDULE));
    let mut all = spec.tolerations.clone().unwrap_or_default();
    for (key, effect) in ALWAYS.into_iter().chain(network) {
        let new = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        let same = |old: &&mut Toleration| {
            old.key == new.key
                && old.effect == new.effect
                && old.operator == new.operator
                && old.value.as_deref().unwrap_or_default().is_empty()
        };
        match all.iter_mut().find(same) {
            Some(old) => *old = new,
            None => all.push(new),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Verdict::{Leave, Run, Stay};
    use super::*;

    fn check(spec: Value, node: Value, expected: Verdict) {
        let set: DaemonSet =
            serde_json::from_value(json!({"spec": {"selector": {}, "template": {"spec": spec}}}))
                .unwrap();
        let mut node: Node = serde_json::from_value(node).unwrap();
        node.metadata.name = Some("n1".to_owned());
        assert_eq!(Placement::of(&set).unwrap().verdict(&node), expected, "{spec}");
    }

    #[test]
    fn a_pod_goes_where_the_scheduler_would_put_it() {
        let zone = |zone: &str| json!({"metadata": {"labels": {"zone": zone, "cores": "8"}}});
        let pick = |terms: Value| {
            json!({"containers": [], "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}})
        };
        let label = |operator: &str, key: &str, values: Value| json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}]);
        check(json!({"containers": []}), json!({}), Run);
        check(json!({"containers": [], "nodeSelector": {"zone": "a"}}), zone("a"), Run);
        check(json!({"containers": [], "nodeSelector": {"zone": "a"}}), zone("b"), Leave);
        check(json!({"containers": [], "nodeName": "n2"}), json!({}), Leave);
        check(pick(label("In", "zone", json!(["a", "b"]))), zone("b"), Run);
        check(pick(label("NotIn", "zone", json!(["a"]))), zone("a"), Leave);
        check(pick(label("Gt", "cores", json!(["4"]))), zone("a"), Run);
        let field = |operator: &str| {
            json!([{"matchFields": [
                {"key": "metadata.name", "operator": operator, "values": ["n1"]}]}])
        };
        check(pick(field("In")), json!({}), Run);
        check(pick(field("NotIn")), json!({}), Leave);
        check(pick(json!([])), json!({}), Leave);
    }

    #[test]
    fn taints_keep_pods_away_and_only_some_drive_them_off() {
        let tainted =
            |key: &str, effect: &str| json!({"spec": {"taints": [{"key": key, "effect": effect}]}});
        let plain = json!({"containers": []});
        check(plain.clone(), tainted("gpu", "NoSchedule"), Stay);
        check(plain.clone(), tainted("gpu", "NoExecute"), Leave);
        check(plain.clone(), tainted("gpu", "PreferNoSchedule"), Run);
        check(plain.clone(), tainted("node.kubernetes.io/unreachable", "NoExecute"), Run);
        check(plain.clone(), tainted("node.kubernetes.io/unschedulable", "NoSchedule"), Run);
        let network = tainted("node.kubernetes.io/network-unavailable", "NoSchedule");
        check(plain, network.clone(), Stay);
        check(json!({"containers": [], "hostNetwork": true}), network, Run);
    }
}
