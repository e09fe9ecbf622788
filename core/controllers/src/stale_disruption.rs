//! Pods that are said to be going, and stay: whoever meant to end them has not, and their condition
//! `DisruptionTarget` is taken back.

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::{Key, Result, disruption};
use pinnace_client::{Api, Lister};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::{Context, pods};

/// How long a pod may be said to be going before that is taken back.
const STALE: Duration = Duration::from_secs(120);

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let pods = context.informers.of::<Pod>()?;
    let reconciler =
        Stale { pods: pods.clone(), api: context.client().of()?, env: context.env.clone() };
    Ok(Controller::new(reconciler, &context.env).maps(pods.informer(), |delta, queue| {
        let Some(new) = &delta.new else { return };
        if new.get::<Pod>().is_ok_and(|pod| stays_marked(pod).is_some()) {
            queue.add(new.key());
        }
    }))
}

/// Since when a pod is said to be going although nothing ends it.
fn stays_marked(pod: &Pod) -> Option<&Time> {
    disruption::marked_since(pod).filter(|_| pods::is_active(pod))
}

struct Stale {
    pods: Lister<Pod>,
    api: Api<Pod>,
    env: Env,
}

#[async_trait]
impl Reconciler for Stale {
    fn name(&self) -> &str {
        "stale-pod-disruption"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(pod) = self.pods.get(key) else { return Ok(Action::Done) };
        let Some(since) = stays_marked(&pod) else { return Ok(Action::Done) };
        let now = Time(self.env.clock().now_seconds());
        let age = Duration::try_from(now.0.duration_since(since.0)).unwrap_or_default();
        if let Some(left) = STALE.checked_sub(age).filter(|left| !left.is_zero()) {
            return Ok(Action::RequeueAfter(left));
        }
        let mut new = pod.to_owned();
        if disruption::withdraw(&mut new, &now) {
            match self.api.update_status(new).await {
                Ok(_) => {}
                // The change brings it back.
                Err(error) if error.is_conflict() || error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Action::Done)
    }
}
