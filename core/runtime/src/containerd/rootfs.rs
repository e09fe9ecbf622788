use std::path::{Path, PathBuf};

use containerd_client::types::Mount;
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::namespaces::on_own_thread;
use crate::{Error, Result};

/// Shows `work` the files of a snapshot, read-only. Blocks.
///
/// Where the snapshot is one directory nothing is mounted. Otherwise it is mounted at `mountpoint`
/// in a mount namespace that ends with the thread: nobody else sees it, and nothing stays behind
/// even when this process is killed in the middle.
pub(super) fn with_files<T: Send + 'static>(
    mounts: &[Mount],
    mountpoint: &Path,
    work: impl FnOnce(&Path) -> Result<T> + Send + 'static,
) -> Result<T> {
    let Some(last) = mounts.last() else {
        return Err(Error::Other {
            operation: "look into a snapshot".into(),
            message: "it has no mounts".into(),
        });
    };
    let view = View::of(last);
    if let View::Directory(directory) = &view {
        return work(directory);
    }
    let mountpoint = mountpoint.to_owned();
    on_own_thread("look into a snapshot", move || {
        unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| failed(errno.into()))?;
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).map_err(|errno| failed(errno.into()))?;
        view.mount(&mountpoint)?;
        work(&mountpoint)
    })
}

/// Mounts what a snapshot holds at `target`, where everybody sees it. Blocks.
pub(super) fn show(mounts: &[Mount], target: &Path) -> Result<()> {
    let view = mounts.last().map(View::of).ok_or_else(|| Error::Other {
        operation: "mount a snapshot".into(),
        message: "it has no mounts".into(),
    })?;
    let target = target.to_owned();
    on_own_thread("mount a snapshot", move || {
        // The working directory changes.
        unshare(CloneFlags::CLONE_FS).map_err(|errno| failed(errno.into()))?;
        view.mount(&target)
    })
}

/// How to see what a snapshot's mount shows.
#[derive(Debug, PartialEq)]
enum View {
    Directory(PathBuf),
    /// An overlay's layers without the writable one, uppermost first.
    Layers(Vec<PathBuf>),
    Other {
        kind: String,
        source: String,
        options: String,
    },
}

impl View {
    fn of(mount: &Mount) -> Self {
        let option = |name: &str| mount.options.iter().find_map(|o| o.strip_prefix(name));
        match mount.r#type.as_str() {
            "bind" | "rbind" => Self::Directory(mount.source.clone().into()),
            "overlay" => {
                let lower = option("lowerdir=").unwrap_or_default().split(':');
                let upper = option("upperdir=");
                let layers: Vec<PathBuf> = upper.into_iter().chain(lower).map(Into::into).collect();
                match layers.as_slice() {
                    [only] => Self::Directory(only.clone()),
                    _ => Self::Layers(layers),
                }
            }
            kind => Self::Other {
                kind: kind.to_owned(),
                source: mount.source.clone(),
                options: plain_options(&mount.options),
            },
        }
    }

    fn mount(&self, target: &Path) -> Result<()> {
        let flags =
            MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
        let result = match self {
            Self::Directory(source) => rustix::mount::mount_bind(source, target),
            Self::Layers(layers) => {
                // All options must fit one page: the layers are named from their common parent,
                // as containerd does it. The thread's directory is its own.
                let (parent, names) = from_common_parent(layers);
                rustix::process::chdir(&parent).map_err(|errno| failed(errno.into()))?;
                let options = format!("lowerdir={}", names.join(":"));
                let options = std::ffi::CString::new(options)
                    .map_err(|_| failed(std::io::ErrorKind::InvalidInput.into()))?;
                mount("overlay", target, "overlay", flags, Some(options.as_c_str()))
            }
            Self::Other { kind, source, options } => {
                let options = std::ffi::CString::new(options.as_str())
                    .map_err(|_| failed(std::io::ErrorKind::InvalidInput.into()))?;
                mount(source, target, kind, flags, Some(options.as_c_str()))
            }
        };
        result.map_err(|errno| failed(errno.into()))
    }
}

/// Options for the file system itself; what the kernel takes as flags goes.
fn plain_options(options: &[String]) -> String {
    const FLAGS: [&str; 9] =
        ["ro", "rw", "nodev", "nosuid", "noexec", "relatime", "noatime", "bind", "rbind"];
    let kept: Vec<&str> =
        options.iter().map(String::as_str).filter(|option| !FLAGS.contains(option)).collect();
    kept.join(",")
}

fn from_common_parent(paths: &[PathBuf]) -> (PathBuf, Vec<String>) {
    let mut parent = paths.first().and_then(|path| path.parent()).unwrap_or(Path::new("/"));
    while !paths.iter().all(|path| path.starts_with(parent)) {
        parent = parent.parent().unwrap_or(Path::new("/"));
    }
    let name =
        |path: &PathBuf| path.strip_prefix(parent).unwrap_or(path).to_string_lossy().into_owned();
    (parent.to_owned(), paths.iter().map(name).collect())
}

fn failed(source: std::io::Error) -> Error {
    Error::Io { operation: "look into a snapshot".into(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overlay(options: &[&str]) -> Mount {
        Mount {
            r#type: "overlay".into(),
            source: "overlay".into(),
            target: String::new(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
        }
    }

    #[test]
    fn layers_are_seen_uppermost_first() {
        let mount = overlay(&["workdir=/s/3/work", "upperdir=/s/3/fs", "lowerdir=/s/2/fs:/s/1/fs"]);
        let expected = ["/s/3/fs", "/s/2/fs", "/s/1/fs"].map(PathBuf::from).to_vec();
        assert_eq!(View::of(&mount), View::Layers(expected.clone()));
        let (parent, names) = from_common_parent(&expected);
        assert_eq!((parent.as_path(), names.join(":")), (Path::new("/s"), "3/fs:2/fs:1/fs".into()));
    }

    #[test]
    fn one_directory_needs_no_mount() {
        let mount = Mount { r#type: "bind".into(), source: "/s/1/fs".into(), ..Mount::default() };
        assert_eq!(View::of(&mount), View::Directory("/s/1/fs".into()));
    }
}
