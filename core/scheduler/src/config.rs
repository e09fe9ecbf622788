use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::extender::Extender;
use crate::framework::{Handle, MAX_PLUGINS, Plugin, Profile, Registry};
use crate::plugins;
use crate::{Error, Result};

/// The `spec.schedulerName` of pods that name none.
pub const DEFAULT_SCHEDULER: &str = "default-scheduler";
/// Largest weight of a plugin.
pub const MAX_WEIGHT: i64 = 1_000_000;

/// What a scheduler is to be like. The default is upstream's.
#[derive(Clone, Debug)]
pub struct SchedulerConfig {
    /// One per scheduler name.
    pub profiles: Vec<ProfileConfig>,
    /// The plugins that profiles may name.
    pub registry: Registry,
    /// How long a pod waits after its first failure; each further one doubles the wait.
    pub first_backoff: Duration,
    /// How long a pod waits after a failure at most.
    pub most_backoff: Duration,
    /// How long an unschedulable pod waits for something that may help it, before it is tried
    /// again in any case.
    pub unschedulable_timeout: Duration,
    /// How many pods are being bound at once. At least 1.
    pub bindings_at_once: usize,
    /// Servers outside that have a say, in the order in which they are asked.
    pub extenders: Vec<Extender>,
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        Self {
            profiles: vec![ProfileConfig::default()],
            registry: Registry::default(),
            first_backoff: Duration::from_secs(1),
            most_backoff: Duration::from_secs(10),
            unschedulable_timeout: Duration::from_secs(300),
            bindings_at_once: 256,
            extenders: Vec::new(),
        }
    }
}

/// One scheduler by name, with its plugins in their order.
#[derive(Clone, Debug)]
pub struct ProfileConfig {
    /// Which pods it is for: those with this `spec.schedulerName`.
    pub scheduler_name: String,
    /// Plugins with their weights.
    pub plugins: Vec<(String, i64)>,
    /// Arguments of plugins, by their names.
    pub arguments: BTreeMap<String, Value>,
    /// Plugins that take no part in excluding nodes though they could.
    pub no_filters: BTreeSet<String>,
    /// Plugins that take no part in ranking nodes though they could.
    pub no_scores: BTreeSet<String>,
    /// How many nodes that will do are ranked, in percent of all nodes, but at least 100 nodes;
    /// `None`, 0 and 100 are all of them.
    pub percentage_of_nodes_to_score: Option<i32>,
}

impl Default for ProfileConfig {
    fn default() -> Self {
        let plugins = plugins::DEFAULT.iter();
        Self {
            scheduler_name: DEFAULT_SCHEDULER.to_owned(),
            plugins: plugins.map(|(name, weight)| ((*name).to_owned(), *weight)).collect(),
            arguments: BTreeMap::new(),
            no_filters: BTreeSet::new(),
            no_scores: BTreeSet::new(),
            percentage_of_nodes_to_score: None,
        }
    }
}

impl ProfileConfig {
    /// The same with one more plugin, after the others. Only plugins that rank nodes use the
    /// weight; for them 0 means 1.
    pub fn with(mut self, plugin: &str, weight: i64) -> Self {
        self.plugins.push((plugin.to_owned(), weight));
        self
    }

    /// The same without a plugin.
    pub fn without(mut self, plugin: &str) -> Self {
        self.plugins.retain(|(name, _)| name != plugin);
        self
    }

    /// The arguments of a plugin, which takes no notice of resources that are the concern of
    /// extenders alone.
    fn arguments_of(&self, plugin: &str, extenders: &[Extender]) -> Option<Value> {
        let arguments = self.arguments.get(plugin).cloned();
        let mut ignored = extenders.iter().flat_map(|one| one.config().ignored()).peekable();
        if plugin != plugins::NodeResourcesFit::NAME || ignored.peek().is_none() {
            return arguments;
        }
        let mut arguments = arguments.filter(Value::is_object).unwrap_or_else(|| json!({}));
        let all = &mut arguments["ignoredResources"];
        let mut names = all.as_array().cloned().unwrap_or_default();
        names.extend(ignored.map(Value::from));
        *all = names.into();
        Some(arguments)
    }

    fn build(
        &self,
        index: usize,
        registry: &Registry,
        extenders: &[Extender],
        handle: &Handle,
    ) -> Result<Profile> {
        let profile = || self.scheduler_name.clone();
        if self.plugins.len() > MAX_PLUGINS {
            return Err(Error::TooManyPlugins { profile: profile(), most: MAX_PLUGINS });
        }
        let mut seen = HashSet::new();
        let mut plugins: Vec<(Arc<dyn Plugin>, i64)> = Vec::new();
        for (name, weight) in &self.plugins {
            let plugin = name.clone();
            if !seen.insert(name) {
                return Err(Error::RepeatedPlugin { profile: profile(), plugin });
            }
            if !(0..=MAX_WEIGHT).contains(weight) {
                let (weight, most) = (*weight, MAX_WEIGHT);
                return Err(Error::Weight { profile: profile(), plugin, weight, most });
            }
            let Some(make) = registry.get(name) else {
                return Err(Error::UnknownPlugin { profile: profile(), plugin });
            };
            let handle = handle.with_arguments(self.arguments_of(name, extenders).as_ref());
            plugins.push((make(&handle)?, (*weight).max(1)));
        }
        if !plugins.iter().any(|(plugin, _)| plugin.as_bind().is_some()) {
            return Err(Error::NoBinder { profile: profile() });
        }
        let profile = Profile::new(&self.scheduler_name, index, plugins);
        let profile = profile.without(&self.no_filters, &self.no_scores);
        Ok(profile.ranking(self.percentage_of_nodes_to_score))
    }
}

/// The profiles, and the plugin that orders their queue.
pub(crate) type Profiles = (Arc<[Profile]>, Arc<dyn Plugin>);

impl SchedulerConfig {
    /// Makes the plugins of all profiles.
    pub(crate) fn build(&self, handle: &Handle) -> Result<Profiles> {
        let mut names = HashSet::new();
        let mut profiles = Vec::new();
        let mut sort: Option<(String, Arc<dyn Plugin>)> = None;
        for (index, config) in self.profiles.iter().enumerate() {
            let profile = config.build(index, &self.registry, &self.extenders, handle)?;
            let name = config.scheduler_name.clone();
            if !names.insert(name.clone()) {
                return Err(Error::Profiles { scheduler_name: name });
            }
            let sorts = profile.plugins_shared().filter(|plugin| plugin.as_queue_sort().is_some());
            let sorts: Vec<_> = sorts.cloned().collect();
            match (&sorts[..], &sort) {
                ([one], None) => sort = Some((one.name().to_owned(), one.clone())),
                ([one], Some((known, _))) if one.name() == known => {}
                _ => return Err(Error::QueueSort { profile: name }),
            }
            profiles.push(profile);
        }
        let Some((_, sort)) = sort else {
            return Err(Error::Profiles { scheduler_name: DEFAULT_SCHEDULER.to_owned() });
        };
        Ok((profiles.into(), sort))
    }
}
