//! Joining the first process of a container.
//!
//! A container's output goes to plain files, which take everything whether somebody of ours is
//! there or not; whoever attaches follows these files. Its input is a pipe of which the shim
//! keeps both ends open, so that it neither ends nor fails while nobody is attached.

use std::sync::Arc;

use futures::FutureExt as _;

use super::Core;
use super::containers::Container;
use super::exec::open_input;
use crate::logs::raw;
use crate::session::Input;
use crate::{ContainerPhase, Error, Result, Session, Streams};

impl Core {
    pub(super) async fn attach(
        self: &Arc<Self>,
        container: &Arc<Container>,
        streams: Streams,
    ) -> Result<Session> {
        let config = &container.record.config;
        if !matches!(*container.phase.borrow(), ContainerPhase::Running { .. }) {
            return Err(Error::NotRunning(config.name.clone()));
        }
        let follow = |path| {
            let container = container.clone();
            async move { raw::follow(path, async move { container.ended().await }).await }
        };
        let (stdout, stderr) = (container.paths.stdout(), container.paths.stderr());
        let stdout = if streams.stdout { Some(follow(&stdout).await?) } else { None };
        let wants_stderr = streams.stderr && !config.tty;
        let stderr = if wants_stderr { Some(follow(&stderr).await?) } else { None };
        let stdin = match (streams.stdin, config.stdin) {
            (false, _) => None,
            // It has no input: what is typed goes nowhere.
            (true, false) => Some(Box::pin(tokio::io::sink()) as _),
            (true, true) => {
                let (input, ended) = Input::new(open_input(&container.paths.stdin())?);
                if config.stdin_once {
                    let (core, container) = (self.clone(), container.clone());
                    tokio::spawn(async move {
                        // An error is what tells.
                        let _ = ended.await;
                        core.close_input(&container, "").await;
                    });
                }
                Some(Box::pin(input) as _)
            }
        };
        let resize = config.tty.then(|| self.resizes(container, ""));
        let ended = container.clone();
        let exit = async move {
            ended.ended().await;
            match &*ended.phase.borrow() {
                ContainerPhase::Exited(exit) => Ok(exit.code),
                _ => Err(Error::NotRunning(ended.record.config.name.clone())),
            }
        };
        Ok(Session {
            stdin,
            stdout: stdout.map(|stdout| Box::pin(stdout) as _),
            stderr: stderr.map(|stderr| Box::pin(stderr) as _),
            resize,
            exit: exit.boxed(),
        })
    }
}

impl Container {
    /// Waits until the container has ended and all that it has printed is in its log.
    pub(super) async fn ended(&self) {
        let mut phase = self.phase.subscribe();
        // The senders live as long as this container does.
        let _ = phase.wait_for(|phase| matches!(phase, ContainerPhase::Exited(_))).await;
        let mut logs = self.logs.subscribe();
        let _ = logs.wait_for(|logs| !logs).await;
    }
}
