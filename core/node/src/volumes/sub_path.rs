use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;

use super::tmpfs;

/// Finds `path` within a volume, making directories where there is nothing, and gives a path of
/// it that cannot be changed by whoever can write to the volume.
///
/// The kernel resolves links without ever leaving the volume, and what was found is bind mounted
/// at `place`. Where mounting is not permitted, the path that was found is given itself: then
/// containers cannot do more than the user who runs the agent.
pub(super) fn resolve(volume: &Path, path: &Path, place: &Path) -> Result<PathBuf, String> {
    let found = open(volume, path)?;
    let handle = PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()));
    let failed = |error: io::Error| error.to_string();
    let is_directory = fs::metadata(&handle).map_err(failed)?.is_dir();
    // What an earlier attempt of the container had there may have been replaced since.
    if fs::symlink_metadata(place).is_ok() {
        tmpfs::unmount_below(place).map_err(failed)?;
        if place.is_dir() { fs::remove_dir(place) } else { fs::remove_file(place) }
            .map_err(failed)?;
    }
    if let Some(parent) = place.parent() {
        DirBuilder::new().recursive(true).mode(0o750).create(parent).map_err(failed)?;
    }
    if is_directory {
        DirBuilder::new().mode(0o750).create(place).map_err(failed)?;
    } else {
        fs::write(place, b"").map_err(failed)?;
    }
    match tmpfs::bind(&handle, place) {
        Ok(()) => Ok(place.to_owned()),
        Err(Errno::PERM) => fs::read_link(&handle).map_err(failed),
        Err(error) => Err(format!("cannot bind {}: {error}", place.display())),
    }
}

fn open(volume: &Path, path: &Path) -> Result<OwnedFd, String> {
    let legal =
        path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !legal {
        return Err(format!("subPath {path:?} must be relative and must not contain '..'"));
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = openat(CWD, volume, flags | OFlags::DIRECTORY, Mode::empty())
        .map_err(|error| format!("cannot open {}: {error}", volume.display()))?;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let find = |path: &Path| openat2(&root, path, flags, Mode::empty(), beneath);
    let refused = |error: Errno| match error {
        Errno::XDEV => format!("subPath {path:?} leads out of the volume"),
        error => format!("subPath {path:?}: {error}"),
    };
    match find(path) {
        Err(Errno::NOENT) => {}
        found => return found.map_err(refused),
    }
    let mut parent = PathBuf::from(".");
    for part in path.components().filter(|part| matches!(part, Component::Normal(_))) {
        let directory = find(&parent).map_err(refused)?;
        match mkdirat(&directory, part.as_os_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => parent.push(part),
            Err(error) => return Err(refused(error)),
        }
    }
    find(path).map_err(refused)
}
