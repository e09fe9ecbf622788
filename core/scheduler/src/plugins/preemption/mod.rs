//! Evicts pods for more important ones.

mod candidates;

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use pinnace_api::Typed;
use pinnace_api::disruption::Disruption;

use crate::cluster::{NodeIndex, PodRecord};
use crate::decision::Attempt;
use crate::framework::{
    Answer, Candidate, Events, Nomination, Plugin, PostFilter, PostFiltered, Refusal, Verdict,
};
use candidates::Candidates;

/// For how many classes and priorities is remembered what evictions would come to.
const REMEMBERED: usize = 64;

/// Makes room for a pod that fits nowhere by evicting pods of lower priority where least is lost:
/// the fewest violated disruption budgets, then the lowest priorities, the fewest and the youngest
/// pods.
///
/// What evictions on a node would come to is remembered for pods that are alike, until the node
/// changes, so that all nodes are compared every time.
#[derive(Debug, Default)]
pub struct DefaultPreemption {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    candidates: HashMap<(u64, i32), Candidates, ahash::RandomState>,
    uses: u64,
}

impl DefaultPreemption {
    /// The plugin's name.
    pub const NAME: &'static str = "DefaultPreemption";
}

impl Plugin for DefaultPreemption {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn events(&self) -> Events {
        Events::NONE
    }

    fn as_post_filter(&self) -> Option<&dyn PostFilter> {
        Some(self)
    }
}

impl PostFilter for DefaultPreemption {
    fn post_filter(&self, attempt: &mut Attempt<'_>) -> Answer<PostFiltered> {
        if let Some(why) = not_eligible(attempt) {
            return Err(Refusal::unschedulable(format!("preemption: {why}")));
        }
        let mut known = self.known.lock();
        known.uses += 1;
        let uses = known.uses;
        if !attempt.is_alone() || !attempt.takes_all_nodes() {
            let mut candidates = Candidates::unknown();
            candidates.refresh(attempt)?;
            return Ok(choose(&candidates, attempt));
        }
        let key = (attempt.pod().class().id(), attempt.pod().priority());
        if known.candidates.len() >= REMEMBERED && !known.candidates.contains_key(&key) {
            let oldest = known.candidates.iter().min_by_key(|(_, one)| one.used);
            if let Some(oldest) = oldest.map(|(key, _)| *key) {
                known.candidates.remove(&oldest);
            }
        }
        let candidates = known.candidates.entry(key).or_insert_with(Candidates::unknown);
        candidates.used = uses;
        let looked = candidates.refresh(attempt);
        if looked.is_err() {
            *candidates = Candidates::unknown();
        }
        looked?;
        Ok(choose(candidates, attempt))
    }
}

fn choose(known: &Candidates, attempt: &Attempt<'_>) -> PostFiltered {
    let cluster = attempt.cluster();
    let Some((node, victims)) = known.best() else {
        let message = format!("preemption: {}", known.message(cluster.len()));
        let nomination = Nomination::Clear;
        return PostFiltered { nomination, message, ..PostFiltered::default() };
    };
    let name = |node: NodeIndex| cluster.node(node).name().to_owned();
    let pods = |uids: &[Arc<str>]| -> Vec<Typed<Pod>> {
        let records = uids.iter().filter_map(|uid| cluster.pod(uid));
        records.map(|record| record.pod().clone()).collect()
    };
    let candidates = known.in_order().filter(|_| attempt.wants_candidates());
    PostFiltered {
        nomination: Nomination::To(name(node)),
        message: String::new(),
        victims: pods(victims),
        candidates: candidates
            .map(|(node, violations, uids)| Candidate {
                node: name(node),
                victims: pods(uids),
                violations,
            })
            .collect(),
    }
}

/// The candidate where least is lost, of those that others left or changed.
pub(crate) fn best_of(candidates: Vec<Candidate>) -> Option<Candidate> {
    candidates.into_iter().min_by_key(|one| candidates::cost(&one.victims, one.violations))
}

/// Why a pod must not evict others: because it says so, or because it has done so already and those
/// that it evicted are still on their way out.
fn not_eligible(attempt: &Attempt<'_>) -> Option<&'static str> {
    let pod = attempt.pod().pod();
    let policy = pod.spec.as_ref().and_then(|spec| spec.preemption_policy.as_deref());
    if policy == Some("Never") {
        return Some("not eligible due to preemptionPolicy=Never.");
    }
    let cluster = attempt.cluster();
    let nominated = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
    let node = nominated.and_then(|name| cluster.find(name))?;
    let out_of_question = |refusal: &crate::NodeRefusal| {
        refusal.node == node && refusal.verdict == Verdict::Unresolvable
    };
    if attempt.diagnosis().refusals().iter().any(out_of_question) {
        return None;
    }
    let going = |record: &PodRecord| {
        record.priority() < attempt.pod().priority() && is_being_preempted(record)
    };
    let mut pods = cluster.node(node).pods().iter().filter_map(|uid| cluster.pod(uid));
    pods.any(going).then_some("not eligible due to a terminating pod on the nominated node.")
}

fn is_being_preempted(record: &PodRecord) -> bool {
    // Which scheduler does it is told by the message alone.
    record.pod().object().is_deleting() && Disruption::Preemption("").holds(record.pod())
}
