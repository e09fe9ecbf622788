//! Deletes Jobs a while after they have finished.

use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use pinnace_api::{Key, Result};
use pinnace_client::{Api, DeleteOptions, Lister, Preconditions, PropagationPolicy};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use super::conditions::finished;
use crate::Context;

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let jobs = context.informers.of::<Job>()?;
    let reconciler =
        Finished { jobs: jobs.clone(), api: context.client().of()?, env: context.env.clone() };
    Ok(Controller::new(reconciler, &context.env).maps(jobs.informer(), |delta, queue| {
        let job = delta.new.as_ref().and_then(|object| object.get::<Job>().ok());
        if let (Some(object), Some(_)) = (&delta.new, job.and_then(end_of)) {
            queue.add(object.key());
        }
    }))
}

struct Finished {
    jobs: Lister<Job>,
    api: Api<Job>,
    env: Env,
}

/// When a Job that has finished is to be deleted.
fn end_of(job: &Job) -> Option<Timestamp> {
    let seconds = job.spec.as_ref()?.ttl_seconds_after_finished?;
    let at = finished(job.status.as_ref()?)?.last_transition_time?.0;
    at.checked_add(jiff::SignedDuration::from_secs(seconds.into())).ok()
}

#[async_trait]
impl Reconciler for Finished {
    fn name(&self) -> &str {
        "ttl-after-finished"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let job = self.jobs.get(key).filter(|job| !job.object().is_deleting());
        let Some((job, end)) = job.and_then(|job| end_of(&job).map(|end| (job, end))) else {
            return Ok(Action::Done);
        };
        let left = end.duration_since(self.env.now());
        if let Ok(left) = Duration::try_from(left)
            && !left.is_zero()
        {
            return Ok(Action::RequeueAfter(left));
        }
        let options = DeleteOptions {
            propagation: Some(PropagationPolicy::Foreground),
            preconditions: Some(Preconditions {
                uid: job.metadata.uid.clone(),
                resource_version: job.metadata.resource_version.clone(),
            }),
            ..DeleteOptions::default()
        };
        match self.api.delete(key, options).await {
            Ok(_) => Ok(Action::Done),
            Err(error) if error.is_not_found() || error.is_conflict() => Ok(Action::Done),
            Err(error) => Err(error.into()),
        }
    }
}
