use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::RuleWithOperations;
use pinnace_api::{ApiError, Catalog, Draft, Key, Object, Reason, Resource, Result};
use pinnace_store::Snapshot;

use super::Hook;
use crate::Operation;
use crate::write::Write;

impl Hook {
    /// The version in which this webhook wants to see a write; `None` where it is not asked.
    ///
    /// # Errors
    /// `NotFound` when what it depends on is not known.
    pub(super) fn matches(
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
        let Some(version) = self.version_for(write, catalog) else { return Ok(None) };
        in_namespace.map(|_| Some(version))
    }

    fn version_for(&self, write: &Write<'_>, catalog: &Catalog) -> Option<Arc<Resource>> {
        let own = |rule: &RuleWithOperations| matches(rule, write, write.resource);
        if self.rules.iter().any(own) {
            return Some(write.resource.clone());
        }
        if !self.matches_equivalent {
            return None;
        }
        let all = catalog.all();
        let others = all.iter().filter(|other| {
            other.table() == write.resource.table() && !Arc::ptr_eq(other, write.resource)
        });
        let others: Vec<_> = others.collect();
        // Earlier rules come first, whichever version they name.
        let found = self.rules.iter().find_map(|rule| {
            others.iter().find(|other| matches(rule, write, other)).map(|other| Arc::clone(other))
        });
        found
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

fn is_namespace(resource: &Resource) -> bool {
    resource.group.is_empty() && resource.plural == "namespaces"
}

fn matches(rule: &RuleWithOperations, write: &Write<'_>, resource: &Resource) -> bool {
    let has = |list: &Option<Vec<String>>, wanted: &str| {
        list.iter().flatten().any(|one| one == "*" || one == wanted)
    };
    let in_scope = match rule.scope.as_deref() {
        // Namespaces are in the cluster, though requests about them name one.
        Some("Namespaced") => !is_namespace(resource) && !write.key.namespace().is_empty(),
        Some("Cluster") => is_namespace(resource) || write.key.namespace().is_empty(),
        _ => true,
    };
    in_scope
        && has(&rule.operations, name_of(write.operation))
        && has(&rule.api_groups, &resource.group)
        && has(&rule.api_versions, &resource.version)
        && rule.resources.iter().flatten().any(|one| {
            let (plural, part) = one.split_once('/').unwrap_or((one, ""));
            (plural == "*" || plural == resource.plural) && (part == "*" || part == write.part)
        })
}

/// An operation as rules and reviews name it.
pub(super) fn name_of(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}
