use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    CSIPersistentVolumeSource, PersistentVolume, Pod, Secret, Volume,
};
use k8s_openapi::api::storage::v1::{CSIDriver, VolumeAttachment};
use pinnace_api::Key;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::protocol::{
    self, AccessMode, CALL_TIMEOUT, Capabilities, Empty, Map, MountVolume, PublishRequest,
    SINGLE_NODE_MULTI_WRITER, STAGE_UNSTAGE_VOLUME, StageRequest, UndoRequest, VOLUME_MOUNT_GROUP,
    VolumeCapability,
};
use super::state::{self, Published};
use crate::agent::Shared;
use crate::pod::{record, tokens};
use crate::{heartbeat, volumes};

/// How long to wait before an orphan's volumes are tried again: at first, and at most, as upstream.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(122);

/// A volume of a pod that a driver provides.
pub(crate) struct Claimed {
    /// The persistent volume's name, or that of the pod's own volume.
    name: String,
    source: CSIPersistentVolumeSource,
    is_ephemeral: bool,
    access_modes: Vec<String>,
    mount_options: Vec<String>,
    is_block: bool,
}

/// What a driver is to provide for a volume; nothing when the volume is not a driver's.
pub(crate) fn source_of(
    pod: &Pod,
    volume: &Volume,
    claimed: Option<&PersistentVolume>,
) -> Option<Claimed> {
    if let Some(inline) = &volume.csi {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let source = CSIPersistentVolumeSource {
            driver: inline.driver.clone(),
            fs_type: inline.fs_type.clone(),
            node_publish_secret_ref: inline.node_publish_secret_ref.as_ref().map(|secret| {
                k8s_openapi::api::core::v1::SecretReference {
                    name: Some(secret.name.clone()),
                    namespace: pod.metadata.namespace.clone(),
                }
            }),
            read_only: inline.read_only,
            volume_attributes: inline.volume_attributes.clone(),
            volume_handle: format!("csi-{}", digest(&[uid, &volume.name])),
            ..CSIPersistentVolumeSource::default()
        };
        return Some(Claimed {
            name: volume.name.clone(),
            source,
            is_ephemeral: true,
            access_modes: Vec::new(),
            mount_options: Vec::new(),
            is_block: false,
        });
    }
    let persistent = claimed?;
    let spec = persistent.spec.as_ref()?;
    let mut source = spec.csi.clone()?;
    let read_only = volume.persistent_volume_claim.as_ref().and_then(|claim| claim.read_only);
    if read_only == Some(true) {
        source.read_only = Some(true);
    }
    Some(Claimed {
        name: persistent.metadata.name.clone().unwrap_or_default(),
        source,
        is_ephemeral: false,
        access_modes: spec.access_modes.clone().unwrap_or_default(),
        mount_options: spec.mount_options.clone().unwrap_or_default(),
        is_block: spec.volume_mode.as_deref() == Some("Block"),
    })
}

/// Has the driver stage and publish a volume for a pod, and says where it is. What is done
/// already is asked for again: drivers answer that it is so.
///
/// # Errors
/// Why not, in upstream's words; the pod tries again.
pub(crate) async fn publish(
    shared: &Arc<Shared>,
    node: &str,
    pod: &Pod,
    claimed: &Claimed,
) -> Result<PathBuf, String> {
    let Some(root) = shared.machine.state() else { return Ok(PathBuf::new()) };
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let source = &claimed.source;
    let key = Key::cluster(source.driver.as_str());
    let found = shared.client.of::<CSIDriver>().map_err(text)?.find(&key).await.map_err(text)?;
    let spec = found.map(|driver| driver.spec.clone()).unwrap_or_default();
    let modes = spec.volume_lifecycle_modes.as_deref();
    check_lifecycle(claimed, modes)?;
    let endpoint = shared.csi.endpoint(&source.driver)?;
    let capabilities: Capabilities =
        protocol::call(&endpoint, "/csi.v1.Node/NodeGetCapabilities", Empty {}, CALL_TIMEOUT)
            .await?;
    let can = |kind| {
        capabilities
            .capabilities
            .iter()
            .any(|one| one.rpc.as_ref().is_some_and(|rpc| rpc.kind == kind))
    };
    let stages = can(STAGE_UNSTAGE_VOLUME) && !claimed.is_ephemeral;
    let directory = state::directory(root, uid, &claimed.name);
    let published = Published {
        name: claimed.name.clone(),
        volume_handle: source.volume_handle.clone(),
        driver_name: source.driver.clone(),
        target_path: target(root, uid, claimed, &directory),
        staging_path: if stages { staging(root, claimed) } else { PathBuf::new() },
    };
    use_volume(shared, &published).await;
    let attached = spec.attach_required != Some(false) && !claimed.is_ephemeral;
    let publish_context =
        if attached { attachment(shared, node, source).await? } else { Map::new() };
    let group = fs_group(pod);
    let delegated = group.filter(|_| can(VOLUME_MOUNT_GROUP));
    let capability = capability(claimed, can(SINGLE_NODE_MULTI_WRITER), delegated);
    let mut volume_context = map(source.volume_attributes.as_ref());
    let lock = shared.csi.lock(&published.staging_path);
    let held = if stages { Some(lock.lock().await) } else { None };
    let (saved, at) = (published.clone(), directory.clone());
    let block = claimed.is_block;
    blocking(shared, move || {
        state::save(&at, &saved)?;
        let staging = Some(&saved.staging_path).filter(|path| !path.as_os_str().is_empty());
        staging.map_or(Ok(()), std::fs::create_dir_all)?;
        // The driver makes the target itself, whose parent is the caller's.
        let parent = saved.target_path.parent().filter(|_| block || !saved.target_path.exists());
        parent.map_or(Ok(()), std::fs::create_dir_all)
    })
    .await?;
    let path = |path: &Path| path.to_string_lossy().into_owned();
    if stages {
        let request = StageRequest {
            volume_id: source.volume_handle.clone(),
            publish_context: publish_context.clone(),
            staging_target_path: path(&published.staging_path),
            volume_capability: Some(capability.clone()),
            secrets: secrets(shared, source.node_stage_secret_ref.as_ref()).await?,
            volume_context: volume_context.clone(),
        };
        let method = "/csi.v1.Node/NodeStageVolume";
        protocol::call::<_, Empty>(&endpoint, method, request, CALL_TIMEOUT).await?;
    }
    drop(held);
    if spec.pod_info_on_mount == Some(true) {
        volume_context.extend(pod_info(pod, claimed.is_ephemeral));
    }
    if let Some(wanted) = spec.token_requests.as_ref().filter(|all| !all.is_empty()) {
        let tokens = service_account_tokens(shared, pod, wanted).await?;
        volume_context.insert("csi.storage.k8s.io/serviceAccount.tokens".to_owned(), tokens);
    }
    let request = PublishRequest {
        volume_id: source.volume_handle.clone(),
        publish_context,
        staging_target_path: path(&published.staging_path),
        target_path: path(&published.target_path),
        volume_capability: Some(capability),
        readonly: source.read_only == Some(true),
        secrets: secrets(shared, source.node_publish_secret_ref.as_ref()).await?,
        volume_context,
    };
    let method = "/csi.v1.Node/NodePublishVolume";
    protocol::call::<_, Empty>(&endpoint, method, request, CALL_TIMEOUT).await?;
    let owned = group.filter(|_| delegated.is_none() && !claimed.is_block);
    if let Some(group) = owned.filter(|_| takes_group(claimed, spec.fs_group_policy.as_deref())) {
        let target = published.target_path.clone();
        blocking(shared, move || volumes::give_to_group(&target, group)).await.map_err(
            |error| format!("applyFSGroup failed for vol {}: {error}", source.volume_handle),
        )?;
    }
    Ok(published.target_path)
}

/// Has drivers unpublish all volumes of a pod, and unstage those that no other pod has.
///
/// # Errors
/// The first that fails; it and those after it stay, to be tried again.
pub(crate) async fn unpublish_all(shared: &Arc<Shared>, uid: &str) -> Result<(), String> {
    let Some(root) = shared.machine.state().map(Path::to_owned) else { return Ok(()) };
    let (of, pod) = (root.clone(), uid.to_owned());
    let all = blocking(shared, move || Ok(state::volumes_of(&of, &pod))).await?;
    for (directory, published) in all {
        unpublish(shared, &root, uid, directory, &published).await.map_err(|why| {
            format!("UnmountVolume.TearDown failed for volume {:?} : {why}", published.name)
        })?;
        shared.csi.in_use.lock().remove(&published.unique_name());
        use_others(shared, &published).await;
    }
    Ok(())
}

/// Removes what a pod has left that the API does not have any more, as soon as its drivers are
/// there; until then its volumes stay mounted.
pub(crate) async fn remove_orphan(shared: Arc<Shared>, uid: String) {
    let mut delay = RETRY_FIRST;
    while let Err(error) = unpublish_all(&shared, &uid).await {
        tracing::warn!(uid, error, "orphaned volumes not unmounted");
        let waited = shared.stop.run_until_cancelled(tokio::time::sleep(delay)).await;
        if waited.is_none() {
            return;
        }
        delay = (delay * 2).min(RETRY_MAX);
    }
    let Some(root) = shared.machine.state().map(Path::to_owned) else { return };
    let of = uid.clone();
    if let Err(error) = blocking(&shared, move || volumes::remove(&root, &of)).await {
        tracing::warn!(uid, error, "orphaned volumes not removed");
    }
}

async fn unpublish(
    shared: &Arc<Shared>,
    root: &Path,
    uid: &str,
    directory: PathBuf,
    published: &Published,
) -> Result<(), String> {
    let endpoint = shared.csi.endpoint(&published.driver_name)?;
    let undo = |path: &Path| UndoRequest {
        volume_id: published.volume_handle.clone(),
        path: path.to_string_lossy().into_owned(),
    };
    let method = "/csi.v1.Node/NodeUnpublishVolume";
    let request = undo(&published.target_path);
    protocol::call::<_, Empty>(&endpoint, method, request, CALL_TIMEOUT).await?;
    let lock = shared.csi.lock(&published.staging_path);
    let _held = lock.lock().await;
    let staging = published.staging_path.clone();
    let (of, pod) = (root.to_owned(), uid.to_owned());
    let last = !staging.as_os_str().is_empty()
        && blocking(shared, {
            let staging = staging.clone();
            move || Ok(!state::is_staged_for_another(&of, &pod, &staging))
        })
        .await?;
    if last {
        let method = "/csi.v1.Node/NodeUnstageVolume";
        protocol::call::<_, Empty>(&endpoint, method, undo(&staging), CALL_TIMEOUT).await?;
    }
    blocking(shared, move || {
        if last {
            // Only if it is empty: what a driver has left mounted is not touched.
            let _ = std::fs::remove_dir(&staging);
        }
        state::forget(&directory)
    })
    .await
}

fn check_lifecycle(claimed: &Claimed, modes: Option<&[String]>) -> Result<(), String> {
    let mode = if claimed.is_ephemeral { "Ephemeral" } else { "Persistent" };
    let supported = match modes.filter(|modes| !modes.is_empty()) {
        Some(modes) => modes.iter().any(|one| one == mode),
        None => !claimed.is_ephemeral,
    };
    if supported {
        return Ok(());
    }
    Err(format!("volume mode {mode:?} not supported by driver {}", claimed.source.driver))
}

fn target(root: &Path, uid: &str, claimed: &Claimed, directory: &Path) -> PathBuf {
    if claimed.is_block {
        let publish = root.join("plugins/kubernetes.io/csi/volumeDevices/publish");
        return publish.join(&claimed.name).join(uid);
    }
    directory.join("mount")
}

/// Where a volume is staged, in upstream's layout.
fn staging(root: &Path, claimed: &Claimed) -> PathBuf {
    let plugins = root.join("plugins/kubernetes.io/csi");
    if claimed.is_block {
        return plugins.join("volumeDevices/staging").join(&claimed.name);
    }
    let volume = digest(&[&claimed.source.volume_handle]);
    plugins.join(&claimed.source.driver).join(volume).join("globalmount")
}

/// What an attacher has said about the volume at this node.
async fn attachment(
    shared: &Shared,
    node: &str,
    source: &CSIPersistentVolumeSource,
) -> Result<Map, String> {
    let name = format!("csi-{}", digest(&[&source.volume_handle, &source.driver, node]));
    let api = shared.client.of::<VolumeAttachment>().map_err(text)?;
    let found = api.find(&Key::cluster(name.as_str())).await.map_err(text)?;
    let waiting = || {
        format!(
            "timed out waiting for external-attacher of {} CSI driver to attach volume {}",
            source.driver, source.volume_handle
        )
    };
    let found = found.ok_or_else(waiting)?;
    let status = found.status.clone().unwrap_or_default();
    if let Some(error) = status.attach_error.and_then(|error| error.message) {
        return Err(error);
    }
    if !status.attached || found.object().is_deleting() {
        return Err(waiting());
    }
    Ok(map(status.attachment_metadata.as_ref()))
}

/// The capability by which a volume is asked for; modes by upstream's table.
fn capability(claimed: &Claimed, tells_writers: bool, group: Option<u32>) -> VolumeCapability {
    let first = claimed.access_modes.first().map(String::as_str);
    let mode = match first {
        Some("ReadOnlyMany") => 3,
        Some("ReadWriteMany") => 5,
        Some("ReadWriteOncePod") if tells_writers => 6,
        None | Some("ReadWriteOnce") if tells_writers => 7,
        _ => 1,
    };
    let mount = MountVolume {
        fs_type: claimed.source.fs_type.clone().unwrap_or_default(),
        mount_flags: claimed.mount_options.clone(),
        volume_mount_group: group.map(|group| group.to_string()).unwrap_or_default(),
    };
    VolumeCapability {
        block: claimed.is_block.then_some(Empty {}),
        mount: (!claimed.is_block).then_some(mount),
        access_mode: Some(AccessMode { mode }),
    }
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let group = record::spec_of(pod).security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

/// Whether the files of a volume are given to the pod's group, by the driver's policy.
fn takes_group(claimed: &Claimed, policy: Option<&str>) -> bool {
    if claimed.source.read_only == Some(true) {
        return false;
    }
    match policy.unwrap_or("ReadWriteOnceWithFSType") {
        "File" => true,
        "None" => false,
        _ => {
            let has_type = claimed.source.fs_type.as_ref().is_some_and(|kind| !kind.is_empty());
            let once = |mode: &String| mode == "ReadWriteOnce" || mode == "ReadWriteOncePod";
            has_type && (claimed.is_ephemeral || claimed.access_modes.iter().any(once))
        }
    }
}

fn pod_info(pod: &Pod, is_ephemeral: bool) -> Map {
    let meta = &pod.metadata;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let account = text(&record::spec_of(pod).service_account_name);
    let all = [
        ("pod.name", text(&meta.name)),
        ("pod.namespace", text(&meta.namespace)),
        ("pod.uid", text(&meta.uid)),
        ("serviceAccount.name", account),
        ("ephemeral", is_ephemeral.to_string()),
    ];
    all.into_iter().map(|(key, value)| (format!("csi.storage.k8s.io/{key}"), value)).collect()
}

/// The tokens that a driver asks for, by audience.
async fn service_account_tokens(
    shared: &Shared,
    pod: &Pod,
    wanted: &[k8s_openapi::api::storage::v1::TokenRequest],
) -> Result<String, String> {
    let mut all = serde_json::Map::new();
    for one in wanted {
        let wanted = tokens::Wanted {
            audience: one.audience.clone(),
            seconds: one.expiration_seconds.unwrap_or(tokens::DEFAULT_SECONDS),
        };
        let token = tokens::request(&shared.client, &shared.env, pod, wanted).await;
        let token = token.map_err(text)?;
        let value = json!({"token": token.text, "expirationTimestamp": token.ends.to_string()});
        all.insert(one.audience.clone(), value);
    }
    serde_json::to_string(&all).map_err(text)
}

async fn secrets(
    shared: &Shared,
    reference: Option<&k8s_openapi::api::core::v1::SecretReference>,
) -> Result<Map, String> {
    let Some(reference) = reference else { return Ok(Map::new()) };
    let name = reference.name.as_deref().unwrap_or_default();
    let namespace = reference.namespace.as_deref().unwrap_or_default();
    let api = shared.client.of::<Secret>().map_err(text)?;
    let found = api.get(&Key::new(namespace, name)).await;
    let found = found.map_err(|error| format!("fetching secret {namespace}/{name}: {error}"))?;
    let data = found.data.iter().flatten();
    Ok(data
        .map(|(key, value)| (key.clone(), String::from_utf8_lossy(&value.0).into_owned()))
        .collect())
}

/// Says in the node's status that a volume is in use, before it is: nobody may detach it then.
async fn use_volume(shared: &Arc<Shared>, published: &Published) {
    let new = shared.csi.in_use.lock().insert(published.unique_name());
    if new {
        report(shared).await;
    }
}

/// Says what is in use after a pod has let go of a volume: still that, if another pod has it.
async fn use_others(shared: &Arc<Shared>, published: &Published) {
    let Some(root) = shared.machine.state().map(Path::to_owned) else { return };
    let name = published.unique_name();
    let others = blocking(shared, move || {
        let mut all = volumes::pods_on_disk(&root).into_iter();
        Ok(all.any(|uid| {
            state::volumes_of(&root, &uid).iter().any(|(_, one)| one.unique_name() == name)
        }))
    });
    if others.await.unwrap_or(true) {
        shared.csi.in_use.lock().insert(published.unique_name());
    }
    report(shared).await;
}

async fn report(shared: &Arc<Shared>) {
    let hosts: Vec<_> = shared.hosts.values().cloned().collect();
    heartbeat::report(shared, &hosts).await;
}

async fn blocking<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, String> {
    shared.tasks.spawn_blocking(work).await.map_err(text)?.map_err(text)
}

fn map(of: Option<&BTreeMap<String, String>>) -> Map {
    of.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().iter().fold(String::new(), |mut digits, byte| {
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
