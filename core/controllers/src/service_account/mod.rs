//! The service account `default` of every namespace, and the tokens of accounts that are kept in
//! secrets.
//!
//! A namespace is made with its account; the controller gives it back when it is lost.

mod tokens;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use pinnace_api::belongings::{ACCOUNT, account};
use pinnace_api::{Key, Result};
use pinnace_client::{Api, Informer, Lister};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;

pub(crate) use tokens::controller as tokens;

/// The controller that keeps the accounts.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let namespaces = context.informers.of::<Namespace>()?;
    let accounts = context.informers.of::<ServiceAccount>()?;
    let reconciler = Accounts {
        namespaces: namespaces.clone(),
        accounts: accounts.clone(),
        api: context.client().of()?,
    };
    let controller = Controller::new(reconciler, &context.env).watches(namespaces.informer());
    Ok(with_lost(controller, accounts.informer(), ACCOUNT))
}

/// Also looks at a namespace when its object of a name has changed or is gone.
pub(crate) fn with_lost(
    controller: Controller,
    informer: &Informer,
    name: &'static str,
) -> Controller {
    controller.maps(informer, move |delta, queue| {
        let Some(object) = delta.object() else { return };
        // What has just been made is as it should be.
        if object.name() == name && delta.old.is_some() {
            queue.add(Key::cluster(object.namespace()));
        }
    })
}

/// Whether a namespace is there to stay.
pub(crate) fn lives(namespaces: &Lister<Namespace>, key: &Key) -> bool {
    namespaces.get(key).is_some_and(|namespace| {
        let phase = namespace.status.as_ref().and_then(|status| status.phase.as_deref());
        namespace.metadata.deletion_timestamp.is_none() && phase != Some("Terminating")
    })
}

/// Passes over that another writer was first, or that the namespace has begun to go.
pub(crate) fn unless_late<T>(written: Result<T>) -> Result<()> {
    match written {
        Err(error) if error.is_already_exists() || error.is_not_found() => Ok(()),
        Err(error) if error.message().contains("is being terminated") => Ok(()),
        written => written.map(drop),
    }
}

struct Accounts {
    namespaces: Lister<Namespace>,
    accounts: Lister<ServiceAccount>,
    api: Api<ServiceAccount>,
}

#[async_trait]
impl Reconciler for Accounts {
    fn name(&self) -> &str {
        "serviceaccount"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let wanted = Key::new(key.name(), ACCOUNT);
        if lives(&self.namespaces, key) && self.accounts.get(&wanted).is_none() {
            unless_late(self.api.create(account(key.name())).await)?;
        }
        Ok(Action::Done)
    }
}
