//! Printing columns: what `kubectl get` shows of each kind, as upstream's server makes it.
//!
//! A [`Printer`] has the columns of a kind and makes the cells of an object; each [`Resource`] of
//! the catalog has one. [`table`] puts them together as a `Table` of `meta.k8s.io/v1`. What time
//! it is comes from the caller.
//!
//! [`Resource`]: crate::Resource

mod admission;
mod age;
mod apps;
mod autoscaling;
mod batch;
mod certificates;
mod cluster;
mod core;
mod custom;
mod event;
mod flow_control;
mod json_path;
mod metrics;
mod networking;
mod node;
mod pod;
mod policy;
mod resource_claims;
mod scheduling;
mod service;
mod storage;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod typed;
mod volumes;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

pub use age::human_duration;
pub use custom::{CustomPrinter, DefaultPrinter};
pub use table::{IncludeObject, TableOptions, table};
use typed::Entry;

use crate::{Object, Result};

/// What `kubectl get` shows of a kind.
pub trait Printer: Send + Sync {
    /// The columns, those of wide output included.
    fn columns(&self) -> &[Column];

    /// The cells of an object, one per column: text, whole numbers, `true` or `false`.
    ///
    /// # Errors
    /// `InternalError` when the object is not of the printer's kind.
    fn cells(&self, object: &Object, now: Timestamp) -> Result<Vec<Value>>;

    /// How an object has ended, if it has: clients may show such rows differently.
    fn completed(&self, _object: &Object) -> Option<Completed> {
        None
    }

    /// Puts the objects of a list into the order in which they are shown.
    fn sort(&self, _objects: &mut [Object]) {}
}

/// How a row's object has ended: the `Completed` condition of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completed {
    /// One word, such as `Succeeded`.
    pub reason: &'static str,
    /// A sentence.
    pub message: &'static str,
}

/// A column, as `TableColumnDefinition` of `meta.k8s.io/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    /// Its title.
    pub name: Cow<'static, str>,
    /// The OpenAPI type of its cells: `string`, `integer`, `number`, `boolean`, `date`.
    #[serde(rename = "type")]
    pub kind: Cow<'static, str>,
    /// The OpenAPI format of its cells; `name` says which column holds the object's name.
    pub format: Cow<'static, str>,
    /// What it shows.
    pub description: Cow<'static, str>,
    /// 0 for what is always shown; higher for what is shown where there is room.
    pub priority: i32,
}

impl Column {
    const fn new(
        name: &'static str,
        kind: &'static str,
        format: &'static str,
        description: &'static str,
    ) -> Self {
        Self {
            name: Cow::Borrowed(name),
            kind: Cow::Borrowed(kind),
            format: Cow::Borrowed(format),
            description: Cow::Borrowed(description),
            priority: 0,
        }
    }

    const fn text(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "string", "", description)
    }

    const fn integer(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "integer", "", description)
    }

    const fn boolean(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "boolean", "", description)
    }

    /// Shown only where there is room.
    const fn wide(mut self) -> Self {
        self.priority = 1;
        self
    }
}

const NAME: Column = Column::new("Name", "string", "name", "Name of the object");
const AGE: Column = Column::text("Age", "Time since the object was created");

/// The printer of a built-in kind. A version that has none of its own is printed as another
/// version of the same kind; a kind that has none by name and time of creation.
pub fn builtin(group: &str, version: &str, kind: &str) -> Arc<dyn Printer> {
    static ENTRIES: OnceLock<Vec<Entry>> = OnceLock::new();
    let entries = ENTRIES.get_or_init(entries);
    let same = |entry: &&Entry| entry.group == group && entry.kind == kind;
    entries
        .iter()
        .find(|entry| same(entry) && entry.version == version)
        .or_else(|| entries.iter().find(same))
        .map_or_else(|| Arc::new(DefaultPrinter) as Arc<dyn Printer>, |entry| entry.printer.clone())
}

fn entries() -> Vec<Entry> {
    [
        pod::printers(),
        core::printers(),
        node::printers(),
        service::printers(),
        volumes::printers(),
        event::printers(),
        apps::printers(),
        batch::printers(),
        autoscaling::printers(),
        networking::printers(),
        policy::printers(),
        storage::printers(),
        scheduling::printers(),
        admission::printers(),
        certificates::printers(),
        flow_control::printers(),
        resource_claims::printers(),
        cluster::printers(),
        metrics::printers(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A row's cells from values of different types.
macro_rules! cells {
    ($($cell:expr),* $(,)?) => { vec![$(::serde_json::Value::from($cell)),*] };
}
use cells;
