//! Why a pod goes although it has not ended and nobody deleted it: the condition `DisruptionTarget`,
//! which whoever ends it writes before, and by which a Job's `podFailurePolicy` tells such an end
//! from a failure.

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The type of the condition.
pub const DISRUPTION_TARGET: &str = "DisruptionTarget";

/// What ends a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disruption<'a> {
    /// Somebody asked for an eviction.
    Eviction,
    /// A scheduler of that name makes room for a pod that is worth more.
    Preemption(&'a str),
    /// Its node has a taint that it does not tolerate, or no longer.
    Taint,
    /// Its node is gone.
    NodeGone,
    /// Its node agent ends it, for the reason that the text tells.
    NodeAgent(&'a str),
}

/// Since when a pod is said to be going, if it is.
pub fn marked_since(pod: &Pod) -> Option<&Time> {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut marks = conditions.filter(|one| one.type_ == DISRUPTION_TARGET && one.status == "True");
    marks.next()?.last_transition_time.as_ref()
}

/// Says that a pod stays after all: nobody has ended it. Whether it had been said to be going.
pub fn withdraw(pod: &mut Pod, now: &Time) -> bool {
    let generation = pod.metadata.generation;
    let conditions =
        pod.status.iter_mut().flat_map(|status| status.conditions.iter_mut().flatten());
    let mut marks = conditions.filter(|one| one.type_ == DISRUPTION_TARGET && one.status == "True");
    let Some(mark) = marks.next() else { return false };
    *mark = PodCondition {
        type_: DISRUPTION_TARGET.to_owned(),
        status: "False".to_owned(),
        observed_generation: generation,
        last_transition_time: Some(now.clone()),
        ..PodCondition::default()
    };
    true
}

impl Disruption<'_> {
    /// The reason of the condition.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Eviction => "EvictionByEvictionAPI",
            Self::Preemption(_) => "PreemptionByScheduler",
            Self::Taint => "DeletionByTaintManager",
            Self::NodeGone => "DeletionByPodGC",
            Self::NodeAgent(_) => "TerminationByKubelet",
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Eviction => "Eviction API: evicting".to_owned(),
            Self::Preemption(scheduler) => {
                format!("{scheduler}: preempting to accommodate a higher priority pod")
            }
            Self::Taint => "Taint manager: deleting due to NoExecute taint".to_owned(),
            Self::NodeGone => "PodGC: node no longer exists".to_owned(),
            Self::NodeAgent(why) => (*why).to_owned(),
        }
    }

    /// The condition of a pod, without times.
    pub fn condition(&self, pod: &Pod) -> PodCondition {
        PodCondition {
            type_: DISRUPTION_TARGET.to_owned(),
            status: "True".to_owned(),
            reason: Some(self.reason().to_owned()),
            message: Some(self.message()),
            observed_generation: pod.metadata.generation,
            last_transition_time: None,
            last_probe_time: None,
        }
    }

    /// Writes the condition into the pod's status. One that holds already keeps its time, for it is
    /// no transition that the reason is another.
    pub fn mark(&self, pod: &mut Pod, now: &Time) {
        let mut new = self.condition(pod);
        let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
        let old = conditions.iter_mut().find(|one| one.type_ == DISRUPTION_TARGET);
        let since = old.as_ref().filter(|old| old.status == new.status);
        let since = since.and_then(|old| old.last_transition_time.clone());
        new.last_transition_time = since.or_else(|| Some(now.clone()));
        match old {
            Some(old) => *old = new,
            None => conditions.push(new),
        }
    }

    /// Whether a pod is being ended for this reason.
    pub fn holds(&self, pod: &Pod) -> bool {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let mut conditions = conditions.filter(|one| one.type_ == DISRUPTION_TARGET);
        conditions.any(|one| one.status == "True" && one.reason.as_deref() == Some(self.reason()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn a_pod_is_marked_once_since_the_first_time() {
        let mut pod = Pod::default();
        pod.metadata.generation = Some(3);
        Disruption::Taint.mark(&mut pod, &at(1));
        assert!(Disruption::Taint.holds(&pod));
        Disruption::Preemption("mine").mark(&mut pod, &at(2));
        assert!(!Disruption::Taint.holds(&pod));
        let conditions = pod.status.unwrap().conditions.unwrap();
        let [condition] = &conditions[..] else { panic!("{conditions:?}") };
        assert_eq!(condition.last_transition_time, Some(at(1)));
        assert_eq!(condition.observed_generation, Some(3));
        assert_eq!(condition.reason.as_deref(), Some("PreemptionByScheduler"));
        let message = "mine: preempting to accommodate a higher priority pod";
        assert_eq!(condition.message.as_deref(), Some(message));
    }

    #[test]
    fn a_condition_that_did_not_hold_begins_now() {
        let mut pod = Pod::default();
        let mut old = Disruption::Eviction.condition(&pod);
        old.status = "False".to_owned();
        old.last_transition_time = Some(at(1));
        pod.status.get_or_insert_default().conditions = Some(vec![old]);
        assert!(!Disruption::Eviction.holds(&pod));
        Disruption::Eviction.mark(&mut pod, &at(2));
        let conditions = pod.status.unwrap().conditions.unwrap();
        assert_eq!(conditions.len(), 1);
        assert_eq!(conditions[0].last_transition_time, Some(at(2)));
    }
}
