use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::guard::guarded;
use super::{Handle, Plugin};
use crate::plugins;
use crate::{Error, Result};

/// Makes a plugin for one profile of one scheduler.
pub type PluginFactory = Arc<dyn Fn(&Handle) -> Result<Arc<dyn Plugin>> + Send + Sync>;

/// The plugins that profiles may name: the built-in ones and the host's.
#[derive(Clone)]
pub struct Registry(BTreeMap<String, PluginFactory>);

impl Default for Registry {
    fn default() -> Self {
        let mut new = Self(BTreeMap::new());
        for (name, make) in plugins::BUILT_IN {
            new.0.insert(name.to_owned(), Arc::new(make));
        }
        new
    }
}

impl Registry {
    /// Adds a plugin of the host, or replaces the one of that name. When it panics, the pod that it was
    /// asked about fails with an error that names the plugin, and is tried again later.
    pub fn add(
        &mut self,
        name: &str,
        make: impl Fn(&Handle) -> Result<Arc<dyn Plugin>> + Send + Sync + 'static,
    ) {
        let wrong = name.to_owned();
        let make = move |handle: &Handle| {
            let plugin = make(handle)?;
            guarded(plugin).map_err(|message| Error::Plugin { plugin: wrong.clone(), message })
        };
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
