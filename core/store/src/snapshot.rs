use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use pinnace_api::{Key, Object};

use crate::row_key::RowKey;
use crate::state::State;

/// The whole store at one revision. It never changes, and holding it holds up nobody.
#[derive(Clone)]
pub struct Snapshot(pub(crate) Arc<State>);

impl Snapshot {
    /// The revision it shows.
    pub fn revision(&self) -> u64 {
        self.0.revision
    }

    /// The object under a key.
    pub fn get(&self, table: &str, key: &Key) -> Option<&Object> {
        self.0.get(table, key)
    }

    /// How many objects a table has.
    pub fn len(&self, table: &str) -> usize {
        self.0.table(table).map_or(0, |rows| rows.len())
    }

    /// Whether a table has no objects.
    pub fn is_empty(&self, table: &str) -> bool {
        self.len(table) == 0
    }

    /// The objects of a table, by namespace and name.
    pub fn iter<'s>(&'s self, table: &str) -> impl Iterator<Item = &'s Object> + use<'s> {
        self.0.table(table).into_iter().flat_map(|rows| rows.values())
    }

    /// The objects of a table in one namespace, by name.
    pub fn iter_namespace<'s>(
        &'s self,
        table: &str,
        namespace: &str,
    ) -> impl Iterator<Item = &'s Object> + use<'s> {
        let start = RowKey::start_of(namespace);
        self.range(table, Bound::Included(start.clone()))
            .take_while(move |(key, _)| key.starts_with(&start))
            .map(|(_, object)| object)
    }

    /// The objects of a table, or of one of its namespaces, that come after a key: the next page.
    pub fn iter_after<'s>(
        &'s self,
        table: &str,
        namespace: Option<&str>,
        after: &Key,
    ) -> impl Iterator<Item = &'s Object> + use<'s> {
        let start = match namespace {
            Some(namespace) if after.namespace() < namespace => {
                Bound::Included(RowKey::start_of(namespace))
            }
            _ => Bound::Excluded(RowKey::new(after)),
        };
        let within = namespace.map(RowKey::start_of);
        self.range(table, start)
            .take_while(move |(key, _)| {
                within.as_ref().is_none_or(|namespace| key.starts_with(namespace))
            })
            .map(|(_, object)| object)
    }

    /// The names of the tables that have held objects.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.tables().map(|(name, _)| name)
    }

    fn range<'s>(
        &'s self,
        table: &str,
        start: Bound<RowKey>,
    ) -> impl Iterator<Item = (&'s RowKey, &'s Object)> + use<'s> {
        self.0
            .table(table)
            .into_iter()
            .flat_map(move |rows| rows.range((start.clone(), Bound::Unbounded)))
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot(@{})", self.revision())
    }
}
