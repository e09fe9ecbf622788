//! From a container's configuration to its running process.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::process::{PidfdFlags, Signal, pidfd_open};

use super::container::Container;
use super::credentials::Credentials;
use super::identity::boot_id;
use super::mounts::View;
use super::records::{self, StartRecord};
use super::spawn::{Hosts, Plan, Spawned, spawn};
use super::{Pod, Shared, command};
use crate::{
    ContainerConfig, ContainerPhase, Error, Mount, Propagation, Result, RuntimeEvent, Seccomp,
    signals,
};

/// Whether the configuration can be made into a process by this user.
pub(super) fn check(shared: &Shared, config: &ContainerConfig) -> Result<()> {
    let refuse = |message: &str| Err(Error::InvalidConfig(message.to_owned()));
    if command::arguments(config).is_empty() {
        return refuse(
            "no command specified: processes of the host have no image to take one from",
        );
    }
    if config.tty {
        return refuse("a terminal needs containerd");
    }
    if let Seccomp::Localhost(path) = &config.security.seccomp {
        return refuse(&format!("the seccomp profile {} needs containerd", path.display()));
    }
    if !config.security.app_armor.is_empty() {
        return refuse("an AppArmor profile needs containerd");
    }
    View::check(&volumes(config))?;
    if !shared.may_pin {
        if !needed_mounts(config).is_empty() {
            return refuse("volumes of processes need CAP_SYS_ADMIN (run as root)");
        }
        if config.security.read_only_root {
            return refuse("readOnlyRootFilesystem of processes needs CAP_SYS_ADMIN (run as root)");
        }
    }
    Credentials::plan(&config.security)?;
    stop_signal(config).map(drop)
}

/// The signal that asks the container to stop.
pub(super) fn stop_signal(config: &ContainerConfig) -> Result<Signal> {
    let name = if config.stop_signal.is_empty() { "SIGTERM" } else { &config.stop_signal };
    signals::from_number(signals::parse(name)?)
        .ok_or_else(|| Error::InvalidConfig(format!("unknown signal {name:?}")))
}

/// Starts a created container. Runs as a task of the runtime: a caller that goes away does not
/// leave it half done.
pub(super) async fn start(
    shared: Arc<Shared>,
    pod: Arc<Pod>,
    container: Arc<Container>,
) -> Result<()> {
    let _operation = container.operation.lock().await;
    let failed = |message: String| Error::Start { container: container.id.0.clone(), message };
    match &*container.phase.borrow() {
        ContainerPhase::Created => {}
        ContainerPhase::Running { .. } => return Ok(()),
        ContainerPhase::Exited(exit) => {
            let message =
                if exit.message.is_empty() { "it has exited" } else { exit.message.as_str() };
            return Err(failed(message.to_owned()));
        }
    }
    // Files of an earlier attempt that the host did not survive.
    let _ = tokio::fs::remove_file(container.files.notes()).await;
    let plan = plan(&shared, &pod, &container)?;
    let pump = shared.pumps.start(container.log_files()).await?;
    *container.pump.lock() = Some(pump);

    let record = StartRecord { started_at: shared.env.now(), boot_id: boot_id() };
    let (path, started_at) = (container.files.started(), record.started_at);
    let spawned = tokio::task::spawn_blocking(move || {
        spawn(plan, || records::write(&path, &record).map_err(std::io::Error::other))
    });
    match spawned.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(spawned) => running(&shared, &container, &spawned, started_at),
        Err(message) => {
            let pump = container.pump.lock().take();
            if let Some(pump) = pump {
                pump.finish().await?;
            }
            container.set_failed(shared.env.now(), &message);
            Err(failed(message))
        }
    }
}

fn running(
    shared: &Arc<Shared>,
    container: &Arc<Container>,
    spawned: &Spawned,
    started_at: jiff::Timestamp,
) -> Result<()> {
    // Our child and not reaped: the number is its own even if it has ended already. Unless the
    // host waits for any child it has; then there is nothing to watch any more.
    let pid = spawned.supervisor.raw();
    let handle = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    container.phase.send_replace(ContainerPhase::Running { started_at, pid: spawned.process.pid });
    shared.send(RuntimeEvent::Started {
        pod: container.pod.clone(),
        container: container.id.clone(),
    });
    container.follow(shared, spawned.supervisor, handle)
}

pub(super) fn hostname(pod: &Pod) -> String {
    if pod.namespaces.uts.is_some() {
        pod.record.config.hostname.clone()
    } else {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }
}

fn plan(shared: &Shared, pod: &Pod, container: &Container) -> Result<Plan> {
    let config = &container.record.config;
    let files = &container.files;
    let log = container.log_files();
    let hostname = hostname(pod);
    let mut mounts = if shared.may_pin { volumes(config) } else { needed_mounts(config) };
    let mut hosts = None;
    if shared.may_pin && pod.namespaces.network.is_some() {
        let own = |path: PathBuf, place: &str| Mount {
            host_path: path,
            container_path: place.into(),
            read_only: false,
            recursive_read_only: false,
            propagation: Propagation::None,
        };
        let taken =
            |place: &str| mounts.iter().any(|mount| mount.container_path.as_os_str() == place);
        let mut more = Vec::new();
        if !pod.record.config.resolv_conf.is_empty() && !taken("/etc/resolv.conf") {
            more.push(own(pod.resolv_conf(), "/etc/resolv.conf"));
        }
        if !pod.record.config.hosts.is_empty() && !taken("/etc/hosts") {
            let (text, names) = (pod.record.config.hosts.clone(), pod.record.config.host_names());
            hosts = Some(Hosts { path: files.hosts(), text, names });
            more.push(own(files.hosts(), "/etc/hosts"));
        }
        mounts.extend(more);
    }
    make_termination_message(config)?;
    let stdin = config.stdin.then(|| files.stdin());
    if let Some(pipe) = &stdin {
        make_pipe(pipe)?;
    }
    if let Some(cgroup) = &container.cgroup {
        cgroup.create(&config.resources)?;
    }
    let working_directory =
        if config.working_dir.is_empty() { "/" } else { config.working_dir.as_str() };
    let pod_config = &pod.record.config;
    Ok(Plan {
        title: format!("pinnace {}/{}/{}", pod_config.namespace, pod_config.name, config.name),
        arguments: command::arguments(config),
        environment: command::environment(config, &hostname),
        working_directory: working_directory.into(),
        stop_signal: signals::parse(if config.stop_signal.is_empty() {
            "SIGTERM"
        } else {
            &config.stop_signal
        })?,
        notes: files.notes(),
        stdin,
        stdout: log.stdout,
        stderr: log.stderr,
        namespaces: pod.namespaces.clone(),
        hosts,
        view: View {
            mounts,
            read_only_root: config.security.read_only_root,
            pods: shared.pods_directory(),
            staging: files.staging(),
        },
        credentials: Credentials::plan(&config.security)?,
        cgroup: container.cgroup.clone(),
        oom_score_adj: config.resources.oom_score_adj,
        dumpable: shared.dumpable,
    })
}

/// The volumes, and the file for the termination message in its place.
fn volumes(config: &ContainerConfig) -> Vec<Mount> {
    let mut mounts = config.mounts.clone();
    let message = &config.termination_message;
    if !message.as_os_str().is_empty() && !config.termination_message_path.as_os_str().is_empty() {
        mounts.push(Mount {
            host_path: message.clone(),
            container_path: config.termination_message_path.clone(),
            read_only: false,
            recursive_read_only: false,
            propagation: Propagation::None,
        });
    }
    mounts
}

/// The volumes that are not already where they should be.
fn needed_mounts(config: &ContainerConfig) -> Vec<Mount> {
    let in_place = |mount: &&Mount| mount.read_only || mount.host_path != mount.container_path;
    config.mounts.iter().filter(in_place).cloned().collect()
}

fn make_pipe(path: &std::path::Path) -> Result<()> {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    match mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(errno) => {
            Err(Error::Io { operation: format!("make {}", path.display()), source: errno.into() })
        }
    }
}

/// Its user is anybody.
fn make_termination_message(config: &ContainerConfig) -> Result<()> {
    let path = &config.termination_message;
    if path.as_os_str().is_empty() || path.exists() {
        return Ok(());
    }
    File::create(path)
        .and_then(|file| file.set_permissions(Permissions::from_mode(0o666)))
        .map_err(|source| Error::Io { operation: format!("make {}", path.display()), source })
}
