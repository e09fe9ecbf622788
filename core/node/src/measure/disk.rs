//! What is on this machine's disks. Everything here blocks.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pinnace_client::summary::FsUse;
use pinnace_runtime::Written;

/// How many files are looked at in one directory at most: beyond, the figure is too low.
const MAX_FILES: u64 = 1_000_000;
/// The unit of `st_blocks`.
const BLOCK: u64 = 512;

/// What a directory and all below it take, as `du` counts: a file of several names once, and
/// nothing of other file systems. What goes away meanwhile is left out.
pub(crate) fn used(directory: &Path) -> Written {
    let mut found = Written::default();
    let Ok(top) = fs::symlink_metadata(directory) else { return found };
    let mut linked = HashSet::new();
    let mut waiting: Vec<PathBuf> = vec![directory.to_owned()];
    found.bytes += top.blocks().saturating_mul(BLOCK);
    found.inodes += 1;
    while let Some(next) = waiting.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
            let Ok(file) = entry.metadata() else { continue };
            if file.dev() != top.dev()
                || (file.nlink() > 1 && !file.is_dir()) && !linked.insert(file.ino())
            {
                continue;
            }
            found.bytes = found.bytes.saturating_add(file.blocks().saturating_mul(BLOCK));
            found.inodes += 1;
            if found.inodes >= MAX_FILES {
                tracing::warn!(path = %directory.display(), "too many files to be counted");
                return found;
            }
            if file.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    found
}

/// The file system that a path is on.
pub(crate) fn file_system(path: &Path, now: Timestamp) -> FsUse {
    let Ok(found) = rustix::fs::statvfs(path) else { return FsUse::at(now) };
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    FsUse {
        time: now,
        available_bytes: Some(bytes(found.f_bavail)),
        capacity_bytes: Some(bytes(found.f_blocks)),
        used_bytes: Some(bytes(found.f_blocks.saturating_sub(found.f_bfree))),
        inodes_free: Some(found.f_ffree),
        inodes: Some(found.f_files),
        inodes_used: Some(found.f_files.saturating_sub(found.f_ffree)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_several_names_count_once() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join("a/b")).unwrap();
        fs::write(home.path().join("a/one"), vec![1; 100_000]).unwrap();
        let before = used(home.path());
        fs::hard_link(home.path().join("a/one"), home.path().join("a/b/two")).unwrap();
        std::os::unix::fs::symlink("/", home.path().join("a/b/root")).unwrap();
        let after = used(home.path());
        assert!(before.bytes >= 100_000 && before.inodes == 4, "{before:?}");
        assert_eq!(after.inodes, 5, "the link itself, and nothing behind it");
        assert_eq!(used(Path::new("/none")), Written::default());
        let whole = file_system(home.path(), Timestamp::UNIX_EPOCH);
        assert!(whole.capacity_bytes > whole.available_bytes && whole.inodes.is_some());
    }
}
