use std::{collections::HashSet, net::IpAddr, path::Path};

use async_trait::async_trait;
use ipnet::IpNet;

use crate::Error;

/// Gives pods their addresses and takes them back. Pods that ask for the host's network
/// (`hostNetwork`) have nothing to do with it.
///
/// Every method may be called from many tasks at once; calls about the same pod are done one after
/// the other. A future that is dropped half-way leaves a state that `detach` cleans up.
#[async_trait]
pub trait PodNetwork: Send + Sync {
    /// Connects a pod's network namespace and says which addresses it got, the primary first.
    ///
    /// Idempotent: a pod that is attached in the same namespace keeps what it has; one whose
    /// namespace was made anew is connected again with the same addresses.
    ///
    /// # Errors
    /// [`Error::AddressesExhausted`] until a pod goes; [`Error::NamespaceUnavailable`] when the
    /// path is wrong. After an error nothing of the attempt remains but, for a pod that had
    /// addresses before, its claim on them.
    async fn attach(&self, pod: &PodAttachment<'_>) -> Result<PodAddresses, Error>;

    /// Has ports of the machine lead to ports of a pod that is attached, instead of those that did
    /// before. They go with the pod.
    ///
    /// # Errors
    /// [`Error::Kernel`] where the kernel translates no addresses; [`Error::PortsShared`] where
    /// pods share the machine's addresses.
    async fn publish(&self, pod_uid: &str, ports: &[HostPort]) -> Result<(), Error>;

    /// Disconnects a pod and releases its addresses. Does nothing when the pod isn't attached, and
    /// works when its namespace is gone.
    async fn detach(&self, pod_uid: &str) -> Result<(), Error>;

    /// The pods that are attached now, by uid: also those attached before a restart of the
    /// program.
    async fn attached(&self) -> Result<Vec<AttachedPod>, Error>;

    /// Detaches pods that were attached before a restart and aren't among `known_uids`, and says
    /// which. Pods attached since the restart are left alone, known or not.
    async fn reconcile(&self, known_uids: &HashSet<String>) -> Result<Vec<String>, Error>;

    /// Ends the network: later `attach` calls fail with [`Error::Closed`]. With `leave`, pods keep
    /// their connections, to be adopted by the next engine; otherwise all of it is removed.
    async fn shutdown(&self, leave: bool) -> Result<(), Error>;

    /// The ranges that pods of this node get their addresses from, for the Node's
    /// `spec.podCIDRs`; empty where pods share the host's addresses.
    fn pod_cidrs(&self) -> Vec<IpNet>;
}

/// A pod that wants to be on the network.
#[derive(Clone, Copy, Debug)]
pub struct PodAttachment<'a> {
    /// The uid of the pod object.
    pub pod_uid: &'a str,
    /// The pinned network namespace, such as `/run/…/netns` or `/proc/…/ns/net`.
    pub namespace: &'a Path,
}

/// A port of the machine that leads to a port of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// What is spoken.
    pub protocol: Protocol,
    /// At which of the machine's addresses; at all when not set.
    pub address: Option<IpAddr>,
    /// The machine's port.
    pub port: u16,
    /// The pod's port.
    pub pod_port: u16,
}

/// What is spoken at a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// By the name that pods give it, `TCP`, `UDP` or `SCTP`.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Sctp].into_iter().find(|one| one.name() == name)
    }

    /// The name that pods give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }

    /// Its number in an IP header.
    #[cfg(target_os = "linux")]
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }
}

/// The addresses of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodAddresses {
    /// At most one address per family, the primary first, as in a pod's `status.podIPs`.
    pub ips: Vec<IpAddr>,
    /// Where the pod's default routes lead, by family as in `ips`; empty on the host's network.
    pub gateways: Vec<IpAddr>,
}

/// A pod and the addresses it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachedPod {
    /// The uid of the pod object.
    pub pod_uid: String,
    /// What it was given.
    pub addresses: PodAddresses,
}

const MAX_POD_UID_BYTES: usize = 64;

/// Uids end up in interface labels, which are short and have spaces as separators.
pub(crate) fn check_pod_uid(pod_uid: &str) -> Result<(), Error> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if (1..=MAX_POD_UID_BYTES).contains(&pod_uid.len()) && pod_uid.bytes().all(legal) {
        Ok(())
    } else {
        Err(Error::InvalidPodUid { pod_uid: pod_uid.to_owned() })
    }
}
