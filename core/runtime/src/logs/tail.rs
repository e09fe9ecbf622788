//! One container's raw files and its log file.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use jiff::Timestamp;
use rustix::fs::{FallocateFlags, fallocate};

use super::rotation::Log;
use super::{LogPumpConfig, LogStream, MAX_LINE_BYTES, format_line};

/// How much of a raw file is read at once.
const BATCH_BYTES: usize = 64 * 1024;
/// How much text one batch may become: that of short lines is many times what they are.
const TEXT_BYTES: usize = 2 * BATCH_BYTES;
/// How much of a raw file may have been consumed before its blocks are given back.
const PUNCH_BYTES: u64 = 1024 * 1024;
/// What is punched is a multiple of this, the block size of all common file systems.
const BLOCK_BYTES: u64 = 4096;

/// Two raw files that become one log file.
///
/// The state file holds how far the raw files have been consumed, and how long the log was then and
/// how often it had been rotated.
/// It is written after the log: whoever comes next cuts off what the log has beyond it and goes
/// on from there, so that nothing is lost and nothing is written twice.
pub(super) struct Tail {
    raw: [Raw; 2],
    log: Log,
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
        let mut raw = [
            Raw::open(LogStream::Stdout, &config.stdout)?,
            Raw::open(LogStream::Stderr, &config.stderr)?,
        ];
        let known = match read_state(&state) {
            Some([stdout, stderr, length, number]) => {
                raw[0].consumed = stdout;
                raw[1].consumed = stderr;
                Some((length, number))
            }
            // Without a state whatever has not been given back yet counts as new.
            None => {
                raw.iter_mut().try_for_each(Raw::skip_hole)?;
                None
            }
        };
        let log = Log::open(&config.log, config.limits, known)?;
        Ok(Self { raw, log, state, buffer: Vec::new() })
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
        if self.log.is_full_for(self.buffer.len()) {
            self.save()?;
            self.log.rotate()?;
            self.save()?;
        }
        self.log.append(&self.buffer)?;
        for (raw, consumed) in self.raw.iter_mut().zip(consumed) {
            raw.consumed += consumed;
        }
        self.save()?;
        self.raw.iter_mut().for_each(Raw::punch);
        Ok(more)
    }

    fn save(&self) -> io::Result<()> {
        let [stdout, stderr] = self.raw.each_ref().map(|raw| raw.consumed);
        let (length, number) = self.log.mark();
        let state = format!("{stdout:020} {stderr:020} {length:020} {number:020}\n");
        self.state.write_all_at(state.as_bytes(), 0)
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
        let most = out.len() + TEXT_BYTES;
        while out.len() < most {
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
        Ok(((length - rest.len()) as u64, length == BATCH_BYTES || out.len() >= most))
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
fn read_state(file: &File) -> Option<[u64; 4]> {
    let mut buffer = [0; 84];
    let length = read_up_to(file, &mut buffer, 0).ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?.strip_suffix('\n')?;
    let mut numbers: Vec<u64> = text.split(' ').map_while(|part| part.parse().ok()).collect();
    if numbers.len() == 3 {
        // As it was before logs were rotated.
        numbers.push(0);
    }
    numbers.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::LogLimits;
    use std::io::Write as _;
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
            limits: LogLimits::default(),
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
    /// The first characters of all lines of all files, the oldest file first.
    fn numbers(place: &Place) -> Vec<String> {
        let mut files: Vec<_> = fs::read_dir(place.config.log.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        // `0.log` is the youngest.
        files.sort_by_key(|path| (path.ends_with("0.log"), path.clone()));
        let text: String = files.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        text.lines().map(|line| line.split(' ').nth(3).unwrap().to_owned()).collect()
    }

    #[test]
    fn a_full_log_makes_way_and_only_so_many_are_kept() {
        let mut place = place();
        place.config.limits = LogLimits { max_bytes: 100, max_files: 3 };
        let mut tail = Tail::open(&place.config).unwrap();
        for number in 1..=9 {
            // Two lines to a file.
            place.print("out", format!("{number}\n").as_bytes());
            drain(&mut tail, false);
        }
        assert_eq!(numbers(&place), ["5", "6", "7", "8", "9"]);
        assert_eq!(fs::read_dir(place.config.log.parent().unwrap()).unwrap().count(), 3);
        // Many at once, too: no file is larger than it may be.
        place.config.limits = LogLimits { max_bytes: 1 << 20, max_files: 3 };
        let mut tail = Tail::open(&place.config).unwrap();
        place.print("out", &b"x\n".repeat(200_000));
        drain(&mut tail, false);
        for file in fs::read_dir(place.config.log.parent().unwrap()).unwrap() {
            let length = file.unwrap().metadata().unwrap().len();
            assert!((1..=1 << 20).contains(&length), "{length}");
        }
    }

    /// Whatever step of a rotation the host dies after, the next one goes on as if it had not.
    #[test]
    fn a_host_that_dies_in_a_rotation_loses_nothing_and_writes_nothing_twice() {
        let one = |place: &Place| place.config.log.with_file_name("0.log.1");
        let renamed = |place: &Place| fs::rename(&place.config.log, one(place)).unwrap();
        let begun = |place: &Place| {
            renamed(place);
            fs::write(&place.config.log, "").unwrap();
        };
        let written = |place: &Place| {
            renamed(place);
            fs::write(&place.config.log, "1970-01-01T00:00:00Z stdout F 3\n1970").unwrap();
        };
        for die in [&renamed as &dyn Fn(&Place), &begun, &written, &|_| {}] {
            let mut place = place();
            place.config.limits = LogLimits { max_bytes: 100, max_files: 5 };
            let mut tail = Tail::open(&place.config).unwrap();
            place.print("out", b"1\n2\n");
            drain(&mut tail, false);
            drop(tail);
            die(&place);
            place.print("out", b"3\n");
            let mut tail = Tail::open(&place.config).unwrap();
            drain(&mut tail, false);
            place.print("out", b"4\n5\n");
            drain(&mut tail, false);
            assert_eq!(numbers(&place), ["1", "2", "3", "4", "5"]);
            assert!(one(&place).exists());
        }
    }

    #[test]
    fn a_state_of_before_there_was_rotation_is_read() {
        let place = place();
        let mut tail = Tail::open(&place.config).unwrap();
        place.print("out", b"1\n");
        drain(&mut tail, false);
        let state = fs::read_to_string(&place.config.state).unwrap();
        fs::write(&place.config.state, format!("{}\n", &state[..62])).unwrap();
        drain(&mut Tail::open(&place.config).unwrap(), false);
        assert_eq!(place.log(), "stdout F 1\n");
    }
}
