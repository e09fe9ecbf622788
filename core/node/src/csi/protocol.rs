//! The messages of `csi.v1` and of upstream's plugin registration that a node needs, and how they
//! are sent over a Unix socket. Field numbers are those of the published protocols.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

/// How long a driver has for one call, as upstream.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a plugin has to answer about its registration, the connection included.
pub(super) const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) type Map = HashMap<String, String>;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Empty {}

/// `pluginregistration.PluginInfo`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PluginInfo {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(string, tag = "3")]
    pub(super) endpoint: String,
    #[prost(string, repeated, tag = "4")]
    pub(super) supported_versions: Vec<String>,
}

/// `pluginregistration.RegistrationStatus`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RegistrationStatus {
    #[prost(bool, tag = "1")]
    pub(super) plugin_registered: bool,
    #[prost(string, tag = "2")]
    pub(super) error: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NodeInfo {
    #[prost(string, tag = "1")]
    pub(super) node_id: String,
    #[prost(int64, tag = "2")]
    pub(super) max_volumes_per_node: i64,
    #[prost(message, optional, tag = "3")]
    pub(super) accessible_topology: Option<Topology>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Topology {
    #[prost(map = "string, string", tag = "1")]
    pub(super) segments: Map,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Capabilities {
    #[prost(message, repeated, tag = "1")]
    pub(super) capabilities: Vec<Capability>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Capability {
    #[prost(message, optional, tag = "1")]
    pub(super) rpc: Option<Rpc>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Rpc {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
}

impl Capabilities {
    pub(super) fn have(&self, kind: i32) -> bool {
        let is = |one: &Capability| one.rpc.as_ref().is_some_and(|rpc| rpc.kind == kind);
        self.capabilities.iter().any(is)
    }
}

/// What a driver's node service can do beyond publishing, by number.
pub(super) const STAGE_UNSTAGE_VOLUME: i32 = 1;
pub(super) const GET_VOLUME_STATS: i32 = 2;
pub(super) const EXPAND_VOLUME: i32 = 3;
pub(super) const VOLUME_CONDITION: i32 = 4;
pub(super) const SINGLE_NODE_MULTI_WRITER: i32 = 5;
pub(super) const VOLUME_MOUNT_GROUP: i32 = 6;

/// `VolumeCapability`; of `block` and `mount` one is set.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct VolumeCapability {
    #[prost(message, optional, tag = "1")]
    pub(super) block: Option<Empty>,
    #[prost(message, optional, tag = "2")]
    pub(super) mount: Option<MountVolume>,
    #[prost(message, optional, tag = "3")]
    pub(super) access_mode: Option<AccessMode>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MountVolume {
    #[prost(string, tag = "1")]
    pub(super) fs_type: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) mount_flags: Vec<String>,
    #[prost(string, tag = "3")]
    pub(super) volume_mount_group: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AccessMode {
    #[prost(int32, tag = "1")]
    pub(super) mode: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StageRequest {
    #[prost(string, tag = "1")]
    pub(super) volume_id: String,
    #[prost(map = "string, string", tag = "2")]
    pub(super) publish_context: Map,
    #[prost(string, tag = "3")]
    pub(super) staging_target_path: String,
    #[prost(message, optional, tag = "4")]
    pub(super) volume_capability: Option<VolumeCapability>,
    #[prost(map = "string, string", tag = "5")]
    pub(super) secrets: Map,
    #[prost(map = "string, string", tag = "6")]
    pub(super) volume_context: Map,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PublishRequest {
    #[prost(string, tag = "1")]
    pub(super) volume_id: String,
    #[prost(map = "string, string", tag = "2")]
    pub(super) publish_context: Map,
    #[prost(string, tag = "3")]
    pub(super) staging_target_path: String,
    #[prost(string, tag = "4")]
    pub(super) target_path: String,
    #[prost(message, optional, tag = "5")]
    pub(super) volume_capability: Option<VolumeCapability>,
    #[prost(bool, tag = "6")]
    pub(super) readonly: bool,
    #[prost(map = "string, string", tag = "7")]
    pub(super) secrets: Map,
    #[prost(map = "string, string", tag = "8")]
    pub(super) volume_context: Map,
}

/// `NodeUnstageVolumeRequest` and `NodeUnpublishVolumeRequest`, which look the same.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct UndoRequest {
    #[prost(string, tag = "1")]
    pub(super) volume_id: String,
    #[prost(string, tag = "2")]
    pub(super) path: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ExpandRequest {
    #[prost(string, tag = "1")]
    pub(super) volume_id: String,
    #[prost(string, tag = "2")]
    pub(super) volume_path: String,
    #[prost(message, optional, tag = "3")]
    pub(super) capacity_range: Option<CapacityRange>,
    #[prost(string, tag = "4")]
    pub(super) staging_target_path: String,
    #[prost(message, optional, tag = "5")]
    pub(super) volume_capability: Option<VolumeCapability>,
    #[prost(map = "string, string", tag = "6")]
    pub(super) secrets: Map,
}

/// In bytes; 0 where there is no limit.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct CapacityRange {
    #[prost(int64, tag = "1")]
    pub(super) required_bytes: i64,
    #[prost(int64, tag = "2")]
    pub(super) limit_bytes: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Expanded {
    #[prost(int64, tag = "1")]
    pub(super) capacity_bytes: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct StatsRequest {
    #[prost(string, tag = "1")]
    pub(super) volume_id: String,
    #[prost(string, tag = "2")]
    pub(super) volume_path: String,
    #[prost(string, tag = "3")]
    pub(super) staging_target_path: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Stats {
    #[prost(message, repeated, tag = "1")]
    pub(super) usage: Vec<Usage>,
    #[prost(message, optional, tag = "2")]
    pub(super) condition: Option<Condition>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Usage {
    #[prost(int64, tag = "1")]
    pub(super) available: i64,
    #[prost(int64, tag = "2")]
    pub(super) total: i64,
    #[prost(int64, tag = "3")]
    pub(super) used: i64,
    #[prost(int32, tag = "4")]
    pub(super) unit: i32,
}

/// What a [`Usage`] counts.
pub(super) const BYTES: i32 = 1;
pub(super) const INODES: i32 = 2;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Condition {
    #[prost(bool, tag = "1")]
    pub(super) abnormal: bool,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

/// Why a call has failed, in upstream's words.
#[derive(Debug, thiserror::Error)]
#[error("rpc error: code = {:?} desc = {}", .0.code(), .0.message())]
pub(super) struct Failure(Status);

impl Failure {
    /// A call that has taken too long.
    pub(super) fn late() -> Self {
        Self(Status::deadline_exceeded("context deadline exceeded"))
    }

    pub(super) fn code(&self) -> Code {
        self.0.code()
    }

    /// Whether the driver is not at work at it any more, as upstream judges by the code.
    pub(super) fn is_final(&self) -> bool {
        !matches!(
            self.code(),
            Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Unavailable
                | Code::ResourceExhausted
                | Code::Aborted
        )
    }
}

impl From<Failure> for String {
    fn from(failure: Failure) -> Self {
        failure.to_string()
    }
}

/// Calls a method of a service that listens on a Unix socket, within `limit`.
///
/// # Errors
/// What the service answers, or that it does not.
pub(super) async fn call<I, O>(
    socket: &Path,
    method: &'static str,
    request: I,
    limit: Duration,
) -> Result<O, Failure>
where
    I: prost::Message + 'static,
    O: prost::Message + Default + 'static,
{
    let asked = tokio::time::timeout(limit, ask(socket, method, request)).await;
    asked.map_err(|_| Failure::late())?.map_err(Failure)
}

async fn ask<I, O>(socket: &Path, method: &'static str, request: I) -> Result<O, Status>
where
    I: prost::Message + 'static,
    O: prost::Message + Default + 'static,
{
    let failed =
        |error: tonic::transport::Error| Status::unavailable(crate::pod::set_up::chain(&error));
    let endpoint = Endpoint::from_shared(format!("unix:{}", socket.display())).map_err(failed)?;
    let channel = endpoint.connect().await.map_err(failed)?;
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(failed)?;
    let codec: ProstCodec<I, O> = ProstCodec::default();
    let answer = client.unary(Request::new(request), PathAndQuery::from_static(method), codec);
    answer.await.map(tonic::Response::into_inner)
}
