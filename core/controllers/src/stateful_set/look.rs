//! What is there: the places of a StatefulSet, and the pods that have none.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use pinnace_api::{Result, Typed};

use super::identity;
use crate::history::{HASH_LABEL, Revisions, template_of};
use crate::pods::{self, Availability};

/// One look at a StatefulSet.
pub(super) struct Look {
    pub(super) set: Typed<StatefulSet>,
    /// A place for every replica, in order.
    pub(super) places: Vec<Place>,
    /// Pods outside of them, the last first.
    pub(super) surplus: Vec<(i32, Typed<Pod>)>,
    /// The revision that pods have which are not to be updated yet.
    pub(super) current: String,
    /// The revision of the template as it is now.
    pub(super) update: String,
    /// Whether pods are made and deleted one after the other.
    pub(super) ordered: bool,
    pub(super) now: Timestamp,
    min_ready: Duration,
}

/// A replica's place.
pub(super) struct Place {
    pub(super) ordinal: i32,
    pub(super) pod: Occupant,
}

pub(super) enum Occupant {
    /// A pod that is to be made.
    Missing(Box<Pod>),
    There(Typed<Pod>),
}

impl Place {
    pub(super) fn pod(&self) -> Option<&Typed<Pod>> {
        match &self.pod {
            Occupant::Missing(_) => None,
            Occupant::There(pod) => Some(pod),
        }
    }
}

pub(super) fn spec(set: &StatefulSet) -> StatefulSetSpec {
    set.spec.clone().unwrap_or_default()
}

/// How many places at the beginning keep the current revision.
pub(super) fn partition(spec: &StatefulSetSpec) -> usize {
    let rolling = spec.update_strategy.as_ref().and_then(|all| all.rolling_update.as_ref());
    let partition = rolling.and_then(|rolling| rolling.partition).unwrap_or(0);
    usize::try_from(partition).unwrap_or(0)
}

pub(super) fn is_rolling(spec: &StatefulSetSpec) -> bool {
    let strategy = spec.update_strategy.as_ref();
    strategy.is_none_or(|strategy| strategy.type_.as_deref() != Some("OnDelete"))
}

impl Look {
    /// # Errors
    /// When the current revision keeps no template.
    pub(super) fn new(
        set: Typed<StatefulSet>,
        revisions: &Revisions,
        owned: Vec<Typed<Pod>>,
        now: Timestamp,
    ) -> Result<Self> {
        let spec = spec(&set);
        let update = revisions.update.object().name().to_owned();
        let wanted = set.status.as_ref().and_then(|status| status.current_revision.as_deref());
        let current = revisions.old.iter().find(|one| Some(one.object().name()) == wanted);
        let kept: Option<PodTemplateSpec> =
            current.map(|revision| template_of(revision)).transpose()?;
        let current = current.map_or_else(|| update.clone(), |one| one.object().name().to_owned());
        let start = spec.ordinals.as_ref().and_then(|all| all.start).unwrap_or(0).max(0);
        let end = start.saturating_add(spec.replicas.unwrap_or(1).max(0));
        let mut there: Vec<Option<Typed<Pod>>> = (start..end).map(|_| None).collect();
        let mut surplus = Vec::new();
        for pod in owned {
            let Some(ordinal) = identity::ordinal(set.object().name(), pod.object().name()) else {
                continue;
            };
            let at = ordinal.checked_sub(start).and_then(|at| usize::try_from(at).ok());
            match at.and_then(|at| there.get_mut(at)) {
                Some(place) => *place = Some(pod),
                None => surplus.push((ordinal, pod)),
            }
        }
        surplus.sort_by_key(|(ordinal, _)| std::cmp::Reverse(*ordinal));
        let kept_places = if is_rolling(&spec) { partition(&spec) } else { 0 };
        let places = (start..end).zip(there).enumerate().map(|(at, (ordinal, pod))| {
            let pod = match (pod, &kept) {
                (Some(pod), _) => Occupant::There(pod),
                (None, Some(kept)) if at < kept_places => {
                    Occupant::Missing(Box::new(identity::pod(&set, kept, &current, ordinal)))
                }
                (None, _) => Occupant::Missing(Box::new(identity::pod(
                    &set,
                    &spec.template,
                    &update,
                    ordinal,
                ))),
            };
            Place { ordinal, pod }
        });
        let places = places.collect();
        let ordered = spec.pod_management_policy.as_deref() != Some("Parallel");
        let min_ready = spec.min_ready_seconds.unwrap_or(0);
        let min_ready = Duration::from_secs(u64::try_from(min_ready).unwrap_or(0));
        Ok(Self { set, places, surplus, current, update, ordered, now, min_ready })
    }

    /// Every pod there is.
    pub(super) fn pods(&self) -> impl Iterator<Item = &Typed<Pod>> {
        let surplus = self.surplus.iter().map(|(_, pod)| pod);
        self.places.iter().filter_map(Place::pod).chain(surplus)
    }

    /// Whether a pod runs, is ready and has been for long enough.
    pub(super) fn is_available(&self, pod: &Pod) -> bool {
        self.availability(pod) == Availability::Available
    }

    pub(super) fn availability(&self, pod: &Pod) -> Availability {
        match pods::phase(pod) {
            "Running" => pods::availability(pod, self.min_ready, self.now),
            _ => Availability::NotReady,
        }
    }

    /// Whether a pod does its work and will go on doing so.
    pub(super) fn is_healthy(&self, pod: &Pod) -> bool {
        self.is_available(pod) && !is_going(pod)
    }

    /// The time after which the next pod becomes available, if nothing changes before.
    pub(super) fn wait(&self) -> Option<Duration> {
        let waits = self.pods().filter_map(|pod| match self.availability(pod) {
            Availability::In(left) => Some(left),
            _ => None,
        });
        waits.min()
    }
}

pub(super) fn is_going(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// The revision that a pod was made from.
pub(super) fn revision_of(pod: &Pod) -> &str {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(HASH_LABEL)).map(String::as_str).unwrap_or_default()
}
