//! The scheduler written down plainly.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod};
use pinnace_env::Random;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A node by what matters.
#[derive(Clone, Debug)]
pub(crate) struct PlainNode {
    cpu: i64,
    memory: i64,
    gpus: i64,
    pods: i64,
    disk: Option<&'static str>,
    taints: Vec<(&'static str, &'static str)>,
    unschedulable: bool,
}

/// A pod by what matters.
#[derive(Clone, Debug)]
pub(crate) struct PlainPod {
    cpu: Option<i64>,
    memory: Option<i64>,
    gpus: i64,
    port: Option<i32>,
    disk: Option<&'static str>,
    node: Option<usize>,
    prefers: Vec<(i64, &'static str)>,
    tolerates: Vec<&'static str>,
}

const DISKS: [&str; 2] = ["ssd", "hdd"];
const KEYS: [&str; 2] = ["a", "b"];
const EFFECTS: [&str; 3] = ["NoSchedule", "NoExecute", "PreferNoSchedule"];

pub(crate) fn node() -> impl Strategy<Value = PlainNode> {
    let taint = (prop::sample::select(&KEYS[..]), prop::sample::select(&EFFECTS[..]));
    (
        (0..6i64).prop_map(|cores| cores * 1000),
        (0..6i64).prop_map(|gigabytes| gigabytes << 30),
        0..3i64,
        0..8i64,
        prop::option::of(prop::sample::select(&DISKS[..])),
        prop::collection::vec(taint, 0..3),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(cpu, memory, gpus, pods, disk, taints, unschedulable)| PlainNode {
            cpu,
            memory,
            gpus,
            pods,
            disk,
            taints,
            unschedulable,
        })
}

pub(crate) fn pod() -> impl Strategy<Value = PlainPod> {
    let disk = || prop::sample::select(&DISKS[..]);
    (
        prop::option::of((0..25i64).prop_map(|tenths| tenths * 100)),
        prop::option::of((0..20i64).prop_map(|parts| parts << 27)),
        prop_oneof![3 => Just(0), 1 => 0..3i64],
        prop::option::weighted(0.2, 80..82i32),
        prop::option::weighted(0.3, disk()),
        prop::option::weighted(0.1, 0..9usize),
        prop::collection::vec((1..100i64, disk()), 0..3),
        prop::collection::vec(prop::sample::select(&KEYS[..]), 0..3),
    )
        .prop_map(|(cpu, memory, gpus, port, disk, node, prefers, tolerates)| PlainPod {
            cpu,
            memory,
            gpus,
            port,
            disk,
            node,
            prefers,
            tolerates,
        })
}

impl PlainNode {
    pub(crate) fn object(&self, name: &str) -> Node {
        let taints: Vec<Value> =
            self.taints.iter().map(|(key, effect)| json!({"key": key, "effect": effect})).collect();
        let labels: BTreeMap<_, _> = self.disk.iter().map(|disk| ("disk", *disk)).collect();
        read(json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": taints, "unschedulable": self.unschedulable},
            "status": {"allocatable": {
                "cpu": format!("{}m", self.cpu),
                "memory": self.memory.to_string(),
                "example.com/gpu": self.gpus.to_string(),
                "pods": self.pods.to_string(),
            }},
        }))
    }
}

impl PlainPod {
    pub(crate) fn object(&self, name: &str) -> Pod {
        let mut requests = serde_json::Map::new();
        if let Some(cpu) = self.cpu {
            requests.insert("cpu".into(), format!("{cpu}m").into());
        }
        if let Some(memory) = self.memory {
            requests.insert("memory".into(), memory.to_string().into());
        }
        if self.gpus > 0 {
            requests.insert("example.com/gpu".into(), self.gpus.to_string().into());
        }
        let ports: Vec<Value> =
            self.port.iter().map(|port| json!({"containerPort": 1, "hostPort": port})).collect();
        let tolerations: Vec<Value> =
            self.tolerates.iter().map(|key| json!({"key": key, "operator": "Exists"})).collect();
        let prefers = self.prefers.iter().map(|(weight, disk)| {
            json!({"weight": weight, "preference": {"matchExpressions": [
                {"key": "disk", "operator": "In", "values": [disk]}]}})
        });
        let mut affinity = json!({
            "preferredDuringSchedulingIgnoredDuringExecution": prefers.collect::<Vec<_>>(),
        });
        if let Some(node) = self.node {
            affinity["requiredDuringSchedulingIgnoredDuringExecution"] = json!({
                "nodeSelectorTerms": [{"matchFields": [
                    {"key": "metadata.name", "operator": "In", "values": [format!("node-{node}")]},
                ]}],
            });
        }
        let selector: BTreeMap<_, _> = self.disk.iter().map(|disk| ("disk", *disk)).collect();
        read(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "uid": name},
            "spec": {
                "containers": [{"name": "c", "resources": {"requests": requests}, "ports": ports}],
                "nodeSelector": selector,
                "tolerations": tolerations,
                "affinity": {"nodeAffinity": affinity},
            },
        }))
    }
}

fn read<K: pinnace_api::Kind>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

/// Nodes by name, and pods with their uid and node.
#[derive(Default)]
pub(crate) struct PlainCluster {
    pub(crate) nodes: BTreeMap<String, PlainNode>,
    pub(crate) pods: Vec<(String, String, PlainPod)>,
}

impl PlainCluster {
    /// The node for a pod, or the message why there is none.
    pub(crate) fn decide(
        &self,
        pod: &PlainPod,
        order: impl Fn(&str) -> Option<usize>,
        draws: &Random,
    ) -> Result<String, String> {
        let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
        let mut fitting: Vec<&str> = Vec::new();
        for (name, node) in &self.nodes {
            let why = match pod.node {
                Some(wanted) if *name != format!("node-{wanted}") => {
                    vec!["node(s) didn't satisfy plugin(s) [NodeAffinity]".to_owned()]
                }
                _ => self.why_not(pod, name, node),
            };
            if why.is_empty() {
                fitting.push(name);
            }
            why.into_iter().for_each(|reason| *reasons.entry(reason).or_default() += 1);
        }
        if fitting.is_empty() {
            let mut reasons: Vec<String> =
                reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            reasons.sort();
            let count = self.nodes.len();
            return Err(format!("0/{count} nodes are available: {}.", reasons.join(", ")));
        }
        fitting.sort_by_key(|name| order(name));
        let scores = self.scores(pod, &fitting);
        let best = scores.iter().max().unwrap();
        let tied: Vec<_> =
            fitting.iter().zip(&scores).filter(|(_, score)| *score == best).collect();
        let which = if tied.len() < 2 { 0 } else { draws.below(tied.len() as u64) };
        Ok(tied[which as usize].0.to_string())
    }

    fn on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a PlainPod> {
        self.pods.iter().filter(move |(_, on, _)| on == node).map(|(_, _, pod)| pod)
    }

    fn why_not(&self, pod: &PlainPod, name: &str, node: &PlainNode) -> Vec<String> {
        let hard = |(key, effect): &&(&str, &str)| {
            *effect != "PreferNoSchedule" && !pod.tolerates.contains(key)
        };
        if node.unschedulable {
            return vec!["node(s) were unschedulable".into()];
        }
        if node.taints.iter().find(hard).is_some() {
            return vec!["node(s) had untolerated taint(s)".into()];
        }
        if pod.disk.is_some() && pod.disk != node.disk {
            return vec!["node(s) didn't match Pod's node affinity/selector".into()];
        }
        if pod.port.is_some() && self.on(name).any(|other| other.port == pod.port) {
            return vec!["node(s) didn't have free ports for the requested pod ports".into()];
        }
        let mut short = Vec::new();
        if self.on(name).count() as i64 + 1 > node.pods {
            short.push("Too many pods".to_owned());
        }
        let mut check = |what: &str, asked: i64, has: i64, used: i64| {
            if asked > 0 && asked > has - used {
                short.push(format!("Insufficient {what}"));
            }
        };
        let used = |of: fn(&PlainPod) -> i64| self.on(name).map(of).sum();
        check("cpu", pod.cpu.unwrap_or(0), node.cpu, used(|pod| pod.cpu.unwrap_or(0)));
        check("memory", pod.memory.unwrap_or(0), node.memory, used(|pod| pod.memory.unwrap_or(0)));
        check("example.com/gpu", pod.gpus, node.gpus, used(|pod| pod.gpus));
        short
    }

    fn scores(&self, pod: &PlainPod, fitting: &[&str]) -> Vec<i64> {
        let node = |name: &&str| &self.nodes[*name];
        let soft = |name: &&str| {
            let taints = node(name).taints.iter();
            taints
                .filter(|(key, effect)| {
                    *effect == "PreferNoSchedule" && !pod.tolerates.contains(key)
                })
                .count() as i64
        };
        let liked = |name: &&str| {
            let prefers = pod.prefers.iter().filter(|(_, disk)| Some(*disk) == node(name).disk);
            prefers.map(|(weight, _)| weight).sum::<i64>()
        };
        let most_soft = fitting.iter().map(soft).max().unwrap_or(0);
        let most_liked = fitting.iter().map(liked).max().unwrap_or(0);
        let part = |score: i64, most: i64| if most == 0 { 0 } else { 100 * score / most };
        fitting
            .iter()
            .map(|name| {
                3 * (100 - part(soft(name), most_soft))
                    + 2 * part(liked(name), most_liked)
                    + self.least_allocated(pod, name)
                    + self.balanced(pod, name)
            })
            .collect()
    }

    fn least_allocated(&self, pod: &PlainPod, name: &str) -> i64 {
        let node = &self.nodes[name];
        let cpu = |pod: &PlainPod| pod.cpu.unwrap_or(100);
        let memory = |pod: &PlainPod| pod.memory.unwrap_or(200 << 20);
        let free = |asked: i64, has: i64| match has {
            0 => None,
            has if asked > has => Some(0),
            has => Some((has - asked) * 100 / has),
        };
        let parts: Vec<i64> = [
            free(self.on(name).map(cpu).sum::<i64>() + cpu(pod), node.cpu),
            free(self.on(name).map(memory).sum::<i64>() + memory(pod), node.memory),
        ]
        .into_iter()
        .flatten()
        .collect();
        if parts.is_empty() { 0 } else { parts.iter().sum::<i64>() / parts.len() as i64 }
    }

    fn balanced(&self, pod: &PlainPod, name: &str) -> i64 {
        let node = &self.nodes[name];
        let (cpu, memory) = (pod.cpu.unwrap_or(0), pod.memory.unwrap_or(0));
        if cpu == 0 && memory == 0 {
            return 0;
        }
        let used_cpu: i64 = self.on(name).filter_map(|pod| pod.cpu).sum();
        let used_memory: i64 = self.on(name).filter_map(|pod| pod.memory).sum();
        let balance = |cpu: i64, memory: i64| {
            let part = |used: i64, has: i64| (used as f64 / has as f64).min(1.0);
            let deviation = match (node.cpu, node.memory) {
                (0, _) | (_, 0) => 0.0,
                (cores, bytes) => ((part(cpu, cores) - part(memory, bytes)) / 2.0).abs(),
            };
            ((1.0 - deviation) * 100.0) as i64
        };
        let after = balance(used_cpu + cpu, used_memory + memory);
        50 + (50 + after - balance(used_cpu, used_memory)) / 2
    }
}
