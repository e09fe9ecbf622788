use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HPAScalingRules, HorizontalPodAutoscaler,
    HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, HorizontalPodAutoscalerStatus,
    MetricIdentifier, MetricSpec, MetricTarget,
};
use k8s_openapi::api::autoscaling::v2::{HPAScalingPolicy, ResourceMetricSource};

use super::check::choice;
use super::{label_selector, names, next_generation};
use crate::Strategy;
use crate::field::{ErrorList, Path};
use crate::quantity::Quantity;

/// How much of its request a pod should use, in percent, where nothing is said.
const CPU_UTILIZATION: i32 = 80;
/// Longest periods, in seconds.
const WINDOW_MAX: i32 = 3600;
const PERIOD_MAX: i32 = 1800;

/// What changes the number of pods by what they use.
pub(super) struct HorizontalPodAutoscalerStrategy;

impl Strategy for HorizontalPodAutoscalerStrategy {
    type Kind = HorizontalPodAutoscaler;

    fn default(&self, autoscaler: &mut HorizontalPodAutoscaler) {
        let spec = &mut autoscaler.spec;
        spec.min_replicas.get_or_insert(1);
        if spec.metrics.as_ref().is_none_or(Vec::is_empty) {
            let target = MetricTarget {
                type_: "Utilization".to_owned(),
                average_utilization: Some(CPU_UTILIZATION),
                ..Default::default()
            };
            spec.metrics = Some(vec![MetricSpec {
                type_: "Resource".to_owned(),
                resource: Some(ResourceMetricSource { name: "cpu".to_owned(), target }),
                ..Default::default()
            }]);
        }
        if let Some(behavior) = &mut spec.behavior {
            default_behavior(behavior);
        }
    }

    fn prepare_for_create(&self, autoscaler: &mut HorizontalPodAutoscaler) {
        autoscaler.metadata.generation = Some(1);
        autoscaler.status = Some(HorizontalPodAutoscalerStatus::default());
    }

    fn validate(&self, autoscaler: &HorizontalPodAutoscaler, errors: &mut ErrorList) {
        validate_spec(&autoscaler.spec, &Path::root("spec"), errors);
    }

    fn prepare_for_update(&self, new: &mut HorizontalPodAutoscaler, old: &HorizontalPodAutoscaler) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn prepare_for_status_update(
        &self,
        new: &mut HorizontalPodAutoscaler,
        old: &HorizontalPodAutoscaler,
    ) {
        new.spec = old.spec.clone();
    }

    fn validate_status_update(
        &self,
        new: &HorizontalPodAutoscaler,
        _: &HorizontalPodAutoscaler,
        errors: &mut ErrorList,
    ) {
        let Some(status) = &new.status else { return };
        let path = Path::root("status");
        let counts = [
            ("currentReplicas", status.current_replicas.unwrap_or(0)),
            ("desiredReplicas", status.desired_replicas),
        ];
        for (field, count) in counts {
            super::check::non_negative(errors, &path.child(field), count);
        }
    }
}

fn default_behavior(behavior: &mut HorizontalPodAutoscalerBehavior) {
    let policy = |type_: &str, value: i32| HPAScalingPolicy {
        type_: type_.to_owned(),
        value,
        period_seconds: 15,
    };
    let up = behavior.scale_up.get_or_insert_default();
    up.stabilization_window_seconds.get_or_insert(0);
    default_rules(up, vec![policy("Pods", 4), policy("Percent", 100)]);
    let down = behavior.scale_down.get_or_insert_default();
    default_rules(down, vec![policy("Percent", 100)]);
}

fn default_rules(rules: &mut HPAScalingRules, policies: Vec<HPAScalingPolicy>) {
    super::fill(&mut rules.select_policy, "Max");
    if rules.policies.is_none() {
        rules.policies = Some(policies);
    }
}

fn validate_spec(spec: &HorizontalPodAutoscalerSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let least = spec.min_replicas.unwrap_or(1);
    let at = path.child("minReplicas");
    if least < 1 {
        errors.invalid(&at, least, "must be greater than or equal to 1");
    }
    let at = path.child("maxReplicas");
    if spec.max_replicas < 1 {
        errors.invalid(&at, spec.max_replicas, "must be greater than 0");
    }
    if spec.max_replicas < least {
        let why = "must be greater than or equal to `minReplicas`";
        errors.invalid(&at, spec.max_replicas, why);
    }
    validate_reference(&spec.scale_target_ref, &path.child("scaleTargetRef"), errors);
    let at = path.child("metrics");
    for (index, metric) in spec.metrics.iter().flatten().enumerate() {
        validate_metric(metric, &at.index(index), errors);
    }
    if let Some(behavior) = &spec.behavior {
        let path = path.child("behavior");
        let rules = [("scaleUp", &behavior.scale_up), ("scaleDown", &behavior.scale_down)];
        for (field, rules) in rules {
            if let Some(rules) = rules {
                validate_rules(rules, &path.child(field), errors);
            }
        }
    }
}

fn validate_reference(
    reference: &CrossVersionObjectReference,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    for (field, value) in [("kind", &reference.kind), ("name", &reference.name)] {
        let at = path.child(field);
        if value.is_empty() {
            errors.required(&at, "");
        } else if let Err(why) = names::path_segment(value) {
            errors.invalid(&at, value, &why);
        }
    }
}

fn validate_rules(rules: &HPAScalingRules, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(window) = rules.stabilization_window_seconds {
        let at = path.child("stabilizationWindowSeconds");
        if window < 0 {
            errors.invalid(&at, window, "must be greater than or equal to zero");
        } else if window > WINDOW_MAX {
            errors.invalid(&at, window, &format!("must be less than or equal to {WINDOW_MAX}"));
        }
    }
    let choices = ["Disabled", "Max", "Min"];
    choice(errors, &path.child("selectPolicy"), &rules.select_policy, &choices);
    let at = path.child("policies");
    let policies = rules.policies.as_deref().unwrap_or_default();
    if policies.is_empty() {
        errors.required(&at, "must specify at least one Policy");
    }
    for (index, policy) in policies.iter().enumerate() {
        let at = at.index(index);
        if !matches!(policy.type_.as_str(), "Pods" | "Percent") {
            errors.not_supported(&at.child("type"), &policy.type_, &["Percent", "Pods"]);
        }
        for (field, value) in [("value", policy.value), ("periodSeconds", policy.period_seconds)] {
            if value <= 0 {
                errors.invalid(&at.child(field), value, "must be greater than zero");
            }
        }
        if policy.period_seconds > PERIOD_MAX {
            let why = format!("must be less than or equal to {PERIOD_MAX}");
            errors.invalid(&at.child("periodSeconds"), policy.period_seconds, &why);
        }
    }
}

fn validate_metric(metric: &MetricSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let given = [
        ("Object", "object", metric.object.is_some()),
        ("Pods", "pods", metric.pods.is_some()),
        ("Resource", "resource", metric.resource.is_some()),
        ("ContainerResource", "containerResource", metric.container_resource.is_some()),
        ("External", "external", metric.external.is_some()),
    ];
    let at = path.child("type");
    if metric.type_.is_empty() {
        errors.required(&at, "must specify a metric source type");
    } else if !given.iter().any(|(kind, ..)| *kind == metric.type_) {
        let kinds = ["ContainerResource", "External", "Object", "Pods", "Resource"];
        errors.not_supported(&at, &metric.type_, &kinds);
    }
    for (kind, field, is_given) in given {
        let at = path.child(field);
        if kind == metric.type_ && !is_given {
            errors.required(&at, "must populate information for the given metric source");
        } else if kind != metric.type_ && is_given {
            errors.forbidden(&at, "must populate the given metric source only");
        }
    }
    if let Some(source) = &metric.object {
        let at = path.child("object");
        validate_reference(&source.described_object, &at.child("describedObject"), errors);
        validate_identifier(&source.metric, &at.child("metric"), errors);
        validate_target(&source.target, &["Value", "AverageValue"], &at.child("target"), errors);
    }
    if let Some(source) = &metric.pods {
        let at = path.child("pods");
        validate_identifier(&source.metric, &at.child("metric"), errors);
        validate_target(&source.target, &["AverageValue"], &at.child("target"), errors);
    }
    if let Some(source) = &metric.external {
        let at = path.child("external");
        validate_identifier(&source.metric, &at.child("metric"), errors);
        validate_target(&source.target, &["Value", "AverageValue"], &at.child("target"), errors);
    }
    let usages = [
        ("resource", metric.resource.as_ref().map(|source| (&source.name, &source.target))),
        (
            "containerResource",
            metric.container_resource.as_ref().map(|source| (&source.name, &source.target)),
        ),
    ];
    for (field, source) in usages {
        let Some((name, target)) = source else { continue };
        let at = path.child(field);
        if name.is_empty() {
            errors.required(&at.child("name"), "must specify a resource name");
        }
        validate_target(target, &["Utilization", "AverageValue"], &at.child("target"), errors);
    }
    if metric.container_resource.as_ref().is_some_and(|source| source.container.is_empty()) {
        let at = path.child("containerResource");
        errors.required(&at.child("container"), "must specify a container");
    }
}

fn validate_identifier(metric: &MetricIdentifier, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("name");
    if metric.name.is_empty() {
        errors.required(&at, "");
    } else if let Err(why) = names::path_segment(&metric.name) {
        errors.invalid(&at, &metric.name, &why);
    }
    if let Some(selector) = &metric.selector {
        label_selector::validate(selector, &path.child("selector"), errors);
    }
}

fn validate_target(
    target: &MetricTarget,
    allowed: &[&str],
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let kind = target.type_.as_str();
    if kind.is_empty() {
        errors.required(&path.child("type"), "must specify a metric target type");
    } else if !["Utilization", "Value", "AverageValue"].contains(&kind) {
        let why = "must be either Utilization, Value, or AverageValue";
        errors.invalid(&path.child("type"), kind, why);
    }
    let positive =
        |text: &str| Quantity::parse(text).is_ok_and(|size| !size.is_zero() && !size.is_negative());
    for (field, value) in [("value", &target.value), ("averageValue", &target.average_value)] {
        if let Some(value) = value
            && !positive(&value.0)
        {
            errors.invalid(&path.child(field), value.0.as_str(), "must be positive");
        }
    }
    let at = path.child("averageUtilization");
    if let Some(share) = target.average_utilization.filter(|share| *share < 1) {
        errors.invalid(&at, share, "must be greater than 0");
    }
    let given = [
        ("Value", target.value.is_some()),
        ("AverageValue", target.average_value.is_some()),
        ("Utilization", target.average_utilization.is_some()),
    ];
    if !given.iter().any(|(kind, given)| *given && allowed.contains(kind)) {
        let names: Vec<_> = allowed.iter().map(|kind| kind.to_lowercase()).collect();
        let why = format!("must set either {}", names.join(" or "));
        errors.required(&path.child(field_name(allowed[0])), &why);
    }
    for (kind, _) in given.iter().filter(|(kind, given)| *given && !allowed.contains(kind)) {
        let at = path.child(field_name(kind));
        errors.forbidden(&at, "may not be set for this type of metric");
    }
}

fn field_name(kind: &str) -> &'static str {
    match kind {
        "Value" => "value",
        "AverageValue" => "averageValue",
        _ => "averageUtilization",
    }
}
