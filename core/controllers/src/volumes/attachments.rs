//! Volumes of CSI drivers are attached to the nodes where pods use them: a VolumeAttachment asks the
//! driver's attacher, and the node says what is attached.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{
    AttachedVolume, CSIPersistentVolumeSource, Node, PersistentVolume, PersistentVolumeClaim, Pod,
};
use k8s_openapi::api::storage::v1::{
    CSIDriver, VolumeAttachment, VolumeAttachmentSource, VolumeAttachmentSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use pinnace_api::{Key, Object, Result, Typed, volumes};
use pinnace_client::{Api, DeleteOptions, EventType, Lister, Recorder};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};
use tokio::time::Instant;

use super::{claim_keys, pods_by_claim};
use crate::Context;
use crate::pods;
use crate::taints::{is_out_of_service, is_ready};
use crate::written::Written;

/// The index of pods that use claims, by node; and those of attachments by node and by volume.
const CLAIMING: &str = "claiming-on-node";
const ON_NODE: &str = "attachment-node";
const OF_VOLUME: &str = "attachment-volume";
/// How long a node that is not ready may keep a volume that nobody wants there.
const UNMOUNT: Duration = Duration::from_secs(6 * 60);

/// The controller. Its keys are nodes.
pub(super) fn controller(context: &Context) -> Result<Controller> {
    let pods = pods_by_claim(context)?;
    pods.informer().index(CLAIMING, |pod| claiming_node(pod).into_iter().collect());
    let attachments = context.informers.of::<VolumeAttachment>()?;
    attachments.informer().index(ON_NODE, |object| {
        object.get::<VolumeAttachment>().map(|one| one.spec.node_name.clone()).into_iter().collect()
    });
    attachments.informer().index(OF_VOLUME, |object| {
        let spec = object.get::<VolumeAttachment>().map(|one| &one.spec);
        spec.ok().and_then(|spec| spec.source.persistent_volume_name.clone()).into_iter().collect()
    });
    let claims = context.informers.of::<PersistentVolumeClaim>()?;
    let nodes = context.informers.of::<Node>()?;
    let reconciler = Attachments {
        pods: pods.clone(),
        claims: claims.clone(),
        volumes: context.informers.of()?,
        drivers: context.informers.of()?,
        attachments: attachments.clone(),
        nodes: nodes.clone(),
        api: context.client().of()?,
        node_api: context.client().of()?,
        recorder: context.recorder.component("attachdetach-controller"),
        written: Written::default(),
        unwanted: Mutex::default(),
    };
    let (users, waiting) = (pods.informer().clone(), pods.informer().clone());
    let freed = context.informers.of::<PersistentVolume>()?;
    Ok(Controller::new(reconciler, &context.env)
        .maps(pods.informer(), |delta, queue| {
            let nodes = [&delta.old, &delta.new].map(|pod| pod.as_ref().and_then(claiming_node));
            if nodes[0] != nodes[1] {
                nodes.into_iter().flatten().for_each(|node| queue.add(Key::cluster(node)));
            }
        })
        .maps(claims.informer(), move |delta, queue| {
            let Some(claim) = delta.object() else { return };
            for pod in users.by_index(super::BY_CLAIM, &claim.key().to_string()) {
                claiming_node(&pod).into_iter().for_each(|node| queue.add(Key::cluster(node)));
            }
        })
        .maps(nodes.informer(), |delta, queue| {
            let holds = |node: &Option<Object>| {
                let node = node.as_ref().and_then(|node| node.get::<Node>().ok());
                node.map(|node| (volumes_in_use(node), is_ready(node), is_out_of_service(node)))
            };
            if holds(&delta.old) != holds(&delta.new)
                && let Some(node) = delta.object()
            {
                queue.add(node.key());
            }
        })
        .maps(attachments.informer(), move |delta, queue| {
            let attachment = delta.object().and_then(|one| one.get::<VolumeAttachment>().ok());
            let Some(attachment) = attachment else { return };
            queue.add(Key::cluster(attachment.spec.node_name.as_str()));
            if delta.new.is_none() {
                // Whoever had to wait for the volume may have it now.
                let claim = claim_of(&freed, attachment);
                let waiting = claim.map(|key| waiting.by_index(super::BY_CLAIM, &key));
                for node in waiting.iter().flatten().filter_map(claiming_node) {
                    queue.add(Key::cluster(node));
                }
            }
        })
        // Two nodes that are looked at in one moment would both get a volume that is for one.
        .workers(1))
}

fn volumes_in_use(node: &Node) -> BTreeSet<String> {
    let in_use = node.status.as_ref().and_then(|status| status.volumes_in_use.as_ref());
    in_use.into_iter().flatten().cloned().collect()
}

/// The claim of an attached volume.
fn claim_of(volumes: &Lister<PersistentVolume>, attachment: &VolumeAttachment) -> Option<String> {
    let name = attachment.spec.source.persistent_volume_name.as_deref()?;
    let volume = volumes.get(&Key::cluster(name))?;
    let reference = volume.spec.as_ref()?.claim_ref.as_ref()?;
    Some(format!("{}/{}", reference.namespace.as_deref()?, reference.name.as_deref()?))
}

/// The node of a pod that uses claims there.
fn claiming_node(object: &Object) -> Option<String> {
    let pod = object.get::<Pod>().ok()?;
    let node = pods::node_name(pod);
    let uses = !node.is_empty() && !pods::is_terminal(pod) && !claim_keys(object).is_empty();
    uses.then(|| node.to_owned())
}

struct Attachments {
    pods: Lister<Pod>,
    claims: Lister<PersistentVolumeClaim>,
    volumes: Lister<PersistentVolume>,
    drivers: Lister<CSIDriver>,
    attachments: Lister<VolumeAttachment>,
    nodes: Lister<Node>,
    api: Api<VolumeAttachment>,
    node_api: Api<Node>,
    recorder: Recorder,
    written: Written,
    /// Since when nobody wants what a node still has mounted, by attachment.
    unwanted: Mutex<HashMap<String, Instant>>,
}

/// A volume that is to be at a node, and the pods that want it there.
struct Wanted {
    volume: Typed<PersistentVolume>,
    source: CSIPersistentVolumeSource,
    pods: Vec<Typed<Pod>>,
}

#[async_trait]
impl Reconciler for Attachments {
    fn name(&self) -> &str {
        "attach-detach"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let node = key.name();
        self.written.seen_by(self.attachments.informer(), &Key::cluster("")).await;
        let wanted = self.wanted(node);
        let there = self.attachments.by_index(ON_NODE, node);
        let names: BTreeSet<&str> = there.iter().map(|one| one.object().name()).collect();
        for (name, one) in &wanted {
            if !names.contains(name.as_str()) && self.may_attach(one, node) {
                self.attach(name, one, node).await?;
            }
        }
        let mut wait = None;
        for attachment in &there {
            // Others may attach volumes, too, under names of their own.
            let (name, going) = (attachment.object().name(), attachment.object().is_deleting());
            if wanted.contains_key(name) || !volumes::is_attachment_name(name) || going {
                self.unwanted.lock().remove(name);
                continue;
            }
            if let Some(left) = self.held_for(node, attachment) {
                wait = wait.into_iter().chain([left]).min();
                continue;
            }
            self.unwanted.lock().remove(name);
            match self.api.delete(&attachment.object().key(), DeleteOptions::default()).await {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
        }
        self.tell_node(node, &there, &wanted).await?;
        Ok(wait.filter(|left| !left.is_zero()).map_or(Action::Done, Action::RequeueAfter))
    }
}

impl Attachments {
    /// What is to be attached to a node, by the attachment's name.
    fn wanted(&self, node: &str) -> BTreeMap<String, Wanted> {
        let mut wanted: BTreeMap<String, Wanted> = BTreeMap::new();
        for pod in self.pods.by_index(CLAIMING, node) {
            for key in claim_keys(pod.object()) {
                let claim = self.claims.get(&key).filter(|claim| volumes::is_bound(claim));
                let volume = claim.and_then(|claim| {
                    self.volumes.get(&Key::cluster(volumes::volume_name(&claim)))
                });
                let Some(volume) = volume else { continue };
                let Some(source) = volume.spec.as_ref().and_then(|spec| spec.csi.clone()) else {
                    continue;
                };
                let driver = self.drivers.get(&Key::cluster(source.driver.as_str()));
                if driver.is_some_and(|driver| driver.spec.attach_required == Some(false)) {
                    continue;
                }
                let name = volumes::attachment_name(&source.driver, &source.volume_handle, node);
                let one =
                    wanted.entry(name).or_insert_with(|| Wanted { volume, source, pods: vec![] });
                one.pods.push(pod.clone());
            }
        }
        wanted
    }

    /// A volume for one node only is not attached to a second.
    fn may_attach(&self, wanted: &Wanted, node: &str) -> bool {
        let modes = wanted.volume.spec.as_ref().and_then(|spec| spec.access_modes.as_ref());
        let shared = |mode: &String| mode == "ReadOnlyMany" || mode == "ReadWriteMany";
        if modes.is_some_and(|modes| modes.iter().any(shared)) {
            return true;
        }
        let elsewhere = self.attachments.by_index(OF_VOLUME, wanted.volume.object().name());
        if elsewhere.iter().all(|one| one.spec.node_name == node) {
            return true;
        }
        let message = format!(
            "Multi-Attach error for volume {:?} Volume is already exclusively attached to one node \
             and can't be attached to another",
            wanted.volume.object().name()
        );
        for pod in &wanted.pods {
            let kind = EventType::Warning;
            self.recorder.record(pod.object(), kind, "FailedAttachVolume", message.clone());
        }
        false
    }

    async fn attach(&self, name: &str, wanted: &Wanted, node: &str) -> Result<()> {
        let attachment = VolumeAttachment {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            spec: VolumeAttachmentSpec {
                attacher: wanted.source.driver.clone(),
                node_name: node.to_owned(),
                source: VolumeAttachmentSource {
                    persistent_volume_name: Some(wanted.volume.object().name().to_owned()),
                    inline_volume_spec: None,
                },
            },
            status: None,
        };
        match self.api.create(attachment).await {
            Ok(made) => {
                // For every node: an attachment to one keeps the volume from the others.
                self.written.note(&Key::cluster(""), made.object().revision());
                Ok(())
            }
            Err(error) if error.is_already_exists() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// How long a node may still hold a volume that nobody wants there; `None` when it is to go. A
    /// node that is ready unmounts it first, however long that takes; one that is not has a while.
    fn held_for(&self, node: &str, attachment: &Typed<VolumeAttachment>) -> Option<Duration> {
        let node = self.nodes.get(&Key::cluster(node))?;
        let volume = self.unique_name(attachment)?;
        if is_out_of_service(&node) || !volumes_in_use(&node).contains(&volume) {
            return None;
        }
        let name = attachment.object().name().to_owned();
        let since = *self.unwanted.lock().entry(name).or_insert_with(Instant::now);
        let left = UNMOUNT.saturating_sub(since.elapsed());
        (is_ready(&node) || !left.is_zero()).then_some(left)
    }

    /// The name by which nodes know the volume of an attachment.
    fn unique_name(&self, attachment: &VolumeAttachment) -> Option<String> {
        let name = attachment.spec.source.persistent_volume_name.as_deref()?;
        let volume = self.volumes.get(&Key::cluster(name))?;
        let source = volume.spec.as_ref()?.csi.as_ref()?;
        Some(volumes::unique_name(&source.driver, &source.volume_handle))
    }

    /// Writes into a node's status what is attached to it, and tells the pods.
    async fn tell_node(
        &self,
        node: &str,
        attachments: &[Typed<VolumeAttachment>],
        wanted: &BTreeMap<String, Wanted>,
    ) -> Result<()> {
        let key = Key::cluster(node);
        let Some(known) = self.nodes.get(&key) else { return Ok(()) };
        let known = known.status.as_ref().and_then(|status| status.volumes_attached.clone());
        let known = known.unwrap_or_default();
        let attached = attachments.iter().filter(|one| {
            one.status.as_ref().is_some_and(|status| status.attached) && !one.object().is_deleting()
        });
        let mut now = Vec::new();
        for attachment in attached {
            let Some(name) = self.unique_name(attachment) else { continue };
            let is_new = !known.iter().any(|volume| volume.name == name);
            now.push(AttachedVolume { name, device_path: String::new() });
            if let Some(wanted) = wanted.get(attachment.object().name()).filter(|_| is_new) {
                let volume = wanted.volume.object().name();
                let message = format!("AttachVolume.Attach succeeded for volume {volume:?} ");
                for pod in &wanted.pods {
                    let (kind, reason) = (EventType::Normal, "SuccessfulAttachVolume");
                    self.recorder.record(pod.object(), kind, reason, message.clone());
                }
            }
        }
        if now == known {
            return Ok(());
        }
        let written = self.node_api.modify_status(&key, |node| {
            let status = node.status.get_or_insert_default();
            status.volumes_attached = Some(now.clone()).filter(|all| !all.is_empty());
            true
        });
        match written.await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}
