//! Tokens that are kept in secrets of type `kubernetes.io/service-account-token`: they do not end,
//! and are good as long as the secret holds them.

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use pinnace_api::{Key, Result};
use pinnace_store::Snapshot;
use serde::{Deserialize, Serialize};

use super::ACCOUNT_PREFIX;
use super::check::account_user;
use super::claims::Reference;
use crate::{Server, User};

/// Who such a token says has signed it.
pub(super) const ISSUER: &str = "kubernetes/serviceaccount";
/// On secrets whose token has not been used for long.
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// What such a token says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SecretClaims {
    iss: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    account: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    uid: String,
    sub: String,
}

impl Server {
    /// The token of an account that a secret is to hold.
    ///
    /// # Errors
    /// `InternalError` when it cannot be signed.
    pub fn secret_token(&self, account: &ServiceAccount, secret: &Secret) -> Result<String> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let meta = &account.metadata;
        let (namespace, name) = (text(&meta.namespace), text(&meta.name));
        let claims = SecretClaims {
            iss: ISSUER.to_owned(),
            sub: format!("{ACCOUNT_PREFIX}{namespace}:{name}"),
            namespace,
            secret: text(&secret.metadata.name),
            account: name,
            uid: text(&meta.uid),
        };
        self.signing_key()?.sign(&claims)
    }
}

impl SecretClaims {
    /// Whose a token with these claims is.
    ///
    /// # Errors
    /// Why it is not good any more.
    pub(super) fn check(&self, token: &str, snapshot: &Snapshot) -> Result<User, String> {
        let Self { namespace, secret, account, uid, .. } = self;
        let found = snapshot.get("secrets", &Key::new(&**namespace, &**secret));
        let found = found.filter(|secret| !secret.is_deleting());
        let found = found.ok_or("service account token has been invalidated")?;
        let kept = found.get::<Secret>().map_err(|error| error.to_string())?.data.as_ref();
        if kept.and_then(|data| data.get("token")).is_none_or(|kept| kept.0 != token.as_bytes()) {
            return Err("service account token does not match server's copy".to_owned());
        }
        let there = snapshot.get("serviceaccounts", &Key::new(&**namespace, &**account));
        let there = there.ok_or_else(|| format!("serviceaccounts {account:?} not found"))?;
        if there.is_deleting() {
            return Err(format!("service account {namespace}/{account} has been deleted"));
        }
        if there.uid() != uid {
            let there = there.uid();
            return Err(format!("service account UID ({there}) does not match claim ({uid})"));
        }
        if found.labels().is_some_and(|labels| labels.contains_key(INVALID_SINCE)) {
            return Err(format!(
                "the token in secret {namespace}/{secret} for service account \
                 {namespace}/{account} has been marked invalid. Use tokens from the TokenRequest \
                 API or manually created secret-based tokens, or remove the \
                 '{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
            ));
        }
        let account = Reference { name: account.clone(), uid: uid.clone() };
        Ok(account_user(namespace, &account))
    }
}
