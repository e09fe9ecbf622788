use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use pinnace_api::{ApiError, Typed};
use pinnace_client::{ListOptions, WatchEvent};
use pinnace_runtime::logs::{LogOptions as ReadOptions, read_logs};
use tokio::sync::watch;

use crate::reference::Reference;
use crate::{Engine, Error, Result};

pub use pinnace_runtime::logs::LogLine;

/// The lines of a log. An error ends it.
pub type LogStream = BoxStream<'static, Result<LogLine>>;

/// Which lines of which log.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// The container; may be left out for a pod that has one, or that names a default in the
    /// annotation `kubectl.kubernetes.io/default-container`.
    pub container: Option<String>,
    /// The log of the attempt before the last restart.
    pub previous: bool,
    /// Go on until the container ends.
    pub follow: bool,
    /// Only that many lines before the present end.
    pub tail_lines: Option<u64>,
    /// Only lines that are not older than this.
    pub since: Option<Duration>,
    /// Put the time before each line.
    pub timestamps: bool,
    /// End after that many bytes of text.
    pub limit_bytes: Option<u64>,
}

const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

impl Engine {
    /// The log of a container of a pod: `pods/web-1` or just `web-1`.
    ///
    /// # Errors
    /// `NotFound` for the pod; `BadRequest` when the container is not said and there are several,
    /// or when it has not been started.
    pub async fn logs(&self, pod: &str, options: LogOptions) -> Result<LogStream> {
        let name = if pod.contains('/') { pod.to_owned() } else { format!("pods/{pod}") };
        let Reference { resource, key } = self.reference(&name)?;
        if &*resource.kind != "Pod" {
            let message = format!("{name:?} is no pod, and only pods have logs");
            return Err(ApiError::bad_request(message).into());
        }
        let pod = self.client().of::<Pod>()?.get(&key).await?;
        let container = container_of(&pod, options.container.as_deref())?;
        let path = pinnace_node::log_path(&self.parts().logs, &pod, &container, options.previous)
            .map_err(|error| Error::Api(ApiError::bad_request(error.to_string())))?;
        let since = options.since.map(|since| self.since(since));
        let follow = if options.follow { Some(self.end_of(&pod, &container).await?) } else { None };
        let read = ReadOptions {
            tail_lines: options.tail_lines,
            since,
            timestamps: options.timestamps,
            limit_bytes: options.limit_bytes,
            stream: None,
            follow,
        };
        Ok(read_logs(path, read).map(|line| line.map_err(Error::from)).boxed())
    }

    fn since(&self, ago: Duration) -> Timestamp {
        self.env().now().checked_sub(ago).unwrap_or(Timestamp::MIN)
    }

    /// A channel that says when the present attempt of a container has ended.
    async fn end_of(&self, pod: &Typed<Pod>, container: &str) -> Result<watch::Receiver<bool>> {
        let (ended, receiver) = watch::channel(has_ended(pod, container, None));
        let attempt = attempt_of(pod, container);
        let api = self.client().of::<Pod>()?;
        let options = ListOptions::default()
            .fields(&format!("metadata.name={}", pod.object().name()))?
            .after(pod.object().revision());
        let mut events = api.watch(Some(pod.object().namespace()), options).await?;
        let container = container.to_owned();
        let stop = self.parts().stop.clone();
        let mut nobody_listens = receiver.clone();
        self.parts().spawn(async move {
            loop {
                let event = tokio::select! {
                    event = events.next() => event,
                    () = stop.cancelled() => break,
                    // Errs once the reader has dropped its end.
                    _ = nobody_listens.wait_for(|ended| *ended) => break,
                };
                match event {
                    Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                        let pod = object.get::<Pod>();
                        if pod.is_ok_and(|pod| has_ended(pod, &container, attempt)) {
                            break;
                        }
                    }
                    Some(Ok(WatchEvent::Bookmark(..))) => {}
                    Some(Ok(WatchEvent::Deleted(_)) | Err(_)) | None => break,
                }
            }
            let _ = ended.send(true);
        });
        Ok(receiver)
    }
}

fn container_of(pod: &Typed<Pod>, wanted: Option<&str>) -> Result<String> {
    let name = pod.object().name();
    let spec = pod.spec.as_ref();
    let containers: Vec<&str> = spec
        .into_iter()
        .flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()))
        .map(|container| container.name.as_str())
        .collect();
    let default = pod.metadata.annotations.as_ref().and_then(|all| all.get(DEFAULT_CONTAINER));
    match wanted.or(default.map(String::as_str)) {
        Some(wanted) if containers.contains(&wanted) => Ok(wanted.to_owned()),
        Some(wanted) => {
            let message = format!("container {wanted} is not valid for pod {name}");
            Err(ApiError::bad_request(message).into())
        }
        None => match &containers[..] {
            [only] => Ok((*only).to_owned()),
            several => {
                let message = format!(
                    "a container name must be specified for pod {name}, choose one of: [{}]",
                    several.join(" ")
                );
                Err(ApiError::bad_request(message).into())
            }
        },
    }
}

fn status_of<'a>(
    pod: &'a Pod,
    container: &str,
) -> Option<&'a k8s_openapi::api::core::v1::ContainerStatus> {
    let status = pod.status.as_ref()?;
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten()).find(|s| s.name == container)
}

fn attempt_of(pod: &Pod, container: &str) -> Option<i32> {
    status_of(pod, container).map(|status| status.restart_count)
}

/// Whether a container, or its attempt of that number, has ended.
fn has_ended(pod: &Pod, container: &str, attempt: Option<i32>) -> bool {
    let Some(status) = status_of(pod, container) else { return false };
    attempt.is_some_and(|attempt| status.restart_count > attempt)
        || status.state.as_ref().is_some_and(|state| state.terminated.is_some())
}
