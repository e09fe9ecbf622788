//! `DeschedulerPolicy`, as files for upstream's descheduler hold it.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use pinnace_api::selector::Selector;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::config::{
    EvictorSettings, INTERVAL, Namespaces, PREFERRED, REQUIRED, Rebalancing, RebalancingProfile,
    RebalancingStrategy, UtilizationSettings,
};
use crate::{Error, GoDuration, Result};

const API_VERSION: &str = "descheduler/v1alpha2";
const KIND: &str = "DeschedulerPolicy";
const EVICTOR: &str = "DefaultEvictor";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Policy {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    /// Upstream takes it from its command line.
    descheduling_interval: Option<GoDuration>,
    node_selector: Option<String>,
    max_no_of_pods_to_evict_per_node: Option<usize>,
    max_no_of_pods_to_evict_per_namespace: Option<usize>,
    max_no_of_pods_to_evict_total: Option<usize>,
    #[serde(default)]
    profiles: Vec<Profile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Profile {
    #[serde(default)]
    name: String,
    #[serde(default)]
    plugin_config: Vec<PluginConfig>,
    #[serde(default)]
    plugins: Plugins,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginConfig {
    name: String,
    #[serde(default)]
    args: Value,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Plugins {
    deschedule: PluginSet,
    balance: PluginSet,
    filter: PluginSet,
    pre_eviction_filter: PluginSet,
    sort: PluginSet,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PluginSet {
    enabled: Vec<String>,
    disabled: Vec<String>,
}

/// Which strategies are at which point.
const DESCHEDULE: [&str; 3] = [
    "RemovePodsViolatingNodeTaints",
    "RemovePodsViolatingNodeAffinity",
    "RemovePodsViolatingInterPodAntiAffinity",
];
const BALANCE: [&str; 3] =
    ["RemoveDuplicates", "RemovePodsViolatingTopologySpreadConstraint", "LowNodeUtilization"];

pub(super) fn read(policy: &Value) -> Result<Rebalancing> {
    let text = |key: &str| policy.get(key).and_then(Value::as_str).unwrap_or_default();
    if (text("apiVersion"), text("kind")) != (API_VERSION, KIND) {
        let (kind, version) = (text("kind"), text("apiVersion"));
        let message = format!("no kind {kind:?} is registered for version {version:?}");
        return Err(Error::Configuration { message });
    }
    let read: Policy = serde_json::from_value(policy.clone()).map_err(|error| {
        Error::Configuration { message: format!("strict decoding error: {error}") }
    })?;
    let mut problems = Vec::new();
    if let Some(selector) = &read.node_selector {
        check_selector("nodeSelector", selector, &mut problems);
    }
    let interval = read.descheduling_interval.map_or(INTERVAL, |interval| interval.0);
    if interval.is_zero() {
        problems.push("deschedulingInterval: Invalid value: 0: must be greater than 0".to_owned());
    }
    let profiles = read.profiles.into_iter().enumerate();
    let profiles = profiles
        .map(|(index, profile)| profile.read(&format!("profiles[{index}]"), &mut problems))
        .collect();
    match &problems[..] {
        [] => Ok(Rebalancing {
            interval,
            node_selector: read.node_selector,
            most_per_node: read.max_no_of_pods_to_evict_per_node,
            most_per_namespace: read.max_no_of_pods_to_evict_per_namespace,
            most_in_all: read.max_no_of_pods_to_evict_total,
            profiles,
        }),
        [one] => Err(Error::Configuration { message: one.clone() }),
        many => Err(Error::Configuration { message: format!("[{}]", many.join(", ")) }),
    }
}

impl Profile {
    fn read(self, path: &str, problems: &mut Vec<String>) -> RebalancingProfile {
        let mut arguments: BTreeMap<String, (String, Value)> = BTreeMap::new();
        for (index, one) in self.plugin_config.into_iter().enumerate() {
            let at = format!("{path}.pluginConfig[{index}]");
            let known = one.name == EVICTOR
                || DESCHEDULE.contains(&&one.name[..])
                || BALANCE.contains(&&one.name[..]);
            if !known {
                problems.push(format!("{at}.name: Not found: {:?}", one.name));
            }
            let name = one.name.clone();
            if arguments.insert(name, (format!("{at}.args"), one.args)).is_some() {
                problems.push(format!("{at}.name: Duplicate value: {:?}", one.name));
            }
        }
        let Plugins { deschedule, balance, filter, pre_eviction_filter, sort } = self.plugins;
        let evictor = arguments.remove(EVICTOR);
        let evictor: EvictorSettings = settings(evictor.as_ref(), problems);
        check_evictor(&evictor, path, problems);
        for (point, set) in
            [("filter", filter), ("preEvictionFilter", pre_eviction_filter), ("sort", sort)]
        {
            let names = set.enabled.iter().chain(&set.disabled);
            for name in names.filter(|name| *name != EVICTOR) {
                problems.push(format!("{path}.plugins.{point}: Not found: {name:?}"));
            }
        }
        let mut strategies = Vec::new();
        for (point, set, known) in
            [("deschedule", deschedule, DESCHEDULE), ("balance", balance, BALANCE)]
        {
            for name in set.enabled.iter().filter(|name| !set.disabled.contains(name)) {
                if !known.contains(&&name[..]) {
                    problems.push(format!("{path}.plugins.{point}.enabled: Not found: {name:?}"));
                    continue;
                }
                strategies.push(strategy(name, arguments.get(name), problems));
            }
        }
        RebalancingProfile { name: self.name, evictor, strategies }
    }
}

fn settings<T: DeserializeOwned + Default>(
    arguments: Option<&(String, Value)>,
    problems: &mut Vec<String>,
) -> T {
    let Some((path, arguments)) = arguments.filter(|(_, arguments)| !arguments.is_null()) else {
        return T::default();
    };
    serde_json::from_value(arguments.clone()).unwrap_or_else(|error| {
        problems.push(format!("strict decoding error: {path}: {error}"));
        T::default()
    })
}

fn strategy(
    name: &str,
    arguments: Option<&(String, Value)>,
    problems: &mut Vec<String>,
) -> RebalancingStrategy {
    let path = arguments.map_or(name, |(path, _)| path);
    match name {
        "RemoveDuplicates" => {
            let read: super::DuplicateSettings = settings(arguments, problems);
            check_namespaces(&read.namespaces, path, problems);
            RebalancingStrategy::RemoveDuplicates(read)
        }
        "RemovePodsViolatingNodeAffinity" => {
            let read: super::NodeAffinitySettings = settings(arguments, problems);
            check_pods(&read.namespaces, read.label_selector.as_ref(), path, problems);
            for one in &read.node_affinity_type {
                if one != REQUIRED && one != PREFERRED {
                    problems.push(format!(
                        "{path}.nodeAffinityType: Unsupported value: {one:?}: supported values: \
                         {REQUIRED:?}, {PREFERRED:?}"
                    ));
                }
            }
            RebalancingStrategy::ViolatingNodeAffinity(read)
        }
        "RemovePodsViolatingNodeTaints" => {
            let read: super::NodeTaintSettings = settings(arguments, problems);
            check_pods(&read.namespaces, read.label_selector.as_ref(), path, problems);
            if !read.included_taints.is_empty() && !read.excluded_taints.is_empty() {
                problems.push(format!(
                    "{path}: either includedTaints or excludedTaints can be set, but not both"
                ));
            }
            RebalancingStrategy::ViolatingNodeTaints(read)
        }
        "RemovePodsViolatingInterPodAntiAffinity" => {
            let read: super::AntiAffinitySettings = settings(arguments, problems);
            check_pods(&read.namespaces, read.label_selector.as_ref(), path, problems);
            RebalancingStrategy::ViolatingInterPodAntiAffinity(read)
        }
        "RemovePodsViolatingTopologySpreadConstraint" => {
            let read: super::SpreadSettings = settings(arguments, problems);
            check_pods(&read.namespaces, read.label_selector.as_ref(), path, problems);
            for one in &read.constraints {
                if one != "DoNotSchedule" && one != "ScheduleAnyway" {
                    problems.push(format!(
                        "{path}.constraints: Unsupported value: {one:?}: supported values: \
                         \"DoNotSchedule\", \"ScheduleAnyway\""
                    ));
                }
            }
            RebalancingStrategy::ViolatingTopologySpread(read)
        }
        _ => {
            let mut read: UtilizationSettings = match arguments {
                Some(_) => settings(arguments, problems),
                None => UtilizationSettings::default(),
            };
            complete(&mut read, arguments.map(|(_, arguments)| arguments), path, problems);
            RebalancingStrategy::LowNodeUtilization(read)
        }
    }
}

/// Resources that a policy does not name do not count: they are never too full, and never keep a node
/// from being empty.
fn complete(
    read: &mut UtilizationSettings,
    arguments: Option<&Value>,
    path: &str,
    problems: &mut Vec<String>,
) {
    let given = |field: &str| arguments.and_then(|arguments| arguments.get(field)).is_some();
    if given("thresholds") != given("targetThresholds") {
        problems.push(format!("{path}: thresholds and targetThresholds have to be given together"));
        return;
    }
    let names = |map: &BTreeMap<String, f64>| map.keys().cloned().collect::<Vec<_>>();
    if names(&read.thresholds) != names(&read.target_thresholds) {
        problems.push(format!(
            "{path}: thresholds and targetThresholds configured different resources"
        ));
    }
    for (field, map) in
        [("thresholds", &read.thresholds), ("targetThresholds", &read.target_thresholds)]
    {
        if map.is_empty() {
            problems.push(format!("{path}.{field}: no resource threshold is configured"));
        }
        for (name, percent) in map.iter().filter(|(_, one)| !(0.0..=100.0).contains(*one)) {
            problems.push(format!(
                "{path}.{field}[{name}]: Invalid value: {percent}: threshold not in [0, 100] range"
            ));
        }
    }
    for (name, percent) in &read.thresholds {
        let target = read.target_thresholds.get(name);
        if !read.use_deviation_thresholds && target.is_some_and(|target| percent > target) {
            problems.push(format!(
                "{path}: thresholds' {name} percentage is greater than targetThresholds'"
            ));
        }
    }
    check_namespaces(&read.evictable_namespaces, path, problems);
    if !read.evictable_namespaces.include.is_empty() {
        problems.push(format!(
            "{path}.evictableNamespaces: only Exclude namespaces can be set, inclusion is not \
             supported"
        ));
    }
}

fn check_evictor(evictor: &EvictorSettings, path: &str, problems: &mut Vec<String>) {
    let path = format!("{path}.{EVICTOR}");
    check_selector(&format!("{path}.nodeSelector"), &evictor.node_selector, problems);
    check_label_selector(&path, evictor.label_selector.as_ref(), problems);
    let threshold = evictor.priority_threshold.as_ref();
    if threshold.is_some_and(|one| one.value.is_some() && !one.name.is_empty()) {
        problems.push(format!(
            "{path}.priorityThreshold: priority threshold misconfigured, only one of \
             priorityThreshold fields can be set"
        ));
    }
}

fn check_pods(
    namespaces: &Namespaces,
    selector: Option<&LabelSelector>,
    path: &str,
    problems: &mut Vec<String>,
) {
    check_namespaces(namespaces, path, problems);
    check_label_selector(path, selector, problems);
}

fn check_namespaces(namespaces: &Namespaces, path: &str, problems: &mut Vec<String>) {
    if !namespaces.include.is_empty() && !namespaces.exclude.is_empty() {
        problems
            .push(format!("{path}.namespaces: only one of Include/Exclude namespaces can be set"));
    }
}

fn check_label_selector(path: &str, selector: Option<&LabelSelector>, problems: &mut Vec<String>) {
    if let Some(Err(error)) = selector.map(Selector::from_label_selector) {
        problems.push(format!("{path}.labelSelector: Invalid value: {error}"));
    }
}

fn check_selector(path: &str, text: &str, problems: &mut Vec<String>) {
    if let Err(error) = Selector::parse(text) {
        problems.push(format!("{path}: Invalid value: {text:?}: {error}"));
    }
}
