use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use jiff::Timestamp;
use tokio::sync::watch;

use super::rotation::{directory, open_after, open_all};
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

/// Reads a log in the CRI format, all files of it that are kept. Lines that are in no such format
/// are left out.
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
        parts: VecDeque::new(),
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
    /// The files that are still to be read; none before the first is opened.
    parts: VecDeque<Part>,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
    lines: VecDeque<LogLine>,
    left: Option<u64>,
    changes: Option<changes::Changes>,
    stage: Stage,
}

/// One file of a log.
struct Part {
    file: Arc<File>,
    /// How many bytes are still to be read: of a container that never stops writing, too, a log that
    /// is not followed has an end.
    unread: u64,
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
            if self.parts.is_empty() {
                self.open().await?;
            }
            let Some(part) = self.parts.front_mut() else { return Ok(None) };
            let most = CHUNK_BYTES.min(usize::try_from(part.unread).unwrap_or(CHUNK_BYTES));
            let file = Arc::clone(&part.file);
            let chunk = self.blocking(move || read_chunk(&file, most)).await?;
            if !chunk.is_empty() {
                if let Some(part) = self.parts.front_mut() {
                    part.unread = part.unread.saturating_sub(chunk.len() as u64);
                }
                self.take(&chunk);
            } else if self.parts.len() > 1 {
                self.parts.pop_front();
            } else if self.find_more().await? {
                // What was written before the log was rotated may only be there since.
            } else if self.stage == Stage::LastLook {
                self.stage = Stage::Done;
            } else {
                self.wait().await?;
            }
        }
    }

    async fn open(&mut self) -> Result<()> {
        let follows = self.options.follow.is_some();
        // Watched before the first read, so that no line can slip in between.
        if follows {
            self.changes = Some(changes::Changes::new(&self.path).map_err(|e| self.failed(e))?);
        }
        let (path, tail) = (self.path.clone(), self.options.tail_lines);
        self.parts = self.blocking(move || open_at(&path, tail)).await?;
        if follows {
            self.parts.iter_mut().for_each(|part| part.unread = u64::MAX);
        }
        Ok(())
    }

    /// Whether the log that is followed has been rotated; then the next files are known.
    async fn find_more(&mut self) -> Result<bool> {
        let Some(part) = self.parts.front().filter(|_| self.options.follow.is_some()) else {
            return Ok(false);
        };
        let (path, file) = (self.path.clone(), Arc::clone(&part.file));
        let more = self.blocking(move || open_after(&path, &file)).await?;
        self.parts.extend(more.into_iter().map(|file| Part::new(file, u64::MAX)));
        Ok(self.parts.len() > 1)
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

impl Part {
    fn new(file: File, unread: u64) -> Self {
        Self { file: Arc::new(file), unread }
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

/// Opens the files of a log that hold its last `tail` lines, standing before those.
fn open_at(path: &Path, tail: Option<u64>) -> io::Result<VecDeque<Part>> {
    let mut wanted = tail;
    let mut parts = VecDeque::new();
    for mut file in open_all(path)?.into_iter().rev() {
        let length = file.metadata()?.len();
        let start = match &mut wanted {
            None => 0,
            Some(wanted) => {
                let (start, lines) = start_of_tail(&mut file, length, *wanted)?;
                *wanted -= lines;
                start
            }
        };
        file.seek(SeekFrom::Start(start))?;
        parts.push_front(Part::new(file, length - start));
        if wanted == Some(0) {
            break;
        }
    }
    Ok(parts)
}

/// Where the last `tail` lines of the first `end` bytes begin, and how many they are.
fn start_of_tail(file: &mut File, mut end: u64, tail: u64) -> io::Result<(u64, u64)> {
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
            if newlines == tail {
                return Ok((start + at as u64 + 1, tail));
            }
            newlines += 1;
        }
        end = start;
    }
    Ok((0, newlines))
}

#[cfg(target_os = "linux")]
mod changes {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::path::Path;

    use rustix::fs::inotify;
    use tokio::io::unix::AsyncFd;

    /// Wakes when a file of a log grows or makes way for another.
    pub(super) struct Changes(AsyncFd<OwnedFd>);

    impl Changes {
        pub(super) fn new(path: &Path) -> io::Result<Self> {
            let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
            let instance = inotify::init(flags)?;
            // The directory, for files come and go.
            let what = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
            inotify::add_watch(&instance, super::directory(path), what)?;
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
            super::directory(path).metadata().map(|_| Self)
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

    /// A log of three files, and where it is.
    fn rotated() -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("0.log");
        for (name, text) in [("0.log.9", "1 2"), ("0.log.10", "3 4"), ("0.log", "5")] {
            std::fs::write(home.path().join(name), numbered(text)).unwrap();
        }
        (home, path)
    }

    fn numbered(numbers: &str) -> String {
        let line = |number| format!("2026-01-01T00:00:0{number}Z stdout F {number}\n");
        numbers.split(' ').map(line).collect()
    }

    #[tokio::test]
    async fn the_files_of_a_log_are_read_as_one() {
        let (_home, path) = rotated();
        let read = async |options: LogOptions| {
            let lines: Vec<_> = read_logs(&path, options).collect().await;
            let text = lines.into_iter().flat_map(|line| line.unwrap().text);
            String::from_utf8(text.collect()).unwrap().replace('\n', "")
        };
        let all = LogOptions::default();
        assert_eq!(read(all.clone()).await, "12345");
        for (tail, expected) in
            [(0, ""), (1, "5"), (2, "45"), (3, "345"), (4, "2345"), (9, "12345")]
        {
            let options = LogOptions { tail_lines: Some(tail), ..all.clone() };
            assert_eq!(read(options).await, expected);
        }
        let since = "2026-01-01T00:00:04Z".parse().ok();
        assert_eq!(read(LogOptions { since, ..all.clone() }).await, "45");
    }

    #[tokio::test]
    async fn following_goes_on_from_file_to_file() {
        let (_home, path) = rotated();
        let (end, ended) = watch::channel(false);
        let options =
            LogOptions { follow: Some(ended), tail_lines: Some(1), ..LogOptions::default() };
        let mut lines = read_logs(&path, options);
        let mut next = async || {
            let next = tokio::time::timeout(Duration::from_secs(10), lines.next()).await;
            next.unwrap().map(|line| String::from_utf8(line.unwrap().text.to_vec()).unwrap())
        };
        assert_eq!(next().await.as_deref(), Some("5\n"));
        // Rotated twice, the second time while nobody looks.
        for (to, last, first) in [("0.log.11", "6", "7"), ("0.log.12", "8", "9")] {
            let mut old = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
            old.write_all(numbered(last).as_bytes()).unwrap();
            std::fs::rename(&path, path.with_file_name(to)).unwrap();
            std::fs::write(&path, numbered(first)).unwrap();
        }
        for expected in ["6\n", "7\n", "8\n", "9\n"] {
            assert_eq!(next().await.as_deref(), Some(expected));
        }
        end.send(true).unwrap();
        assert_eq!(next().await, None);
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
