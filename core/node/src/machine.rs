//! What there is to say of the machine that the program runs on.

use std::fs;
use std::path::Path;

use crate::config::{Capacity, MAX_PODS};
use crate::{Error, Result};

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

#[cfg(target_os = "linux")]
impl Capacity {
    /// What this machine has: its CPUs, its memory, the file system that `directory` is on, and
    /// 110 pods.
    ///
    /// # Errors
    /// [`Error::Io`] when the kernel does not say.
    pub fn of_this_machine(directory: &Path) -> Result<Self> {
        let cpus = std::thread::available_parallelism()
            .map_err(Error::io("counting the CPUs of", "/proc/self"))?;
        let path = "/proc/meminfo";
        let memory = fs::read_to_string(path).map_err(Error::io("reading", path))?;
        let memory = memory
            .lines()
            .find_map(|line| {
                line.strip_prefix("MemTotal:")?.trim().strip_suffix("kB")?.trim().parse().ok()
            })
            .map(|kibibytes: i64| kibibytes.saturating_mul(1024));
        let file_system = rustix::fs::statvfs(directory)
            .map_err(|error| Error::io("measuring the file system of", directory)(error.into()))?;
        let bytes = file_system.f_blocks.saturating_mul(file_system.f_frsize);
        Ok(Self {
            cpu_millis: i64::try_from(cpus.get()).unwrap_or(i64::MAX).saturating_mul(1000),
            memory_bytes: memory.unwrap_or(0),
            storage_bytes: i64::try_from(bytes).unwrap_or(i64::MAX),
            pods: MAX_PODS,
        })
    }
}
