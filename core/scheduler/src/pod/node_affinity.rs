use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeAffinity, NodeSelector, PodSpec};
use pinnace_api::selector::NodeTerm;

/// Which nodes a pod demands and which it would like.
#[derive(Debug, Default)]
pub struct Affinity {
    labels: BTreeMap<String, String>,
    required: Option<Vec<NodeTerm>>,
    preferred: Vec<(i64, NodeTerm)>,
    names: Option<Vec<String>>,
}

const NAME: &str = "metadata.name";

impl Affinity {
    /// What `spec.nodeSelector` and `spec.affinity.nodeAffinity` say. Terms that cannot be read
    /// match nothing.
    pub fn of(spec: &PodSpec) -> Self {
        let affinity = node_affinity(spec);
        let required = affinity
            .and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref());
        let preferred = affinity
            .and_then(|one| one.preferred_during_scheduling_ignored_during_execution.as_ref());
        let weighted = preferred.into_iter().flatten().filter(|term| term.weight != 0);
        Self {
            labels: spec.node_selector.clone().unwrap_or_default(),
            required: required.map(NodeTerm::of),
            preferred: weighted
                .filter_map(|term| Some((term.weight.into(), NodeTerm::read(&term.preference)?)))
                .collect(),
            names: required.and_then(named),
        }
    }

    /// Whether any node will do.
    pub fn demands_nothing(&self) -> bool {
        self.labels.is_empty() && self.required.is_none()
    }

    /// Whether some nodes are liked better than others.
    pub fn has_preferences(&self) -> bool {
        !self.preferred.is_empty()
    }

    /// The only nodes that may do, when every term names some; none at all when the terms
    /// contradict themselves.
    pub fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// Whether a node will do.
    pub fn allows(&self, node: &Node) -> bool {
        let labels = node.metadata.labels.as_ref();
        let has = |(key, value): (&String, &String)| {
            labels.and_then(|labels| labels.get(key)).is_some_and(|label| label == value)
        };
        self.labels.iter().all(has)
            && self
                .required
                .as_ref()
                .is_none_or(|terms| terms.iter().any(|term| matches(term, node)))
    }

    /// The weights of the preferences that a node satisfies, together.
    pub fn preference(&self, node: &Node) -> i64 {
        let matching = self.preferred.iter().filter(|(_, term)| matches(term, node));
        matching.map(|(weight, _)| weight).sum()
    }
}

/// `spec.affinity.nodeAffinity`.
pub(crate) fn node_affinity(spec: &PodSpec) -> Option<&NodeAffinity> {
    spec.affinity.as_ref()?.node_affinity.as_ref()
}

fn matches(term: &NodeTerm, node: &Node) -> bool {
    let name = node.metadata.name.as_deref().unwrap_or_default();
    term.matches(name, node.metadata.labels.as_ref())
}

/// The nodes that a selector names: per term those that all its demands on the name share.
fn named(selector: &NodeSelector) -> Option<Vec<String>> {
    if selector.node_selector_terms.is_empty() {
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    for term in &selector.node_selector_terms {
        let fields = term.match_fields.iter().flatten();
        let demands = fields.filter(|field| field.key == NAME && field.operator == "In");
        let mut shared: Option<Vec<String>> = None;
        for demand in demands {
            let values = demand.values.as_deref().unwrap_or_default();
            match &mut shared {
                None => shared = Some(values.to_vec()),
                Some(shared) => shared.retain(|name| values.contains(name)),
            }
        }
        names.extend(shared?);
    }
    names.sort();
    names.dedup();
    Some(names)
}
