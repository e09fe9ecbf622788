//! What there is to say of the machine that the program runs on.

use std::fs;
use std::path::Path;

use crate::config::{Capacity, MAX_PODS};

/// What a Node says of its machine.
pub(crate) struct Facts {
    pub(crate) machine_id: String,
    pub(crate) system_uuid: String,
    pub(crate) boot_id: String,
    pub(crate) kernel_version: String,
    pub(crate) os_image: String,
}

impl Facts {
    /// The facts of a machine that does not exist.
    pub(crate) fn simulated(name: &str) -> Self {
        Self {
            machine_id: name.to_owned(),
            system_uuid: name.to_owned(),
            boot_id: name.to_owned(),
            kernel_version: "simulated".to_owned(),
            os_image: "simulated".to_owned(),
        }
    }

    /// The facts of this machine; empty where they cannot be read.
    pub(crate) fn of_this_machine() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let machine_id = read("/etc/machine-id");
        let system_uuid = read("/sys/class/dmi/id/product_uuid");
        let os = read("/etc/os-release");
        let name = os.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
        Self {
            system_uuid: if system_uuid.is_empty() { machine_id.clone() } else { system_uuid },
            machine_id,
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            kernel_version: read("/proc/sys/kernel/osrelease"),
            os_image: name.unwrap_or_default().trim_matches('"').to_owned(),
        }
    }
}

/// What this machine has for pods: its CPUs, its memory, the file system that `directory` is on,
/// and 110 pods, as upstream. What the machine does not tell is nothing.
pub fn machine_capacity(directory: &Path) -> Capacity {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory.lines().find_map(|line| {
        line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse::<i64>().ok()
    });
    Capacity {
        cpu_millis: i64::try_from(cpus).unwrap_or(i64::MAX).saturating_mul(1000),
        memory_bytes: total.unwrap_or(0).saturating_mul(1024),
        storage_bytes: file_system_size(directory),
        pods: MAX_PODS,
    }
}

#[cfg(target_os = "linux")]
fn file_system_size(directory: &Path) -> i64 {
    let size = rustix::fs::statvfs(directory)
        .map_or(0, |found| found.f_blocks.saturating_mul(found.f_frsize));
    i64::try_from(size).unwrap_or(i64::MAX)
}

#[cfg(not(target_os = "linux"))]
fn file_system_size(_directory: &Path) -> i64 {
    0
}
