use std::sync::Arc;

use async_trait::async_trait;
use jiff::SignedDuration;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use pinnace_api::{Key, Result};
use pinnace_client::{Api, Lister};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use super::{add_condition, checks, condition, is_issued, pem};
use crate::{CertificateAuthority, Context};

/// How long certificates last at most, and how long at least.
const LONGEST: SignedDuration = SignedDuration::from_hours(365 * 24);
const SHORTEST: SignedDuration = SignedDuration::from_mins(10);

/// The controller that signs what is approved, for the signers that are built in.
pub(super) fn controller(
    context: &Context,
    authority: &Arc<dyn CertificateAuthority>,
) -> Result<Controller> {
    let requests = context.informers.of::<CertificateSigningRequest>()?;
    let reconciler = Signer {
        requests: requests.clone(),
        api: context.client().of()?,
        authority: authority.clone(),
        env: context.env.clone(),
    };
    Ok(Controller::new(reconciler, &context.env).watches(requests.informer()))
}

struct Signer {
    requests: Lister<CertificateSigningRequest>,
    api: Api<CertificateSigningRequest>,
    authority: Arc<dyn CertificateAuthority>,
    env: Env,
}

#[async_trait]
impl Reconciler for Signer {
    fn name(&self) -> &str {
        "certificatesigningrequest-signing"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(request) = self.requests.get(key) else { return Ok(Action::Done) };
        let has = |kind: &str| condition(&request, kind).is_some();
        if is_issued(&request) || !has("Approved") || has("Denied") || has("Failed") {
            return Ok(Action::Done);
        }
        match self.issue(&request) {
            None => {}
            Some(Ok(certificate)) => {
                let issue = |request: &mut CertificateSigningRequest| {
                    let new = !is_issued(request);
                    let status = request.status.get_or_insert_default();
                    status.certificate = Some(ByteString(certificate.clone().into_bytes()));
                    new
                };
                self.api.modify_status(key, issue).await?;
            }
            Some(Err(why)) => {
                let fail = |request: &mut CertificateSigningRequest| {
                    add_condition(request, "Failed", "SignerValidationFailure", &why)
                };
                self.api.modify_status(key, fail).await?;
            }
        }
        Ok(Action::Done)
    }
}

impl Signer {
    /// The certificate, or why there is none; `None` for what other signers are asked for.
    fn issue(&self, request: &CertificateSigningRequest) -> Option<Result<String, String>> {
        let spec = &request.spec;
        let usages = spec.usages.as_deref().unwrap_or_default();
        let read = pem(request).and_then(|pem| self.authority.read(pem));
        let read = match read {
            Ok(read) => read,
            // Only those who would sign it say that it cannot be read.
            Err(why) => {
                let empty = crate::CertificateRequest::default();
                return checks::of_signer(&spec.signer_name, &empty, usages).map(|_| Err(why));
            }
        };
        if let Err(why) = checks::of_signer(&spec.signer_name, &read, usages)? {
            return Some(Err(why));
        }
        let asked =
            spec.expiration_seconds.map(|seconds| SignedDuration::from_secs(seconds.into()));
        let life = asked.map_or(LONGEST, |asked| asked.clamp(SHORTEST, LONGEST));
        let until = self.env.now().checked_add(life).map_err(|error| error.to_string());
        Some(until.and_then(|until| self.authority.sign(pem(request)?, usages, until)))
    }
}
