use std::collections::HashMap;
use std::time::Duration;

use http::Method;
use http::request::Parts;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use parking_lot::Mutex;
use pinnace_api::{ApiError, Reason, Result};
use pinnace_client::Client;
use pinnace_server::User;
use tokio::time::Instant;

use crate::Peer;
use crate::authentication::{bearer_token, unauthorized, with_authenticated};

/// How long it is remembered that somebody may do something, and that they may not, as upstream.
const ALLOWED_FOR: Duration = Duration::from_secs(300);
const DENIED_FOR: Duration = Duration::from_secs(30);
/// How long it is remembered who a token is of.
const TOKEN_FOR: Duration = Duration::from_secs(120);
/// How much is remembered of either, before it is forgotten.
const MOST: usize = 1024;

/// Asks the cluster who may do what with a node.
pub(super) struct Guard {
    client: Client,
    node: String,
    decisions: Mutex<HashMap<Asked, (bool, Instant)>>,
    tokens: Mutex<HashMap<String, (User, Instant)>>,
}

/// Who wants what: all that a decision may depend on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Asked {
    user: User,
    verb: &'static str,
    part: &'static str,
}

impl Guard {
    pub(super) fn new(client: Client, node: String) -> Self {
        Self { client, node, decisions: Mutex::default(), tokens: Mutex::default() }
    }

    /// Lets a request pass whose sender may make it.
    ///
    /// # Errors
    /// `Unauthorized` for nobody in particular, `Forbidden` for those who may not, and what the
    /// cluster answers when it cannot be asked.
    pub(super) async fn check(&self, request: &Parts, peer: &Peer) -> Result<()> {
        let user = self.user(request, peer).await?;
        let (verb, parts) = attributes(&request.method, request.uri.path());
        for part in parts {
            if self.may(&user, verb, part).await? {
                return Ok(());
            }
        }
        let part = parts[0];
        let message = format!(
            "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{part}])",
            user.name
        );
        Err(ApiError::new(Reason::Forbidden, message))
    }

    async fn user(&self, request: &Parts, peer: &Peer) -> Result<User> {
        if let Some(user) = &peer.user {
            return Ok(with_authenticated(user.clone()));
        }
        let token = bearer_token(&request.headers).ok_or_else(unauthorized)?;
        if let Some((user, until)) = self.tokens.lock().get(&token)
            && *until > Instant::now()
        {
            return Ok(user.clone());
        }
        let spec = TokenReviewSpec { token: token.clone(), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let review = self.client.of::<TokenReview>()?.create(review).await?;
        let status = review.status.as_ref().filter(|status| status.authenticated == Some(true));
        let known = status.and_then(|status| status.user.as_ref()).ok_or_else(unauthorized)?;
        let name = known.username.clone().unwrap_or_default();
        let mut user = User::new(&name, known.groups.clone().unwrap_or_default());
        user.uid = known.uid.as_deref().map(Into::into);
        user.extra = known.extra.clone().unwrap_or_default().into();
        let mut tokens = self.tokens.lock();
        if tokens.len() >= MOST {
            tokens.clear();
        }
        tokens.insert(token, (user.clone(), Instant::now() + TOKEN_FOR));
        Ok(user)
    }

    async fn may(&self, user: &User, verb: &'static str, part: &'static str) -> Result<bool> {
        let asked = Asked { user: user.clone(), verb, part };
        if let Some((allowed, until)) = self.decisions.lock().get(&asked)
            && *until > Instant::now()
        {
            return Ok(*allowed);
        }
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.name.to_string()),
                groups: Some(user.groups.to_vec()),
                uid: user.uid.as_deref().map(str::to_owned),
                extra: Some((*user.extra).clone()).filter(|extra| !extra.is_empty()),
                resource_attributes: Some(ResourceAttributes {
                    version: Some("v1".to_owned()),
                    resource: Some("nodes".to_owned()),
                    subresource: Some(part.to_owned()),
                    name: Some(self.node.clone()),
                    verb: Some(verb.to_owned()),
                    ..ResourceAttributes::default()
                }),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let answer = self.client.of::<SubjectAccessReview>()?.create(review).await?;
        let allowed = answer.status.as_ref().is_some_and(|status| status.allowed);
        let holds = if allowed { ALLOWED_FOR } else { DENIED_FOR };
        let mut decisions = self.decisions.lock();
        if decisions.len() >= MOST {
            decisions.clear();
        }
        decisions.insert(asked, (allowed, Instant::now() + holds));
        Ok(allowed)
    }
}

/// The verb of a request, and the parts of the node of which one has to be allowed.
///
/// Upstream takes the verb from the method, by which a WebSocket runs commands for those who may read.
/// Here it is what is done that counts.
fn attributes(method: &Method, path: &str) -> (&'static str, &'static [&'static str]) {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let verb = match *method {
        _ if matches!(first, "exec" | "attach" | "portForward" | "run") => "create",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    };
    let parts: &[&str] = match first {
        "stats" => &["stats"],
        "metrics" => &["metrics"],
        "logs" => &["log"],
        "spec" => &["spec"],
        "checkpoint" => &["checkpoint"],
        "healthz" => &["healthz", "proxy"],
        "pods" | "runningpods" => &["pods", "proxy"],
        "configz" => &["configz", "proxy"],
        _ => &["proxy"],
    };
    (verb, parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_counts_and_not_how_it_is_asked_for() {
        let check = |method: Method, path: &str, verb: &str, parts: &[&str]| {
            assert_eq!(attributes(&method, path), (verb, parts), "{path}");
        };
        check(Method::GET, "/stats/summary", "get", &["stats"]);
        check(Method::GET, "/metrics", "get", &["metrics"]);
        check(Method::GET, "/metrics/resource", "get", &["metrics"]);
        check(Method::HEAD, "/healthz", "get", &["healthz", "proxy"]);
        check(Method::GET, "/pods", "get", &["pods", "proxy"]);
        check(Method::GET, "/containerLogs/a/b/c", "get", &["proxy"]);
        check(Method::GET, "/exec/a/b/c", "create", &["proxy"]);
        check(Method::POST, "/exec/a/b/c", "create", &["proxy"]);
        check(Method::GET, "//exec/a/b/c", "create", &["proxy"]);
        check(Method::GET, "/portForward/a/b", "create", &["proxy"]);
        check(Method::GET, "/statsandmore", "get", &["proxy"]);
    }
}
