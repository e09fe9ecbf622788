use std::borrow::Cow;

use k8s_openapi::api::core::v1::{Namespace, NamespaceSpec, NamespaceStatus};

use super::check::{complain, text};
use super::names::rules;
use super::{fill, metadata, names};
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// The finalizer that holds a namespace until its contents are gone.
const FINALIZER: &str = "kubernetes";
/// The label by which selectors can name a namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Namespaces.
pub(super) struct NamespaceStrategy;

impl Strategy for NamespaceStrategy {
    type Kind = Namespace;

    fn default(&self, namespace: &mut Namespace) {
        if let Some(name) = namespace.metadata.name.as_deref().filter(|name| !name.is_empty()) {
            let labels = namespace.metadata.labels.get_or_insert_default();
            if labels.get(NAME_LABEL).is_none_or(|label| label != name) {
                labels.insert(NAME_LABEL.to_owned(), name.to_owned());
            }
        }
        let status = namespace.status.get_or_insert_default();
        fill(&mut status.phase, "Active");
        namespace.spec.get_or_insert_default();
    }

    fn prepare_for_create(&self, namespace: &mut Namespace) {
        namespace.status =
            Some(NamespaceStatus { phase: Some("Active".to_owned()), ..Default::default() });
        let NamespaceSpec { finalizers } = namespace.spec.get_or_insert_default();
        let finalizers = finalizers.get_or_insert_default();
        if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
            finalizers.push(FINALIZER.to_owned());
        }
        Strategy::default(self, namespace);
    }

    fn validate(&self, namespace: &Namespace, errors: &mut ErrorList) {
        let spec = Path::root("spec");
        let path = spec.child("finalizers");
        let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
        for name in finalizers.into_iter().flatten() {
            complain(errors, &path, name, rules::qualified_name(name));
            metadata::standard_finalizer(name, &path, errors);
        }
    }

    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::dns_label(name)
    }

    fn prepare_for_update(&self, new: &mut Namespace, old: &Namespace) {
        new.spec.clone_from(&old.spec);
        new.status.clone_from(&old.status);
    }

    fn prepare_for_status_update(&self, new: &mut Namespace, old: &Namespace) {
        new.spec.clone_from(&old.spec);
    }

    fn begin_deletion(&self, namespace: &mut Namespace) {
        namespace.status.get_or_insert_default().phase = Some("Terminating".to_owned());
    }

    fn is_held(&self, namespace: &Namespace) -> bool {
        let spec = namespace.spec.as_ref();
        spec.and_then(|spec| spec.finalizers.as_ref()).is_some_and(|held| !held.is_empty())
    }

    fn prepare_for_finalize(&self, new: &mut Namespace, old: &Namespace) {
        new.status.clone_from(&old.status);
    }

    fn validate_update(&self, _: &Namespace, _: &Namespace, _: &mut ErrorList) {}

    fn validate_status_update(&self, new: &Namespace, _: &Namespace, errors: &mut ErrorList) {
        let phase = new.status.as_ref().map_or("", |status| text(&status.phase));
        let (wanted, why) = match new.metadata.deletion_timestamp {
            None => ("Active", "may only be 'Active' if `deletionTimestamp` is empty"),
            Some(_) => {
                ("Terminating", "may only be 'Terminating' if `deletionTimestamp` is not empty")
            }
        };
        if phase != wanted {
            let status = Path::root("status");
            errors.invalid(&status.child("Phase"), phase, why);
        }
    }

    fn field<'a>(&self, namespace: &'a Namespace, path: &str) -> Option<Cow<'a, str>> {
        let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
        (path == "status.phase").then(|| Cow::Borrowed(phase.unwrap_or_default()))
    }
}
