//! A driver that speaks CSI over a Unix socket, and mounts for real.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use prost::Message;
use rustix::mount::{MountFlags, UnmountFlags};

/// What a driver can do, by number.
pub(super) const STAGE: u8 = 1;
pub(super) const STATS: u8 = 2;
pub(super) const EXPAND: u8 = 3;
pub(super) const CONDITION: u8 = 4;
pub(super) const MOUNT_GROUP: u8 = 6;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Staged {
    #[prost(string, tag = "1")]
    pub(super) volume_id: String,
    /// Of the attachment.
    #[prost(map = "string, string", tag = "2")]
    pub(super) publish_context: HashMap<String, String>,
    #[prost(string, tag = "3")]
    pub(super) staging: String,
    #[prost(message, optional, tag = "4")]
    pub(super) capability: Option<Capability>,
    #[prost(map = "string, string", tag = "5")]
    pub(super) secrets: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Published {
    #[prost(string, tag = "1")]
    pub(super) volume_id: String,
    #[prost(string, tag = "3")]
    pub(super) staging: String,
    #[prost(string, tag = "4")]
    pub(super) target: String,
    #[prost(message, optional, tag = "5")]
    pub(super) capability: Option<Capability>,
    #[prost(map = "string, string", tag = "7")]
    pub(super) secrets: HashMap<String, String>,
    #[prost(map = "string, string", tag = "8")]
    pub(super) context: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Capability {
    #[prost(message, optional, tag = "1")]
    pub(super) block: Option<Nothing>,
    #[prost(message, optional, tag = "2")]
    pub(super) mount: Option<Mount>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Nothing {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Mount {
    #[prost(string, tag = "3")]
    pub(super) group: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Expanded {
    #[prost(string, tag = "2")]
    pub(super) path: String,
    #[prost(message, optional, tag = "3")]
    pub(super) range: Option<Range>,
    #[prost(string, tag = "4")]
    pub(super) staging: String,
    #[prost(map = "string, string", tag = "6")]
    pub(super) secrets: HashMap<String, String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Range {
    #[prost(int64, tag = "1")]
    pub(super) required_bytes: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Undone {
    #[prost(string, tag = "2")]
    path: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Stats {
    #[prost(message, repeated, tag = "1")]
    pub(super) usage: Vec<Usage>,
    #[prost(message, optional, tag = "2")]
    pub(super) condition: Option<Condition>,
}

#[derive(Clone, PartialEq, Message)]
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

#[derive(Clone, PartialEq, Message)]
pub(super) struct Condition {
    #[prost(bool, tag = "1")]
    pub(super) abnormal: bool,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

#[derive(Clone, PartialEq, Message)]
struct Info {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "4")]
    version: String,
}

/// How a driver behaves; it may be changed at any time.
#[derive(Default)]
pub(super) struct Ways {
    pub(super) name: String,
    pub(super) capabilities: Vec<u8>,
    /// What it never answers.
    pub(super) hangs: BTreeSet<&'static str>,
    /// What it answers by a code.
    pub(super) fails: BTreeMap<&'static str, u8>,
    pub(super) stats: Stats,
}

#[derive(Default)]
struct State {
    ways: Mutex<Ways>,
    /// What it was asked: the method, and the message.
    calls: Mutex<Vec<(String, Bytes)>>,
}

/// A driver that listens until it is dropped.
pub(super) struct Driver {
    state: Arc<State>,
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
    /// `test.csi`, which stages.
    pub(super) fn start(state: &Path) -> Self {
        Self::named(&state.join("plugins_registry"), "test.csi", &[STAGE])
    }

    pub(super) fn able(state: &Path, capabilities: &[u8]) -> Self {
        Self::named(&state.join("plugins_registry"), "test.csi", capabilities)
    }

    pub(super) fn named(directory: &Path, name: &str, capabilities: &[u8]) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        let socket = directory.join(format!("{name}-reg.sock"));
        let listener = tokio::net::UnixListener::bind(&socket).unwrap();
        let state = Arc::new(State::default());
        {
            let mut ways = state.ways.lock();
            (ways.name, ways.capabilities) = (name.to_owned(), capabilities.to_vec());
        }
        let served = state.clone();
        let task = tokio::spawn(async move {
            // With it go the connections.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let served = served.clone();
                connections.spawn(async move {
                    let service = hyper::service::service_fn(move |r| answer(served.clone(), r));
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { state, socket, task }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Ways)) {
        change(&mut self.state.ways.lock());
    }

    /// Has it never answer a method again.
    pub(super) fn hang(&self, method: &'static str) {
        self.state.ways.lock().hangs.insert(method);
    }

    /// Has it answer a method by a code.
    pub(super) fn fail(&self, method: &'static str, code: u8) {
        self.state.ways.lock().fails.insert(method, code);
    }

    pub(super) fn methods(&self) -> Vec<String> {
        self.state.calls.lock().iter().map(|(method, _)| method.clone()).collect()
    }

    pub(super) fn count(&self, method: &str) -> usize {
        self.methods().iter().filter(|one| *one == method).count()
    }

    fn last<M: Message + Default>(&self, method: &str) -> Option<M> {
        let calls = self.state.calls.lock();
        let last = calls.iter().rev().find(|(one, _)| one == method);
        last.map(|(_, message)| M::decode(message.clone()).unwrap())
    }

    pub(super) fn staged(&self) -> Option<Staged> {
        self.last("NodeStageVolume")
    }

    pub(super) fn published(&self) -> Option<Published> {
        self.last("NodePublishVolume")
    }

    pub(super) fn expanded(&self) -> Option<Expanded> {
        self.last("NodeExpandVolume")
    }
}

type Body = http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>;

async fn answer(
    state: Arc<State>,
    request: http::Request<Incoming>,
) -> Result<http::Response<Body>, hyper::Error> {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let message = body.slice(5..);
    state.calls.lock().push((method.clone(), message.clone()));
    let (hangs, code) = {
        let ways = state.ways.lock();
        (ways.hangs.contains(&*method), ways.fails.get(&*method).copied())
    };
    if hangs {
        std::future::pending::<()>().await;
    }
    let answer = http::Response::builder().header("content-type", "application/grpc");
    if let Some(code) = code {
        let answer = answer.header("grpc-status", code.to_string());
        let answer = answer.header("grpc-message", "it does not want to");
        return Ok(answer.body(Full::default().boxed_unsync()).unwrap());
    }
    let message = carry_out(&state.ways.lock(), &method, message);
    let mut frame = vec![0];
    frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    frame.extend(message);
    let trailers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static("0"),
    )]);
    let body = Full::new(Bytes::from(frame));
    let body = body.with_trailers(std::future::ready(Some(Ok(trailers)))).boxed_unsync();
    Ok(answer.body(body).unwrap())
}

/// Stages by a file system in memory, and publishes by showing that elsewhere, too; volumes without
/// a file system are plain files.
fn carry_out(ways: &Ways, method: &str, message: Bytes) -> Vec<u8> {
    match method {
        "GetInfo" => Info {
            kind: "CSIPlugin".to_owned(),
            name: ways.name.clone(),
            version: "1.0.0".to_owned(),
        }
        .encode_to_vec(),
        // A node's id, seven volumes at most, and `zone: z1`.
        "NodeGetInfo" => b"\x0a\x03id1\x10\x07\x1a\x10\x0a\x0e\x0a\x08test/top\x12\x02z1".to_vec(),
        "NodeGetCapabilities" => {
            ways.capabilities.iter().flat_map(|one| [0x0a, 4, 0x0a, 2, 8, *one]).collect()
        }
        "NodeStageVolume" => {
            let staged = Staged::decode(message).unwrap();
            if staged.capability.unwrap().block.is_none() && !is_mounted(&staged.staging) {
                let (flags, path) = (MountFlags::empty(), staged.staging.as_str());
                rustix::mount::mount("none", path, "tmpfs", flags, None).unwrap();
            }
            Vec::new()
        }
        "NodePublishVolume" => {
            let published = Published::decode(message).unwrap();
            if published.capability.unwrap().block.is_some() {
                std::fs::write(&published.target, b"").unwrap();
                return Vec::new();
            }
            std::fs::create_dir_all(&published.target).unwrap();
            if !published.staging.is_empty() && !is_mounted(&published.target) {
                let (from, to) = (published.staging.as_str(), published.target.as_str());
                rustix::mount::mount_bind(from, to).unwrap();
            }
            Vec::new()
        }
        "NodeUnpublishVolume" | "NodeUnstageVolume" => {
            let path = Undone::decode(message).unwrap().path;
            let _ = rustix::mount::unmount(path.as_str(), UnmountFlags::DETACH);
            let _ = std::fs::remove_dir(&path).or_else(|_| std::fs::remove_file(&path));
            Vec::new()
        }
        "NodeGetVolumeStats" => ways.stats.encode_to_vec(),
        _ => Vec::new(),
    }
}

fn is_mounted(path: &str) -> bool {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.lines().any(|line| line.split(' ').nth(4) == Some(path))
}
