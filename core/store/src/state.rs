use std::sync::Arc;

use imbl::OrdMap;
use pinnace_api::{Key, Object};

use crate::row_key::RowKey;

/// All tables at one revision. Cloning is O(1); changing a clone copies only the path to the
/// change.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(crate) revision: u64,
    tables: OrdMap<Arc<str>, Table>,
}

/// The objects of one table, ordered by key.
pub(crate) type Table = OrdMap<RowKey, Object>;

impl State {
    pub(crate) fn at(revision: u64) -> Self {
        Self { revision, tables: OrdMap::new() }
    }

    pub(crate) fn table(&self, name: &str) -> Option<&Table> {
        self.tables.get(name)
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = (&Arc<str>, &Table)> {
        self.tables.iter()
    }

    pub(crate) fn get(&self, table: &str, key: &Key) -> Option<&Object> {
        self.table(table)?.get(&RowKey::new(key))
    }

    /// The table, to change; made if there is none.
    pub(crate) fn table_mut(&mut self, name: &Arc<str>) -> &mut Table {
        self.tables.entry(name.clone()).or_default()
    }

    /// Puts an object in place, or takes it away.
    pub(crate) fn set(&mut self, table: &Arc<str>, key: &Key, object: Option<Object>) {
        let (table, key) = (self.table_mut(table), RowKey::new(key));
        match object {
            Some(object) => table.insert(key, object),
            None => table.remove(&key),
        };
    }
}
