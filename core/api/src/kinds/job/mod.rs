//! Jobs and cron jobs.

mod cron_job;
mod policies;
mod spec;
mod status;
mod update;

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

pub(super) use cron_job::CronJobStrategy;

use super::check::{Json, non_negative, text};
use super::pod_spec::{self, defaults};
use super::{fill, label_selector, names, next_generation, omit_empty};
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// Failures after which a Job has failed.
const BACKOFF_LIMIT: i32 = 6;
/// The labels that tell the pods of a Job: uid and name, with a prefix and, as it once was, without.
const UID_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const NAME_LABELS: [&str; 2] = ["batch.kubernetes.io/job-name", "job-name"];

/// Jobs.
pub(super) struct JobStrategy;

impl Strategy for JobStrategy {
    type Kind = Job;

    fn default(&self, job: &mut Job) {
        default_spec(job.spec.get_or_insert_default());
        let labels = job.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
        if job.metadata.labels.as_ref().is_none_or(BTreeMap::is_empty) {
            job.metadata.labels = labels.and_then(|meta| meta.labels.clone());
        }
    }

    fn prepare_for_create(&self, job: &mut Job) {
        select_own_pods(job);
        job.metadata.generation = Some(1);
        job.status = Some(JobStatus::default());
    }

    fn validate(&self, job: &Job, errors: &mut ErrorList) {
        let Some(spec) = &job.spec else { return };
        validate_own_selector(job, spec, errors);
        validate_with_selector(spec, &Path::root("spec"), errors);
        if text(&spec.completion_mode) == "Indexed"
            && let Some(completions) = spec.completions.filter(|count| *count > 0)
        {
            let last = format!("{}-{}", text(&job.metadata.name), completions - 1);
            if names::dns_label(&last).is_err() {
                let meta = Path::root("metadata");
                let why = format!("will not able to create pod with invalid DNS label: {last}");
                errors.invalid(&meta.child("name"), text(&job.metadata.name), &why);
            }
        }
    }

    fn prepare_for_update(&self, new: &mut Job, old: &Job) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn prepare_for_status_update(&self, new: &mut Job, old: &Job) {
        new.spec.clone_from(&old.spec);
    }

    fn validate_update(&self, new: &Job, old: &Job, errors: &mut ErrorList) {
        let (Some(new_spec), Some(old_spec)) = (&new.spec, &old.spec) else { return };
        let path = Path::root("spec");
        validate_with_selector(new_spec, &path, errors);
        update::validate(new_spec, old_spec, old.status.as_ref(), &path, errors);
    }

    fn validate_status_update(&self, new: &Job, old: &Job, errors: &mut ErrorList) {
        status::validate(new, old, errors);
    }

    fn field<'a>(&self, job: &'a Job, path: &str) -> Option<std::borrow::Cow<'a, str>> {
        let succeeded = job.status.as_ref().and_then(|status| status.succeeded).unwrap_or(0);
        (path == "status.successful").then(|| succeeded.to_string().into())
    }
}

/// What a field selector may name.
pub(super) const FIELDS: &[&str] = &["status.successful"];

fn default_spec(spec: &mut JobSpec) {
    omit_empty!(spec; manual_selector);
    // Neither given: one pod that has to succeed.
    if spec.completions.is_none() && spec.parallelism.is_none() {
        spec.completions = Some(1);
    }
    spec.parallelism.get_or_insert(1);
    let per_index = spec.backoff_limit_per_index.is_some();
    spec.backoff_limit.get_or_insert(if per_index { i32::MAX } else { BACKOFF_LIMIT });
    fill(&mut spec.completion_mode, "NonIndexed");
    spec.suspend.get_or_insert(false);
    let failed_only = spec.pod_failure_policy.is_some();
    let replacement = if failed_only { "Failed" } else { "TerminatingOrFailed" };
    fill(&mut spec.pod_replacement_policy, replacement);
    default_template(spec);
}

/// Fills in what is the pods' and the policies' own.
fn default_template(spec: &mut JobSpec) {
    defaults::template(&mut spec.template);
    for rule in spec.pod_failure_policy.iter_mut().flat_map(|policy| &mut policy.rules) {
        for pattern in rule.on_pod_conditions.iter_mut().flatten() {
            fill(&mut pattern.status, "True");
        }
    }
}

/// Gives the pods of a Job labels of their own, and has the Job select them, unless its maker does.
fn select_own_pods(job: &mut Job) {
    let (name, uid) = (text(&job.metadata.name).to_owned(), text(&job.metadata.uid).to_owned());
    let spec = job.spec.get_or_insert_default();
    let labels = spec.template.metadata.get_or_insert_default().labels.get_or_insert_default();
    if spec.manual_selector == Some(true) {
        return;
    }
    for (keys, value) in [(UID_LABELS, &uid), (NAME_LABELS, &name)] {
        for key in keys {
            labels.entry(key.to_owned()).or_insert_with(|| value.clone());
        }
    }
    let selector = spec.selector.get_or_insert_default();
    let own = selector.match_labels.get_or_insert_default();
    own.entry(UID_LABELS[0].to_owned()).or_insert(uid);
}

/// A generated selector has to select what the Job makes, and nothing of others.
fn validate_own_selector(job: &Job, spec: &JobSpec, errors: &mut ErrorList) {
    let Some(selector) = spec.selector.as_ref().filter(|_| spec.manual_selector != Some(true))
    else {
        return;
    };
    let (name, uid) = (text(&job.metadata.name), text(&job.metadata.uid));
    if uid.is_empty() {
        errors.required(&Path::root("metadata").child("uid"), "");
    }
    let root = Path::root("spec");
    let template = root.child("template");
    let meta = template.child("metadata");
    let at = meta.child("labels");
    let labels = spec.template.metadata.as_ref().and_then(|meta| meta.labels.as_ref());
    let mut expected = BTreeMap::new();
    for form in [1, 0] {
        for (keys, value) in [(UID_LABELS, uid), (NAME_LABELS, name)] {
            let key = keys[form];
            expected.insert(key.to_owned(), value.to_owned());
            match labels.and_then(|labels| labels.get(key)) {
                None => errors.required(&at.key(key), &format!("must be '{value}'")),
                Some(actual) if actual != value => {
                    errors.invalid(&at.key(key), Json(&labels), &format!("must be '{value}'"));
                }
                Some(_) => {}
            }
        }
    }
    if label_selector::matches(selector, Some(&expected)) == Some(false) {
        errors.invalid(&root.child("selector"), Json(selector), "`selector` not auto-generated");
    }
}

fn validate_with_selector(spec: &JobSpec, path: &Path<'_>, errors: &mut ErrorList) {
    spec::validate(spec, path, errors);
    let at = path.child("selector");
    let none = LabelSelector::default();
    match &spec.selector {
        None => errors.required(&at, ""),
        Some(selector) => label_selector::validate(selector, &at, errors),
    }
    let selector = spec.selector.as_ref().unwrap_or(&none);
    pod_spec::selects(selector, &spec.template, &path.child("template"), errors);
}

/// Checks a number that may be left out.
fn optional(errors: &mut ErrorList, path: &Path<'_>, value: Option<i32>) {
    non_negative(errors, path, value.unwrap_or(0));
}
