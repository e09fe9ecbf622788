use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use pinnace_api::Typed;
use pinnace_api::selector::Selector;

use super::EvictorSettings;
use super::round::Round;

/// From this priority on pods are what the system needs.
const SYSTEM_CRITICAL: i32 = 2_000_000_000;
/// The annotation by which a pod says that it may always go.
const ALWAYS: &str = "descheduler.alpha.kubernetes.io/evict";
/// The annotation by which a pod says that it rather stays.
const NEVER: &str = "descheduler.alpha.kubernetes.io/prefer-no-eviction";
const MIRROR: &str = "kubernetes.io/config.mirror";
const SOURCE: &str = "kubernetes.io/config.source";

impl Round<'_> {
    /// Whether a pod may be evicted, as upstream's default evictor decides.
    pub(super) fn may_go(&self, evictor: &EvictorSettings, pod: &Typed<Pod>) -> bool {
        let annotation = |key: &str| pod.metadata.annotations.as_ref()?.get(key);
        if pod.object().is_deleting()
            || annotation(MIRROR).is_some()
            || annotation(SOURCE).is_some_and(|source| source != "api")
        {
            return false;
        }
        if annotation(ALWAYS).is_some() {
            return true;
        }
        annotation(NEVER).is_none()
            && self.owner_allows(evictor, pod)
            && self.priority_allows(evictor, pod)
            && volumes_allow(evictor, pod)
            && self.age_allows(evictor, pod)
            && selects(evictor.label_selector.as_ref(), pod)
            && (!evictor.ignore_pods_without_pdb || self.cluster.budgets().protects(pod))
    }

    fn owner_allows(&self, evictor: &EvictorSettings, pod: &Pod) -> bool {
        let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
        if owners.is_empty() {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            return evictor.evict_failed_bare_pods && phase == Some("Failed");
        }
        let daemon = owners.iter().any(|owner| owner.kind == "DaemonSet");
        let replicas = |uid: &str| self.replicas.get(uid).copied().unwrap_or(0);
        (evictor.evict_daemon_set_pods || !daemon)
            && owners.iter().all(|owner| replicas(&owner.uid) >= evictor.min_replicas)
    }

    fn priority_allows(&self, evictor: &EvictorSettings, pod: &Pod) -> bool {
        if evictor.evict_system_critical_pods {
            return true;
        }
        let threshold = evictor.priority_threshold.as_ref();
        let threshold = threshold.and_then(|one| match one.value {
            Some(value) => Some(value),
            None => self.rebalancer.sources.priority(&one.name),
        });
        let priority = pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
        priority < threshold.unwrap_or(SYSTEM_CRITICAL)
    }

    fn age_allows(&self, evictor: &EvictorSettings, pod: &Pod) -> bool {
        let Some(least) = evictor.min_pod_age else { return true };
        let made = pod.metadata.creation_timestamp.as_ref();
        let now = self.rebalancer.env.clock().now_seconds();
        made.is_some_and(|made| {
            Duration::try_from(now.duration_since(made.0)).is_ok_and(|age| age >= least.0)
        })
    }
}

fn volumes_allow(evictor: &EvictorSettings, pod: &Pod) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.into_iter().all(|volume| {
        let local = volume.empty_dir.is_some() || volume.host_path.is_some();
        let claim = volume.persistent_volume_claim.is_some();
        (evictor.evict_local_storage_pods || !local) && !(evictor.ignore_pvc_pods && claim)
    })
}

/// Whether a selector selects a pod; all pods when there is none.
pub(super) fn selects(
    selector: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector>,
    pod: &Pod,
) -> bool {
    let Some(selector) = selector else { return true };
    // It was checked when it was read.
    Selector::from_label_selector(selector)
        .is_ok_and(|selector| selector.matches(pod.metadata.labels.as_ref()))
}
