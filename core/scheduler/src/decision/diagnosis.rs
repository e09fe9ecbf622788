use std::borrow::Cow;
use std::collections::BTreeMap;

use super::ClassPlan;
use crate::cluster::NodeIndex;
use crate::framework::{Answer, Cycle, PluginIndex, PluginSet, Profile, Reasons, Verdict};

/// Why no node will do for a pod.
#[derive(Clone, Debug, Default)]
pub struct Diagnosis {
    nodes: usize,
    refusals: Vec<NodeRefusal>,
    reasons: BTreeMap<Cow<'static, str>, usize>,
    pre_filter: Option<String>,
    post_filter: String,
    plugins: PluginSet,
    pending: PluginSet,
}

/// Which plugin excluded a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeRefusal {
    /// The node.
    pub node: NodeIndex,
    /// The plugin.
    pub plugin: PluginIndex,
    /// What it said.
    pub verdict: Verdict,
}

impl Diagnosis {
    /// Asks every plugin about every node, in the order of the profile.
    pub(super) fn of(cycle: &Cycle<'_>, profile: &Profile, plan: &ClassPlan) -> Answer<Self> {
        let mut found = Self { nodes: cycle.cluster.len(), ..Self::default() };
        if let Some((plugin, refusal)) = &plan.rejection {
            found.pre_filter = Some(refusal.to_string());
            found.plugins = plan.restricting;
            if let Some(plugin) = plugin {
                found.reject(*plugin, refusal);
            }
            return Ok(found);
        }
        let mut left = match &plan.only {
            None => cycle.cluster.indexes().collect(),
            Some(names) => {
                found.plugins = plan.restricting;
                names.iter().filter_map(|name| cycle.cluster.find(name)).collect::<Vec<_>>()
            }
        };
        let absent = found.nodes - left.len();
        if absent > 0 {
            let names = profile.names(plan.restricting).join(" ");
            let reason = format!("node(s) didn't satisfy plugin(s) [{names}]");
            found.reasons.insert(reason.into(), absent);
        }
        let mut verdicts = Vec::new();
        for &plugin in &profile.filters {
            let Some(filter) = profile.plugin(plugin).as_filter() else { continue };
            if left.is_empty() || plan.skip.contains(plugin) {
                continue;
            }
            verdicts.clear();
            verdicts.resize(left.len(), Verdict::Fits);
            filter.filter(cycle, &left, &mut verdicts)?;
            let mut judged = verdicts.iter();
            left.retain(|&node| match judged.next() {
                None | Some(Verdict::Fits) => true,
                Some(&verdict) => {
                    found.plugins.insert(plugin);
                    found.count(filter.reasons(cycle, node));
                    found.refusals.push(NodeRefusal { node, plugin, verdict });
                    false
                }
            });
        }
        Ok(found)
    }

    /// What is known already: of how many nodes, who excluded them, and how many for each reason.
    pub(super) fn known(
        nodes: usize,
        refusals: Vec<NodeRefusal>,
        reasons: BTreeMap<Cow<'static, str>, usize>,
    ) -> Self {
        let mut plugins = PluginSet::default();
        refusals.iter().for_each(|refusal| plugins.insert(refusal.plugin));
        Self { nodes, refusals, reasons, plugins, ..Self::default() }
    }

    /// What a plugin said of the one node that was chosen already.
    pub(crate) fn of_choice(plugin: Option<PluginIndex>, refusal: &crate::Refusal) -> Self {
        let mut found = Self { nodes: 1, ..Self::default() };
        found.count(refusal.reasons());
        if let Some(plugin) = plugin {
            found.reject(plugin, refusal);
        }
        found
    }

    /// What somebody outside has against a node that the plugins let pass.
    pub(super) fn outside(&mut self, node: NodeIndex, reason: &str, unresolvable: bool) {
        self.count(vec![reason.to_owned().into()]);
        self.plugins = self.plugins.or(PluginSet::EXTENDERS);
        if unresolvable {
            let verdict = Verdict::Unresolvable;
            self.refusals.push(NodeRefusal { node, plugin: PluginIndex::EXTENDERS, verdict });
        }
    }

    fn reject(&mut self, plugin: PluginIndex, refusal: &crate::Refusal) {
        match refusal {
            crate::Refusal::Pending(_) => self.pending.insert(plugin),
            _ => self.plugins.insert(plugin),
        }
    }

    fn count(&mut self, reasons: Reasons) {
        for reason in reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    pub(crate) fn set_post_filter(&mut self, message: String) {
        self.post_filter = message;
    }

    /// How many nodes there were.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// Which plugin excluded which node, in no particular order. Nodes that a
    /// [`PreFilter`](crate::PreFilter) excluded are not in it.
    pub fn refusals(&self) -> &[NodeRefusal] {
        &self.refusals
    }

    /// How many nodes were excluded for each reason.
    pub fn reasons(&self) -> &BTreeMap<Cow<'static, str>, usize> {
        &self.reasons
    }

    /// The plugins that excluded nodes, or the pod.
    pub fn plugins(&self) -> PluginSet {
        self.plugins
    }

    /// The plugins that wait for something to come.
    pub fn pending(&self) -> PluginSet {
        self.pending
    }

    /// The message of the pod's condition.
    pub fn message(&self) -> String {
        let mut message = format!("0/{} nodes are available:", self.nodes);
        if let Some(pre_filter) = &self.pre_filter {
            message.push_str(&format!(" {pre_filter}."));
        } else if !self.reasons.is_empty() {
            let mut reasons: Vec<_> =
                self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
            reasons.sort();
            message.push_str(&format!(" {}.", reasons.join(", ")));
        }
        if !self.post_filter.is_empty() {
            message.push(' ');
            message.push_str(&self.post_filter);
        }
        message
    }
}
