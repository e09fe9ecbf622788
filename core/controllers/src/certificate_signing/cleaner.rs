use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use pinnace_api::{Key, Result};
use pinnace_client::{Api, DeleteOptions, Lister};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use super::condition;
use crate::Context;

/// How long requests stay that have a certificate, are denied or have failed, and the others.
const DECIDED: SignedDuration = SignedDuration::from_hours(1);
const PENDING: SignedDuration = SignedDuration::from_hours(24);

/// The controller that removes requests that are old.
pub(super) fn controller(context: &Context) -> Result<Controller> {
    let requests = context.informers.of::<CertificateSigningRequest>()?;
    let reconciler = Cleaner {
        requests: requests.clone(),
        api: context.client().of()?,
        env: context.env.clone(),
    };
    Ok(Controller::new(reconciler, &context.env).watches(requests.informer()))
}

struct Cleaner {
    requests: Lister<CertificateSigningRequest>,
    api: Api<CertificateSigningRequest>,
    env: Env,
}

#[async_trait]
impl Reconciler for Cleaner {
    fn name(&self) -> &str {
        "certificatesigningrequest-cleaner"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(request) = self.requests.get(key) else { return Ok(Action::Done) };
        let Some(end) = end_of(&request) else { return Ok(Action::Done) };
        if let Ok(left) = Duration::try_from(end.duration_since(self.env.now()))
            && !left.is_zero()
        {
            return Ok(Action::RequeueAfter(left));
        }
        match self.api.delete(key, DeleteOptions::default()).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(Action::Done),
        }
    }
}

/// When a request is to go: an hour after what was decided last, or a day after it was made or was
/// approved and no certificate came. That of a certificate goes before it can have expired for long.
fn end_of(request: &CertificateSigningRequest) -> Option<Timestamp> {
    let issued = request.status.as_ref().is_some_and(|status| status.certificate.is_some());
    let ends = ["Approved", "Denied", "Failed"].iter().filter_map(|kind| {
        let decided = condition(request, kind)?.last_update_time.as_ref()?.0;
        let stays = if *kind == "Approved" && !issued { PENDING } else { DECIDED };
        decided.checked_add(stays).ok()
    });
    let made = request.metadata.creation_timestamp.as_ref();
    ends.min().or_else(|| made?.0.checked_add(PENDING).ok())
}
