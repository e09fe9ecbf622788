use std::path::Path;

use oci_spec::runtime::{Mount, MountBuilder};

use super::Inputs;
use crate::{Error, Propagation, Result};

/// All mounts of a container in the order in which they are made.
pub(super) fn mounts(inputs: &Inputs<'_>) -> Result<Vec<Mount>> {
    let mut mounts = standard(inputs)?;
    mounts.extend(of_the_pod(inputs)?);
    mounts.extend(volumes(inputs)?);
    Ok(mounts)
}

fn standard(inputs: &Inputs<'_>) -> Result<Vec<Mount>> {
    let access = if inputs.config.security.privileged { "rw" } else { "ro" };
    let plain = ["nosuid", "noexec", "nodev"];
    Ok(vec![
        mount("/proc", "proc", "proc", &plain)?,
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"])?,
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
        )?,
        mount("/dev/mqueue", "mqueue", "mqueue", &plain)?,
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access])?,
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", access],
        )?,
    ])
}

/// `/dev/shm` and the files by which the pod finds itself and others. A volume in the same place
/// wins.
fn of_the_pod(inputs: &Inputs<'_>) -> Result<Vec<Mount>> {
    let files = inputs.files;
    let access = if inputs.config.security.read_only_root { "ro" } else { "rw" };
    let mut mounts = Vec::new();
    for (target, source) in [
        ("/etc/hosts", &files.hosts),
        ("/etc/hostname", &files.hostname),
        ("/etc/resolv.conf", &files.resolv_conf),
        ("/dev/shm", &files.shm),
    ] {
        let taken = inputs.config.mounts.iter().any(|m| m.container_path == Path::new(target));
        if !taken {
            let access = if target == "/dev/shm" { "rw" } else { access };
            mounts.push(mount(target, source, "bind", &["rbind", "rprivate", access])?);
        }
    }
    Ok(mounts)
}

fn volumes(inputs: &Inputs<'_>) -> Result<Vec<Mount>> {
    let config = inputs.config;
    let mut mounts = Vec::new();
    let mut volumes: Vec<_> = config.mounts.iter().collect();
    // A volume inside another must come after it.
    volumes.sort_by_key(|volume| volume.container_path.components().count());
    for volume in volumes {
        if !volume.container_path.is_absolute() {
            return Err(Error::InvalidConfig(format!(
                "mount path {} is not absolute",
                volume.container_path.display()
            )));
        }
        let propagation = match volume.propagation {
            Propagation::None => "rprivate",
            Propagation::HostToContainer => "rslave",
            Propagation::Bidirectional => "rshared",
        };
        let access = match volume {
            volume if volume.recursive_read_only => "rro",
            volume if volume.read_only => "ro",
            _ => "rw",
        };
        let options = ["rbind", propagation, access];
        mounts.push(mount(&volume.container_path, &volume.host_path, "bind", &options)?);
    }
    if !config.termination_message.as_os_str().is_empty() {
        let options = ["rbind", "rprivate", "rw"];
        let target = &config.termination_message_path;
        mounts.push(mount(target, &config.termination_message, "bind", &options)?);
    }
    Ok(mounts)
}

fn mount(
    target: impl AsRef<Path>,
    source: impl AsRef<Path>,
    kind: &str,
    options: &[&str],
) -> Result<Mount> {
    MountBuilder::default()
        .destination(target.as_ref())
        .source(source.as_ref())
        .typ(kind)
        .options(options.iter().map(|&option| option.to_owned()).collect::<Vec<_>>())
        .build()
        .map_err(|error| Error::InvalidConfig(error.to_string()))
}
