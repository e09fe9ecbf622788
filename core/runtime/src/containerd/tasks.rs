//! Running containers: starting, stopping, and what happens when they end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use containerd_client::services::v1::{
    CreateTaskRequest, DeleteTaskRequest, GetContainerRequest, KillRequest, StartRequest,
    UpdateContainerRequest, WaitRequest,
};
use containerd_client::tonic::{Code, Status};
use jiff::Timestamp;
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};
use prost_types::FieldMask;

use super::connection::{gone_is_fine, is_unavailable};
use super::containers::{Container, spec_any};
use super::records;
use super::{Core, events::timestamp};
use crate::{ContainerPhase, Error, Exit, Result, RuntimeEvent};

/// What asks a container to stop when neither its image nor its pod says otherwise.
pub(super) const SIGTERM: u32 = 15;
const SIGKILL: u32 = 9;

/// How long a killed process may take to go.
const KILL_TIMEOUT: Duration = Duration::from_secs(30);
/// How often making a task is tried again while the pod's former shim goes.
const SHIM_ATTEMPTS: u32 = 5;
/// The pause before the first of these; it doubles.
const SHIM_PAUSE: Duration = Duration::from_millis(20);
/// What the kubelet shows for a container that could not be started.
const START_ERROR_CODE: i32 = 128;

impl Core {
    pub(super) async fn start_container(
        self: &Arc<Self>,
        container: &Arc<Container>,
    ) -> Result<()> {
        let _changing = container.changing.lock().await;
        match &*container.phase.borrow() {
            ContainerPhase::Created => {}
            ContainerPhase::Exited(exit) if exit.reason == super::START_ERROR => {
                let (container, message) = (container.id.0.clone(), exit.message.clone());
                return Err(Error::Start { container, message });
            }
            _ => return Ok(()),
        }
        self.join_processes(container).await?;
        let rootfs = container.rootfs.lock().clone();
        let rootfs = match rootfs {
            Some(rootfs) => rootfs,
            None => self.mounts(&container.id).await?,
        };
        self.open_log(container).await?;
        let config = &container.record.config;
        let path = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
        let create = CreateTaskRequest {
            container_id: container.id.0.clone(),
            rootfs,
            stdin: if config.stdin { path(container.paths.stdin()) } else { String::new() },
            stdout: path(container.paths.stdout()),
            // A terminal has one stream.
            stderr: if config.tty { String::new() } else { path(container.paths.stderr()) },
            terminal: config.tty,
            ..CreateTaskRequest::default()
        };
        if let Err(status) = self.create_task(container, create).await {
            return Err(self
                .start_failed(container, "failed to create containerd task", &status)
                .await);
        }
        let start = StartRequest { container_id: container.id.0.clone(), exec_id: String::new() };
        let started = self.connection.tasks().start(self.connection.request(start)).await;
        match started {
            Ok(answer) => {
                self.started(container, answer.into_inner().pid).await;
                Ok(())
            }
            Err(status) if is_unavailable(&status) => Err(self.connection.unavailable(&status)),
            Err(status) => {
                let failed =
                    self.start_failed(container, "failed to start containerd task", &status);
                let error = failed.await;
                self.end_task(container).await?;
                Err(error)
            }
        }
    }

    /// One container of a pod makes its task at a time. A shim that is just leaving is no error.
    async fn create_task(
        &self,
        container: &Container,
        create: CreateTaskRequest,
    ) -> Result<(), Status> {
        let _shim = container.pod.shim.lock().await;
        let mut pause = SHIM_PAUSE;
        for attempt in 1.. {
            let request = self.connection.request(create.clone());
            match self.connection.tasks().create(request).await {
                Ok(_) => break,
                // A call of a former life got this far.
                Err(status) if status.code() == Code::AlreadyExists => break,
                Err(status) if is_leaving_shim(&status) && attempt < SHIM_ATTEMPTS => {
                    tracing::debug!(message = status.message(), "the pod's shim is leaving");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                Err(status) => return Err(status),
            }
        }
        Ok(())
    }

    /// With a shared process namespace, or the one of its target, a container joins that of the first that runs. There is
    /// no process of our own to keep it: when the first container ends, so do the others.
    async fn join_processes(&self, container: &Container) -> Result<()> {
        let pod = container.pod.config();
        let target = &container.record.config.target;
        if (!pod.share_process_namespace && target.is_empty()) || pod.host_pid {
            return Ok(());
        }
        let mut siblings = self.table.containers_of(&container.pod.id());
        if !pod.share_process_namespace {
            siblings.retain(|sibling| sibling.record.config.name == *target);
        }
        let running = siblings.iter().filter_map(|sibling| match *sibling.phase.borrow() {
            ContainerPhase::Running { started_at, pid } if pid > 0 => Some((started_at, pid)),
            _ => None,
        });
        let Some((_, pid)) = running.min() else { return Ok(()) };
        let failed = |status| self.connection.error("share the process namespace", &status);
        let get = GetContainerRequest { id: container.id.0.clone() };
        let found = self.connection.containers().get(self.connection.request(get)).await;
        let mut found = found.map_err(failed)?.into_inner().container.unwrap_or_default();
        let data = found.spec.take().unwrap_or_default().value;
        let broken = |error: serde_json::Error| Error::InvalidConfig(error.to_string());
        let mut spec: Spec = serde_json::from_slice(&data).map_err(broken)?;
        if let Some(linux) = spec.linux_mut() {
            let mut shared = LinuxNamespace::default();
            shared
                .set_typ(LinuxNamespaceType::Pid)
                .set_path(Some(format!("/proc/{pid}/ns/pid").into()));
            let mut namespaces = linux.namespaces().clone().unwrap_or_default();
            namespaces.retain(|namespace| namespace.typ() != LinuxNamespaceType::Pid);
            namespaces.push(shared);
            linux.set_namespaces(Some(namespaces));
        }
        found.spec = Some(spec_any(&spec)?);
        let update = UpdateContainerRequest {
            container: Some(found),
            update_mask: Some(FieldMask { paths: vec!["spec".into()] }),
        };
        self.connection
            .containers()
            .update(self.connection.request(update))
            .await
            .map_err(failed)?;
        Ok(())
    }

    async fn start_failed(&self, container: &Arc<Container>, what: &str, status: &Status) -> Error {
        self.finish_log(container).await;
        if is_unavailable(status) {
            return self.connection.unavailable(status);
        }
        let message = format!("{what}: {}", status.message());
        let now = self.env.now();
        let exit = Exit {
            code: START_ERROR_CODE,
            reason: super::START_ERROR,
            message: message.clone(),
            started_at: now,
            finished_at: now,
        };
        self.record(container, None, Some(&exit)).await;
        container.phase.send_replace(ContainerPhase::Exited(exit));
        Error::Start { container: container.id.0.clone(), message }
    }

    /// Notes that a container runs; the first of containerd's event and its answer counts.
    pub(super) async fn started(self: &Arc<Self>, container: &Arc<Container>, pid: u32) {
        let started_at = self.env.now();
        let first = container.phase.send_if_modified(|phase| {
            let first = *phase == ContainerPhase::Created;
            if first {
                *phase = ContainerPhase::Running { started_at, pid };
            }
            first
        });
        if first {
            self.emit(RuntimeEvent::Started {
                pod: container.pod.id(),
                container: container.id.clone(),
            });
            self.record(container, Some(started_at), None).await;
        }
    }

    /// Notes that a container ended, tells everybody, and cleans up behind it.
    pub(super) async fn exited(
        self: &Arc<Self>,
        container: &Arc<Container>,
        status: u32,
        finished_at: Timestamp,
    ) {
        if matches!(*container.phase.borrow(), ContainerPhase::Exited(_)) {
            return;
        }
        let code = i32::try_from(status).unwrap_or(i32::MAX);
        let reason = if code == 0 {
            super::COMPLETED
        } else if self.ran_out_of_memory(container).await {
            super::OOM_KILLED
        } else {
            super::ERROR
        };
        self.ended(container, code, reason, String::new(), finished_at).await;
    }

    /// Notes that a container's task is gone without anybody knowing how it ended.
    pub(super) async fn vanished(self: &Arc<Self>, container: &Arc<Container>) {
        let code = 128 + i32::try_from(SIGKILL).unwrap_or(0);
        let message = "The container could not be located when the runtime came back";
        self.ended(container, code, super::UNKNOWN, message.to_owned(), self.env.now()).await;
    }

    async fn ended(
        self: &Arc<Self>,
        container: &Arc<Container>,
        code: i32,
        reason: &'static str,
        message: String,
        finished_at: Timestamp,
    ) {
        let started_at = match *container.phase.borrow() {
            ContainerPhase::Running { started_at, .. } => started_at.min(finished_at),
            _ => finished_at,
        };
        let exit = Exit { code, reason, message, started_at, finished_at };
        // Written before it is told: what the world knows outlives this process.
        self.record(container, Some(started_at), Some(&exit)).await;
        let first = container.phase.send_if_modified(|phase| {
            let first = !matches!(phase, ContainerPhase::Exited(_));
            if first {
                *phase = ContainerPhase::Exited(exit);
            }
            first
        });
        if first {
            self.emit(RuntimeEvent::Exited {
                pod: container.pod.id(),
                container: container.id.clone(),
            });
            self.clean_up_later(container);
        }
    }

    /// Lets containerd forget an exited task, whose output is complete then.
    pub(super) fn clean_up_later(self: &Arc<Self>, container: &Arc<Container>) {
        let (core, container) = (self.clone(), container.clone());
        self.tasks.spawn(async move {
            let _changing = container.changing.lock().await;
            if let Err(error) = core.end_task(&container).await {
                tracing::debug!(container = %container.id, %error, "an ended task stays for now");
                return;
            }
            core.finish_log(&container).await;
        });
    }

    async fn ran_out_of_memory(&self, container: &Container) -> bool {
        if container.out_of_memory.load(Ordering::Relaxed) {
            return true;
        }
        // The event may come after the exit; the kernel's counter does not.
        let cgroup = self.container_cgroup(&container.id, &container.pod);
        let usage = super::blocking(move || cgroup.usage()).await;
        usage.is_ok_and(|usage| usage.oom_kills > 0)
    }

    async fn record(&self, container: &Container, started: Option<Timestamp>, exit: Option<&Exit>) {
        // Held while writing: a start that is noted late must not undo the exit.
        let mut progress = container.progress.lock().await;
        progress.started_at = progress.started_at.or(started);
        if let Some(exit) = exit {
            progress.exit.get_or_insert_with(|| exit.into());
        }
        let (record, path) = (progress.clone(), container.paths.progress());
        if let Err(error) = super::blocking(move || records::write(&path, &record)).await {
            tracing::warn!(container = %container.id, %error, "a container's progress is not on disk");
        }
    }

    pub(super) async fn stop_container(
        self: &Arc<Self>,
        container: &Arc<Container>,
        grace: Duration,
    ) -> Result<()> {
        if !matches!(*container.phase.borrow(), ContainerPhase::Running { .. }) {
            return Ok(());
        }
        if !grace.is_zero() {
            self.kill(container, container.record.stop_signal, false).await?;
            if tokio::time::timeout(grace, self.wait_for_exit(container)).await.is_ok() {
                return Ok(());
            }
        }
        self.kill(container, SIGKILL, true).await?;
        tokio::time::timeout(KILL_TIMEOUT, self.wait_for_exit(container)).await.map_err(|_| {
            Error::Other {
                operation: format!("stop container {}", container.id),
                message: format!("it did not go within {} s of SIGKILL", KILL_TIMEOUT.as_secs()),
            }
        })
    }

    /// Sends a signal. Who is gone already is no error.
    async fn kill(&self, container: &Container, signal: u32, all: bool) -> Result<()> {
        let request = KillRequest {
            container_id: container.id.0.clone(),
            exec_id: String::new(),
            signal,
            all,
        };
        let killed = self.connection.tasks().kill(self.connection.request(request)).await;
        match gone_is_fine(killed) {
            Err(status) if status.code() == Code::FailedPrecondition => Ok(()),
            other => other.map_err(|status| self.connection.error("signal a container", &status)),
        }
    }

    /// Until the container has exited, by the event stream or, should that be down, by asking for
    /// the exit itself.
    async fn wait_for_exit(self: &Arc<Self>, container: &Arc<Container>) {
        let mut phase = container.phase.subscribe();
        let exited = phase.wait_for(|phase| matches!(phase, ContainerPhase::Exited(_)));
        tokio::select! {
            _ = exited => {}
            () = self.ask_for_exit(container) => {}
        }
    }

    async fn ask_for_exit(self: &Arc<Self>, container: &Arc<Container>) {
        let request = WaitRequest { container_id: container.id.0.clone(), exec_id: String::new() };
        let answer = self.connection.tasks().wait(self.connection.stream_request(request)).await;
        match answer {
            Ok(answer) => {
                let answer = answer.into_inner();
                let finished_at = timestamp(answer.exited_at).unwrap_or_else(|| self.env.now());
                self.exited(container, answer.exit_status, finished_at).await;
            }
            // The task is gone: the event of its exit is on its way, or the next resynchronization
            // finds it missing.
            Err(_) => std::future::pending().await,
        }
    }

    /// Kills a task that still runs and lets containerd forget it.
    pub(super) async fn end_task(self: &Arc<Self>, container: &Arc<Container>) -> Result<()> {
        let failed = |status: Status| self.connection.error("remove a task", &status);
        if matches!(*container.phase.borrow(), ContainerPhase::Running { .. }) {
            self.kill(container, SIGKILL, true).await?;
            let exit = tokio::time::timeout(KILL_TIMEOUT, self.wait_for_exit(container));
            // What is not gone by then, containerd refuses to delete below.
            let _ = exit.await;
        }
        match gone_is_fine(self.delete_task(container).await) {
            Err(status) if status.code() == Code::FailedPrecondition => {}
            other => return other.map_err(failed),
        }
        // It was made and never started, or its exit was never seen.
        self.kill(container, SIGKILL, true).await?;
        let request = WaitRequest { container_id: container.id.0.clone(), exec_id: String::new() };
        let mut tasks = self.connection.tasks();
        let gone = tasks.wait(self.connection.request(request));
        let _ = tokio::time::timeout(KILL_TIMEOUT, gone).await;
        gone_is_fine(self.delete_task(container).await).map_err(failed)
    }

    async fn delete_task(&self, container: &Container) -> Result<(), Status> {
        // The shim leaves with its last task, and must not while another is made in it.
        let _shim = container.pod.shim.lock().await;
        let request = DeleteTaskRequest { container_id: container.id.0.clone() };
        self.connection.tasks().delete(self.connection.request(request)).await?;
        Ok(())
    }

    /// Has the container's log written from here on.
    pub(super) async fn open_log(&self, container: &Container) -> Result<()> {
        let mut log = container.log.lock().await;
        if log.is_some() {
            return Ok(());
        }
        let stdin = container.record.config.stdin.then(|| container.paths.stdin());
        let files = container.log_files();
        let prepared = files.clone();
        super::blocking(move || prepare_streams(&prepared, stdin.as_deref())).await?;
        *log = Some(self.logs.start(files).await?);
        container.logs.send_replace(true);
        Ok(())
    }

    /// Writes the end of the container's log.
    pub(super) async fn finish_log(&self, container: &Container) {
        let Some(log) = container.log.lock().await.take() else { return };
        if let Err(error) = log.finish().await {
            tracing::warn!(container = %container.id, %error, "the end of a log is missing");
        }
        container.logs.send_replace(false);
    }
}

/// Makes the raw files that the shim appends to, and where the log goes.
fn prepare_streams(
    files: &crate::logs::LogPumpConfig,
    stdin: Option<&std::path::Path>,
) -> Result<()> {
    let failed = |path: &std::path::Path, source| Error::Io {
        operation: format!("make {}", path.display()),
        source,
    };
    for parent in [files.log.parent(), files.stdout.parent()].into_iter().flatten() {
        std::fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
    }
    for path in [&files.stdout, &files.stderr] {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
        file.map_err(|error| failed(path, error))?;
    }
    if let Some(path) = stdin {
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let fifo = rustix::fs::FileType::Fifo;
        match rustix::fs::mknodat(rustix::fs::CWD, path, fifo, mode, 0) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(failed(path, errno.into())),
        }
    }
    Ok(())
}

/// Whether a task could not be made because the pod's shim was on its way out: its last container
/// had just been removed.
fn is_leaving_shim(status: &Status) -> bool {
    const SIGNS: [&str; 5] = [
        "ttrpc: closed",
        "connection refused",
        "connect: no such file",
        "connection reset",
        "unix: connect",
    ];
    let message = status.message();
    !message.contains("OCI runtime") && SIGNS.iter().any(|sign| message.contains(sign))
}
