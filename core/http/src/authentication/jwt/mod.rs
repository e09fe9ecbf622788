//! Tokens of issuers outside of the cluster: OpenID Connect and whatever signs JSON Web Tokens, by
//! an `AuthenticationConfiguration`.
//!
//! See <https://kubernetes.io/docs/reference/access-authn-authz/authentication/>.

mod config;
mod expression;
mod keys;
mod mapping;

use std::collections::HashSet;
use std::fmt;

use async_trait::async_trait;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use pinnace_env::Env;
use pinnace_server::{TokenAuthenticator, User};
use serde::Deserialize;
use serde_json::{Map, Value};

pub use config::{
    AnonymousAuthCondition, AnonymousAuthConfig, AuthenticationConfiguration, ClaimMappings,
    ClaimOrExpression, ClaimValidationRule, ExtraMapping, JwtAuthenticator, JwtIssuer,
    PrefixedClaimOrExpression, UserValidationRule,
};
use keys::RemoteKeys;
use mapping::Mapping;

use crate::Result;

/// Signatures that are accepted: those whose keys may be known to all.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
];
/// Bytes of a token that are looked at.
const MAX_TOKEN: usize = 64 * 1024;
/// Seconds by which an issuer's clock may be ahead of ours.
const LEEWAY: i64 = 300;

/// Knows the tokens of one issuer.
pub struct JwtTokens {
    issuer: String,
    audiences: Vec<String>,
    keys: RemoteKeys,
    mapping: Mapping,
    env: Env,
}

impl JwtTokens {
    /// Those of a configuration, in its order.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for what is wrong with it.
    pub fn of(configuration: &AuthenticationConfiguration, env: &Env) -> Result<Vec<Self>> {
        configuration.validate()?;
        configuration.jwt.iter().map(|one| Self::new(one, env)).collect()
    }

    fn new(one: &JwtAuthenticator, env: &Env) -> Result<Self> {
        Ok(Self {
            issuer: one.issuer.url.clone(),
            audiences: one.issuer.audiences.clone(),
            keys: RemoteKeys::new(&one.issuer)?,
            mapping: Mapping::new(one)?,
            env: env.clone(),
        })
    }

    /// The claims of a token of this issuer; `None` for another's.
    async fn claims(&self, token: &str) -> Result<Option<Map<String, Value>>, String> {
        if token.len() > MAX_TOKEN {
            return Ok(None);
        }
        let ours = jsonwebtoken::dangerous::insecure_decode_claims::<Issuer>(token);
        if ours.map_or(true, |claims| claims.iss != self.issuer) {
            return Ok(None);
        }
        let header = jsonwebtoken::decode_header(token)
            .map_err(|error| format!("oidc: malformed jwt: {error}"))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(format!("oidc: unexpected signature algorithm {:?}", header.alg));
        }
        let mut checks = Validation::new(header.alg);
        // Times are compared with the engine's own clock, audiences below.
        checks.required_spec_claims = HashSet::new();
        checks.validate_exp = false;
        checks.validate_aud = false;
        for key in self.keys.find(header.kid.as_deref()).await? {
            let Ok(key) = DecodingKey::from_jwk(&key) else { continue };
            if let Ok(token) = jsonwebtoken::decode(token, &key, &checks) {
                return Ok(Some(token.claims));
            }
        }
        Err("failed to verify signature: failed to verify id token signature".to_owned())
    }

    fn check(&self, claims: &Map<String, Value>) -> Result<(), String> {
        let time = |name: &str| claims.get(name).and_then(Value::as_f64);
        let now = self.env.now().as_second();
        #[expect(clippy::cast_precision_loss, reason = "seconds of this age are exact")]
        let (now, latest) = (now as f64, (now + LEEWAY) as f64);
        if time("exp").is_none_or(|end| end < now) {
            return Err("oidc: token is expired".to_owned());
        }
        if claims.contains_key("nbf") && time("nbf").is_none_or(|begin| begin > latest) {
            return Err("oidc: current time before the nbf (not before) time".to_owned());
        }
        let audiences = match claims.get("aud") {
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        if self.audiences.iter().any(|wanted| audiences.contains(&wanted.as_str())) {
            return Ok(());
        }
        Err(format!("oidc: expected audience in {:?} got {audiences:?}", self.audiences))
    }
}

#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

#[async_trait]
impl TokenAuthenticator for JwtTokens {
    async fn authenticate(&self, token: &str) -> Result<Option<User>, String> {
        let Some(claims) = self.claims(token).await? else { return Ok(None) };
        self.check(&claims)?;
        self.mapping.user(claims).map(Some)
    }
}

impl fmt::Debug for JwtTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JwtTokens({})", self.issuer)
    }
}
