//! The agent as others ask it: logs, commands and connections of its pods.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use pinnace_api::{ApiError, Key, Reason, Result, Typed};
use pinnace_client::nodes::{
    Bytes, Connection, Document, LogOptions, NodeConnection, NodeDirectory, PodReference, Session,
    Streams, TerminalSize,
};
use pinnace_client::summary::Summary;
use pinnace_runtime::logs::{LogOptions as ReadOptions, LogStream, read_logs};
use pinnace_runtime::{ContainerId, PodId, Runtime};
use tokio::sync::{mpsc, watch};

use crate::agent::Shared;
use crate::config::Machine;
use crate::host::Host;
use crate::logs::log_path;
use crate::measure::{self, Detail};
use crate::static_pods;

/// The nodes of an agent in this process. It does not keep the agent alive.
#[derive(Clone)]
pub struct Nodes(Weak<Shared>);

impl Nodes {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self(Arc::downgrade(shared))
    }
}

impl NodeDirectory for Nodes {
    fn node(&self, name: &str) -> Result<Arc<dyn NodeConnection>> {
        let shared = self.0.upgrade().filter(|shared| !shared.stop.is_cancelled());
        let shared = shared.ok_or_else(|| unavailable("the node agent has ended"))?;
        let host = shared.hosts.get(name).cloned().ok_or_else(|| {
            unavailable(format!("node {name:?} is served by no agent that can be reached"))
        })?;
        Ok(Arc::new(LocalNode { shared: self.0.clone(), host }))
    }
}

/// One node of this agent.
struct LocalNode {
    shared: Weak<Shared>,
    host: Arc<Host>,
}

impl LocalNode {
    fn shared(&self) -> Result<Arc<Shared>> {
        self.shared.upgrade().ok_or_else(|| unavailable("the node agent has ended"))
    }

    fn runtime(&self) -> Arc<dyn Runtime> {
        self.host.runtime.runtime.clone()
    }

    /// The pod as the API has it now: whoever asks has seen no later state.
    async fn pod(&self, reference: &PodReference) -> Result<Typed<Pod>> {
        let key = Key::new(reference.namespace.as_str(), reference.name.as_str());
        let shared = self.shared()?;
        let found = shared.find_pod(&key).await?;
        let same = |pod: &Typed<Pod>| {
            let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
            let uid = pod.metadata.uid.as_deref();
            node == Some(&*self.host.name)
                && (reference.uid.is_empty() || uid == Some(&reference.uid))
        };
        let found = found.filter(same);
        let known = found.and_then(|pod| static_pods::as_known(&shared, &self.host, pod.object()));
        let known = known.ok_or_else(|| {
            let message =
                format!("pod {:?} not found on node {:?}", reference.name, self.host.name);
            ApiError::new(Reason::NotFound, message)
        })?;
        known.typed()
    }

    async fn running(&self, reference: &PodReference, container: &str) -> Result<ContainerId> {
        let pod = self.pod(reference).await?;
        let status = statuses(&pod).find(|status| status.name == container);
        let status = status.ok_or_else(|| {
            ApiError::new(Reason::NotFound, format!("container not found ({container:?})"))
        })?;
        let runs = status.state.as_ref().is_some_and(|state| state.running.is_some());
        let id = container_id(status).filter(|_| runs);
        id.ok_or_else(|| ApiError::bad_request(format!("container {container:?} is not running")))
    }
}

#[async_trait]
impl NodeConnection for LocalNode {
    async fn logs(
        &self,
        pod: &PodReference,
        container: &str,
        options: LogOptions,
    ) -> Result<Bytes> {
        let shared = self.shared()?;
        let pod = self.pod(pod).await?;
        let path = log_path(&shared.logs, &pod, container, options.previous)
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        let stream = match options.stream.as_deref() {
            None | Some("All") => None,
            Some("Stdout") => Some(LogStream::Stdout),
            Some("Stderr") => Some(LogStream::Stderr),
            Some(other) => {
                return Err(ApiError::bad_request(format!("unknown log stream {other:?}")));
            }
        };
        if matches!(shared.machine, Machine::Simulated) && !path.exists() {
            // A simulated container that says nothing has no file.
            return Ok(futures::stream::empty().boxed());
        }
        let status = statuses(&pod).find(|status| status.name == container);
        let follow = if options.follow && !options.previous {
            Some(self.end_of(&shared, status.and_then(container_id)))
        } else {
            None
        };
        let read = ReadOptions {
            tail_lines: options.tail_lines,
            since: options.since,
            timestamps: options.timestamps,
            limit_bytes: options.limit_bytes,
            stream,
            follow,
        };
        Ok(read_logs(path, read).map_ok(|line| line.text).map_err(api_error).boxed())
    }

    async fn exec(
        &self,
        pod: &PodReference,
        container: &str,
        command: Vec<String>,
        streams: Streams,
    ) -> Result<Session> {
        let id = self.running(pod, container).await?;
        let session = self.runtime().exec(&id, &command, of_runtime(streams)).await;
        session.map(of_api).map_err(api_error)
    }

    async fn attach(
        &self,
        pod: &PodReference,
        container: &str,
        streams: Streams,
    ) -> Result<Session> {
        let id = self.running(pod, container).await?;
        let session = self.runtime().attach(&id, of_runtime(streams)).await;
        session.map(of_api).map_err(api_error)
    }

    async fn connect(&self, pod: &PodReference, port: u16) -> Result<Box<dyn Connection>> {
        let pod = self.pod(pod).await?;
        let uid = PodId(pod.metadata.uid.clone().unwrap_or_default());
        let connection = self.runtime().connect(&uid, port).await.map_err(api_error)?;
        Ok(Box::new(connection))
    }

    async fn summary(&self, only_cpu_and_memory: bool) -> Result<Summary> {
        let shared = self.shared()?;
        let detail = if only_cpu_and_memory { Detail::Quick } else { Detail::Full };
        measure::summary(&shared, &self.host, detail).await.map_err(api_error)
    }

    async fn document(&self, path: &str) -> Result<Option<Document>> {
        measure::document(&self.shared()?, &self.host, path).await.map_err(api_error)
    }
}

impl LocalNode {
    /// Turns true when a container has ended and its log is complete.
    fn end_of(&self, shared: &Arc<Shared>, id: Option<ContainerId>) -> watch::Receiver<bool> {
        let Some(id) = id else { return watch::channel(true).1 };
        let (tell, ended) = watch::channel(false);
        let (runtime, stop) = (self.runtime(), shared.stop.clone());
        shared.tasks.spawn(async move {
            tokio::select! {
                waited = runtime.wait_container(&id) => {
                    if let Err(error) = waited {
                        tracing::debug!(container = %id, %error, "a log is followed no more");
                    }
                }
                // Nobody reads any more.
                () = tell.closed() => {}
                () = stop.cancelled() => {}
            }
            let _ = tell.send(true);
        });
        ended
    }
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        let ephemeral = status.ephemeral_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten()).chain(ephemeral)
    })
}

fn container_id(status: &ContainerStatus) -> Option<ContainerId> {
    let (_, id) = status.container_id.as_deref()?.split_once("://")?;
    Some(ContainerId(id.to_owned()))
}

fn of_runtime(streams: Streams) -> pinnace_runtime::Streams {
    let Streams { stdin, stdout, stderr, tty } = streams;
    pinnace_runtime::Streams { stdin, stdout, stderr, tty }
}

fn of_api(session: pinnace_runtime::Session) -> Session {
    let pinnace_runtime::Session { stdin, stdout, stderr, resize, exit } = session;
    let resize = resize.map(|sizes| {
        let (sender, mut wanted) = mpsc::channel::<TerminalSize>(1);
        // It ends when either side does.
        tokio::spawn(async move {
            while let Some(TerminalSize { width, height }) = wanted.recv().await {
                if sizes.send(pinnace_runtime::TerminalSize { width, height }).await.is_err() {
                    return;
                }
            }
        });
        sender
    });
    Session {
        stdin,
        stdout,
        stderr,
        resize,
        exit: exit.map(|code| code.map_err(api_error)).boxed(),
    }
}

fn unavailable(message: impl Into<String>) -> ApiError {
    ApiError::new(Reason::ServiceUnavailable, message)
}

fn api_error(error: pinnace_runtime::Error) -> ApiError {
    use pinnace_runtime::Error;
    let message = error.to_string();
    match error {
        Error::PodNotFound(_) | Error::ContainerNotFound(_) => {
            ApiError::new(Reason::NotFound, message)
        }
        Error::NotRunning(_) | Error::InvalidConfig(_) => ApiError::bad_request(message),
        Error::Connect { .. } | Error::Unavailable { .. } => unavailable(message),
        _ => ApiError::internal(message),
    }
}
