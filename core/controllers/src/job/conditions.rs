//! The conditions of a Job.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::Typed;
use pinnace_client::EventType;

use super::Jobs;
use super::counting::Count;
use super::policies::Verdict;

/// Whether a Job is to make no pods for now.
pub(super) fn is_suspended(spec: &JobSpec) -> bool {
    spec.suspend == Some(true)
}

/// Whether a Job has come to its end.
pub(super) fn is_finished(job: &Job) -> bool {
    job.status.as_ref().and_then(finished).is_some()
}

/// The condition that says that a Job has come to its end.
pub(super) fn finished(status: &JobStatus) -> Option<JobCondition> {
    ["Complete", "Failed"].into_iter().find_map(|kind| find(status, kind)).cloned()
}

/// The condition of a type, if it holds.
pub(super) fn find<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    let conditions = status.conditions.as_deref().unwrap_or_default();
    conditions.iter().find(|condition| condition.type_ == kind && condition.status == "True")
}

fn set(status: &mut JobStatus, kind: &str, holds: bool, why: (&str, &str), now: Timestamp) {
    let value = if holds { "True" } else { "False" };
    let conditions = status.conditions.get_or_insert_default();
    let found = conditions.iter_mut().find(|condition| condition.type_ == kind);
    let condition = match found {
        Some(condition) if condition.status == value => return,
        Some(condition) => condition,
        None => {
            conditions.push(JobCondition { type_: kind.to_owned(), ..Default::default() });
            let last = conditions.len() - 1;
            &mut conditions[last]
        }
    };
    condition.status = value.to_owned();
    condition.reason = Some(why.0.to_owned());
    condition.message = Some(why.1.to_owned());
    condition.last_probe_time = Some(Time(now));
    condition.last_transition_time = Some(Time(now));
}

/// Notes that a Job is suspended or goes on. Gives the reason and message of the Event, if that is
/// news.
pub(super) fn suspend(
    status: &mut JobStatus,
    suspended: bool,
    now: Timestamp,
) -> Option<(&'static str, &'static str)> {
    match (find(status, "Suspended").is_some(), suspended) {
        (false, true) => {
            set(status, "Suspended", true, ("JobSuspended", "Job suspended"), now);
            Some(("Suspended", "Job suspended"))
        }
        (true, false) => {
            set(status, "Suspended", false, ("JobResumed", "Job resumed"), now);
            Some(("Resumed", "Job resumed"))
        }
        _ => None,
    }
}

/// Notes how a Job will end, while its last pods go.
pub(super) fn promise(status: &mut JobStatus, verdict: &Verdict, now: Timestamp) {
    let kind = if verdict.success { "SuccessCriteriaMet" } else { "FailureTarget" };
    set(status, kind, true, (verdict.reason, &verdict.message), now);
}

/// Ends a Job, once nothing of it goes on.
pub(super) fn finish(status: &mut JobStatus, verdict: &Verdict, count: &Count, now: Timestamp) {
    if !count.active.is_empty() || count.terminating > 0 {
        return;
    }
    let kind = if verdict.success { "Complete" } else { "Failed" };
    set(status, kind, true, (verdict.reason, &verdict.message), now);
    if verdict.success {
        status.completion_time = Some(Time(now));
    }
}

impl Jobs {
    /// Tells people how a Job ended.
    pub(super) fn tell_end(&self, job: &Typed<Job>, condition: &JobCondition) {
        let recorder = self.control.recorder();
        if condition.type_ == "Complete" {
            let completions = job.spec.as_ref().and_then(|spec| spec.completions);
            let succeeded = job.status.as_ref().and_then(|status| status.succeeded);
            if completions.is_some_and(|wanted| succeeded.unwrap_or(0) > wanted) {
                let message = "Too many succeeded pods running after completion count reached";
                recorder.record(
                    job.object(),
                    EventType::Warning,
                    "TooManySucceededPods",
                    message.to_owned(),
                );
            }
            let message = "Job completed".to_owned();
            recorder.record(job.object(), EventType::Normal, "Completed", message);
        } else {
            let reason = condition.reason.as_deref().unwrap_or("Failed");
            let message = condition.message.clone().unwrap_or_default();
            recorder.record(job.object(), EventType::Warning, reason, message);
        }
    }
}
