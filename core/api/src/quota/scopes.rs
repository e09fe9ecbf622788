use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, PodAffinityTerm, PodSpec, ResourceQuota,
};

use crate::kinds::qos;

/// What scopes of quotas ask of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Traits {
    /// No scope is for such objects.
    None,
    Pod {
        terminating: bool,
        best_effort: bool,
        crosses_namespaces: bool,
        priority_class: Option<String>,
    },
    /// The classes of attributes that a claim has, had or is to have.
    Claim(Vec<String>),
}

impl Traits {
    pub(super) fn of_pod(pod: &Pod) -> Self {
        let none = PodSpec::default();
        let spec = pod.spec.as_ref().unwrap_or(&none);
        let class = spec.priority_class_name.clone();
        Self::Pod {
            terminating: spec.active_deadline_seconds.is_some_and(|seconds| seconds >= 0),
            best_effort: qos::class(spec) == qos::BEST_EFFORT,
            crosses_namespaces: crosses_namespaces(spec),
            priority_class: class.filter(|class| !class.is_empty()),
        }
    }

    pub(super) fn of_claim(claim: &PersistentVolumeClaim) -> Self {
        let status = claim.status.as_ref();
        let wanted = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.clone());
        let current = status.and_then(|status| status.current_volume_attributes_class_name.clone());
        let modify = status.and_then(|status| status.modify_volume_status.as_ref());
        let target = modify.and_then(|modify| modify.target_volume_attributes_class_name.clone());
        let all = [wanted, current, target].into_iter().flatten();
        Self::Claim(all.filter(|class| !class.is_empty()).collect())
    }

    pub(super) fn are_in_scope_of(&self, quota: &ResourceQuota) -> bool {
        let Some(spec) = &quota.spec else { return true };
        let selector = spec.scope_selector.as_ref();
        let expressions = selector.and_then(|selector| selector.match_expressions.as_deref());
        spec.scopes.iter().flatten().all(|scope| self.matches(scope, "Exists", &[]))
            && expressions.unwrap_or_default().iter().all(|wanted| {
                let values = wanted.values.as_deref().unwrap_or_default();
                self.matches(&wanted.scope_name, &wanted.operator, values)
            })
    }

    pub(super) fn matches(&self, scope: &str, operator: &str, values: &[String]) -> bool {
        match (self, scope) {
            (Self::Pod { terminating, .. }, "Terminating") => *terminating,
            (Self::Pod { terminating, .. }, "NotTerminating") => !terminating,
            (Self::Pod { best_effort, .. }, "BestEffort") => *best_effort,
            (Self::Pod { best_effort, .. }, "NotBestEffort") => !best_effort,
            (Self::Pod { crosses_namespaces, .. }, "CrossNamespacePodAffinity") => {
                *crosses_namespaces
            }
            (Self::Pod { priority_class, .. }, "PriorityClass") => {
                selects(priority_class.as_deref(), operator, values)
            }
            (Self::Claim(classes), "VolumeAttributesClass") if classes.is_empty() => {
                selects(None, operator, values)
            }
            (Self::Claim(classes), "VolumeAttributesClass") => {
                classes.iter().any(|class| selects(Some(class), operator, values))
            }
            _ => false,
        }
    }
}

fn selects(value: Option<&str>, operator: &str, values: &[String]) -> bool {
    let is_in = value.is_some_and(|value| values.iter().any(|wanted| wanted == value));
    match operator {
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "In" => is_in,
        "NotIn" => !is_in,
        _ => false,
    }
}

/// Whether a pod wants to be near or far from pods of other namespaces.
fn crosses_namespaces(spec: &PodSpec) -> bool {
    let crosses = |term: &PodAffinityTerm| {
        term.namespace_selector.is_some()
            || term.namespaces.as_ref().is_some_and(|names| !names.is_empty())
    };
    let Some(affinity) = &spec.affinity else { return false };
    let near = affinity.pod_affinity.as_ref().map(|near| {
        (
            &near.required_during_scheduling_ignored_during_execution,
            &near.preferred_during_scheduling_ignored_during_execution,
        )
    });
    let far = affinity.pod_anti_affinity.as_ref().map(|far| {
        (
            &far.required_during_scheduling_ignored_during_execution,
            &far.preferred_during_scheduling_ignored_during_execution,
        )
    });
    near.into_iter().chain(far).any(|(required, preferred)| {
        required.iter().flatten().any(crosses)
            || preferred.iter().flatten().any(|term| crosses(&term.pod_affinity_term))
    })
}
