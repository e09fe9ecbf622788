//! `KubeSchedulerConfiguration`, as files for upstream's scheduler hold it.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::config::{ProfileConfig, SchedulerConfig};
use crate::extender::{Extender, ExtenderConfig, validate};
use crate::{DEFAULT_SCHEDULER, Error, Result};

const API_VERSION: &str = "kubescheduler.config.k8s.io/v1";
const KIND: &str = "KubeSchedulerConfiguration";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Configuration {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    parallelism: Option<i32>,
    // What is about the process of upstream's scheduler has no meaning here.
    #[serde(rename = "leaderElection")]
    _leader_election: Option<Value>,
    #[serde(rename = "clientConnection")]
    _client_connection: Option<Value>,
    #[serde(rename = "enableProfiling")]
    _enable_profiling: Option<bool>,
    #[serde(rename = "enableContentionProfiling")]
    _enable_contention_profiling: Option<bool>,
    #[serde(rename = "delayCacheUntilActive")]
    _delay_cache_until_active: Option<bool>,
    percentage_of_nodes_to_score: Option<i32>,
    pod_initial_backoff_seconds: Option<i64>,
    pod_max_backoff_seconds: Option<i64>,
    #[serde(default)]
    profiles: Vec<KubeProfile>,
    #[serde(default)]
    extenders: Vec<ExtenderConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KubeProfile {
    scheduler_name: Option<String>,
    percentage_of_nodes_to_score: Option<i32>,
    #[serde(default)]
    plugins: BTreeMap<String, PluginSet>,
    #[serde(default)]
    plugin_config: Vec<PluginConfig>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginSet {
    #[serde(default)]
    enabled: Vec<Enabled>,
    #[serde(default)]
    disabled: Vec<Enabled>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enabled {
    name: String,
    weight: Option<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginConfig {
    name: String,
    #[serde(default)]
    args: Value,
}

/// The extension points that a configuration may name.
const POINTS: [&str; 13] = [
    "preEnqueue",
    "queueSort",
    "preFilter",
    "filter",
    "postFilter",
    "preScore",
    "score",
    "reserve",
    "permit",
    "preBind",
    "bind",
    "postBind",
    "multiPoint",
];

impl SchedulerConfig {
    /// Reads a `KubeSchedulerConfiguration` of version `kubescheduler.config.k8s.io/v1`. What it
    /// says about the process of upstream's scheduler is passed over. Plugins of this crate take
    /// part at all of their extension points or at none: one that a single point disables has to
    /// be disabled under `multiPoint`.
    ///
    /// # Errors
    /// [`Error::Configuration`] with all that is wrong, in upstream's words.
    pub fn from_kube(configuration: &Value) -> Result<Self> {
        let text = |key: &str| configuration.get(key).and_then(Value::as_str).unwrap_or_default();
        if (text("apiVersion"), text("kind")) != (API_VERSION, KIND) {
            let message = format!(
                "no kind {:?} is registered for version {:?}",
                text("kind"),
                text("apiVersion")
            );
            return Err(Error::Configuration { message });
        }
        let read: Configuration =
            serde_json::from_value(configuration.clone()).map_err(|error| {
                Error::Configuration { message: format!("strict decoding error: {error}") }
            })?;
        let mut problems = Vec::new();
        let config = read.config(&mut problems);
        match &problems[..] {
            [] => Ok(config),
            [one] => Err(Error::Configuration { message: one.clone() }),
            many => Err(Error::Configuration { message: format!("[{}]", many.join(", ")) }),
        }
    }
}

impl Configuration {
    fn config(self, problems: &mut Vec<String>) -> SchedulerConfig {
        if let Some(parallelism) = self.parallelism.filter(|many| *many <= 0) {
            problems.push(invalid(
                "parallelism",
                parallelism,
                "should be an integer value greater than zero",
            ));
        }
        let mut config = SchedulerConfig::default();
        let mut names = HashSet::new();
        let profiles: Vec<ProfileConfig> = self
            .profiles
            .into_iter()
            .enumerate()
            .map(|(index, profile)| {
                let path = format!("profiles[{index}]");
                let config = profile.config(&path, self.percentage_of_nodes_to_score, problems);
                if !names.insert(config.scheduler_name.clone()) {
                    problems.push(format!(
                        "{path}.schedulerName: Duplicate value: {:?}",
                        config.scheduler_name
                    ));
                }
                config
            })
            .collect();
        if profiles.is_empty() {
            config.profiles[0].percentage_of_nodes_to_score =
                percentage("percentageOfNodesToScore", self.percentage_of_nodes_to_score, problems);
        } else {
            percentage("percentageOfNodesToScore", self.percentage_of_nodes_to_score, problems);
            config.profiles = profiles;
        }
        let first = self.pod_initial_backoff_seconds.unwrap_or(1);
        let most = self.pod_max_backoff_seconds.unwrap_or(10);
        if first <= 0 {
            problems.push(invalid("podInitialBackoffSeconds", first, "must be greater than 0"));
        }
        if most < first {
            let why = "must be greater than or equal to PodInitialBackoffSeconds";
            problems.push(invalid("podMaxBackoffSeconds", most, why));
        }
        let seconds = |many: i64| Duration::from_secs(u64::try_from(many).unwrap_or(0));
        (config.first_backoff, config.most_backoff) = (seconds(first), seconds(most));
        let wrong = validate(&self.extenders);
        if wrong.is_empty() {
            for extender in self.extenders {
                match Extender::http(extender) {
                    Ok(extender) => config.extenders.push(extender),
                    Err(error) => problems.push(error.to_string()),
                }
            }
        }
        problems.extend(wrong);
        config
    }
}

impl KubeProfile {
    fn config(
        self,
        path: &str,
        default_percentage: Option<i32>,
        problems: &mut Vec<String>,
    ) -> ProfileConfig {
        let mut config = ProfileConfig {
            scheduler_name: self.scheduler_name.unwrap_or_else(|| DEFAULT_SCHEDULER.to_owned()),
            ..ProfileConfig::default()
        };
        if config.scheduler_name.is_empty() {
            problems.push(format!("{path}.schedulerName: Required value"));
        }
        let field = format!("{path}.percentageOfNodesToScore");
        config.percentage_of_nodes_to_score =
            percentage(&field, self.percentage_of_nodes_to_score, problems).or(default_percentage);
        for (point, set) in &self.plugins {
            if !POINTS.contains(&&point[..]) {
                problems.push(format!(
                    "strict decoding error: unknown field \"{path}.plugins.{point}\""
                ));
                continue;
            }
            set.apply(point, path, &mut config, problems);
        }
        for (index, PluginConfig { name, args }) in self.plugin_config.into_iter().enumerate() {
            let path = format!("{path}.pluginConfig[{index}]");
            if let Err(error) =
                crate::plugins::arguments::check(&name, &args, &format!("{path}.args"))
            {
                problems.extend(error);
            }
            if config.arguments.insert(name.clone(), args).is_some() {
                problems.push(format!("{path}: Duplicate value: {name:?}"));
            }
        }
        config
    }
}

impl PluginSet {
    fn apply(
        &self,
        point: &str,
        path: &str,
        config: &mut ProfileConfig,
        problems: &mut Vec<String>,
    ) {
        for one in &self.disabled {
            let all = one.name == "*";
            match point {
                "multiPoint" if all => config.plugins.clear(),
                "multiPoint" => config.plugins.retain(|(known, _)| *known != one.name),
                "filter" | "preFilter" | "score" | "preScore" => {
                    let names = config.plugins.iter().map(|(name, _)| name);
                    let names: Vec<String> =
                        names.filter(|name| all || **name == one.name).cloned().collect();
                    match point {
                        "filter" | "preFilter" => config.no_filters.extend(names),
                        _ => config.no_scores.extend(names),
                    }
                }
                _ => {
                    let alone = crate::plugins::of_one_point(point);
                    let gone = |name: &str| alone == Some(name) && (all || one.name == name);
                    config.plugins.retain(|(known, _)| !gone(known));
                    if !all && alone != Some(&one.name[..]) {
                        problems.push(format!(
                            "{path}.plugins.{point}.disabled: Unsupported value: {:?}: such plugins \
                             are disabled under multiPoint",
                            one.name
                        ));
                    }
                }
            }
        }
        for one in &self.enabled {
            let weight = one.weight.unwrap_or(0);
            match point {
                "filter" | "preFilter" => _ = config.no_filters.remove(&one.name),
                "score" | "preScore" => _ = config.no_scores.remove(&one.name),
                _ => {}
            }
            match config.plugins.iter_mut().find(|(known, _)| *known == one.name) {
                Some((_, known)) if weight != 0 => *known = weight,
                Some(_) => {}
                None => config.plugins.push((one.name.clone(), weight)),
            }
        }
    }
}

fn percentage(field: &str, percent: Option<i32>, problems: &mut Vec<String>) -> Option<i32> {
    if let Some(percent) = percent.filter(|percent| !(0..=100).contains(percent)) {
        problems.push(invalid(field, percent, "not in valid range [0-100]"));
    }
    percent
}

fn invalid(field: &str, value: impl std::fmt::Display, why: &str) -> String {
    format!("{field}: Invalid value: {value}: {why}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(rest: Value) -> std::result::Result<SchedulerConfig, String> {
        let mut all = json!({"apiVersion": API_VERSION, "kind": KIND});
        for (key, value) in rest.as_object().into_iter().flatten() {
            all[key] = value.clone();
        }
        SchedulerConfig::from_kube(&all).map_err(|error| error.to_string())
    }

    #[test]
    fn profiles_plugins_weights_and_arguments_are_read() {
        let config = read(json!({
            "podInitialBackoffSeconds": 2, "podMaxBackoffSeconds": 5, "percentageOfNodesToScore": 30,
            "leaderElection": {"leaderElect": false},
            "extenders": [{"urlPrefix": "http://127.0.0.1:1", "filterVerb": "filter", "weight": 2,
                           "enableHTTPS": false, "httpTimeout": "1.5s", "nodeCacheCapable": true,
                           "managedResources": [{"name": "a.b/c", "ignoredByScheduler": true}],
                           "ignorable": true}],
            "profiles": [
                {},
                {"schedulerName": "packed", "percentageOfNodesToScore": 50,
                 "plugins": {"score": {"disabled": [{"name": "*"}],
                                       "enabled": [{"name": "NodeResourcesFit", "weight": 7}]},
                             "postFilter": {"disabled": [{"name": "DefaultPreemption"}]},
                             "multiPoint": {"disabled": [{"name": "ImageLocality"}]}},
                 "pluginConfig": [{"name": "NodeResourcesFit",
                                   "args": {"scoringStrategy": {"type": "MostAllocated"}}}]},
            ],
        }))
        .unwrap();
        assert_eq!((config.first_backoff.as_secs(), config.most_backoff.as_secs()), (2, 5));
        let extender = config.extenders[0].config();
        assert_eq!(extender.http_timeout.map(|time| time.0.as_millis()), Some(1500));
        assert!(extender.ignorable && extender.managed_resources[0].ignored_by_scheduler);
        let [usual, packed] = &config.profiles[..] else { panic!("{config:?}") };
        assert_eq!(usual.percentage_of_nodes_to_score, Some(30));
        assert_eq!(packed.percentage_of_nodes_to_score, Some(50));
        let weight = |name: &str| {
            packed.plugins.iter().find(|(known, _)| known == name).map(|(_, weight)| *weight)
        };
        assert_eq!(weight("NodeResourcesFit"), Some(7));
        assert_eq!((weight("DefaultPreemption"), weight("ImageLocality")), (None, None));
        assert!(packed.no_scores.contains("TaintToleration"));
        assert!(!packed.no_scores.contains("NodeResourcesFit"));
    }

    #[test]
    fn what_makes_no_sense_is_refused_in_upstreams_words() {
        let check = |rest: Value, expected: &str| {
            assert_eq!(read(rest.clone()).map(|_| ()), Err(expected.to_owned()), "{rest}");
        };
        check(
            json!({"percentageOfNodesToScore": 101}),
            "percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]",
        );
        check(
            json!({"podInitialBackoffSeconds": 20}),
            "podMaxBackoffSeconds: Invalid value: 10: must be greater than or equal to \
             PodInitialBackoffSeconds",
        );
        check(
            json!({"extenders": [{"urlPrefix": "http://a", "prioritizeVerb": "p"},
                {"urlPrefix": "http://b", "bindVerb": "b",
                 "managedResources": [{"name": "cpu"}, {"name": "a.b/c"}]},
                {"urlPrefix": "http://c", "bindVerb": "b", "managedResources": [{"name": "a.b/c"}]}]}),
            "[extenders[0].weight: Invalid value: 0: must have a positive weight applied to it, \
             extenders[1].managedResources[0].name: Invalid value: \"cpu\": is an invalid extended \
             resource name, extenders[2].managedResources[0].name: Invalid value: \"a.b/c\": \
             duplicate extender managed resource name, extenders: Invalid value: \"found 2 extenders \
             implementing bind\": only one extender can implement bind]",
        );
        check(
            json!({"extenders": [{"urlPrefix": "ftp://a"}]}),
            "extenders: ftp://a/: unsupported protocol scheme \"ftp\"",
        );
        check(
            json!({"profiles": [{}, {}]}),
            "profiles[1].schedulerName: Duplicate value: \"default-scheduler\"",
        );
        let arguments = |name: &str, args: Value| json!({"profiles": [{"pluginConfig": [{"name": name, "args": args}]}]});
        check(
            arguments(
                "NodeResourcesBalancedAllocation",
                json!({"resources": [
                {"name": "cpu", "weight": 2}]}),
            ),
            "profiles[0].pluginConfig[0].args.resources[0].weight: Invalid value: 2: must be 1",
        );
        check(
            arguments("NodeAffinity", json!({"addedAffinity": {}})),
            "profiles[0].pluginConfig[0].args.addedAffinity: Required value: cannot be empty",
        );
        check(
            arguments("InterPodAffinity", json!({"hardPodAffinityWeight": 101})),
            "profiles[0].pluginConfig[0].args.hardPodAffinityWeight: Invalid value: 101: not in \
             valid range [0, 100]",
        );
        check(
            arguments(
                "PodTopologySpread",
                json!({"defaultConstraints": [
                {"topologyKey": "zone", "maxSkew": 0, "whenUnsatisfiable": "DoNotSchedule"}]}),
            ),
            "[profiles[0].pluginConfig[0].args.defaultingType: Invalid value: \"System\": when \
             .defaultConstraints are not empty, \
             profiles[0].pluginConfig[0].args.defaultConstraints[0].maxSkew: Invalid value: 0: not \
             in valid range (0, inf)]",
        );
        check(
            arguments(
                "NodeResourcesFit",
                json!({"scoringStrategy": {
                "type": "RequestedToCapacityRatio",
                "requestedToCapacityRatio": {"shape": [{"utilization": 0, "score": 11}]}}}),
            ),
            "profiles[0].pluginConfig[0].args.scoringStrategy.requestedToCapacityRatio.shape[0]\
             .score: Invalid value: 11: not in valid range [0, 10]",
        );
    }
}
