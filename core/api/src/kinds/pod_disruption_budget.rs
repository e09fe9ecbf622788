use k8s_openapi::api::policy::v1::{
    PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::check::{Json, choice, non_negative};
use super::replicated::{number, validate_share};
use super::{label_selector, next_generation};
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// Budgets of how many pods may be missing.
pub(super) struct PodDisruptionBudgetStrategy;

impl Strategy for PodDisruptionBudgetStrategy {
    type Kind = PodDisruptionBudget;

    fn prepare_for_create(&self, budget: &mut PodDisruptionBudget) {
        budget.metadata.generation = Some(1);
        budget.status = Some(PodDisruptionBudgetStatus::default());
    }

    fn validate(&self, budget: &PodDisruptionBudget, errors: &mut ErrorList) {
        if let Some(spec) = &budget.spec {
            validate_spec(spec, &Path::root("spec"), errors);
        }
    }

    fn prepare_for_update(&self, new: &mut PodDisruptionBudget, old: &PodDisruptionBudget) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn prepare_for_status_update(&self, new: &mut PodDisruptionBudget, old: &PodDisruptionBudget) {
        new.spec.clone_from(&old.spec);
    }

    fn validate_status_update(
        &self,
        new: &PodDisruptionBudget,
        _: &PodDisruptionBudget,
        errors: &mut ErrorList,
    ) {
        let Some(status) = &new.status else { return };
        let path = Path::root("status");
        let counts = [
            ("disruptionsAllowed", status.disruptions_allowed),
            ("currentHealthy", status.current_healthy),
            ("desiredHealthy", status.desired_healthy),
            ("expectedPods", status.expected_pods),
        ];
        for (field, count) in counts {
            non_negative(errors, &path.child(field), count.unwrap_or(0));
        }
    }
}

fn validate_spec(spec: &PodDisruptionBudgetSpec, path: &Path<'_>, errors: &mut ErrorList) {
    if spec.min_available.is_some() && spec.max_unavailable.is_some() {
        let why = "minAvailable and maxUnavailable cannot be both set";
        errors.invalid(path, Json(spec), why);
    }
    let shares = [("minAvailable", &spec.min_available), ("maxUnavailable", &spec.max_unavailable)];
    for (field, share) in shares {
        let Some(share) = share else { continue };
        let at = path.child(field);
        validate_share(share, &at, errors);
        if matches!(share, IntOrString::String(_)) && number(share) > 100 {
            errors.invalid(&at, Json(share), "must not be greater than 100%");
        }
    }
    if let Some(selector) = &spec.selector {
        label_selector::validate(selector, &path.child("selector"), errors);
    }
    let policies = ["AlwaysAllow", "IfHealthyBudget"];
    let at = path.child("unhealthyPodEvictionPolicy");
    choice(errors, &at, &spec.unhealthy_pod_eviction_policy, &policies);
}
