use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod};
use pinnace_api::volumes::{self, BOUND_BY_CONTROLLER, SELECTED_NODE};
use pinnace_api::{Key, Typed};
use pinnace_client::Api;
use serde::Deserialize;
use tokio::sync::Notify;

use super::places::{Conflict, Places, PodClaims};
use super::{claims, hint, prepare};
use crate::cluster::{Cluster, NodeIndex};
use crate::framework::{
    Answer, ClusterEvent, Concern, Cycle, CycleState, Events, Filter, Handle, Hint, Plugin,
    PostBind, PreBind, PreFilter, PreFiltered, Prepared, Reasons, Refusal, Reserve, Verdict,
};
use crate::pod::PodInfo;
use crate::{Error, Result};

/// How long the binding of volumes may take, unless the arguments say otherwise.
const TIMEOUT: Duration = Duration::from_secs(600);

/// Keeps pods to nodes where their volumes are or can be, and has those bound or made that wait for
/// a node.
pub struct VolumeBinding {
    places: Places,
    claim_api: Api<PersistentVolumeClaim>,
    volume_api: Api<PersistentVolume>,
    /// Told of every change of a claim or volume.
    changed: Arc<Notify>,
    timeout: Duration,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Arguments {
    bind_timeout_seconds: Option<i64>,
}

impl VolumeBinding {
    /// The plugin's name.
    pub const NAME: &'static str = "VolumeBinding";

    /// A plugin that reads and writes as a scheduler does.
    ///
    /// # Errors
    /// When the API serves no volumes, or the timeout is negative.
    pub fn new(handle: &Handle) -> Result<Self> {
        let places = Places::new(handle)?;
        let changed = Arc::new(Notify::new());
        let (claims, volumes) = (&places.caches.claims, &places.caches.volumes);
        for informer in [claims.informer(), volumes.informer()] {
            let changed = changed.clone();
            informer.on_change(move |_| changed.notify_waiters());
        }
        let arguments: Arguments =
            serde_json::from_value(handle.arguments().clone()).unwrap_or_default();
        let timeout = match arguments.bind_timeout_seconds {
            None => TIMEOUT,
            Some(seconds) => Duration::from_secs(u64::try_from(seconds).map_err(|_| {
                let message = format!(
                    "args.bindTimeoutSeconds: Invalid value: {seconds}: invalid BindTimeoutSeconds, \
                     should not be a negative value"
                );
                Error::Plugin { plugin: Self::NAME.to_owned(), message }
            })?),
        };
        let client = handle.client();
        Ok(Self { places, claim_api: client.of()?, volume_api: client.of()?, changed, timeout })
    }

    /// The claims of a pod as they are.
    ///
    /// # Errors
    /// Why no node will do.
    fn claims_of(&self, pod: &PodInfo) -> Answer<PodClaims> {
        let mut all = PodClaims::default();
        for used in claims(pod) {
            let name = used.key.name();
            let no = |reason: String| Err(Refusal::unresolvable(reason));
            let Some(claim) = self.places.caches.claims.get(&used.key) else {
                return no(match used.own {
                    true => format!(
                        "waiting for ephemeral volume controller to create the \
                         persistentvolumeclaim {name:?}"
                    ),
                    false => format!("persistentvolumeclaim {name:?} not found"),
                });
            };
            let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
            let volume = volumes::volume_name(&claim);
            if phase == Some("Lost") {
                return no(format!(
                    "persistentvolumeclaim {name:?} bound to non-existent persistentvolume {volume:?}"
                ));
            }
            if claim.object().is_deleting() {
                return no(format!("persistentvolumeclaim {name:?} is being deleted"));
            }
            if used.own && !volumes::is_made_for(&claim, pod.pod()) {
                let (namespace, pod) = (used.key.namespace(), pod.key().name());
                return no(format!(
                    "PVC {namespace}/{name} was not created for pod {namespace}/{pod} (pod is not \
                     owner)"
                ));
            }
            if volumes::is_bound(&claim) {
                all.bound.push(claim);
            } else if volume.is_empty() && self.waits(&claim) {
                all.waiting.push(claim);
            } else {
                let reason = "pod has unbound immediate PersistentVolumeClaims";
                return Err(Refusal::unresolvable(reason));
            }
        }
        Ok(all)
    }

    fn waits(&self, claim: &PersistentVolumeClaim) -> bool {
        self.places.class(claim).is_some_and(|class| volumes::waits_for_consumer(&class))
    }

    fn judge(&self, cycle: &Cycle<'_>, claims: &PodClaims, node: NodeIndex) -> Option<Conflict> {
        let object = cycle.cluster.node(node).object()?;
        self.places.judge(claims, object, cycle.pod.uid()).err()
    }

    /// Has a free volume bound to a claim.
    async fn reserve_volume(&self, key: &Key, volume: &str) -> Answer {
        let Some(claim) = self.places.caches.claims.get(key) else {
            return Err(Refusal::error(format!("persistentvolumeclaim {key} is gone")));
        };
        let name = Key::cluster(volume);
        let bound = self.volume_api.modify(&name, |new| {
            let spec = new.spec.get_or_insert_default();
            let free = spec.claim_ref.is_none();
            if free {
                spec.claim_ref = Some(reference(&claim));
                let annotations = new.metadata.annotations.get_or_insert_default();
                annotations.insert(BOUND_BY_CONTROLLER.to_owned(), "yes".to_owned());
            }
            free
        });
        match bound.await {
            Ok(volume) if volumes::is_bound_to(&volume, &claim) => Ok(()),
            Ok(_) => {
                Err(Refusal::error(format!("persistentvolume {volume:?} was taken meanwhile")))
            }
            Err(error) => Err(Refusal::error(error)),
        }
    }

    /// Has a volume made for a claim.
    async fn select_node(&self, key: &Key, node: &str) -> Answer {
        let selected = self.claim_api.modify(key, |claim| {
            let annotations = claim.metadata.annotations.get_or_insert_default();
            let before = annotations.insert(SELECTED_NODE.to_owned(), node.to_owned());
            before.as_deref() != Some(node)
        });
        selected.await.map(drop).map_err(Refusal::error)
    }

    /// Whether all claims of a pod are bound, where the pod can use them.
    ///
    /// # Errors
    /// When one of them will not be.
    fn are_bound(&self, pod: &PodInfo, node: &str, made: &[Key]) -> Answer<bool> {
        for used in claims(pod) {
            let Some(claim) = self.places.caches.claims.get(&used.key) else {
                return Err(Refusal::error(format!("persistentvolumeclaim {} is gone", used.key)));
            };
            if volumes::is_bound(&claim) {
                continue;
            }
            // Whoever was to make it could not, and gives the node back.
            let selected = volumes::annotation(&*claim, SELECTED_NODE);
            if made.contains(&used.key) && selected != Some(node) {
                let name = used.key.name();
                return Err(Refusal::error(format!("provisioning failed for PVC {name:?}")));
            }
            return Ok(false);
        }
        Ok(true)
    }
}

fn reference(claim: &Typed<PersistentVolumeClaim>) -> ObjectReference {
    let object = claim.object();
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("PersistentVolumeClaim".to_owned()),
        name: Some(object.name().to_owned()),
        namespace: Some(object.namespace().to_owned()),
        uid: Some(object.uid().to_owned()),
        ..ObjectReference::default()
    }
}

impl Plugin for VolumeBinding {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn prepare(&self, pod: &Pod, _: &mut Cluster) -> Option<Prepared> {
        prepare(pod)
    }

    fn concern(&self, cycle: &Cycle<'_>) -> Concern {
        Concern { filters: !claims(cycle.pod).is_empty(), scores: false }
    }

    fn events(&self) -> Events {
        Events::CLAIM | Events::VOLUME | Events::STORAGE | Events::NODE_ADD | Events::NODE_LABEL
    }

    fn hint(&self, pod: &PodInfo, event: &ClusterEvent<'_>) -> Hint {
        hint(pod, event)
    }

    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }

    fn as_reserve(&self) -> Option<&dyn Reserve> {
        Some(self)
    }

    fn as_pre_bind(&self) -> Option<&dyn PreBind> {
        Some(self)
    }

    fn as_post_bind(&self) -> Option<&dyn PostBind> {
        Some(self)
    }
}

impl PreFilter for VolumeBinding {
    fn pre_filter(&self, cycle: &Cycle<'_>) -> Answer<PreFiltered> {
        if claims(cycle.pod).is_empty() {
            return Ok(PreFiltered::Skip);
        }
        let claims = self.claims_of(cycle.pod)?;
        cycle.state.put(claims);
        Ok(PreFiltered::All)
    }
}

impl Filter for VolumeBinding {
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer {
        let Some(claims) = cycle.state.get::<PodClaims>() else { return Ok(()) };
        for (node, verdict) in nodes.iter().zip(verdicts) {
            if self.judge(cycle, &claims, *node).is_some() {
                *verdict = Verdict::Unresolvable;
            }
        }
        Ok(())
    }

    fn reasons(&self, cycle: &Cycle<'_>, node: NodeIndex) -> Reasons {
        let claims = cycle.state.get::<PodClaims>();
        let conflict = claims.and_then(|claims| self.judge(cycle, &claims, node));
        conflict.map(|conflict| conflict.reason().into()).into_iter().collect()
    }
}

impl Reserve for VolumeBinding {
    fn reserve(&self, cycle: &Cycle<'_>, node: &str) -> Answer {
        if claims(cycle.pod).is_empty() {
            return Ok(());
        }
        let all = self.claims_of(cycle.pod)?;
        let index = cycle.cluster.find(node);
        let object = index.and_then(|index| cycle.cluster.node(index).object());
        let Some(object) = object else {
            return Err(Refusal::error(format!("node {node:?} is gone")));
        };
        let uid = cycle.pod.uid();
        let taken = self.places.judge(&all, object, uid);
        let taken = taken.map_err(|conflict| Refusal::unresolvable(conflict.reason()))?;
        if !taken.found.is_empty() || !taken.made.is_empty() {
            self.places.assumed.take(uid, taken);
        }
        Ok(())
    }

    fn unreserve(&self, pod: &PodInfo, _: &str, _: &CycleState) {
        if !claims(pod).is_empty() {
            self.places.assumed.give_back(pod.uid());
        }
    }
}

#[async_trait]
impl PreBind for VolumeBinding {
    async fn pre_bind(&self, pod: &PodInfo, node: &str, _: &CycleState) -> Answer {
        if claims(pod).is_empty() {
            return Ok(());
        }
        let Some(taken) = self.places.assumed.of(pod.uid()) else { return Ok(()) };
        for (claim, volume) in &taken.found {
            self.reserve_volume(claim, volume).await?;
        }
        for claim in &taken.made {
            self.select_node(claim, node).await?;
        }
        // The caches may be behind what was just written: a claim counts as given back only once
        // it has been seen with the node.
        let mut seen = Vec::new();
        let bound = async {
            loop {
                let changed = self.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                for key in &taken.made {
                    let claim = self.places.caches.claims.get(key);
                    let here = claim.is_some_and(|claim| {
                        volumes::annotation(&*claim, SELECTED_NODE) == Some(node)
                    });
                    if here && !seen.contains(key) {
                        seen.push(key.clone());
                    }
                }
                if self.are_bound(pod, node, &seen)? {
                    return Ok(());
                }
                changed.await;
            }
        };
        match tokio::time::timeout(self.timeout, bound).await {
            Ok(bound) => bound,
            Err(_) => Err(Refusal::error("binding volumes: timed out waiting for the condition")),
        }
    }
}

impl PostBind for VolumeBinding {
    fn post_bind(&self, pod: &PodInfo, _: &str, _: &CycleState) {
        if !claims(pod).is_empty() {
            self.places.assumed.give_back(pod.uid());
        }
    }
}
