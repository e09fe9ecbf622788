use crate::framework::{
    Answer, Cycle, Fresh, PluginIndex, PluginSet, PreFiltered, Profile, Refusal, Scope,
};

/// What the [`PreFilter`](crate::PreFilter) plugins say about a pod: which filters have nothing to
/// say, which nodes remain, or why none does.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClassPlan {
    pub(super) skip: PluginSet,
    pub(super) only: Option<Vec<String>>,
    pub(super) restricting: PluginSet,
    pub(super) rejection: Option<(Option<PluginIndex>, Refusal)>,
}

impl ClassPlan {
    /// What the plugins say whose answers hold for the whole class. The others have nothing to say
    /// until a pod comes that concerns them.
    pub(super) fn of_class(cycle: &Cycle<'_>, profile: &Profile) -> Answer<Self> {
        let mut plan = Self::default();
        let per_pod = |index| profile.slot(index).scope == Scope::Everything;
        for index in profile.filters.iter().copied().filter(|index| per_pod(*index)) {
            plan.skip.insert(index);
        }
        plan.ask(cycle, profile, |index| !per_pod(index))?;
        Ok(plan)
    }

    /// The same with what the plugins say that this pod concerns.
    pub(super) fn of_pod(
        &self,
        cycle: &Cycle<'_>,
        profile: &Profile,
        fresh: Fresh,
    ) -> Answer<Self> {
        let mut plan = self.clone();
        plan.skip = plan.skip.without(fresh.filters);
        plan.ask(cycle, profile, |index| fresh.filters.contains(index))?;
        Ok(plan)
    }

    fn ask(
        &mut self,
        cycle: &Cycle<'_>,
        profile: &Profile,
        who: impl Fn(PluginIndex) -> bool,
    ) -> Answer {
        for (index, plugin) in profile.plugins() {
            let Some(pre_filter) = plugin.as_pre_filter() else { continue };
            if !who(index) {
                continue;
            }
            match pre_filter.pre_filter(cycle) {
                Ok(PreFiltered::All) => {}
                Ok(PreFiltered::Skip) => self.skip.insert(index),
                Ok(PreFiltered::Only(names)) => self.restrict(profile, index, names),
                Err(Refusal::Error(message)) => {
                    let name = plugin.name();
                    return Err(Refusal::Error(format!(
                        "running PreFilter plugin {name:?}: {message}"
                    )));
                }
                Err(refusal) => {
                    let last = matches!(refusal, Refusal::Unresolvable(_));
                    self.rejection = Some((Some(index), refusal));
                    if last {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn restrict(&mut self, profile: &Profile, plugin: PluginIndex, names: Vec<String>) {
        self.restricting.insert(plugin);
        let only = self.only.get_or_insert_with(|| names.clone());
        only.retain(|name| names.contains(name));
        if only.is_empty() {
            let plugins = profile.names(self.restricting);
            let reason = match &plugins[..] {
                [one] => format!("node(s) didn't satisfy plugin {one}"),
                many => {
                    format!("node(s) didn't satisfy plugin(s) [{}] simultaneously", many.join(" "))
                }
            };
            self.rejection = Some((None, Refusal::unresolvable(reason)));
        }
    }
}
