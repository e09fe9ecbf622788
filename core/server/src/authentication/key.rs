use std::collections::HashSet;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use pinnace_api::{ApiError, Result};
use rcgen::{KeyPair, PublicKeyData as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::ISSUER;
use super::claims::Claims;
use super::secret_token::{self, SecretClaims};

/// Bytes of each coordinate of a public key on the curve P-256, behind the mark of its form.
const COORDINATE: usize = 32;
const UNCOMPRESSED: u8 = 4;
/// Bytes of a token that are looked at.
const MAX_TOKEN: usize = 64 * 1024;

/// The key that signs tokens: ECDSA on the curve P-256.
pub struct SigningKey {
    sign: EncodingKey,
    check: DecodingKey,
    id: String,
    public: Value,
    pem: String,
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// `InternalError` when the machine gives no randomness.
    pub fn generate() -> Result<Self> {
        Self::new(&KeyPair::generate().map_err(ApiError::internal)?)
    }

    /// The key of a text that [`SigningKey::pem`] has given.
    ///
    /// # Errors
    /// `InternalError` when it is not a key on the curve P-256 in PEM.
    pub fn from_pem(pem: &str) -> Result<Self> {
        Self::new(&KeyPair::from_pem(pem).map_err(ApiError::internal)?)
    }

    /// The private key in PEM, to be kept.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    fn new(pair: &KeyPair) -> Result<Self> {
        let point = pair.der_bytes();
        let (x, y) = match point {
            [UNCOMPRESSED, rest @ ..] if rest.len() == 2 * COORDINATE => rest.split_at(COORDINATE),
            _ => return Err(ApiError::internal("the key that signs tokens must be on P-256")),
        };
        let [x, y] = [x, y].map(|coordinate| BASE64.encode(coordinate));
        let id = BASE64.encode(Sha256::digest(pair.subject_public_key_info()));
        Ok(Self {
            sign: EncodingKey::from_ec_der(&pair.serialize_der()),
            check: DecodingKey::from_ec_components(&x, &y).map_err(ApiError::internal)?,
            public: json!({
                "use": "sig", "kty": "EC", "kid": id, "crv": "P-256", "alg": "ES256",
                "x": x, "y": y,
            }),
            id,
            pem: pair.serialize_pem(),
        })
    }

    /// The public keys that check the tokens, as a JSON Web Key Set.
    pub fn key_set(&self) -> Value {
        json!({ "keys": [self.public] })
    }

    /// What `/.well-known/openid-configuration` says of the issuer.
    pub fn configuration(&self) -> Value {
        json!({
            "issuer": ISSUER,
            "jwks_uri": format!("{ISSUER}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    pub(super) fn sign(&self, claims: &impl serde::Serialize) -> Result<String> {
        let mut header = Header::new(Algorithm::ES256);
        // As upstream, whose tokens name no type.
        header.typ = None;
        header.kid = Some(self.id.clone());
        jsonwebtoken::encode(&header, claims, &self.sign).map_err(ApiError::internal)
    }

    /// The claims of a token of ours; `None` for what is no such token.
    ///
    /// # Errors
    /// What is wrong with its signature.
    pub(super) fn read(&self, token: &str) -> Result<Option<Proven>, String> {
        if token.len() > MAX_TOKEN {
            return Ok(None);
        }
        let ours = jsonwebtoken::dangerous::insecure_decode_claims::<Issuer>(token);
        let kept = match ours.as_ref().map(|claims| &*claims.iss) {
            Ok(ISSUER) => false,
            Ok(secret_token::ISSUER) => true,
            _ => return Ok(None),
        };
        // Times are compared with the server's own clock, audiences with those of the question.
        let mut checks = Validation::new(Algorithm::ES256);
        checks.required_spec_claims = HashSet::new();
        checks.validate_exp = false;
        checks.validate_aud = false;
        let invalid = |_| "invalid bearer token".to_owned();
        if kept {
            let token = jsonwebtoken::decode(token, &self.check, &checks).map_err(invalid)?;
            return Ok(Some(Proven::Kept(token.claims)));
        }
        let token = jsonwebtoken::decode(token, &self.check, &checks).map_err(invalid)?;
        Ok(Some(Proven::Bound(token.claims)))
    }
}

/// The claims of a token whose signature is ours.
#[expect(clippy::large_enum_variant, reason = "it lives for one request")]
pub(super) enum Proven {
    /// One that was asked for.
    Bound(Claims),
    /// One that is kept in a secret.
    Kept(SecretClaims),
}

#[derive(serde::Deserialize)]
struct Issuer {
    iss: String,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}
