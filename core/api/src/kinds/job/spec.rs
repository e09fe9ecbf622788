use k8s_openapi::api::batch::v1::JobSpec;

use super::super::check::{choice, complain, non_negative, text};
use super::super::names::rules;
use super::super::pod_spec;
use super::{optional, policies};
use crate::field::{ErrorList, Path};

/// Most pods at once, and most indexes that may fail, of an indexed Job.
const MOST_PARALLEL: i32 = 100_000;
/// Above so many completions the indexes that fail have to be bounded more narrowly.
const MANY_COMPLETIONS: i32 = 100_000;
const MOST_OF_MANY: i32 = 10_000;
/// Longest name of a controller.
const MANAGED_BY_MAX: usize = 63;
/// What may stand in a path beside letters and digits.
const PATH_MARKS: &[u8] = b"/-._~%!$&'()*+,;=:";
const BAD_PATH: &str =
    "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";

/// Checks all of a Job's spec but its selector.
pub(super) fn validate(spec: &JobSpec, path: &Path<'_>, errors: &mut ErrorList) {
    optional(errors, &path.child("parallelism"), spec.parallelism);
    optional(errors, &path.child("completions"), spec.completions);
    let deadline = spec.active_deadline_seconds.unwrap_or(0);
    non_negative(errors, &path.child("activeDeadlineSeconds"), deadline);
    optional(errors, &path.child("backoffLimit"), spec.backoff_limit);
    optional(errors, &path.child("ttlSecondsAfterFinished"), spec.ttl_seconds_after_finished);
    optional(errors, &path.child("backoffLimitPerIndex"), spec.backoff_limit_per_index);
    optional(errors, &path.child("maxFailedIndexes"), spec.max_failed_indexes);
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        let why = "when maxFailedIndexes is specified";
        errors.required(&path.child("backoffLimitPerIndex"), why);
    }
    if let Some(name) = spec.managed_by.as_deref() {
        validate_manager(name, &path.child("managedBy"), errors);
    }
    let at = path.child("completionMode");
    choice(errors, &at, &spec.completion_mode, &["NonIndexed", "Indexed"]);
    match text(&spec.completion_mode) {
        "Indexed" => validate_indexed(spec, path, errors),
        "" | "NonIndexed" => {
            let indexed_only = [
                ("backoffLimitPerIndex", spec.backoff_limit_per_index),
                ("maxFailedIndexes", spec.max_failed_indexes),
            ];
            for (field, limit) in indexed_only {
                if let Some(limit) = limit {
                    errors.invalid(&path.child(field), limit, "requires indexed completion mode");
                }
            }
        }
        _ => {}
    }
    policies::validate(spec, path, errors);
    validate_template(spec, path, errors);
}

fn validate_indexed(spec: &JobSpec, path: &Path<'_>, errors: &mut ErrorList) {
    if spec.completions.is_none() {
        errors.required(&path.child("completions"), "when completion mode is Indexed");
    }
    let parallel = path.child("parallelism");
    if let Some(parallelism) = spec.parallelism.filter(|count| *count > MOST_PARALLEL) {
        let why = format!(
            "must be less than or equal to {MOST_PARALLEL} when completion mode is Indexed"
        );
        errors.invalid(&parallel, parallelism, &why);
    }
    let at = path.child("maxFailedIndexes");
    if let Some(failed) = spec.max_failed_indexes {
        if spec.completions.is_some_and(|completions| failed > completions) {
            errors.invalid(&at, failed, "must be less than or equal to completions");
        }
        if failed > MOST_PARALLEL {
            errors.invalid(&at, failed, &format!("must be less than or equal to {MOST_PARALLEL}"));
        }
    }
    let many = spec.completions.is_some_and(|completions| completions > MANY_COMPLETIONS);
    if !many || spec.backoff_limit_per_index.is_none() {
        return;
    }
    if spec.max_failed_indexes.is_none() {
        let why = format!("must be specified when completions is above {MANY_COMPLETIONS}");
        errors.required(&at, &why);
    }
    let bound = format!(
        "must be less than or equal to {MOST_OF_MANY} when completions are above \
         {MANY_COMPLETIONS} and used with backoff limit per index"
    );
    for (at, count) in [(&parallel, spec.parallelism), (&at, spec.max_failed_indexes)] {
        if let Some(count) = count.filter(|count| *count > MOST_OF_MANY) {
            errors.invalid(at, count, &bound);
        }
    }
}

fn validate_manager(name: &str, path: &Path<'_>, errors: &mut ErrorList) {
    match name.split_once('/') {
        _ if name.is_empty() => errors.required(path, ""),
        Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => {
            complain(errors, path, domain, rules::dns_subdomain(domain));
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || PATH_MARKS.contains(&byte);
            if !rest.bytes().all(fits) {
                errors.invalid(path, rest, BAD_PATH);
            }
        }
        _ => errors.invalid(path, name, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
    if name.len() > MANAGED_BY_MAX {
        errors.too_long(path, MANAGED_BY_MAX);
    }
}

fn validate_template(spec: &JobSpec, path: &Path<'_>, errors: &mut ErrorList) {
    let template = path.child("template");
    pod_spec::validate_template(&spec.template, &template, errors);
    let at = template.child("spec");
    let at = at.child("restartPolicy");
    let policy = spec.template.spec.as_ref().map_or("", |spec| text(&spec.restart_policy));
    match policy {
        // What defaulting fills in: most likely nothing was said.
        "" | "Always" => errors.required(&at, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if spec.pod_failure_policy.is_some() => {
            let why = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.invalid(&at, policy, why);
        }
        "OnFailure" | "Never" => {}
        other => errors.not_supported(&at, other, &["OnFailure", "Never"]),
    }
}
