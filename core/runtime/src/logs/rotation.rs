//! A log in several files, so that a container that prints for ever fills no disk.
//!
//! `0.log` is written to. When it is full it becomes `0.log.1`, the next `0.log.2`, and so on, and
//! only the youngest of them are kept. Numbers rather than times, as upstream has them: a clock
//! that is set back must not change their order.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// How much of a container's log is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLimits {
    /// The size in bytes that one file may reach.
    pub max_bytes: u64,
    /// How many files there may be, the one that is written to included; at least 2.
    pub max_files: u32,
}

impl Default for LogLimits {
    /// Five files of 10 MiB, as upstream.
    fn default() -> Self {
        Self { max_bytes: 10 << 20, max_files: 5 }
    }
}

impl LogLimits {
    /// One file that grows for ever.
    pub const NONE: Self = Self { max_bytes: u64::MAX, max_files: 2 };
}

/// What a full log becomes.
#[cfg(target_os = "linux")]
fn numbered(log: &Path, number: u64) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(format!(".{number}"));
    PathBuf::from(name)
}

/// The files that a log has been before, the oldest first.
fn rotated(log: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let number = |entry: &fs::DirEntry| -> Option<u64> {
        let other = entry.file_name().into_string().ok()?;
        other.strip_prefix(&name)?.strip_prefix('.')?.parse().ok()
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(directory(log))? {
        let entry = entry?;
        found.extend(number(&entry).map(|number| (number, entry.path())));
    }
    found.sort_unstable();
    Ok(found)
}

/// Where a log lies with what it has been before.
pub(super) fn directory(log: &Path) -> &Path {
    let parent = log.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// All files of a log, the oldest first.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] when there is none.
pub(super) fn open_all(log: &Path) -> io::Result<Vec<File>> {
    // The present one first: when it is rotated meanwhile, it shows once more under its number.
    let present = found(File::open(log))?;
    let mut all = Vec::new();
    for (_, path) in rotated(log)? {
        // The oldest may just have been removed.
        let Some(file) = found(File::open(path))? else { continue };
        let own = identity(&file.metadata()?);
        if let Some(present) = &present
            && identity(&present.metadata()?) == own
        {
            break;
        }
        all.push(file);
    }
    all.extend(present);
    if all.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(all)
}

/// The files of a log that have come after `file`, the oldest first.
pub(super) fn open_after(log: &Path, file: &File) -> io::Result<Vec<File>> {
    let own = identity(&file.metadata()?);
    if found(fs::metadata(log))?.is_some_and(|present| identity(&present) == own) {
        return Ok(Vec::new());
    }
    let Some(mut all) = found(open_all(log))? else { return Ok(Vec::new()) };
    for (at, other) in all.iter().enumerate() {
        if identity(&other.metadata()?) == own {
            return Ok(all.split_off(at + 1));
        }
    }
    // Rotated so often meanwhile that it is there no more.
    Ok(all)
}

/// Removes a log with what it has been before.
///
/// # Errors
/// What keeps a file from going. A log that is not there is no error.
pub fn remove_log(log: &Path) -> io::Result<()> {
    for (_, path) in found(rotated(log))?.unwrap_or_default() {
        found(fs::remove_file(path))?;
    }
    found(fs::remove_file(log)).map(drop)
}

fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// What a file stays under whatever name.
#[cfg(unix)]
fn identity(file: &fs::Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    (file.dev(), file.ino())
}

/// Nothing is rotated there.
#[cfg(not(unix))]
fn identity(_file: &fs::Metadata) -> (u64, u64) {
    (0, 0)
}

#[cfg(target_os = "linux")]
pub(super) use self::writing::Log;

#[cfg(target_os = "linux")]
mod writing {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    use super::{File, LogLimits, Path, PathBuf, found, fs, io, numbered, rotated};

    /// The writer of a log.
    pub(in crate::logs) struct Log {
        path: PathBuf,
        limits: LogLimits,
        file: File,
        length: u64,
        /// The number of the youngest file that the log has been before.
        number: u64,
    }

    impl Log {
        /// Opens a log. `known` is the [mark](Log::mark) that was written down last: what the
        /// files have beyond it is cut off.
        pub(in crate::logs) fn open(
            path: &Path,
            limits: LogLimits,
            known: Option<(u64, u64)>,
        ) -> io::Result<Self> {
            let file = open(path)?;
            let mut length = file.metadata()?.len();
            let number = rotated(path)?.last().map_or(0, |(number, _)| *number);
            if let Some((known_length, known_number)) = known {
                // A file that was begun after the mark holds nothing that the mark knows.
                let end = if number > known_number { 0 } else { known_length };
                if length > end {
                    file.set_len(end)?;
                    length = end;
                }
            }
            Ok(Self { path: path.to_owned(), limits, file, length, number })
        }

        /// How far it has been written: to be given to the next who opens it.
        pub(in crate::logs) fn mark(&self) -> (u64, u64) {
            (self.length, self.number)
        }

        /// Whether that many bytes more belong into a new file. An empty one takes anything.
        pub(in crate::logs) fn is_full_for(&self, more: usize) -> bool {
            self.length > 0 && self.length.saturating_add(more as u64) > self.limits.max_bytes
        }

        pub(in crate::logs) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            if let Err(error) = self.file.write_all(bytes) {
                // Half a line must not stay.
                let _ = self.file.set_len(self.length);
                return Err(error);
            }
            self.length += bytes.len() as u64;
            Ok(())
        }

        /// Begins a new file. The mark has to be written down before and after: whoever comes
        /// next tells by it which of the two files is meant.
        pub(in crate::logs) fn rotate(&mut self) -> io::Result<()> {
            // It is missing when the rest failed the last time.
            found(fs::rename(&self.path, numbered(&self.path, self.number + 1)))?;
            self.file = open(&self.path)?;
            self.length = self.file.metadata()?.len();
            self.number += 1;
            let older = u64::from(self.limits.max_files.max(2)) - 1;
            for (number, path) in rotated(&self.path)? {
                if number.saturating_add(older) <= self.number {
                    found(fs::remove_file(path))?;
                }
            }
            Ok(())
        }
    }

    fn open(path: &Path) -> io::Result<File> {
        fs::OpenOptions::new().mode(0o640).append(true).create(true).open(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_a_log_are_its_own_and_in_order() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        for name in ["0.log", "0.log.10", "0.log.9", "0.log.x", "1.log", "10.log.1"] {
            fs::write(path(name), name).unwrap();
        }
        let read = |files: Vec<File>| -> Vec<String> {
            files.into_iter().map(|file| io::read_to_string(file).unwrap()).collect()
        };
        assert_eq!(read(open_all(&path("0.log")).unwrap()), ["0.log.9", "0.log.10", "0.log"]);
        let older = File::open(path("0.log.9")).unwrap();
        assert_eq!(read(open_after(&path("0.log"), &older).unwrap()), ["0.log.10", "0.log"]);
        remove_log(&path("0.log")).unwrap();
        remove_log(&path("0.log")).unwrap();
        assert!(open_all(&path("0.log")).is_err());
        assert_eq!(read(open_all(&path("10.log")).unwrap()), ["10.log.1"]);
    }
}
