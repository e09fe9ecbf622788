//! What becomes of one pod.
//!
//! [`worker::Worker`] is the state machine. What it decides by are functions from values to
//! values: [`plan`] says which container is next, [`status`], [`phase`](mod@phase) and
//! [`conditions`] what the API is told, [`container_config`] and [`environment`] what the runtime
//! is told.

pub(crate) mod admission;
pub(crate) mod adopt;
pub(crate) mod back_off;
pub(crate) mod conditions;
pub(crate) mod container_config;
pub(crate) mod dns;
pub(crate) mod environment;
pub(crate) mod expansion;
pub(crate) mod fields;
pub(crate) mod hooks;
pub(crate) mod host_ports;
pub(crate) mod image;
pub(crate) mod kernel;
pub(crate) mod phase;
pub(crate) mod plan;
pub(crate) mod pod_level;
pub(crate) mod probing;
pub(crate) mod publish;
pub(crate) mod pull;
pub(crate) mod read_only;
pub(crate) mod record;
mod resize;
pub(crate) mod resources;
pub(crate) mod service_environment;
pub(crate) mod set_up;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod tokens;
pub(crate) mod unsupported;
pub(crate) mod worker;
