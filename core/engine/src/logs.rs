use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use pinnace_api::{ApiError, Typed};
use pinnace_client::nodes::{LogOptions as NodeLogOptions, NodeDirectory as _, PodReference};

use crate::reference::Reference;
use crate::{Engine, Error, Result};

/// A line of a log, or a part of one that is very long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// As it is shown: with its time where that was asked for, and with a newline unless it is a
    /// part of a longer one.
    pub text: bytes::Bytes,
}

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
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let node = node.filter(|name| !name.is_empty()).ok_or_else(|| {
            let message = format!("pod {} does not have a host assigned", key.name());
            ApiError::bad_request(message)
        })?;
        let reference = PodReference {
            namespace: key.namespace().to_owned(),
            name: key.name().to_owned(),
            uid: pod.object().uid().to_owned(),
        };
        let wanted = NodeLogOptions {
            follow: options.follow,
            previous: options.previous,
            since: options.since.map(|since| self.since(since)),
            timestamps: options.timestamps,
            tail_lines: options.tail_lines,
            limit_bytes: options.limit_bytes,
            stream: None,
        };
        let text = self.parts().nodes.node(node)?.logs(&reference, &container, wanted).await?;
        Ok(text.map(|text| text.map(|text| LogLine { text }).map_err(Error::from)).boxed())
    }

    fn since(&self, ago: Duration) -> Timestamp {
        self.env().now().checked_sub(ago).unwrap_or(Timestamp::MIN)
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
