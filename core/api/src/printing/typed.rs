use std::cmp::Ordering;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::{Column, Completed, Printer};
use crate::{ApiError, Draft, Kind, Object, Result};

/// A built-in kind and its printer.
pub(super) struct Entry {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
    pub(super) printer: Arc<dyn Printer>,
}

impl Entry {
    pub(super) fn new<K: Kind + k8s_openapi::Resource>(
        columns: &'static [Column],
        cells: fn(&K, Timestamp) -> Vec<Value>,
    ) -> Self {
        Self::of(TypedPrinter { columns, cells, completed: |_| None, order: None })
    }

    pub(super) fn of<K: Kind + k8s_openapi::Resource>(printer: TypedPrinter<K>) -> Self {
        Self { group: K::GROUP, version: K::VERSION, kind: K::KIND, printer: Arc::new(printer) }
    }
}

/// A printer by functions over a type.
pub(super) struct TypedPrinter<K> {
    pub(super) columns: &'static [Column],
    pub(super) cells: fn(&K, Timestamp) -> Vec<Value>,
    pub(super) completed: fn(&K) -> Option<Completed>,
    pub(super) order: Option<fn(&K, &K) -> Ordering>,
}

impl<K: Kind + k8s_openapi::Resource> Printer for TypedPrinter<K> {
    fn columns(&self) -> &[Column] {
        self.columns
    }

    fn cells(&self, object: &Object, now: Timestamp) -> Result<Vec<Value>> {
        match object.get::<K>() {
            Ok(object) => Ok((self.cells)(object, now)),
            Err(_) => Ok((self.cells)(&in_this_version(object)?, now)),
        }
    }

    fn completed(&self, object: &Object) -> Option<Completed> {
        object.get::<K>().ok().and_then(self.completed)
    }

    fn sort(&self, objects: &mut [Object]) {
        if let Some(order) = self.order {
            objects.sort_by(|a, b| match (a.get::<K>(), b.get::<K>()) {
                (Ok(a), Ok(b)) => order(a, b),
                _ => Ordering::Equal,
            });
        }
    }
}

/// Versions of a kind agree in the fields that are printed, so one printer does for all.
fn in_this_version<K: Kind + k8s_openapi::Resource>(object: &Object) -> Result<K> {
    let mut value = object.to_value()?;
    if value["kind"] != K::KIND {
        return Err(ApiError::internal(format!("{} is not a {}", object.key(), K::KIND)));
    }
    value["apiVersion"] = K::API_VERSION.into();
    let draft = Draft::from_value(K::codec(), value)?;
    draft.get().cloned().ok_or_else(|| ApiError::internal("read as another kind"))
}
