//! The HTTPS front of the request pipeline: what kubectl, helm and every other client speak to.
//!
//! ```text
//! listener → tls → authentication → impersonation → authorization → handlers → encoding
//! ```
//!
//! - [`Front`]: the service itself, a function from request to response; it needs no socket.
//! - [`Front::serve`], [`ServeConfig`], [`Serving`]: listening on TCP with TLS and on a Unix socket.
//! - [`Authority`]: the certificate authority that signs what serves and who connects.
//! - [`Authenticator`], [`TokenAuthenticator`], [`Anonymous`]: who makes a request;
//!   [`authentication::jwt`]: tokens of other issuers.
//! - [`Kubelet`], [`NodeClients`]: a node's agent over HTTPS, and the way to it.
//! - [`HttpsExtensions`]: the way out, to webhooks; [`Aggregator`]: to servers of other groups.

mod aggregation;
mod audit;
pub mod authentication;
mod body;
pub mod discovery;
mod encoding;
mod error;
mod extensions;
mod flow_control;
mod front;
mod handlers;
pub mod health;
mod kubelet;
mod limits;
mod listener;
pub mod metrics;
pub mod openapi;
mod pki;
mod request;
mod response;
mod streams;

pub use aggregation::{Aggregator, PROXY_NAME};
pub use authentication::{Anonymous, Authenticator, Peer};
pub use body::{Body, BoxError, RequestBody};
pub use error::{Error, Result};
pub use extensions::HttpsExtensions;
pub use front::{Front, FrontBuilder, FrontService};
pub use kubelet::{
    CLIENT_NAME, Kubelet, KubeletConfig, NodeApplication, NodeClients, Purpose, node_of_certificate,
};
pub use listener::{ServeConfig, Serving};
pub use pinnace_server::TokenAuthenticator;
pub use pki::{
    Authority, ClientIdentity, RequestedCertificate, kubeconfig, kubeconfig_for, signing_key,
};
#[cfg(fuzzing)]
pub use streams::fuzzing;
