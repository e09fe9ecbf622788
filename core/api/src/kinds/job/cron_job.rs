use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec};

use super::super::check::{Json, non_negative, required_choice, text};
use super::super::{fill, names, next_generation, omit_empty};
use super::{default_spec, optional, spec};
use crate::Strategy;
use crate::field::{Bare, ErrorList, Path};
use crate::schedule::Schedule;

/// How many Jobs that have succeeded, and how many that have failed, are kept.
const SUCCESSFUL_HISTORY_LIMIT: i32 = 3;
const FAILED_HISTORY_LIMIT: i32 = 1;
/// Longest name: a Job's is made of it, a dash and ten characters, and a pod's of that.
const NAME_MAX: usize = 63 - 11;

/// Jobs at certain times.
pub(in crate::kinds) struct CronJobStrategy;

impl Strategy for CronJobStrategy {
    type Kind = CronJob;

    fn default(&self, job: &mut CronJob) {
        let spec = &mut job.spec;
        omit_empty!(spec; time_zone);
        fill(&mut spec.concurrency_policy, "Allow");
        spec.suspend.get_or_insert(false);
        spec.successful_jobs_history_limit.get_or_insert(SUCCESSFUL_HISTORY_LIMIT);
        spec.failed_jobs_history_limit.get_or_insert(FAILED_HISTORY_LIMIT);
        let template = spec.job_template.spec.get_or_insert_default();
        let default_mode = template.completion_mode.is_none();
        default_spec(template);
        // Upstream leaves these to the Job that is made.
        if default_mode {
            template.completion_mode = None;
        }
        template.suspend = template.suspend.filter(|suspend| *suspend);
        template.backoff_limit = template.backoff_limit.filter(|limit| *limit != 6);
        if template.pod_failure_policy.is_none() {
            template.pod_replacement_policy = None;
        }
        if template.completions == Some(1) && template.parallelism == Some(1) {
            template.completions = None;
            template.parallelism = None;
        }
    }

    fn prepare_for_create(&self, job: &mut CronJob) {
        job.metadata.generation = Some(1);
        job.status = None;
    }

    fn validate(&self, job: &CronJob, errors: &mut ErrorList) {
        let name = text(&job.metadata.name);
        if name.len() > NAME_MAX {
            let meta = Path::root("metadata");
            let why = format!("must be no more than {NAME_MAX} characters");
            errors.invalid(&meta.child("name"), name, &why);
        }
        validate_spec(&job.spec, true, &Path::root("spec"), errors);
    }

    fn validate_name(&self, name: &str) -> Result<(), String> {
        names::dns_subdomain(name)
    }

    fn prepare_for_update(&self, new: &mut CronJob, old: &CronJob) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn validate_update(&self, new: &CronJob, old: &CronJob, errors: &mut ErrorList) {
        // A schedule that was stored when this was still allowed may stay.
        let kept = old.spec.schedule == new.spec.schedule;
        validate_spec(&new.spec, !kept, &Path::root("spec"), errors);
    }

    fn prepare_for_status_update(&self, new: &mut CronJob, old: &CronJob) {
        new.spec.clone_from(&old.spec);
    }
}

fn validate_spec(
    spec: &CronJobSpec,
    zone_forbidden: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    validate_schedule(spec, zone_forbidden, &path.child("schedule"), errors);
    let deadline = spec.starting_deadline_seconds.unwrap_or(0);
    non_negative(errors, &path.child("startingDeadlineSeconds"), deadline);
    let policies = ["Allow", "Forbid", "Replace"];
    required_choice(errors, &path.child("concurrencyPolicy"), &spec.concurrency_policy, &policies);
    if let Some(zone) = spec.time_zone.as_deref() {
        validate_zone(zone, &path.child("timeZone"), errors);
    }
    let template = path.child("jobTemplate");
    if let Some(job) = &spec.job_template.spec {
        let at = template.child("spec");
        spec::validate(job, &at, errors);
        if let Some(selector) = &job.selector {
            let why = "`selector` will be auto-generated";
            errors.invalid(&at.child("selector"), Json(selector), why);
        }
        if job.manual_selector == Some(true) {
            errors.not_supported(&at.child("manualSelector"), Bare(true), &["nil", "false"]);
        }
    }
    let limits = [
        ("successfulJobsHistoryLimit", spec.successful_jobs_history_limit),
        ("failedJobsHistoryLimit", spec.failed_jobs_history_limit),
    ];
    for (field, limit) in limits {
        optional(errors, &path.child(field), limit);
    }
}

fn validate_schedule(
    spec: &CronJobSpec,
    zone_forbidden: bool,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let schedule = spec.schedule.as_str();
    if schedule.is_empty() {
        return errors.required(path, "");
    }
    if schedule.contains("TZ") && (zone_forbidden || spec.time_zone.is_some()) {
        let why = if spec.time_zone.is_some() {
            "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        } else {
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        };
        return errors.invalid(path, schedule, why);
    }
    if let Err(why) = Schedule::parse(schedule) {
        errors.invalid(path, schedule, &why);
    }
}

fn validate_zone(zone: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if zone.is_empty() {
        errors.invalid(path, zone, "timeZone must be nil or non-empty string");
    } else if zone.eq_ignore_ascii_case("Local") {
        errors.invalid(
            path,
            zone,
            "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
        );
    } else if let Err(why) = jiff::tz::TimeZone::get(zone) {
        errors.invalid(path, zone, &why.to_string());
    }
}
