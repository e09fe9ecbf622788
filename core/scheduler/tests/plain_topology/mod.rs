//! Spreading and affinity written down plainly.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, Pod};
use pinnace_env::Random;
use proptest::prelude::*;
use serde_json::{Value, json};

pub(crate) const NAMESPACES: [&str; 2] = ["east", "west"];
const APPS: [&str; 2] = ["web", "db"];
const TEAMS: [&str; 2] = ["red", "blue"];
const HOST: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";
const KEYS: [&str; 2] = [HOST, ZONE];
const ZONES: [&str; 3] = ["a", "b", "c"];

/// A node by what matters.
#[derive(Clone, Debug)]
pub(crate) struct PlainNode {
    zone: Option<&'static str>,
    host: bool,
    fast: bool,
    tainted: bool,
}

#[derive(Clone, Debug)]
struct Constraint {
    key: &'static str,
    skew: i64,
    hard: bool,
    app: &'static str,
    by_version: bool,
    min_domains: Option<usize>,
    honors: (Option<bool>, Option<bool>),
}

#[derive(Clone, Debug)]
struct Term {
    key: &'static str,
    app: &'static str,
    /// The namespaces of this team rather than the pod's own.
    team: Option<&'static str>,
    by_version: bool,
}

/// A pod by what matters.
#[derive(Clone, Debug)]
pub(crate) struct PlainPod {
    namespace: &'static str,
    app: &'static str,
    version: u8,
    fast: bool,
    constraints: Vec<Constraint>,
    near: Vec<Term>,
    far: Vec<Term>,
    liked: Vec<(i64, Term)>,
}

pub(crate) fn app() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&APPS[..])
}

pub(crate) fn team() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&TEAMS[..])
}

pub(crate) fn node() -> impl Strategy<Value = PlainNode> {
    (
        prop::option::weighted(0.8, prop::sample::select(&ZONES[..])),
        prop::bool::weighted(0.9),
        any::<bool>(),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(zone, host, fast, tainted)| PlainNode { zone, host, fast, tainted })
}

fn constraint() -> impl Strategy<Value = Constraint> {
    (
        prop::sample::select(&KEYS[..]),
        1..4i64,
        any::<bool>(),
        app(),
        any::<bool>(),
        prop::option::weighted(0.3, 1..5usize),
        (prop::option::of(any::<bool>()), prop::option::of(any::<bool>())),
    )
        .prop_map(|(key, skew, hard, app, by_version, min_domains, honors)| Constraint {
            key,
            skew,
            hard,
            app,
            by_version,
            min_domains: min_domains.filter(|_| hard),
            honors,
        })
}

fn term() -> impl Strategy<Value = Term> {
    (prop::sample::select(&KEYS[..]), app(), prop::option::weighted(0.3, team()), any::<bool>())
        .prop_map(|(key, app, team, by_version)| Term { key, app, team, by_version })
}

pub(crate) fn pod() -> impl Strategy<Value = PlainPod> {
    (
        prop::sample::select(&NAMESPACES[..]),
        app(),
        0..2u8,
        prop::bool::weighted(0.3),
        prop_oneof![1 => Just(vec![]), 1 => prop::collection::vec(constraint(), 1..4)],
        prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(term(), 1..3)],
        prop_oneof![3 => Just(vec![]), 1 => prop::collection::vec(term(), 1..3)],
        prop_oneof![2 => Just(vec![]), 1 => prop::collection::vec((-100..=100i64, term()), 1..4)],
    )
        .prop_map(|(namespace, app, version, fast, constraints, near, far, liked)| PlainPod {
            namespace,
            app,
            version,
            fast,
            constraints,
            near,
            far,
            liked: liked.into_iter().filter(|(weight, _)| *weight != 0).collect(),
        })
}

impl PlainNode {
    fn labels(&self, name: &str) -> BTreeMap<&'static str, String> {
        let host = self.host.then(|| (HOST, name.to_owned()));
        let zone = self.zone.map(|zone| (ZONE, zone.to_owned()));
        let fast = self.fast.then(|| ("disk", "fast".to_owned()));
        host.into_iter().chain(zone).chain(fast).collect()
    }

    pub(crate) fn object(&self, name: &str) -> Node {
        let taint = json!([{"key": "k", "effect": "NoSchedule"}]);
        let taints = if self.tainted { taint } else { json!([]) };
        read(json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": self.labels(name)},
            "spec": {"taints": taints},
        }))
    }
}

impl Term {
    fn json(&self) -> Value {
        let mut term = json!({
            "topologyKey": self.key,
            "labelSelector": {"matchLabels": {"app": self.app}},
        });
        if let Some(team) = self.team {
            term["namespaceSelector"] = json!({"matchLabels": {"team": team}});
        }
        if self.by_version {
            term["matchLabelKeys"] = json!(["version"]);
        }
        term
    }
}

impl PlainPod {
    pub(crate) fn object(&self, name: &str) -> Pod {
        let policy = |honor: Option<bool>| honor.map(|yes| if yes { "Honor" } else { "Ignore" });
        let constraints: Vec<Value> = self
            .constraints
            .iter()
            .map(|one| {
                json!({
                    "topologyKey": one.key,
                    "maxSkew": one.skew,
                    "whenUnsatisfiable": if one.hard { "DoNotSchedule" } else { "ScheduleAnyway" },
                    "labelSelector": {"matchLabels": {"app": one.app}},
                    "matchLabelKeys": if one.by_version { json!(["version"]) } else { json!([]) },
                    "minDomains": one.min_domains,
                    "nodeAffinityPolicy": policy(one.honors.0),
                    "nodeTaintsPolicy": policy(one.honors.1),
                })
            })
            .collect();
        let terms = |terms: &[Term]| terms.iter().map(Term::json).collect::<Vec<_>>();
        let liked = |near: bool| {
            let some = self.liked.iter().filter(|(weight, _)| (*weight > 0) == near);
            some.map(
                |(weight, term)| json!({"weight": weight.abs(), "podAffinityTerm": term.json()}),
            )
            .collect::<Vec<_>>()
        };
        let selector = if self.fast { json!({"disk": "fast"}) } else { json!({}) };
        read(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace, "uid": name,
                         "labels": {"app": self.app, "version": self.version.to_string()}},
            "spec": {
                "containers": [],
                "nodeSelector": selector,
                "topologySpreadConstraints": constraints,
                "affinity": {
                    "podAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": terms(&self.near),
                        "preferredDuringSchedulingIgnoredDuringExecution": liked(true),
                    },
                    "podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": terms(&self.far),
                        "preferredDuringSchedulingIgnoredDuringExecution": liked(false),
                    },
                },
            },
        }))
    }
}

fn read<K: pinnace_api::Kind>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// A pod on a node.
pub(crate) struct Placed {
    pub(crate) uid: String,
    pub(crate) going: bool,
    node: String,
    pod: PlainPod,
}

impl Placed {
    pub(crate) fn object(&self) -> Pod {
        let mut pod = self.pod.object(&self.uid);
        pod.spec.as_mut().unwrap().node_name = Some(self.node.clone());
        if self.going {
            let time = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
            pod.metadata.deletion_timestamp = Some(time);
        }
        pod
    }
}

#[derive(Default)]
pub(crate) struct Plain {
    pub(crate) nodes: BTreeMap<String, PlainNode>,
    pub(crate) pods: Vec<Placed>,
    pub(crate) teams: BTreeMap<&'static str, &'static str>,
    pub(crate) services: BTreeMap<&'static str, &'static str>,
}

/// What a constraint comes to: the key, the skew, and which pods it counts.
struct Ready {
    key: &'static str,
    skew: i64,
    app: &'static str,
    version: Option<u8>,
    min_domains: usize,
    honors: (bool, bool),
}

impl Plain {
    pub(crate) fn place(&mut self, uid: &str, node: &str, pod: &PlainPod) {
        let (uid, node) = (uid.to_owned(), node.to_owned());
        self.pods.push(Placed { uid, going: false, node, pod: pod.clone() });
    }

    pub(crate) fn decide(
        &self,
        pod: &PlainPod,
        order: impl Fn(&str) -> Option<usize>,
        draws: &Random,
    ) -> Result<String, String> {
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        let mut fitting: Vec<&str> = Vec::new();
        for name in self.nodes.keys() {
            match self.why_not(pod, name) {
                None => fitting.push(name),
                Some(reason) => *reasons.entry(reason).or_default() += 1,
            }
        }
        if fitting.is_empty() {
            let mut reasons: Vec<String> =
                reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            reasons.sort();
            let count = self.nodes.len();
            return Err(format!("0/{count} nodes are available: {}.", reasons.join(", ")));
        }
        fitting.sort_by_key(|name| order(name));
        let spread = self.spread_scores(pod, &fitting);
        let affinity = self.affinity_scores(pod, &fitting);
        let scores: Vec<i64> = spread.iter().zip(&affinity).map(|(a, b)| 2 * a + 2 * b).collect();
        let best = *scores.iter().max().unwrap();
        let tied: Vec<_> =
            fitting.iter().zip(&scores).filter(|(_, score)| **score == best).collect();
        let which = if tied.len() < 2 { 0 } else { draws.below(tied.len() as u64) };
        Ok(tied[which as usize].0.to_string())
    }

    fn label(&self, node: &str, key: &str) -> Option<String> {
        self.nodes.get(node)?.labels(node).get(key).cloned()
    }

    fn allowed(&self, pod: &PlainPod, node: &str) -> bool {
        !pod.fast || self.nodes[node].fast
    }

    fn ready(&self, pod: &PlainPod, hard: bool) -> Vec<Ready> {
        if pod.constraints.is_empty() && !hard {
            let Some(app) = self.services.get(pod.namespace).filter(|app| **app == pod.app) else {
                return Vec::new();
            };
            let soft = |key, skew| Ready {
                key,
                skew,
                app,
                version: None,
                min_domains: 1,
                honors: (true, false),
            };
            return vec![soft(HOST, 3), soft(ZONE, 5)];
        }
        let some = pod.constraints.iter().filter(|one| one.hard == hard);
        some.map(|one| Ready {
            key: one.key,
            skew: one.skew,
            app: one.app,
            version: one.by_version.then_some(pod.version),
            min_domains: one.min_domains.unwrap_or(1),
            honors: (one.honors.0.unwrap_or(true), one.honors.1.unwrap_or(false)),
        })
        .collect()
    }

    fn matching(&self, pod: &PlainPod, one: &Ready, node: &str) -> i64 {
        let counted = self.pods.iter().filter(|placed| {
            let other = &placed.pod;
            placed.node == node
                && !placed.going
                && other.namespace == pod.namespace
                && other.app == one.app
                && one.version.is_none_or(|version| version == other.version)
        });
        counted.count() as i64
    }

    fn included(&self, pod: &PlainPod, one: &Ready, node: &str) -> bool {
        (!one.honors.0 || self.allowed(pod, node)) && (!one.honors.1 || !self.nodes[node].tainted)
    }

    fn why_not(&self, pod: &PlainPod, name: &str) -> Option<&'static str> {
        if !self.allowed(pod, name) {
            return Some("node(s) didn't match Pod's node affinity/selector");
        }
        let constraints = self.ready(pod, true);
        for one in &constraints {
            let Some(value) = self.label(name, one.key) else {
                return Some(
                    "node(s) didn't match pod topology spread constraints (missing required label)",
                );
            };
            let mut counts: BTreeMap<String, i64> = BTreeMap::new();
            for node in self.nodes.keys() {
                let complete = constraints.iter().all(|one| self.label(node, one.key).is_some());
                if complete && self.included(pod, one, node) {
                    let value = self.label(node, one.key).unwrap();
                    *counts.entry(value).or_default() += self.matching(pod, one, node);
                }
            }
            let least = counts.values().min().copied().unwrap_or(0);
            let least = if counts.len() < one.min_domains { 0 } else { least };
            let own = one.app == pod.app && one.version.is_none_or(|one| one == pod.version);
            if counts.get(&value).copied().unwrap_or(0) + i64::from(own) - least > one.skew {
                return Some("node(s) didn't match pod topology spread constraints");
            }
        }
        self.why_not_near(pod, name)
    }

    /// Whether a term of `from` speaks of `to`.
    fn speaks(&self, from: &PlainPod, term: &Term, to: &PlainPod) -> bool {
        let here = match term.team {
            None => from.namespace == to.namespace,
            Some(team) => self.teams.get(to.namespace) == Some(&team),
        };
        here && term.app == to.app && (!term.by_version || from.version == to.version)
    }

    fn together(&self, key: &str, a: &str, b: &str) -> bool {
        self.label(a, key).is_some() && self.label(a, key) == self.label(b, key)
    }

    fn why_not_near(&self, pod: &PlainPod, name: &str) -> Option<&'static str> {
        let all = |other: &PlainPod| pod.near.iter().all(|term| self.speaks(pod, term, other));
        let matched: Vec<&Placed> = self.pods.iter().filter(|placed| all(&placed.pod)).collect();
        let anywhere = matched
            .iter()
            .any(|placed| pod.near.iter().any(|term| self.label(&placed.node, term.key).is_some()));
        for term in &pod.near {
            let some = matched.iter().any(|placed| self.together(term.key, name, &placed.node));
            let first = !anywhere && all(pod);
            if self.label(name, term.key).is_none() || !some && !first {
                return Some("node(s) didn't match pod affinity rules");
            }
        }
        let against = |from: &PlainPod, to: &PlainPod, other: &str| {
            let mut terms = from.far.iter();
            terms.any(|term| self.speaks(from, term, to) && self.together(term.key, name, other))
        };
        if self.pods.iter().any(|placed| against(pod, &placed.pod, &placed.node)) {
            return Some("node(s) didn't match pod anti-affinity rules");
        }
        let existing = self.pods.iter().any(|placed| against(&placed.pod, pod, &placed.node));
        existing.then_some("node(s) didn't satisfy existing pods anti-affinity rules")
    }

    fn spread_scores(&self, pod: &PlainPod, fitting: &[&str]) -> Vec<i64> {
        let constraints = self.ready(pod, false);
        if constraints.is_empty() {
            return vec![0; fitting.len()];
        }
        let strict = !pod.constraints.is_empty();
        let complete = |node: &str| {
            !strict || constraints.iter().all(|one| self.label(node, one.key).is_some())
        };
        let ranked: Vec<&str> = fitting.iter().copied().filter(|node| complete(node)).collect();
        let score = |node: &str| {
            let mut sum = 0.0;
            for one in &constraints {
                let Some(value) = self.label(node, one.key) else { continue };
                let groups: BTreeSet<_> =
                    ranked.iter().map(|node| self.label(node, one.key)).collect();
                let size = if one.key == HOST { ranked.len() } else { groups.len() };
                let count: i64 = match one.key {
                    HOST => self.matching(pod, one, node),
                    _ => {
                        let nodes = self.nodes.keys().filter(|other| {
                            complete(other)
                                && self.included(pod, one, other)
                                && self.label(other, one.key).as_ref() == Some(&value)
                        });
                        nodes.map(|other| self.matching(pod, one, other)).sum()
                    }
                };
                sum += count as f64 * ((size + 2) as f64).ln() + (one.skew - 1) as f64;
            }
            f64::round(sum) as i64
        };
        let raw: Vec<i64> = ranked.iter().map(|node| score(node)).collect();
        let least = raw.iter().min().copied().unwrap_or(0);
        let most = raw.iter().max().copied().unwrap_or(0);
        let normal = |node: &&str| match most {
            _ if !complete(node) => 0,
            0 => 100,
            most => 100 * (most + least - score(node)) / most,
        };
        fitting.iter().map(normal).collect()
    }

    fn affinity_scores(&self, pod: &PlainPod, fitting: &[&str]) -> Vec<i64> {
        let score = |node: &&str| {
            let mut sum = 0;
            for placed in &self.pods {
                let other = &placed.pod;
                let mut add = |weight: i64, from: &PlainPod, term: &Term, to: &PlainPod| {
                    if self.speaks(from, term, to) && self.together(term.key, node, &placed.node) {
                        sum += weight;
                    }
                };
                pod.liked.iter().for_each(|(weight, term)| add(*weight, pod, term, other));
                other.liked.iter().for_each(|(weight, term)| add(*weight, other, term, pod));
                other.near.iter().for_each(|term| add(1, other, term, pod));
            }
            sum
        };
        let raw: Vec<i64> = fitting.iter().map(score).collect();
        let (least, most) = (*raw.iter().min().unwrap(), *raw.iter().max().unwrap());
        let span = (most - least) as f64;
        let normal = |score: &i64| match most > least {
            true => (100.0 * ((score - least) as f64 / span)) as i64,
            false => 0,
        };
        raw.iter().map(normal).collect()
    }
}
