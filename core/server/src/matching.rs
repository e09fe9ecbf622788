//! Which writes webhooks and policies are asked about.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{
    MatchResources, NamedRuleWithOperations, RuleWithOperations,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use pinnace_api::selector::Selector;
use pinnace_api::{ApiError, Catalog, Draft, Key, Object, Reason, Resource, Result};
use pinnace_store::Snapshot;

use crate::Operation;
use crate::write::Write;

/// What a webhook or a policy is asked about.
pub(crate) struct Constraints {
    rules: Vec<NamedRuleWithOperations>,
    /// What it is not, whatever the rules say.
    excluded: Vec<NamedRuleWithOperations>,
    /// Whether rules also match other versions of what they name.
    matches_equivalent: bool,
    namespaces: Selector,
    objects: Selector,
}

impl Constraints {
    /// Those of a policy, or of what binds it.
    pub(crate) fn of(resources: &MatchResources) -> Self {
        Self {
            rules: resources.resource_rules.clone().unwrap_or_default(),
            excluded: resources.exclude_resource_rules.clone().unwrap_or_default(),
            matches_equivalent: resources.match_policy.as_deref() == Some("Equivalent"),
            namespaces: selector(resources.namespace_selector.as_ref()),
            objects: selector(resources.object_selector.as_ref()),
        }
    }

    /// Those of a webhook.
    pub(crate) fn of_webhook(
        rules: Option<&Vec<RuleWithOperations>>,
        policy: Option<&str>,
        namespaces: Option<&LabelSelector>,
        objects: Option<&LabelSelector>,
    ) -> Self {
        Self {
            rules: rules.into_iter().flatten().cloned().map(named).collect(),
            excluded: Vec::new(),
            matches_equivalent: policy == Some("Equivalent"),
            namespaces: selector(namespaces),
            objects: selector(objects),
        }
    }

    /// The version in which a write is to be seen; `None` where it is not asked about.
    ///
    /// # Errors
    /// `NotFound` when what that depends on is not known.
    pub(crate) fn matches(
        &self,
        write: &Write<'_>,
        new: Option<&Draft>,
        catalog: &Catalog,
        snapshot: &Snapshot,
    ) -> Result<Option<Arc<Resource>>> {
        // Those that select nothing of this are not asked, whatever else is wrong.
        let in_namespace = self.selects_namespace(write, new, snapshot);
        if matches!(in_namespace, Ok(false)) || !self.selects_object(write, new) {
            return Ok(None);
        }
        if self.version_for(&self.excluded, write, catalog).is_some() {
            return Ok(None);
        }
        // What binds a policy and has no rules matches all that the policy matches.
        let version = match self.rules.is_empty() {
            true => Some(write.resource.clone()),
            false => self.version_for(&self.rules, write, catalog),
        };
        let Some(version) = version else { return Ok(None) };
        in_namespace.map(|_| Some(version))
    }

    fn version_for(
        &self,
        rules: &[NamedRuleWithOperations],
        write: &Write<'_>,
        catalog: &Catalog,
    ) -> Option<Arc<Resource>> {
        let own = |rule: &NamedRuleWithOperations| matches(rule, write, write.resource);
        if rules.iter().any(own) {
            return Some(write.resource.clone());
        }
        if !self.matches_equivalent || rules.is_empty() {
            return None;
        }
        let all = catalog.all();
        let others = all.iter().filter(|other| {
            other.table() == write.resource.table()
                && !Arc::ptr_eq(other, write.resource)
                && !other.is_elsewhere()
        });
        let others: Vec<_> = others.collect();
        // Earlier rules come first, whichever version they name.
        rules.iter().find_map(|rule| {
            others.iter().find(|other| matches(rule, write, other)).map(|other| Arc::clone(other))
        })
    }

    fn selects_namespace(
        &self,
        write: &Write<'_>,
        new: Option<&Draft>,
        snapshot: &Snapshot,
    ) -> Result<bool> {
        let namespace = write.key.namespace();
        let about_namespace = is_namespace(write.resource);
        if self.namespaces.is_everything() || (namespace.is_empty() && !about_namespace) {
            return Ok(true);
        }
        if about_namespace && write.part.is_empty() {
            let labels = new.map(|draft| draft.meta().labels.as_ref());
            let labels = labels.or_else(|| write.old.map(Object::labels)).flatten();
            return Ok(self.namespaces.matches(labels));
        }
        let name = if about_namespace { write.key.name() } else { namespace };
        let found = snapshot.get("namespaces", &Key::cluster(name));
        let not_found =
            || ApiError::new(Reason::NotFound, format!("namespaces {name:?} not found"));
        Ok(self.namespaces.matches(found.ok_or_else(not_found)?.labels()))
    }

    /// Whether the object is selected as it will be or as it is.
    fn selects_object(&self, write: &Write<'_>, new: Option<&Draft>) -> bool {
        self.objects.is_everything()
            || new.is_some_and(|draft| self.objects.matches(draft.meta().labels.as_ref()))
            || write.old.is_some_and(|old| self.objects.matches(old.labels()))
    }
}

fn named(rule: RuleWithOperations) -> NamedRuleWithOperations {
    NamedRuleWithOperations {
        api_groups: rule.api_groups,
        api_versions: rule.api_versions,
        operations: rule.operations,
        resources: rule.resources,
        scope: rule.scope,
        resource_names: None,
    }
}

/// A selector that validation has let through; one that it would not matches everything, so that
/// nothing gets by.
fn selector(selector: Option<&LabelSelector>) -> Selector {
    let parsed = selector.map(Selector::from_label_selector).and_then(Result::ok);
    parsed.unwrap_or_else(Selector::everything)
}

fn is_namespace(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "namespaces"
}

fn matches(rule: &NamedRuleWithOperations, write: &Write<'_>, resource: &Resource) -> bool {
    let has = |list: &Option<Vec<String>>, wanted: &str| {
        list.iter().flatten().any(|one| one == "*" || one == wanted)
    };
    let in_scope = match rule.scope.as_deref() {
        // Namespaces are in the cluster, though requests about them name one.
        Some("Namespaced") => !is_namespace(resource) && !write.key.namespace().is_empty(),
        Some("Cluster") => is_namespace(resource) || write.key.namespace().is_empty(),
        _ => true,
    };
    let names = rule.resource_names.as_deref().unwrap_or_default();
    in_scope
        && (names.is_empty() || names.iter().any(|name| name == write.key.name()))
        && has(&rule.operations, name_of(write.operation))
        && has(&rule.api_groups, &resource.group)
        && has(&rule.api_versions, &resource.version)
        && rule.resources.iter().flatten().any(|one| {
            let (plural, part) = one.split_once('/').unwrap_or((one, ""));
            (plural == "*" || plural == resource.plural) && (part == "*" || part == write.part)
        })
}

/// An operation as rules and reviews name it.
pub(crate) fn name_of(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}
