//! A container's view of the file system: the machine's, with its volumes in place.
//!
//! The view is a mount namespace of the container's own and ends with it. Where a volume's place
//! does not exist on the machine, nothing is made there: the nearest directory that does exist is
//! covered by an in-memory one that has everything the original has, bound, and the new place
//! besides. What the container creates directly in such a directory ends with it, too.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, FileType, Gid, Mode, Uid, mknodat};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change,
    mount_move, mount_remount, unmount,
};

use super::command::reason;
use crate::{Error, Mount, Propagation, Result};

/// The largest directory that may be covered.
const MAX_ENTRIES: usize = 4096;
/// File systems of the kernel, which a read-only root does not concern.
const KERNEL_FILE_SYSTEMS: [&str; 11] = [
    "proc",
    "sysfs",
    "devtmpfs",
    "devpts",
    "mqueue",
    "cgroup",
    "cgroup2",
    "securityfs",
    "debugfs",
    "tracefs",
    "bpf",
];

/// What to change in the view.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) mounts: Vec<Mount>,
    pub(super) read_only_root: bool,
    /// Where all pods are, see [`crate::namespaces::share`].
    pub(super) pods: PathBuf,
    /// An empty directory of the container's, where covers are prepared.
    pub(super) staging: PathBuf,
}

impl View {
    /// # Errors
    /// [`Error::InvalidConfig`] for mounts that cannot be made.
    pub(super) fn check(mounts: &[Mount]) -> Result<()> {
        for mount in mounts {
            let path = &mount.container_path;
            let refuse = |why: &str| {
                Err(Error::InvalidConfig(format!("mount at {}: {why}", path.display())))
            };
            if !path.is_absolute() || path.components().any(|c| c == Component::ParentDir) {
                return refuse("not an absolute path");
            }
            if path == Path::new("/") {
                return refuse("the root can't be a volume");
            }
            if mount.propagation == Propagation::Bidirectional {
                return refuse("bidirectional propagation needs containerd");
            }
        }
        Ok(())
    }

    pub(super) fn changes_something(&self) -> bool {
        self.read_only_root || !self.mounts.is_empty()
    }

    /// Moves the calling thread into a view of its own. Only for threads of our own.
    pub(super) fn apply(&self) -> std::result::Result<(), String> {
        let failed = |what: &str, error: io::Error| format!("{what}: {}", reason(&error));
        unshare(CloneFlags::CLONE_NEWNS)
            .map_err(|errno| failed("make a mount namespace", errno.into()))?;
        // What the machine mounts later still arrives; nothing goes the other way.
        mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::DOWNSTREAM)
            .map_err(|errno| failed("separate the mounts", errno.into()))?;
        // Our own pods' with one call; the same files are below it.
        let _ = unmount(&self.pods, UnmountFlags::DETACH);
        forget_namespaces();
        let mut mounts: Vec<&Mount> = self.mounts.iter().collect();
        mounts.sort_by_key(|mount| mount.container_path.components().count());
        let mut covers = Covers { staging: &self.staging, made: Vec::new() };
        for mount in &mounts {
            // Places inside other volumes come to be when those are there.
            let inside = mounts.iter().any(|other| {
                other.container_path != mount.container_path
                    && mount.container_path.starts_with(&other.container_path)
            });
            if !inside {
                covers.make_place(&mount.container_path, mount.host_path.is_dir()).map_err(
                    |e| {
                        failed(
                            &format!("make the mount point {}", mount.container_path.display()),
                            e,
                        )
                    },
                )?;
            }
        }
        if self.read_only_root {
            make_read_only().map_err(|e| failed("make the root read-only", e))?;
        }
        for mount in mounts {
            bind(mount).map_err(|e| {
                let (from, to) = (mount.host_path.display(), mount.container_path.display());
                failed(&format!("mount {from} at {to}"), e)
            })?;
        }
        Ok(())
    }
}

/// Other pods' pinned namespaces would live as long as this view.
fn forget_namespaces() {
    for (path, kind, _) in mount_points() {
        if kind == "nsfs" {
            let _ = unmount(&path, UnmountFlags::DETACH);
        }
    }
}

/// Mount point, type and options of all mounts of the calling thread.
fn mount_points() -> Vec<(PathBuf, String, String)> {
    let text = fs::read_to_string("/proc/thread-self/mountinfo").unwrap_or_default();
    text.lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let mut before = before.split(' ').skip(4);
            let path = PathBuf::from(crate::cgroup::unescape(before.next()?));
            let options = before.next()?.to_owned();
            Some((path, after.split(' ').next()?.to_owned(), options))
        })
        .collect()
}

fn make_read_only() -> io::Result<()> {
    for (path, kind, options) in mount_points() {
        if KERNEL_FILE_SYSTEMS.contains(&&*kind) {
            continue;
        }
        remount_read_only(&path, &options)?;
    }
    Ok(())
}

/// `options` are those that the mount has: it keeps them.
fn remount_read_only(path: &Path, options: &str) -> io::Result<()> {
    let mut flags = MountFlags::BIND | MountFlags::RDONLY;
    for option in options.split(',') {
        flags |= match option {
            "nosuid" => MountFlags::NOSUID,
            "nodev" => MountFlags::NODEV,
            "noexec" => MountFlags::NOEXEC,
            _ => MountFlags::empty(),
        };
    }
    match mount_remount(path, flags, c"") {
        // Covered by a later mount, or gone meanwhile.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

fn bind(mount: &Mount) -> io::Result<()> {
    let target = &mount.container_path;
    mount_bind_recursive(&mount.host_path, target)?;
    if mount.propagation == Propagation::None {
        mount_change(target, MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)?;
    }
    // Explicit both ways: a read-only root has made the source read-only in this view.
    let access = if mount.read_only { MountFlags::RDONLY } else { MountFlags::empty() };
    mount_remount(target, MountFlags::BIND | access, c"")?;
    if mount.recursive_read_only {
        let target = fs::canonicalize(target)?;
        for (path, _, options) in mount_points() {
            if path != target && path.starts_with(&target) {
                remount_read_only(&path, &options)?;
            }
        }
    }
    Ok(())
}

struct Covers<'a> {
    staging: &'a Path,
    made: Vec<PathBuf>,
}

impl Covers<'_> {
    /// Sees to it that `path` exists and is a directory or a file.
    fn make_place(&mut self, path: &Path, directory: bool) -> io::Result<()> {
        let (existing, missing) = nearest(path)?;
        if missing.as_os_str().is_empty() {
            return if existing.is_dir() == directory {
                Ok(())
            } else if directory {
                Err(io::ErrorKind::NotADirectory.into())
            } else {
                Err(io::ErrorKind::IsADirectory.into())
            };
        }
        if !self.made.iter().any(|cover| existing.starts_with(cover) && is_ours(cover, &existing)) {
            self.cover(&existing)?;
            self.made.push(existing.clone());
        }
        let place = existing.join(missing);
        if directory {
            return fs::create_dir_all(place);
        }
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        File::create(place).map(drop)
    }

    fn cover(&self, directory: &Path) -> io::Result<()> {
        let entries: Vec<_> = fs::read_dir(directory)?.take(MAX_ENTRIES + 1).collect();
        if entries.len() > MAX_ENTRIES {
            let message = format!("{} has more than {MAX_ENTRIES} entries", directory.display());
            return Err(io::Error::other(message));
        }
        let original = fs::metadata(directory)?;
        fs::create_dir_all(self.staging)?;
        mount("pinnace", self.staging, "tmpfs", MountFlags::empty(), None)?;
        fs::set_permissions(self.staging, fs::Permissions::from_mode(original.mode() & 0o7777))?;
        let (owner, group) = (Uid::from_raw(original.uid()), Gid::from_raw(original.gid()));
        rustix::fs::chown(self.staging, Some(owner), Some(group))?;
        for entry in entries {
            let entry = entry?;
            let (from, to) = (entry.path(), self.staging.join(entry.file_name()));
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                symlink(fs::read_link(from)?, to)?;
                continue;
            }
            if kind.is_char_device() || kind.is_block_device() {
                copy_device(&from, &to)?;
                continue;
            }
            if kind.is_dir() {
                fs::create_dir(&to)?;
            } else {
                File::create(&to)?;
            }
            mount_bind_recursive(from, to)?;
        }
        if directory != Path::new("/") {
            mount_move(self.staging, directory)?;
            return Ok(());
        }
        // The root is not replaced by mounting over it: one has to step into what lies there.
        rustix::process::chdir(self.staging)?;
        mount_move(".", "/")?;
        rustix::process::chroot(".")?;
        rustix::process::chdir("/")?;
        // A copy of the cover came along with the directory that the staging place is in.
        let _ = unmount(self.staging, UnmountFlags::DETACH);
        Ok(())
    }
}

/// The same device by another name, quicker to make than to bind: `/dev` has a hundred.
fn copy_device(from: &Path, to: &Path) -> io::Result<()> {
    let original = fs::symlink_metadata(from)?;
    let kind = FileType::from_raw_mode(original.mode());
    let mode = Mode::from_raw_mode(original.mode());
    mknodat(CWD, to, kind, mode, original.rdev())?;
    // The umask has had its say.
    fs::set_permissions(to, fs::Permissions::from_mode(original.mode() & 0o7777))?;
    let (owner, group) = (Uid::from_raw(original.uid()), Gid::from_raw(original.gid()));
    rustix::fs::chown(to, Some(owner), Some(group)).map_err(Into::into)
}

/// Whether a directory below a cover is in the cover's own memory and not one bound into it.
fn is_ours(cover: &Path, directory: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    device(cover) == device(directory)
}

/// The longest part of a path that exists, without symbolic links, and the rest.
fn nearest(path: &Path) -> io::Result<(PathBuf, PathBuf)> {
    for existing in path.ancestors() {
        match fs::canonicalize(existing) {
            Ok(real) => {
                let missing = path.strip_prefix(existing).unwrap_or(Path::new(""));
                return Ok((real, missing.to_owned()));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}
