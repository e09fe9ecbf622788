//! The tokens of service accounts that volumes show.

use std::time::Duration;

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use pinnace_api::{ApiError, Key};
use pinnace_client::Client;
use pinnace_env::Env;
use tokio::time::Instant;

use super::record;

/// How long a token is good that does not say how long it should be, as upstream.
pub(crate) const DEFAULT_SECONDS: i64 = 3600;
/// What part of its life a token is shown before another takes its place, in percent, and for how
/// long at most.
const SHOWN_PERCENT: u32 = 80;
const SHOWN_AT_MOST: Duration = Duration::from_secs(24 * 3600);

/// Which token is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Empty for the API's own.
    pub(crate) audience: String,
    pub(crate) seconds: i64,
}

impl Wanted {
    pub(crate) fn of(token: &ServiceAccountTokenProjection) -> Self {
        Self {
            audience: token.audience.clone().unwrap_or_default(),
            seconds: token.expiration_seconds.unwrap_or(DEFAULT_SECONDS),
        }
    }
}

/// A token, and when another is to take its place.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) wanted: Wanted,
    pub(crate) text: String,
    pub(crate) until: Instant,
    /// When it ends to be good.
    pub(crate) ends: jiff::Timestamp,
}

/// The tokens that a pod's volumes show, each once.
pub(crate) fn wanted(pod: &Pod) -> Vec<Wanted> {
    let volumes = record::spec_of(pod).volumes.iter().flatten();
    let projected = volumes.filter_map(|volume| volume.projected.as_ref());
    let sources = projected.flat_map(|all| all.sources.iter().flatten());
    let mut all: Vec<Wanted> = Vec::new();
    for token in sources.filter_map(|source| source.service_account_token.as_ref()) {
        let wanted = Wanted::of(token);
        if !all.contains(&wanted) {
            all.push(wanted);
        }
    }
    all
}

/// What stands for the tokens of a pod whose containers are simulated: nobody reads them.
pub(crate) fn unread(pod: &Pod) -> Vec<Token> {
    let until = Instant::now();
    let tokens = wanted(pod).into_iter();
    tokens
        .map(|wanted| Token { wanted, text: String::new(), until, ends: jiff::Timestamp::MAX })
        .collect()
}

/// Has what is missing or old made anew, bound to the pod.
///
/// # Errors
/// What the API answers.
pub(crate) async fn renew(
    client: &Client,
    env: &Env,
    pod: &Pod,
    wanted: Vec<Wanted>,
    known: &[Token],
) -> Result<Vec<Token>, ApiError> {
    let now = Instant::now();
    let mut tokens = Vec::new();
    for wanted in wanted {
        let fresh = known.iter().find(|token| token.wanted == wanted && token.until > now);
        match fresh {
            Some(token) => tokens.push(token.clone()),
            None => tokens.push(request(client, env, pod, wanted).await?),
        }
    }
    Ok(tokens)
}

/// Has a token made for the pod's account, bound to the pod.
///
/// # Errors
/// What the API answers.
async fn request(client: &Client, env: &Env, pod: &Pod, wanted: Wanted) -> Result<Token, ApiError> {
    let meta = &pod.metadata;
    let account = record::spec_of(pod).service_account_name.clone().unwrap_or_default();
    let account = if account.is_empty() { "default".to_owned() } else { account };
    let key = Key::new(meta.namespace.as_deref().unwrap_or_default(), account);
    let audience = Some(wanted.audience.clone()).filter(|audience| !audience.is_empty());
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: audience.map(|audience| vec![audience]),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: meta.name.clone(),
                uid: meta.uid.clone(),
            }),
            expiration_seconds: Some(wanted.seconds),
        }),
        ..TokenRequest::default()
    };
    let answer = client.of::<ServiceAccount>()?.token(&key, request).await?;
    let status = answer.status.clone().unwrap_or_default();
    let (Some(text), Some(ends)) = (status.token, status.expiration_timestamp) else {
        let message = "the API has answered a request for a token without one";
        return Err(ApiError::internal(message));
    };
    let life = env.clock().until(ends.0);
    let shown = (life / 100 * SHOWN_PERCENT).min(SHOWN_AT_MOST);
    Ok(Token { wanted, text, until: Instant::now() + shown, ends: ends.0 })
}
