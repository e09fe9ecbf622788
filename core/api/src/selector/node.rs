use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};

use super::{Operator, Requirement};

/// The one field of a node that a term may name.
const NAME: &str = "metadata.name";

/// What a term of a node selector asks of a node, all of it at once.
#[derive(Clone, Debug)]
pub struct NodeTerm {
    labels: Vec<Requirement>,
    fields: Vec<Field>,
}

/// A demand on a field of the node. Only `metadata.name` has a value.
#[derive(Clone, Debug)]
struct Field {
    is_name: bool,
    value: String,
    equal: bool,
}

impl NodeTerm {
    /// Reads a term; `None` for one that asks nothing or cannot be read, which matches no node.
    pub fn read(term: &NodeSelectorTerm) -> Option<Self> {
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

    /// The terms of a selector that can be read: a node has to match one of them.
    pub fn of(selector: &NodeSelector) -> Vec<Self> {
        selector.node_selector_terms.iter().filter_map(Self::read).collect()
    }

    /// Whether a node of this name and these labels is what is asked for.
    pub fn matches(&self, name: &str, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.labels.iter().all(|one| one.matches(labels))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(term: serde_json::Value, matches: bool) {
        let term: NodeSelectorTerm = serde_json::from_value(term).unwrap();
        let labels = BTreeMap::from([("cpus".to_owned(), "8".to_owned())]);
        let read = NodeTerm::read(&term);
        assert_eq!(read.is_some_and(|term| term.matches("a", Some(&labels))), matches, "{term:?}");
    }

    #[test]
    fn all_that_a_term_says_must_hold_and_what_cannot_be_read_matches_nothing() {
        use serde_json::json;
        let label = |operator: &str, values: &[&str]| json!({"key": "cpus", "operator": operator, "values": values});
        let name = |operator: &str, value: &str| json!({"key": NAME, "operator": operator, "values": [value]});
        for (expressions, fields, matches) in [
            (vec![], vec![], false),
            (vec![label("In", &["4", "8"])], vec![], true),
            (vec![label("Gt", &["4"])], vec![name("In", "a")], true),
            (vec![label("Gt", &["4"])], vec![name("In", "b")], false),
            (vec![label("Lt", &["4"])], vec![], false),
            (vec![label("Near", &["4"])], vec![], false),
            (vec![], vec![name("NotIn", "b")], true),
            (vec![], vec![name("Exists", "")], false),
        ] {
            check(json!({"matchExpressions": expressions, "matchFields": fields}), matches);
        }
    }
}
