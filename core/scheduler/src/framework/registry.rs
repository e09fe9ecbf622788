use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Handle, Plugin};
use crate::Result;
use crate::plugins;

/// Makes a plugin for one profile of one scheduler.
pub type PluginFactory = Arc<dyn Fn(&Handle) -> Result<Arc<dyn Plugin>> + Send + Sync>;

/// The plugins that profiles may name: the built-in ones and the host's.
#[derive(Clone)]
pub struct Registry(BTreeMap<String, PluginFactory>);

impl Default for Registry {
    fn default() -> Self {
        let mut new = Self(BTreeMap::new());
        for (name, make) in plugins::BUILT_IN {
            new.add(name, make);
        }
        new
    }
}

impl Registry {
    /// Adds a plugin, or replaces the one of that name.
    pub fn add(
        &mut self,
        name: &str,
        make: impl Fn(&Handle) -> Result<Arc<dyn Plugin>> + Send + Sync + 'static,
    ) {
        self.0.insert(name.to_owned(), Arc::new(make));
    }

    /// How a plugin is made.
    pub fn get(&self, name: &str) -> Option<&PluginFactory> {
        self.0.get(name)
    }

    /// The names of all plugins.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}
