//! Starting a container's process.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, Signal, WaitOptions, kill_process_group, set_dumpable_behavior, waitpid,
};

use super::command::{check_executable, reason};
use super::credentials::Credentials;
use super::identity::{Identity, Stat};
use super::mounts::View;
use super::supervisor::{self, End, Notes};
use crate::cgroup::Cgroup;
use crate::namespaces::{self, Namespaces};

/// `POSIX_SPAWN_SETSID` of glibc and musl, which `nix` does not name.
pub(super) const SPAWN_SETSID: i32 = 0x80;
/// Above every descriptor that the supervisor gets, so that placing them overwrites none.
pub(super) const FIRST_FREE_DESCRIPTOR: RawFd = 10;
/// How long the kernel may take to execute a command: its file may lie on a slow disk.
const EXECUTE_TIMEOUT: Duration = Duration::from_secs(60);

/// Everything that starting needs, decided beforehand.
pub(super) struct Plan {
    /// Shows in the list of processes.
    pub(super) title: String,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) working_directory: PathBuf,
    pub(super) stop_signal: u32,
    pub(super) notes: PathBuf,
    /// A named pipe for the input; nothing when it has none.
    pub(super) stdin: Option<PathBuf>,
    pub(super) stdout: PathBuf,
    pub(super) stderr: PathBuf,
    pub(super) namespaces: Namespaces,
    pub(super) hosts: Option<Hosts>,
    pub(super) view: View,
    pub(super) credentials: Credentials,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) oom_score_adj: i32,
    /// Whether the host may be traced and leave core files, to be restored.
    pub(super) dumpable: Option<DumpableBehavior>,
}

/// A hosts file to write once the pod's addresses are known.
pub(super) struct Hosts {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// What to call the pod by.
    pub(super) names: String,
}

/// What runs now.
pub(super) struct Spawned {
    pub(super) supervisor: Identity,
    pub(super) process: Identity,
}

/// Starts the supervisor, lets it go once it is in its cgroup, and returns when the command has
/// been executed. Blocks for a millisecond or two. `before_go` runs last before the command does.
///
/// # Errors
/// Says why the command could not be executed; then nothing runs.
pub(super) fn spawn(
    plan: Plan,
    before_go: impl FnOnce() -> io::Result<()>,
) -> Result<Spawned, String> {
    let said = |what: &'static str| move |error: io::Error| format!("{what}: {}", reason(&error));
    let (go, go_writer) = pipe().map_err(said("make a pipe"))?;
    let (report, report_writer) = pipe().map_err(said("make a pipe"))?;
    // While this is open, writing the other end cannot raise SIGPIPE in the host.
    let go_kept = go.try_clone().map_err(said("make a pipe"))?;
    let cgroup = plan.cgroup.clone();
    let (oom_score_adj, notes) = (plan.oom_score_adj, plan.notes.clone());
    let dumpable = plan.dumpable;
    let descriptors = Descriptors::open(&plan, go, report_writer).map_err(said("open files"))?;
    let pid =
        namespaces::on_own_thread("start a container", move || Ok(on_thread(&plan, descriptors)));
    // A thread that changes its user takes this from the whole process, the host included.
    if let Some(dumpable) = dumpable {
        let _ = set_dumpable_behavior(dumpable);
    }
    let (pid, born_in_cgroup) = pid.map_err(|error| error.to_string())??;
    let supervisor = Child(Some(pid));

    if let Some(cgroup) = cgroup.filter(|_| !born_in_cgroup) {
        cgroup.add(supervisor.id()).map_err(|error| error.to_string())?;
    }
    if oom_score_adj != 0 {
        // Making a process likelier to be killed is anybody's right, the other way is root's.
        let path = format!("/proc/{}/oom_score_adj", supervisor.id());
        let _ = std::fs::write(path, oom_score_adj.to_string());
    }
    before_go().map_err(said("note the start"))?;
    File::from(go_writer).write_all(b"go\n").map_err(said("start"))?;
    drop(go_kept);
    let process = read_report(report).map_err(said("start"))?;
    let identity = Stat::of(supervisor.id()).map(|stat| stat.identity);
    let Some(identity) = identity else { return Err("the supervisor is gone".into()) };
    await_execution(process, identity, &notes)?;
    supervisor.release();
    Ok(Spawned { supervisor: identity, process })
}

/// The supervisor until it is known to do its work: killed and reaped when that fails.
struct Child(Option<Pid>);

impl Child {
    fn id(&self) -> u32 {
        self.0.map_or(0, |pid| pid.as_raw_nonzero().get().unsigned_abs())
    }

    fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let Some(pid) = self.0 else { return };
        // Not reaped yet, so the number is still its own.
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = waitpid(Some(pid), WaitOptions::empty());
    }
}

pub(super) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).map_err(Into::into)
}

/// The supervisor's descriptors 0 to 5.
struct Descriptors([OwnedFd; 6]);

impl Descriptors {
    fn open(plan: &Plan, go: OwnedFd, report: OwnedFd) -> io::Result<Self> {
        let append = |path: &Path| {
            OpenOptions::new().append(true).create(true).mode(0o640).open(path).map(OwnedFd::from)
        };
        let all = [
            match &plan.stdin {
                None => File::open("/dev/null")?.into(),
                // Its own writing end too: the input neither ends nor fails while nobody is there.
                Some(pipe) => OpenOptions::new().read(true).write(true).open(pipe)?.into(),
            },
            append(&plan.stdout)?,
            append(&plan.stderr)?,
            append(&plan.notes)?,
            go,
            report,
        ];
        let mut moved = Vec::with_capacity(all.len());
        for descriptor in all {
            moved.push(fcntl_dupfd_cloexec(descriptor, FIRST_FREE_DESCRIPTOR)?);
        }
        moved.try_into().map(Self).map_err(|_| io::ErrorKind::InvalidData.into())
    }
}

/// Runs on a thread of its own, which it changes beyond repair.
fn on_thread(plan: &Plan, descriptors: Descriptors) -> Result<(Pid, bool), String> {
    let joined = plan.cgroup.as_ref().map(Cgroup::join_with_thread).transpose();
    let born_in_cgroup = joined.map_err(|error| error.to_string())?.unwrap_or(false);
    // So that the working directory and the root are the thread's own.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)
        .map_err(|errno| format!("unshare: {errno}"))?;
    namespaces::enter(&plan.namespaces).map_err(|error| error.to_string())?;
    if let Some(hosts) = &plan.hosts {
        hosts.write().map_err(|e| format!("write the hosts file: {}", reason(&e)))?;
    }
    if plan.view.changes_something() {
        plan.view.apply()?;
    }
    plan.credentials.apply().map_err(|e| format!("change the user: {}", reason(&e)))?;
    rustix::process::chdir(&plan.working_directory).map_err(|errno| {
        format!("chdir to cwd ({:?}): {}", plan.working_directory, reason(&errno.into()))
    })?;
    let path = plan.environment.iter().find(|(name, _)| name == "PATH");
    let command = plan.arguments.first().map_or("", String::as_str);
    check_executable(command, path.map_or("", |(_, value)| value))?;
    let pid = execute_supervisor(plan, &descriptors)
        .map_err(|error| format!("exec: {command:?}: {}", reason(&error)))?;
    Ok((pid, born_in_cgroup))
}

fn execute_supervisor(plan: &Plan, descriptors: &Descriptors) -> io::Result<Pid> {
    let (plain, special): (Vec<_>, Vec<_>) =
        plan.environment.iter().partition(|(name, _)| supervisor::passes_shell(name));
    let failure = supervisor::failure_signal(plan.stop_signal).to_string();
    // SIGKILL and SIGSTOP cannot be caught, nor need they be.
    let stop = if matches!(plan.stop_signal, 9 | 19) { 15 } else { plan.stop_signal };
    let mut arguments = vec![
        supervisor::SHELL.to_owned(),
        "-c".into(),
        supervisor::SCRIPT.into(),
        plan.title.clone(),
        stop.to_string(),
        failure,
    ];
    if !special.is_empty() {
        arguments.push("/usr/bin/env".into());
        arguments.extend(special.iter().map(|(name, value)| format!("{name}={value}")));
    }
    arguments.extend(plan.arguments.iter().cloned());
    let arguments = c_strings(arguments)?;
    let environment = c_strings(plain.iter().map(|(name, value)| format!("{name}={value}")))?;

    let mut actions = PosixSpawnFileActions::init()?;
    for (number, descriptor) in (0..).zip(&descriptors.0) {
        actions.add_dup2(descriptor.as_raw_fd(), number)?;
    }
    for leaked in foreign_descriptors(5)? {
        actions.add_close(leaked)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::from_bits_retain(SPAWN_SETSID),
    )?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    let pid = posix_spawn(supervisor::SHELL, &actions, &attributes, &arguments, &environment)?;
    Pid::from_raw(pid.as_raw()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// What the host may have opened to be inherited, if not by us. Closing one that closes anyway
/// does no harm.
pub(super) fn foreign_descriptors(last: RawFd) -> io::Result<Vec<RawFd>> {
    let entries = std::fs::read_dir("/proc/thread-self/fd")?;
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(numbers.filter(|number| *number > last).collect())
}

pub(super) fn c_strings(texts: impl IntoIterator<Item = String>) -> io::Result<Vec<CString>> {
    let texts = texts.into_iter().map(|text| CString::new(text).map_err(Into::into));
    texts.collect()
}

fn read_report(report: OwnedFd) -> io::Result<Identity> {
    let mut report = File::from(report);
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    loop {
        let length = report.read(&mut buffer)?;
        text.extend_from_slice(&buffer[..length]);
        if length == 0 || text.ends_with(b"\n") {
            break;
        }
    }
    Stat::parse(&String::from_utf8_lossy(&text))
        .map(|stat| stat.identity)
        .ok_or_else(|| io::Error::other("the supervisor was killed"))
}

/// Waits until the process is no longer the shell that it was forked from. The kernel announces
/// this to nobody but the parent of a `vfork`, so we look, a few times as a rule.
fn await_execution(process: Identity, supervisor: Identity, notes: &Path) -> Result<(), String> {
    let mut pause = Duration::from_micros(20);
    let mut waited = Duration::ZERO;
    while waited < EXECUTE_TIMEOUT {
        let stat = process.stat();
        if stat.is_some_and(|stat| stat.executed && !stat.zombie) {
            return Ok(());
        }
        let supervised = supervisor.stat().is_some_and(|stat| !stat.zombie);
        if stat.is_none_or(|stat| stat.zombie) || !supervised {
            match Notes::read(notes).end {
                Some(End::Exited(_)) => return Ok(()),
                Some(End::NotExecuted(127)) => return Err("exec: no such file or directory".into()),
                Some(End::NotExecuted(_)) => return Err("exec: the kernel can't execute it".into()),
                None if !supervised => return Err("killed before it was executed".into()),
                None => {}
            }
        }
        std::thread::sleep(pause);
        waited += pause;
        pause = (pause * 2).min(Duration::from_millis(5));
    }
    Err(format!("exec: not executed within {} seconds", EXECUTE_TIMEOUT.as_secs()))
}

impl Hosts {
    /// Runs in the pod's network namespace, whose addresses are the pod's.
    fn write(&self) -> io::Result<()> {
        let mut text = self.text.clone();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        for interface in nix::ifaddrs::getifaddrs()? {
            let Some(address) = interface.address else { continue };
            let address: Option<std::net::IpAddr> =
                match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                    (Some(v4), _) => Some(v4.ip().into()),
                    (_, Some(v6)) if !v6.ip().is_unicast_link_local() => Some(v6.ip().into()),
                    _ => None,
                };
            if let Some(address) = address.filter(|address| !address.is_loopback()) {
                text.push_str(&format!("{address}\t{}\n", self.names));
            }
        }
        std::fs::write(&self.path, text)
    }
}
