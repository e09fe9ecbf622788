//! Aggregated cluster roles: the rules of one are those of all that its selectors select.

use std::collections::BTreeSet;

use async_trait::async_trait;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use pinnace_api::selector::Selector;
use pinnace_api::{Key, Result, Typed};
use pinnace_client::{Api, Lister};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;

/// The controller; none where the API serves no cluster roles.
pub(crate) fn controller(context: &Context) -> Result<Option<Controller>> {
    if context.client().catalog().of::<ClusterRole>().is_err() {
        return Ok(None);
    }
    let roles = context.informers.of::<ClusterRole>()?;
    let reconciler = Aggregation { roles: roles.clone(), api: context.client().of()? };
    let all = roles.clone();
    // Whatever role changes, any that gathers may gain or lose by it.
    let controller = Controller::new(reconciler, &context.env);
    Ok(Some(controller.maps(roles.informer(), move |_, queue| {
        for role in all.list(None).iter().filter(|role| role.aggregation_rule.is_some()) {
            queue.add(role.object().key());
        }
    })))
}

struct Aggregation {
    roles: Lister<ClusterRole>,
    api: Api<ClusterRole>,
}

#[async_trait]
impl Reconciler for Aggregation {
    fn name(&self) -> &str {
        "clusterrole-aggregation"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(role) = self.roles.get(key) else { return Ok(Action::Done) };
        let Some(rules) = self.gather(&role)? else { return Ok(Action::Done) };
        if role.rules.as_deref().unwrap_or_default() == rules {
            return Ok(Action::Done);
        }
        let mut role = ClusterRole::clone(&role);
        role.rules = Some(rules);
        self.api.update(role).await?;
        Ok(Action::Done)
    }
}

impl Aggregation {
    /// The rules of a role that gathers: selector by selector, in the order of the names of what
    /// is selected, each rule once.
    fn gather(&self, role: &ClusterRole) -> Result<Option<Vec<PolicyRule>>> {
        let Some(rule) = &role.aggregation_rule else { return Ok(None) };
        let mut rules: Vec<PolicyRule> = Vec::new();
        let mut seen = BTreeSet::new();
        for selector in rule.cluster_role_selectors.iter().flatten() {
            let selector = Selector::from_label_selector(selector)?;
            let mut selected: Vec<Typed<ClusterRole>> = self.roles.list(None);
            selected.retain(|one| {
                one.metadata.name != role.metadata.name
                    && selector.matches(one.metadata.labels.as_ref())
            });
            selected.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
            for rule in selected.iter().flat_map(|one| one.rules.iter().flatten()) {
                if seen.insert(format!("{rule:?}")) {
                    rules.push(rule.clone());
                }
            }
        }
        Ok(Some(rules))
    }
}
