use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec,
};
use pinnace_api::selector::{Operator, Requirement};

/// Which nodes a pod demands and which it would like.
#[derive(Debug, Default)]
pub struct Affinity {
    labels: BTreeMap<String, String>,
    required: Option<Vec<Term>>,
    preferred: Vec<(i64, Term)>,
    names: Option<Vec<String>>,
}

/// What may be asked of a node, all of it at once.
#[derive(Debug)]
struct Term {
    labels: Vec<Requirement>,
    fields: Vec<Field>,
}

/// A demand on a field of the node. Only `metadata.name` has a value.
#[derive(Debug)]
struct Field {
    is_name: bool,
    value: String,
    equal: bool,
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
            required: required.map(|selector| {
                selector.node_selector_terms.iter().filter_map(Term::read).collect()
            }),
            preferred: weighted
                .filter_map(|term| Some((term.weight.into(), Term::read(&term.preference)?)))
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
                .is_none_or(|terms| terms.iter().any(|term| term.matches(node)))
    }

    /// The weights of the preferences that a node satisfies, together.
    pub fn preference(&self, node: &Node) -> i64 {
        let matching = self.preferred.iter().filter(|(_, term)| term.matches(node));
        matching.map(|(weight, _)| weight).sum()
    }
}

/// `spec.affinity.nodeAffinity`.
pub(crate) fn node_affinity(spec: &PodSpec) -> Option<&NodeAffinity> {
    spec.affinity.as_ref()?.node_affinity.as_ref()
}

impl Term {
    fn read(term: &NodeSelectorTerm) -> Option<Self> {
        let expressions = term.match_expressions.as_deref().unwrap_or_default();
        let fields = term.match_fields.as_deref().unwrap_or_default();
        if expressions.is_empty() && fields.is_empty() {
            return None;
        }
        Some(Self {
            labels: expressions.iter().map(label).collect::<Option<_>>()?,
            fields: fields.iter().map(Field::read).collect::<Option<_>>()?,
        })
    }

    fn matches(&self, node: &Node) -> bool {
        let name = node.metadata.name.as_deref().unwrap_or_default();
        self.labels.iter().all(|one| one.matches(node.metadata.labels.as_ref()))
            && self.fields.iter().all(|one| one.matches(name))
    }
}

fn label(requirement: &NodeSelectorRequirement) -> Option<Requirement> {
    let operator = match &requirement.operator[..] {
        "In" => Operator::In,
        "NotIn" => Operator::NotIn,
        "Exists" => Operator::Exists,
        "DoesNotExist" => Operator::DoesNotExist,
        "Gt" => Operator::GreaterThan,
        "Lt" => Operator::LessThan,
        _ => return None,
    };
    let values = requirement.values.clone().unwrap_or_default();
    Requirement::new(&requirement.key, operator, values).ok()
}

impl Field {
    fn read(requirement: &NodeSelectorRequirement) -> Option<Self> {
        let equal = match &requirement.operator[..] {
            "In" => true,
            "NotIn" => false,
            _ => return None,
        };
        let [value] = requirement.values.as_deref()? else { return None };
        Some(Self { is_name: requirement.key == NAME, value: value.clone(), equal })
    }

    fn matches(&self, name: &str) -> bool {
        let actual = if self.is_name { name } else { "" };
        (actual == self.value) == self.equal
    }
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
