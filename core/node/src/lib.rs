//! The node agent: registers nodes, runs the pods that are bound to them, and tells the API what
//! becomes of them, as upstream's kubelet does.
//!
//! - [`NodeAgent`] serves the nodes of one process: this machine, or any number of simulated ones.
//! - [`NodeConfig`] names a node, what its pods may share, and the
//!   [`Runtime`](pinnace_runtime::Runtime) and [`PodNetwork`](pinnace_network::PodNetwork) that
//!   its pods are given.
//! - [`Nodes`] is how a server reaches the pods: for logs, commands and connections.
//!
//! It depends on the API alone for what is to be, and on the runtime alone for what is: it keeps
//! no files of its own but volumes and logs, so it can be stopped at any moment and another one
//! takes over what runs.

mod agent;
mod alarms;
mod checks;
mod config;
mod csi;
mod directory;
mod error;
mod eviction;
mod heartbeat;
mod host;
mod images;
mod kubelet_config;
mod logs;
mod machine;
mod measure;
mod node;
mod pod;
mod references;
mod runtimes;
mod slot;
mod sources;
mod static_pods;
mod volumes;

pub use agent::NodeAgent;
pub use config::{
    Capacity, Machine, NodeAgentConfig, NodeConfig, NodeSettings, PodPids, Reserved, Sight,
};
pub use directory::Nodes;
pub use error::{Error, Result};
pub use eviction::{Amount, Eviction, Signal, Threshold};
pub use images::ImageCollection;
pub use machine::machine_capacity;
pub use static_pods::StaticPods;
pub use volumes::remove_all as remove_volumes;
