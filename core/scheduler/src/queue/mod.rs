//! The pods that wait: to be tried now, after a while, or for something to happen.

mod item;
#[cfg(test)]
mod tests;
mod timers;

use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::framework::{ClusterEvent, Events, Hint, PluginSet, Profile, Scope};
use crate::pod::PodInfo;
pub use item::QueuedPod;
use item::{Group, Item, Next, Place};
use timers::Timers;

/// How many entries of timers may be stale beside as many as there are pods.
const STALE_TIMERS: usize = 1024;

/// How long pods wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) first_backoff: Duration,
    pub(crate) most_backoff: Duration,
    pub(crate) unschedulable: Duration,
}

/// How a pod goes on that an event may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Strategy {
    /// It stays.
    Skip,
    /// It is tried when its backoff is over.
    AfterBackoff,
    /// It is tried now.
    Now,
}

/// The scheduling queue.
pub(crate) struct Queue {
    profiles: Arc<[Profile]>,
    sort: Arc<dyn crate::Plugin>,
    waits: Waits,
    items: HashMap<Arc<str>, Item, ahash::RandomState>,
    active: BinaryHeap<Next>,
    backoff: Timers,
    error_backoff: Timers,
    parked: BTreeMap<Group, BTreeMap<u64, Arc<str>>>,
    /// When parked pods are tried again in any case.
    parked_until: Timers,
    turns: u64,
    /// What any plugin of any profile may be helped by.
    interest: Events,
    events: u64,
    /// For every kind of event when it last happened, counted in events.
    last: [u64; u32::BITS as usize],
}

impl Queue {
    /// A queue that beside what plugins are helped by takes note of `more`.
    pub(crate) fn new(
        profiles: Arc<[Profile]>,
        sort: Arc<dyn crate::Plugin>,
        waits: Waits,
        more: Events,
    ) -> Self {
        let slots = profiles
            .iter()
            .flat_map(|profile| profile.plugins().map(|(index, _)| profile.slot(index).events));
        // The first node helps every pod that came before it.
        let interest = slots.fold(Events::NODE_ADD.or(more), Events::or);
        Self {
            profiles,
            sort,
            waits,
            items: HashMap::default(),
            active: BinaryHeap::new(),
            backoff: Timers::default(),
            error_backoff: Timers::default(),
            parked: BTreeMap::new(),
            parked_until: Timers::default(),
            turns: 0,
            interest,
            events: 0,
            last: [0; u32::BITS as usize],
        }
    }

    /// Adds a pod that is not there yet.
    pub(crate) fn add(&mut self, pod: PodInfo, now: Instant) {
        let item = Item::new(Arc::new(pod), now);
        self.requeue(item, Strategy::Now, now);
    }

    /// Takes a new version of a pod, adding it when it is not there.
    pub(crate) fn update(&mut self, pod: PodInfo, event: &ClusterEvent<'_>, now: Instant) {
        let Some(item) = self.items.get_mut(pod.uid()) else { return self.add(pod, now) };
        if item.place == Place::Unschedulable {
            let uid = pod.uid().clone();
            self.unpark(&uid);
            let Some(mut item) = self.items.remove(&uid) else { return };
            item.queued.pod = Arc::new(pod);
            let strategy = self.worth(&item, event);
            return self.requeue(item, strategy, now);
        }
        item.own = item.own | event.what;
        item.queued.pod = Arc::new(pod);
    }

    /// Takes a new version of a pod that is being bound; others are left alone.
    pub(crate) fn refresh(&mut self, pod: PodInfo, what: Events) {
        let item = self.items.get_mut(pod.uid()).filter(|item| item.place == Place::InFlight);
        if let Some(item) = item {
            item.own = item.own | what;
            item.queued.pod = Arc::new(pod);
        }
    }

    /// Drops a pod.
    pub(crate) fn remove(&mut self, uid: &str) {
        self.unpark(uid);
        self.items.remove(uid);
    }

    /// The version of a pod that it would be tried with.
    pub(crate) fn get(&self, uid: &str) -> Option<&Arc<PodInfo>> {
        self.items.get(uid).map(|item| &item.queued.pod)
    }

    /// Takes out the pod that is next. It must come back by [`Queue::put_back`] or be dropped.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<QueuedPod> {
        self.flush(now);
        let uid = loop {
            match self.active.pop() {
                Some(next) if self.is_current(next.pod.pod.uid(), next.turn) => {
                    break next.pod.pod.uid().clone();
                }
                Some(_) => {}
                None => break self.earliest_backoff()?,
            }
        };
        let item = self.items.get_mut(&uid)?;
        item.place = Place::InFlight;
        item.queued.attempts = item.queued.attempts.saturating_add(1);
        item.rejected = PluginSet::default();
        item.pending = PluginSet::default();
        item.own = Events::NONE;
        item.taken = self.events;
        Some(item.queued.clone())
    }

    /// Takes back a pod that could not be scheduled: rejected by plugins, or by none when
    /// something was broken.
    pub(crate) fn put_back(
        &mut self,
        uid: &str,
        rejected: PluginSet,
        pending: PluginSet,
        now: Instant,
    ) {
        let in_flight = self.items.get(uid).is_some_and(|item| item.place == Place::InFlight);
        let Some(mut item) = in_flight.then(|| self.items.remove(uid)).flatten() else { return };
        item.rejected = rejected;
        item.pending = pending;
        item.queued.since = now;
        let rejectors = rejected.or(pending);
        if rejectors.is_empty() {
            item.errors = item.errors.saturating_add(1);
        } else {
            item.refusals = item.refusals.saturating_add(1);
            item.errors = 0;
        }
        // Something that would have helped may have happened while it was being bound.
        let profile = &self.profiles[item.queued.pod.profile()];
        let anything = if rejected.waits_for_anything() { Events::ALL } else { Events::NONE };
        let helpful = rejectors.iter().fold(anything, |all, one| all | profile.slot(one).events);
        let missed =
            helpful.overlaps(item.own) || helpful.bits().any(|bit| self.last[bit] > item.taken);
        let strategy = match rejectors.is_empty() || missed {
            true => Strategy::AfterBackoff,
            false => Strategy::Skip,
        };
        self.requeue(item, strategy, now);
    }

    /// Wakes the pods that an event may help.
    pub(crate) fn wake(&mut self, event: &ClusterEvent<'_>, now: Instant) {
        if !self.interest.overlaps(event.what) {
            return;
        }
        self.events += 1;
        for bit in event.what.bits() {
            self.last[bit] = self.events;
        }
        let mut woken: Vec<(u64, Arc<str>, Strategy)> = Vec::new();
        for (group, pods) in &self.parked {
            let profile = &self.profiles[group.profile];
            let rejectors = group.rejected.or(group.pending);
            let mut interested = rejectors.iter().map(|plugin| profile.slot(plugin));
            let one_by_one = interested
                .any(|slot| slot.scope == Scope::Everything && slot.events.overlaps(event.what));
            let mut shared = None;
            for (turn, uid) in pods {
                let Some(item) = self.items.get(uid) else { continue };
                let strategy = match shared {
                    Some(known) if !one_by_one => known,
                    _ => *shared.insert(self.worth(item, event)),
                };
                match strategy {
                    Strategy::Skip if !one_by_one => break,
                    Strategy::Skip => {}
                    strategy => woken.push((*turn, uid.clone(), strategy)),
                }
            }
        }
        woken.sort_unstable_by_key(|(turn, _, _)| *turn);
        for (_, uid, strategy) in woken {
            self.unpark(&uid);
            if let Some(item) = self.items.remove(&uid) {
                self.requeue(item, strategy, now);
            }
        }
    }

    /// When something is due: a backoff ends, or a pod has waited for an event too long.
    pub(crate) fn next_due(&mut self) -> Option<Instant> {
        let items = &self.items;
        let current = |uid: &str, turn| items.get(uid).is_some_and(|item| item.turn == turn);
        let timers = [&mut self.backoff, &mut self.error_backoff, &mut self.parked_until];
        timers.into_iter().filter_map(|timers| timers.next(current)).min()
    }

    /// Does what is due.
    fn flush(&mut self, now: Instant) {
        while let Some(uid) = self.due(now, |queue| &mut queue.parked_until) {
            self.unpark(&uid);
            if let Some(item) = self.items.remove(&uid) {
                self.requeue(item, Strategy::AfterBackoff, now);
            }
        }
        while let Some(uid) = self
            .due(now, |queue| &mut queue.backoff)
            .or_else(|| self.due(now, |queue| &mut queue.error_backoff))
        {
            self.activate(&uid);
        }
    }

    /// Pods that come and go must not leave ever more stale entries behind.
    fn clean(&mut self) {
        let items = &self.items;
        let current = |uid: &str, turn| items.get(uid).is_some_and(|item| item.turn == turn);
        for timers in [&mut self.backoff, &mut self.error_backoff, &mut self.parked_until] {
            if timers.len() > 2 * items.len() + STALE_TIMERS {
                timers.clean(current);
            }
        }
    }

    fn due(&mut self, now: Instant, timers: fn(&mut Self) -> &mut Timers) -> Option<Arc<str>> {
        loop {
            let (uid, turn) = timers(self).pop_due(now)?;
            if self.is_current(&uid, turn) {
                return Some(uid);
            }
        }
    }

    /// The pod whose backoff ends first: with nothing else to do there is no reason to wait.
    fn earliest_backoff(&mut self) -> Option<Arc<str>> {
        loop {
            let (uid, turn) = self.backoff.pop()?;
            if self.is_current(&uid, turn) {
                return Some(uid);
            }
        }
    }

    fn is_current(&self, uid: &str, turn: u64) -> bool {
        self.items.get(uid).is_some_and(|item| item.turn == turn)
    }

    /// Whether an event is worth another try.
    fn worth(&self, item: &Item, event: &ClusterEvent<'_>) -> Strategy {
        let profile = &self.profiles[item.queued.pod.profile()];
        if item.rejected.waits_for_nodes() {
            let came = event.what.overlaps(Events::NODE_ADD);
            return if came { Strategy::AfterBackoff } else { Strategy::Skip };
        }
        let mut strategy = match item.rejected.waits_for_anything() {
            true => Strategy::AfterBackoff,
            false => Strategy::Skip,
        };
        for plugin in item.rejected.or(item.pending).iter() {
            let slot = profile.slot(plugin);
            let gated_by_another = item.gate.is_some_and(|gate| gate != plugin);
            if gated_by_another
                || !slot.events.overlaps(event.what)
                || slot.plugin.hint(&item.queued.pod, event) == Hint::Skip
            {
                continue;
            }
            if item.pending.contains(plugin) {
                return Strategy::Now;
            }
            strategy = Strategy::AfterBackoff;
        }
        strategy
    }

    fn requeue(&mut self, mut item: Item, strategy: Strategy, now: Instant) {
        self.clean();
        self.turns += 1;
        item.turn = self.turns;
        let uid = item.queued.pod.uid().clone();
        if strategy == Strategy::Skip || !self.may_enter(&mut item) {
            item.place = Place::Unschedulable;
            if item.gate.is_none() {
                let until = item.queued.since.max(now) + self.waits.unschedulable;
                self.parked_until.push(until, item.turn, uid.clone());
            }
            self.parked.entry(item.group()).or_default().insert(item.turn, uid.clone());
            self.items.insert(uid, item);
            return;
        }
        let end = item.backoff_end(self.waits.first_backoff, self.waits.most_backoff);
        let (turn, broken) = (item.turn, item.rejected.or(item.pending).is_empty());
        if strategy == Strategy::AfterBackoff && end > now {
            let (place, timers) = match broken {
                true => (Place::ErrorBackoff, &mut self.error_backoff),
                false => (Place::Backoff, &mut self.backoff),
            };
            item.place = place;
            timers.push(end, turn, uid.clone());
            self.items.insert(uid, item);
        } else {
            self.items.insert(uid.clone(), item);
            self.activate(&uid);
        }
    }

    /// Whether the plugins let the pod be tried; notes which one does not.
    fn may_enter(&self, item: &mut Item) -> bool {
        let profile = &self.profiles[item.queued.pod.profile()];
        item.gate = None;
        for (index, plugin) in profile.plugins() {
            let Some(pre_enqueue) = plugin.as_pre_enqueue() else { continue };
            if pre_enqueue.pre_enqueue(item.queued.pod.pod()).is_err() {
                item.rejected.insert(index);
                item.gate = Some(index);
                return false;
            }
        }
        true
    }

    fn activate(&mut self, uid: &str) {
        let Some(item) = self.items.get_mut(uid) else { return };
        self.turns += 1;
        item.turn = self.turns;
        item.place = Place::Active;
        let next = Next { pod: item.queued.clone(), turn: item.turn, sort: self.sort.clone() };
        self.active.push(next);
    }

    fn unpark(&mut self, uid: &str) {
        let Some(item) = self.items.get(uid) else { return };
        if item.place != Place::Unschedulable {
            return;
        }
        let group = item.group();
        if let Some(pods) = self.parked.get_mut(&group) {
            pods.remove(&item.turn);
            if pods.is_empty() {
                self.parked.remove(&group);
            }
        }
    }
}
