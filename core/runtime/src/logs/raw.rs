//! Following a container's raw output, for those who attach to it.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{SeekFrom, inotify};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWriteExt, DuplexStream};

use crate::{Error, Result};

/// How much is read at once, and how much may wait for a slow reader.
const CHUNK_BYTES: usize = 32 * 1024;

/// What is appended to a raw file from now on, until `ended`, and then the rest.
///
/// The container writes to a file and never waits for whoever reads here. A reader that is so slow
/// that the log has taken what it has not read yet, and given its blocks back, misses that.
///
/// # Errors
/// [`Error::Io`] when the file cannot be opened or watched.
pub(crate) async fn follow(
    path: &Path,
    ended: impl Future<Output = ()> + Send + 'static,
) -> Result<DuplexStream> {
    let failed = |source| Error::Io { operation: format!("follow {}", path.display()), source };
    let path = path.to_owned();
    let opened = tokio::task::spawn_blocking(move || Follower::open(&path)).await;
    let follower = opened.unwrap_or_else(|error| Err(io::Error::other(error))).map_err(failed)?;
    let (reader, writer) = tokio::io::duplex(CHUNK_BYTES);
    // It ends with the container or with its reader.
    tokio::spawn(async move {
        if let Err(error) = follower.run(writer, ended).await {
            tracing::debug!(%error, "an output is followed no more");
        }
    });
    Ok(reader)
}

struct Follower {
    file: Arc<File>,
    offset: u64,
    changes: OwnedFd,
}

impl Follower {
    fn open(path: &PathBuf) -> io::Result<Self> {
        let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
        let changes = inotify::init(flags)?;
        inotify::add_watch(&changes, path, inotify::WatchFlags::MODIFY)?;
        let file = File::open(path)?;
        let offset = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), offset, changes })
    }

    async fn run(self, mut to: DuplexStream, ended: impl Future<Output = ()>) -> io::Result<()> {
        let Self { file, mut offset, changes } = self;
        let changes: AsyncFd<OwnedFd> = crate::descriptor::watch(changes)?;
        let mut ended = std::pin::pin!(ended);
        let mut last_look = false;
        loop {
            let from = Arc::clone(&file);
            let read = tokio::task::spawn_blocking(move || read_at(&from, offset));
            let (bytes, next) = read.await.unwrap_or_else(|error| Err(io::Error::other(error)))?;
            offset = next;
            if !bytes.is_empty() {
                // An error says that nobody reads any more.
                if to.write_all(&bytes).await.is_err() {
                    return Ok(());
                }
                continue;
            }
            if last_look {
                return to.shutdown().await;
            }
            tokio::select! {
                ready = changes.readable() => {
                    let mut ready = ready?;
                    let mut buffer = [0u8; 4096];
                    while rustix::io::read(&changes, &mut buffer).is_ok() {}
                    ready.clear_ready();
                }
                () = &mut ended => last_look = true,
            }
        }
    }
}

/// Up to a chunk from `offset`, or from where there is still something, and where it ends.
fn read_at(file: &File, offset: u64) -> io::Result<(Vec<u8>, u64)> {
    let mut bytes = vec![0; CHUNK_BYTES];
    let mut from = offset;
    loop {
        let length = file.read_at(&mut bytes, from)?;
        if length == 0 {
            return Ok((Vec::new(), from));
        }
        // Blocks are given back from the start. So what was read is whole if its first block is
        // still there now.
        match rustix::fs::seek(file, SeekFrom::Data(from)) {
            Ok(data) if data > from => from = data,
            Ok(_) | Err(Errno::INVAL) => {
                bytes.truncate(length);
                return Ok((bytes, from + length as u64));
            }
            Err(Errno::NXIO) => from = file.metadata()?.len(),
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use rustix::fs::{FallocateFlags, fallocate};
    use tokio::io::AsyncReadExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn output_arrives_from_now_on_without_line_ends_and_to_the_last() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"before\n").unwrap();
        let (end, ended) = oneshot::channel::<()>();
        let mut reader = follow(file.path(), async { drop(ended.await) }).await.unwrap();
        file.write_all(b"/ # ").unwrap();
        let mut prompt = [0; 4];
        reader.read_exact(&mut prompt).await.unwrap();
        assert_eq!(&prompt, b"/ # ");
        file.write_all(b"bye").unwrap();
        drop(end);
        let mut rest = String::new();
        reader.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "bye");
    }

    #[test]
    fn what_was_given_back_is_skipped() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[b'x'; 8192]).unwrap();
        file.write_all(b"rest").unwrap();
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if fallocate(file.as_file(), flags, 0, 8192).is_err() {
            return;
        }
        let (bytes, end) = read_at(file.as_file(), 100).unwrap();
        assert_eq!((bytes.as_slice(), end), (&b"rest"[..], 8196));
    }
}
