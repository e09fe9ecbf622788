use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use futures::stream::Stream;
use tokio::sync::mpsc;

/// Files an archive may have.
const MAX_ENTRIES: usize = 100_000;
/// Bytes read from a file in one go.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks read ahead of who takes them.
const CHUNKS_AHEAD: usize = 2;
/// Symbolic links followed inside an archive.
const MAX_LINKS: usize = 8;

/// The files of an image archive, wherever they lie: a `.tar` is read in place, never unpacked.
#[derive(Clone, Debug)]
pub(super) enum Archive {
    Directory(PathBuf),
    Tar { path: PathBuf, entries: HashMap<String, Entry> },
}

#[derive(Clone, Debug)]
pub(super) enum Entry {
    File { offset: u64, size: u64 },
    Link(String),
}

/// A file of an archive, open at its beginning.
#[derive(Debug)]
pub(super) struct Opened {
    file: File,
    pub(super) size: u64,
}

impl Archive {
    /// Opens a layout directory or lists a `.tar`.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let said = |error: std::io::Error| format!("{}: {error}", path.display());
        if std::fs::metadata(path).map_err(said)?.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        let mut file = File::open(path).map_err(said)?;
        let mut magic = [0; 4];
        if file.read(&mut magic).map_err(said)? >= 4
            && (magic.starts_with(&[0x1f, 0x8b]) || magic == [0x28, 0xb5, 0x2f, 0xfd])
        {
            return Err("the archive is compressed; decompress it first".into());
        }
        file.seek(SeekFrom::Start(0)).map_err(said)?;
        let mut entries = HashMap::new();
        let mut archive = tar::Archive::new(file);
        for entry in archive.entries_with_seek().map_err(said)? {
            let entry = entry.map_err(said)?;
            if entries.len() >= MAX_ENTRIES {
                return Err(format!("an archive may have {MAX_ENTRIES} files at most"));
            }
            let Some(name) = entry.path().ok().and_then(|name| plain(&name)) else { continue };
            let kind = entry.header().entry_type();
            let link = entry.link_name().ok().flatten();
            if kind.is_file() {
                let place = Entry::File { offset: entry.raw_file_position(), size: entry.size() };
                entries.insert(name, place);
            } else if let Some(target) = link {
                let base = if kind.is_symlink() { Path::new(&name).parent() } else { None };
                let target = resolve(base.unwrap_or(Path::new("")), &target);
                entries.extend(target.map(|target| (name, Entry::Link(target))));
            }
        }
        Ok(Self::Tar { path: path.to_owned(), entries })
    }

    /// Opens one file; `None` when there is none of that name.
    pub(super) fn file(&self, name: &str) -> Result<Option<Opened>, String> {
        let said = |error: std::io::Error| format!("{name}: {error}");
        match self {
            Self::Directory(root) => {
                let Some(name) = plain(Path::new(name)) else { return Ok(None) };
                match File::open(root.join(name)) {
                    Ok(file) => {
                        let metadata = file.metadata().map_err(said)?;
                        let size = metadata.len();
                        Ok(metadata.is_file().then_some(Opened { file, size }))
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(said(error)),
                }
            }
            Self::Tar { path, entries } => {
                let mut name = name;
                for _ in 0..MAX_LINKS {
                    match entries.get(name) {
                        None => return Ok(None),
                        Some(Entry::Link(target)) => name = target,
                        Some(Entry::File { offset, size }) => {
                            let mut file = File::open(path).map_err(said)?;
                            file.seek(SeekFrom::Start(*offset)).map_err(said)?;
                            return Ok(Some(Opened { file, size: *size }));
                        }
                    }
                }
                Err(format!("{name}: too many links"))
            }
        }
    }

    /// Reads a whole file of at most `limit` bytes.
    pub(super) fn read(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>, String> {
        let Some(opened) = self.file(name)? else { return Ok(None) };
        if opened.size > limit as u64 {
            return Err(format!("{name} has more than {limit} bytes"));
        }
        let mut data = Vec::new();
        let mut file = opened.file.take(opened.size);
        file.read_to_end(&mut data).map_err(|error| format!("{name}: {error}"))?;
        if (data.len() as u64) < opened.size {
            return Err(format!("{name}: the archive ends early"));
        }
        Ok(Some(data))
    }
}

impl Opened {
    /// The content piece by piece, read on a thread that may block.
    pub(super) fn stream(self) -> impl Stream<Item = Result<bytes::Bytes, String>> {
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        tokio::task::spawn_blocking(move || {
            let mut file = self.file.take(self.size);
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let part = match file.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(length) => {
                        chunk.truncate(length);
                        Ok(bytes::Bytes::from(chunk))
                    }
                    Err(error) => Err(error.to_string()),
                };
                if sender.blocking_send(part).is_err() {
                    break;
                }
            }
        });
        futures::stream::unfold(receiver, |mut receiver| async {
            receiver.recv().await.map(|part| (part, receiver))
        })
    }
}

/// The way of a file inside an archive, without `./`; `None` when it leads out.
fn plain(path: &Path) -> Option<String> {
    resolve(Path::new(""), path)
}

fn resolve(base: &Path, path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in base.components().chain(path.components()) {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => {
                parts.pop()?;
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_never_lead_out_of_the_archive() {
        assert_eq!(plain(Path::new("./blobs/sha256/a")).unwrap(), "blobs/sha256/a");
        assert_eq!(resolve(Path::new("b"), Path::new("../a/layer.tar")).unwrap(), "a/layer.tar");
        for bad in ["../a", "/etc/passwd", "a/../../b", "."] {
            assert_eq!(plain(Path::new(bad)), None, "{bad}");
        }
    }
}
