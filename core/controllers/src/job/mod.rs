//! Jobs: pods that have to succeed so many times.
//!
//! Every pod of a Job carries a finalizer, so that none goes before it has been counted. A pod
//! that has ended is counted in three steps, each of which may be the last before a crash: its uid
//! is written into `status.uncountedTerminatedPods`; the finalizer is taken away; the uid is
//! replaced by one more in the count. Whoever finds a uid there and the finalizer gone goes on
//! with the third.

mod backoff;
mod conditions;
mod counting;
mod cron;
mod indexes;
mod pods;
mod policies;
mod ttl;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobSpec, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::selector::Selector;
use pinnace_api::{ApiError, Key, Result, Typed};
use pinnace_client::{Api, EventType, Lister};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;
use crate::claim::{Claims, SETTLE, enqueue_owners};
use crate::pod_control::PodControl;
use crate::pods::is_terminal;
use crate::written::Written;
use backoff::Backoffs;
use conditions::{is_finished, is_suspended};
use counting::Count;
pub(crate) use cron::controller as cron_controller;
pub(crate) use ttl::controller as ttl_controller;

/// The finalizer of pods that have not been counted.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// The controller's own name in `spec.managedBy`.
const MANAGER: &str = "kubernetes.io/job-controller";
/// The index of pods that have the finalizer, by namespace and the name of their Job.
const TRACKED: &str = "job-tracking";

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let jobs = context.informers.of::<Job>()?;
    let claims = Claims::new(context)?.with_finalizer(TRACKING);
    claims.pods().informer().index(TRACKED, |pod| match pod.controller() {
        Some(owner) if owner.kind == "Job" && has_finalizer(pod.meta()) => {
            vec![format!("{}/{}", pod.namespace(), owner.name)]
        }
        _ => vec![],
    });
    let pods = claims.pods().clone();
    let reconciler = Jobs {
        jobs: jobs.clone(),
        api: context.client().of()?,
        claims,
        control: PodControl::new(context, "job-controller")?,
        env: context.env.clone(),
        written: Arc::new(Written::default()),
        backoffs: Backoffs::default(),
    };
    let by_namespace = jobs.clone();
    let owned = pods.clone();
    let selects = |job: &Job| selector_of(job).ok();
    Ok(Controller::new(reconciler, &context.env)
        .watches(jobs.informer())
        .maps(pods.informer(), move |delta, queue| {
            enqueue_owners(delta, queue, &by_namespace, &owned, selects)
        }))
}

struct Jobs {
    jobs: Lister<Job>,
    api: Api<Job>,
    claims: Claims<Job>,
    control: PodControl,
    env: Env,
    written: Arc<Written>,
    backoffs: Backoffs,
}

#[async_trait]
impl Reconciler for Jobs {
    fn name(&self) -> &str {
        "job"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        self.written.seen_by(self.claims.pods().informer(), key).await;
        let job = self.jobs.get(key);
        self.let_go_of_others(key, job.as_ref()).await?;
        let Some(job) = job.filter(is_ours) else {
            self.backoffs.forget(key);
            return Ok(Action::Done);
        };
        if is_finished(&job) {
            self.backoffs.forget(key);
            return Ok(Action::Done);
        }
        let selector = selector_of(&job)?;
        let pods =
            self.claims.claim(&job, &selector, &self.written, |pod| !is_terminal(pod)).await?;
        match self.advance(&job, pods).await {
            Ok(wait) => Ok(wait.map_or(Action::Done, Action::RequeueAfter)),
            // Somebody else wrote, so this look was at an old state: the change brings it back.
            Err(error) if error.is_conflict() || error.is_not_found() => {
                Ok(Action::RequeueAfter(SETTLE))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether this controller is the one that the Job asks for.
fn is_ours(job: &Typed<Job>) -> bool {
    let manager = job.spec.as_ref().and_then(|spec| spec.managed_by.as_deref());
    manager.is_none_or(|manager| manager == MANAGER)
}

fn selector_of(job: &Job) -> Result<Selector> {
    match job.spec.as_ref().and_then(|spec| spec.selector.as_ref()) {
        Some(selector) => Selector::from_label_selector(selector),
        None => Err(ApiError::internal("a Job has no selector")),
    }
}

fn has_finalizer(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> bool {
    meta.finalizers.iter().flatten().any(|finalizer| finalizer == TRACKING)
}

/// Whether pods are counted by index.
fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

/// A count as an index or length.
fn size(count: Option<i32>) -> usize {
    usize::try_from(count.unwrap_or(0)).unwrap_or(0)
}

impl Jobs {
    /// Takes the finalizer from pods whose Job is gone, is another one or has finished: nobody will
    /// count them any more.
    async fn let_go_of_others(&self, key: &Key, job: Option<&Typed<Job>>) -> Result<()> {
        let tracked = self.claims.pods().by_index(TRACKED, &key.to_string());
        let counted = |pod: &Typed<Pod>| {
            let uid = pod.object().controller().map(|owner| owner.uid.as_str());
            job.is_some_and(|job| {
                uid == Some(job.object().uid()) && is_ours(job) && !is_finished(job)
            })
        };
        let orphans: Vec<_> = tracked.into_iter().filter(|pod| !counted(pod)).collect();
        if orphans.is_empty() {
            return Ok(());
        }
        self.control.take_finalizer(key, &orphans, TRACKING, &self.written).await
    }

    /// One look at a Job that is not finished. Gives the time after which to look again.
    async fn advance(&self, job: &Typed<Job>, pods: Vec<Typed<Pod>>) -> Result<Option<Duration>> {
        let Some(spec) = &job.spec else { return Ok(None) };
        let now = self.env.clock().now_seconds();
        let mut status = job.status.clone().unwrap_or_default();
        let mut count = Count::take(spec, &status, &pods);
        if status.start_time.is_none() && !is_suspended(spec) {
            status.start_time = Some(Time(now));
        }
        let verdict = policies::judge(spec, &status, &count, &pods, now);
        if let Some(verdict) = &verdict {
            conditions::promise(&mut status, verdict, now);
        }
        let deleting = job.object().is_deleting();
        let mut wait = deadline(spec, &status, now);
        let mut failed = None;
        if verdict.is_some() || is_suspended(spec) {
            let going = std::mem::take(&mut count.active);
            failed = self.control.delete(job.object(), &going, &self.written).await;
            count.terminating += going.len();
        } else if !deleting {
            let delay = self.backoffs.delay(&job.object().key(), &count, spec, now);
            let (more, error) = self.manage(job, spec, &mut count, &delay).await;
            failed = error;
            wait = sooner(wait, more);
        }
        if verdict.is_none() && !deleting {
            self.note_suspension(job, spec, &mut status, now);
            count.keep_last_failures(spec);
        }
        self.write(job, spec, status, &count, verdict.as_ref(), now).await?;
        match failed {
            Some(error) => Err(error),
            None => Ok(wait),
        }
    }

    /// Notes and tells that a Job was suspended or goes on, from where its time counts anew.
    fn note_suspension(
        &self,
        job: &Typed<Job>,
        spec: &JobSpec,
        status: &mut JobStatus,
        now: Timestamp,
    ) {
        let suspended = is_suspended(spec);
        let Some((reason, message)) = conditions::suspend(status, suspended, now) else { return };
        let recorder = self.control.recorder();
        recorder.record(job.object(), EventType::Normal, reason, message.to_owned());
        status.start_time = (!suspended).then_some(Time(now));
    }
}

/// The time that is left until a Job's deadline.
fn deadline(spec: &JobSpec, status: &JobStatus, now: Timestamp) -> Option<Duration> {
    let seconds = spec.active_deadline_seconds?;
    let start = status.start_time.as_ref()?.0;
    let end = start.checked_add(jiff::SignedDuration::from_secs(seconds)).ok()?;
    Duration::try_from(end.duration_since(now)).ok().filter(|left| !left.is_zero())
}

/// The sooner of two times.
fn sooner(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
