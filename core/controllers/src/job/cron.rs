//! CronJobs: Jobs at certain times.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use parking_lot::Mutex;
use pinnace_api::schedule::{Latest, Schedule};
use pinnace_api::{Key, Result, Typed};
use pinnace_client::{Api, DeleteOptions, EventType, Lister, PropagationPolicy, Recorder};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use super::conditions::finished;
use crate::Context;
use crate::claim::controller_reference;
use crate::written::Written;

/// For which time a Job was made.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// More missed times than these are said to be many.
const MANY_MISSED: usize = 100;
/// How long after its time a Job is made: so that a clock that is a little behind misses none.
const LATE: Duration = Duration::from_millis(100);

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let crons = context.informers.of::<CronJob>()?;
    let jobs = context.informers.of::<Job>()?.index_by_controller();
    let reconciler = CronJobs {
        crons: crons.clone(),
        jobs: jobs.clone(),
        api: context.client().of()?,
        job_api: context.client().of()?,
        recorder: context.recorder.component("cronjob-controller"),
        env: context.env.clone(),
        written: Written::default(),
        written_status: Written::default(),
        schedules: Mutex::default(),
    };
    let controller = Controller::new(reconciler, &context.env);
    Ok(controller.watches(crons.informer()).owns(jobs.informer(), "batch", "CronJob"))
}

struct CronJobs {
    crons: Lister<CronJob>,
    jobs: Lister<Job>,
    api: Api<CronJob>,
    job_api: Api<Job>,
    recorder: Recorder,
    env: Env,
    written: Written,
    written_status: Written,
    /// What each CronJob's schedule and zone mean.
    schedules: Mutex<HashMap<Key, (Named, Arc<Schedule>), ahash::RandomState>>,
}

/// A schedule and the name of its zone, as they are written.
type Named = (String, Option<String>);

#[async_trait]
impl Reconciler for CronJobs {
    fn name(&self) -> &str {
        "cronjob"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        self.written.seen_by(self.jobs.informer(), key).await;
        self.written_status.seen_by(self.crons.informer(), key).await;
        let Some(cron) = self.crons.get(key).filter(|cron| !cron.object().is_deleting()) else {
            self.schedules.lock().remove(key);
            return Ok(Action::Done);
        };
        let jobs = self.jobs.owned_by(cron.object().uid());
        let mut status = cron.status.clone().unwrap_or_default();
        self.note_ends(&cron, &jobs, &mut status).await?;
        self.clean_up(&cron, &jobs).await?;
        let wait = self.start_next(&cron, &jobs, &mut status).await;
        self.store(&cron, &status).await?;
        Ok(wait?.map_or(Action::Done, Action::RequeueAfter))
    }
}

impl CronJobs {
    async fn store(&self, cron: &Typed<CronJob>, status: &CronJobStatus) -> Result<()> {
        if cron.status.as_ref().unwrap_or(&CronJobStatus::default()) == status {
            return Ok(());
        }
        let mut new = cron.to_owned();
        new.status = Some(status.clone());
        match self.api.update_status(new).await {
            Ok(cron) => {
                self.written_status.note(&cron.object().key(), cron.object().revision());
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn tell(&self, cron: &Typed<CronJob>, kind: EventType, reason: &str, message: String) {
        self.recorder.record(cron.object(), kind, reason, message);
    }

    /// Takes Jobs that have ended or gone out of the active ones.
    async fn note_ends(
        &self,
        cron: &Typed<CronJob>,
        jobs: &[Typed<Job>],
        status: &mut CronJobStatus,
    ) -> Result<()> {
        let active = status.active.get_or_insert_default();
        let listed = |active: &[ObjectReference], uid: &str| {
            active.iter().any(|reference| reference.uid.as_deref() == Some(uid))
        };
        for job in jobs {
            let uid = job.object().uid();
            let name = job.object().name();
            match job.status.as_ref().and_then(finished) {
                None if !listed(active, uid) => {
                    let message =
                        format!("Saw a job that the controller did not create or forgot: {name}");
                    self.tell(cron, EventType::Warning, "UnexpectedJob", message);
                }
                Some(end) => {
                    if listed(active, uid) {
                        active.retain(|reference| reference.uid.as_deref() != Some(uid));
                        let message =
                            format!("Saw completed job: {name}, condition: {}", end.type_);
                        self.tell(cron, EventType::Normal, "SawCompletedJob", message);
                    }
                    let at = job.status.as_ref().and_then(|status| status.completion_time.clone());
                    if end.type_ == "Complete"
                        && at.as_ref().map(|at| at.0)
                            > status.last_successful_time.as_ref().map(|last| last.0)
                    {
                        status.last_successful_time = at;
                    }
                }
                None => {}
            }
        }
        let mut kept = Vec::new();
        for reference in active.drain(..) {
            let known = jobs.iter().any(|job| Some(job.object().uid()) == reference.uid.as_deref());
            let name = reference.name.as_deref().unwrap_or_default();
            let key = Key::new(cron.object().namespace(), name);
            // The cache may be behind: only the API knows that a Job is gone.
            if known || self.job_api.find(&key).await?.is_some() {
                kept.push(reference);
            } else {
                let message = format!("Active job went missing: {name}");
                self.tell(cron, EventType::Normal, "MissingJob", message);
            }
        }
        status.active = Some(kept).filter(|kept| !kept.is_empty());
        Ok(())
    }

    /// Deletes the oldest Jobs that have ended, beyond those that are kept.
    async fn clean_up(&self, cron: &Typed<CronJob>, jobs: &[Typed<Job>]) -> Result<()> {
        let limits = [
            ("Complete", cron.spec.successful_jobs_history_limit),
            ("Failed", cron.spec.failed_jobs_history_limit),
        ];
        for (end, limit) in limits {
            let Some(limit) = limit else { continue };
            let mut ended: Vec<&Typed<Job>> = jobs
                .iter()
                .filter(|job| !job.object().is_deleting())
                .filter(|job| {
                    job.status.as_ref().and_then(finished).is_some_and(|one| one.type_ == end)
                })
                .collect();
            ended.sort_by_key(|job| {
                let start = job.status.as_ref().and_then(|status| status.start_time.as_ref());
                (start.map(|start| start.0), job.object().name().to_owned())
            });
            let surplus = ended.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
            for job in ended.into_iter().take(surplus) {
                self.delete(cron, job).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, cron: &Typed<CronJob>, job: &Typed<Job>) -> Result<()> {
        let options = DeleteOptions {
            propagation: Some(PropagationPolicy::Background),
            ..DeleteOptions::default()
        };
        match self.job_api.delete(&job.object().key(), options).await {
            Ok(last) => {
                self.written.note(&cron.object().key(), last.object().revision());
                let message = format!("Deleted job {}", job.object().name());
                self.tell(cron, EventType::Normal, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => {
                let message = format!("Deleted job: {error}");
                self.tell(cron, EventType::Warning, "FailedDelete", message);
                Err(error)
            }
        }
    }

    /// Makes the Job of the latest time that has come, unless it was made. Gives the wait for the
    /// next time.
    async fn start_next(
        &self,
        cron: &Typed<CronJob>,
        jobs: &[Typed<Job>],
        status: &mut CronJobStatus,
    ) -> Result<Option<Duration>> {
        let Some(zone) = self.zone(cron) else { return Ok(None) };
        if cron.spec.suspend == Some(true) {
            return Ok(None);
        }
        let Some(schedule) = self.schedule(cron, &zone) else { return Ok(None) };
        let now = self.env.now();
        let made = cron.metadata.creation_timestamp.as_ref().map_or(now, |time| time.0);
        let since = status.last_schedule_time.as_ref().map_or(made, |time| time.0).min(now);
        let Some(next) = schedule.next(since, now) else {
            let why = "time difference between two schedules is less than 1 second";
            let message = format!("invalid schedule: {} : {why}", cron.spec.schedule);
            self.tell(cron, EventType::Warning, "InvalidSchedule", message);
            return Ok(None);
        };
        let next = Duration::try_from(next.duration_since(now)).ok().map(|wait| wait + LATE);
        let missed = earliest(&cron.spec, since, now)..now;
        let Latest { at: latest, many } = schedule.latest(since, missed, MANY_MISSED);
        if many {
            let message = "too many missed start times. Set or decrease \
                           .spec.startingDeadlineSeconds or check clock skew";
            self.tell(cron, EventType::Warning, "TooManyMissedTimes", message.to_owned());
        }
        let Some(time) = latest else { return Ok(next) };
        if status.last_schedule_time.as_ref().is_some_and(|last| last.0 >= time) {
            return Ok(next);
        }
        if is_too_late(&cron.spec, time, now) {
            let message = format!(
                "Missed scheduled time to start a job: {}",
                time.strftime("%a, %d %b %Y %H:%M:%S +0000")
            );
            self.tell(cron, EventType::Warning, "MissSchedule", message);
            return Ok(next);
        }
        let running = status.active.as_ref().is_some_and(|active| !active.is_empty());
        match cron.spec.concurrency_policy.as_deref() {
            Some("Forbid") if running => {
                let message = "Not starting job because prior execution is running and \
                               concurrency policy is Forbid";
                self.tell(cron, EventType::Normal, "JobAlreadyActive", message.to_owned());
                return Ok(next);
            }
            Some("Replace") => {
                for job in jobs {
                    if job.status.as_ref().and_then(finished).is_none() {
                        self.delete(cron, job).await?;
                    }
                }
                status.active = None;
            }
            _ => {}
        }
        if let Some(reference) = self.make(cron, time, &zone).await? {
            status.active.get_or_insert_default().push(reference);
        }
        status.last_schedule_time = Some(Time(time));
        Ok(next)
    }

    /// The zone that the times are in; says so where there is none of the name.
    fn zone(&self, cron: &Typed<CronJob>) -> Option<TimeZone> {
        let Some(name) = cron.spec.time_zone.as_deref() else { return Some(TimeZone::UTC) };
        let zone = TimeZone::get(name).ok();
        if zone.is_none() {
            let message = format!("invalid timeZone: {name:?}: unknown time zone {name}");
            self.tell(cron, EventType::Warning, "UnknownTimeZone", message);
        }
        zone
    }

    /// The schedule, read once for as long as it stays what it is; says so where it makes no sense.
    fn schedule(&self, cron: &Typed<CronJob>, zone: &TimeZone) -> Option<Arc<Schedule>> {
        let text = &cron.spec.schedule;
        if text.contains("TZ") {
            let message = format!(
                "CRON_TZ or TZ used in schedule {text:?} is not officially supported, see \
                 https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more \
                 details"
            );
            self.tell(cron, EventType::Warning, "UnsupportedSchedule", message);
        }
        let key = cron.object().key();
        let named = (text.clone(), cron.spec.time_zone.clone());
        if let Some((known, schedule)) = self.schedules.lock().get(&key)
            && *known == named
        {
            return Some(schedule.clone());
        }
        match Schedule::parse(text) {
            Ok(schedule) => {
                let schedule = Arc::new(schedule.in_zone(zone.clone()));
                self.schedules.lock().insert(key, (named, schedule.clone()));
                Some(schedule)
            }
            Err(why) => {
                let message = format!("unparseable schedule: {text:?} : {why}");
                self.tell(cron, EventType::Warning, "UnparseableSchedule", message);
                None
            }
        }
    }

    /// Makes the Job of a time. `None` if there is one of its name that is not ours.
    async fn make(
        &self,
        cron: &Typed<CronJob>,
        time: Timestamp,
        zone: &TimeZone,
    ) -> Result<Option<ObjectReference>> {
        let job = job_of(cron, time, zone);
        let name = job.metadata.name.clone().unwrap_or_default();
        let made = match self.job_api.create(job).await {
            Ok(job) => {
                let message = format!("Created job {name}");
                self.tell(cron, EventType::Normal, "SuccessfulCreate", message);
                job
            }
            Err(error) if error.is_already_exists() => {
                let key = Key::new(cron.object().namespace(), name.as_str());
                let found = self.job_api.find(&key).await?.filter(|job| {
                    job.object().controller().is_some_and(|o| o.uid == cron.object().uid())
                        && job.status.as_ref().and_then(finished).is_none()
                });
                let Some(found) = found else { return Ok(None) };
                found
            }
            Err(error) => {
                if !error.message().contains("because it is being terminated") {
                    let message = format!("Error creating job: {error}");
                    self.tell(cron, EventType::Warning, "FailedCreate", message);
                }
                return Err(error);
            }
        };
        self.written.note(&cron.object().key(), made.object().revision());
        Ok(Some(ObjectReference {
            api_version: Some("batch/v1".to_owned()),
            kind: Some("Job".to_owned()),
            name: Some(name),
            namespace: made.metadata.namespace.clone(),
            uid: made.metadata.uid.clone(),
            resource_version: made.metadata.resource_version.clone(),
            ..Default::default()
        }))
    }
}

/// From when on times may have been missed: those of before the deadline do not count.
fn earliest(spec: &CronJobSpec, since: Timestamp, now: Timestamp) -> Timestamp {
    let deadline = spec
        .starting_deadline_seconds
        .and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
    deadline.map_or(since, |deadline| since.max(deadline))
}

fn is_too_late(spec: &CronJobSpec, time: Timestamp, now: Timestamp) -> bool {
    spec.starting_deadline_seconds
        .is_some_and(|seconds| now.duration_since(time) > SignedDuration::from_secs(seconds))
}

/// The Job of a time; its name tells the time, so that it is made once.
fn job_of(cron: &CronJob, time: Timestamp, zone: &TimeZone) -> Job {
    let template = &cron.spec.job_template;
    let meta = template.metadata.as_ref();
    let mut annotations = meta.and_then(|meta| meta.annotations.clone()).unwrap_or_default();
    let zoned = time.to_zoned(zone.clone());
    annotations.insert(
        SCHEDULED.to_owned(),
        zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string().replace("+00:00", "Z"),
    );
    let name = cron.metadata.name.as_deref().unwrap_or_default();
    Job {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{}", time.as_second() / 60)),
            namespace: cron.metadata.namespace.clone(),
            labels: meta.and_then(|meta| meta.labels.clone()),
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(
                "batch/v1",
                "CronJob",
                &cron.metadata,
            )]),
            ..Default::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}
