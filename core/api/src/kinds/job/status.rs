//! What may be said of how a Job fares. Others than the Job controller may write it, so what clients
//! rely on is checked; but only where it changes: just after a spec has changed, a status may not
//! fit it yet.

use k8s_openapi::api::batch::v1::{Job, JobStatus, UncountedTerminatedPods};

use super::super::check::{Json, Seen, text};
use super::optional;
use super::policies::{count_indexes, overlap};
use crate::field::{ErrorList, Path};

const COMPLETE: &str = "Complete";
const FAILED: &str = "Failed";
const FAILURE_TARGET: &str = "FailureTarget";
const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";

/// Checks an update of the status.
pub(super) fn validate(new: &Job, old: &Job, errors: &mut ErrorList) {
    let none = JobStatus::default();
    let path = &Path::root("status");
    let change = Change {
        job: new,
        new: new.status.as_ref().unwrap_or(&none),
        old: old.status.as_ref().unwrap_or(&none),
    };
    change.validate_counts(path, errors);
    change.validate_ends(path, errors);
    change.validate_finished(path, errors);
    change.validate_indexes(path, errors);
    change.validate_conditions(path, errors);
    change.validate_steps(path, errors);
}

struct Change<'a> {
    job: &'a Job,
    new: &'a JobStatus,
    old: &'a JobStatus,
}

fn is(status: &JobStatus, condition: &str) -> bool {
    let conditions = status.conditions.iter().flatten();
    conditions.into_iter().any(|one| one.type_ == condition && one.status == "True")
}

fn is_finished(status: &JobStatus) -> bool {
    is(status, COMPLETE) || is(status, FAILED)
}

impl Change<'_> {
    fn has_changed<T: PartialEq>(&self, part: impl Fn(&JobStatus) -> T) -> bool {
        part(self.new) != part(self.old)
    }

    fn turns(&self, condition: &str) -> bool {
        self.has_changed(|status| is(status, condition))
    }

    fn validate_counts(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let counts = [
            ("active", self.new.active),
            ("succeeded", self.new.succeeded),
            ("failed", self.new.failed),
            ("ready", self.new.ready),
            ("terminating", self.new.terminating),
        ];
        for (field, count) in counts {
            optional(errors, &path.child(field), count);
        }
        if let Some(uncounted) = &self.new.uncounted_terminated_pods {
            validate_uncounted(uncounted, &path.child("uncountedTerminatedPods"), errors);
        }
    }

    /// Checks how and when it has ended.
    fn validate_ends(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let status = self.new;
        let conditions = path.child("conditions");
        let (complete, failed) = (is(status, COMPLETE), is(status, FAILED));
        if (self.turns(COMPLETE) || self.turns(FAILED)) && complete && failed {
            let why = "cannot set Complete=True and Failed=true conditions";
            errors.inconsistent(&conditions, why);
        }
        let changed = self.turns(COMPLETE) || self.turns(FAILURE_TARGET);
        if changed && complete && is(status, FAILURE_TARGET) {
            let why = "cannot set Complete=True and FailureTarget=true conditions";
            errors.inconsistent(&conditions, why);
        }
        let at = path.child("completionTime");
        let time_changed = self.has_changed(|status| status.completion_time.clone());
        let time = status.completion_time.as_ref();
        match time {
            Some(time) if (self.turns(COMPLETE) || time_changed) && !complete => {
                let why = "cannot set completionTime when there is no Complete=True condition";
                errors.invalid(&at, Json(time), why);
            }
            None if (self.turns(COMPLETE) || time_changed) && complete => {
                errors.required(&at, "completionTime is required for Complete jobs");
            }
            _ => {}
        }
        let start_changed = self.has_changed(|status| status.start_time.clone());
        if let (Some(time), Some(start)) = (time, &status.start_time)
            && (start_changed || time_changed)
            && time.0 < start.0
        {
            errors.invalid(&at, Json(time), "completionTime cannot be set before startTime");
        }
        if self.turns(FAILED) && failed && !is(status, FAILURE_TARGET) {
            let why = "cannot set Failed=True condition without the FailureTarget=true condition";
            errors.inconsistent(&conditions, why);
        }
        if self.turns(COMPLETE) && complete && !is(status, SUCCESS_CRITERIA_MET) {
            let why =
                "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
            errors.inconsistent(&conditions, why);
        }
    }

    /// Checks that nothing goes on after the end.
    fn validate_finished(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let status = self.new;
        let ends = self.has_changed(is_finished);
        if is_finished(status) {
            let active = status.active.unwrap_or(0);
            if active > 0 && (ends || self.has_changed(|status| status.active)) {
                let why = "active>0 is invalid for finished job";
                errors.invalid(&path.child("active"), active, why);
            }
            let start_changed = self.has_changed(|status| status.start_time.clone());
            if status.start_time.is_none() && (ends || start_changed) {
                let why = "startTime is required for finished job";
                errors.required(&path.child("startTime"), why);
            }
            let uncounted = status.uncounted_terminated_pods.as_ref();
            let changed = self.has_changed(|status| status.uncounted_terminated_pods.clone());
            if let Some(uncounted) = uncounted
                && pods(uncounted).next().is_some()
                && (ends || changed)
            {
                let why = "uncountedTerminatedPods needs to be empty for finished job";
                errors.invalid(&path.child("uncountedTerminatedPods"), Json(uncounted), why);
            }
            let terminating = status.terminating.unwrap_or(0);
            if terminating > 0 && (ends || self.has_changed(|status| status.terminating)) {
                let why = "terminating>0 is invalid for finished job";
                errors.invalid(&path.child("terminating"), terminating, why);
            }
        }
        let ready = status.ready.unwrap_or(0);
        let changed = self.has_changed(|status| (status.ready, status.active));
        if changed && ready > status.active.unwrap_or(0) {
            let why = "cannot set more ready pods than active";
            errors.invalid(&path.child("ready"), ready, why);
        }
    }

    fn validate_indexes(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let Some(spec) = &self.job.spec else { return };
        let done_changed = self.has_changed(|status| status.completed_indexes.clone());
        let failed_changed = self.has_changed(|status| status.failed_indexes.clone());
        let done = text(&self.new.completed_indexes);
        let failed = self.new.failed_indexes.as_deref();
        let at = path.child("completedIndexes");
        if let Some(completions) = spec.completions
            && done_changed
            && let Err(why) = count_indexes(done, completions)
        {
            errors.invalid(&at, done, &format!("error parsing completedIndexes: {why}"));
        }
        let of_failed = path.child("failedIndexes");
        if let (Some(failed), Some(completions)) = (failed, spec.completions)
            && failed_changed
            && spec.backoff_limit_per_index.is_some()
            && let Err(why) = count_indexes(failed, completions)
        {
            errors.invalid(&of_failed, failed, &format!("error parsing failedIndexes: {why}"));
        }
        if done_changed && !done.is_empty() && text(&spec.completion_mode) != "Indexed" {
            let why = "cannot set non-empty completedIndexes when non-indexed completion mode";
            errors.invalid(&at, done, why);
        }
        let Some(failed) = failed else { return };
        if failed_changed && spec.backoff_limit_per_index.is_none() {
            let why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
            errors.invalid(&of_failed, failed, why);
        }
        if let Some(completions) = spec.completions
            && (done_changed || failed_changed)
            && let Some(index) = overlap(done, failed, completions)
        {
            let why = format!("failedIndexes and completedIndexes overlap at index: {index}");
            errors.invalid(&of_failed, failed, &why);
        }
    }

    fn validate_conditions(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let status = self.new;
        let at = path.child("conditions");
        let met = is(status, SUCCESS_CRITERIA_MET);
        for (other, name) in [(FAILED, "Failed"), (FAILURE_TARGET, "FailureTarget")] {
            if met && is(status, other) {
                let why = format!("cannot set SuccessCriteriaMet=True and {name}=true conditions");
                errors.inconsistent(&at, &why);
            }
        }
        let has_policy = self.job.spec.as_ref().is_some_and(|spec| spec.success_policy.is_some());
        if has_policy && !met && is(status, COMPLETE) {
            let why = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
            errors.inconsistent(&at, why);
        }
    }

    /// Checks that what is over stays over, and that counters count up.
    fn validate_steps(&self, path: &Path<'_>, errors: &mut ErrorList) {
        let (new, old) = (self.new, self.old);
        let at = path.child("conditions");
        for condition in [FAILED, COMPLETE, FAILURE_TARGET] {
            if is(old, condition) && !is(new, condition) {
                let why = format!("cannot disable the terminal {condition}=True condition");
                errors.inconsistent(&at, &why);
            }
        }
        let spec = self.job.spec.as_ref();
        // Such a Job may be made smaller, and then fewer of its indexes count.
        let elastic = spec.is_some_and(|spec| {
            text(&spec.completion_mode) == "Indexed" && spec.completions == spec.parallelism
        });
        let counters = [
            ("failed", new.failed, old.failed, true),
            ("succeeded", new.succeeded, old.succeeded, !elastic),
        ];
        for (field, new, old, checked) in counters {
            let new = new.unwrap_or(0);
            if checked && new < old.unwrap_or(0) {
                let why = format!("cannot decrease the {field} counter");
                errors.invalid(&path.child(field), new, &why);
            }
        }
        if let (Some(time), Some(before)) = (&new.completion_time, &old.completion_time)
            && time != before
        {
            let why = "completionTime cannot be mutated";
            errors.invalid(&path.child("completionTime"), Json(time), why);
        }
        let suspended = spec.is_some_and(|spec| spec.suspend == Some(true));
        if old.start_time.is_some() && new.start_time != old.start_time && !suspended {
            let why = "startTime cannot be removed for unsuspended job";
            errors.required(&path.child("startTime"), why);
        }
        let met = |status| is(status, SUCCESS_CRITERIA_MET);
        if met(old) && !met(new) {
            errors.inconsistent(&at, "cannot disable the SuccessCriteriaMet=True condition");
        }
        if is(old, COMPLETE) && !met(old) && met(new) {
            let why = "cannot set SuccessCriteriaMet=True for Job already has Complete=true \
                       conditions";
            errors.inconsistent(&at, why);
        }
    }
}

/// The pods that have ended and are not counted yet, with the field that names them and their
/// place in it.
fn pods(uncounted: &UncountedTerminatedPods) -> impl Iterator<Item = (&str, usize, &str)> {
    let lists = [("succeeded", &uncounted.succeeded), ("failed", &uncounted.failed)];
    lists.into_iter().flat_map(|(field, list)| {
        list.iter().flatten().enumerate().map(move |(index, uid)| (field, index, uid.as_str()))
    })
}

fn validate_uncounted(
    uncounted: &UncountedTerminatedPods,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let mut seen = Seen::new();
    for (field, index, uid) in pods(uncounted) {
        let at = path.child(field);
        let at = at.index(index);
        if uid.is_empty() {
            errors.invalid(&at, uid, "must not be empty");
        } else if !seen.insert(uid) {
            errors.duplicate(&at, uid);
        }
    }
}
