use std::{io, path::PathBuf};

use ipnet::{IpNet, Ipv4Net};

/// Why the pod network couldn't do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The process lacks a privilege. Give it what `needs` names, or use a
    /// [`HostNetwork`](crate::HostNetwork).
    #[error("not permitted to {operation}: needs {needs}")]
    NotPermitted {
        /// What was tried.
        operation: &'static str,
        /// The capabilities that allow it.
        needs: &'static str,
    },
    /// The configuration can't work.
    #[error("invalid pod network configuration: {field}: {reason}")]
    InvalidConfig {
        /// The field at fault.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The pod's uid can't be recorded: it must be 1 to 64 letters, digits, `-`, `_` or `.`.
    #[error("pod uid {pod_uid:?} is not 1 to 64 letters, digits, '-', '_' or '.'")]
    InvalidPodUid {
        /// The uid as it was given.
        pod_uid: String,
    },
    /// The path doesn't lead to a network namespace.
    #[error("network namespace {} of pod {pod_uid} can't be entered", path.display())]
    NamespaceUnavailable {
        /// The pod whose namespace it should be.
        pod_uid: String,
        /// Where the namespace was expected.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The namespace already has an interface of the name that the pod's should get.
    #[error("network namespace {} of pod {pod_uid} already has an interface {interface}", path.display())]
    InterfaceExists {
        /// The pod whose namespace it is.
        pod_uid: String,
        /// The namespace.
        path: PathBuf,
        /// The interface that is in the way.
        interface: &'static str,
    },
    /// An interface has the bridge's name but isn't this engine's to use.
    #[error("interface {bridge} can't serve as the pod bridge: {reason}")]
    BridgeTaken {
        /// The bridge's name.
        bridge: String,
        /// Why it can't be adopted.
        reason: String,
    },
    /// The configured pod CIDR overlaps an address or a route of the machine.
    #[error("pod CIDR {cidr} overlaps {other} of {interface}")]
    CidrInUse {
        /// The configured CIDR.
        cidr: Ipv4Net,
        /// What it overlaps.
        other: Ipv4Net,
        /// The interface that has it.
        interface: String,
    },
    /// No private range is free for the pods; configure a CIDR.
    #[error("no free range for pods in the private address space")]
    NoFreeCidr,
    /// Every address of the pod CIDR is in use.
    #[error("all {capacity} pod addresses of {cidr} are in use")]
    AddressesExhausted {
        /// The pod CIDR.
        cidr: IpNet,
        /// How many pods it can hold.
        capacity: usize,
    },
    /// The kernel refused a step for a reason other than privilege.
    #[error("{operation} {interface} failed")]
    Kernel {
        /// The step.
        operation: &'static str,
        /// The interface it was about.
        interface: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// The file that remembers the pod CIDR can't be read or written.
    #[error("pod network state {} can't be used", path.display())]
    State {
        /// The file or folder.
        path: PathBuf,
        /// What the file system answered.
        source: io::Error,
    },
    /// Pods share the machine's addresses, so a port of the machine can only be the same port of
    /// the pod.
    #[error(
        "pods share the addresses of this machine, so port {port} cannot lead to port {pod_port}"
    )]
    PortsShared {
        /// The machine's port.
        port: u16,
        /// The pod's port.
        pod_port: u16,
    },
    /// The network was shut down.
    #[error("the pod network is shut down")]
    Closed,
    /// A thread of the network ended without an answer: a defect, reported rather than spread.
    #[error("the thread to {operation} ended early")]
    ThreadLost {
        /// What it was doing.
        operation: &'static str,
    },
}

impl Error {
    /// Whether this machine or user can't have a bridge network at all, so that falling back to
    /// the host's network is sensible: a missing privilege, or a kernel without bridges, virtual
    /// interfaces or netlink.
    pub fn is_unavailable(&self) -> bool {
        match self {
            Self::NotPermitted { .. } => true,
            #[cfg(target_os = "linux")]
            Self::Kernel { source, .. } => {
                use nix::errno::Errno;
                source.raw_os_error().is_some_and(|code| {
                    matches!(
                        Errno::from_raw(code),
                        Errno::EOPNOTSUPP
                            | Errno::EAFNOSUPPORT
                            | Errno::EPROTONOSUPPORT
                            | Errno::ENOSYS
                    )
                })
            }
            _ => false,
        }
    }
}
