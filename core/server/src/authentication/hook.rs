//! A function of the host that knows callers: what an authentication webhook is to strangers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use super::TokenAuthenticator;
use crate::User;

/// What a function of the host says of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Who it is.
    Known(User),
    /// It cannot tell; others are asked.
    Unknown,
    /// It is not who it claims to be, and why.
    Refused(String),
}

impl Identity {
    /// Somebody who is known, by a `UserInfo` (`authentication.k8s.io/v1`) in JSON: `username`, and
    /// where there are any `uid`, `groups` and `extra`.
    ///
    /// # Errors
    /// Why it is none.
    pub fn known(user_info: &str) -> Result<Self, String> {
        let info: Info = serde_json::from_str(user_info)
            .map_err(|error| format!("the user cannot be read: {error}"))?;
        let mut user = User::new(&info.username, info.groups.unwrap_or_default());
        user.uid = info.uid.filter(|uid| !uid.is_empty()).map(Into::into);
        user.extra = Arc::new(info.extra.unwrap_or_default());
        Ok(Self::Known(user))
    }
}

/// A `UserInfo`; what it does not have is more likely misspelt than meant.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    #[serde(default)]
    username: String,
    uid: Option<String>,
    groups: Option<Vec<String>>,
    extra: Option<BTreeMap<String, Vec<String>>>,
}

type Function = dyn Fn(Value) -> Result<Identity, String> + Send + Sync;

/// A function of the host that is asked who a caller is, with each request. It may block. When it
/// fails, the caller is refused. Clones share.
///
/// As a [`TokenAuthenticator`] it is given the `spec` of a `TokenReview` (`authentication.k8s.io/v1`),
/// as webhooks are; as the front's authenticator the head of the request: `method`, `requestURI`,
/// `headers` (lists by names in lower case) and `address`, the other end of the connection, which
/// a Unix socket does not have.
#[derive(Clone)]
pub struct AuthenticationHook {
    name: Arc<str>,
    function: Arc<Function>,
}

impl AuthenticationHook {
    /// One with a name for messages.
    pub fn new(
        name: &str,
        function: impl Fn(Value) -> Result<Identity, String> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), function: Arc::new(function) }
    }

    /// Who it is that `about` tells of; `None` when the function cannot tell.
    ///
    /// # Errors
    /// Why the caller is refused.
    pub async fn ask(&self, about: Value) -> Result<Option<User>, String> {
        let function = self.function.clone();
        let said = tokio::task::spawn_blocking(move || function(about)).await;
        match said.map_err(|error| error.to_string()).and_then(|said| said) {
            Ok(Identity::Known(user)) if user.name.is_empty() => {
                Err(self.failed("the user has no name"))
            }
            Ok(Identity::Known(user)) => Ok(Some(user)),
            Ok(Identity::Unknown) => Ok(None),
            Ok(Identity::Refused(why)) => Err(why),
            Err(why) => Err(self.failed(&why)),
        }
    }

    fn failed(&self, why: &str) -> String {
        let name = &*self.name;
        tracing::warn!(name, why, "an authenticator of the host failed");
        format!("failed calling authenticator {name:?}: {why}")
    }
}

#[async_trait]
impl TokenAuthenticator for AuthenticationHook {
    async fn authenticate(&self, token: &str) -> Result<Option<User>, String> {
        self.ask(json!({"token": token})).await
    }
}

impl fmt::Debug for AuthenticationHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthenticationHook({:?})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_function_is_asked_as_a_webhook_is_and_knows_nobody_when_it_fails() {
        let check = async |token: &str, expected: Result<Option<&str>, &str>| {
            let hook = AuthenticationHook::new("test", |spec| match spec["token"].as_str() {
                Some("ann") => Identity::known(r#"{"username": "ann", "uid": "1"}"#),
                Some("nameless") => Identity::known("{}"),
                Some("misspelt") => Identity::known(r#"{"username": "ann", "group": []}"#),
                Some("forged") => Ok(Identity::Refused("it is forged".to_owned())),
                Some("bad") => panic!("bad"),
                _ => Ok(Identity::Unknown),
            });
            let user = hook.authenticate(token).await;
            let name = user.as_ref().map(|user| user.as_ref().map(|user| &*user.name));
            match (name, expected) {
                (Err(why), Err(expected)) => assert!(why.starts_with(expected), "{why}"),
                (name, expected) => assert_eq!(name.map_err(|why| &**why), expected),
            }
        };
        check("ann", Ok(Some("ann"))).await;
        check("other", Ok(None)).await;
        check("forged", Err("it is forged")).await;
        let failed = "failed calling authenticator \"test\": ";
        check("nameless", Err(&format!("{failed}the user has no name"))).await;
        check("misspelt", Err(&format!("{failed}the user cannot be read: unknown field"))).await;
        check("bad", Err(failed)).await;
    }
}
