//! Drivers stage volumes and publish them for pods.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Secret, SecretReference};
use k8s_openapi::api::storage::v1::{CSIDriver, CSIDriverSpec, TokenRequest, VolumeAttachment};
use pinnace_api::{Key, volumes as names};
use serde_json::json;

use super::claimed::{self, Claimed};
use super::in_use::{self, Mounted};
use super::protocol::{
    self, CALL_TIMEOUT, Empty, Map, PublishRequest, SINGLE_NODE_MULTI_WRITER, STAGE_UNSTAGE_VOLUME,
    StageRequest, VOLUME_MOUNT_GROUP, VolumeCapability,
};
use super::state::{self, Published};
use super::{Driver, blocking, expansion, text, upkeep};
use crate::agent::Shared;
use crate::pod::tokens::{self, Token};
use crate::sources::Reference;
use crate::volumes::{self, FAILED_MAP, FAILED_MOUNT, MountError};

/// The key under which drivers find the tokens that they have asked for.
const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// Has the driver stage and publish a volume for a pod, and says where it is. What is done
/// already is asked for again: drivers answer that it is so.
///
/// # Errors
/// Why not, in upstream's words; the pod tries again.
pub(crate) async fn publish(
    shared: &Arc<Shared>,
    node: &str,
    pod: &Pod,
    claimed: &Arc<Claimed>,
) -> Result<PathBuf, MountError> {
    let Some(root) = shared.machine.state() else { return Ok(PathBuf::new()) };
    let (reason, attaching, staging, publishing) = match claimed.is_block {
        true => (
            FAILED_MAP,
            "MapVolume.WaitForAttach failed",
            "MapVolume.SetUpDevice failed",
            "MapVolume.MapPodDevice failed",
        ),
        false => (
            FAILED_MOUNT,
            "MountVolume.WaitForAttach failed",
            "MountVolume.MountDevice failed",
            "MountVolume.SetUp failed",
        ),
    };
    let failed =
        |what: &'static str| move |why: String| MountError::of(reason, what, &claimed.name, why);
    let order = Order::make(shared, root, pod, claimed).await;
    let mut order = order.map_err(failed(publishing))?;
    shared.csi.in_use.insert(order.uid(), order.published.clone());
    // Said before it is so: nobody may detach it then.
    in_use::tell(shared).await.map_err(failed(publishing))?;
    order.find_attachment(node).await.map_err(failed(attaching))?;
    let lock = shared.csi.lock(&order.published.target_path);
    let _held = lock.lock().await;
    order.save(root).await.map_err(failed(publishing))?;
    order.stage().await.map_err(failed(staging))?;
    order.publish(Vec::new()).await.map_err(failed(publishing))?;
    let growing = "MountVolume.Setup failed while expanding volume";
    let grown = expansion::at_mount(shared, pod, &order.published, claimed).await;
    grown.map_err(|why| MountError::of(FAILED_MOUNT, growing, &claimed.name, why))?;
    order.note_mounted();
    Ok(order.published.target_path)
}

/// What the API says of a driver; nothing in particular of one that it does not know.
pub(super) async fn driver_spec(shared: &Shared, name: &str) -> Result<CSIDriverSpec, String> {
    let api = shared.client.of::<CSIDriver>().map_err(text)?;
    let found = api.find(&Key::cluster(name)).await.map_err(text)?;
    Ok(found.map(|driver| driver.spec.clone()).unwrap_or_default())
}

/// A volume for a pod, with all that its driver is told.
pub(super) struct Order<'a> {
    shared: &'a Arc<Shared>,
    pod: &'a Pod,
    claimed: &'a Arc<Claimed>,
    spec: CSIDriverSpec,
    driver: Driver,
    published: Published,
    /// The pod's group, unless the driver itself gives the files to it.
    group: Option<u32>,
    capability: VolumeCapability,
    /// What an attacher has said about the volume at this node.
    publish_context: Map,
    /// The tokens that the driver is given.
    tokens: Vec<Token>,
}

impl<'a> Order<'a> {
    /// Asks what there is to know of the driver.
    ///
    /// # Errors
    /// Why it cannot be asked for the volume.
    pub(super) async fn make(
        shared: &'a Arc<Shared>,
        root: &Path,
        pod: &'a Pod,
        claimed: &'a Arc<Claimed>,
    ) -> Result<Self, String> {
        let source = &claimed.source;
        let spec = driver_spec(shared, &source.driver).await?;
        claimed.check_lifecycle(spec.volume_lifecycle_modes.as_deref())?;
        let driver = shared.csi.driver(&source.driver)?;
        let capabilities = driver.capabilities().await?;
        let can = |kind| capabilities.have(kind);
        let stages = can(STAGE_UNSTAGE_VOLUME) && !claimed.is_ephemeral;
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let published = Published {
            name: claimed.name.clone(),
            volume: claimed.volume.clone(),
            volume_handle: source.volume_handle.clone(),
            driver_name: source.driver.clone(),
            target_path: claimed.target(root, uid, &state::directory(root, uid, &claimed.name)),
            staging_path: if stages { claimed.staging(root) } else { PathBuf::new() },
        };
        let group = claimed::fs_group(pod);
        let delegated = group.filter(|_| can(VOLUME_MOUNT_GROUP));
        let capability = claimed.capability(can(SINGLE_NODE_MULTI_WRITER), delegated);
        Ok(Self {
            shared,
            pod,
            claimed,
            spec,
            driver,
            published,
            group: group.filter(|_| delegated.is_none()),
            capability,
            publish_context: Map::new(),
            tokens: Vec::new(),
        })
    }

    /// Notes that the volume is mounted, and how.
    pub(super) fn note_mounted(&mut self) {
        let of = (self.uid().to_owned(), self.published.name.clone());
        let mounted = Mounted {
            claimed: self.claimed.clone(),
            tokens: std::mem::take(&mut self.tokens),
            due: upkeep::next(self.shared),
        };
        self.shared.csi.in_use.mounted(&of, mounted);
    }

    fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    /// Learns what an attacher has said. The pod is looked at again when there is news of that.
    ///
    /// # Errors
    /// Why there is no attachment, which upstream's kubelet says, too.
    pub(super) async fn find_attachment(&mut self, node: &str) -> Result<(), String> {
        if self.spec.attach_required == Some(false) || self.claimed.is_ephemeral {
            return Ok(());
        }
        let source = &self.claimed.source;
        let name = names::attachment_name(&source.driver, &source.volume_handle, node);
        self.shared.watch_also(self.uid(), "", vec![Reference::Attachment(name.clone())]);
        let api = self.shared.client.of::<VolumeAttachment>().map_err(text)?;
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
        self.publish_context = map(status.attachment_metadata.as_ref());
        Ok(())
    }

    /// Writes down what is about to be mounted, and makes what is the caller's to make.
    async fn save(&self, root: &Path) -> Result<(), String> {
        let directory = state::directory(root, self.uid(), &self.published.name);
        let (saved, block) = (self.published.clone(), self.claimed.is_block);
        blocking(self.shared, move || {
            state::save(&directory, &saved)?;
            // The driver makes the target itself, whose parent is the caller's.
            let parent =
                saved.target_path.parent().filter(|_| block || !saved.target_path.exists());
            parent.map_or(Ok(()), std::fs::create_dir_all)
        })
        .await
    }

    async fn stage(&self) -> Result<(), String> {
        let staging = self.published.staging_path.clone();
        if staging.as_os_str().is_empty() {
            return Ok(());
        }
        let lock = self.shared.csi.lock(&staging);
        let _held = lock.lock().await;
        let source = &self.claimed.source;
        let request = StageRequest {
            volume_id: source.volume_handle.clone(),
            publish_context: self.publish_context.clone(),
            staging_target_path: staging.to_string_lossy().into_owned(),
            volume_capability: Some(self.capability.clone()),
            secrets: secrets(self.shared, source.node_stage_secret_ref.as_ref()).await?,
            volume_context: map(source.volume_attributes.as_ref()),
        };
        // Whoever has unstaged it last has taken its place away.
        blocking(self.shared, move || std::fs::create_dir_all(staging)).await?;
        let method = "/csi.v1.Node/NodeStageVolume";
        protocol::call::<_, Empty>(&self.driver.endpoint, method, request, CALL_TIMEOUT).await?;
        Ok(())
    }

    /// Has the driver publish the volume, with those of the tokens `known` that are good still.
    ///
    /// # Errors
    /// What it answers, or what it cannot be told.
    pub(super) async fn publish(&mut self, known: Vec<Token>) -> Result<(), String> {
        let source = &self.claimed.source;
        let mut context = map(source.volume_attributes.as_ref());
        let mut secrets = secrets(self.shared, source.node_publish_secret_ref.as_ref()).await?;
        if self.spec.pod_info_on_mount == Some(true) {
            context.extend(claimed::pod_info(self.pod, self.claimed.is_ephemeral));
        }
        if let Some(wanted) = self.spec.token_requests.as_ref().filter(|all| !all.is_empty()) {
            self.tokens = renew(self.shared, self.pod, wanted, &known).await?;
            let tokens = shown(&self.tokens)?;
            let hidden = self.spec.service_account_token_in_secrets == Some(true);
            let place = if hidden { &mut secrets } else { &mut context };
            place.insert(TOKENS.to_owned(), tokens);
        }
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let request = PublishRequest {
            volume_id: source.volume_handle.clone(),
            publish_context: self.publish_context.clone(),
            staging_target_path: path(&self.published.staging_path),
            target_path: path(&self.published.target_path),
            volume_capability: Some(self.capability.clone()),
            readonly: source.read_only == Some(true),
            secrets,
            volume_context: context,
        };
        let method = "/csi.v1.Node/NodePublishVolume";
        protocol::call::<_, Empty>(&self.driver.endpoint, method, request, CALL_TIMEOUT).await?;
        let policy = self.spec.fs_group_policy.as_deref();
        if let Some(group) = self.group.filter(|_| self.claimed.takes_group(policy)) {
            let target = self.published.target_path.clone();
            let given = blocking(self.shared, move || volumes::give_to_group(&target, group)).await;
            given.map_err(|error| {
                format!("applyFSGroup failed for vol {}: {error}", source.volume_handle)
            })?;
        }
        Ok(())
    }
}

/// The tokens that a driver asks for; those that are known are taken while they are fresh.
async fn renew(
    shared: &Shared,
    pod: &Pod,
    wanted: &[TokenRequest],
    known: &[Token],
) -> Result<Vec<Token>, String> {
    let wanted = wanted.iter().map(|one| tokens::Wanted {
        audience: one.audience.clone(),
        seconds: one.expiration_seconds.unwrap_or(tokens::DEFAULT_SECONDS),
    });
    let renewed = tokens::renew(&shared.client, &shared.env, pod, wanted.collect(), known);
    renewed.await.map_err(text)
}

/// Tokens by their audience, as drivers read them.
fn shown(tokens: &[Token]) -> Result<String, String> {
    let shown = |token: &Token| {
        let value = json!({"token": token.text, "expirationTimestamp": token.ends.to_string()});
        (token.wanted.audience.clone(), value)
    };
    serde_json::to_string(&tokens.iter().map(shown).collect::<serde_json::Map<_, _>>())
        .map_err(text)
}

/// What a Secret holds, for a driver.
///
/// # Errors
/// That it is not there.
pub(super) async fn secrets(
    shared: &Shared,
    reference: Option<&SecretReference>,
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

fn map(of: Option<&BTreeMap<String, String>>) -> Map {
    of.into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect()
}
