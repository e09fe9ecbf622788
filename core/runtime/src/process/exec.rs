//! Commands beside a container's process, and joining that process.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt as _;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::SigSet;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open,
    set_dumpable_behavior, waitid,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::unix::AsyncFd;
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::command::{self, reason};
use super::container::Container;
use super::credentials::Credentials;
use super::spawn::{FIRST_FREE_DESCRIPTOR, SPAWN_SETSID, c_strings, foreign_descriptors, pipe};
use super::{Pod, Shared, start};
use crate::cgroup::Cgroup;
use crate::logs::raw;
use crate::namespaces::{self, Namespaces};
use crate::session::{Hold, Input};
use crate::{ContainerPhase, Error, Result, Session, Streams};

/// What a command needs, decided beforehand.
struct Plan {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    working_directory: PathBuf,
    namespaces: Namespaces,
    /// The mounts that the container sees.
    mounts: Option<File>,
    credentials: Credentials,
    cgroup: Option<Cgroup>,
}

/// Runs a command where a container runs: in its namespaces, as its user, within its limits.
pub(super) async fn exec(
    shared: &Arc<Shared>,
    pod: &Pod,
    container: &Container,
    arguments: &[String],
    streams: Streams,
) -> Result<Session> {
    if streams.tty {
        return Err(Error::InvalidConfig("a terminal needs containerd".into()));
    }
    if arguments.is_empty() {
        return Err(Error::InvalidConfig("you must specify at least one command".into()));
    }
    let config = &container.record.config;
    let ContainerPhase::Running { pid, .. } = *container.phase.borrow() else {
        return Err(Error::NotRunning(config.name.clone()));
    };
    let directory = if config.working_dir.is_empty() { "/" } else { config.working_dir.as_str() };
    let plan = Plan {
        arguments: arguments.to_vec(),
        environment: command::environment(config, &start::hostname(pod)),
        working_directory: directory.into(),
        namespaces: pod.namespaces.clone(),
        mounts: if shared.may_pin { mounts_of(pid).map_err(failed)? } else { None },
        credentials: Credentials::plan(&config.security)?,
        cgroup: container.cgroup.clone(),
    };
    let pipes = Pipes::make(streams).map_err(failed)?;
    let (own, theirs) = (pipes.own, pipes.theirs);
    let spawned = tokio::task::spawn_blocking(move || {
        namespaces::on_own_thread("run a command", move || Ok(on_thread(&plan, &theirs)))
    });
    let spawned = spawned.await.unwrap_or_else(|error| Err(failed(io::Error::other(error))));
    // As when a container is started.
    if let Some(dumpable) = shared.dumpable {
        let _ = set_dumpable_behavior(dumpable);
    }
    let pid = spawned?.map_err(|message| Error::Execute { message })?;
    let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| failed(errno.into()))?;
    let handle = crate::descriptor::watch(handle).map_err(failed)?;
    let (hold, dropped) = Hold::new();
    let (tell, told) = oneshot::channel();
    shared.watchers.spawn(watch(shared.clone(), pid, handle, tell, dropped));
    let exit_hold = hold.clone();
    let exit = async move {
        let code = told.await;
        drop(exit_hold);
        code.unwrap_or_else(|_| {
            let message = "it was shut down before the command ended".into();
            Err(Error::Unavailable { runtime: "process", message })
        })
    };
    // What has no reader is the null device.
    let reader =
        |end: Option<OwnedFd>| end.map(pipe::Receiver::from_owned_fd).transpose().map_err(failed);
    let stdin = own.stdin.map(pipe::Sender::from_owned_fd).transpose().map_err(failed)?;
    let (stdout, stderr) = (reader(own.stdout)?, reader(own.stderr)?);
    Ok(Session {
        stdin: stdin.map(|pipe| Box::pin(hold.on(Input::new(pipe).0)) as _),
        stdout: stdout.map(|pipe| Box::pin(hold.on(pipe)) as _),
        stderr: stderr.map(|pipe| Box::pin(hold.on(pipe)) as _),
        resize: None,
        exit: exit.boxed(),
    })
}

/// Joins a container's process. Its output goes to files and is followed there.
pub(super) async fn attach(container: &Arc<Container>, streams: Streams) -> Result<Session> {
    let config = &container.record.config;
    if !container.is_running() {
        return Err(Error::NotRunning(config.name.clone()));
    }
    let files = container.log_files();
    let follow = async |wanted: bool, path: PathBuf| {
        if !wanted {
            return Ok::<_, Error>(None);
        }
        let container = container.clone();
        let reader = raw::follow(&path, async move { container.exited().await }).await?;
        Ok(Some(Box::pin(reader) as _))
    };
    let stdout = follow(streams.stdout, files.stdout).await?;
    let stderr = follow(streams.stderr, files.stderr).await?;
    let stdin = match (streams.stdin, config.stdin) {
        (false, _) => None,
        // It has no input: what is typed goes nowhere.
        (true, false) => Some(Box::pin(tokio::io::sink()) as _),
        (true, true) => {
            let opened = pipe::OpenOptions::new().open_sender(container.files.stdin());
            Some(Box::pin(Input::new(opened.map_err(failed)?).0) as _)
        }
    };
    let ended = container.clone();
    let exit = async move {
        ended.exited().await;
        match &*ended.phase.borrow() {
            ContainerPhase::Exited(exit) => Ok(exit.code),
            _ => Err(Error::NotRunning(ended.record.config.name.clone())),
        }
    };
    Ok(Session { stdin, stdout, stderr, resize: None, exit: exit.boxed() })
}

/// The mounts that a process sees, if they are not the machine's.
fn mounts_of(pid: u32) -> io::Result<Option<File>> {
    let theirs = format!("/proc/{pid}/ns/mnt");
    if std::fs::read_link(&theirs)? == std::fs::read_link("/proc/self/ns/mnt")? {
        return Ok(None);
    }
    File::open(theirs).map(Some)
}

/// Waits for a command's end; what nobody is connected to any longer is killed, with all that it
/// has started and not sent away.
async fn watch(
    shared: Arc<Shared>,
    pid: Pid,
    handle: AsyncFd<OwnedFd>,
    tell: oneshot::Sender<Result<i32>>,
    dropped: oneshot::Receiver<()>,
) {
    let ended = async { handle.readable().await.map(drop) };
    tokio::pin!(ended);
    tokio::select! {
        biased;
        _ = &mut ended => {}
        _ = dropped => {
            // Not reaped yet, so the number is still its own.
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = ended.await;
        }
        () = shared.ended.cancelled() => {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = ended.await;
        }
    }
    // Nobody may want to know.
    let _ = tell.send(reap(handle.get_ref()).map_err(failed));
}

fn reap(handle: &OwnedFd) -> io::Result<i32> {
    let status = waitid(WaitId::PidFd(handle.as_fd()), WaitIdOptions::EXITED)?;
    let status = status.ok_or(io::ErrorKind::WouldBlock)?;
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    Ok(status.exit_status().or(signal).unwrap_or(-1))
}

/// Runs on a thread of its own, which it changes beyond repair.
fn on_thread(plan: &Plan, streams: &[OwnedFd; 3]) -> std::result::Result<Pid, String> {
    let said = |what: &'static str| move |error: io::Error| format!("{what}: {}", reason(&error));
    let joined = plan.cgroup.as_ref().map(Cgroup::join_with_thread).transpose();
    let born_in_cgroup = joined.map_err(|error| error.to_string())?.unwrap_or(false);
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_FS)
        .map_err(|errno| said("unshare")(errno.into()))?;
    namespaces::enter(&plan.namespaces).map_err(|error| error.to_string())?;
    if let Some(mounts) = &plan.mounts {
        move_into_link_name_space(mounts.as_fd(), Some(LinkNameSpaceType::Mount))
            .map_err(|errno| said("enter the container's mounts")(errno.into()))?;
    }
    plan.credentials.apply().map_err(said("change the user"))?;
    rustix::process::chdir(&plan.working_directory).map_err(|errno| said("chdir")(errno.into()))?;
    let path = plan.environment.iter().find(|(name, _)| name == "PATH");
    let command = plan.arguments.first().map_or("", String::as_str);
    let file = command::find_executable(command, path.map_or("", |(_, value)| value))?;
    let pid = execute(plan, &file, streams).map_err(said("exec"))?;
    if !born_in_cgroup && let Some(cgroup) = &plan.cgroup {
        // It has begun already; what it does in this moment is not counted.
        let added = cgroup.add(pid.as_raw_nonzero().get().unsigned_abs());
        added.map_err(|error| error.to_string())?;
    }
    Ok(pid)
}

fn execute(plan: &Plan, file: &std::path::Path, streams: &[OwnedFd; 3]) -> io::Result<Pid> {
    let arguments = c_strings(plan.arguments.iter().cloned())?;
    let variables = plan.environment.iter().map(|(name, value)| format!("{name}={value}"));
    let environment = c_strings(variables)?;
    let mut actions = PosixSpawnFileActions::init()?;
    for (number, stream) in (0..).zip(streams) {
        actions.add_dup2(stream.as_raw_fd(), number)?;
    }
    for foreign in foreign_descriptors(2)? {
        actions.add_close(foreign)?;
    }
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK
            | PosixSpawnFlags::from_bits_retain(SPAWN_SETSID),
    )?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    let pid = posix_spawn(file, &actions, &attributes, &arguments, &environment)?;
    Pid::from_raw(pid.as_raw()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// The ends of a command's streams.
struct Pipes {
    own: Own,
    /// Its standard input, output and error.
    theirs: [OwnedFd; 3],
}

#[derive(Default)]
struct Own {
    stdin: Option<OwnedFd>,
    stdout: Option<OwnedFd>,
    stderr: Option<OwnedFd>,
}

impl Pipes {
    fn make(streams: Streams) -> io::Result<Self> {
        let null = || File::options().read(true).write(true).open("/dev/null").map(OwnedFd::from);
        let high = |end: OwnedFd| fcntl_dupfd_cloexec(end, FIRST_FREE_DESCRIPTOR);
        let output = |wanted: bool| -> io::Result<(Option<OwnedFd>, OwnedFd)> {
            if !wanted {
                return Ok((None, high(null()?)?));
            }
            let (reader, writer) = pipe()?;
            Ok((Some(reader), high(writer)?))
        };
        let (stdin, their_stdin) = if streams.stdin {
            let (reader, writer) = pipe()?;
            (Some(writer), high(reader)?)
        } else {
            (None, high(null()?)?)
        };
        let (stdout, their_stdout) = output(streams.stdout)?;
        let (stderr, their_stderr) = output(streams.stderr)?;
        let own = Own { stdin, stdout, stderr };
        Ok(Self { own, theirs: [their_stdin, their_stdout, their_stderr] })
    }
}

fn failed(source: io::Error) -> Error {
    Error::Io { operation: "run a command in a container".into(), source }
}
