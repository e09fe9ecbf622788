use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use oci_spec::runtime::{
    LinuxCpu, LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxPids,
    LinuxResources,
};

use crate::{ContainerConfig, Device, Error, Result};

/// What Kubernetes measures CPU limits over, in microseconds.
const CPU_PERIOD: u64 = 100_000;
/// The kernel refuses smaller quotas, in microseconds.
const MIN_CPU_QUOTA: u64 = 1_000;
/// The kernel's bounds of the CPU weight in version 1, which runc converts for version 2.
const MIN_CPU_SHARES: u64 = 2;
const MAX_CPU_SHARES: u64 = 262_144;
/// How many nodes of `/dev` a privileged container gets.
const MAX_DEVICES: usize = 10_000;
/// How deep below `/dev` they may lie.
const MAX_DEVICE_DEPTH: usize = 4;

/// CPU, memory, processes and devices of a container.
pub(super) fn resources(config: &ContainerConfig) -> LinuxResources {
    let given = &config.resources;
    let mut resources = LinuxResources::default();

    let mut cpu = LinuxCpu::default();
    let shares = given.cpu_request_millis.saturating_mul(1024) / 1000;
    cpu.set_shares(Some(shares.clamp(MIN_CPU_SHARES, MAX_CPU_SHARES)));
    if given.cpu_limit_millis > 0 {
        let quota = given.cpu_limit_millis.saturating_mul(CPU_PERIOD) / 1000;
        cpu.set_quota(Some(signed(quota.max(MIN_CPU_QUOTA)))).set_period(Some(CPU_PERIOD));
    }
    resources.set_cpu(Some(cpu));

    if given.memory_limit_bytes > 0 {
        let mut memory = LinuxMemory::default();
        memory.set_limit(Some(signed(given.memory_limit_bytes)));
        resources.set_memory(Some(memory));
    }
    if given.pids_limit > 0 {
        let mut pids = LinuxPids::default();
        pids.set_limit(signed(given.pids_limit));
        resources.set_pids(Some(pids));
    }

    // runc allows the standard devices by itself.
    let mut devices = LinuxDeviceCgroup::default();
    devices.set_allow(config.security.privileged).set_access(Some("rwm".into()));
    let mut devices = vec![devices];
    for device in &config.devices {
        let Ok(found) = host_device(&device.host_path) else { continue };
        let mut allowed = LinuxDeviceCgroup::default();
        allowed
            .set_allow(true)
            .set_typ(Some(found.typ()))
            .set_major(Some(found.major()))
            .set_minor(Some(found.minor()))
            .set_access(Some(if device.read_only { "rm".into() } else { "rwm".into() }));
        devices.push(allowed);
    }
    resources.set_devices(Some(devices));
    resources
}

/// The devices that a container asks for.
///
/// # Errors
/// [`Error::InvalidConfig`] for what is no device.
pub(super) fn own_devices(config: &ContainerConfig) -> Result<Vec<LinuxDevice>> {
    let device = |device: &Device| {
        let path = &device.host_path;
        let mut found = host_device(path).map_err(|error| {
            Error::InvalidConfig(format!("{} is no device: {error}", path.display()))
        })?;
        found.set_path(device.container_path.clone()).set_file_mode(Some(0o660));
        Ok(found)
    };
    config.devices.iter().map(device).collect()
}

fn host_device(path: &Path) -> std::io::Result<LinuxDevice> {
    let metadata = std::fs::metadata(path)?;
    let kind = metadata.file_type();
    let kind = match (kind.is_char_device(), kind.is_block_device()) {
        (true, _) => LinuxDeviceType::C,
        (_, true) => LinuxDeviceType::B,
        _ => return Err(std::io::ErrorKind::InvalidInput.into()),
    };
    let mut device = LinuxDevice::default();
    device
        .set_path(path.to_owned())
        .set_typ(kind)
        .set_major(i64::from(rustix::fs::major(metadata.rdev())))
        .set_minor(i64::from(rustix::fs::minor(metadata.rdev())))
        .set_file_mode(Some(metadata.mode() & 0o7777))
        .set_uid(Some(metadata.uid()))
        .set_gid(Some(metadata.gid()));
    Ok(device)
}

/// The machine's devices, for a privileged container.
pub(super) fn host_devices() -> Vec<LinuxDevice> {
    let mut devices = Vec::new();
    collect_devices(Path::new("/dev"), 0, &mut devices);
    devices
}

/// What cannot be read is left out: devices come and go.
fn collect_devices(directory: &Path, depth: usize, devices: &mut Vec<LinuxDevice>) {
    /// Mounted anew in every container, or not devices of the machine.
    const LEFT_OUT: [&str; 8] =
        ["pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev", "console"];
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let Ok(metadata) = std::fs::symlink_metadata(entry.path()) else { continue };
        let kind = metadata.file_type();
        if kind.is_dir() && depth < MAX_DEVICE_DEPTH {
            collect_devices(&entry.path(), depth + 1, devices);
            continue;
        }
        if !kind.is_char_device() && !kind.is_block_device() {
            continue;
        }
        if devices.len() >= MAX_DEVICES {
            return;
        }
        devices.extend(host_device(&entry.path()).ok());
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Resources;

    #[test]
    fn requests_are_weights_and_limits_are_quotas() {
        let given = Resources {
            cpu_request_millis: 250,
            cpu_limit_millis: 1500,
            memory_limit_bytes: 64 << 20,
            pids_limit: 7,
            ..Resources::default()
        };
        let made = resources(&ContainerConfig { resources: given, ..ContainerConfig::default() });
        let cpu = made.cpu().clone().unwrap();
        assert_eq!((cpu.shares(), cpu.quota()), (Some(256), Some(150_000)));
        assert_eq!(made.memory().as_ref().unwrap().limit(), Some(64 << 20));
        assert_eq!(made.pids().as_ref().unwrap().limit(), 7);
    }

    #[test]
    fn nothing_asked_for_is_the_smallest_weight_and_no_limit() {
        let made = resources(&ContainerConfig::default());
        let cpu = made.cpu().clone().unwrap();
        assert_eq!((cpu.shares(), cpu.quota()), (Some(2), None));
        assert!(made.memory().is_none() && made.pids().is_none());
    }
}
