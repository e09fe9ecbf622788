use std::path::{Path, PathBuf};
use std::time::Duration;

use containerd_client::services::v1 as api;
use containerd_client::services::v1::snapshots::snapshots_client::SnapshotsClient;
use containerd_client::tonic::metadata::{Ascii, MetadataValue};
use containerd_client::tonic::transport::{Channel, Endpoint};
use containerd_client::tonic::{Code, Request, Status};

use crate::{Error, Result};

/// Longest time a call may take before it counts as failed; making a task starts processes, and a
/// loaded machine takes its time.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Unpacking a layer writes as much as the image is large.
const UNPACK_TIMEOUT: Duration = Duration::from_secs(1800);
/// How long to wait for a socket that exists but does not accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

const NAMESPACE_HEADER: &str = "containerd-namespace";
const LEASE_HEADER: &str = "containerd-lease";

/// A channel to containerd that connects when it is used, and again after containerd restarted.
///
/// Every request carries the namespace, so that engines do not see each other's containers.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    channel: Channel,
    socket: PathBuf,
    namespace: MetadataValue<Ascii>,
}

macro_rules! services {
    ($($name:ident: $client:ty),* $(,)?) => {
        $(pub(super) fn $name(&self) -> $client {
            <$client>::new(self.channel.clone())
        })*
    };
}

impl Connection {
    pub(super) fn new(socket: &Path, namespace: &str) -> Result<Self> {
        let path = socket.to_str().ok_or_else(|| {
            Error::InvalidConfig(format!("socket path {} is not UTF-8", socket.display()))
        })?;
        let namespace = valid_namespace(namespace)
            .then(|| namespace.parse().ok())
            .flatten()
            .ok_or_else(|| Error::InvalidConfig(format!("invalid namespace {namespace:?}")))?;
        let endpoint = Endpoint::from_shared(format!("unix://{path}"))
            .map_err(|error| Error::InvalidConfig(format!("socket {path}: {error}")))?
            .connect_timeout(CONNECT_TIMEOUT);
        Ok(Self { channel: endpoint.connect_lazy(), socket: socket.to_owned(), namespace })
    }

    services! {
        containers: api::containers_client::ContainersClient<Channel>,
        content: api::content_client::ContentClient<Channel>,
        diff: api::diff_client::DiffClient<Channel>,
        event_service: api::events_client::EventsClient<Channel>,
        images: api::images_client::ImagesClient<Channel>,
        introspection: api::introspection_client::IntrospectionClient<Channel>,
        leases: api::leases_client::LeasesClient<Channel>,
        namespaces: api::namespaces_client::NamespacesClient<Channel>,
        snapshots: SnapshotsClient<Channel>,
        tasks: api::tasks_client::TasksClient<Channel>,
        version: api::version_client::VersionClient<Channel>,
    }

    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    pub(super) fn namespace(&self) -> &str {
        self.namespace.to_str().unwrap_or_default()
    }

    /// A request in this connection's namespace.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = self.stream_request(message);
        request.set_timeout(CALL_TIMEOUT);
        request
    }

    /// A request whose answer takes as long as an image is large.
    pub(super) fn long_request<T>(&self, message: T) -> Request<T> {
        let mut request = self.stream_request(message);
        request.set_timeout(UNPACK_TIMEOUT);
        request
    }

    /// A request whose answers never end.
    pub(super) fn stream_request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert(NAMESPACE_HEADER, self.namespace.clone());
        request
    }

    /// What cannot be reached is [`Error::Unavailable`]; the rest is said as containerd says it.
    pub(super) fn error(&self, operation: impl Into<String>, status: &Status) -> Error {
        if is_unavailable(status) {
            return self.unavailable(status);
        }
        Error::Other { operation: operation.into(), message: status.message().to_owned() }
    }

    pub(super) fn unavailable(&self, status: &Status) -> Error {
        let mut message = status.message().to_owned();
        let mut source = std::error::Error::source(status);
        while let Some(cause) = source {
            message = cause.to_string();
            source = cause.source();
        }
        Error::Unavailable {
            runtime: super::NAME,
            message: format!("{}: {message}", self.socket.display()),
        }
    }
}

/// Puts the request under a lease, so that what it makes is not collected as garbage.
pub(super) fn leased<T>(mut request: Request<T>, lease: &str) -> Request<T> {
    if let Ok(value) = lease.parse() {
        request.metadata_mut().insert(LEASE_HEADER, value);
    }
    request
}

/// Whether the daemon could not be reached, as opposed to having refused.
pub(super) fn is_unavailable(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => true,
        // A broken connection in the middle of a call carries the transport's error as its cause;
        // what containerd itself answers with this code has none.
        Code::Unknown | Code::Cancelled | Code::Internal => {
            std::error::Error::source(status).is_some()
        }
        _ => false,
    }
}

/// Success, or that there is no such thing any more.
pub(super) fn gone_is_fine<T>(result: Result<T, Status>) -> Result<(), Status> {
    match result {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::NotFound => Ok(()),
        Err(status) => Err(status),
    }
}

/// Success, or that it was there before.
pub(super) fn exists_is_fine<T>(result: Result<T, Status>) -> Result<(), Status> {
    match result {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        Err(status) => Err(status),
    }
}

/// containerd's own rule for identifiers.
fn valid_namespace(name: &str) -> bool {
    let separator = |c: char| matches!(c, '.' | '_' | '-');
    !name.is_empty()
        && name.len() <= 76
        && name.chars().all(|c| c.is_ascii_alphanumeric() || separator(c))
        && !name.starts_with(separator)
        && !name.ends_with(separator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_follow_containerds_rule() {
        for good in ["k8s.io", "pinnace-node-1", "a"] {
            assert!(valid_namespace(good), "{good}");
        }
        for bad in ["", "-a", "a/b", "ä", "a\n"] {
            assert!(!valid_namespace(bad), "{bad}");
        }
    }
}
