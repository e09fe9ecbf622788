//! One container's raw files and its log file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{FallocateFlags, fallocate};

use super::{LogPumpConfig, LogStream, MAX_LINE_BYTES, format_line};

/// How much of a raw file is read at once.
const BATCH_BYTES: usize = 64 * 1024;
/// How much of a raw file may have been consumed before its blocks are given back.
const PUNCH_BYTES: u64 = 1024 * 1024;
/// What is punched is a multiple of this, the block size of all common file systems.
const BLOCK_BYTES: u64 = 4096;

/// Two raw files that become one log file.
///
/// The state file holds how far the raw files have been consumed and how long the log was then.
/// It is written after the log: whoever comes next cuts off what the log has beyond it and goes
/// on from there, so that nothing is lost and nothing is written twice.
pub(super) struct Tail {
    raw: [Raw; 2],
    log: File,
    log_length: u64,
    state: File,
    buffer: Vec<u8>,
}

struct Raw {
    stream: LogStream,
    file: File,
    consumed: u64,
    punched: u64,
}

impl Tail {
    pub(super) fn open(config: &LogPumpConfig) -> io::Result<Self> {
        for path in [&config.stdout, &config.stderr, &config.log, &config.state] {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
        }
        let state = private().read(true).write(true).create(true).open(&config.state)?;
        let log = private().append(true).create(true).open(&config.log)?;
        let mut log_length = log.metadata()?.len();
        let mut raw = [
            Raw::open(LogStream::Stdout, &config.stdout)?,
            Raw::open(LogStream::Stderr, &config.stderr)?,
        ];
        match read_state(&state) {
            Some([stdout, stderr, length]) => {
                raw[0].consumed = stdout;
                raw[1].consumed = stderr;
                if log_length > length {
                    log.set_len(length)?;
                    log_length = length;
                }
            }
            // Without a state whatever has not been given back yet counts as new.
            None => raw.iter_mut().try_for_each(Raw::skip_hole)?,
        }
        Ok(Self { raw, log, log_length, state, buffer: Vec::new() })
    }

    /// Writes what is new into the log, one batch per stream. True when there may be more.
    ///
    /// On an error nothing has been consumed, and the same can be tried again.
    pub(super) fn pump(&mut self, now: Timestamp, at_end: bool) -> io::Result<bool> {
        let mut more = false;
        let mut consumed = [0; 2];
        self.buffer.clear();
        for (raw, consumed) in self.raw.iter_mut().zip(&mut consumed) {
            let (bytes, full) = raw.convert(&mut self.buffer, now, at_end)?;
            *consumed = bytes;
            more |= full && bytes > 0;
        }
        if consumed == [0; 2] {
            return Ok(false);
        }
        if let Err(error) = self.log.write_all(&self.buffer) {
            // Half a line must not stay.
            let _ = self.log.set_len(self.log_length);
            return Err(error);
        }
        self.log_length += self.buffer.len() as u64;
        for (raw, consumed) in self.raw.iter_mut().zip(consumed) {
            raw.consumed += consumed;
        }
        let [stdout, stderr] = &self.raw;
        let state =
            format!("{:020} {:020} {:020}\n", stdout.consumed, stderr.consumed, self.log_length);
        self.state.write_all_at(state.as_bytes(), 0)?;
        self.raw.iter_mut().for_each(Raw::punch);
        Ok(more)
    }
}

impl Raw {
    fn open(stream: LogStream, path: &Path) -> io::Result<Self> {
        let file = private().read(true).append(true).create(true).open(path)?;
        Ok(Self { stream, file, consumed: 0, punched: 0 })
    }

    fn skip_hole(&mut self) -> io::Result<()> {
        match rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Data(0)) {
            Ok(offset) => self.consumed = offset,
            // No data at all behind the start: an empty file or one that is all hole.
            Err(rustix::io::Errno::NXIO) => self.consumed = self.file.metadata()?.len(),
            Err(rustix::io::Errno::INVAL) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }

    /// Appends the next lines to `out`; gives how many raw bytes they are, and whether the batch
    /// was full.
    fn convert(
        &mut self,
        out: &mut Vec<u8>,
        now: Timestamp,
        at_end: bool,
    ) -> io::Result<(u64, bool)> {
        let mut batch = vec![0; BATCH_BYTES];
        let length = read_up_to(&self.file, &mut batch, self.consumed)?;
        if length == 0 {
            // Someone emptied the file under us.
            if self.file.metadata()?.len() < self.consumed {
                (self.consumed, self.punched) = (0, 0);
            }
            return Ok((0, false));
        }
        let mut rest = &batch[..length];
        loop {
            let newline = rest.iter().take(MAX_LINE_BYTES + 1).position(|byte| *byte == b'\n');
            let (partial, taken, skipped) = match newline {
                Some(at) => (false, at, 1),
                None if rest.len() > MAX_LINE_BYTES => (true, MAX_LINE_BYTES, 0),
                None if at_end && length < BATCH_BYTES && !rest.is_empty() => (true, rest.len(), 0),
                None => break,
            };
            let text = &rest[..taken];
            // As other runtimes do it, a full line loses its carriage return too.
            let text = if partial { text } else { text.strip_suffix(b"\r").unwrap_or(text) };
            format_line(out, now, self.stream, partial, text);
            rest = &rest[taken + skipped..];
        }
        Ok(((length - rest.len()) as u64, length == BATCH_BYTES))
    }

    /// Gives the blocks of what was consumed back to the file system. A file system that cannot
    /// do so keeps them until the container is removed.
    fn punch(&mut self) {
        let end = self.consumed / BLOCK_BYTES * BLOCK_BYTES;
        if end < self.punched + PUNCH_BYTES {
            return;
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _ = fallocate(&self.file, flags, self.punched, end - self.punched);
        self.punched = end;
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o640);
    options
}

fn read_up_to(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// `None` for an empty or torn file.
fn read_state(file: &File) -> Option<[u64; 3]> {
    let mut buffer = [0; 63];
    file.read_exact_at(&mut buffer, 0).ok()?;
    let text = std::str::from_utf8(&buffer).ok()?.strip_suffix('\n')?;
    let numbers: Vec<u64> = text.split(' ').map_while(|part| part.parse().ok()).collect();
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    struct Place {
        home: tempfile::TempDir,
        config: LogPumpConfig,
    }

    fn place() -> Place {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let config = LogPumpConfig {
            stdout: path("out"),
            stderr: path("err"),
            log: path("logs/0.log"),
            state: path("state"),
        };
        Place { home, config }
    }

    impl Place {
        fn print(&self, name: &str, text: &[u8]) {
            let mut file =
                private().append(true).create(true).open(self.home.path().join(name)).unwrap();
            file.write_all(text).unwrap();
        }

        /// The log without times.
        fn log(&self) -> String {
            let text = fs::read_to_string(&self.config.log).unwrap();
            text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned() + "\n").collect()
        }
    }

    fn drain(tail: &mut Tail, at_end: bool) {
        while tail.pump(Timestamp::UNIX_EPOCH, at_end).unwrap() {}
    }

    #[test]
    fn lines_wait_for_their_end_and_the_last_may_lack_one() {
        let place = place();
        let mut tail = Tail::open(&place.config).unwrap();
        place.print("out", b"one\r\ntw");
        place.print("err", b"\noops\n");
        drain(&mut tail, false);
        assert_eq!(place.log(), "stdout F one\nstderr F \nstderr F oops\n");
        place.print("out", b"o\nthree");
        drain(&mut tail, true);
        assert!(place.log().ends_with("oops\nstdout F two\nstdout P three\n"));
    }

    #[test]
    fn long_lines_are_written_in_parts() {
        let place = place();
        let mut tail = Tail::open(&place.config).unwrap();
        let long = vec![b'x'; 2 * MAX_LINE_BYTES];
        place.print("out", &long);
        place.print("out", b"\nshort\n");
        drain(&mut tail, false);
        let log = place.log();
        let shape: Vec<_> = log.lines().map(|line| (&line[..9], line.len() - 9)).collect();
        assert_eq!(
            shape,
            [("stdout P ", MAX_LINE_BYTES), ("stdout F ", MAX_LINE_BYTES), ("stdout F ", 5)]
        );
    }

    #[test]
    fn whoever_comes_next_loses_nothing_and_writes_nothing_twice() {
        let place = place();
        let mut tail = Tail::open(&place.config).unwrap();
        place.print("out", b"1\n2\n");
        drain(&mut tail, false);
        drop(tail);
        // The host died between writing a line and noting that it had done so.
        let mut log = private().append(true).open(&place.config.log).unwrap();
        log.write_all(b"1970-01-01T00:00:00Z stdout F 3\n1970-01").unwrap();
        place.print("out", b"3\n4\n");
        drain(&mut Tail::open(&place.config).unwrap(), false);
        assert_eq!(place.log(), "stdout F 1\nstdout F 2\nstdout F 3\nstdout F 4\n");
    }

    #[test]
    fn what_was_consumed_takes_no_space_and_is_not_read_again() {
        let place = place();
        let mut tail = Tail::open(&place.config).unwrap();
        let line = [b'y'; 999].iter().chain(b"\n").copied().collect::<Vec<_>>();
        for _ in 0..30 {
            place.print("out", &line.repeat(100));
            drain(&mut tail, false);
        }
        let used = fs::metadata(&place.config.stdout).unwrap().blocks() * 512;
        assert!(used <= 2 * PUNCH_BYTES, "{used} bytes are still in use");
        drop(tail);
        fs::write(&place.config.state, "torn").unwrap();
        fs::remove_file(&place.config.log).unwrap();
        drain(&mut Tail::open(&place.config).unwrap(), false);
        assert!(!fs::read(&place.config.log).unwrap().contains(&0), "holes are no text");
    }
}
