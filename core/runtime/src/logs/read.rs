use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use jiff::Timestamp;
use tokio::sync::watch;

use super::{LogStream, parse_line};
use crate::{Error, Result};

/// How much of a log is read at once.
const CHUNK_BYTES: usize = 64 * 1024;
/// The longest line that is taken for one; longer ones are not in the CRI format.
const MAX_RAW_LINE_BYTES: usize = 1024 * 1024;

/// Which lines of a log to read and how they look: the options of `pods/log`.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Only that many lines before the present end.
    pub tail_lines: Option<u64>,
    /// Only lines that are not older.
    pub since: Option<Timestamp>,
    /// Put the time before each line.
    pub timestamps: bool,
    /// End after that many bytes of text.
    pub limit_bytes: Option<u64>,
    /// Only this stream.
    pub stream: Option<LogStream>,
    /// Go on when the end is reached, until this holds true or its sender is gone; then what was
    /// written up to that moment still comes. `None` ends where the log ended at first.
    pub follow: Option<watch::Receiver<bool>>,
}

/// A line of a container's log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// When it was written.
    pub time: Timestamp,
    /// Where it was printed.
    pub stream: LogStream,
    /// The line as it is shown, with its time where that was asked for, and with a newline unless
    /// it is a part of a longer one.
    pub text: Bytes,
}

/// Reads a log in the CRI format. Lines that are in no such format are left out.
///
/// # Errors
/// The stream ends with [`Error::Io`] when the file does not exist or cannot be read.
pub fn read_logs(
    path: impl Into<PathBuf>,
    options: LogOptions,
) -> impl Stream<Item = Result<LogLine>> + Send + 'static {
    let reader = Reader {
        path: path.into(),
        left: options.limit_bytes,
        options,
        file: None,
        unread: u64::MAX,
        rest: Vec::new(),
        lines: VecDeque::new(),
        changes: None,
        stage: Stage::Reading,
    };
    Box::pin(futures::stream::unfold(reader, |mut reader| async move {
        let line = reader.next().await.transpose()?;
        if line.is_err() {
            reader.stage = Stage::Done;
        }
        Some((line, reader))
    }))
}

struct Reader {
    path: PathBuf,
    options: LogOptions,
    file: Option<Arc<File>>,
    /// How many bytes are still to be read: of a container that never stops writing, too, a log that
    /// is not followed has an end.
    unread: u64,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
    lines: VecDeque<LogLine>,
    left: Option<u64>,
    changes: Option<changes::Changes>,
    stage: Stage,
}

#[derive(PartialEq)]
enum Stage {
    Reading,
    /// The writer has ended: the next time that nothing is left, so have we.
    LastLook,
    Done,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<LogLine>> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(Some(line));
            }
            if self.stage == Stage::Done || self.left == Some(0) {
                return Ok(None);
            }
            let file = self.open().await?;
            let most = CHUNK_BYTES.min(usize::try_from(self.unread).unwrap_or(CHUNK_BYTES));
            let chunk = self.blocking(move || read_chunk(&file, most)).await?;
            if !chunk.is_empty() {
                self.unread = self.unread.saturating_sub(chunk.len() as u64);
                self.take(&chunk);
            } else if self.stage == Stage::LastLook {
                self.stage = Stage::Done;
            } else {
                self.wait().await?;
            }
        }
    }

    async fn open(&mut self) -> Result<Arc<File>> {
        if let Some(file) = &self.file {
            return Ok(Arc::clone(file));
        }
        // Watched before the first read, so that no line can slip in between.
        if self.options.follow.is_some() {
            self.changes = Some(changes::Changes::new(&self.path).map_err(|e| self.failed(e))?);
        }
        let (path, tail) = (self.path.clone(), self.options.tail_lines);
        let (file, unread) = self.blocking(move || open_at(&path, tail)).await?;
        if self.options.follow.is_none() {
            self.unread = unread;
        }
        Ok(Arc::clone(self.file.insert(Arc::new(file))))
    }

    async fn wait(&mut self) -> Result<()> {
        let (Some(changes), Some(ended)) = (&mut self.changes, &mut self.options.follow) else {
            self.stage = Stage::Done;
            return Ok(());
        };
        tokio::select! {
            // An error says that the sender is gone, which ends it too.
            _ = ended.wait_for(|ended| *ended) => self.stage = Stage::LastLook,
            changed = changes.next() => {
                let operation = || format!("follow {}", self.path.display());
                changed.map_err(|source| Error::Io { operation: operation(), source })?;
            }
        }
        Ok(())
    }

    fn take(&mut self, chunk: &[u8]) {
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(chunk);
        let mut start = 0;
        while let Some(length) = rest[start..].iter().position(|byte| *byte == b'\n') {
            self.take_line(&rest[start..start + length]);
            start += length + 1;
        }
        rest.drain(..start);
        if rest.len() > MAX_RAW_LINE_BYTES {
            rest.clear();
        }
        self.rest = rest;
    }

    fn take_line(&mut self, line: &[u8]) {
        let Some(parsed) = parse_line(line) else { return };
        if self.options.since.is_some_and(|since| parsed.time < since)
            || self.options.stream.is_some_and(|stream| parsed.stream != stream)
            || self.left == Some(0)
        {
            return;
        }
        let mut text = Vec::with_capacity(line.len() + 1);
        if self.options.timestamps {
            text.extend_from_slice(parsed.time_text.as_bytes());
            text.push(b' ');
        }
        text.extend_from_slice(parsed.text);
        if !parsed.partial {
            text.push(b'\n');
        }
        if let Some(left) = &mut self.left {
            text.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= text.len() as u64;
        }
        self.lines.push_back(LogLine {
            time: parsed.time,
            stream: parsed.stream,
            text: text.into(),
        });
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let result = tokio::task::spawn_blocking(work).await;
        result.unwrap_or_else(|e| Err(io::Error::other(e))).map_err(|e| self.failed(e))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::Io { operation: format!("read {}", self.path.display()), source }
    }
}

/// At most that many bytes from where the file stands; empty at the end.
fn read_chunk(mut file: &File, most: usize) -> io::Result<Vec<u8>> {
    let mut chunk = vec![0; most];
    let length = loop {
        match file.read(&mut chunk) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if length == 0 && file.stream_position()? > file.metadata()?.len() {
        // A writer that recovered from a crash has cut the file.
        file.seek(SeekFrom::End(0))?;
    }
    chunk.truncate(length);
    Ok(chunk)
}

/// Opens the file, standing before its last `tail` lines, and says how many bytes follow.
fn open_at(path: &Path, tail: Option<u64>) -> io::Result<(File, u64)> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let start = match tail {
        None => 0,
        Some(tail) => start_of_tail(&mut file, length, tail)?,
    };
    file.seek(SeekFrom::Start(start))?;
    Ok((file, length - start))
}

/// Where the last `tail` lines of the first `end` bytes begin.
fn start_of_tail(file: &mut File, mut end: u64, tail: u64) -> io::Result<u64> {
    // The newline that ends the last wanted line is the first that is met.
    let mut newlines = 0;
    let mut chunk = vec![0; CHUNK_BYTES];
    while end > 0 {
        let start = end.saturating_sub(CHUNK_BYTES as u64);
        #[expect(clippy::cast_possible_truncation, reason = "at most CHUNK_BYTES")]
        let chunk = &mut chunk[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(chunk)?;
        for (at, byte) in chunk.iter().enumerate().rev() {
            if *byte != b'\n' {
                continue;
            }
            newlines += 1;
            if newlines > tail {
                return Ok(start + at as u64 + 1);
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(target_os = "linux")]
mod changes {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::path::Path;

    use rustix::fs::inotify;
    use tokio::io::unix::AsyncFd;

    /// Wakes when a file grows.
    pub(super) struct Changes(AsyncFd<OwnedFd>);

    impl Changes {
        pub(super) fn new(path: &Path) -> io::Result<Self> {
            let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
            let instance = inotify::init(flags)?;
            inotify::add_watch(&instance, path, inotify::WatchFlags::MODIFY)?;
            Ok(Self(crate::descriptor::watch(instance)?))
        }

        pub(super) async fn next(&mut self) -> io::Result<()> {
            let mut ready = self.0.readable().await?;
            let mut buffer = [0u8; 4096];
            // Only that there were events matters.
            while rustix::io::read(self.0.get_ref(), &mut buffer).is_ok() {}
            ready.clear_ready();
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod changes {
    use std::io;
    use std::path::Path;
    use std::time::Duration;

    /// How often a file is looked at where the system does not say that it grew.
    const INTERVAL: Duration = Duration::from_millis(200);

    /// Wakes now and then.
    pub(super) struct Changes;

    impl Changes {
        pub(super) fn new(path: &Path) -> io::Result<Self> {
            path.metadata().map(|_| Self)
        }

        pub(super) async fn next(&mut self) -> io::Result<()> {
            tokio::time::sleep(INTERVAL).await;
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;
    use std::io::Write;
    use std::time::Duration;

    const LOG: &str = "\
2026-01-01T00:00:01Z stdout F one
2026-01-01T00:00:02Z stderr F two
garbage
2026-01-01T00:00:03Z stdout P thr
2026-01-01T00:00:03Z stdout F ee
";

    fn log(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    async fn text(options: LogOptions) -> String {
        let file = log(LOG);
        let lines: Vec<_> = read_logs(file.path(), options).collect().await;
        let lines = lines.into_iter().map(|line| line.unwrap().text);
        String::from_utf8(lines.flatten().collect()).unwrap()
    }

    #[tokio::test]
    async fn options_choose_lines_and_their_form() {
        let all = LogOptions::default();
        assert_eq!(text(all.clone()).await, "one\ntwo\nthree\n");
        let stderr = Some(LogStream::Stderr);
        assert_eq!(text(LogOptions { stream: stderr, ..all.clone() }).await, "two\n");
        assert_eq!(text(LogOptions { tail_lines: Some(1), ..all.clone() }).await, "ee\n");
        assert_eq!(text(LogOptions { tail_lines: Some(0), ..all.clone() }).await, "");
        assert_eq!(
            text(LogOptions { tail_lines: Some(99), ..all.clone() }).await,
            "one\ntwo\nthree\n"
        );
        let since = "2026-01-01T00:00:02Z".parse().ok();
        assert_eq!(text(LogOptions { since, ..all.clone() }).await, "two\nthree\n");
        assert_eq!(text(LogOptions { limit_bytes: Some(6), ..all.clone() }).await, "one\ntw");
        let timed = LogOptions { timestamps: true, tail_lines: Some(1), ..all };
        assert_eq!(text(timed).await, "2026-01-01T00:00:03Z ee\n");
    }

    #[tokio::test]
    async fn the_tail_is_found_across_chunks() {
        let line = format!("2026-01-01T00:00:00Z stdout F {}\n", "z".repeat(1000));
        let file = log(&line.repeat(500));
        let options = LogOptions { tail_lines: Some(200), ..LogOptions::default() };
        assert_eq!(read_logs(file.path(), options).count().await, 200);
    }

    #[tokio::test]
    async fn what_is_written_meanwhile_is_shown_only_to_those_who_follow() {
        let line = "2026-01-01T00:00:00Z stdout F more\n";
        let mut file = log(&line.repeat(3000));
        let options = LogOptions { tail_lines: Some(2500), ..LogOptions::default() };
        let mut lines = read_logs(file.path(), options);
        assert!(lines.next().await.unwrap().is_ok());
        file.write_all(line.repeat(10).as_bytes()).unwrap();
        assert_eq!(lines.count().await, 2499);
    }

    #[tokio::test]
    async fn following_shows_new_lines_and_ends_after_the_writer() {
        let mut file = log("2026-01-01T00:00:03Z stdout F three\n");
        let (end, ended) = watch::channel(false);
        let follow = LogOptions { follow: Some(ended), ..LogOptions::default() };
        let mut lines = read_logs(file.path(), follow);
        let text = |line: Option<Result<LogLine>>| line.map(|line| line.unwrap().text);
        assert_eq!(text(lines.next().await).unwrap(), "three\n");
        file.write_all(b"2026-01-01T00:00:04Z stdout F four\n2026-01-01T00:0").unwrap();
        assert_eq!(text(lines.next().await).unwrap(), "four\n");
        // What was written before the end was told must still come.
        file.write_all(b"0:05Z stdout F five\n").unwrap();
        end.send(true).unwrap();
        let rest = async { (text(lines.next().await), text(lines.next().await)) };
        let rest = tokio::time::timeout(Duration::from_secs(10), rest).await.unwrap();
        assert_eq!(rest, (Some("five\n".into()), None));
    }

    #[tokio::test]
    async fn a_missing_log_is_an_error_and_the_end() {
        let lines: Vec<_> = read_logs("/nonexistent/0.log", LogOptions::default()).collect().await;
        assert!(matches!(lines[..], [Err(Error::Io { .. })]));
    }
}
