use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use super::{Concern, Cycle, Events, Plugin, Prepared, Scope};
use crate::cluster::Cluster;
use crate::pod::Signature;

/// Most plugins that one profile has.
pub const MAX_PLUGINS: usize = 62;

/// How many nodes are ranked in any case, if there are as many.
const FEWEST_RANKED: usize = 100;

/// A plugin of a profile by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginIndex(pub(crate) u8);

impl PluginIndex {
    /// Stands for extenders, which are no plugins.
    pub(crate) const EXTENDERS: Self = Self(62);

    pub(crate) fn index(self) -> usize {
        self.0.into()
    }
}

/// Plugins of one profile, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PluginSet(u64);

impl PluginSet {
    /// What keeps a pod waiting while there is no node at all.
    pub(crate) const NO_NODES: Self = Self(1 << 63);
    /// What keeps a pod waiting that extenders rejected: they tell of no events, so anything may help.
    pub(crate) const EXTENDERS: Self = Self(1 << PluginIndex::EXTENDERS.0);

    /// Adds a plugin.
    pub fn insert(&mut self, plugin: PluginIndex) {
        self.0 |= 1 << plugin.0;
    }

    /// Whether a plugin is in it.
    pub fn contains(self, plugin: PluginIndex) -> bool {
        self.0 & (1 << plugin.0) != 0
    }

    /// What is in either.
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is not in the other.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether none is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn waits_for_nodes(self) -> bool {
        self.0 & Self::NO_NODES.0 != 0
    }

    pub(crate) fn waits_for_anything(self) -> bool {
        self.0 & Self::EXTENDERS.0 != 0
    }

    /// The plugins in it, in order.
    pub fn iter(self) -> impl Iterator<Item = PluginIndex> {
        (0..MAX_PLUGINS as u8).map(PluginIndex).filter(move |one| self.contains(*one))
    }
}

pub(crate) struct PluginSlot {
    pub(crate) plugin: Arc<dyn Plugin>,
    pub(crate) weight: i64,
    pub(crate) scope: Scope,
    pub(crate) events: Events,
}

/// A scheduler by one name: its plugins in their order, with their weights.
pub struct Profile {
    name: Arc<str>,
    index: usize,
    plugins: Vec<PluginSlot>,
    pub(crate) filters: Vec<PluginIndex>,
    pub(crate) scores: Vec<PluginIndex>,
    pub(crate) has_permits: bool,
    pub(crate) has_post_filters: bool,
    /// In percent of all nodes.
    ranked: Option<usize>,
    /// The plugins whose answers do not hold for all pods that are alike.
    fresh: Vec<PluginIndex>,
}

/// What has to be asked for one pod, whatever is known of pods that are alike.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fresh {
    pub(crate) filters: PluginSet,
    pub(crate) scores: PluginSet,
}

impl Fresh {
    pub(crate) fn is_empty(self) -> bool {
        self.filters.is_empty() && self.scores.is_empty()
    }
}

impl Profile {
    /// A profile of plugins with weights. The weight of a plugin that scores no nodes is not used.
    /// At most [`MAX_PLUGINS`]; what is beyond is left out.
    pub fn new(name: &str, index: usize, plugins: Vec<(Arc<dyn Plugin>, i64)>) -> Self {
        let slot = |(plugin, weight): (Arc<dyn Plugin>, i64)| PluginSlot {
            weight,
            scope: plugin.scope(),
            events: plugin.events(),
            plugin,
        };
        let plugins: Vec<_> = plugins.into_iter().take(MAX_PLUGINS).map(slot).collect();
        let which = |has: fn(&dyn Plugin) -> bool| -> Vec<PluginIndex> {
            let numbered = (0u8..).map(PluginIndex).zip(&plugins);
            numbered.filter(|(_, slot)| has(&*slot.plugin)).map(|(index, _)| index).collect()
        };
        let filters = which(|plugin| plugin.as_filter().is_some());
        let scores = which(|plugin| plugin.as_score().is_some());
        let fresh = which(|plugin| {
            let own = |score: &dyn super::Score| score.normalization() == super::Normalization::Own;
            (plugin.scope() == Scope::Everything
                && (plugin.as_pre_filter().is_some()
                    || plugin.as_filter().is_some()
                    || plugin.as_score().is_some()))
                || plugin.as_score().is_some_and(own)
        });
        Self {
            name: name.into(),
            index,
            has_permits: !which(|plugin| plugin.as_permit().is_some()).is_empty(),
            has_post_filters: !which(|plugin| plugin.as_post_filter().is_some()).is_empty(),
            ranked: None,
            fresh,
            filters,
            scores,
            plugins,
        }
    }

    /// The same, with plugins that do not exclude nodes, and others that do not rank them.
    pub(crate) fn without(
        mut self,
        no_filters: &BTreeSet<String>,
        no_scores: &BTreeSet<String>,
    ) -> Self {
        let plugins = &self.plugins;
        let named = |index: &PluginIndex, names: &BTreeSet<String>| {
            names.contains(plugins[index.index()].plugin.name())
        };
        self.filters.retain(|index| !named(index, no_filters));
        self.scores.retain(|index| !named(index, no_scores));
        self
    }

    /// The same, ranking only so many percent of all nodes.
    pub(crate) fn ranking(mut self, percentage: Option<i32>) -> Self {
        let percentage = percentage.filter(|percentage| (1..100).contains(percentage));
        self.ranked = percentage.and_then(|percentage| usize::try_from(percentage).ok());
        self
    }

    /// How many of so many nodes are ranked at most; `None` for all.
    pub(crate) fn most_ranked(&self, nodes: usize) -> Option<usize> {
        self.ranked.map(|percentage| (nodes * percentage / 100).max(FEWEST_RANKED))
    }

    /// The `spec.schedulerName` of the pods that it is for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its number among the profiles of its scheduler.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its plugins, in order.
    pub fn plugins(&self) -> impl DoubleEndedIterator<Item = (PluginIndex, &dyn Plugin)> {
        let numbered = self.plugins.iter().enumerate();
        numbered.map(|(index, slot)| (PluginIndex(index as u8), &*slot.plugin))
    }

    pub(crate) fn plugins_shared(&self) -> impl Iterator<Item = &Arc<dyn Plugin>> {
        self.plugins.iter().map(|slot| &slot.plugin)
    }

    /// A plugin.
    pub fn plugin(&self, index: PluginIndex) -> &dyn Plugin {
        &*self.plugins[index.index()].plugin
    }

    pub(crate) fn slot(&self, index: PluginIndex) -> &PluginSlot {
        &self.plugins[index.index()]
    }

    /// The names of plugins, in alphabetical order.
    pub fn names(&self, plugins: PluginSet) -> Vec<&str> {
        let known = plugins.iter().filter(|index| index.index() < self.plugins.len());
        let mut names: Vec<_> = known.map(|index| self.plugin(index).name()).collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn prepare(&self, pod: &Pod, cluster: &mut Cluster) -> Vec<Prepared> {
        self.plugins.iter().filter_map(|slot| slot.plugin.prepare(pod, cluster)).collect()
    }

    /// Which plugins have to be asked about this pod in particular.
    pub(crate) fn fresh(&self, cycle: &Cycle<'_>) -> Fresh {
        let mut fresh = Fresh::default();
        for &index in &self.fresh {
            let slot = self.slot(index);
            // A plugin of another scope is there for the way it brings its scores into bounds.
            let concern = match slot.scope {
                Scope::Everything => slot.plugin.concern(cycle),
                _ => Concern { filters: false, scores: true },
            };
            let filters = self.filters.contains(&index) || slot.plugin.as_filter().is_none();
            if concern.filters && filters {
                fresh.filters.insert(index);
            }
            if concern.scores && self.scores.contains(&index) {
                fresh.scores.insert(index);
            }
        }
        fresh
    }

    pub(crate) fn sign(&self, pod: &Pod, signature: &mut Signature) {
        for slot in self.plugins.iter().filter(|slot| slot.scope != Scope::Everything) {
            slot.plugin.sign(pod, signature);
        }
    }
}

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Profile({})", self.name)
    }
}
