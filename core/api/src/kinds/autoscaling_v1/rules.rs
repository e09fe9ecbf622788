use k8s_openapi::api::autoscaling::v2::{
    HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::{Deserialize, Serialize};

/// How fast to scale, as the annotation has it: with upstream's internal names of the fields,
/// which it also reads in their usual form.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Behavior {
    #[serde(alias = "scaleUp")]
    scale_up: Option<Rules>,
    #[serde(alias = "scaleDown")]
    scale_down: Option<Rules>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Rules {
    #[serde(alias = "stabilizationWindowSeconds")]
    stabilization_window_seconds: Option<i32>,
    #[serde(alias = "selectPolicy")]
    select_policy: Option<String>,
    #[serde(alias = "policies")]
    policies: Option<Vec<Policy>>,
    #[serde(alias = "tolerance")]
    tolerance: Option<Quantity>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Policy {
    #[serde(rename = "Type", alias = "type")]
    kind: String,
    #[serde(alias = "value")]
    value: i32,
    #[serde(alias = "periodSeconds")]
    period_seconds: i32,
}

impl From<&HorizontalPodAutoscalerBehavior> for Behavior {
    fn from(from: &HorizontalPodAutoscalerBehavior) -> Self {
        Self {
            scale_up: from.scale_up.as_ref().map(Into::into),
            scale_down: from.scale_down.as_ref().map(Into::into),
        }
    }
}

impl From<Behavior> for HorizontalPodAutoscalerBehavior {
    fn from(from: Behavior) -> Self {
        Self {
            scale_up: from.scale_up.map(Into::into),
            scale_down: from.scale_down.map(Into::into),
        }
    }
}

impl From<&HPAScalingRules> for Rules {
    fn from(from: &HPAScalingRules) -> Self {
        let policy = |policy: &HPAScalingPolicy| Policy {
            kind: policy.type_.clone(),
            value: policy.value,
            period_seconds: policy.period_seconds,
        };
        Self {
            stabilization_window_seconds: from.stabilization_window_seconds,
            select_policy: from.select_policy.clone(),
            policies: from.policies.as_ref().map(|all| all.iter().map(policy).collect()),
            tolerance: from.tolerance.clone(),
        }
    }
}

impl From<Rules> for HPAScalingRules {
    fn from(from: Rules) -> Self {
        let policy = |policy: Policy| HPAScalingPolicy {
            type_: policy.kind,
            value: policy.value,
            period_seconds: policy.period_seconds,
        };
        Self {
            stabilization_window_seconds: from.stabilization_window_seconds,
            select_policy: from.select_policy,
            policies: from.policies.map(|all| all.into_iter().map(policy).collect()),
            tolerance: from.tolerance,
        }
    }
}
