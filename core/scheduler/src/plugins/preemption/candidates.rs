use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use pinnace_api::Typed;

use crate::cluster::{Lifted, NodeIndex};
use crate::decision::Attempt;
use crate::framework::{Answer, Reasons, Verdict};

/// What makes a node the better one to evict pods from: the smallest is the best.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    violations: usize,
    highest_priority: i32,
    /// Of priorities that were shifted so that none is negative.
    sum: i64,
    victims: usize,
    /// When the first of the most important victims has started: the later, the better.
    start: Reverse<i64>,
    /// Breaks ties.
    lot: u64,
}

/// What evicting pods from a node would come to.
#[derive(Debug)]
enum Outcome {
    /// The pod fits without evicting anybody.
    Fits,
    /// Whatever pods go, the node will not do.
    NotHelpful,
    /// There are no pods of lower priority.
    NoVictims,
    /// It would not do either.
    Fails(Reasons),
    /// These pods have to go, the most important first.
    Victims(Cost, Vec<Arc<str>>),
}

/// What is known of every node for pods of one class and priority.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// Up to which change it knows the cluster, and the budgets.
    position: u64,
    budgets: u64,
    pub(super) used: u64,
    outcomes: Vec<Option<Outcome>>,
    best: BTreeSet<(Cost, NodeIndex)>,
    /// How many nodes there are for each reason why not.
    why_not: BTreeMap<String, usize>,
}

const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";
const NO_VICTIMS: &str = "No preemption victims found for incoming pod";

impl Candidates {
    pub(super) fn unknown() -> Self {
        Self { position: u64::MAX, ..Self::default() }
    }

    /// Catches up with the cluster: looks at the nodes that changed, or at all.
    pub(super) fn refresh(&mut self, attempt: &mut Attempt<'_>) -> Answer {
        let (end, budgets) = {
            let cluster = attempt.cluster();
            (cluster.log().end(), cluster.budgets().generation)
        };
        let changed: Option<Vec<NodeIndex>> = match attempt.cluster().log().since(self.position) {
            Some(changes) if self.position <= end && self.budgets == budgets => {
                let mut nodes: Vec<_> = changes.map(|change| change.node).collect();
                nodes.sort_unstable();
                nodes.dedup();
                Some(nodes)
            }
            _ => None,
        };
        let nodes = changed.unwrap_or_else(|| {
            self.outcomes.clear();
            self.best.clear();
            self.why_not.clear();
            attempt.nodes()
        });
        (self.position, self.budgets) = (end, budgets);
        for node in nodes {
            self.look(attempt, node)?;
        }
        Ok(())
    }

    fn look(&mut self, attempt: &mut Attempt<'_>, node: NodeIndex) -> Answer {
        if self.outcomes.len() <= node.index() {
            self.outcomes.resize_with(node.index() + 1, || None);
        }
        if let Some(old) = self.outcomes[node.index()].take() {
            self.forget(old, node);
        }
        if attempt.cluster().node(node).object().is_none() {
            return Ok(());
        }
        let outcome = Outcome::of(attempt, node)?;
        match &outcome {
            Outcome::Victims(cost, _) => _ = self.best.insert((cost.clone(), node)),
            other => {
                for reason in other.reasons() {
                    *self.why_not.entry(reason.into_owned()).or_default() += 1;
                }
            }
        }
        self.outcomes[node.index()] = Some(outcome);
        Ok(())
    }

    fn forget(&mut self, old: Outcome, node: NodeIndex) {
        if let Outcome::Victims(cost, _) = old {
            self.best.remove(&(cost, node));
            return;
        }
        for reason in old.reasons() {
            if let Some(count) = self.why_not.get_mut(&*reason) {
                *count -= 1;
                if *count == 0 {
                    self.why_not.remove(&*reason);
                }
            }
        }
    }

    /// The node where least is lost, and who has to go there.
    pub(super) fn best(&self) -> Option<(NodeIndex, &[Arc<str>])> {
        let (_, node) = self.best.first()?;
        match self.outcomes.get(node.index()) {
            Some(Some(Outcome::Victims(_, victims))) => Some((*node, victims)),
            _ => None,
        }
    }

    /// All nodes that would do, the best first: how many budgets are violated there, and who has to
    /// go.
    pub(super) fn in_order(&self) -> impl Iterator<Item = (NodeIndex, usize, &[Arc<str>])> {
        self.best.iter().filter_map(|(cost, node)| match self.outcomes.get(node.index()) {
            Some(Some(Outcome::Victims(_, victims))) => {
                Some((*node, cost.violations, &victims[..]))
            }
            _ => None,
        })
    }

    /// Why nobody can be evicted to any avail, in a cluster of so many nodes.
    pub(super) fn message(&self, nodes: usize) -> String {
        let mut counts = self.why_not.clone();
        let looked_at = self.outcomes.iter().flatten().count();
        if nodes > looked_at {
            *counts.entry(NOT_HELPFUL.to_owned()).or_default() += nodes - looked_at;
        }
        let mut reasons: Vec<String> =
            counts.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        reasons.sort();
        format!("0/{nodes} nodes are available: {}.", reasons.join(", "))
    }
}

impl Outcome {
    fn reasons(&self) -> Reasons {
        match self {
            Self::Fits | Self::Victims(..) => Reasons::new(),
            Self::NotHelpful => vec![NOT_HELPFUL.into()],
            Self::NoVictims => vec![NO_VICTIMS.into()],
            Self::Fails(reasons) => reasons.clone(),
        }
    }

    /// Takes all pods of lower priority away, and puts back as many as may stay: first those that a
    /// budget protects, each time the most important first.
    fn of(attempt: &mut Attempt<'_>, node: NodeIndex) -> Answer<Self> {
        match attempt.excluded(node)? {
            None => return Ok(Self::Fits),
            Some((Verdict::Unresolvable, _)) => return Ok(Self::NotHelpful),
            Some(_) => {}
        }
        let mut victims = victims(attempt, node);
        if victims.is_empty() {
            return Ok(Self::NoVictims);
        }
        // By uid where nothing else tells them apart, so that the same is decided every time.
        victims.sort_by(|a, b| {
            let key = |one: &Victim| (Reverse(one.priority), one.start);
            key(a).cmp(&key(b)).then_with(|| a.uid.cmp(&b.uid))
        });
        let cluster = attempt.cluster();
        let pods = victims.iter().filter_map(|victim| cluster.pod(&victim.uid));
        let violated = cluster.budgets().violated(pods.map(|record| &**record.pod()));
        let mut lifted: Vec<Option<Lifted>> =
            victims.iter().map(|victim| attempt.lift(&victim.uid)).collect();
        let result = reprieve(attempt, node, &violated, &mut lifted);
        let gone: Vec<bool> = lifted.iter().map(Option::is_some).collect();
        lifted.into_iter().flatten().for_each(|pod| attempt.put_back(pod));
        if let Some(reasons) = result? {
            return Ok(Self::Fails(reasons));
        }
        let violations = gone.iter().zip(&violated).filter(|(gone, bad)| **gone && **bad).count();
        let mut going = gone.iter();
        victims.retain(|_| going.next().is_some_and(|gone| *gone));
        Ok(Self::cost(attempt, victims, violations))
    }

    fn cost(attempt: &Attempt<'_>, victims: Vec<Victim>, violations: usize) -> Self {
        if victims.is_empty() {
            return Self::Fits;
        }
        let facts: Vec<_> = victims.iter().map(|one| (one.priority, one.start)).collect();
        let cost = Cost::of(&facts, violations, attempt.random().next_u64());
        Self::Victims(cost, victims.into_iter().map(|victim| victim.uid).collect())
    }
}

impl Cost {
    /// Of pods by priority and start.
    fn of(victims: &[(i32, i64)], violations: usize, lot: u64) -> Self {
        let highest = victims.iter().map(|(priority, _)| *priority).max().unwrap_or(i32::MIN);
        let most_important = victims.iter().filter(|(priority, _)| *priority == highest);
        let shifted = |priority: i32| i64::from(priority) + i64::from(i32::MAX) + 1;
        Self {
            violations,
            highest_priority: highest,
            sum: victims.iter().map(|(priority, _)| shifted(*priority)).sum(),
            victims: victims.len(),
            start: Reverse(most_important.map(|(_, start)| *start).min().unwrap_or(i64::MAX)),
            lot,
        }
    }
}

/// What the going of pods would cost, to compare.
pub(super) fn cost(victims: &[Typed<Pod>], violations: usize) -> impl Ord + use<> {
    let priority = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.priority).unwrap_or(0);
    let facts: Vec<_> = victims.iter().map(|pod| (priority(pod), start(pod))).collect();
    Cost::of(&facts, violations, 0)
}

/// Puts back whom the pod leaves room for. Gives why the pod would not fit even without all of
/// them.
fn reprieve(
    attempt: &mut Attempt<'_>,
    node: NodeIndex,
    violated: &[bool],
    lifted: &mut [Option<Lifted>],
) -> Answer<Option<Reasons>> {
    if let Some((_, reasons)) = attempt.excluded(node)? {
        return Ok(Some(reasons));
    }
    for protected in [true, false] {
        for (place, _) in violated.iter().enumerate().filter(|(_, bad)| **bad == protected) {
            let Some(pod) = lifted[place].take() else { continue };
            let uid = pod.uid().clone();
            attempt.put_back(pod);
            if attempt.excluded(node)?.is_some() {
                lifted[place] = attempt.lift(&uid);
            }
        }
    }
    Ok(None)
}

/// A pod that may have to go.
struct Victim {
    uid: Arc<str>,
    priority: i32,
    /// In milliseconds since 1970; one that has not started is the youngest.
    start: i64,
}

fn victims(attempt: &Attempt<'_>, node: NodeIndex) -> Vec<Victim> {
    let cluster = attempt.cluster();
    let priority = attempt.pod().priority();
    let on_node = cluster.node(node).pods().iter();
    on_node
        .filter_map(|uid| Some((uid, cluster.pod(uid)?)))
        .filter(|(_, record)| !record.is_nominated() && record.priority() < priority)
        .map(|(uid, record)| Victim {
            uid: uid.clone(),
            priority: record.priority(),
            start: start(record.pod()),
        })
        .collect()
}

fn start(pod: &Pod) -> i64 {
    let start = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    start.map_or(i64::MAX, |start| start.0.as_millisecond())
}
