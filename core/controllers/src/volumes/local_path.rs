//! The built-in provisioner: a volume is a directory of its own on the node where its pod runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{
    LocalVolumeSource, Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, VolumeNodeAffinity,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::volumes::{self, PROVISIONED_BY, PROVISIONER, SELECTED_NODE};
use pinnace_api::{Key, Result, Typed};
use pinnace_client::{Api, DeleteOptions, EventType, Lister, Recorder};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use super::binding::reference;
use crate::Context;

/// The name of the built-in provisioner.
pub const LOCAL_PATH: &str = "pinnace.io/local-path";
/// The name of its class.
pub const DEFAULT_CLASS: &str = "local-path";
/// Holds a volume until its directory is gone.
const FINALIZER: &str = "external-provisioner.volume.kubernetes.io/finalizer";
const HOSTNAME: &str = "kubernetes.io/hostname";
/// How the names of volumes and directories begin.
const PREFIX: &str = "pvc-";
/// Where directories would be on simulated nodes.
const NOWHERE: &str = "/var/lib/pinnace/volumes";

/// The class that claims get which name none: directories of the node, made where the pod runs and
/// gone with the claim.
pub fn default_storage_class() -> StorageClass {
    let mark = "storageclass.kubernetes.io/is-default-class".to_owned();
    StorageClass {
        metadata: ObjectMeta {
            name: Some(DEFAULT_CLASS.to_owned()),
            annotations: Some(BTreeMap::from([(mark, "true".to_owned())])),
            ..ObjectMeta::default()
        },
        provisioner: LOCAL_PATH.to_owned(),
        reclaim_policy: Some("Delete".to_owned()),
        volume_binding_mode: Some("WaitForFirstConsumer".to_owned()),
        allow_volume_expansion: Some(true),
        ..StorageClass::default()
    }
}

/// The controller. Its keys are claims that want a volume, and volumes.
pub(super) fn controller(context: &Context) -> Result<Controller> {
    let claims = context.informers.of::<PersistentVolumeClaim>()?;
    let volumes = context.informers.of::<PersistentVolume>()?;
    let reconciler = LocalPath {
        root: context.volume_directory.clone(),
        claims: claims.clone(),
        volumes: volumes.clone(),
        classes: context.informers.of()?,
        nodes: context.informers.of()?,
        claim_api: context.client().of()?,
        volume_api: context.client().of()?,
        recorder: context.recorder.component(LOCAL_PATH),
    };
    Ok(Controller::new(reconciler, &context.env)
        .watches(claims.informer())
        .watches(volumes.informer()))
}

struct LocalPath {
    /// Where the directories are made; `None` where nodes are simulated.
    root: Option<PathBuf>,
    claims: Lister<PersistentVolumeClaim>,
    volumes: Lister<PersistentVolume>,
    classes: Lister<StorageClass>,
    nodes: Lister<Node>,
    claim_api: Api<PersistentVolumeClaim>,
    volume_api: Api<PersistentVolume>,
    recorder: Recorder,
}

#[async_trait]
impl Reconciler for LocalPath {
    fn name(&self) -> &str {
        "local-path-provisioner"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        if key.namespace().is_empty() {
            if let Some(volume) = self.volumes.get(key) {
                self.remove(&volume).await?;
            }
        } else if let Some(claim) = self.claims.get(key).filter(wants_volume) {
            self.provision(&claim).await?;
        }
        Ok(Action::Done)
    }
}

fn wants_volume(claim: &Typed<PersistentVolumeClaim>) -> bool {
    volumes::annotation(&**claim, PROVISIONER) == Some(LOCAL_PATH)
        && volumes::volume_name(claim).is_empty()
        && !claim.object().is_deleting()
}

impl LocalPath {
    async fn provision(&self, claim: &Typed<PersistentVolumeClaim>) -> Result<(), BoxError> {
        let name = format!("{PREFIX}{}", claim.object().uid());
        let class = volumes::class_of_claim(claim).unwrap_or_default();
        let Some(class) = self.classes.get(&Key::cluster(class)) else { return Ok(()) };
        let selected = volumes::annotation(&**claim, SELECTED_NODE);
        let there = self.volumes.get(&Key::cluster(name.as_str())).is_some();
        if there || (selected.is_none() && volumes::waits_for_consumer(&class)) {
            return Ok(());
        }
        let Some(node) = self.place(selected) else {
            return self.give_back(claim, selected).await;
        };
        let made = match refused(claim) {
            Some(why) => Err(why.to_owned()),
            None => self.make(claim, &class, &name, &node).await,
        };
        let (kind, reason, message) = match &made {
            Ok(()) => (
                EventType::Normal,
                "ProvisioningSucceeded",
                format!("Successfully provisioned volume {name}"),
            ),
            Err(why) => (
                EventType::Warning,
                "ProvisioningFailed",
                format!(
                    "failed to provision volume with StorageClass {:?}: {why}",
                    class.object().name()
                ),
            ),
        };
        self.recorder.record(claim.object(), kind, reason, message);
        made.map_err(BoxError::from)
    }

    /// The node where a volume is made: the one that was selected, or else the first that is ready.
    fn place(&self, selected: Option<&str>) -> Option<Typed<Node>> {
        match selected {
            Some(name) => self.nodes.get(&Key::cluster(name)),
            None => self.nodes.list(None).into_iter().find(|node| crate::taints::is_ready(node)),
        }
    }

    /// A node that is gone cannot hold the volume: another is to be selected.
    async fn give_back(
        &self,
        claim: &Typed<PersistentVolumeClaim>,
        selected: Option<&str>,
    ) -> Result<(), BoxError> {
        if selected.is_none() {
            return Err("no node is ready".into());
        }
        let mut new = claim.to_owned();
        new.metadata.annotations.get_or_insert_default().remove(SELECTED_NODE);
        self.claim_api.update(new).await?;
        Ok(())
    }

    async fn make(
        &self,
        claim: &Typed<PersistentVolumeClaim>,
        class: &StorageClass,
        name: &str,
        node: &Typed<Node>,
    ) -> std::result::Result<(), String> {
        let object = claim.object();
        let directory = format!("{name}_{}_{}", object.namespace(), object.name());
        let path = self.root.as_deref().unwrap_or(Path::new(NOWHERE)).join(directory);
        if self.root.is_some() {
            let made = make_directory(&path).await;
            made.map_err(|error| format!("{}: {error}", path.display()))?;
        }
        let spec = claim.spec.as_ref();
        let volume = PersistentVolume {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                annotations: Some(BTreeMap::from([(
                    PROVISIONED_BY.to_owned(),
                    LOCAL_PATH.to_owned(),
                )])),
                finalizers: Some(vec![FINALIZER.to_owned()]),
                ..ObjectMeta::default()
            },
            spec: Some(PersistentVolumeSpec {
                access_modes: spec.and_then(|spec| spec.access_modes.clone()),
                capacity: spec.and_then(|spec| spec.resources.as_ref()?.requests.clone()),
                claim_ref: Some(reference(claim)),
                local: Some(LocalVolumeSource {
                    path: path.to_string_lossy().into_owned(),
                    fs_type: None,
                }),
                node_affinity: Some(only_on(node)),
                persistent_volume_reclaim_policy: class.reclaim_policy.clone(),
                storage_class_name: class.metadata.name.clone(),
                volume_mode: Some("Filesystem".to_owned()),
                mount_options: class.mount_options.clone(),
                ..PersistentVolumeSpec::default()
            }),
            status: None,
        };
        match self.volume_api.create(volume).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_already_exists() => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Removes a volume that was released, and its directory.
    async fn remove(&self, volume: &Typed<PersistentVolume>) -> Result<(), BoxError> {
        if volumes::annotation(&**volume, PROVISIONED_BY) != Some(LOCAL_PATH) {
            return Ok(());
        }
        let spec = volume.spec.as_ref();
        let policy = spec.and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        let goes = policy == Some("Delete") && matches!(phase, Some("Released" | "Failed"));
        let is_kept = policy != Some("Delete") && volume.object().is_deleting();
        if !goes && !is_kept {
            return Ok(());
        }
        if goes && let Some(root) = &self.root {
            let path =
                spec.and_then(|spec| spec.local.as_ref()).map(|local| Path::new(&local.path));
            let removed = match path.filter(|path| is_ours(root, path)) {
                Some(path) => remove_directory(path).await,
                None => Err(std::io::Error::other("its path is not one of this provisioner's")),
            };
            if let Err(error) = removed {
                let message = error.to_string();
                let kind = EventType::Warning;
                self.recorder.record(volume.object(), kind, "VolumeFailedDelete", message.clone());
                return Err(message.into());
            }
        }
        let key = volume.object().key();
        let uid = volume.object().uid();
        let freed = self.volume_api.modify(&key, |new| {
            let finalizers = new.metadata.finalizers.get_or_insert_default();
            let before = finalizers.len();
            finalizers.retain(|one| one != FINALIZER);
            new.metadata.uid.as_deref() == Some(uid) && before != finalizers.len()
        });
        let gone = match freed.await {
            Ok(_) if goes => self.volume_api.delete(&key, DeleteOptions::default()).await.map(drop),
            freed => freed.map(drop),
        };
        match gone {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// What a directory cannot be.
fn refused(claim: &PersistentVolumeClaim) -> Option<&'static str> {
    let spec = claim.spec.as_ref()?;
    let modes = spec.access_modes.as_deref().unwrap_or_default();
    if spec.selector.is_some() {
        Some("claim.Spec.Selector is not supported")
    } else if spec.volume_mode.as_deref() == Some("Block") {
        Some("block volumes are not supported: a directory is no device")
    } else if spec.data_source.is_some() || spec.data_source_ref.is_some() {
        Some("data sources are not supported")
    } else if modes.iter().any(|mode| mode != "ReadWriteOnce" && mode != "ReadWriteOncePod") {
        Some("only the access modes ReadWriteOnce and ReadWriteOncePod are supported")
    } else {
        None
    }
}

/// An affinity for one node.
fn only_on(node: &Typed<Node>) -> VolumeNodeAffinity {
    let label = node.object().labels().and_then(|labels| labels.get(HOSTNAME));
    let expression = NodeSelectorRequirement {
        key: HOSTNAME.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![label.map_or(node.object().name(), String::as_str).to_owned()]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![expression]), match_fields: None };
    VolumeNodeAffinity { required: Some(NodeSelector { node_selector_terms: vec![term] }) }
}

/// Whether a path is that of a directory which this provisioner has made: whoever can write volumes
/// must not be able to have anything else removed.
fn is_ours(root: &Path, path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    path.parent() == Some(root) && name.is_some_and(|name| name.starts_with(PREFIX))
}

async fn make_directory(path: &Path) -> std::io::Result<()> {
    tokio::fs::create_dir_all(path).await?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // Whoever the containers run as is to write there.
        tokio::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).await?;
    }
    Ok(())
}

async fn remove_directory(path: &Path) -> std::io::Result<()> {
    match tokio::fs::remove_dir_all(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_directories_are_removed() {
        let root = Path::new("/data/volumes");
        for (path, expected) in [
            ("/data/volumes/pvc-1_default_data", true),
            ("/data/volumes/other", false),
            ("/data/volumes/pvc-1/../../etc", false),
            ("/data/volumes/..", false),
            ("/data/volumes", false),
            ("/etc/pvc-1", false),
        ] {
            assert_eq!(is_ours(root, Path::new(path)), expected, "{path}");
        }
    }
}
