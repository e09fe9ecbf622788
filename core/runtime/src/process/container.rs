//! The life of one container.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::identity::{Identity, Stat, boot_id, has_ended};
use super::records::{self, ContainerFiles, ContainerRecord, ExitRecord, StartRecord};
use super::supervisor::{End, Notes};
use crate::cgroup::Cgroup;
use crate::logs::{LogLimits, LogPump, LogPumpConfig};
use crate::{
    ContainerId, ContainerPhase, ContainerState, Error, Exit, PodId, Result, RuntimeEvent,
};

/// How long a killed process may take to go before stopping is given up. Longer than any sane
/// disk takes, since the kernel waits for those.
const KILL_TIMEOUT: Duration = Duration::from_secs(60);
/// The exit code of a process that was killed.
pub(super) const KILLED: i32 = 137;
/// The exit code of a container that could not be started.
const CANNOT_RUN: i32 = 128;

pub(super) struct Container {
    pub(super) id: ContainerId,
    pub(super) pod: PodId,
    pub(super) record: ContainerRecord,
    pub(super) files: ContainerFiles,
    pub(super) log_path: PathBuf,
    pub(super) log_limits: LogLimits,
    pub(super) cgroup: Option<Cgroup>,
    pub(super) phase: watch::Sender<ContainerPhase>,
    /// One start or removal at a time.
    pub(super) operation: tokio::sync::Mutex<()>,
    /// The supervisor, from its start until it is reaped: while it is here its number is its own.
    pub(super) alive: Mutex<Option<Alive>>,
    pub(super) pump: Mutex<Option<LogPump>>,
    /// The runtime has ended: nobody will see this container end.
    pub(super) ended: CancellationToken,
}

pub(super) struct Alive {
    pub(super) supervisor: Identity,
    pub(super) handle: Arc<AsyncFd<OwnedFd>>,
}

impl Container {
    pub(super) fn state(&self) -> ContainerState {
        ContainerState {
            id: self.id.clone(),
            pod: self.pod.clone(),
            config: self.record.config.clone(),
            // Nothing of an image is there but its name.
            image_id: self.record.config.image.clone(),
            phase: self.phase.borrow().clone(),
            log_path: self.log_path.clone(),
            created_at: self.record.created_at,
        }
    }

    pub(super) fn log_files(&self) -> LogPumpConfig {
        LogPumpConfig {
            stdout: self.files.stdout(),
            stderr: self.files.stderr(),
            log: self.log_path.clone(),
            state: self.files.log_state(),
            limits: self.log_limits,
        }
    }

    /// Follows the container from now on: knows its supervisor and waits for its end. Without a
    /// handle the end has come already.
    pub(super) fn follow(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        supervisor: Identity,
        handle: Option<OwnedFd>,
    ) -> Result<()> {
        let failed = |source| Error::Io { operation: "watch a process".into(), source };
        let handle = handle.map(crate::descriptor::watch).transpose().map_err(failed)?;
        let handle = handle.map(Arc::new);
        *self.alive.lock() =
            handle.as_ref().map(|handle| Alive { supervisor, handle: Arc::clone(handle) });
        let (container, tasks) = (Arc::clone(self), Arc::clone(shared));
        shared.watchers.spawn(async move {
            if let Some(handle) = handle {
                let readable = container.ended.run_until_cancelled(handle.readable()).await;
                // An error says that Tokio is going down; a later runtime will see the end.
                if !matches!(readable, Some(Ok(_))) {
                    return;
                }
            }
            container.end(&tasks).await;
        });
        Ok(())
    }

    /// The supervisor has ended: takes away what it left and notes how the container ended.
    async fn end(self: &Arc<Self>, shared: &Arc<Shared>) {
        let container = Arc::clone(self);
        let now = shared.env.now();
        let exit = tokio::task::spawn_blocking(move || container.clear_up(now)).await;
        let pump = self.pump.lock().take();
        if let Some(pump) = pump
            && let Err(error) = pump.finish().await
        {
            tracing::warn!(container = %self.id, %error, "a container's last lines are not in its log");
        }
        match exit {
            Ok(exit) => self.set_exited(shared, exit),
            // The blocking pool is gone: the host is going down.
            Err(error) => tracing::debug!(%error, "stopped watching a container"),
        }
    }

    pub(super) fn set_exited(&self, shared: &Shared, exit: Exit) {
        if let Err(error) = records::write(&self.files.exit(), &ExitRecord::from(&exit)) {
            tracing::warn!(container = %self.id, %error, "a container's end is not on disk");
        }
        self.phase.send_replace(ContainerPhase::Exited(exit));
        shared.send(RuntimeEvent::Exited { pod: self.pod.clone(), container: self.id.clone() });
    }

    fn clear_up(&self, now: Timestamp) -> Exit {
        let notes = Notes::read(&self.files.notes());
        if let Some(alive) = self.alive.lock().take() {
            if notes.end.is_none() {
                kill_remains(&notes, alive.supervisor);
            }
            reap(alive.handle.get_ref());
        }
        let started_at = self.started_at().unwrap_or(now);
        // When the supervisor wrote its last line, known even if nobody was there.
        let finished_at = notes.end.and_then(|_| self.noted_at()).unwrap_or(now).max(started_at);
        let out_of_memory = self.kill_members();
        let exit = |code, reason, message: &str| Exit {
            code,
            reason,
            message: message.to_owned(),
            started_at,
            finished_at,
        };
        match notes.end {
            Some(End::Exited(0)) => exit(0, "Completed", ""),
            Some(End::Exited(KILLED)) if out_of_memory => exit(KILLED, "OOMKilled", ""),
            Some(End::Exited(code)) => exit(code, "Error", ""),
            Some(End::NotExecuted(code)) => {
                exit(code, "StartError", "the command could not be executed")
            }
            None if out_of_memory => exit(KILLED, "OOMKilled", ""),
            None => exit(KILLED, "Error", ""),
        }
    }

    /// Kills what has left the process group but not the cgroup; tells whether something had been
    /// killed for lack of memory.
    fn kill_members(&self) -> bool {
        let Some(cgroup) = &self.cgroup else { return false };
        let out_of_memory = cgroup.usage().is_ok_and(|usage| usage.oom_kills > 0);
        if let Err(error) = cgroup.kill() {
            tracing::warn!(container = %self.id, %error, "processes of an ended container remain");
        }
        out_of_memory
    }

    fn started_at(&self) -> Option<Timestamp> {
        let record: Option<StartRecord> = records::read(&self.files.started()).ok()?;
        record.map(|record| record.started_at)
    }

    fn noted_at(&self) -> Option<Timestamp> {
        let modified = fs::metadata(self.files.notes()).ok()?.modified().ok()?;
        Timestamp::try_from(modified).ok()
    }

    /// Finds out what has become of a container since the last host.
    pub(super) fn adopt(self: &Arc<Self>, shared: &Arc<Shared>) -> Result<()> {
        if let Some(record) = records::read::<ExitRecord>(&self.files.exit())? {
            self.phase.send_replace(ContainerPhase::Exited(record.into()));
            return Ok(());
        }
        let Some(start) = records::read::<StartRecord>(&self.files.started())? else {
            // At most a supervisor that was waiting for a word of the host that never came.
            return Ok(());
        };
        let now = shared.env.now();
        let lost = |message: &str| Exit {
            code: KILLED,
            reason: "ContainerStatusUnknown",
            message: message.to_owned(),
            started_at: start.started_at,
            finished_at: now,
        };
        if start.boot_id != boot_id() {
            let end = Notes::read(&self.files.notes()).end;
            let exit =
                if end.is_some() { self.clear_up(now) } else { lost("the machine was restarted") };
            self.set_exited(shared, exit);
            return Ok(());
        }
        let notes = Notes::read(&self.files.notes());
        let Some(supervisor) = notes.supervisor else {
            self.set_exited(shared, lost("the host ended while it was being started"));
            return Ok(());
        };
        let open = supervisor.open().map_err(|source| Error::Io {
            operation: "find a container's process".into(),
            source,
        })?;
        match (open, notes.process) {
            (Some(handle), Some(process)) => {
                let (started_at, pid) = (start.started_at, process.pid);
                self.phase.send_replace(ContainerPhase::Running { started_at, pid });
                self.follow(shared, supervisor, Some(handle))?;
            }
            (Some(handle), None) => {
                // It has been told to go, or is about to notice that nobody will tell it.
                kill_group(supervisor, &handle, Signal::KILL);
                self.set_exited(shared, lost("the host ended while it was being started"));
            }
            (None, None) => {
                self.set_exited(shared, lost("the host ended while it was being started"));
            }
            (None, Some(_)) => {
                if notes.end.is_none() {
                    kill_remains(&notes, supervisor);
                }
                let exit = self.clear_up(now);
                self.set_exited(shared, exit);
            }
        }
        Ok(())
    }

    /// Could not be started: that is how it ended.
    pub(super) fn set_failed(&self, now: Timestamp, message: &str) {
        let exit = Exit {
            code: CANNOT_RUN,
            reason: "StartError",
            message: message.to_owned(),
            started_at: now,
            finished_at: now,
        };
        if let Err(error) = records::write(&self.files.exit(), &ExitRecord::from(&exit)) {
            tracing::warn!(container = %self.id, %error, "a container's end is not on disk");
        }
        self.phase.send_replace(ContainerPhase::Exited(exit));
    }

    pub(super) async fn stop(&self, signal: Signal, grace: Duration) -> Result<()> {
        if !self.is_running() {
            return Ok(());
        }
        self.signal(signal);
        if self.exited_within(grace).await? {
            return Ok(());
        }
        if let Some(cgroup) = self.cgroup.clone() {
            let killed = tokio::task::spawn_blocking(move || cgroup.kill()).await;
            if let Ok(Err(error)) = killed {
                tracing::warn!(container = %self.id, %error, "falling back to the process group");
            }
        }
        self.signal(Signal::KILL);
        if self.exited_within(KILL_TIMEOUT).await? {
            return Ok(());
        }
        Err(Error::Other {
            operation: format!("stop container {}", self.id),
            message: "it was killed and does not end: the kernel waits for a device".into(),
        })
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(*self.phase.borrow(), ContainerPhase::Running { .. })
    }

    /// Waits until the container has ended, and its log with it, or the runtime has.
    pub(super) async fn exited(&self) {
        let mut phase = self.phase.subscribe();
        let exited = phase.wait_for(|phase| matches!(phase, ContainerPhase::Exited(_)));
        let _ = self.ended.run_until_cancelled(exited).await;
    }

    async fn exited_within(&self, limit: Duration) -> Result<bool> {
        let mut phase = self.phase.subscribe();
        let exited = phase.wait_for(|phase| matches!(phase, ContainerPhase::Exited(_)));
        let waited = self.ended.run_until_cancelled(tokio::time::timeout(limit, exited)).await;
        let gone = || Error::Unavailable {
            runtime: "process",
            message: "it was shut down before the container ended".into(),
        };
        waited.map(|exited| exited.is_ok()).ok_or_else(gone)
    }

    /// Signals the whole process group.
    fn signal(&self, signal: Signal) {
        if let Some(alive) = &*self.alive.lock() {
            kill_group(alive.supervisor, alive.handle.get_ref(), signal);
        }
    }
}

/// The group bears the supervisor's number. Nobody else can have got it while the supervisor
/// lives, or while it is a child of ours that we have not reaped.
fn kill_group(supervisor: Identity, handle: impl AsFd, signal: Signal) {
    if has_ended(handle) {
        return;
    }
    if let Some(group) = supervisor.raw() {
        let _ = kill_process_group(group, signal);
    }
}

/// Kills the group of a supervisor that was killed before it could do so. A group keeps its
/// number as long as it has a member: so it is ours as long as the container's process is in it,
/// or as long as the supervisor waits to be reaped by us.
fn kill_remains(notes: &Notes, supervisor: Identity) {
    let ours = notes
        .process
        .and_then(Identity::stat)
        .is_some_and(|stat| stat.group == supervisor.pid && !stat.zombie)
        || Stat::of(supervisor.pid).is_some_and(|stat| stat.identity == supervisor);
    if ours && let Some(group) = supervisor.raw() {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Takes the supervisor's exit status if it is our child; an adopted one is init's.
fn reap(handle: &OwnedFd) {
    loop {
        match waitid(WaitId::PidFd(handle.as_fd()), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            Ok(_) | Err(Errno::CHILD) => return,
            Err(errno) => {
                let error = io::Error::from(errno);
                tracing::warn!(%error, "cannot reap a supervisor");
                return;
            }
        }
    }
}
