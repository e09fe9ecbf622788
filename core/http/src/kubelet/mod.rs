//! A node's agent over HTTPS, as upstream's kubelet serves itself: both ends of it.
//!
//! - [`Kubelet`]: serves the [`NodeConnection`](pinnace_client::nodes::NodeConnection) of a node, to
//!   those whom the cluster's authorization lets do that. Its certificate is signed by the cluster on
//!   request.
//! - [`NodeApplication`]: a node's request for a certificate.
//! - [`NodeClients`]: reaches such nodes, and is a `NodeConnection` to each.

mod application;
mod certificate;
mod guard;
mod node;
mod server;
mod session;

pub use application::{NodeApplication, Purpose};
pub use node::{CLIENT_NAME, NodeClients};
pub use server::{Kubelet, KubeletConfig};

use crate::authentication::certificate_user;
use crate::pki;

/// Whom the certificate of a node names: this, and the node's name.
const NODE_USER_PREFIX: &str = "system:node:";

/// The node that a certificate in PEM is of, if it is a node's.
pub fn node_of_certificate(pem: &str) -> Option<String> {
    let user = certificate_user(&pki::der(pem).ok()?)?;
    user.name.strip_prefix(NODE_USER_PREFIX).map(str::to_owned)
}
