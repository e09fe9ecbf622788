use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec};

use super::super::check::{Json, non_negative, required_choice, text};
use super::super::{fill, names, next_generation};
use super::{default_template, optional, spec};
use crate::Strategy;
use crate::field::{Bare, ErrorList, Path};
use crate::schedule::Schedule;

/// How many Jobs that have succeeded, and how many that have failed, are kept.
const SUCCESSFUL_HISTORY_LIMIT: i32 = 3;
const FAILED_HISTORY_LIMIT: i32 = 1;
/// Longest name: a Job's is made of it, a dash and ten characters, and a pod's of that.
const NAME_MAX: usize = 63 - 11;
/// What begins the name of a zone in a schedule.
const ZONE: &str = "TZ";
/// Most bytes of a part of the name of a zone.
const ZONE_PART_MAX: usize = 14;

/// Jobs at certain times.
pub(in crate::kinds) struct CronJobStrategy;

impl Strategy for CronJobStrategy {
    type Kind = CronJob;

    fn default(&self, job: &mut CronJob) {
        let spec = &mut job.spec;
        fill(&mut spec.concurrency_policy, "Allow");
        spec.suspend.get_or_insert(false);
        spec.successful_jobs_history_limit.get_or_insert(SUCCESSFUL_HISTORY_LIMIT);
        spec.failed_jobs_history_limit.get_or_insert(FAILED_HISTORY_LIMIT);
        // The rest of its spec is left to the Job that is made.
        default_template(spec.job_template.spec.get_or_insert_default());
    }

    fn prepare_for_create(&self, job: &mut CronJob) {
        job.metadata.generation = Some(1);
        job.status = None;
    }

    fn validate(&self, job: &CronJob, errors: &mut ErrorList) {
        validate_spec(&job.spec, None, &Path::root("spec"), errors);
        let name = text(&job.metadata.name);
        if name.len() > NAME_MAX {
            let meta = Path::root("metadata");
            let why = format!("must be no more than {NAME_MAX} characters");
            errors.invalid(&meta.child("name"), name, &why);
        }
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
        validate_spec(&new.spec, Some(&old.spec), &Path::root("spec"), errors);
    }

    fn prepare_for_status_update(&self, new: &mut CronJob, old: &CronJob) {
        new.spec.clone_from(&old.spec);
    }
}

fn validate_spec(
    spec: &CronJobSpec,
    old: Option<&CronJobSpec>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    validate_schedule(spec, old, &path.child("schedule"), errors);
    let deadline = spec.starting_deadline_seconds.unwrap_or(0);
    non_negative(errors, &path.child("startingDeadlineSeconds"), deadline);
    if let Some(zone) = spec.time_zone.as_deref()
        && old.is_none_or(|old| old.time_zone != spec.time_zone)
    {
        validate_zone(zone, &path.child("timeZone"), errors);
    }
    let policies = ["Allow", "Forbid", "Replace"];
    required_choice(errors, &path.child("concurrencyPolicy"), &spec.concurrency_policy, &policies);
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
    old: Option<&CronJobSpec>,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let schedule = spec.schedule.as_str();
    if schedule.is_empty() {
        return errors.required(path, "");
    }
    if let Err(why) = Schedule::parse(schedule) {
        errors.invalid(path, schedule, &why);
    }
    // A zone in a schedule that was stored when this was still allowed may stay.
    let allowed = old.is_some_and(|old| old.schedule.contains(ZONE));
    match (schedule.contains(ZONE), allowed) {
        (true, true) if spec.time_zone.is_some() => {
            let why = "cannot use both timeZone field and TZ or CRON_TZ in schedule";
            errors.invalid(path, schedule, why);
        }
        (true, false) => {
            let why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
            errors.invalid(path, schedule, why);
        }
        _ => {}
    }
}

fn validate_zone(zone: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if zone.is_empty() {
        return errors.invalid(path, zone, "timeZone must be nil or non-empty string");
    }
    if !zone.split('/').all(is_zone_part) {
        return errors.invalid(path, zone, &format!("unknown time zone {zone}"));
    }
    if zone.eq_ignore_ascii_case("Local") {
        let why = "timeZone must be an explicit time zone as defined in \
                   https://www.iana.org/time-zones";
        errors.invalid(path, zone, why);
    } else if jiff::tz::TimeZone::get(zone).is_err() {
        errors.invalid(path, zone, &format!("unknown time zone {zone}"));
    }
}

/// A part of the name of a time zone, as the database of time zones names its files.
fn is_zone_part(part: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'+');
    (1..=ZONE_PART_MAX).contains(&part.len())
        && !matches!(part, "." | "..")
        && !part.starts_with('-')
        && part.bytes().all(fits)
}
