use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};

use super::content::{File, Files};

/// The link that says which version of the files is the current one.
const CURRENT: &str = "..data";
const NEXT: &str = "..data_tmp";

/// Shows `files` in a directory, all of them at once: they lie in a directory of their own, which
/// a link names; each visible path is a link through that one. A reader that has opened `..data`
/// sees one version, never a mixture. Files that are the same already are left alone.
pub(super) fn write(directory: &Path, files: &Files, group: Option<i64>) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(directory)?;
    let current = fs::read_link(directory.join(CURRENT)).ok();
    if let Some(current) = &current
        && is_same(&directory.join(current), files, group)?
    {
        return Ok(());
    }
    let version = next_version(current.as_deref());
    let content = directory.join(&version);
    // A crash may have left a part of it.
    remove(&content)?;
    write_files(&content, files, group)?;
    let next = directory.join(NEXT);
    remove(&next)?;
    symlink(&version, &next)?;
    fs::rename(&next, directory.join(CURRENT))?;
    show(directory, files)?;
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let text = name.to_string_lossy();
        if text.starts_with("..") && text != CURRENT && *text != *version {
            remove(&directory.join(&name))?;
        }
    }
    Ok(())
}

/// Versions are counted, so that a name is never that of the current one.
fn next_version(current: Option<&Path>) -> String {
    let count = current.and_then(|current| current.to_str()?.strip_prefix("..v")?.parse().ok());
    format!("..v{}", count.map_or(1, |count: u64| count.wrapping_add(1)))
}

fn is_same(content: &Path, files: &Files, group: Option<i64>) -> io::Result<bool> {
    let mut seen = 0;
    let mut directories = vec![PathBuf::new()];
    while let Some(relative) = directories.pop() {
        let entries = match fs::read_dir(content.join(&relative)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let path = relative.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                directories.push(path);
                continue;
            }
            let Some(file) = path.to_str().and_then(|path| files.get(path)) else {
                return Ok(false);
            };
            let metadata = entry.metadata()?;
            let same = metadata.permissions().mode() & 0o777 == mode(file, group)
                && fs::read(entry.path())? == file.bytes;
            if !same {
                return Ok(false);
            }
            seen += 1;
        }
    }
    Ok(seen == files.len())
}

fn write_files(content: &Path, files: &Files, group: Option<i64>) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(content)?;
    for (path, file) in files {
        let path = content.join(path);
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
        }
        fs::write(&path, &file.bytes)?;
        // After writing, for the mode may forbid it; and never by the process's umask.
        if let Some(group) = group.and_then(|group| u32::try_from(group).ok()) {
            chown(&path, None, Some(group))?;
        }
        fs::set_permissions(&path, Permissions::from_mode(mode(file, group)))?;
    }
    Ok(())
}

/// With a group of the volume's own, the group may read what the owner may.
fn mode(file: &File, group: Option<i64>) -> u32 {
    if group.is_some() { file.mode | (file.mode & 0o400) >> 3 } else { file.mode }
}

/// Links the first part of every path, and unlinks what is no longer there.
fn show(directory: &Path, files: &Files) -> io::Result<()> {
    let first = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
    let wanted: BTreeSet<String> = files.keys().map(|path| first(path)).collect();
    for name in &wanted {
        let link = directory.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(CURRENT).join(name), &link)?;
        }
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if !text.starts_with("..") && !wanted.contains(&*text) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes a file, a link or a directory, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
