//! The OCI runtime specification of a container, with containerd's defaults for Kubernetes.
//!
//! A pod that names no seccomp profile runs `Unconfined`, as upstream does unless the kubelet was
//! told otherwise.

mod capabilities;
mod limits;
mod mounts;
mod process;
mod seccomp;
mod user;

use std::collections::HashMap;
use std::path::PathBuf;

use oci_spec::image::ImageConfiguration;
use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType, RootBuilder, Spec};

pub(super) use user::{UserRequest, check_non_root, resolve_user};

use crate::cgroup::Version;
use crate::namespaces::Namespaces;
use crate::{ContainerConfig, Error, PodConfig, Propagation, Result};

/// What runc 1.1 and all later ones understand.
const OCI_VERSION: &str = "1.0.2";
/// The shim serves all containers with the same value, so a pod has one shim.
const GROUP_ANNOTATION: &str = "io.containerd.runc.v2.group";

const MASKED_PATHS: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY_PATHS: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// A user as numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// The supplementary groups, the primary one included.
    pub(super) groups: Vec<u32>,
}

/// The files of a pod that its containers see.
#[derive(Clone, Debug)]
pub(super) struct PodFiles {
    pub(super) hosts: PathBuf,
    pub(super) hostname: PathBuf,
    pub(super) resolv_conf: PathBuf,
    pub(super) shm: PathBuf,
}

/// All that a specification is made from.
pub(super) struct Inputs<'a> {
    pub(super) pod: &'a PodConfig,
    pub(super) files: &'a PodFiles,
    pub(super) namespaces: &'a Namespaces,
    /// A PID namespace to join instead of a new one.
    pub(super) pid_namespace: Option<PathBuf>,
    pub(super) cgroup_path: String,
    pub(super) cgroup_version: Version,
    /// What containerd may not go below.
    pub(super) lowest_oom_score: i32,
    pub(super) config: &'a ContainerConfig,
    pub(super) image: &'a ImageConfiguration,
    pub(super) user: User,
}

/// Makes the specification of a container.
pub(super) fn build(inputs: &Inputs<'_>) -> Result<Spec> {
    let security = &inputs.config.security;
    let root = RootBuilder::default()
        .path("rootfs")
        .readonly(security.read_only_root)
        .build()
        .map_err(|error| Error::InvalidConfig(error.to_string()))?;

    let mut linux = Linux::default();
    linux
        .set_namespaces(Some(namespaces(inputs)))
        .set_cgroups_path(Some(inputs.cgroup_path.clone().into()))
        .set_resources(Some(limits::resources(inputs.config)))
        .set_rootfs_propagation(rootfs_propagation(inputs.config));
    let mut devices = limits::own_devices(inputs.config)?;
    if security.privileged {
        devices.extend(limits::host_devices());
    }
    linux.set_devices(Some(devices));
    if security.privileged {
        linux.set_masked_paths(None).set_readonly_paths(None);
    } else {
        let granted = capabilities::granted(security)?;
        linux.set_seccomp(seccomp::filter(&security.seccomp, granted)?);
    }
    if security.unmasked_proc && !security.privileged {
        linux.set_masked_paths(None).set_readonly_paths(None);
    } else if !security.privileged {
        linux
            .set_masked_paths(Some(MASKED_PATHS.map(str::to_owned).to_vec()))
            .set_readonly_paths(Some(READ_ONLY_PATHS.map(str::to_owned).to_vec()));
    }

    let annotations = HashMap::from([(GROUP_ANNOTATION.to_owned(), inputs.pod.id.clone())]);
    let mut spec = Spec::default();
    spec.set_version(OCI_VERSION.to_owned())
        .set_root(Some(root))
        .set_hostname(None)
        .set_mounts(Some(mounts::mounts(inputs)?))
        .set_process(Some(process::process(inputs)?))
        .set_annotations(Some(annotations))
        .set_linux(Some(linux));
    Ok(spec)
}

fn namespaces(inputs: &Inputs<'_>) -> Vec<LinuxNamespace> {
    let namespace = |kind, path: Option<PathBuf>| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind).set_path(path);
        namespace
    };
    let mut all = vec![namespace(LinuxNamespaceType::Mount, None)];
    let pod = inputs.namespaces;
    for (kind, path) in [
        (LinuxNamespaceType::Network, &pod.network),
        (LinuxNamespaceType::Ipc, &pod.ipc),
        (LinuxNamespaceType::Uts, &pod.uts),
    ] {
        all.extend(path.clone().map(|path| namespace(kind, Some(path))));
    }
    if !inputs.pod.host_pid {
        all.push(namespace(LinuxNamespaceType::Pid, inputs.pid_namespace.clone()));
    }
    // In version 1 the cgroup mount shows the machine's paths, as containerd has it.
    if inputs.cgroup_version == Version::V2 && !inputs.config.security.privileged {
        all.push(namespace(LinuxNamespaceType::Cgroup, None));
    }
    all
}

/// Mounts propagate no further than the root's own propagation lets them.
fn rootfs_propagation(config: &ContainerConfig) -> Option<String> {
    let has = |kind| config.mounts.iter().any(|mount| mount.propagation == kind);
    if has(Propagation::Bidirectional) {
        Some("rshared".into())
    } else if has(Propagation::HostToContainer) {
        Some("rslave".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
