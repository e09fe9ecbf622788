//! Making and removing what the containers of a pod share.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::join_all;
use parking_lot::Mutex;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::records::{self, PodPaths, PodRecord};
use super::spec::PodFiles;
use super::{Core, addresses};
use crate::namespaces::{self, NamespaceConfig, Namespaces};
use crate::{Error, PodConfig, PodId, PodSandbox, Result};

/// Bytes of a pod's `/dev/shm`, as containerd has it.
const SHM_OPTIONS: &std::ffi::CStr = c"mode=1777,size=65536k";
const MACHINE_SHM: &str = "/dev/shm";

const DEFAULT_HOSTS: &str = "# Kubernetes-managed hosts file.\n\
    127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::0\tip6-localnet\n\
    fe00::0\tip6-mcastprefix\n\
    fe00::1\tip6-allnodes\n\
    fe00::2\tip6-allrouters\n";

/// A pod that exists.
pub(super) struct Pod {
    pub(super) record: PodRecord,
    pub(super) paths: PodPaths,
    pub(super) namespaces: Mutex<Namespaces>,
    /// Held while a task is made: the pod's containers share a shim, and two that make it at once
    /// would fight for its socket.
    pub(super) shim: tokio::sync::Mutex<()>,
    /// Whether `/etc/hosts` has the pod's own line.
    hosts_complete: std::sync::atomic::AtomicBool,
}

impl Pod {
    pub(super) fn new(record: PodRecord, paths: PodPaths) -> Self {
        let namespaces = Mutex::new(namespaces::pinned(&paths.namespaces()));
        Self {
            record,
            paths,
            namespaces,
            shim: tokio::sync::Mutex::default(),
            hosts_complete: false.into(),
        }
    }

    pub(super) fn id(&self) -> PodId {
        PodId(self.config().id.clone())
    }

    pub(super) fn config(&self) -> &PodConfig {
        &self.record.config
    }

    pub(super) fn sandbox(&self) -> PodSandbox {
        PodSandbox {
            id: self.id(),
            network_namespace: self.namespaces.lock().network.clone(),
            created_at: self.record.created_at,
        }
    }

    pub(super) fn files(&self) -> PodFiles {
        let shm = if self.config().host_ipc { MACHINE_SHM.into() } else { self.paths.shm() };
        PodFiles {
            hosts: self.paths.hosts(),
            hostname: self.paths.hostname(),
            resolv_conf: self.paths.resolv_conf(),
            shm,
        }
    }

    /// Whether all namespaces that the pod should have are there: a reboot takes them.
    pub(super) fn is_whole(&self) -> bool {
        let found = namespaces::pinned(&self.paths.namespaces());
        let config = self.config();
        found.network.is_some() != config.host_network
            && found.ipc.is_some() != config.host_ipc
            && found.uts.is_some() == has_own_name(config)
            && (config.host_ipc || is_mounted(&self.paths.shm()))
            && self.paths.resolv_conf().exists()
    }

    /// Adds the pod's own line to its `/etc/hosts`, once its network is set up. Blocks.
    pub(super) fn complete_hosts(&self) -> Result<()> {
        use std::sync::atomic::Ordering;
        let namespace = self.namespaces.lock().network.clone();
        let Some(namespace) = namespace else { return Ok(()) };
        if self.hosts_complete.load(Ordering::Relaxed) {
            return Ok(());
        }
        let addresses = addresses::addresses(&namespace)?;
        if addresses.is_empty() {
            return Ok(());
        }
        let config = self.config();
        let mut text = hosts(config);
        for address in addresses {
            text.push_str(&format!("{address}\t{}\n", config.host_names()));
        }
        write(&self.paths.hosts(), &text)?;
        self.hosts_complete.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Core {
    pub(super) async fn create_pod(self: &Arc<Self>, config: &PodConfig) -> Result<PodSandbox> {
        check_uid(&config.id)?;
        let id = PodId(config.id.clone());
        // One at a time for the same pod: repeating is allowed, doing it twice at once is not.
        let making = self.table.making(&id);
        let _making = making.lock().await;
        if let Some(pod) = self.table.pod(&id)
            && pod.is_whole()
        {
            return Ok(pod.sandbox());
        }
        self.shim(&config.runtime_handler)?;
        // What is left of a pod that has lost something lives in what nobody else can join.
        self.remove_containers(&id).await?;
        let record = PodRecord { config: config.clone(), created_at: self.env.now() };
        let core = self.clone();
        let pod = super::blocking(move || core.make_pod(record)).await?;
        let sandbox = pod.sandbox();
        self.table.insert_pod(pod);
        Ok(sandbox)
    }

    async fn remove_containers(self: &Arc<Self>, pod: &PodId) -> Result<()> {
        let containers = self.table.containers_of(pod);
        let removals =
            containers.into_iter().map(|container| async move { self.remove(&container).await });
        join_all(removals).await.into_iter().collect()
    }

    /// Blocks for some milliseconds.
    fn make_pod(&self, record: PodRecord) -> Result<Pod> {
        let config = &record.config;
        let paths = PodPaths::new(&self.state_dir, &config.id);
        for directory in [paths.root.clone(), paths.view(), paths.root.join("containers")] {
            make_directory(&directory)?;
        }
        write(&paths.hosts(), &hosts(config))?;
        write(&paths.hostname(), &format!("{}\n", config.hostname))?;
        write(&paths.resolv_conf(), &resolv_conf(config))?;
        namespaces::pin(
            &paths.namespaces(),
            &NamespaceConfig {
                network: !config.host_network,
                ipc: !config.host_ipc,
                hostname: if has_own_name(config) {
                    config.hostname.clone()
                } else {
                    String::new()
                },
                sysctls: config.sysctls.clone(),
            },
        )?;
        if !config.host_ipc {
            mount_shm(&paths.shm())?;
        }
        self.cgroups.create_pod(&config.id, config.qos_class, &config.resources)?;
        // Last: a pod that is written down is whole.
        records::write(&paths.record(), &record)?;
        Ok(Pod::new(record, paths))
    }

    pub(super) async fn remove_pod(self: &Arc<Self>, id: &PodId) -> Result<()> {
        check_uid(&id.0)?;
        let making = self.table.making(id);
        let _making = making.lock().await;
        self.remove_containers(id).await?;
        let pod = self.table.pod(id);
        let paths = PodPaths::new(&self.state_dir, &id.0);
        self.unmount_images(&paths).await?;
        let core = self.clone();
        let uid = id.0.clone();
        super::blocking(move || {
            namespaces::unpin(&paths.namespaces())?;
            unmount_all(&paths.shm())?;
            // A pod whose record was lost may be in any branch.
            let known = pod.map(|pod| pod.config().qos_class);
            for class in known.map_or_else(|| ALL_CLASSES.to_vec(), |class| vec![class]) {
                core.cgroups.remove_pod(&uid, class)?;
            }
            match std::fs::remove_dir_all(&paths.root) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                other => other.map_err(|e| failed("remove", &paths.root, e)),
            }
        })
        .await?;
        self.table.remove_pod(id);
        Ok(())
    }
}

const ALL_CLASSES: [crate::QosClass; 3] =
    [crate::QosClass::Guaranteed, crate::QosClass::Burstable, crate::QosClass::BestEffort];

/// The uid names a directory and a cgroup.
fn check_uid(uid: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let usable = !uid.is_empty() && uid.len() <= 128 && uid.chars().all(fine);
    if usable && !uid.starts_with('.') {
        Ok(())
    } else {
        Err(Error::InvalidConfig(format!("invalid pod uid {uid:?}")))
    }
}

/// A pod on the machine's network has the machine's name.
fn has_own_name(config: &PodConfig) -> bool {
    !config.host_network && !config.hostname.is_empty()
}

fn hosts(config: &PodConfig) -> String {
    if !config.hosts.is_empty() {
        let end = if config.hosts.ends_with('\n') { "" } else { "\n" };
        return format!("{}{end}", config.hosts);
    }
    if config.host_network {
        return std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    }
    DEFAULT_HOSTS.to_owned()
}

fn resolv_conf(config: &PodConfig) -> String {
    if config.resolv_conf.is_empty() {
        std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default()
    } else {
        config.resolv_conf.clone()
    }
}

fn mount_shm(path: &Path) -> Result<()> {
    make_directory(path)?;
    if is_mounted(path) {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("shm", path, "tmpfs", flags, Some(SHM_OPTIONS))
        .map_err(|errno| failed("mount", path, errno.into()))
}

fn unmount_all(path: &Path) -> Result<()> {
    while is_mounted(path) {
        unmount(path, UnmountFlags::DETACH).map_err(|e| failed("unmount", path, e.into()))?;
    }
    Ok(())
}

/// Whether a directory is of another file system than the one it lies in.
fn is_mounted(path: &Path) -> bool {
    let device = |path: &Path| std::fs::metadata(path).map(|metadata| metadata.dev()).ok();
    path.parent().is_some_and(|parent| device(path).is_some_and(|own| Some(own) != device(parent)))
}

fn make_directory(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| failed("make", path, error))
}

/// In place, so that a file which is already mounted into containers changes for them too.
fn write(path: &PathBuf, text: &str) -> Result<()> {
    std::fs::write(path, text).map_err(|error| failed("write", path, error))
}

fn failed(verb: &str, path: &Path, source: std::io::Error) -> Error {
    Error::Io { operation: format!("{verb} {}", path.display()), source }
}
