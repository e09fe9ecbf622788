use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ValidatingAdmissionPolicy,
    ValidatingAdmissionPolicyBinding,
};
use pinnace_api::Object;

use super::compiled::{Binding, Bound, Policy};
use crate::followed::Index;

const VALIDATING: &str = "validatingadmissionpolicies.admissionregistration.k8s.io";
const VALIDATING_BINDINGS: &str = "validatingadmissionpolicybindings.admissionregistration.k8s.io";
const MUTATING: &str = "mutatingadmissionpolicies.admissionregistration.k8s.io";
const MUTATING_BINDINGS: &str = "mutatingadmissionpolicybindings.admissionregistration.k8s.io";

/// The policies that there are.
#[derive(Default)]
pub(crate) struct Policies {
    validating: Sort,
    mutating: Sort,
}

/// Policies of one sort, by their names.
#[derive(Default)]
struct Sort {
    policies: BTreeMap<String, Arc<Policy>>,
    bindings: BTreeMap<String, Arc<Binding>>,
    /// Those that are bound, in the order in which they are asked; `None` for none.
    bound: Option<Arc<[Bound]>>,
}

impl Sort {
    fn set_policy(&mut self, name: &str, policy: Option<Policy>) {
        match policy {
            Some(policy) => self.policies.insert(name.to_owned(), Arc::new(policy)),
            None => self.policies.remove(name),
        };
        self.bind();
    }

    fn set_binding(&mut self, name: &str, binding: Option<Binding>) {
        match binding {
            Some(binding) => self.bindings.insert(name.to_owned(), Arc::new(binding)),
            None => self.bindings.remove(name),
        };
        self.bind();
    }

    fn bind(&mut self) {
        let bound = self.policies.iter().filter_map(|(name, policy)| {
            let bindings = self.bindings.values().filter(|binding| binding.policy == *name);
            let bindings: Vec<_> = bindings.cloned().collect();
            (!bindings.is_empty()).then(|| Bound { policy: policy.clone(), bindings })
        });
        let bound: Arc<[Bound]> = bound.collect();
        self.bound = (!bound.is_empty()).then_some(bound);
    }
}

impl Policies {
    pub(super) fn validating(&self) -> Option<Arc<[Bound]>> {
        self.validating.bound.clone()
    }

    pub(super) fn mutating(&self) -> Option<Arc<[Bound]>> {
        self.mutating.bound.clone()
    }
}

impl Index for Policies {
    const TABLES: &'static [&'static str] =
        &[VALIDATING, VALIDATING_BINDINGS, MUTATING, MUTATING_BINDINGS];

    fn apply(&mut self, table: &str, object: &Object, removed: bool) {
        let name = object.name();
        let there = || (!removed).then_some(object);
        match table {
            VALIDATING => {
                let policy = there().and_then(|object| {
                    Policy::validating(object.get::<ValidatingAdmissionPolicy>().ok()?)
                });
                self.validating.set_policy(name, policy);
            }
            VALIDATING_BINDINGS => {
                let binding = there().and_then(|object| {
                    Binding::validating(object.get::<ValidatingAdmissionPolicyBinding>().ok()?)
                });
                self.validating.set_binding(name, binding);
            }
            MUTATING => {
                let policy = there().and_then(|object| {
                    Policy::mutating(object.get::<MutatingAdmissionPolicy>().ok()?)
                });
                self.mutating.set_policy(name, policy);
            }
            _ => {
                let binding = there().and_then(|object| {
                    Binding::mutating(object.get::<MutatingAdmissionPolicyBinding>().ok()?)
                });
                self.mutating.set_binding(name, binding);
            }
        }
    }
}
