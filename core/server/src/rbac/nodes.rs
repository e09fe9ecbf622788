use super::bootstrap::Defaults;
use super::rule::{Request, Rule};
use crate::Attributes;

const ROLE: &str = "system:node";

/// The rules of the role `system:node`, which no binding gives: what nodes may do whatever they
/// run.
#[derive(Debug)]
pub(crate) struct NodeRules(Vec<Rule>);

impl NodeRules {
    pub(crate) fn read() -> Self {
        let roles = Defaults::read().cluster_roles;
        let role = roles.into_iter().find(|role| role.metadata.name.as_deref() == Some(ROLE));
        let rules = role.and_then(|role| role.rules).unwrap_or_default();
        Self(rules.iter().map(Rule::new).collect())
    }

    pub(crate) fn allow(&self, asked: &Attributes<'_>) -> bool {
        let request = Request::new(asked);
        self.0.iter().any(|rule| rule.allows(&request))
    }
}
