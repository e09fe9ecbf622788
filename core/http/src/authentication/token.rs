use async_trait::async_trait;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use pinnace_api::Result;
use pinnace_server::{Server, User};

use super::{Authenticator, Peer, unauthorized};

/// The subprotocol by which clients that can set no headers bring a token over a WebSocket.
const WEBSOCKET_BEARER: &str = "base64url.bearer.authorization.k8s.io.";

/// Takes the token out of a request and asks the server for it.
pub(crate) struct BearerTokens(pub(crate) Server);

#[async_trait]
impl Authenticator for BearerTokens {
    async fn authenticate(&self, request: &Parts, _peer: &Peer) -> Result<Option<User>> {
        let Some(token) = bearer_token(&request.headers) else { return Ok(None) };
        match self.0.authenticate_bearer(&token, &[]).await {
            Ok(proven) => Ok(proven.map(|proven| proven.user)),
            Err(why) => {
                tracing::debug!(why, "a token was refused");
                Err(unauthorized())
            }
        }
    }
}

/// The bearer token of a request.
pub(crate) fn bearer_token(headers: &HeaderMap) -> Option<String> {
    if let Some(value) = headers.get(AUTHORIZATION) {
        let (scheme, token) = value.to_str().ok()?.trim().split_once(' ')?;
        let token = token.trim();
        return (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
            .then(|| token.to_owned());
    }
    use base64::Engine as _;
    let protocols = headers.get("sec-websocket-protocol")?.to_str().ok()?;
    let encoded = protocols.split(',').find_map(|one| one.trim().strip_prefix(WEBSOCKET_BEARER))?;
    let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(encoded).ok()?;
    String::from_utf8(token).ok().filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_in_a_header_or_as_a_websocket_protocol() {
        let check = |name: &'static str, value: &str, expected: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            assert_eq!(bearer_token(&headers).as_deref(), expected, "{value}");
        };
        check("authorization", "Bearer abc", Some("abc"));
        check("authorization", "bearer  abc ", Some("abc"));
        check("authorization", "Basic abc", None);
        check("authorization", "Bearer ", None);
        let protocols = "v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWJj";
        check("sec-websocket-protocol", protocols, Some("abc"));
        check("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.!", None);
    }
}
