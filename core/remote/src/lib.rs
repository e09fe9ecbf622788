//! A cluster that is reached over HTTPS: this engine's own from another process or machine, or anybody
//! else's that speaks the Kubernetes API.
//!
//! - [`Kubeconfig`]: where a cluster is, whom to believe there, and who asks.
//! - [`Remote`]: the [`Transport`](pinnace_client::Transport) that it makes, for a
//!   [`Client`](pinnace_client::Client) like any other.

mod error;
mod https;
mod kubeconfig;
mod transport;

pub use error::{Error, Result};
pub use kubeconfig::{Identity, Kubeconfig};
pub use transport::Remote;
