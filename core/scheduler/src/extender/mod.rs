//! Extenders: servers outside that have a say in where pods go.
//!
//! Follows <https://kubernetes.io/docs/concepts/extend-kubernetes/#scheduler-extensions> and the
//! shapes of upstream's `k8s.io/kube-scheduler/extender/v1`.

mod config;
mod http;
mod wire;

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Container, Pod};
use pinnace_api::{Object, Typed};

use crate::cluster::Cluster;
use crate::framework::{Candidate, MAX_SCORE};
use crate::pod::PodInfo;
use crate::{Error, Result};
pub(crate) use config::validate;
pub use config::{ExtenderConfig, ExtenderTls, GoDuration, ManagedResource};
pub use http::ExtenderTransport;

/// The best that an extender ranks a node.
const MAX_PRIORITY: i64 = 10;

/// A server outside that has a say in where pods go. Cheap to clone.
#[derive(Clone)]
pub struct Extender(Arc<Inner>);

struct Inner {
    config: ExtenderConfig,
    managed: BTreeSet<String>,
    transport: Box<dyn ExtenderTransport>,
}

/// What an extender has against a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Against {
    pub(crate) node: String,
    pub(crate) reason: String,
    /// Whether evicting pods cannot help.
    pub(crate) unresolvable: bool,
}

/// What an extender found: the places of the nodes that it lets pass among those it was asked about,
/// and what it has against others.
type Passed = (Vec<usize>, Vec<Against>);

impl Extender {
    /// One that is reached over HTTP as its configuration says.
    ///
    /// # Errors
    /// [`Error::Configuration`] when the URL or a certificate is none.
    pub fn http(config: ExtenderConfig) -> Result<Self> {
        let transport = http::Http::new(&config)
            .map_err(|message| Error::Configuration { message: format!("extenders: {message}") })?;
        Ok(Self::with_transport(config, transport))
    }

    /// One that is reached in another way.
    pub fn with_transport(config: ExtenderConfig, transport: impl ExtenderTransport) -> Self {
        let managed = config.managed_resources.iter().map(|one| one.name.clone()).collect();
        Self(Arc::new(Inner { config, managed, transport: Box::new(transport) }))
    }

    /// What it is asked for.
    pub fn config(&self) -> &ExtenderConfig {
        &self.0.config
    }

    /// Where it answers.
    pub(crate) fn name(&self) -> &str {
        &self.0.config.url_prefix
    }

    /// Whether it is about a pod: always, or where a container asks for a resource of its own.
    pub(crate) fn concerns(&self, pod: &Pod) -> bool {
        let managed = &self.0.managed;
        let asks = |container: &Container| {
            let Some(resources) = &container.resources else { return false };
            let asked = [&resources.requests, &resources.limits].into_iter().flatten();
            asked.flat_map(|amounts| amounts.keys()).any(|name| managed.contains(name))
        };
        let Some(spec) = &pod.spec else { return managed.is_empty() };
        let inits = spec.init_containers.iter().flatten();
        managed.is_empty() || spec.containers.iter().chain(inits).any(asks)
    }

    /// Whether it has a say before a pod has a node.
    pub(crate) fn decides(&self) -> bool {
        let ExtenderConfig { filter_verb, prioritize_verb, preempt_verb, .. } = self.config();
        ![filter_verb, prioritize_verb, preempt_verb].into_iter().all(String::is_empty)
    }

    pub(crate) fn preempts(&self) -> bool {
        !self.config().preempt_verb.is_empty()
    }

    pub(crate) fn binds(&self) -> bool {
        !self.config().bind_verb.is_empty()
    }

    pub(crate) fn is_ignorable(&self) -> bool {
        self.config().ignorable
    }

    /// Asks which of the nodes will do.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub(crate) async fn filter(
        &self,
        pod: &Typed<Pod>,
        nodes: &[&Object],
    ) -> Result<Passed, String> {
        let config = self.config();
        if config.filter_verb.is_empty() {
            return Ok(((0..nodes.len()).collect(), Vec::new()));
        }
        let sent = wire::nodes(pod.object(), nodes, config.node_cache_capable);
        let answer = self.post(&config.filter_verb, sent).await?;
        let answer = wire::filtered(&answer, config.node_cache_capable)
            .map_err(|why| self.blame(&config.filter_verb, &why))?;
        let (places, mut passed) = (places(nodes), Vec::new());
        for name in answer.nodes.into_iter().flatten() {
            match places.get(&name[..]) {
                Some(place) => passed.push(*place),
                None => {
                    return Err(format!(
                        "extender {:?} claims a filtered node {name:?} which is not found in the \
                         input node list",
                        self.name()
                    ));
                }
            }
        }
        passed.sort_unstable();
        passed.dedup();
        let against = |unresolvable: bool| {
            move |(node, reason): (String, String)| Against { node, reason, unresolvable }
        };
        let hard = answer.unresolvable.clone();
        let soft = answer.failed.into_iter().filter(|(node, _)| !hard.contains_key(node));
        let mut why: Vec<Against> = answer.unresolvable.into_iter().map(against(true)).collect();
        why.extend(soft.map(against(false)));
        // What it passes over in silence is said in our words.
        let said: BTreeSet<String> = why.iter().map(|one| one.node.clone()).collect();
        for (place, node) in nodes.iter().enumerate() {
            if passed.binary_search(&place).is_err() && !said.contains(node.name()) {
                let reason = format!("node(s) were rejected by extender {:?}", self.name());
                why.push(Against { node: node.name().to_owned(), reason, unresolvable: true });
            }
        }
        Ok((passed, why))
    }

    /// Asks how good the nodes are: as much as is added to the total of each.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub(crate) async fn prioritize(
        &self,
        pod: &Typed<Pod>,
        nodes: &[&Object],
    ) -> Result<Vec<i64>, String> {
        let config = self.config();
        let mut scores = vec![0; nodes.len()];
        if config.prioritize_verb.is_empty() {
            return Ok(scores);
        }
        let sent = wire::nodes(pod.object(), nodes, config.node_cache_capable);
        let answer = self.post(&config.prioritize_verb, sent).await?;
        let blame = |why: &str| self.blame(&config.prioritize_verb, why);
        let places = places(nodes);
        for (name, score) in wire::priorities(&answer).map_err(|why| blame(&why))? {
            if !(0..=MAX_PRIORITY).contains(&score) {
                let why = format!("score {score} of node {name:?} is not from 0 to {MAX_PRIORITY}");
                return Err(blame(&why));
            }
            let Some(place) = places.get(&name[..]).copied() else {
                return Err(blame(&format!(
                    "it ranks node {name:?}, which it was not asked about"
                )));
            };
            scores[place] = score.saturating_mul(config.weight) * (MAX_SCORE / MAX_PRIORITY);
        }
        Ok(scores)
    }

    /// Asks who may go.
    ///
    /// # Errors
    /// Why that cannot be told.
    pub(crate) async fn preempt(
        &self,
        pod: &PodInfo,
        candidates: &[Candidate],
        cluster: &Cluster,
    ) -> Result<Vec<Candidate>, String> {
        let config = self.config();
        let sent = wire::victims(pod.pod().object(), candidates, config.node_cache_capable);
        let answer = self.post(&config.preempt_verb, sent).await?;
        let blame = |why: &str| self.blame(&config.preempt_verb, why);
        let mut left = Vec::new();
        for (node, (uids, violations)) in wire::spared(&answer).map_err(|why| blame(&why))? {
            let Some(index) = cluster.find(&node) else {
                return Err(blame(&format!("nodeinfo not found for node name {node:?}")));
            };
            let mut victims = Vec::new();
            for uid in uids {
                match cluster.pod(&uid).filter(|record| record.node() == index) {
                    Some(record) => victims.push(record.pod().clone()),
                    None => {
                        return Err(format!(
                            "extender: {} claims to preempt pod (UID: {uid}) on node: {node}, but \
                             the pod is not found on that node",
                            self.name()
                        ));
                    }
                }
            }
            if victims.is_empty() {
                let why = format!("expected at least one victim pod on node {node:?}");
                return Err(blame(&why));
            }
            left.push(Candidate { node, victims, violations });
        }
        Ok(left)
    }

    /// Has a pod bound.
    ///
    /// # Errors
    /// Why it was not.
    pub(crate) async fn bind(&self, pod: &PodInfo, node: &str) -> Result<(), String> {
        let verb = &self.config().bind_verb;
        let answer = self.post(verb, wire::binding(pod.pod(), pod.key(), node)).await?;
        wire::done(&answer).map_err(|why| self.blame(verb, &why))
    }

    async fn post(&self, verb: &str, body: Vec<u8>) -> Result<Vec<u8>, String> {
        let timeout = self.config().timeout();
        match tokio::time::timeout(timeout, self.0.transport.post(verb, body)).await {
            Ok(answer) => answer.map_err(|why| self.blame(verb, &why)),
            Err(_) => Err(self.blame(verb, &format!("no answer within {timeout:?}"))),
        }
    }

    /// Says who is to blame.
    fn blame(&self, verb: &str, why: &str) -> String {
        format!("extender {:?}: {verb}: {why}", self.name())
    }
}

/// The places of nodes by their names.
fn places<'a>(nodes: &[&'a Object]) -> HashMap<&'a str, usize, ahash::RandomState> {
    nodes.iter().enumerate().map(|(place, node)| (node.name(), place)).collect()
}

impl fmt::Debug for Extender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extender({})", self.name())
    }
}
