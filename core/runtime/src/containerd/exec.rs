//! Commands in running containers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use containerd_client::services::v1::{
    CloseIoRequest, DeleteProcessRequest, ExecProcessRequest, GetContainerRequest, KillRequest,
    ResizePtyRequest, StartRequest, WaitRequest,
};
use futures::FutureExt as _;
use oci_spec::runtime::{Process, Spec};
use prost_types::Any;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use super::Core;
use super::connection::gone_is_fine;
use super::containers::Container;
use crate::session::{Hold, Input, RESIZES_WAITING};
use crate::{ContainerPhase, Error, Result, Session, Streams, TerminalSize};

const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
const SIGKILL: u32 = 9;
/// How long a killed command may take to go.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);
/// Length of the name of a command, by which containerd knows it.
const NAME_LENGTH: usize = 20;

/// A command of a container, by the name that containerd knows it by.
struct Exec {
    core: Arc<Core>,
    container: Arc<Container>,
    id: String,
    fifos: Fifos,
}

impl Core {
    pub(super) async fn exec(
        self: &Arc<Self>,
        container: &Arc<Container>,
        command: &[String],
        streams: Streams,
    ) -> Result<Session> {
        if !matches!(*container.phase.borrow(), ContainerPhase::Running { .. }) {
            return Err(Error::NotRunning(container.record.config.name.clone()));
        }
        if command.is_empty() {
            return Err(Error::InvalidConfig("you must specify at least one command".into()));
        }
        let process = self.exec_process(container, command, streams.tty).await?;
        // Never the same for two processes of ours that follow the same seed.
        let id = pinnace_env::Random::from_os().suffix(NAME_LENGTH);
        let place = container.paths.root.join("exec").join(&id);
        let fifos = super::blocking(move || Fifos::make(place, streams)).await?;
        let exec = Exec { core: self.clone(), container: container.clone(), id, fifos };
        exec.run(process, streams).await
    }

    /// The container's own process with another command.
    async fn exec_process(
        &self,
        container: &Container,
        command: &[String],
        tty: bool,
    ) -> Result<Process> {
        let get = GetContainerRequest { id: container.id.0.clone() };
        let found = self.connection.containers().get(self.connection.request(get)).await;
        let found =
            found.map_err(|status| self.connection.error("look for a container", &status))?;
        let spec = found.into_inner().container.and_then(|found| found.spec).unwrap_or_default();
        let spec: Spec = serde_json::from_slice(&spec.value)
            .map_err(|error| Error::InvalidConfig(error.to_string()))?;
        let mut process = spec.process().clone().unwrap_or_default();
        process.set_args(Some(command.to_vec())).set_terminal(Some(tty));
        if tty {
            let mut environment = process.env().clone().unwrap_or_default();
            if !environment.iter().any(|variable| variable.starts_with("TERM=")) {
                environment.push("TERM=xterm".to_owned());
            }
            process.set_env(Some(environment));
        }
        Ok(process)
    }

    /// The end of input of a container's process, or of a command in it. The shim keeps an end of
    /// the pipe open until it is told.
    pub(super) async fn close_input(&self, container: &Container, exec_id: &str) {
        let request = CloseIoRequest {
            container_id: container.id.0.clone(),
            exec_id: exec_id.to_owned(),
            stdin: true,
        };
        let closed = self.connection.tasks().close_io(self.connection.request(request)).await;
        if let Err(status) = gone_is_fine(closed) {
            tracing::debug!(container = %container.id, message = status.message(), "input not closed");
        }
    }

    /// Takes sizes for a terminal for as long as somebody has the sender.
    pub(super) fn resizes(
        self: &Arc<Self>,
        container: &Arc<Container>,
        exec_id: &str,
    ) -> mpsc::Sender<TerminalSize> {
        let (sender, mut sizes) = mpsc::channel::<TerminalSize>(RESIZES_WAITING);
        let (core, container_id) = (self.clone(), container.id.0.clone());
        let exec_id = exec_id.to_owned();
        tokio::spawn(async move {
            while let Some(size) = sizes.recv().await {
                let request = ResizePtyRequest {
                    container_id: container_id.clone(),
                    exec_id: exec_id.clone(),
                    width: size.width.into(),
                    height: size.height.into(),
                };
                // One that has ended has no size.
                let _ = core.connection.tasks().resize_pty(core.connection.request(request)).await;
            }
        });
        sender
    }
}

impl Exec {
    async fn run(self, process: Process, streams: Streams) -> Result<Session> {
        let connection = &self.core.connection;
        let failed = |status: &_| match connection.error("exec", status) {
            Error::Other { message, .. } => Error::Execute { message },
            other => other,
        };
        let container_id = self.container.id.0.clone();
        let text = |path: Option<PathBuf>| {
            path.map_or_else(String::new, |path| path.to_string_lossy().into_owned())
        };
        // The shim waits for readers when it opens its ends.
        let (stdout, stderr) = (self.fifos.reader("stdout")?, self.fifos.reader("stderr")?);
        let create = ExecProcessRequest {
            container_id: container_id.clone(),
            stdin: text(self.fifos.path("stdin")),
            stdout: text(self.fifos.path("stdout")),
            stderr: text(self.fifos.path("stderr")),
            terminal: streams.tty,
            spec: Some(Any {
                type_url: PROCESS_TYPE.into(),
                value: serde_json::to_vec(&process)
                    .map_err(|error| Error::InvalidConfig(error.to_string()))?,
            }),
            exec_id: self.id.clone(),
        };
        connection.tasks().exec(connection.request(create)).await.map_err(|s| failed(&s))?;
        let start = StartRequest { container_id, exec_id: self.id.clone() };
        let started = connection.tasks().start(connection.request(start)).await;
        if let Err(status) = started {
            let error = failed(&status);
            self.delete().await;
            return Err(error);
        }
        let (hold, dropped) = Hold::new();
        let stdin = match self.fifos.writer()? {
            None => None,
            Some(pipe) => {
                let (input, ended) = Input::new(pipe);
                let (core, container) = (self.core.clone(), self.container.clone());
                let id = self.id.clone();
                tokio::spawn(async move {
                    // An error is what tells.
                    let _ = ended.await;
                    core.close_input(&container, &id).await;
                });
                Some(Box::pin(hold.on(input)) as _)
            }
        };
        let resize = streams.tty.then(|| self.core.resizes(&self.container, &self.id));
        let (tell, told) = oneshot::channel();
        let core = self.core.clone();
        core.tasks.spawn(self.watch(tell, dropped));
        let output = |wanted: bool, pipe: Option<pipe::Receiver>| {
            let pipe = pipe?;
            if wanted {
                return Some(Box::pin(hold.on(pipe)) as _);
            }
            // Nobody reads it, and it must not fill.
            tokio::spawn(discard(pipe));
            None
        };
        let (stdout, stderr) = (output(streams.stdout, stdout), output(streams.stderr, stderr));
        let exit = async move {
            let code = told.await;
            drop(hold);
            code.unwrap_or_else(|_| {
                let message = "the runtime was shut down before the command ended".to_owned();
                Err(Error::Unavailable { runtime: super::NAME, message })
            })
        };
        Ok(Session { stdin, stdout, stderr, resize, exit: exit.boxed() })
    }

    /// Waits for the command's end and cleans up behind it, once nobody reads any more what it
    /// printed. What nobody is connected to any longer is killed.
    async fn watch(self, tell: oneshot::Sender<Result<i32>>, mut dropped: oneshot::Receiver<()>) {
        tokio::select! {
            code = self.wait() => {
                // Nobody may want to know.
                let _ = tell.send(code);
                let _ = dropped.await;
            }
            _ = &mut dropped => {
                self.kill().await;
                let _ = tokio::time::timeout(KILL_TIMEOUT, self.wait()).await;
            }
        }
        self.delete().await;
    }

    async fn wait(&self) -> Result<i32> {
        let request =
            WaitRequest { container_id: self.container.id.0.clone(), exec_id: self.id.clone() };
        let connection = &self.core.connection;
        let answer = connection.tasks().wait(connection.stream_request(request)).await;
        let answer = answer.map_err(|status| connection.error("wait for a command", &status))?;
        Ok(i32::try_from(answer.into_inner().exit_status).unwrap_or(i32::MAX))
    }

    async fn kill(&self) {
        let request = KillRequest {
            container_id: self.container.id.0.clone(),
            exec_id: self.id.clone(),
            signal: SIGKILL,
            all: false,
        };
        let connection = &self.core.connection;
        // What has ended cannot be killed.
        let _ = connection.tasks().kill(connection.request(request)).await;
    }

    async fn delete(&self) {
        let request = DeleteProcessRequest {
            container_id: self.container.id.0.clone(),
            exec_id: self.id.clone(),
        };
        let connection = &self.core.connection;
        let deleted = connection.tasks().delete_process(connection.request(request)).await;
        if let Err(status) = gone_is_fine(deleted) {
            tracing::debug!(container = %self.container.id, message = status.message(), "a command stays");
        }
    }
}

async fn discard(mut from: impl tokio::io::AsyncRead + Unpin) {
    // It ends with the command.
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
}

/// The pipes of a command, in a directory of their own that goes with this.
struct Fifos {
    place: PathBuf,
    names: Vec<&'static str>,
}

impl Fifos {
    fn make(place: PathBuf, streams: Streams) -> Result<Self> {
        let mut names = vec!["stdout"];
        if streams.stdin {
            names.push("stdin");
        }
        if !streams.tty {
            names.push("stderr");
        }
        let fifos = Self { place, names };
        std::fs::create_dir_all(&fifos.place).map_err(|error| failed(&fifos.place, error))?;
        for name in &fifos.names {
            let path = fifos.place.join(name);
            mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
                .map_err(|errno| failed(&path, errno.into()))?;
        }
        Ok(fifos)
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.names.contains(&name).then(|| self.place.join(name))
    }

    fn reader(&self, name: &str) -> Result<Option<pipe::Receiver>> {
        let Some(path) = self.path(name) else { return Ok(None) };
        let opened = pipe::OpenOptions::new().open_receiver(&path);
        opened.map(Some).map_err(|error| failed(&path, error))
    }

    fn writer(&self) -> Result<Option<pipe::Sender>> {
        let Some(path) = self.path("stdin") else { return Ok(None) };
        open_input(&path).map(Some)
    }
}

impl Drop for Fifos {
    fn drop(&mut self) {
        // What stays goes with the container.
        let _ = std::fs::remove_dir_all(&self.place);
    }
}

/// The writing end of an input. It can read as well, so that it can be opened before the shim has
/// opened its end.
pub(super) fn open_input(path: &Path) -> Result<pipe::Sender> {
    let opened = pipe::OpenOptions::new().read_write(true).open_sender(path);
    opened.map_err(|error| failed(path, error))
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::Io { operation: format!("make {}", path.display()), source }
}
