//! Volumes grow on the node after they have grown in their store: drivers make the file systems on
//! them larger, while pods use them or before, and the claim's status says so.

use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimCondition,
    PersistentVolumeClaimStatus, Pod,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Amount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::quantity::Quantity;
use pinnace_api::{Key, Object, Typed, volumes};
use pinnace_client::EventType;

use super::claimed::Claimed;
use super::protocol::{
    self, CALL_TIMEOUT, CapacityRange, EXPAND_VOLUME, ExpandRequest, Expanded,
    SINGLE_NODE_MULTI_WRITER,
};
use super::publish::secrets;
use super::state::Published;
use super::{RETRY_FIRST, RETRY_MAX, text};
use crate::agent::Shared;
use crate::pod::record;
use crate::slot::Slot;

/// The resource of a claim that grows.
const STORAGE: &str = "storage";
/// On a claim: that nodes have nothing to do for it.
const NOT_REQUIRED: &str = "volume.kubernetes.io/node-expansion-not-required";
/// How the status of a claim says how far its growth has got.
const PENDING: &str = "NodeResizePending";
const IN_PROGRESS: &str = "NodeResizeInProgress";
const INFEASIBLE: &str = "NodeResizeInfeasible";
const RESIZE_ERROR: &str = "NodeResizeError";
/// The conditions that are about growth.
const CONDITIONS: [&str; 4] =
    ["FileSystemResizePending", "Resizing", "ControllerResizeError", RESIZE_ERROR];

/// Has drivers grow those volumes of a pod that are to grow, beside everything else.
pub(crate) fn look(shared: &Arc<Shared>, uid: &str) {
    for published in shared.csi.in_use.of_pod(uid) {
        let work = grow(shared.clone(), published.unique_name());
        shared.tasks.spawn(shared.stop.clone().run_until_cancelled_owned(work));
    }
}

/// Tries until a volume holds what it is to hold, or nobody has it any more.
async fn grow(shared: Arc<Shared>, name: String) {
    let in_use = &shared.csi.in_use;
    let mut delay = RETRY_FIRST;
    if in_use.writer_of(&name).is_none() || !in_use.begins_to_grow(&name) {
        return;
    }
    loop {
        match grow_once(&shared, &name).await {
            Ok(()) if in_use.has_grown(&name) => return,
            Ok(()) => {}
            Err((slot, why)) => {
                let kind = EventType::Warning;
                slot.host.recorder.record(&slot.pod(), kind, "VolumeResizeFailed", why);
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(RETRY_MAX);
            }
        }
    }
}

async fn grow_once(shared: &Arc<Shared>, name: &str) -> Result<(), (Arc<Slot>, String)> {
    let in_use = &shared.csi.in_use;
    let Some(of) = in_use.writer_of(name) else { return Ok(()) };
    let (Some((published, mounted)), Some(slot)) = (in_use.get(&of), shared.slot(&of.0)) else {
        return Ok(());
    };
    // It is not unmounted meanwhile.
    let lock = shared.csi.lock(&published.target_path);
    let _held = lock.lock().await;
    let failed = |why: String| {
        let what = "NodeExpandVolume.NodeExpandVolume failed";
        (slot.clone(), format!("{what} for volume {:?} : {why}", published.name))
    };
    let pod = slot.pod();
    if in_use.get(&of).is_none() || pod.is_deleting() {
        return Ok(());
    }
    let growing = Growing::find(shared, &slot, &pod, &published, &mounted.claimed).await;
    let growing = growing.map_err(failed)?;
    let (wanted, growth) = (volumes::capacity(&growing.volume), in_use.growth(name));
    let known = growth.size.or(growing.has());
    if known.is_none() || wanted <= known || growth.waits_for_end {
        return Ok(());
    }
    if let Some(size) = growing.expand().await.map_err(failed)? {
        growing.note(size);
    }
    Ok(())
}

/// Has a volume grow that has just been mounted for a pod, when it holds more than its claim says.
///
/// # Errors
/// Why not, in upstream's words.
pub(super) async fn at_mount(
    shared: &Arc<Shared>,
    pod: &Pod,
    published: &Published,
    claimed: &Claimed,
) -> Result<(), String> {
    let slot = shared.slot(pod.metadata.uid.as_deref().unwrap_or_default());
    let Some(slot) = slot.filter(|_| !claimed.is_ephemeral) else { return Ok(()) };
    let object = slot.pod();
    let growing = Growing::find(shared, &slot, &object, published, claimed).await?;
    let (wanted, has) = (volumes::capacity(&growing.volume), growing.has());
    let mut size = wanted;
    if has < wanted {
        if claimed.source.read_only == Some(true) {
            let why = "MountVolume.NodeExpandVolume failed";
            let message =
                format!("{why} for volume {:?} requested read-only file system", published.name);
            growing.record(EventType::Warning, "FileSystemResizeFailed", &message);
            return Ok(());
        }
        size = growing.expand().await?.or(has);
    }
    if let Some(size) = size {
        growing.note(size);
    }
    Ok(())
}

/// A claim and its volume, one larger than the other.
struct Growing<'a> {
    shared: &'a Arc<Shared>,
    slot: &'a Arc<Slot>,
    pod: &'a Object,
    published: &'a Published,
    claimed: &'a Claimed,
    claim: Typed<PersistentVolumeClaim>,
    volume: Typed<PersistentVolume>,
}

/// Why a driver has not made a volume larger.
enum Refusal {
    /// It cannot.
    NotSupported(String),
    /// Not while the volume is in use.
    InUse(String),
    /// The size will never do.
    Infeasible(String),
    /// It has ended without success.
    Failed(String),
    /// It may be at work still.
    Unknown(String),
}

impl Refusal {
    fn message(&self) -> &str {
        match self {
            Self::NotSupported(why)
            | Self::InUse(why)
            | Self::Infeasible(why)
            | Self::Failed(why)
            | Self::Unknown(why) => why,
        }
    }
}

impl<'a> Growing<'a> {
    async fn find(
        shared: &'a Arc<Shared>,
        slot: &'a Arc<Slot>,
        object: &'a Object,
        published: &'a Published,
        claimed: &'a Claimed,
    ) -> Result<Self, String> {
        let pod = object.get::<Pod>().map_err(text)?;
        let all = record::spec_of(pod).volumes.iter().flatten();
        let volume = all.into_iter().find(|volume| volume.name == claimed.volume);
        let name = volume.and_then(|volume| volumes::claim_of(pod, volume));
        let (name, _) = name.ok_or_else(|| format!("no claim for volume {:?}", claimed.volume))?;
        let failed = |error| format!("mountVolume.NodeExpandVolume get PVC failed : {error}");
        let claims = shared.client.of::<PersistentVolumeClaim>().map_err(text)?;
        let claim = claims.get(&Key::new(slot.key.namespace(), name)).await.map_err(failed)?;
        let all = shared.client.of::<PersistentVolume>().map_err(text)?;
        let volume = all.get(&Key::cluster(claimed.name.as_str())).await.map_err(text)?;
        Ok(Self { shared, slot, pod: object, published, claimed, claim, volume })
    }

    /// What the claim says that it has.
    fn has(&self) -> Option<Quantity> {
        let capacity = self.claim.status.as_ref()?.capacity.as_ref()?;
        Quantity::try_from(capacity.get(STORAGE)?).ok()
    }

    fn record(&self, kind: EventType, reason: &str, message: &str) {
        let recorder = &self.slot.host.recorder;
        recorder.record(self.pod, kind, reason, message);
        recorder.record(self.claim.object(), kind, reason, message);
    }

    fn note(&self, size: Quantity) {
        self.shared.csi.in_use.change_growth(&self.published.unique_name(), |growth| {
            (growth.size, growth.has_failed) = (Some(size), false);
        });
    }

    /// Says how much the volume holds then; nothing when it has to wait for somebody else.
    async fn expand(&self) -> Result<Option<Quantity>, String> {
        let status = self.claim.status.clone().unwrap_or_default();
        let spec = self.claim.spec.clone().unwrap_or_default();
        let progress = status.allocated_resource_statuses.as_ref().and_then(|all| all.get(STORAGE));
        let allocated = status.allocated_resources.as_ref().and_then(|all| all.get(STORAGE));
        // An older resizer says neither how far it has got nor how much is given.
        let is_told = progress.is_some() || status.allocated_resources.is_some();
        let capacity = self.volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref());
        let new = allocated.or_else(|| capacity?.get(STORAGE));
        let new = new.cloned().unwrap_or_default();
        let size = Quantity::try_from(&new).map_err(text)?;
        let is_done = self.has() >= Some(size) && progress.is_none();
        let many = spec.access_modes.iter().flatten().any(|mode| mode == "ReadWriteMany");
        // Another node may have been first; here it is to be done nevertheless.
        let here_too = is_done && many && volumes::annotation(&*self.claim, NOT_REQUIRED).is_none();
        if is_told && !here_too {
            if is_done {
                return Ok(Some(size));
            }
            if !progress.is_some_and(|progress| progress == PENDING || progress == IN_PROGRESS) {
                return Ok(None);
            }
            let begun =
                |status: &mut PersistentVolumeClaimStatus| set_progress(status, IN_PROGRESS);
            self.change_claim(begun).await.map_err(|error| {
                let what = "MountVolume.NodeExpandVolume failed to mark node expansion in progress";
                format!("{what}: {error}")
            })?;
        }
        match self.ask(size).await {
            Ok(()) => {}
            Err(Refusal::NotSupported(_)) if is_done || !is_told => return Ok(Some(size)),
            Err(refusal) => return self.refused(refusal, is_told, size).await,
        }
        let node = &self.slot.host.name;
        let what = "MountVolume.NodeExpandVolume succeeded";
        let message = format!("{what} for volume {:?} {node}", self.published.name);
        self.record(EventType::Normal, "FileSystemResizeSuccessful", &message);
        if !is_done {
            let ended = |status: &mut PersistentVolumeClaimStatus| set_ended(status, &new);
            self.change_claim(ended).await.map_err(|error| {
                format!("mountVolume.NodeExpandVolume update pvc status failed: {error}")
            })?;
        }
        Ok(Some(size))
    }

    /// Says in the claim that it was refused, as far as that is final.
    async fn refused(
        &self,
        refusal: Refusal,
        is_told: bool,
        size: Quantity,
    ) -> Result<Option<Quantity>, String> {
        let (name, in_use) = (self.published.unique_name(), &self.shared.csi.in_use);
        let why = refusal.message().to_owned();
        if is_told && !matches!(refusal, Refusal::Unknown(_)) {
            // Somebody has thought better of it: then the controller begins anew.
            let given_up =
                volumes::asked(&self.claim) != Some(size) && in_use.growth(&name).has_failed;
            in_use.change_growth(&name, |growth| growth.has_failed = true);
            let infeasible = given_up || matches!(refusal, Refusal::Infeasible(_));
            let now = Time(self.shared.env.clock().now_seconds());
            let failed = |status: &mut PersistentVolumeClaimStatus| {
                let changed = infeasible && set_progress(status, INFEASIBLE);
                add_error(status, &format!("failed to expand pvc with {why}"), now.clone())
                    || changed
            };
            if let Err(error) = self.change_claim(failed).await {
                tracing::warn!(volume = name, %error, "a claim does not say why it does not grow");
            }
        }
        if matches!(refusal, Refusal::InUse(_)) {
            // The pod goes on with what there is.
            in_use.change_growth(&name, |growth| growth.waits_for_end = true);
            return Ok((!is_told).then_some(size));
        }
        Err(why)
    }

    async fn change_claim(
        &self,
        change: impl Fn(&mut PersistentVolumeClaimStatus) -> bool + Send + Sync,
    ) -> pinnace_api::Result<()> {
        let api = self.shared.client.of::<PersistentVolumeClaim>()?;
        let change =
            |claim: &mut PersistentVolumeClaim| change(claim.status.get_or_insert_default());
        api.modify_status(&self.claim.object().key(), change).await.map(drop)
    }

    /// Asks the driver.
    async fn ask(&self, size: Quantity) -> Result<(), Refusal> {
        let source = &self.claimed.source;
        let driver = self.shared.csi.driver(&source.driver).map_err(Refusal::Unknown)?;
        let capabilities = driver.capabilities().await.map_err(|error| {
            let what = "Expander.NodeExpand failed to check if node supports expansion";
            Refusal::Unknown(format!("{what} : {error}"))
        })?;
        if !capabilities.have(EXPAND_VOLUME) {
            let name = &source.driver;
            let why = format!("NodeExpand is not supported by the CSI driver {name}");
            return Err(Refusal::NotSupported(why));
        }
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let secrets = secrets(self.shared, source.node_expand_secret_ref.as_ref()).await;
        let tells_writers = capabilities.have(SINGLE_NODE_MULTI_WRITER);
        let request = ExpandRequest {
            volume_id: source.volume_handle.clone(),
            volume_path: path(&self.published.target_path),
            capacity_range: Some(CapacityRange { required_bytes: size.value(), limit_bytes: 0 }),
            staging_target_path: path(&self.published.staging_path),
            volume_capability: Some(self.claimed.capability(tells_writers, None)),
            secrets: secrets.map_err(Refusal::Unknown)?,
        };
        let method = "/csi.v1.Node/NodeExpandVolume";
        let endpoint = &driver.endpoint;
        let asked = protocol::call::<_, Expanded>(endpoint, method, request, CALL_TIMEOUT).await;
        let Err(error) = asked else { return Ok(()) };
        let why = format!("Expander.NodeExpand failed to expand the volume : {error}");
        Err(match error.code() {
            tonic::Code::FailedPrecondition => Refusal::InUse(why),
            tonic::Code::InvalidArgument | tonic::Code::OutOfRange | tonic::Code::NotFound => {
                Refusal::Infeasible(why)
            }
            _ if error.is_final() => Refusal::Failed(why),
            _ => Refusal::Unknown(why),
        })
    }
}

fn set_progress(status: &mut PersistentVolumeClaimStatus, progress: &str) -> bool {
    let all = status.allocated_resource_statuses.get_or_insert_default();
    let before = all.insert(STORAGE.to_owned(), progress.to_owned());
    before.as_deref() != Some(progress)
}

/// The claim has what it was to have, and nothing is said of how it got there any more.
fn set_ended(status: &mut PersistentVolumeClaimStatus, size: &Amount) -> bool {
    status.capacity.get_or_insert_default().insert(STORAGE.to_owned(), size.clone());
    if let Some(all) = &mut status.allocated_resource_statuses {
        all.remove(STORAGE);
    }
    status.allocated_resource_statuses.take_if(|all| all.is_empty());
    if let Some(all) = &mut status.conditions {
        all.retain(|one| !CONDITIONS.contains(&one.type_.as_str()));
    }
    status.conditions.take_if(|all| all.is_empty());
    true
}

fn add_error(status: &mut PersistentVolumeClaimStatus, message: &str, now: Time) -> bool {
    let all = status.conditions.get_or_insert_default();
    // The first that has gone wrong is told, as upstream.
    if all.iter().any(|one| one.type_ == RESIZE_ERROR && one.status == "True") {
        return false;
    }
    all.retain(|one| one.type_ != RESIZE_ERROR);
    all.push(PersistentVolumeClaimCondition {
        type_: RESIZE_ERROR.to_owned(),
        status: "True".to_owned(),
        message: Some(message.to_owned()),
        last_transition_time: Some(now),
        ..PersistentVolumeClaimCondition::default()
    });
    true
}
