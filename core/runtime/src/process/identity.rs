//! Which process is which. A number alone is not enough: the kernel gives it away again.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Forked but not executed, in the flags of `/proc/<pid>/stat`.
const PF_FORKNOEXEC: u64 = 0x40;

/// A process, for as long as the machine is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) pid: u32,
    /// When it was started, in the kernel's ticks since the machine was.
    pub(super) start: u64,
}

/// What `/proc/<pid>/stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) identity: Identity,
    pub(super) group: u32,
    pub(super) zombie: bool,
    pub(super) executed: bool,
}

impl Stat {
    pub(super) fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    pub(super) fn parse(line: &str) -> Option<Self> {
        let pid = line.split(' ').next()?.parse().ok()?;
        // The name is in parentheses and may itself hold blanks and parentheses.
        let fields: Vec<&str> = line[line.rfind(')')? + 1..].split_ascii_whitespace().collect();
        let flags: u64 = fields.get(6)?.parse().ok()?;
        Some(Self {
            identity: Identity { pid, start: fields.get(19)?.parse().ok()? },
            group: fields.get(2)?.parse().ok()?,
            zombie: matches!(*fields.first()?, "Z" | "X"),
            executed: flags & PF_FORKNOEXEC == 0,
        })
    }
}

impl Identity {
    /// What `/proc` says about this process; `None` when it is gone, whoever has its number now.
    pub(super) fn stat(self) -> Option<Stat> {
        Stat::of(self.pid).filter(|stat| stat.identity == self)
    }

    /// A handle on this process, `None` when it has ended.
    pub(super) fn open(self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = self.raw() else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // Checked after the handle is there: it can't change hands any more.
            Ok(handle) => Ok(self.stat().filter(|stat| !stat.zombie).map(|_| handle)),
            Err(Errno::SRCH) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    pub(super) fn raw(self) -> Option<Pid> {
        i32::try_from(self.pid).ok().and_then(Pid::from_raw)
    }
}

/// Whether the process behind a handle has ended.
pub(super) fn has_ended(handle: impl AsFd) -> bool {
    let mut ready = [PollFd::new(&handle, PollFlags::IN)];
    matches!(poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1))
}

/// Tells one start of the machine from another.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_more_than_its_number() {
        let own = Stat::of(std::process::id()).unwrap();
        assert!(!own.zombie);
        assert!(own.identity.open().unwrap().is_some());
        let other = Identity { start: own.identity.start + 1, ..own.identity };
        assert!(other.open().unwrap().is_none());
        assert_eq!(other.stat(), None);
    }

    #[test]
    fn names_with_blanks_and_parentheses_are_skipped() {
        let line = "7 (a) Z (b) S 1 5 5 0 -1 4194368 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
        let stat = Stat::parse(line).unwrap();
        assert_eq!(stat.identity, Identity { pid: 7, start: 4242 });
        assert_eq!((stat.group, stat.zombie, stat.executed), (5, false, false));
    }
}
