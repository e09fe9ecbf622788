//! The arguments of plugins, as `pluginConfig` of a `KubeSchedulerConfiguration` holds them.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::{Affinity, PodSpec, TopologySpreadConstraint};
use pinnace_api::selector::NodeTerm;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::node_resources::{MAX_SHAPE_SCORE, ScoringStrategy, StrategyKind, UtilizationPoint};
use super::{
    InterPodAffinity, MAX_HARD_POD_AFFINITY_WEIGHT, NodeAffinity, NodeResourcesBalancedAllocation,
    NodeResourcesFit, PodTopologySpread,
};

/// All that is wrong with arguments, in upstream's words.
type Checked<T> = Result<T, Vec<String>>;

/// Checks the arguments of a built-in plugin. Those of others are their own concern.
pub(crate) fn check(plugin: &str, arguments: &Value, path: &str) -> Checked<()> {
    match plugin {
        NodeResourcesFit::NAME => fit(arguments, path).map(|_| ()),
        NodeResourcesBalancedAllocation::NAME => balanced(arguments, path).map(|_| ()),
        NodeAffinity::NAME => node_affinity(arguments, path).map(|_| ()),
        InterPodAffinity::NAME => affinity(arguments, path).map(|_| ()),
        PodTopologySpread::NAME => spread(arguments, path).map(|_| ()),
        "DefaultPreemption" => preemption(arguments, path),
        _ => Ok(()),
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct FitArguments {
    api_version: Option<String>,
    kind: Option<String>,
    ignored_resources: Vec<String>,
    ignored_resource_groups: Vec<String>,
    scoring_strategy: Option<StrategyArguments>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StrategyArguments {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    resources: Vec<ResourceArguments>,
    requested_to_capacity_ratio: Option<RatioArguments>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResourceArguments {
    name: String,
    weight: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RatioArguments {
    #[serde(default)]
    shape: Vec<UtilizationPoint>,
}

/// `NodeResourcesFitArgs`.
pub(crate) fn fit(arguments: &Value, path: &str) -> Checked<NodeResourcesFit> {
    let read: FitArguments = read(arguments, path, "NodeResourcesFitArgs")?;
    let mut problems = Vec::new();
    for (index, group) in read.ignored_resource_groups.iter().enumerate() {
        if group.contains('/') {
            problems.push(format!(
                "{path}.ignoredResourceGroups[{index}]: Invalid value: {group:?}: resource group \
                 name can't contain '/'"
            ));
        }
    }
    let strategy = read
        .scoring_strategy
        .map(|one| one.strategy(&format!("{path}.scoringStrategy"), &mut problems));
    done(problems)?;
    Ok(NodeResourcesFit::new(
        strategy.unwrap_or_default(),
        read.ignored_resources,
        read.ignored_resource_groups,
    ))
}

impl StrategyArguments {
    fn strategy(self, path: &str, problems: &mut Vec<String>) -> ScoringStrategy {
        let shaped = self.requested_to_capacity_ratio.is_some();
        let kind = match &self.kind[..] {
            "LeastAllocated" => StrategyKind::LeastAllocated,
            "MostAllocated" => StrategyKind::MostAllocated,
            "RequestedToCapacityRatio" => match self.requested_to_capacity_ratio {
                Some(ratio) => {
                    check_shape(
                        &ratio.shape,
                        &format!("{path}.requestedToCapacityRatio.shape"),
                        problems,
                    );
                    StrategyKind::RequestedToCapacityRatio(ratio.shape)
                }
                None => {
                    problems.push(format!(
                        "{path}.requestedToCapacityRatio: Required value: must be specified when \
                         type is RequestedToCapacityRatio"
                    ));
                    StrategyKind::LeastAllocated
                }
            },
            other => {
                problems.push(format!(
                    "{path}.type: Unsupported value: {other:?}: supported values: \
                     \"LeastAllocated\", \"MostAllocated\", \"RequestedToCapacityRatio\""
                ));
                StrategyKind::LeastAllocated
            }
        };
        if shaped && self.kind != "RequestedToCapacityRatio" {
            problems.push(format!(
                "{path}.requestedToCapacityRatio: Forbidden: must be nil when type is not \
                 RequestedToCapacityRatio"
            ));
        }
        let mut resources: Vec<(String, i64)> = Vec::new();
        for (index, ResourceArguments { name, weight }) in self.resources.into_iter().enumerate() {
            let weight = weight.unwrap_or(1);
            if !(1..=100).contains(&weight) {
                problems.push(format!(
                    "{path}.resources[{index}].weight: Invalid value: {weight}: resource weight of \
                     {name} not in valid range (0, 100]"
                ));
            }
            resources.push((name, weight));
        }
        if resources.is_empty() {
            resources = ScoringStrategy::default().resources;
        }
        ScoringStrategy { kind, resources }
    }
}

fn check_shape(shape: &[UtilizationPoint], path: &str, problems: &mut Vec<String>) {
    if shape.is_empty() {
        problems.push(format!("{path}: Required value: at least one point must be specified"));
    }
    let unsorted = shape.windows(2).position(|pair| pair[0].utilization >= pair[1].utilization);
    if let Some(before) = unsorted {
        problems.push(format!(
            "{path}[{}].utilization: Invalid value: {}: values must be sorted in increasing order",
            before + 1,
            shape[before + 1].utilization
        ));
    }
    for (index, point) in shape.iter().enumerate() {
        for (field, value, most) in
            [("utilization", point.utilization, 100), ("score", point.score, MAX_SHAPE_SCORE)]
        {
            if !(0..=most).contains(&value) {
                problems.push(format!(
                    "{path}[{index}].{field}: Invalid value: {value}: not in valid range [0, {most}]"
                ));
            }
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct BalancedArguments {
    api_version: Option<String>,
    kind: Option<String>,
    resources: Vec<ResourceArguments>,
}

/// `NodeResourcesBalancedAllocationArgs`.
pub(crate) fn balanced(arguments: &Value, path: &str) -> Checked<NodeResourcesBalancedAllocation> {
    let read: BalancedArguments = read(arguments, path, "NodeResourcesBalancedAllocationArgs")?;
    let mut problems = Vec::new();
    for (index, one) in read.resources.iter().enumerate() {
        let weight = one.weight.unwrap_or(1);
        if weight != 1 {
            problems.push(format!(
                "{path}.resources[{index}].weight: Invalid value: {weight}: must be 1"
            ));
        }
    }
    done(problems)?;
    let names: Vec<String> = read.resources.into_iter().map(|one| one.name).collect();
    Ok(match names.is_empty() {
        true => NodeResourcesBalancedAllocation::default(),
        false => NodeResourcesBalancedAllocation::of(names),
    })
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct NodeAffinityArguments {
    api_version: Option<String>,
    kind: Option<String>,
    added_affinity: Option<k8s_openapi::api::core::v1::NodeAffinity>,
}

/// `NodeAffinityArgs`.
pub(crate) fn node_affinity(arguments: &Value, path: &str) -> Checked<NodeAffinity> {
    let read: NodeAffinityArguments = read(arguments, path, "NodeAffinityArgs")?;
    let Some(added) = read.added_affinity else { return Ok(NodeAffinity::default()) };
    let field = format!("{path}.addedAffinity");
    let required = added.required_during_scheduling_ignored_during_execution.as_ref();
    let preferred = added.preferred_during_scheduling_ignored_during_execution.as_ref();
    if required.is_none() && preferred.is_none_or(Vec::is_empty) {
        return Err(vec![format!("{field}: Required value: cannot be empty")]);
    }
    let terms = required.into_iter().flat_map(|one| &one.node_selector_terms);
    let wanted = preferred.into_iter().flatten().map(|one| &one.preference);
    let unreadable = terms.chain(wanted).position(|term| {
        let says_something = term.match_expressions.is_some() || term.match_fields.is_some();
        says_something && NodeTerm::read(term).is_none()
    });
    if let Some(index) = unreadable {
        return Err(vec![format!("{field}: Invalid value: term {index} cannot be read")]);
    }
    let affinity = Affinity { node_affinity: Some(added), ..Affinity::default() };
    let spec = PodSpec { affinity: Some(affinity), ..PodSpec::default() };
    Ok(NodeAffinity::with_added(crate::Affinity::of(&spec)))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct AffinityArguments {
    api_version: Option<String>,
    kind: Option<String>,
    hard_pod_affinity_weight: Option<i64>,
    ignore_preferred_terms_of_existing_pods: bool,
}

/// `InterPodAffinityArgs`.
pub(crate) fn affinity(arguments: &Value, path: &str) -> Checked<InterPodAffinity> {
    let read: AffinityArguments = read(arguments, path, "InterPodAffinityArgs")?;
    let weight = read.hard_pod_affinity_weight.unwrap_or(1);
    if !(0..=MAX_HARD_POD_AFFINITY_WEIGHT).contains(&weight) {
        return Err(vec![format!(
            "{path}.hardPodAffinityWeight: Invalid value: {weight}: not in valid range [0, 100]"
        )]);
    }
    Ok(InterPodAffinity::new(weight, read.ignore_preferred_terms_of_existing_pods))
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct SpreadArguments {
    api_version: Option<String>,
    kind: Option<String>,
    default_constraints: Vec<TopologySpreadConstraint>,
    defaulting_type: Option<String>,
}

/// `PodTopologySpreadArgs`.
pub(crate) fn spread(arguments: &Value, path: &str) -> Checked<PodTopologySpread> {
    let read: SpreadArguments = read(arguments, path, "PodTopologySpreadArgs")?;
    let mut problems = Vec::new();
    let defaulting = read.defaulting_type.as_deref().unwrap_or("System");
    let field = format!("{path}.defaultingType");
    if !matches!(defaulting, "System" | "List") {
        problems.push(format!(
            "{field}: Unsupported value: {defaulting:?}: supported values: \"System\", \"List\""
        ));
    }
    if defaulting == "System" && !read.default_constraints.is_empty() {
        problems.push(format!(
            "{field}: Invalid value: \"System\": when .defaultConstraints are not empty"
        ));
    }
    let mut seen = HashSet::new();
    for (index, one) in read.default_constraints.iter().enumerate() {
        let path = format!("{path}.defaultConstraints[{index}]");
        if one.max_skew <= 0 {
            problems.push(format!(
                "{path}.maxSkew: Invalid value: {}: not in valid range (0, inf)",
                one.max_skew
            ));
        }
        if one.topology_key.is_empty() {
            problems.push(format!("{path}.topologyKey: Required value: can not be empty"));
        }
        match &one.when_unsatisfiable[..] {
            "DoNotSchedule" | "ScheduleAnyway" => {}
            "" => {
                problems.push(format!("{path}.whenUnsatisfiable: Required value: can not be empty"))
            }
            other => problems.push(format!(
                "{path}.whenUnsatisfiable: Unsupported value: {other:?}: supported values: \
                 \"DoNotSchedule\", \"ScheduleAnyway\""
            )),
        }
        if one.label_selector.is_some() {
            problems.push(format!(
                "{path}.labelSelector: Forbidden: constraint must not define a selector, as they \
                 deduced for each pod"
            ));
        }
        if !seen.insert((&one.topology_key, &one.when_unsatisfiable)) {
            problems.push(format!(
                "{path}: Duplicate value: \"{{{}, {}}}\"",
                one.topology_key, one.when_unsatisfiable
            ));
        }
    }
    done(problems)?;
    Ok(match defaulting {
        "List" => PodTopologySpread::with_defaults(read.default_constraints),
        _ => PodTopologySpread::default(),
    })
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct PreemptionArguments {
    api_version: Option<String>,
    kind: Option<String>,
    min_candidate_nodes_percentage: Option<i32>,
    min_candidate_nodes_absolute: Option<i32>,
}

/// `DefaultPreemptionArgs`. They say how many nodes must be looked at, at least; all are.
fn preemption(arguments: &Value, path: &str) -> Checked<()> {
    let read: PreemptionArguments = read(arguments, path, "DefaultPreemptionArgs")?;
    let mut problems = Vec::new();
    let percentage = read.min_candidate_nodes_percentage.unwrap_or(10);
    let absolute = read.min_candidate_nodes_absolute.unwrap_or(100);
    let fields = ["minCandidateNodesPercentage", "minCandidateNodesAbsolute"];
    if !(0..=100).contains(&percentage) {
        problems.push(format!(
            "{path}.{}: Invalid value: {percentage}: not in valid range [0, 100]",
            fields[0]
        ));
    }
    if absolute < 0 {
        problems.push(format!(
            "{path}.{}: Invalid value: {absolute}: not in valid range [0, inf)",
            fields[1]
        ));
    }
    if percentage == 0 && absolute == 0 {
        for (field, other) in [(fields[0], fields[1]), (fields[1], fields[0])] {
            problems.push(format!(
                "{path}.{field}: Invalid value: 0: cannot be zero at the same time as {other}"
            ));
        }
    }
    done(problems)
}

/// What every sort of arguments may say of itself.
trait Named {
    fn kind(&self) -> (Option<&str>, Option<&str>);
}

macro_rules! named {
    ($($arguments:ty),*) => {
        $(impl Named for $arguments {
            fn kind(&self) -> (Option<&str>, Option<&str>) {
                (self.api_version.as_deref(), self.kind.as_deref())
            }
        })*
    };
}

named!(
    FitArguments,
    BalancedArguments,
    NodeAffinityArguments,
    AffinityArguments,
    SpreadArguments,
    PreemptionArguments
);

fn read<T: DeserializeOwned + Default + Named>(
    arguments: &Value,
    path: &str,
    kind: &str,
) -> Checked<T> {
    if arguments.is_null() {
        return Ok(T::default());
    }
    let read: T = serde_json::from_value(arguments.clone())
        .map_err(|error| vec![format!("strict decoding error: {path}: {error}")])?;
    let (version, known) = read.kind();
    if version.is_some_and(|version| version != "kubescheduler.config.k8s.io/v1")
        || known.is_some_and(|known| known != kind)
    {
        return Err(vec![format!("{path}: Invalid value: has to match plugin args")]);
    }
    Ok(read)
}

fn done(problems: Vec<String>) -> Checked<()> {
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}
