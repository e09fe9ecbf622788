//! Removes bootstrap tokens that have ended.

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Secret;
use pinnace_api::{Key, Object, Result, bootstrap_token};
use pinnace_client::{Api, DeleteOptions, Lister, Preconditions};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let secrets = context.informers.of::<Secret>()?;
    let reconciler =
        Cleaner { secrets: secrets.clone(), api: context.client().of()?, env: context.env.clone() };
    Ok(Controller::new(reconciler, &context.env).maps(secrets.informer(), |delta, queue| {
        if let Some(object) = delta.new.as_ref().filter(|object| is_token(object)) {
            queue.add(object.key());
        }
    }))
}

/// Whether an object is the secret of a bootstrap token.
pub(crate) fn is_token(object: &Object) -> bool {
    object.namespace() == bootstrap_token::NAMESPACE
        && object
            .get::<Secret>()
            .is_ok_and(|secret| secret.type_.as_deref() == Some(bootstrap_token::TYPE))
}

struct Cleaner {
    secrets: Lister<Secret>,
    api: Api<Secret>,
    env: Env,
}

#[async_trait]
impl Reconciler for Cleaner {
    fn name(&self) -> &str {
        "token-cleaner"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(secret) = self.secrets.get(key) else { return Ok(Action::Done) };
        let Some(end) = bootstrap_token::ends(&secret) else { return Ok(Action::Done) };
        if let Ok(left) = Duration::try_from(end.duration_since(self.env.now()))
            && !left.is_zero()
        {
            return Ok(Action::RequeueAfter(left));
        }
        let preconditions = Preconditions {
            uid: secret.metadata.uid.clone(),
            resource_version: secret.metadata.resource_version.clone(),
        };
        let options =
            DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() };
        match self.api.delete(key, options).await {
            Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error.into()),
            _ => Ok(Action::Done),
        }
    }
}
