//! What a Job makes of pods that fail, and when it has succeeded.

use k8s_openapi::api::batch::v1::{
    JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule,
    SuccessPolicy, SuccessPolicyRule,
};

use super::super::check::{Json, complain, required_choice, text};
use super::super::names::rules;
use super::optional;
use crate::field::{ErrorList, Path};

/// Most rules, exit codes and patterns in a rule, and bytes of a list of indexes.
const RULES_MAX: usize = 20;
const CODES_MAX: usize = 255;
const PATTERNS_MAX: usize = 20;
const INDEXES_MAX: usize = 64 * 1024;

pub(super) fn validate(spec: &JobSpec, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(policy) = &spec.pod_failure_policy {
        validate_failure(spec, policy, &path.child("podFailurePolicy"), errors);
    }
    if let Some(policy) = &spec.success_policy {
        let at = path.child("successPolicy");
        if text(&spec.completion_mode) != "Indexed" {
            errors.invalid(&at, Json(policy), "requires indexed completion mode");
        } else {
            validate_success(spec, policy, &at, errors);
        }
    }
    let at = path.child("podReplacementPolicy");
    let all: &[&str] = match spec.pod_failure_policy {
        Some(_) => &["Failed"],
        None => &["Failed", "TerminatingOrFailed"],
    };
    if let Some(policy) = spec.pod_replacement_policy.as_deref()
        && !all.contains(&policy)
    {
        errors.not_supported(&at, policy, all);
    }
}

fn validate_failure(
    spec: &JobSpec,
    policy: &PodFailurePolicy,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let at = path.child("rules");
    if policy.rules.len() > RULES_MAX {
        errors.too_many(&at, policy.rules.len(), RULES_MAX);
    }
    for (index, rule) in policy.rules.iter().enumerate() {
        validate_rule(spec, rule, &at.index(index), errors);
    }
}

fn validate_rule(
    spec: &JobSpec,
    rule: &PodFailurePolicyRule,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let at = path.child("action");
    match rule.action.as_str() {
        "" => {
            errors.required(&at, "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]")
        }
        "FailIndex" if spec.backoff_limit_per_index.is_none() => {
            errors.invalid(&at, &rule.action, "requires the backoffLimitPerIndex to be set");
        }
        "Count" | "FailIndex" | "FailJob" | "Ignore" => {}
        other => errors.not_supported(&at, other, &["Count", "FailIndex", "FailJob", "Ignore"]),
    }
    if let Some(codes) = &rule.on_exit_codes {
        validate_codes(spec, codes, &path.child("onExitCodes"), errors);
    }
    let patterns = rule.on_pod_conditions.as_deref().unwrap_or_default();
    let at = path.child("onPodConditions");
    if patterns.len() > PATTERNS_MAX {
        errors.too_many(&at, patterns.len(), PATTERNS_MAX);
    }
    for (index, pattern) in patterns.iter().enumerate() {
        let at = at.index(index);
        let kind = pattern.type_.as_str();
        complain(errors, &at.child("type"), kind, rules::qualified_name(kind));
        let statuses = ["False", "True", "Unknown"];
        required_choice(errors, &at.child("status"), &pattern.status, &statuses);
    }
    match (rule.on_exit_codes.is_some(), !patterns.is_empty()) {
        (true, true) => {
            let why = "specifying both OnExitCodes and OnPodConditions is not supported";
            errors.inconsistent(path, why);
        }
        (false, false) => {
            let why = "specifying one of OnExitCodes and OnPodConditions is required";
            errors.inconsistent(path, why);
        }
        _ => {}
    }
}

fn validate_codes(
    spec: &JobSpec,
    codes: &PodFailurePolicyOnExitCodesRequirement,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let at = path.child("operator");
    match codes.operator.as_str() {
        "" => errors.required(&at, "valid values: [\"In\" \"NotIn\"]"),
        "In" | "NotIn" => {}
        other => errors.not_supported(&at, other, &["In", "NotIn"]),
    }
    if let Some(name) = codes.container_name.as_deref() {
        let pod = spec.template.spec.as_ref();
        let containers = pod
            .into_iter()
            .flat_map(|pod| pod.containers.iter().chain(pod.init_containers.iter().flatten()));
        if !containers.into_iter().any(|container| container.name == name) {
            let why = "must be one of the container or initContainer names in the pod template";
            errors.invalid(&path.child("containerName"), name, why);
        }
    }
    let at = path.child("values");
    let values = &codes.values;
    if values.is_empty() {
        errors.invalid(&at, Json(values), "at least one value is required");
    } else if values.len() > CODES_MAX {
        errors.too_many(&at, values.len(), CODES_MAX);
    }
    let mut ordered = true;
    for (index, value) in values.iter().enumerate() {
        if codes.operator == "In" && *value == 0 {
            errors.invalid(&at.index(index), *value, "must not be 0 for the In operator");
        }
        if values[..index].contains(value) {
            errors.duplicate(&at.index(index), *value);
        }
        ordered &= index == 0 || values[index - 1] <= *value;
    }
    if !ordered {
        errors.invalid(&at, Json(values), "must be ordered");
    }
}

fn validate_success(
    spec: &JobSpec,
    policy: &SuccessPolicy,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let at = path.child("rules");
    if policy.rules.is_empty() {
        errors.required(
            &at,
            "at least one rules must be specified when the successPolicy is specified",
        );
    }
    if policy.rules.len() > RULES_MAX {
        errors.too_many(&at, policy.rules.len(), RULES_MAX);
    }
    for (index, rule) in policy.rules.iter().enumerate() {
        validate_success_rule(spec, rule, &at.index(index), errors);
    }
}

fn validate_success_rule(
    spec: &JobSpec,
    rule: &SuccessPolicyRule,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let completions = spec.completions.unwrap_or(0);
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        let why = "at least one of succeededCount or succeededIndexes must be specified";
        errors.required(path, why);
    }
    let mut listed = 0;
    if let Some(text) = rule.succeeded_indexes.as_deref() {
        let at = path.child("succeededIndexes");
        if text.len() > INDEXES_MAX {
            errors.too_long(&at, INDEXES_MAX);
        }
        match count_indexes(text, completions) {
            Ok(count) => listed = count,
            Err(why) => {
                errors.invalid(&at, text, &format!("error parsing succeededIndexes: {why}"));
            }
        }
    }
    let Some(count) = rule.succeeded_count else { return };
    let at = path.child("succeededCount");
    optional(errors, &at, Some(count));
    let mut at_most = |most: i32, what: &str| {
        if count > most {
            let why = format!("must be less than or equal to {most} (the number of {what})");
            errors.invalid(&at, count, &why);
        }
    };
    at_most(completions, "specified completions");
    if rule.succeeded_indexes.is_some() {
        at_most(listed, "indexes in the specified succeededIndexes field");
    }
}

/// How many indexes a list such as `1,3-5` names, in order and below `completions`.
pub(super) fn count_indexes(text: &str, completions: i32) -> Result<i32, String> {
    let mut count = 0;
    let mut last = None;
    if text.is_empty() {
        return Ok(0);
    }
    for item in text.split(',') {
        let (first, end) = interval(item, completions)?;
        if let Some(last) = last.filter(|last| *last >= first) {
            return Err(format!("non-increasing order, previous: {last}, current: {first}"));
        }
        count += end - first + 1;
        last = Some(end);
    }
    Ok(count)
}

/// The first index that two such lists both name. What cannot be read names nothing.
pub(super) fn overlap(one: &str, other: &str, completions: i32) -> Option<i32> {
    let intervals = |text: &str| -> Vec<(i32, i32)> {
        text.split(',').filter_map(|item| interval(item, completions).ok()).collect()
    };
    let (one, other) = (intervals(one), intervals(other));
    let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
    while let (Some((a, b)), Some((c, d))) = (left.peek(), right.peek()) {
        if a <= d && c <= b {
            return Some(*a.max(c));
        }
        if a <= c {
            left.next()
        } else {
            right.next()
        };
    }
    None
}

/// The ends of `3-5`, or twice the index where there is but one.
fn interval(item: &str, completions: i32) -> Result<(i32, i32), String> {
    let number = |text: &str| -> Result<i32, String> {
        let index: i64 = text
            .parse()
            .map_err(|_| format!("cannot convert string to integer for index: {text:?}"))?;
        let index = i32::try_from(index).ok().filter(|index| *index < completions);
        index.ok_or_else(|| format!("too large index: {text:?}"))
    };
    let mut ends = item.split('-');
    let (first, end) = (ends.next().unwrap_or_default(), ends.next());
    if ends.next().is_some() {
        return Err(format!(
            "the fragment {item:?} violates the requirement that an index interval can have at \
             most two parts separated by '-'"
        ));
    }
    let first = number(first)?;
    let Some(end) = end else { return Ok((first, first)) };
    let end = number(end)?;
    if first >= end {
        return Err(format!("non-increasing order, previous: {first}, current: {end}"));
    }
    Ok((first, end))
}
