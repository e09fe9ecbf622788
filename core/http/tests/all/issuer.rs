//! An issuer of tokens on this machine: it serves its discovery document and its keys over TLS.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, PublicKeyData as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// The id of the issuer's key.
const KEY: &str = "first";
/// Whom its tokens are for.
pub(crate) const AUDIENCE: &str = "pinnace";

pub(crate) struct Issuer {
    pub(crate) url: String,
    pub(crate) certificate: String,
    key: KeyPair,
    serving: JoinHandle<()>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        let key = KeyPair::generate().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        // Vouches for itself, as the certificates of many small issuers do.
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let signing_key = KeyPair::generate().unwrap();
        let cert = params.self_signed(&signing_key).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![cert.der().clone()],
                PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap(),
            );
        let tls = TlsAcceptor::from(Arc::new(config.unwrap()));
        let (discovery, keys) = (discovery(&url), json!({"keys": [public(&key)]}).to_string());
        let serving = tokio::spawn(serve(listener, tls, discovery, keys));
        Self { url, certificate: cert.pem(), key, serving }
    }

    /// The claims of a token that is good.
    pub(crate) fn claims(&self) -> Value {
        #[expect(clippy::disallowed_methods, reason = "the front reads the system's clock here")]
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        json!({"iss": self.url, "aud": [AUDIENCE], "sub": "ann", "exp": now + 600, "iat": now,
               "groups": ["dev", "ops"], "team": "blue", "email_verified": true})
    }

    /// The claims of a token that is good but for some.
    pub(crate) fn claims_but(&self, change: Value) -> Value {
        let mut claims = self.claims();
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        sign(&self.key, claims)
    }

    /// A token signed by somebody else who says that it is this issuer's key.
    pub(crate) fn forge(claims: &Value) -> String {
        sign(&KeyPair::generate().unwrap(), claims)
    }

    /// A token that nobody has signed.
    pub(crate) fn unsigned(claims: &Value) -> String {
        let header = json!({"alg": "none", "typ": "JWT"}).to_string();
        format!("{}.{}.", BASE64.encode(header), BASE64.encode(claims.to_string()))
    }

    /// A token that takes the public key, which everybody knows, for a shared secret.
    pub(crate) fn confused(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(KEY.to_owned());
        let key = EncodingKey::from_secret(self.key.der_bytes());
        jsonwebtoken::encode(&header, claims, &key).unwrap()
    }
}

fn sign(key: &KeyPair, claims: &Value) -> String {
    let mut header = Header::new(Algorithm::ES256);
    header.kid = Some(KEY.to_owned());
    jsonwebtoken::encode(&header, claims, &EncodingKey::from_ec_der(&key.serialize_der())).unwrap()
}

fn discovery(url: &str) -> String {
    json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string()
}

fn public(key: &KeyPair) -> Value {
    let (x, y) = key.der_bytes()[1..].split_at(32);
    json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": KEY,
           "x": BASE64.encode(x), "y": BASE64.encode(y)})
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, discovery: String, keys: String) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        let Ok(stream) = tls.accept(stream).await else { continue };
        let answer = service_fn(|request: Request<Incoming>| {
            let body = if request.uri().path() == "/keys" { &keys } else { &discovery };
            let response = Response::new(Full::new(Bytes::from(body.clone())));
            async move { Ok::<_, std::convert::Infallible>(response) }
        });
        let mut connection = hyper::server::conn::http1::Builder::new();
        drop(connection.keep_alive(false).serve_connection(TokioIo::new(stream), answer).await);
    }
}
