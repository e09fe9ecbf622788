//! The scheduler without its tasks: what it knows, and what it does about it.

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Node, Pod, ReplicationController, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use pinnace_api::selector::Selector;
use pinnace_api::{Object, Typed};
use pinnace_client::{Delta, EventType, Recorder};
use tokio::time::Instant;

use crate::Error;
use crate::binding::{Binding, Unbound, Wait, running};
use crate::cluster::{Cluster, NodeIndex, Owner, PodRecord};
use crate::decision::{Decider, Decision, Diagnosis, explain};
use crate::evictions::{Eviction, Evictions};
use crate::explainer::Question;
use crate::extender::Extender;
use crate::framework::{
    ClusterEvent, Cycle, CycleState, Events, Handle, MAX_PERMIT_WAIT, Nomination, Permitted,
    PluginIndex, PluginSet, PostFiltered, Profile, Refusal, node_changes, pod_changes,
};
use crate::inbox::Watched;
use crate::nominations::Nominations;
use crate::plugins::DefaultPreemption;
use crate::pod::{PodClasses, PodInfo};
use crate::queue::Queue;
use crate::report::{Report, Reports};

/// Longest note of an Event, in bytes, and how a longer one ends.
const MAX_NOTE: usize = 1024;
const NOTE_ENDS: &str = " ...";

/// How many events of bound pods are held back at most while pods wait.
const MOST_ANNOUNCEMENTS: usize = 1024;

/// Reasons of the condition `PodScheduled`.
const UNSCHEDULABLE: &str = "Unschedulable";
const SCHEDULER_ERROR: &str = "SchedulerError";

/// What a scheduler knows.
pub(crate) struct Scheduling {
    pub(crate) profiles: Arc<[Profile]>,
    pub(crate) recorders: Vec<Recorder>,
    pub(crate) handle: Handle,
    pub(crate) cluster: Cluster,
    pub(crate) classes: PodClasses,
    pub(crate) queue: Queue,
    pub(crate) decider: Decider,
    pub(crate) reports: Reports,
    pub(crate) evictions: Evictions,
    pub(crate) nominations: Nominations,
    pub(crate) extenders: Arc<[Extender]>,
    /// Pods that were bound, with their nodes, and whose events are not recorded yet.
    pub(crate) announcements: Vec<(Arc<PodInfo>, Arc<str>)>,
}

/// What became of one attempt.
pub(crate) enum Step {
    /// No pod is waiting to be tried.
    Idle,
    /// A pod was dealt with.
    Done,
    /// A pod has a node and is to be bound.
    Bind(Box<Binding>),
    /// Extenders have a say in this pod: see [`Scheduling::ask`].
    Ask(Arc<PodInfo>),
}

impl Scheduling {
    /// Takes in a change of the cluster.
    pub(crate) fn change(&mut self, kind: Watched, delta: Delta, now: Instant) {
        match kind {
            Watched::Node => self.change_node(&delta, now),
            Watched::Namespace | Watched::Service | Watched::Budget | Watched::Owner(_) => {
                note(&mut self.cluster, kind, &delta);
            }
            Watched::Storage(what) => {
                let (old, new) = (delta.old.as_ref(), delta.new.as_ref());
                self.queue.wake(&ClusterEvent { what, old, new }, now);
            }
            Watched::Pod => {
                let live = |object: &Option<Object>| object.clone().and_then(live_pod);
                let (old, new) = (live(&delta.old), live(&delta.new));
                let uid = |pod: &Option<Typed<Pod>>| {
                    pod.as_ref().map(|pod| pod.object().uid().to_owned())
                };
                if old.is_some() && new.is_some() && uid(&old) != uid(&new) {
                    self.change_pod(old, None, now);
                    self.change_pod(None, new, now);
                } else {
                    self.change_pod(old, new, now);
                }
            }
        }
    }

    fn change_node(&mut self, delta: &Delta, now: Instant) {
        let typed =
            |object: &Option<Object>| object.as_ref().and_then(|one| one.typed::<Node>().ok());
        let what = match (typed(&delta.old), typed(&delta.new)) {
            (old, Some(new)) => {
                self.cluster.set_node(&new);
                old.map_or(Events::NODE_ADD, |old| node_changes(&old, &new))
            }
            (Some(old), None) => {
                self.abandon(old.object().name());
                self.cluster.remove_node(old.object().name());
                Events::NODE_DELETE
            }
            (None, None) => return,
        };
        let event = ClusterEvent { what, old: delta.old.as_ref(), new: delta.new.as_ref() };
        self.queue.wake(&event, now);
    }

    /// Pods that wait to be bound to a node that goes wait for nothing.
    fn abandon(&self, node: &str) {
        let Some(node) = self.cluster.find(node) else { return };
        for uid in self.cluster.node(node).pods() {
            if self.cluster.pod(uid).is_some_and(PodRecord::is_assumed) {
                let gone = Refusal::unschedulable("node(s) are gone");
                self.handle.waiting().reject(uid, "", gone);
            }
        }
    }

    fn change_pod(&mut self, old: Option<Typed<Pod>>, new: Option<Typed<Pod>>, now: Instant) {
        match (old, new) {
            (old, Some(new)) if is_assigned(&new) => {
                self.nominations.remove(&mut self.cluster, new.object().uid());
                self.cluster.set_pod(&new);
                self.queue.remove(new.object().uid());
                self.reports.drop_pod(new.object().uid());
                let what = match &old {
                    Some(old) if is_assigned(old) => pod_changes(old, &new, true),
                    _ => Events::POD_ADD,
                };
                let old = old.as_ref().map(Typed::object);
                self.queue.wake(&ClusterEvent { what, old, new: Some(new.object()) }, now);
            }
            (old, Some(new)) => self.change_waiting(old.as_ref(), &new, now),
            (Some(old), None) => {
                let uid = old.object().uid();
                self.queue.remove(uid);
                self.reports.drop_pod(uid);
                if is_assigned(&old) {
                    self.cluster.remove_pod(uid);
                    self.freed(old.object(), now);
                } else if self.nominations.remove(&mut self.cluster, uid) {
                    self.freed(old.object(), now);
                } else {
                    self.give_up(&old, now);
                }
            }
            (None, None) => {}
        }
    }

    fn change_waiting(&mut self, old: Option<&Typed<Pod>>, new: &Typed<Pod>, now: Instant) {
        let Some(profile) = self.profile_of(new) else { return };
        let profiles = self.profiles.clone();
        let pod = self.classes.read(&mut self.cluster, &profiles[profile], new);
        let what = old.map_or(Events::NONE, |old| pod_changes(old, new, false));
        self.renominate(old, new, &pod);
        if self.is_placed(pod.uid()) {
            // It is being bound. Should that fail, it is tried again as it is now.
            self.queue.refresh(pod, what);
            let going = |pod: &Typed<Pod>| pod.object().is_deleting();
            if going(new) && !old.is_some_and(going) {
                self.give_up(new, now);
            }
            return;
        }
        match old {
            None => {
                let what = Events::PENDING_ADD;
                self.queue.wake(&ClusterEvent { what, old: None, new: Some(new.object()) }, now);
                self.queue.add(pod, now);
            }
            Some(old) => {
                let (old, new) = (Some(old.object()), Some(new.object()));
                self.queue.update(pod, &ClusterEvent { what, old, new }, now);
            }
        }
    }

    /// Whether a pod is on a node, bound or about to be.
    fn is_placed(&self, uid: &str) -> bool {
        self.cluster.pod(uid).is_some_and(|record| !record.is_nominated())
    }

    /// Follows `status.nominatedNodeName`, which others may set too.
    fn renominate(&mut self, old: Option<&Typed<Pod>>, new: &Typed<Pod>, pod: &PodInfo) {
        let node = |pod: &Typed<Pod>| {
            let name = pod.status.as_ref().and_then(|status| status.nominated_node_name.clone());
            name.filter(|name| !name.is_empty())
        };
        let (before, now) = (old.and_then(node), node(new));
        if before == now || self.is_placed(pod.uid()) {
            return;
        }
        match now.and_then(|name| self.cluster.find(&name)) {
            Some(node) => {
                let profiles = self.profiles.clone();
                let profile = &profiles[pod.profile()];
                let pod = Arc::new(self.classes.read(&mut self.cluster, profile, new));
                self.nominations.set(&mut self.cluster, &pod, node);
            }
            None => _ = self.nominations.remove(&mut self.cluster, pod.uid()),
        }
    }

    /// An assumed pod goes before it was bound: what it was to take is free again.
    fn give_up(&mut self, pod: &Typed<Pod>, now: Instant) {
        let uid = pod.object().uid();
        let gone = Refusal::unschedulable("the pod is being deleted");
        let waits = self.handle.waiting().reject(uid, "", gone);
        if self.cluster.forget(uid) || waits {
            self.freed(pod.object(), now);
        }
    }

    fn freed(&mut self, pod: &Object, now: Instant) {
        let event = ClusterEvent { what: Events::POD_DELETE, old: Some(pod), new: None };
        self.queue.wake(&event, now);
    }

    fn profile_of(&self, pod: &Pod) -> Option<usize> {
        let name = pod.spec.as_ref()?.scheduler_name.as_deref();
        let name = name.filter(|name| !name.is_empty()).unwrap_or(crate::DEFAULT_SCHEDULER);
        self.profiles.iter().position(|profile| profile.name() == name)
    }

    /// Explains what would become of a pod now.
    pub(crate) fn answer(&mut self, question: Question) {
        let Question { pod, answer } = question;
        let Some(profile) = self.profile_of(&pod) else {
            let name = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.clone());
            let scheduler_name = name.unwrap_or_default();
            // Whoever asked may have lost interest.
            let _ = answer.send(Err(Error::UnknownScheduler { scheduler_name }));
            return;
        };
        let profiles = self.profiles.clone();
        let profile = &profiles[profile];
        let mut unplaced = pod.to_owned();
        if self.cluster.pod(pod.object().uid()).is_some()
            && let Some(spec) = &mut unplaced.spec
        {
            spec.node_name = None;
        }
        let pod = self.classes.read(&mut self.cluster, profile, &Typed::new(unplaced));
        let given = self.nominations.give_way(&mut self.cluster, &pod);
        let lifted = self.cluster.lift(pod.uid());
        let explained = explain(&self.cluster, profile, &pod);
        if let Some(lifted) = lifted {
            self.cluster.put_back(lifted);
        }
        self.nominations.take_back(&mut self.cluster, given);
        let explained =
            explained.map_err(|refusal| Error::Undecided { message: refusal.to_string() });
        // As above.
        let _ = answer.send(explained);
    }

    /// Tries the next pod.
    pub(crate) fn step(&mut self, now: Instant) -> Step {
        let Some(queued) = self.queue.pop(now) else { return Step::Idle };
        // What came in while the pod waited for its turn.
        let Some(pod) = self.queue.get(queued.pod().uid()).cloned() else { return Step::Done };
        let pod = self.fresh(pod);
        if pod.pod().object().is_deleting() {
            self.queue.remove(pod.uid());
            let note = format!("skip schedule deleting pod: {}", pod.key());
            self.warn(&pod, note);
            return Step::Done;
        }
        if self.is_placed(pod.uid()) {
            self.queue.remove(pod.uid());
            return Step::Done;
        }
        if self.asks_about(&pod) {
            return Step::Ask(pod);
        }
        let profiles = self.profiles.clone();
        let profile = &profiles[pod.profile()];
        let state = CycleState::default();
        let given = self.nominations.give_way(&mut self.cluster, &pod);
        let decision = self.decider.decide(&self.cluster, profile, &pod, &state);
        if let Decision::Unschedulable(diagnosis) = &decision {
            let (rejected, pending) = (diagnosis.plugins(), diagnosis.pending());
            self.put_back(&pod, rejected, pending, now);
            self.way_out(pod.clone(), &state, diagnosis);
        }
        let step = self.take(decision, pod, state, now);
        self.nominations.take_back(&mut self.cluster, given);
        step
    }

    /// Does what was decided.
    pub(crate) fn take(
        &mut self,
        decision: Decision,
        pod: Arc<PodInfo>,
        state: CycleState,
        now: Instant,
    ) -> Step {
        match decision {
            Decision::Node(node) => self.place(pod, node, state, now),
            Decision::Unschedulable(_) => Step::Done,
            Decision::NoNodes => {
                self.put_back(&pod, PluginSet::NO_NODES, PluginSet::default(), now);
                let message = "no nodes available to schedule pods".to_owned();
                self.report(pod, UNSCHEDULABLE, message, Nomination::Clear);
                Step::Done
            }
            Decision::Failed(message) => {
                tracing::error!(pod = %pod.key(), message, "a plugin failed");
                self.put_back(&pod, PluginSet::default(), PluginSet::default(), now);
                self.report(pod, SCHEDULER_ERROR, message, Nomination::Clear);
                Step::Done
            }
        }
    }

    /// The pod as it reads now: what Services and owners select may have changed since it came.
    fn fresh(&mut self, pod: Arc<PodInfo>) -> Arc<PodInfo> {
        if !pod.is_stale(&self.cluster) {
            return pod;
        }
        let profiles = self.profiles.clone();
        let profile = &profiles[pod.profile()];
        Arc::new(self.classes.read(&mut self.cluster, profile, pod.pod()))
    }

    /// Looks for a way out for a pod that fits nowhere, and takes it.
    fn way_out(&mut self, pod: Arc<PodInfo>, state: &CycleState, diagnosis: &Arc<Diagnosis>) {
        let profiles = self.profiles.clone();
        let profile = &profiles[pod.profile()];
        let (diagnosis, found) =
            self.decider.way_out(&mut self.cluster, profile, &pod, state, diagnosis);
        self.make_room(pod, &diagnosis, found);
    }

    /// Takes the way out that was found, and reports.
    pub(crate) fn make_room(
        &mut self,
        pod: Arc<PodInfo>,
        diagnosis: &Arc<Diagnosis>,
        found: PostFiltered,
    ) {
        let node = match &found.nomination {
            Nomination::To(name) => self.cluster.find(name),
            Nomination::Keep | Nomination::Clear => None,
        };
        if let Some(node) = node {
            for other in self.nominations.less_important(&pod, node) {
                self.nominations.remove(&mut self.cluster, other.uid());
                let nomination = Nomination::Clear;
                self.reports.add(Report { pod: other, condition: None, nomination });
            }
            let name = self.cluster.node(node).name.clone();
            self.evict(found.victims, &pod, &name);
        }
        self.report(pod, UNSCHEDULABLE, diagnosis.message(), found.nomination);
    }

    fn evict(&mut self, victims: Vec<Typed<Pod>>, preemptor: &Arc<PodInfo>, node: &Arc<str>) {
        for victim in victims.into_iter().filter(|victim| !victim.object().is_deleting()) {
            let uid = victim.object().uid().to_owned();
            let preempted = Refusal::unschedulable("preempted");
            if self.handle.waiting().reject(&uid, DefaultPreemption::NAME, preempted) {
                continue;
            }
            let recorder = self.recorders[preemptor.profile()].clone();
            let (preemptor, node) = (preemptor.clone(), node.clone());
            self.evictions.add(Eviction { victim, preemptor, node, recorder });
        }
    }

    /// Takes the pod to be on the node, and asks the plugins that have a say in that.
    fn place(
        &mut self,
        pod: Arc<PodInfo>,
        node: NodeIndex,
        state: CycleState,
        now: Instant,
    ) -> Step {
        let name = self.cluster.node(node).name.clone();
        self.cluster.assume(&pod, node);
        match self.permit(&pod, &name, &state) {
            Ok(wait) => {
                let profiles = self.profiles.clone();
                let mut extenders = self.extenders.iter();
                let binder = extenders.find(|one| one.binds() && one.concerns(pod.pod())).cloned();
                Step::Bind(Box::new(Binding { profiles, pod, node: name, state, wait, binder }))
            }
            Err((plugin, refusal)) => {
                self.unreserve(&pod, &name, &state);
                self.cluster.forget(pod.uid());
                let (rejected, pending, message) = match refusal.is_rejection() {
                    true => {
                        let diagnosis = Diagnosis::of_choice(Some(plugin), &refusal);
                        (diagnosis.plugins(), diagnosis.pending(), diagnosis.message())
                    }
                    false => Default::default(),
                };
                self.put_back(&pod, rejected, pending, now);
                match refusal {
                    Refusal::Error(message) => {
                        self.report(pod, SCHEDULER_ERROR, message, Nomination::Clear)
                    }
                    _ => self.report(pod, UNSCHEDULABLE, message, Nomination::Clear),
                }
                Step::Done
            }
        }
    }

    /// Runs the reserve and permit plugins; gives what the pod is to wait for.
    fn permit(
        &self,
        pod: &PodInfo,
        node: &str,
        state: &CycleState,
    ) -> Result<Option<Wait>, (PluginIndex, Refusal)> {
        let profile = &self.profiles[pod.profile()];
        let cycle = Cycle { pod, cluster: &self.cluster, state };
        for (index, plugin) in profile.plugins() {
            if let Some(reserve) = plugin.as_reserve() {
                let answer = reserve.reserve(&cycle, node);
                answer.map_err(|no| (index, running("Reserve", plugin.name(), no)))?;
            }
        }
        if !profile.has_permits {
            return Ok(None);
        }
        let mut waits = Vec::new();
        for (index, plugin) in profile.plugins() {
            let Some(permit) = plugin.as_permit() else { continue };
            let answer = permit.permit(&cycle, node);
            match answer.map_err(|no| (index, running("Permit", plugin.name(), no)))? {
                Permitted::Now => {}
                Permitted::Wait(time) => {
                    waits.push((plugin.name().to_owned(), time.min(MAX_PERMIT_WAIT)));
                }
            }
        }
        let Some(first) = waits.iter().min_by_key(|(_, time)| *time).cloned() else {
            return Ok(None);
        };
        let plugins = waits.into_iter().map(|(plugin, _)| plugin).collect();
        let waiting = self.handle.waiting();
        let answer = waiting.add(pod.uid().clone(), pod.key().clone(), plugins);
        Ok(Some(Wait { answer, first, handle: self.handle.clone() }))
    }

    fn unreserve(&self, pod: &PodInfo, node: &str, state: &CycleState) {
        for (_, plugin) in self.profiles[pod.profile()].plugins().rev() {
            if let Some(reserve) = plugin.as_reserve() {
                reserve.unreserve(pod, node, state);
            }
        }
    }

    /// Takes in how the binding of a pod ended.
    pub(crate) fn bound(&mut self, binding: Binding, result: Result<(), Unbound>, now: Instant) {
        let Binding { pod, node, state, .. } = binding;
        let Err(unbound) = result else {
            self.queue.remove(pod.uid());
            self.reports.drop_pod(pod.uid());
            for (_, plugin) in self.profiles[pod.profile()].plugins() {
                if let Some(post_bind) = plugin.as_post_bind() {
                    post_bind.post_bind(&pod, &node, &state);
                }
            }
            self.announcements.push((pod, node));
            if self.announcements.len() >= MOST_ANNOUNCEMENTS {
                self.announce();
            }
            return;
        };
        self.unreserve(&pod, &node, &state);
        if self.cluster.forget(pod.uid()) {
            self.freed(pod.pod().object(), now);
        }
        // It is gone, or somebody has bound it.
        let Some(pod) = self.queue.get(pod.uid()).cloned() else { return };
        let rejection = unbound.refusal.is_rejection();
        let message = match rejection && unbound.while_waiting {
            true => Diagnosis::of_choice(None, &unbound.refusal).message(),
            false => unbound.refusal.to_string(),
        };
        if !rejection {
            tracing::warn!(pod = %pod.key(), node = %node, message, "cannot bind a pod");
        }
        self.put_back(&pod, unbound.rejected, PluginSet::default(), now);
        let reason = if rejection { UNSCHEDULABLE } else { SCHEDULER_ERROR };
        self.report(pod, reason, message, Nomination::Clear);
    }

    /// Records events of the pods that were bound. They would only slow down the pods that wait, so
    /// this is for when none does, or many events are due.
    pub(crate) fn announce(&mut self) {
        for (pod, node) in self.announcements.drain(..) {
            let note = format!("Successfully assigned {} to {node}", pod.key());
            let recorder = &self.recorders[pod.profile()];
            recorder.record(pod.pod().object(), EventType::Normal, "Scheduled", note);
        }
    }

    /// The task that was to bind a pod did not end.
    pub(crate) fn lost(&mut self, pod: &Arc<PodInfo>, now: Instant) {
        if self.cluster.forget(pod.uid()) {
            self.freed(pod.pod().object(), now);
        }
        self.put_back(pod, PluginSet::default(), PluginSet::default(), now);
    }

    pub(crate) fn put_back(
        &mut self,
        pod: &PodInfo,
        rejected: PluginSet,
        pending: PluginSet,
        now: Instant,
    ) {
        self.queue.put_back(pod.uid(), rejected, pending, now);
    }

    fn report(
        &mut self,
        pod: Arc<PodInfo>,
        reason: &'static str,
        message: String,
        nomination: Nomination,
    ) {
        self.warn(&pod, message.clone());
        match &nomination {
            Nomination::Keep => {}
            Nomination::Clear => _ = self.nominations.remove(&mut self.cluster, pod.uid()),
            Nomination::To(name) => {
                if let Some(node) = self.cluster.find(name) {
                    self.nominations.set(&mut self.cluster, &pod, node);
                }
            }
        }
        self.reports.add(Report { pod, condition: Some((reason, message)), nomination });
    }

    fn warn(&self, pod: &PodInfo, mut note: String) {
        if note.len() > MAX_NOTE {
            let most = MAX_NOTE - NOTE_ENDS.len();
            let end = (0..=most).rev().find(|end| note.is_char_boundary(*end)).unwrap_or(0);
            note.truncate(end);
            note.push_str(NOTE_ENDS);
        }
        let recorder = &self.recorders[pod.profile()];
        recorder.record(pod.pod().object(), EventType::Warning, "FailedScheduling", note);
    }
}

/// Notes a change of what is neither node nor pod.
pub(crate) fn note(cluster: &mut Cluster, kind: Watched, delta: &Delta) {
    let Some(object) = delta.object() else { return };
    let new = delta.new.as_ref();
    match kind {
        Watched::Namespace => {
            let none = std::collections::BTreeMap::new();
            let labels = new.map(|new| new.labels().unwrap_or(&none));
            cluster.set_namespace(object.name(), labels);
        }
        Watched::Service => {
            let service = new.and_then(|new| new.get::<Service>().ok());
            let selector = service.and_then(|one| one.spec.as_ref()?.selector.as_ref());
            cluster.set_service(object.namespace(), object.name(), selector);
        }
        Watched::Budget => {
            let budget = new.and_then(|new| new.get::<PodDisruptionBudget>().ok());
            cluster.set_budget(object.namespace(), object.name(), budget);
        }
        Watched::Owner(kind) => {
            let selector = new.and_then(|new| owner_selector(kind, new));
            cluster.set_owner(kind, object, selector);
        }
        Watched::Node | Watched::Pod | Watched::Storage(_) => {}
    }
}

/// What an owner of pods selects.
fn owner_selector(kind: Owner, object: &Object) -> Option<Selector> {
    let read = |selector: &LabelSelector| Selector::from_label_selector(selector).ok();
    match kind {
        Owner::ReplicaSet => read(&object.get::<ReplicaSet>().ok()?.spec.as_ref()?.selector),
        Owner::StatefulSet => read(&object.get::<StatefulSet>().ok()?.spec.as_ref()?.selector),
        Owner::ReplicationController => {
            let controller = object.get::<ReplicationController>().ok()?;
            controller.spec.as_ref()?.selector.as_ref().map(Selector::from_labels)
        }
    }
}

pub(crate) fn is_assigned(pod: &Pod) -> bool {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    node.is_some_and(|node| !node.is_empty())
}

/// A pod that has not ended: those that have take nothing and want nothing.
pub(crate) fn live_pod(object: Object) -> Option<Typed<Pod>> {
    let pod = object.typed::<Pod>();
    let pod = pod.inspect_err(|error| tracing::error!(%error, "a pod cannot be read")).ok()?;
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    (!matches!(phase, Some("Succeeded" | "Failed"))).then_some(pod)
}
