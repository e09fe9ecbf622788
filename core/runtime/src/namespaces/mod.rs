//! A pod's network, IPC and UTS namespaces, pinned as bind mounts in a directory of the pod.
//!
//! A namespace lives as long as something refers to it. Here that is a bind mount of its
//! `/proc/thread-self/ns` link, as `ip netns` does it, so that no process need stay behind for
//! the pod and a restarted host finds the namespaces where it left them.
//!
//! Everything happens on a thread that is made for one call and then ends: the threads of the
//! host never leave their namespaces.

mod connect;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{AtFlags, CWD, StatxFlags, statfs, statx};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, UnmountFlags, mount_bind, mount_change, unmount};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

pub(crate) use connect::connect;

use crate::{Error, Result};

/// Which namespaces to make for a pod and how to set them up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamespaceConfig {
    /// A network namespace, with its loopback device up.
    pub network: bool,
    /// An IPC namespace.
    pub ipc: bool,
    /// A UTS namespace with this host name; none when empty.
    pub hostname: String,
    /// Kernel parameters that belong to these namespaces.
    pub sysctls: BTreeMap<String, String>,
}

/// Where a pod's namespaces are pinned; `None` where the pod shares the machine's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// The network namespace.
    pub network: Option<PathBuf>,
    /// The IPC namespace.
    pub ipc: Option<PathBuf>,
    /// The UTS namespace.
    pub uts: Option<PathBuf>,
}

/// The file system type of namespace files, `NSFS_MAGIC` of `linux/magic.h`.
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// The three kinds, by the name of their file in the pod's directory and in `/proc/*/ns`.
const KINDS: [(&str, CloneFlags); 3] = [
    ("net", CloneFlags::CLONE_NEWNET),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
];

/// Whether this process may pin namespaces here.
///
/// # Errors
/// Says which privilege is missing.
pub fn can_pin() -> Result<()> {
    // A UTS namespace is the cheapest of the three and needs the same privilege.
    on_own_thread("make namespaces", || {
        unshare(CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWNS)
            .map_err(|errno| privilege("make namespaces", errno.into()))
    })
}

/// Makes the namespaces that `config` asks for and that `directory` does not hold yet, sets them
/// up, and pins them. A pinned namespace has been set up completely. Blocks for some
/// milliseconds, most of it in the kernel.
///
/// # Errors
/// [`Error::InvalidConfig`] for a kernel parameter that isn't one of these namespaces';
/// [`Error::Other`] when the privilege is missing.
pub fn pin(directory: &Path, config: &NamespaceConfig) -> Result<Namespaces> {
    for name in config.sysctls.keys() {
        check_sysctl(name, config)?;
    }
    let wanted = wanted(config);
    fs::create_dir_all(directory).map_err(|e| failed("make", directory, e))?;
    let missing: Vec<_> =
        wanted.into_iter().filter(|(name, _)| !is_pinned(&directory.join(name))).collect();
    if !missing.is_empty() {
        let (directory, config) = (directory.to_path_buf(), config.clone());
        on_own_thread("pin pod namespaces", move || make(&directory, &config, &missing))?;
    }
    Ok(pinned(directory))
}

/// The namespaces that are pinned in `directory`.
pub fn pinned(directory: &Path) -> Namespaces {
    let find = |name: &str| Some(directory.join(name)).filter(|path| is_pinned(path));
    Namespaces { network: find("net"), ipc: find("ipc"), uts: find("uts") }
}

/// Lets go of the namespaces pinned in `directory` and removes it if nothing else is in it.
///
/// # Errors
/// [`Error::Other`] when the privilege is missing, [`Error::Io`] otherwise.
pub fn unpin(directory: &Path) -> Result<()> {
    for (name, _) in KINDS {
        let path = directory.join(name);
        // More than one mount may lie here when two callers pinned at once.
        while is_pinned(&path) {
            unmount(&path, UnmountFlags::DETACH)
                .map_err(|errno| privilege("unpin pod namespaces", errno.into()))?;
        }
        ignore_missing(fs::remove_file(&path)).map_err(|e| failed("remove", &path, e))?;
    }
    match fs::remove_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        other => ignore_missing(other).map_err(|e| failed("remove", directory, e)),
    }
}

/// Makes `directory` a shared mount of itself, if it isn't one. What is pinned below it and let
/// go later is then let go in every mount namespace that has been copied meanwhile, too: a copy
/// would keep the pinned namespace alive.
pub(crate) fn share(directory: &Path) -> Result<()> {
    if is_mount(directory) {
        return Ok(());
    }
    mount_bind(directory, directory)
        .and_then(|()| mount_change(directory, MountPropagationFlags::SHARED))
        .map_err(|errno| privilege("share pod namespaces", errno.into()))
}

/// Undoes [`share`], unless something is still pinned below.
pub(crate) fn unshare_empty(directory: &Path) {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let below = format!(" {}/", directory.display());
    if mounts.contains(&below) {
        return;
    }
    // Lazily: a mount namespace that is just being taken down may still hold its copy.
    while is_mount(directory) && unmount(directory, UnmountFlags::DETACH).is_ok() {}
}

pub(crate) fn is_mount(directory: &Path) -> bool {
    const ATTRIBUTE_MOUNT_ROOT: u64 = 0x2000;
    let found = statx(CWD, directory, AtFlags::empty(), StatxFlags::BASIC_STATS);
    found.is_ok_and(|found| found.stx_attributes.bits() & ATTRIBUTE_MOUNT_ROOT != 0)
}

/// Moves the calling thread into the pinned namespaces. Only for threads of our own.
pub(crate) fn enter(namespaces: &Namespaces) -> Result<()> {
    let all = [
        (&namespaces.network, LinkNameSpaceType::Network),
        (&namespaces.ipc, LinkNameSpaceType::InterProcessCommunication),
        (&namespaces.uts, LinkNameSpaceType::HostNameAndNISDomainName),
    ];
    for (path, kind) in all {
        let Some(path) = path else { continue };
        let file = File::open(path).map_err(|e| failed("open", path, e))?;
        move_into_link_name_space(file.as_fd(), Some(kind))
            .map_err(|errno| privilege("enter pod namespaces", errno.into()))?;
    }
    Ok(())
}

/// Runs `work` on a thread of its own, whose changed namespaces and credentials end with it.
pub(crate) fn on_own_thread<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let thread = std::thread::Builder::new()
        .name("pinnace-pod".into())
        .spawn(work)
        .map_err(|source| Error::Io { operation: operation.into(), source })?;
    thread.join().unwrap_or_else(|_| {
        Err(Error::Other { operation: operation.into(), message: "its thread panicked".into() })
    })
}

fn wanted(config: &NamespaceConfig) -> Vec<(&'static str, CloneFlags)> {
    let uts = !config.hostname.is_empty();
    let asked = [config.network, config.ipc, uts];
    KINDS.into_iter().zip(asked).filter_map(|(kind, asked)| asked.then_some(kind)).collect()
}

/// Runs on a thread of its own. Mounts last: what is pinned has been set up.
fn make(
    directory: &Path,
    config: &NamespaceConfig,
    missing: &[(&'static str, CloneFlags)],
) -> Result<()> {
    const PIN: &str = "pin pod namespaces";
    enter(&pinned(directory))?;
    let flags = missing.iter().fold(CloneFlags::empty(), |all, (_, flag)| all | *flag);
    unshare(flags).map_err(|errno| privilege(PIN, errno.into()))?;
    if flags.contains(CloneFlags::CLONE_NEWNET) {
        bring_up_loopback().map_err(|e| privilege("bring up loopback", e))?;
    }
    if flags.contains(CloneFlags::CLONE_NEWUTS) {
        rustix::system::sethostname(config.hostname.as_bytes())
            .map_err(|errno| privilege("set host name", errno.into()))?;
    }
    for (name, value) in &config.sysctls {
        let path = Path::new("/proc/sys").join(sysctl_path(name));
        fs::write(&path, value)
            .map_err(|e| Error::InvalidConfig(format!("sysctl {name}={value}: {e}")))?;
    }
    for (name, _) in missing {
        let path = directory.join(name);
        File::create(&path).map_err(|e| failed("make", &path, e))?;
        mount_bind(format!("/proc/thread-self/ns/{name}"), &path)
            .map_err(|errno| privilege(PIN, errno.into()))?;
    }
    Ok(())
}

fn is_pinned(path: &Path) -> bool {
    // The type's width differs between architectures.
    #[allow(clippy::unnecessary_cast, reason = "i64 here, i32 or u32 elsewhere")]
    statfs(path).is_ok_and(|found| found.f_type as i64 == NSFS_MAGIC)
}

/// Sends `RTM_NEWLINK` with `IFF_UP` for device 1, which is `lo` in every network namespace.
fn bring_up_loopback() -> io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const REQUEST_AND_ACKNOWLEDGE: u16 = 0x1 | 0x4;
    const IFF_UP: u32 = 1;
    const LOOPBACK_INDEX: i32 = 1;
    const MESSAGE_SIZE: u32 = 32;

    // A `struct nlmsghdr` and a `struct ifinfomsg`.
    let mut message = Vec::with_capacity(MESSAGE_SIZE as usize);
    message.extend_from_slice(&MESSAGE_SIZE.to_ne_bytes());
    message.extend_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message.extend_from_slice(&REQUEST_AND_ACKNOWLEDGE.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&LOOPBACK_INDEX.to_ne_bytes());
    message.extend_from_slice(&IFF_UP.to_ne_bytes());
    message.extend_from_slice(&IFF_UP.to_ne_bytes());

    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // Protocol 0, `NETLINK_ROUTE`.
        None,
    )?;
    let kernel = rustix::net::netlink::SocketAddrNetlink::new(0, 0);
    rustix::net::sendto(&socket, &message, SendFlags::empty(), &kernel)?;
    let mut answer = [0u8; 256];
    let (length, _) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
    // A `struct nlmsgerr` follows the header and begins with the negative error number.
    let code = answer.get(16..20).filter(|_| length >= 20).and_then(|b| b.try_into().ok());
    match code.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Only what the kernel keeps per namespace may be set: all else would change the machine.
fn check_sysctl(name: &str, config: &NamespaceConfig) -> Result<()> {
    let path = sysctl_path(name);
    let refuse = |why: &str| Err(Error::InvalidConfig(format!("sysctl {name:?} {why}")));
    if path.split('/').any(|part| part.is_empty() || part == "..") {
        return refuse("is not a parameter's name");
    }
    let ipc = ["kernel/shm", "kernel/msg", "fs/mqueue/"].iter().any(|p| path.starts_with(p))
        || path == "kernel/sem";
    let allowed = if path.starts_with("net/") {
        config.network
    } else if ipc {
        config.ipc
    } else if path == "kernel/domainname" {
        !config.hostname.is_empty()
    } else {
        return refuse("is not one of a pod's namespaces");
    };
    if allowed { Ok(()) } else { refuse("is not allowed: the pod shares the machine's namespace") }
}

/// The path below `/proc/sys`. Either separator may be used; the one that comes first separates,
/// the other is part of a name, as in `net/ipv4/conf/eth0.100/forwarding`.
fn sysctl_path(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'.' => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

fn privilege(operation: &str, error: io::Error) -> Error {
    if matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::PERM | Errno::ACCESS)
    ) {
        return Error::Other {
            operation: operation.into(),
            message: format!("{error}: this needs CAP_SYS_ADMIN (run as root)"),
        };
    }
    Error::Io { operation: operation.into(), source: error }
}

fn failed(verb: &str, path: &Path, source: io::Error) -> Error {
    Error::Io { operation: format!("{verb} {}", path.display()), source }
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
