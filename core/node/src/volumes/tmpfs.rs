use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags};

/// Mounts a file system in memory, unless one is mounted there.
pub(super) fn mount(path: &Path, limit: Option<i64>) -> Result<(), String> {
    if mounts_below(path).map_err(|error| error.to_string())?.iter().any(|mount| mount == path) {
        return Ok(());
    }
    let options = match limit {
        Some(limit) if limit > 0 => format!("mode=0777,size={limit}"),
        _ => "mode=0777".to_owned(),
    };
    let options = CString::new(options).map_err(|error| error.to_string())?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    rustix::mount::mount("tmpfs", path, "tmpfs", flags, &*options).map_err(|error| {
        if error == rustix::io::Errno::PERM {
            "medium Memory needs the capability CAP_SYS_ADMIN, which this node agent does not have"
                .to_owned()
        } else {
            format!("cannot mount tmpfs on {}: {error}", path.display())
        }
    })
}

/// Makes `source`, which need not have a path, appear at `target`.
pub(super) fn bind(source: &Path, target: &Path) -> rustix::io::Result<()> {
    rustix::mount::mount_bind(source, target)
}

/// Unmounts everything at or below a directory, the innermost first.
pub(super) fn unmount_below(directory: &Path) -> io::Result<()> {
    if fs::symlink_metadata(directory).is_err() {
        return Ok(());
    }
    let mut mounts = mounts_below(directory)?;
    mounts.sort();
    for mount in mounts.iter().rev() {
        let flags = UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        match rustix::mount::unmount(mount, flags) {
            Err(error) if error != rustix::io::Errno::INVAL => return Err(error.into()),
            _ => {}
        }
    }
    // Whoever removes the directory next must not reach into somebody else's files.
    match mounts_below(directory)?.first() {
        None => Ok(()),
        Some(left) => Err(io::Error::other(format!("{} is still mounted", left.display()))),
    }
}

fn mounts_below(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let directory = fs::canonicalize(directory)?;
    let table = fs::read("/proc/self/mountinfo")?;
    let points = table.split(|byte| *byte == b'\n').filter_map(|line| {
        let point = line.split(|byte| *byte == b' ').nth(4)?;
        Some(PathBuf::from(std::ffi::OsString::from_vec(unescape(point))))
    });
    Ok(points.filter(|point| point.starts_with(&directory)).collect())
}

/// The kernel writes blanks and the like as `\040`.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match (first, octal) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                rest = &after[3..];
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_blanks_are_read() {
        assert_eq!(unescape(br"/a\040b\134c"), b"/a b\\c");
        assert_eq!(unescape(br"/plain\0"), br"/plain\0");
    }
}
