//! Work that ends.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{CronJob, Job, JobSpec, JobStatus};
use serde_json::Value;

use super::age::{age, human_duration, since};
use super::text::{self, NONE};
use super::typed::Entry;
use super::{AGE, Column, NAME, cells};

const CONTAINERS: Column = Column::text("Containers", "Names of the template's containers").wide();
const IMAGES: Column = Column::text("Images", "Images of the template's containers").wide();
const SELECTOR: Column = Column::text("Selector", "Labels of the pods that are counted").wide();

const JOB: &[Column] = &[
    NAME,
    Column::text("Status", "How the job is doing"),
    Column::text("Completions", "Pods that have succeeded, of all that should"),
    Column::text("Duration", "How long the job took, or has taken so far"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

const CRON_JOB: &[Column] = &[
    NAME,
    Column::text("Schedule", "When jobs are made, as a cron expression"),
    Column::text("Timezone", "Time zone of the schedule"),
    Column::boolean("Suspend", "Whether no jobs are made for now"),
    Column::integer("Active", "Jobs that are running"),
    Column::text("Last Schedule", "Time since a job was last made"),
    AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

/// Conditions that name a job's state, the first that is true first; a job that is being deleted
/// comes after the first two.
const STATES: [(&str, &str); 5] = [
    ("Complete", "Complete"),
    ("Failed", "Failed"),
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
];
const FINAL_STATES: usize = 2;

pub(super) fn printers() -> Vec<Entry> {
    vec![Entry::new(JOB, job), Entry::new(CRON_JOB, cron_job)]
}

fn job(job: &Job, now: Timestamp) -> Vec<Value> {
    let none = (JobSpec::default(), JobStatus::default());
    let spec = job.spec.as_ref().unwrap_or(&none.0);
    let status = job.status.as_ref().unwrap_or(&none.1);
    let (names, images) = text::template_containers(Some(&spec.template));
    cells![
        job.metadata.name.as_deref(),
        state(job, status),
        completions(spec, status),
        duration(status, now),
        age(&job.metadata, now),
        names,
        images,
        text::selector(spec.selector.as_ref()),
    ]
}

fn state(job: &Job, status: &JobStatus) -> &'static str {
    let is_true = |kind: &str| {
        let mut all = status.conditions.iter().flatten();
        all.find(|one| one.type_ == kind).is_some_and(|one| one.status == "True")
    };
    let (ends, others) = STATES.split_at(FINAL_STATES);
    let first = |states: &[(&str, &'static str)]| {
        states.iter().find(|(kind, _)| is_true(kind)).map(|(_, word)| *word)
    };
    let terminating = job.metadata.deletion_timestamp.as_ref().map(|_| "Terminating");
    first(ends).or(terminating).or_else(|| first(others)).unwrap_or("Running")
}

fn completions(spec: &JobSpec, status: &JobStatus) -> String {
    let succeeded = status.succeeded.unwrap_or(0);
    match (spec.completions, spec.parallelism) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, Some(parallel)) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        _ => format!("{succeeded}/1"),
    }
}

fn duration(status: &JobStatus, now: Timestamp) -> String {
    let end = status.completion_time.as_ref().map_or(now, |time| time.0);
    let start = status.start_time.as_ref().map(|time| time.0);
    start.map(|start| human_duration(end.duration_since(start))).unwrap_or_default()
}

fn cron_job(job: &CronJob, now: Timestamp) -> Vec<Value> {
    let spec = &job.spec;
    let status = job.status.as_ref();
    let last = status.and_then(|status| status.last_schedule_time.as_ref());
    let jobs = spec.job_template.spec.as_ref();
    let (names, images) = text::template_containers(jobs.map(|jobs| &jobs.template));
    cells![
        job.metadata.name.as_deref(),
        &spec.schedule[..],
        spec.time_zone.as_deref().unwrap_or(NONE),
        text::optional_bool(spec.suspend),
        status.and_then(|status| status.active.as_ref()).map_or(0, Vec::len),
        last.map_or_else(|| NONE.to_owned(), |last| since(Some(last), now)),
        age(&job.metadata, now),
        names,
        images,
        text::selector(jobs.and_then(|jobs| jobs.selector.as_ref())),
    ]
}
