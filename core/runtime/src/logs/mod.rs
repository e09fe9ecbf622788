//! Container logs in the CRI log format.
//!
//! A line of a log file is a time, a stream, a tag and the text:
//!
//! ```text
//! 2026-11-22T10:00:00.000000000Z stdout F hello
//! ```
//!
//! `F` is a full line; `P` is a part of one, whose rest follows in a later line of the same
//! stream.
//!
//! What a container prints goes through two hops: the container (or its shim) appends to two raw
//! files, which needs nobody of ours to be alive, and a [`LogPump`] turns them into the log file,
//! which is rotated when it is full (see [`LogLimits`]). [`read_logs`] reads all files as one.

#[cfg(target_os = "linux")]
mod pump;
#[cfg(target_os = "linux")]
pub(crate) mod raw;
mod read;
mod rotation;
#[cfg(target_os = "linux")]
mod tail;

#[cfg(target_os = "linux")]
pub use pump::{LogPump, LogPumpConfig, LogPumps};
pub use read::{LogLine, LogOptions, read_logs};
pub use rotation::{LogLimits, remove_log};

use jiff::Timestamp;
use std::io::Write;

/// The longest text of one log line in bytes; what is longer is written in parts.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// Where a container printed a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl LogStream {
    /// The word of the log format.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Appends one line in the CRI log format to `out`. `text` holds no newline.
pub fn format_line(
    out: &mut Vec<u8>,
    time: Timestamp,
    stream: LogStream,
    partial: bool,
    text: &[u8],
) {
    let tag = if partial { 'P' } else { 'F' };
    // Writing to a Vec cannot fail.
    let _ = write!(out, "{time:.9} {} {tag} ", stream.as_str());
    out.extend_from_slice(text);
    out.push(b'\n');
}

/// A line of a log file, taken apart.
#[derive(Debug, PartialEq)]
pub(crate) struct ParsedLine<'a> {
    pub(crate) time: Timestamp,
    /// The time as it is written.
    pub(crate) time_text: &'a str,
    pub(crate) stream: LogStream,
    pub(crate) partial: bool,
    pub(crate) text: &'a [u8],
}

/// Takes a line without its newline apart; `None` when it is not in the CRI log format.
pub(crate) fn parse_line(line: &[u8]) -> Option<ParsedLine<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let time_text = std::str::from_utf8(parts.next()?).ok()?;
    let stream = match parts.next()? {
        b"stdout" => LogStream::Stdout,
        b"stderr" => LogStream::Stderr,
        _ => return None,
    };
    // Further tags may follow the first after a colon.
    let partial = parts.next()?.split(|byte| *byte == b':').next()? == b"P";
    let text = parts.next().unwrap_or_default();
    Some(ParsedLine { time: time_text.parse().ok()?, time_text, stream, partial, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_as_it_was_written() {
        let time: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let mut out = Vec::new();
        format_line(&mut out, time, LogStream::Stderr, true, b"a b  c");
        assert_eq!(out, b"2026-11-22T10:00:00.000000000Z stderr P a b  c\n");
        let line = parse_line(out.strip_suffix(b"\n").unwrap()).unwrap();
        assert_eq!((line.time, line.stream, line.partial), (time, LogStream::Stderr, true));
        assert_eq!(line.text, b"a b  c");
        assert_eq!(parse_line(b"2026-11-22T10:00:00Z stdout F ").unwrap().text, b"");
        for broken in ["", "x stdout F y", "2026-11-22T10:00:00Z out F y"] {
            assert_eq!(parse_line(broken.as_bytes()), None);
        }
    }
}
