//! Tokens of service accounts that are kept in secrets, of type
//! `kubernetes.io/service-account-token`: each is filled, and goes with its account.

use async_trait::async_trait;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use pinnace_api::{Key, Result, Typed};
use pinnace_client::{Api, DeleteOptions, Lister, Preconditions};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;
use crate::context::Credentials;

const TYPE: &str = "kubernetes.io/service-account-token";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// Index of the secrets that hold tokens, by the account that they name.
const BY_ACCOUNT: &str = "token-account";

/// The controller of secrets with tokens; none where nobody signs tokens.
pub(crate) fn controller(context: &Context) -> Result<Option<Controller>> {
    if context.credentials.tokens.is_none() {
        return Ok(None);
    }
    let secrets = context.informers.of::<Secret>()?;
    let accounts = context.informers.of::<ServiceAccount>()?;
    secrets.informer().index(BY_ACCOUNT, |object| {
        let account = object.get::<Secret>().ok().and_then(account_of);
        account.map(|key| key.to_string()).into_iter().collect()
    });
    let reconciler = Tokens {
        secrets: secrets.clone(),
        accounts: context.client().of()?,
        api: context.client().of()?,
        credentials: context.credentials.clone(),
    };
    let controller = Controller::new(reconciler, &context.env);
    let controller = controller.maps(secrets.informer(), |delta, queue| {
        if let Some(object) = &delta.new
            && object.get::<Secret>().is_ok_and(|secret| account_of(secret).is_some())
        {
            queue.add(object.key());
        }
    });
    Ok(Some(controller.maps(accounts.informer(), move |delta, queue| {
        let Some(account) = delta.object() else { return };
        for secret in secrets.by_index(BY_ACCOUNT, &account.key().to_string()) {
            queue.add(secret.object().key());
        }
    })))
}

/// The account whose token a secret is to hold.
fn account_of(secret: &Secret) -> Option<Key> {
    let meta = &secret.metadata;
    let name = meta.annotations.as_ref()?.get(ACCOUNT_NAME)?;
    (secret.type_.as_deref() == Some(TYPE) && !name.is_empty())
        .then(|| Key::new(meta.namespace.as_deref().unwrap_or_default(), name.as_str()))
}

struct Tokens {
    secrets: Lister<Secret>,
    /// Read past the cache: a secret goes when its account is not there.
    accounts: Api<ServiceAccount>,
    api: Api<Secret>,
    credentials: Credentials,
}

#[async_trait]
impl Reconciler for Tokens {
    fn name(&self) -> &str {
        "serviceaccount-token"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(secret) = self.secrets.get(key) else { return Ok(Action::Done) };
        let Some(account) = account_of(&secret) else { return Ok(Action::Done) };
        let annotations = secret.metadata.annotations.as_ref();
        let uid = annotations.and_then(|all| all.get(ACCOUNT_UID)).filter(|uid| !uid.is_empty());
        let found = self.accounts.find(&account).await?;
        match found.filter(|found| uid.is_none_or(|uid| found.metadata.uid.as_ref() == Some(uid))) {
            Some(account) => self.fill(&secret, &account).await?,
            None => self.remove(key, &secret).await?,
        }
        Ok(Action::Done)
    }
}

impl Tokens {
    async fn fill(&self, secret: &Typed<Secret>, account: &ServiceAccount) -> Result<()> {
        let Some(tokens) = &self.credentials.tokens else { return Ok(()) };
        let mut filled = Secret::clone(secret);
        let data = filled.data.get_or_insert_default();
        if let Some(authority) = &self.credentials.authority {
            let pem = ByteString(authority.certificate().as_bytes().to_vec());
            data.insert("ca.crt".to_owned(), pem);
        }
        let namespace = secret.metadata.namespace.clone().unwrap_or_default();
        if data.get("namespace").is_none_or(|there| there.0.is_empty()) {
            data.insert("namespace".to_owned(), ByteString(namespace.into_bytes()));
        }
        if data.get("token").is_none_or(|there| there.0.is_empty()) {
            let token = tokens.token(account, secret)?;
            data.insert("token".to_owned(), ByteString(token.into_bytes()));
        }
        let annotations = filled.metadata.annotations.get_or_insert_default();
        let name = account.metadata.name.clone().unwrap_or_default();
        let uid = account.metadata.uid.clone().unwrap_or_default();
        annotations.insert(ACCOUNT_NAME.to_owned(), name);
        annotations.insert(ACCOUNT_UID.to_owned(), uid);
        if filled != **secret {
            self.api.update(filled).await?;
        }
        Ok(())
    }

    async fn remove(&self, key: &Key, secret: &Secret) -> Result<()> {
        let preconditions = Preconditions {
            uid: secret.metadata.uid.clone(),
            resource_version: secret.metadata.resource_version.clone(),
        };
        let options =
            DeleteOptions { preconditions: Some(preconditions), ..DeleteOptions::default() };
        match self.api.delete(key, options).await {
            Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
            _ => Ok(()),
        }
    }
}
