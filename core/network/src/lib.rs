//! The pod network: an address of its own for each pod of a node.
//!
//! The node agent talks to one [`PodNetwork`] and never asks which:
//!
//! - [`BridgeNetwork`] (Linux) gives each pod a virtual interface on a bridge of the node, so that
//!   the host and the node's other pods reach it. It needs `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`, no
//!   external program, and changes no setting of the machine.
//! - [`HostNetwork`] is for where that isn't permitted: pods share the machine's addresses.
//! - [`SimulatedNetwork`] hands out addresses without touching the kernel, for simulated nodes.
//!
//! ```
//! # use std::path::Path;
//! # use pinnace_network::{Error, PodAttachment, PodNetwork, SimulatedNetwork};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Error> {
//! let network = SimulatedNetwork::new("10.244.0.0/24".parse().expect("a CIDR"))?;
//! let pod = PodAttachment { pod_uid: "7c1e", namespace: Path::new("/run/pods/7c1e/netns") };
//! let addresses = network.attach(&pod).await?;
//! assert_eq!(addresses.ips[0].to_string(), "10.244.0.2");
//! network.detach("7c1e").await?;
//! # Ok(())
//! # }
//! ```

mod address_pool;
#[cfg(target_os = "linux")]
mod bridge;
mod error;
mod host;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod netlink;
#[cfg(target_os = "linux")]
mod nftables;
mod pod_network;
mod simulated;

#[cfg(target_os = "linux")]
pub use bridge::{BridgeConfig, BridgeNetwork, POD_INTERFACE};
pub use error::Error;
pub use host::HostNetwork;
pub use ipnet::{IpNet, Ipv4Net, Ipv6Net};
#[cfg(target_os = "linux")]
pub use machine::machine_addresses;
pub use pod_network::{AttachedPod, HostPort, PodAddresses, PodAttachment, PodNetwork, Protocol};
pub use simulated::SimulatedNetwork;
