//! What types say about validating policies, in their status: upstream's
//! `validatingadmissionpolicy-status`.

use async_trait::async_trait;
use k8s_openapi::api::admissionregistration::v1::{
    TypeChecking, ValidatingAdmissionPolicy, ValidatingAdmissionPolicyStatus,
};
use pinnace_api::{Key, Result, policy_types};
use pinnace_client::{Api, Client, Lister};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;

/// The controller; none where the API serves no policies.
pub(crate) fn controller(context: &Context) -> Result<Option<Controller>> {
    let client = context.client();
    if client.catalog().of::<ValidatingAdmissionPolicy>().is_err() {
        return Ok(None);
    }
    let policies = context.informers.of::<ValidatingAdmissionPolicy>()?;
    let reconciler =
        Checking { policies: policies.clone(), api: client.of()?, client: client.clone() };
    Ok(Some(Controller::new(reconciler, &context.env).watches(policies.informer())))
}

struct Checking {
    policies: Lister<ValidatingAdmissionPolicy>,
    api: Api<ValidatingAdmissionPolicy>,
    client: Client,
}

#[async_trait]
impl Reconciler for Checking {
    fn name(&self) -> &str {
        "validatingadmissionpolicy-status"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(policy) = self.policies.get(key) else { return Ok(Action::Done) };
        let generation = policy.metadata.generation;
        if observed(&policy) >= generation {
            return Ok(Action::Done);
        }
        let warnings = policy_types::warnings(&policy, self.client.catalog());
        let uid = policy.object().uid();
        let written = self.api.modify_status(key, |current| {
            let metadata = &current.metadata;
            if metadata.uid.as_deref() != Some(uid) || metadata.generation != generation {
                return false;
            }
            let expression_warnings = (!warnings.is_empty()).then(|| warnings.clone());
            let before = current.status.take().unwrap_or_default();
            current.status = Some(ValidatingAdmissionPolicyStatus {
                observed_generation: generation,
                type_checking: Some(TypeChecking { expression_warnings }),
                ..before
            });
            true
        });
        match written.await {
            Ok(_) => Ok(Action::Done),
            Err(error) if error.is_not_found() => Ok(Action::Done),
            Err(error) => Err(error.into()),
        }
    }
}

fn observed(policy: &ValidatingAdmissionPolicy) -> Option<i64> {
    policy.status.as_ref().and_then(|status| status.observed_generation)
}
