//! What has to be done: a pod for every node that lacks one, none where none belongs, no failed
//! ones and no surplus; and then, where the template has changed, old ones for new ones.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use pinnace_api::Typed;
use pinnace_client::EventType;

use super::backoff::Backoffs;
use super::look::{Look, Seat, is_going};
use super::placement::Verdict;
use crate::history::HASH_LABEL;
use crate::pods;

/// What has to be done.
#[derive(Default)]
pub(super) struct Plan {
    /// Nodes to make a pod for.
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Typed<Pod>>,
    /// Events: type, reason, message.
    pub(super) events: Vec<(EventType, &'static str, String)>,
    /// After which time to look again.
    pub(super) wait: Option<Duration>,
}

impl Plan {
    pub(super) fn is_empty(&self) -> bool {
        self.create.is_empty() && self.delete.is_empty()
    }
}

/// How far an update may go at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Limits {
    unavailable: usize,
    surge: usize,
}

/// The limits for so many pods; none for a set that is not updated by rolling.
fn limits(look: &Look, desired: usize) -> Option<Limits> {
    let strategy = look.set.spec.as_ref()?.update_strategy.as_ref()?;
    if strategy.type_.as_deref() != Some("RollingUpdate") {
        return None;
    }
    let rolling = strategy.rolling_update.as_ref();
    let unavailable = share(rolling.and_then(|one| one.max_unavailable.as_ref()), desired);
    let surge = share(rolling.and_then(|one| one.max_surge.as_ref()), desired);
    match (unavailable, surge) {
        // Or nothing could ever move.
        (0, 0) => Some(Limits { unavailable: 1, surge: 0 }),
        (unavailable, surge) => Some(Limits { unavailable, surge }),
    }
}

/// A number, or a share of `desired`, rounded up.
fn share(value: Option<&IntOrString>, desired: usize) -> usize {
    match value {
        None => 0,
        Some(IntOrString::Int(number)) => usize::try_from(*number).unwrap_or(0),
        Some(IntOrString::String(text)) => {
            let percent: usize = text.trim_end_matches('%').parse().unwrap_or(0);
            percent.saturating_mul(desired).div_ceil(100)
        }
    }
}

/// Whether a set's update may have two pods on a node.
fn surges(look: &Look) -> bool {
    limits(look, look.desired()).is_some_and(|limits| limits.surge > 0)
}

/// Pods where they belong.
pub(super) fn place(look: &Look, backoffs: &Backoffs) -> Plan {
    let surges = surges(look);
    let mut plan = Plan { delete: look.lost.clone(), ..Plan::default() };
    for seat in &look.seats {
        match seat.verdict {
            Verdict::Run if seat.pods.is_empty() => plan.create.push(seat.node.clone()),
            Verdict::Run | Verdict::Stay => keep(look, seat, surges, backoffs, &mut plan),
            Verdict::Leave => {
                plan.delete.extend(seat.pods.iter().filter(|pod| !is_going(pod)).cloned());
            }
        }
    }
    plan
}

/// Of the pods on a node those that have ended go, and those that are too many.
fn keep(look: &Look, seat: &Seat, surges: bool, backoffs: &Backoffs, plan: &mut Plan) {
    let mut running = Vec::new();
    for pod in seat.pods.iter().filter(|pod| !is_going(pod)) {
        let (namespace, name) = (pod.object().namespace(), pod.object().name());
        let found = |phase: &str| {
            format!(
                "Found {phase} daemon pod {namespace}/{name} on node {}, will try to",
                seat.node
            )
        };
        match pods::phase(pod) {
            "Failed" => match backoffs.next(&look.set.object().key(), &seat.node, look.now) {
                Some(left) => plan.wait = Some(plan.wait.map_or(left, |wait| wait.min(left))),
                None => {
                    let message = format!("{} kill it", found("failed"));
                    plan.events.push((EventType::Warning, "FailedDaemonPod", message));
                    plan.delete.push(pod.clone());
                }
            },
            "Succeeded" => {
                let message = format!("{} delete it", found("succeeded"));
                plan.events.push((EventType::Normal, "SucceededDaemonPod", message));
                plan.delete.push(pod.clone());
            }
            _ => running.push(pod),
        }
    }
    if !surges {
        plan.delete.extend(running.into_iter().skip(1).cloned());
        return;
    }
    match running.len() {
        0 if seat.verdict == Verdict::Run => plan.create.push(seat.node.clone()),
        0 | 1 => {}
        _ => keep_two(look, &running, plan),
    }
}

/// While an update surges, a node may have an old pod that is ready and a new one that is not
/// available yet.
fn keep_two(look: &Look, running: &[&Typed<Pod>], plan: &mut Plan) {
    let (mut new, mut old) = (None, None);
    for pod in running {
        let hash = pod.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL));
        let first = if hash == Some(&look.hash) { &mut new } else { &mut old };
        match first {
            None => *first = Some(*pod),
            Some(_) => plan.delete.push((*pod).clone()),
        }
    }
    if let (Some(new), Some(old)) = (new, old)
        && (pods::ready_since(old).is_none() || look.is_available(new))
    {
        plan.delete.push(old.clone());
    }
}

/// The old pod and the new one on a node; `None` where one of them is there twice, which
/// [`place`] puts right first.
fn generations<'a>(look: &Look, seat: &'a Seat) -> Option<[Option<&'a Typed<Pod>>; 2]> {
    let mut found = [None, None];
    for pod in seat.pods.iter().filter(|pod| !is_going(pod)) {
        let place = &mut found[usize::from(look.is_updated(pod))];
        if place.replace(pod).is_some() {
            return None;
        }
    }
    Some(found)
}

/// New pods for old ones, as far as the update strategy lets go at once.
pub(super) fn update(look: &Look) -> Plan {
    let desired = look.desired();
    match limits(look, desired) {
        None => Plan::default(),
        Some(limits) if limits.surge == 0 => replace(look, limits.unavailable),
        Some(limits) => surge(look, limits.surge, desired),
    }
}

/// Old pods go, and [`place`] makes new ones: those that are not available at once, others as long
/// as not too many are missing.
fn replace(look: &Look, max_unavailable: usize) -> Plan {
    let mut unavailable = 0;
    let (mut delete, mut candidates) = (Vec::new(), Vec::new());
    for seat in &look.seats {
        if seat.pods.is_empty() && seat.verdict != Verdict::Run {
            continue;
        }
        match generations(look, seat) {
            None | Some([None, None]) | Some([Some(_), Some(_)]) => unavailable += 1,
            Some([None, Some(new)]) => unavailable += usize::from(!look.is_available(new)),
            Some([Some(old), None]) if !look.is_available(old) => delete.push(old.clone()),
            Some([Some(old), None]) => candidates.push(old.clone()),
        }
    }
    let left = max_unavailable.saturating_sub(unavailable);
    delete.extend(candidates.into_iter().take(left));
    Plan { delete, ..Plan::default() }
}

/// New pods beside old ones, and the old ones go when the new are available.
fn surge(look: &Look, max_surge: usize, desired: usize) -> Plan {
    let (mut surging, mut available) = (0, 0);
    let mut plan = Plan::default();
    let (mut candidates, mut misplaced) = (Vec::new(), Vec::new());
    for seat in look.seats.iter().filter(|seat| !seat.pods.is_empty()) {
        let Some([old, new]) = generations(look, seat) else {
            surging += 1;
            continue;
        };
        available += usize::from(old.or(new).is_some_and(|pod| look.is_available(pod)));
        match (old, new) {
            (None, _) => {}
            (Some(_), Some(new)) if !look.is_available(new) => surging += 1,
            (Some(old), Some(_)) => plan.delete.push(old.clone()),
            (Some(old), None) => match (look.is_available(old), seat.verdict == Verdict::Run) {
                (false, false) => plan.delete.push(old.clone()),
                (false, true) => plan.create.push(seat.node.clone()),
                (true, false) => misplaced.push(old.clone()),
                (true, true) => candidates.push(seat.node.clone()),
            },
        }
    }
    // What runs where no pod belongs any more is needed until enough run elsewhere.
    let spare = available.saturating_sub(desired);
    plan.delete.extend(misplaced.into_iter().take(spare));
    plan.create.extend(candidates.into_iter().take(max_surge.saturating_sub(surging)));
    plan
}
