//! The supervisor: a shell between the host and a container's process.
//!
//! Whoever waits for a process learns its exit code, and nobody else ever does. The host may be
//! gone by then, so each container has a parent of its own that outlives the host: `/bin/sh` with
//! the script below, a fraction of a megabyte. It notes in a file who it is, who the process is
//! and how that ended. It leads a session and process group of its own in which the container
//! lives, and in the end takes with it what is left of that group.
//!
//! Its descriptors: 3 is the notes, 4 tells it to go (or, by its end, that the host is gone), 5
//! tells the host the process's identity.

use super::identity::{Identity, Stat};

/// The shell that supervises.
pub(super) const SHELL: &str = "/bin/sh";

/// Arguments: the stop signal's number, the number of a signal that means "could not execute",
/// then the command.
///
/// - The process runs in the foreground: background processes of a shell ignore SIGINT.
/// - Traps keep the supervisor alive when the group is signalled; a forked shell drops them.
/// - `read </proc/self/stat` gives the process's own identity without executing anything.
/// - `exec` that fails ends the shell, which then runs its EXIT trap; `exec` that succeeds never
///   comes back. So the trap tells a command that could not be executed from one that exits with
///   126 or 127.
/// - The last line kills the supervisor too. It has nothing left to do.
pub(super) const SCRIPT: &str = r#"
trap : HUP INT QUIT USR1 USR2 ALRM TERM "$1"
trap 'failed=yes' "$2"
signal=$2
shift 2
exec 6>&2 2>/dev/null
read -r self </proc/self/stat
echo "supervisor $self" >&3
read -r go <&4 || exit 1
(
  read -r self </proc/self/stat
  echo "process $self" >&3
  echo "$self" >&5
  unset self go failed OLDPWD PWD SHLVL
  trap 'kill -"$signal" $$' EXIT
  exec "$@" 2>&6 3>&- 4>&- 5>&- 6>&-
)
code=$?
if [ "$failed" ]; then echo "failed $code" >&3; else echo "exit $code" >&3; fi
kill -KILL 0
"#;

/// Names that the script or some shell uses itself. A container's variables of these names, and
/// those whose names no shell accepts, take a way around the shell.
const SHELL_NAMES: [&str; 30] = [
    "self",
    "go",
    "failed",
    "signal",
    "code",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "_",
    "IFS",
    "OPTIND",
    "OPTARG",
    "OPTERR",
    "PS1",
    "PS2",
    "PS4",
    "PPID",
    "UID",
    "EUID",
    "GROUPS",
    "LINENO",
    "RANDOM",
    "SECONDS",
    "ENV",
    "SHELLOPTS",
    "POSIXLY_CORRECT",
    "FUNCNAME",
    "DIRSTACK",
    "MAILPATH",
    "MAIL",
];

/// Whether a variable goes through the shell's own environment unchanged.
pub(super) fn passes_shell(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !SHELL_NAMES.contains(&name)
        && !name.starts_with("BASH")
        && !name.starts_with("LD_")
}

/// The signal by which the shell learns that executing failed, one that is not the stop signal.
pub(super) fn failure_signal(stop_signal: u32) -> u32 {
    if stop_signal == 64 { 63 } else { 64 }
}

/// What the supervisor has noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    pub(super) supervisor: Option<Identity>,
    pub(super) process: Option<Identity>,
    pub(super) end: Option<End>,
}

/// How the process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With this code; 128 plus the signal's number when a signal ended it.
    Exited(i32),
    /// The command could not be executed; 126 or 127.
    NotExecuted(i32),
}

impl Notes {
    /// A line without its newline is still being written and does not count.
    pub(super) fn parse(text: &str) -> Self {
        let mut notes = Self::default();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let Some((word, rest)) = line.split_once(' ') else { continue };
            let identity = || Stat::parse(rest).map(|stat| stat.identity);
            match word {
                "supervisor" => notes.supervisor = identity(),
                "process" => notes.process = identity(),
                "exit" => notes.end = rest.parse().ok().map(End::Exited),
                "failed" => notes.end = rest.parse().ok().map(End::NotExecuted),
                _ => {}
            }
        }
        notes
    }

    pub(super) fn read(path: &std::path::Path) -> Self {
        std::fs::read_to_string(path).map(|text| Self::parse(&text)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_line_by_line() {
        let stat = "7 (sh) S 1 7 7 0 -1 0 1 0 0 0 0 0 0 0 20 0 1 0 99 1 1";
        let notes = Notes::parse(&format!("supervisor {stat}\nprocess {stat}\nexit 14"));
        assert_eq!(notes.supervisor, Some(Identity { pid: 7, start: 99 }));
        assert_eq!(notes.end, None, "the code may go on");
        assert_eq!(Notes::parse("exit 143\n").end, Some(End::Exited(143)));
        assert_eq!(Notes::parse("failed 127\n").end, Some(End::NotExecuted(127)));
        assert_eq!(Notes::parse("\u{0}garbage\n\n"), Notes::default());
    }

    #[test]
    fn names_that_a_shell_would_change_are_known() {
        for name in ["PATH", "a1", "_x", "HOSTNAME"] {
            assert!(passes_shell(name), "{name}");
        }
        for name in ["discovery.type", "my-var", "1x", "", "UID", "IFS", "LD_PRELOAD", "BASH_ENV"] {
            assert!(!passes_shell(name), "{name}");
        }
    }
}
