//! Decisions in which extenders have a say. The pod is decided about as any other, but for the
//! questions in between; as upstream, no other pod is decided about meanwhile.

use std::sync::Arc;

use futures::future::join_all;
use pinnace_api::Object;
use tokio::time::Instant;

use crate::cluster::NodeIndex;
use crate::decision::{Decision, Diagnosis, Steps};
use crate::extender::Against;
use crate::framework::{
    Candidate, Cycle, CycleState, Nomination, PluginIndex, PostFiltered, Profile, Verdict,
};
use crate::plugins;
use crate::pod::PodInfo;
use crate::scheduling::{Scheduling, Step};

/// What asking came to: one of the nodes, or what is against all of them.
type Asked = std::result::Result<Option<NodeIndex>, String>;

impl Scheduling {
    /// Whether an extender has a say in where a pod goes.
    pub(crate) fn asks_about(&self, pod: &PodInfo) -> bool {
        self.extenders.iter().any(|one| one.decides() && one.concerns(pod.pod()))
    }

    /// Tries a pod that extenders have a say in.
    pub(crate) async fn ask(&mut self, pod: Arc<PodInfo>, now: Instant) -> Step {
        let profiles = self.profiles.clone();
        let profile = &profiles[pod.profile()];
        let state = CycleState::default();
        let given = self.nominations.give_way(&mut self.cluster, &pod);
        let decision = match self.decide_asking(profile, &pod, &state).await {
            Ok(decision) => decision,
            Err(message) => Decision::Failed(message),
        };
        if let Decision::Unschedulable(diagnosis) = &decision {
            self.put_back(&pod, diagnosis.plugins(), diagnosis.pending(), now);
            self.way_out_asking(pod.clone(), &state, diagnosis).await;
        }
        let step = self.take(decision, pod, state, now);
        self.nominations.take_back(&mut self.cluster, given);
        step
    }

    async fn decide_asking(
        &mut self,
        profile: &Profile,
        pod: &PodInfo,
        state: &CycleState,
    ) -> std::result::Result<Decision, String> {
        if self.cluster.is_empty() {
            return Ok(Decision::NoNodes);
        }
        let status = pod.pod().status.as_ref();
        let nominated = status.and_then(|status| status.nominated_node_name.as_deref());
        let nominated = nominated.and_then(|name| self.cluster.find(name));
        for only in nominated.map(Some).into_iter().chain([None]) {
            let mut against = Vec::new();
            let cycle = Cycle { pod, cluster: &self.cluster, state };
            let steps = Steps::begin(&self.decider, &cycle, profile, only);
            let mut steps = steps.map_err(|refusal| refusal.to_string())?;
            if let Some(node) = self.choose(profile, &cycle, &mut steps, &mut against).await? {
                return Ok(Decision::Node(node));
            }
            if only.is_none() {
                let why = steps.diagnosis(&self.cluster, profile, pod, state, &against);
                return why.map(Decision::Unschedulable).map_err(|refusal| refusal.to_string());
            }
        }
        Ok(Decision::NoNodes)
    }

    /// Has extenders exclude nodes, one after another, then rank what is left, all at once.
    async fn choose(
        &self,
        profile: &Profile,
        cycle: &Cycle<'_>,
        steps: &mut Steps,
        against: &mut Vec<Against>,
    ) -> Asked {
        let concerned = || self.extenders.iter().filter(|one| one.concerns(cycle.pod.pod()));
        for extender in concerned() {
            let nodes = self.objects(steps.nodes());
            if nodes.is_empty() {
                return Ok(None);
            }
            match extender.filter(cycle.pod.pod(), &nodes).await {
                Ok((passed, why)) => {
                    steps.keep(&passed);
                    against.extend(why);
                }
                Err(why) if extender.is_ignorable() => {
                    tracing::warn!(why, "an extender is passed over");
                }
                Err(why) => return Err(why),
            }
        }
        if steps.nodes().len() < 2 {
            return Ok(steps.nodes().first().copied());
        }
        steps.rank(cycle, profile).map_err(|refusal| refusal.to_string())?;
        let nodes = self.objects(steps.nodes());
        let asked = concerned().map(|extender| extender.prioritize(cycle.pod.pod(), &nodes));
        for scores in join_all(asked).await {
            match scores {
                Ok(scores) => steps.add(&scores),
                // As upstream: the others decide without it.
                Err(why) => tracing::warn!(why, "an extender does not rank nodes"),
            }
        }
        Ok(steps.best(&self.decider))
    }

    fn objects(&self, nodes: &[NodeIndex]) -> Vec<&Object> {
        let object = |node: &NodeIndex| self.cluster.node(*node).object();
        nodes.iter().filter_map(object).map(|node| node.object()).collect()
    }

    async fn way_out_asking(
        &mut self,
        pod: Arc<PodInfo>,
        state: &CycleState,
        diagnosis: &Arc<Diagnosis>,
    ) {
        let profiles = self.profiles.clone();
        let profile = &profiles[pod.profile()];
        let (diagnosis, mut found) =
            self.decider.ways_out(&mut self.cluster, profile, &pod, state, diagnosis, true);
        let mut diagnosis = Arc::unwrap_or_clone(diagnosis);
        if !found.candidates.is_empty() {
            let candidates = std::mem::take(&mut found.candidates);
            let chosen = self.spare(&pod, candidates, &diagnosis).await;
            let (chosen, why) = match chosen {
                Ok(Some(chosen)) => (Some(chosen), String::new()),
                Ok(None) => (None, "no candidate node for preemption".to_owned()),
                Err(why) => (None, why),
            };
            found = match chosen {
                Some(Candidate { node, victims, .. }) => {
                    let nomination = Nomination::To(node);
                    PostFiltered { nomination, victims, ..PostFiltered::default() }
                }
                None => {
                    diagnosis.set_post_filter(format!("preemption: {why}"));
                    PostFiltered { nomination: Nomination::Clear, ..PostFiltered::default() }
                }
            };
        }
        self.make_room(pod, &Arc::new(diagnosis), found);
    }

    /// Has extenders say who may go.
    async fn spare(
        &self,
        pod: &PodInfo,
        mut candidates: Vec<Candidate>,
        diagnosis: &Diagnosis,
    ) -> std::result::Result<Option<Candidate>, String> {
        candidates.retain(|one| {
            let refused = |refusal: &crate::NodeRefusal| {
                refusal.plugin == PluginIndex::EXTENDERS
                    && refusal.verdict == Verdict::Unresolvable
                    && self.cluster.find(&one.node) == Some(refusal.node)
            };
            !diagnosis.refusals().iter().any(refused)
        });
        for extender in self.extenders.iter().filter(|one| one.preempts()) {
            if candidates.is_empty() || !extender.concerns(pod.pod()) {
                continue;
            }
            match extender.preempt(pod, &candidates, &self.cluster).await {
                Ok(left) => candidates = left,
                Err(why) if extender.is_ignorable() => {
                    tracing::warn!(why, "an extender is passed over");
                }
                Err(why) => return Err(why),
            }
        }
        Ok(plugins::best_of(candidates))
    }
}
