use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use parking_lot::Mutex;
use pinnace_env::Env;

use super::{AuditEvent, AuditSink};

/// Bytes of a file unless somebody says otherwise, as upstream.
const MAX_BYTES: u64 = 100 * 1024 * 1024;
/// What a renamed file is named after; such names are in the order of time.
const TIME: &str = "%Y-%m-%dT%H-%M-%S%.3f";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Events as lines of JSON in a file. One that has grown too large is renamed after the time, as
/// `audit-2026-01-31T12-00-00.000.log`, and a new one is begun.
pub struct AuditFile {
    path: PathBuf,
    env: Env,
    max_bytes: u64,
    max_backups: usize,
    max_age: Option<Duration>,
    open: Mutex<Option<Open>>,
}

struct Open {
    file: BufWriter<File>,
    bytes: u64,
}

impl AuditFile {
    /// Events go to the end of a file, which is made, readable by its owner alone, when there is
    /// none. Files are renamed from 100 MiB on, and all are kept.
    pub fn new(path: impl Into<PathBuf>, env: &Env) -> Self {
        Self {
            path: path.into(),
            env: env.clone(),
            max_bytes: MAX_BYTES,
            max_backups: 0,
            max_age: None,
            open: Mutex::new(None),
        }
    }

    /// Sets from how many bytes a file is renamed.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets how many renamed files are kept; 0 keeps all.
    pub fn max_backups(mut self, backups: usize) -> Self {
        self.max_backups = backups;
        self
    }

    /// Sets for how many days renamed files are kept; 0 keeps them for ever.
    pub fn max_age_days(mut self, days: u32) -> Self {
        self.max_age = (days > 0).then(|| DAY * days);
        self
    }

    fn write_line(&self, line: &[u8]) -> io::Result<()> {
        let mut open = self.open.lock();
        let bytes = line.len() as u64;
        if open.as_ref().is_none() {
            *open = Some(open_at(&self.path)?);
        }
        let full = open.as_ref().is_some_and(|open| {
            open.bytes > 0 && open.bytes.saturating_add(bytes) > self.max_bytes
        });
        if full && let Some(mut last) = open.take() {
            last.file.flush()?;
            self.rotate()?;
            *open = Some(open_at(&self.path)?);
        }
        if let Some(open) = &mut *open {
            open.file.write_all(line)?;
            open.bytes += bytes;
        }
        Ok(())
    }

    /// Renames the file, and removes those that are too many or too old.
    fn rotate(&self) -> io::Result<()> {
        let now = self.env.now();
        let time = now.strftime(TIME).to_string();
        let mut backup = self.renamed(&time);
        // Two within a millisecond.
        for number in 1_u32.. {
            if !backup.exists() {
                break;
            }
            backup = self.renamed(&format!("{time}.{number:03}"));
        }
        fs::rename(&self.path, &backup)?;
        let mut backups = self.backups()?;
        backups.sort();
        let too_many = match self.max_backups {
            0 => 0,
            kept => backups.len().saturating_sub(kept),
        };
        let oldest = self.max_age.and_then(|age| now.checked_sub(age).ok());
        let oldest = oldest.map(|time| self.renamed(&time.strftime(TIME).to_string()));
        for (index, path) in backups.iter().enumerate() {
            if index < too_many || oldest.as_ref().is_some_and(|oldest| path < oldest) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    fn renamed(&self, time: &str) -> PathBuf {
        let (stem, extension) = self.name();
        self.path.with_file_name(format!("{stem}-{time}{extension}"))
    }

    fn name(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| {
            part.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let extension = text(self.path.extension());
        let extension = if extension.is_empty() { extension } else { format!(".{extension}") };
        (text(self.path.file_stem()), extension)
    }

    /// Renamed files, which are in the order of time by their names.
    fn backups(&self) -> io::Result<Vec<PathBuf>> {
        let (stem, extension) = self.name();
        let begin = format!("{stem}-");
        let parent = self.path.parent().filter(|path| !path.as_os_str().is_empty());
        let entries = fs::read_dir(parent.unwrap_or(Path::new(".")))?;
        let mut found = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            if name.is_some_and(|name| name.starts_with(&begin) && name.ends_with(&extension)) {
                found.push(path);
            }
        }
        Ok(found)
    }
}

fn open_at(path: &Path) -> io::Result<Open> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    let bytes = file.metadata()?.len();
    Ok(Open { file: BufWriter::new(file), bytes })
}

impl AuditSink for AuditFile {
    fn write(&self, event: &AuditEvent) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.write_line(&line)
    }

    fn flush(&self) -> io::Result<()> {
        self.open.lock().as_mut().map_or(Ok(()), |open| open.file.flush())
    }
}

impl std::fmt::Debug for AuditFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuditFile({})", self.path.display())
    }
}
