use std::borrow::Cow;
use std::collections::BTreeMap;

use async_trait::async_trait;
use http::request::Parts;
use pinnace_api::Result;
use pinnace_server::User;
use pinnace_server::authentication::AuthenticationHook;
use serde_json::{Value, json};

use super::{Authenticator, Peer, unauthorized};

#[async_trait]
impl Authenticator for AuthenticationHook {
    async fn authenticate(&self, request: &Parts, peer: &Peer) -> Result<Option<User>> {
        self.ask(head(request, peer)).await.map_err(|why| {
            tracing::debug!(why, "a request was refused");
            unauthorized()
        })
    }
}

fn head(request: &Parts, peer: &Peer) -> Value {
    let mut headers: BTreeMap<&str, Vec<Cow<'_, str>>> = BTreeMap::new();
    for (name, value) in &request.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        headers.entry(name.as_str()).or_default().push(value);
    }
    json!({
        "method": request.method.as_str(),
        "requestURI": request.uri.path_and_query().map_or("/", |uri| uri.as_str()),
        "headers": headers,
        "address": peer.address.map(|address| address.to_string()),
    })
}
