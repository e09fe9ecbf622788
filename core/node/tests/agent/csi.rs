//! Volumes of a driver that speaks CSI over a Unix socket and mounts for real.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use k8s_openapi::api::core::v1::{
    Node, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus, Secret,
};
use k8s_openapi::api::storage::v1::{CSIDriver, CSINode, VolumeAttachment};
use parking_lot::Mutex;
use pinnace_api::Key;
use pinnace_node::Machine;
use prost::Message;
use rustix::mount::{MountFlags, UnmountFlags};
use serde_json::json;

use crate::world::World;

/// The fields of all requests that the tests look at: strings and maps by their numbers.
#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(string, tag = "1")]
    volume_id: String,
    #[prost(bytes, tag = "2")]
    second: Vec<u8>,
    #[prost(string, tag = "3")]
    staging: String,
    #[prost(bytes, tag = "4")]
    fourth: Vec<u8>,
    #[prost(map = "string, string", tag = "7")]
    secrets: std::collections::HashMap<String, String>,
    #[prost(map = "string, string", tag = "8")]
    context: std::collections::HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(string, tag = "1")]
    first: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(bytes, tag = "3")]
    third: Vec<u8>,
    #[prost(string, tag = "4")]
    version: String,
}

/// What a driver was asked: the method and the volume, and what it was told in the context.
type Calls = Arc<Mutex<Vec<(String, Request)>>>;

/// A driver that listens until it is dropped.
struct Driver {
    calls: Calls,
    socket: PathBuf,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Driver {
    fn start(state: &Path) -> Self {
        let directory = state.join("plugins_registry");
        std::fs::create_dir_all(&directory).unwrap();
        let socket = directory.join("test-reg.sock");
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let calls = Calls::default();
        let told = calls.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let told = told.clone();
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |r| answer(told.clone(), r));
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { calls, socket, task }
    }

    fn methods(&self) -> Vec<String> {
        self.calls.lock().iter().map(|(method, _)| method.clone()).collect()
    }

    fn last(&self, method: &str) -> Option<Request> {
        let calls = self.calls.lock();
        calls.iter().rev().find(|(one, _)| one == method).map(|(_, request)| request.clone())
    }
}

type Body = http_body_util::combinators::UnsyncBoxBody<bytes::Bytes, Infallible>;

async fn answer(
    calls: Calls,
    request: http::Request<Incoming>,
) -> Result<http::Response<Body>, hyper::Error> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let request = Request::decode(&body[5..]).unwrap_or_default();
    let message = carry_out(&method, &request);
    calls.lock().push((method, request));
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    let trailers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static("0"),
    )]);
    let body = Full::new(bytes::Bytes::from(frame));
    let body = body.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed_unsync();
    let answer = http::Response::builder().header("content-type", "application/grpc");
    Ok(answer.body(body).unwrap())
}

/// Stages by a file system in memory, and publishes by showing that elsewhere, too.
fn carry_out(method: &str, request: &Request) -> Vec<u8> {
    let fourth = String::from_utf8_lossy(&request.fourth).into_owned();
    let second = String::from_utf8_lossy(&request.second).into_owned();
    match method {
        "GetInfo" => Answer {
            first: "CSIPlugin".to_owned(),
            name: "test.csi".to_owned(),
            third: Vec::new(),
            version: "1.0.0".to_owned(),
        }
        .encode_to_vec(),
        // A node's id, seven volumes at most, and `zone: z1`.
        "NodeGetInfo" => b"\x0a\x03id1\x10\x07\x1a\x10\x0a\x0e\x0a\x08test/top\x12\x02z1".to_vec(),
        // Stages.
        "NodeGetCapabilities" => b"\x0a\x04\x0a\x02\x08\x01".to_vec(),
        "NodeStageVolume" => {
            let flags = MountFlags::empty();
            rustix::mount::mount("none", request.staging.as_str(), "tmpfs", flags, None).unwrap();
            Vec::new()
        }
        "NodePublishVolume" => {
            std::fs::create_dir_all(&fourth).unwrap();
            if !request.staging.is_empty() {
                rustix::mount::mount_bind(request.staging.as_str(), fourth.as_str()).unwrap();
            }
            Vec::new()
        }
        "NodeUnpublishVolume" | "NodeUnstageVolume" => {
            let _ = rustix::mount::unmount(second.as_str(), UnmountFlags::DETACH);
            let _ = std::fs::remove_dir(&second);
            Vec::new()
        }
        _ => Vec::new(),
    }
}

/// An agent for this machine, whose containers are simulated but whose volumes are not.
async fn world(state: &Path, spec: serde_json::Value) -> World {
    let mut world = World::new().await;
    world.machine = Machine::Local { state: state.to_owned() };
    world.logs = state.join("logs");
    world.start_agent(vec![world.node("n1")]);
    world.create::<CSIDriver>(json!({"metadata": {"name": "test.csi"}, "spec": spec})).await;
    world
}

async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.expect(what);
}

async fn drivers(world: &World) -> Vec<String> {
    let node = world.client.of::<CSINode>().unwrap().find(&Key::cluster("n1")).await.unwrap();
    let drivers = node.map(|node| node.spec.drivers.clone()).unwrap_or_default();
    let count = |driver: &k8s_openapi::api::storage::v1::CSINodeDriver| {
        driver.allocatable.as_ref().and_then(|all| all.count)
    };
    drivers
        .iter()
        .map(|one| format!("{} {} {:?} {:?}", one.name, one.node_id, one.topology_keys, count(one)))
        .collect()
}

async fn claimed_pod(world: &World) {
    let size = json!({"storage": "1Gi"});
    let csi = json!({
        "driver": "test.csi", "volumeHandle": "v1", "fsType": "tmpfs",
        "volumeAttributes": {"colour": "blue"}
    });
    let claim = json!({"namespace": "default", "name": "c"});
    world
        .create::<PersistentVolume>(json!({"metadata": {"name": "pv1"}, "spec": {
            "capacity": size, "accessModes": ["ReadWriteOnce"], "csi": csi, "claimRef": claim
        }}))
        .await;
    world
        .create::<PersistentVolumeClaim>(json!({"metadata": claim, "spec": {
            "accessModes": ["ReadWriteOnce"], "volumeName": "pv1", "storageClassName": "",
            "resources": {"requests": size}
        }}))
        .await;
    let claims = world.client.of::<PersistentVolumeClaim>().unwrap();
    let bind = |claim: &mut PersistentVolumeClaim| {
        let phase = Some("Bound".to_owned());
        claim.status = Some(PersistentVolumeClaimStatus { phase, ..Default::default() });
        true
    };
    claims.modify_status(&Key::new("default", "c"), bind).await.unwrap();
    world
        .pod(json!({
            "securityContext": {"fsGroup": 4321},
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
            "containers": [{"name": "c", "image": "i:1",
                "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]
        }))
        .await;
}

fn mounts_below(directory: &Path) -> usize {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().filter(|line| line.contains(&*directory.to_string_lossy())).count()
}

#[tokio::test]
async fn a_driver_is_shown_while_it_is_there_and_mounts_what_pods_claim() {
    use std::os::unix::fs::MetadataExt as _;
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path();
    let spec = json!({"attachRequired": false, "podInfoOnMount": true, "fsGroupPolicy": "File"});
    let mut world = world(state, spec).await;
    claimed_pod(&world).await;
    let driver = Driver::start(state);
    world.until_phase("Running").await;
    assert_eq!(drivers(&world).await, ["test.csi id1 Some([\"test/top\"]) Some(7)"]);
    let node = world.client.of::<Node>().unwrap().get(&Key::cluster("n1")).await.unwrap();
    assert_eq!(node.metadata.labels.as_ref().unwrap()["test/top"], "z1");
    let in_use = node.status.as_ref().unwrap().volumes_in_use.clone().unwrap();
    assert_eq!(in_use, ["kubernetes.io/csi/test.csi^v1"]);
    let published = driver.last("NodePublishVolume").unwrap();
    assert_eq!(published.volume_id, "v1");
    assert_eq!(published.context["colour"], "blue");
    assert_eq!(published.context["csi.storage.k8s.io/pod.name"], "p");
    let target = PathBuf::from(String::from_utf8(published.fourth).unwrap());
    assert_eq!(std::fs::metadata(&target).unwrap().gid(), 4321);
    assert_eq!(mounts_below(state), 2);

    // Another agent finds what is mounted, though the pod has gone meanwhile.
    world.stop_agent().await;
    world.delete(Some(0)).await;
    world.start_agent(vec![world.node("n1")]);
    until("the volume is unmounted", async || mounts_below(state) == 0).await;
    let methods = driver.methods();
    let order = ["NodeUnpublishVolume", "NodeUnstageVolume"];
    assert_eq!(methods.iter().rev().take(2).rev().collect::<Vec<_>>(), order);
    drop(driver);
    until("the driver is forgotten", async || drivers(&world).await.is_empty()).await;
    world.stop_agent().await;
}

#[tokio::test]
async fn a_volume_waits_for_its_attachment() {
    let directory = tempfile::tempdir().unwrap();
    let mut world = world(directory.path(), json!({"attachRequired": true})).await;
    let driver = Driver::start(directory.path());
    until("the driver is there", async || !drivers(&world).await.is_empty()).await;
    claimed_pod(&world).await;
    until("it is told why", async || {
        let told = world.events().await;
        told.iter().any(|(reason, message)| {
            reason == "FailedMount" && message.contains("waiting for external-attacher of test.csi")
        })
    })
    .await;
    assert_eq!(driver.last("NodeStageVolume"), None);
    // Upstream's name: the hash of the handle, the driver and the node.
    let name = "csi-501575ef2162beb9211312b16f6fa2e67ed893689735a49071f13f29afabf8c0";
    world
        .create::<VolumeAttachment>(json!({"metadata": {"name": name}, "spec": {
            "attacher": "test.csi", "nodeName": "n1", "source": {"persistentVolumeName": "pv1"}
        }}))
        .await;
    let attach = |one: &mut VolumeAttachment| {
        let metadata = [("device".to_owned(), "d1".to_owned())].into();
        let status = one.status.get_or_insert_default();
        (status.attached, status.attachment_metadata) = (true, Some(metadata));
        true
    };
    let api = world.client.of::<VolumeAttachment>().unwrap();
    api.modify_status(&Key::cluster(name), attach).await.unwrap();
    world.until_phase("Running").await;
    let context = driver.last("NodeStageVolume").unwrap().second;
    assert_eq!(context, b"\x0a\x06device\x12\x02d1");
    world.delete(Some(0)).await;
    until("the volume is unmounted", async || mounts_below(directory.path()) == 0).await;
    world.stop_agent().await;
}

#[tokio::test]
async fn an_inline_volume_is_published_with_secrets_and_never_staged() {
    let directory = tempfile::tempdir().unwrap();
    let spec = json!({"podInfoOnMount": true, "volumeLifecycleModes": ["Ephemeral"]});
    let mut world = world(directory.path(), spec).await;
    let data = json!({"key": "c2VjcmV0"});
    let metadata = json!({"name": "s", "namespace": "default"});
    world.create::<Secret>(json!({"metadata": metadata, "data": data})).await;
    let csi =
        json!({"driver": "test.csi", "readOnly": true, "nodePublishSecretRef": {"name": "s"}});
    world
        .pod(json!({
            "volumes": [{"name": "v", "csi": csi}],
            "containers": [{"name": "c", "image": "i:1"}]
        }))
        .await;
    until("it is told that there is no driver", async || {
        let told = world.events().await;
        told.iter().any(|(reason, message)| {
            reason == "FailedMount"
                && message.contains("test.csi not found in the list of registered")
        })
    })
    .await;
    let driver = Driver::start(directory.path());
    world.until_phase("Running").await;
    assert_eq!(driver.last("NodeStageVolume"), None);
    let published = driver.last("NodePublishVolume").unwrap();
    assert!(published.volume_id.starts_with("csi-"), "{}", published.volume_id);
    assert_eq!(published.context["csi.storage.k8s.io/ephemeral"], "true");
    assert_eq!(published.secrets["key"], "secret");
    world.delete(Some(0)).await;
    until("it is unpublished", async || driver.last("NodeUnpublishVolume").is_some()).await;
    assert_eq!(driver.last("NodeUnstageVolume"), None);
    world.stop_agent().await;
}
