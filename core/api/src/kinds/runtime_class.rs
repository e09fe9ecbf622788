use k8s_openapi::api::node::v1::RuntimeClass;

use super::check::{Json, complain, immutable};
use super::names::rules;
use super::{metadata, pod_spec};
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// Ways to run containers that a node may offer.
pub(super) struct RuntimeClassStrategy;

impl Strategy for RuntimeClassStrategy {
    type Kind = RuntimeClass;

    fn validate(&self, class: &RuntimeClass, errors: &mut ErrorList) {
        let handler = class.handler.as_str();
        complain(errors, &Path::root("handler"), handler, rules::dns_label(handler));
        if let Some(overhead) = class.overhead.as_ref().and_then(|one| one.pod_fixed.as_ref()) {
            let path = Path::root("overhead");
            pod_spec::validate_overhead(overhead, &path.child("podFixed"), errors);
        }
        let Some(scheduling) = &class.scheduling else { return };
        let path = Path::root("scheduling");
        let labels = scheduling.node_selector.iter().flatten();
        metadata::labels(labels, &path.child("nodeSelector"), errors);
        let tolerations = scheduling.tolerations.as_deref().unwrap_or_default();
        let at = path.child("tolerations");
        pod_spec::tolerations::validate(tolerations, &at, errors);
        for (index, one) in tolerations.iter().enumerate() {
            if tolerations[..index].contains(one) {
                errors.duplicate(&at.index(index), Json(one));
            }
        }
    }

    fn validate_update(&self, new: &RuntimeClass, old: &RuntimeClass, errors: &mut ErrorList) {
        immutable(errors, &Path::root("handler"), &new.handler, &old.handler);
        self.validate(new, errors);
    }
}
