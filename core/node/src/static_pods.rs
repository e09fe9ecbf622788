//! Pods that a node runs because a file says so. The API shows each as a mirror: it can be looked
//! at there, and not be changed; one that is deleted comes back as long as its file is there.
//!
//! The node knows such a pod by the hash of its file, which is its uid here, whatever uid its
//! mirror has. So a mirror may go and come while the pod's containers go on.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, Toleration};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use parking_lot::Mutex;
use pinnace_api::{ApiError, Draft, Key, Kind as _, Object, Reason, Result};
use pinnace_client::{DeleteOptions, ListOptions, Preconditions};
use tokio::sync::{Notify, watch};
use tokio::time::MissedTickBehavior;

use crate::agent::Shared;
use crate::host::Host;

const SOURCE: &str = "kubernetes.io/config.source";
const SEEN: &str = "kubernetes.io/config.seen";
const HASH: &str = "kubernetes.io/config.hash";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// How many files are read.
const MAX_FILES: usize = 1000;

/// Where the manifests of pods lie that a node runs by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticPods {
    /// A directory of manifests, or a manifest: `staticPodPath`.
    pub directory: PathBuf,
    /// How often the node looks: `fileCheckFrequency`.
    pub every: Duration,
}

impl StaticPods {
    /// A directory that is looked at every 20 seconds, as upstream does.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), every: Duration::from_secs(20) }
    }
}

/// What a node's files ask for.
#[derive(Default)]
pub(crate) struct Mirrors {
    /// The names of the pods, by hash.
    wanted: Mutex<HashMap<String, Key>>,
    /// That a mirror has gone or is about to.
    changed: Notify,
}

impl Mirrors {
    fn wants(&self, hash: &str, key: &Key) -> bool {
        self.wanted.lock().get(hash) == Some(key)
    }

    /// Takes over what was read. What is still ending is not begun anew before it has ended.
    /// Returns the hashes that are wanted no more.
    fn renew(&self, shared: &Shared, pods: &mut BTreeMap<Key, Pod>) -> Vec<String> {
        let mut wanted = self.wanted.lock();
        pods.retain(|_, pod| {
            mirrored(pod).is_some_and(|hash| wanted.contains_key(hash) || !shared.knows(hash))
        });
        let entry = |(key, pod): (&Key, &Pod)| Some((mirrored(pod)?.to_owned(), key.clone()));
        let before = std::mem::replace(&mut *wanted, pods.iter().filter_map(entry).collect());
        before.into_keys().filter(|hash| !wanted.contains_key(hash)).collect()
    }

    /// Notes that a mirror has gone; whether its pod is to go on nevertheless.
    pub(crate) fn lost(&self, hash: &str, pod: &Object) -> bool {
        self.changed.notify_one();
        self.wants(hash, &pod.key())
    }
}

/// The hash of the file whose pod an object shows, when a node has such files.
pub(crate) fn mirrored_on(host: &Host, pod: &Object) -> Option<String> {
    host.static_pods.as_ref()?;
    mirrored(pod.get().ok()?).map(str::to_owned)
}

/// A pod of the API as its node knows it: a mirror as the static pod that it shows, which nobody
/// but the node deletes, and any other pod as it is. `None` for a mirror of nothing.
pub(crate) fn as_known(shared: &Shared, host: &Host, pod: &Object) -> Option<Object> {
    let Some(hash) = mirrored_on(host, pod) else { return Some(pod.clone()) };
    let wanted = host.mirrors.wants(&hash, &pod.key());
    if wanted && pod.is_deleting() {
        host.mirrors.changed.notify_one();
    }
    // What does not come from a file of this node is no name for directories.
    if !wanted && !shared.knows(&hash) {
        return None;
    }
    let mut draft = pod.draft().ok()?;
    let meta = draft.meta_mut();
    meta.uid = Some(hash);
    if wanted {
        (meta.deletion_timestamp, meta.deletion_grace_period_seconds) = (None, None);
    }
    Some(draft.freeze())
}

/// Reads the files for the first time, before any mirror is looked at.
pub(crate) async fn prepare(shared: &Arc<Shared>) {
    for host in shared.hosts.values() {
        if let Some(config) = &host.static_pods
            && let Some(mut pods) = look(shared, host, config).await
        {
            host.mirrors.renew(shared, &mut pods);
        }
    }
}

/// Runs what the files of an agent's nodes say, as long as it is polled.
pub(crate) async fn run(shared: &Arc<Shared>, mut synced: watch::Receiver<bool>) {
    // The sender lives as long as the agent runs.
    let _ = synced.wait_for(|synced| *synced).await;
    let all = shared.hosts.values().filter_map(|host| {
        let config = host.static_pods.clone()?;
        Some(async move { follow(shared, host, &config).await })
    });
    futures::future::join_all(all).await;
}

async fn follow(shared: &Arc<Shared>, host: &Arc<Host>, config: &StaticPods) {
    let mut ticks = tokio::time::interval(config.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = host.mirrors.changed.notified() => {}
        }
        let Some(wanted) = look(shared, host, config).await else { continue };
        if let Err(error) = reconcile(shared, host, wanted).await {
            tracing::warn!(node = %host.name, %error, "static pods not brought up to date");
        }
    }
}

async fn look(shared: &Shared, host: &Host, config: &StaticPods) -> Option<BTreeMap<Key, Pod>> {
    let (directory, node) = (config.directory.clone(), host.name.clone());
    shared.tasks.spawn_blocking(move || wanted(&directory, &node)).await.ok().flatten()
}

/// Makes the mirrors that are missing, and has those end that are no longer wanted.
async fn reconcile(
    shared: &Arc<Shared>,
    host: &Host,
    mut wanted: BTreeMap<Key, Pod>,
) -> Result<()> {
    let mut unwanted = host.mirrors.renew(shared, &mut wanted);
    let here = ListOptions::default().fields(&format!("spec.nodeName={}", host.name))?;
    let mirrors = shared.pods.list(None, here).await?;
    for mirror in &mirrors.items {
        let node = mirror.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let Some(hash) = mirrored(mirror).filter(|_| node == Some(&*host.name)) else { continue };
        let (object, key) = (mirror.object(), mirror.object().key());
        let same = wanted.get(&key).is_some_and(|pod| mirrored(pod) == Some(hash));
        let known = shared.knows(hash);
        if known {
            unwanted.retain(|gone| gone != hash);
        }
        match (same, object.is_deleting()) {
            (true, false) => drop(wanted.remove(&key)),
            // Somebody deletes it: it makes room for the next at once.
            (true, true) => delete(shared, &key, object.uid(), Some(0)).await?,
            (false, _) if !known => delete(shared, &key, object.uid(), Some(0)).await?,
            (false, false) => delete(shared, &key, object.uid(), None).await?,
            (false, true) => {}
        }
    }
    // Those whose mirrors have gone already.
    for hash in unwanted {
        shared.signal(&hash, |signals| signals.gone = true);
    }
    for (key, pod) in wanted {
        match create(shared, host, pod).await {
            Ok(()) => {}
            // The one before is still on its way out, or somebody has taken the name.
            Err(error) if error.is_already_exists() => {}
            Err(error) => tracing::warn!(pod = %key, %error, "static pod not shown"),
        }
    }
    Ok(())
}

/// Has the API delete a pod, within `grace` seconds or those that it asks for itself. One that is
/// gone already, or has another uid, is left alone.
pub(crate) async fn delete(
    shared: &Shared,
    key: &Key,
    uid: &str,
    grace: Option<i64>,
) -> Result<()> {
    let options = DeleteOptions {
        grace_period_seconds: grace,
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
        ..DeleteOptions::default()
    };
    match shared.pods.delete(key, options).await {
        Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
        _ => Ok(()),
    }
}

async fn create(shared: &Arc<Shared>, host: &Host, mut pod: Pod) -> Result<()> {
    let node = shared.client.of::<Node>()?.get(&Key::cluster(&*host.name)).await?;
    pod.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: host.name.to_string(),
        uid: node.object().uid().to_owned(),
        controller: Some(true),
        ..OwnerReference::default()
    }]);
    let seen = shared.env.now().to_string();
    pod.metadata.annotations.get_or_insert_default().insert(SEEN.to_owned(), seen);
    shared.pods.create(pod).await.map(drop)
}

fn mirrored(pod: &Pod) -> Option<&str> {
    pod.metadata.annotations.as_ref()?.get(MIRROR).map(String::as_str)
}

/// The pods that files ask for; `None` when they cannot be read now, which ends nothing. Blocks.
fn wanted(path: &Path, node: &str) -> Option<BTreeMap<Key, Pod>> {
    let files = match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            let entries = fs::read_dir(path).ok()?.flatten();
            let visible =
                entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
            let mut files: Vec<PathBuf> = visible.map(|entry| entry.path()).collect();
            files.sort();
            files.truncate(MAX_FILES);
            files.retain(|file| file.is_file());
            files
        }
        Ok(_) => vec![path.to_owned()],
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(_) => return None,
    };
    let mut pods = BTreeMap::new();
    for file in files {
        match read(&file, node) {
            Ok(pod) => {
                let key = Key::new(
                    pod.metadata.namespace.as_deref().unwrap_or_default(),
                    pod.metadata.name.as_deref().unwrap_or_default(),
                );
                pods.entry(key).or_insert(pod);
            }
            Err(error) => tracing::warn!(file = %file.display(), %error, "no static pod"),
        }
    }
    Some(pods)
}

fn read(file: &Path, node: &str) -> Result<Pod> {
    let length = fs::metadata(file).map_err(ApiError::internal)?.len();
    if length > pinnace_api::manifest::MAX_BYTES as u64 {
        return Err(ApiError::new(Reason::RequestEntityTooLarge, "the file is too large"));
    }
    let text = fs::read(file).map_err(ApiError::internal)?;
    let value = pinnace_api::manifest::read_one(&text)?;
    if value["kind"] != "Pod" || value["apiVersion"] != "v1" {
        return Err(ApiError::bad_request("it holds no Pod of v1"));
    }
    let hash = hash(&text, file, node);
    let mut draft = Draft::from_value(Pod::codec(), value)?;
    let pod = draft.get_mut::<Pod>().map(std::mem::take);
    complete(pod.unwrap_or_default(), node, hash)
}

/// What identifies a static pod: another text is another pod.
fn hash(text: &[u8], file: &Path, node: &str) -> String {
    let part = |seed: u8| {
        let mut hasher = std::hash::DefaultHasher::new();
        (seed, text, file, node).hash(&mut hasher);
        hasher.finish()
    };
    format!("{:016x}{:016x}", part(0), part(1))
}

/// Makes a pod of a file one of this node.
fn complete(mut pod: Pod, node: &str, hash: String) -> Result<Pod> {
    let spec = pod.spec.get_or_insert_default();
    let refers = spec.service_account_name.as_ref().is_some_and(|name| !name.is_empty());
    if refers {
        return Err(ApiError::bad_request("a mirror pod may not reference service accounts"));
    }
    if spec.resource_claims.as_ref().is_some_and(|all| !all.is_empty()) {
        return Err(ApiError::bad_request("static pods may not use ResourceClaims"));
    }
    spec.node_name = Some(node.to_owned());
    let forever = Toleration {
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        ..Toleration::default()
    };
    let tolerations = spec.tolerations.get_or_insert_default();
    if !tolerations.contains(&forever) {
        tolerations.push(forever);
    }
    let meta = &mut pod.metadata;
    let name = meta.name.take().unwrap_or_default();
    meta.name = Some(format!("{name}-{node}"));
    meta.namespace.get_or_insert_with(|| "default".to_owned());
    (meta.uid, meta.resource_version, meta.owner_references) = (None, None, None);
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(SOURCE.to_owned(), "file".to_owned());
    annotations.insert(HASH.to_owned(), hash.clone());
    annotations.insert(MIRROR.to_owned(), hash);
    pod.status = None;
    Ok(pod)
}
