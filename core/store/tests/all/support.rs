//! Objects to write, and short ways to write them.

use std::sync::Arc;

use pinnace_api::k8s_openapi::api::core::v1::ConfigMap;
use pinnace_api::{Codec, Draft, Key, Object};
use pinnace_store::{Backend, CommitError, Committed, Expect, Store, StoreError, Transaction};

pub(crate) const TABLE: &str = "configmaps";

/// A ConfigMap in namespace `default` with a value in it.
pub(crate) fn draft(key: &Key, value: u64) -> Draft {
    let mut config_map = ConfigMap::default();
    config_map.metadata.namespace = Some(key.namespace().to_owned());
    config_map.metadata.name = Some(key.name().to_owned());
    config_map.data = Some([("value".to_owned(), value.to_string())].into());
    Draft::new(config_map)
}

/// The value that [`draft`] put in.
pub(crate) fn value(object: &Object) -> u64 {
    object.get::<ConfigMap>().unwrap().data.as_ref().unwrap()["value"].parse().unwrap()
}

pub(crate) fn key(name: &str) -> Key {
    Key::new("default", name)
}

pub(crate) fn put(table: &str, name: &str, expect: Expect, value: u64) -> Transaction {
    let mut transaction = Transaction::new();
    transaction.put(&table.into(), key(name), expect, draft(&key(name), value));
    transaction
}

pub(crate) fn delete(table: &str, name: &str, expect: Expect) -> Transaction {
    let mut transaction = Transaction::new();
    transaction.delete(&table.into(), key(name), expect);
    transaction
}

/// Puts a value under a name.
pub(crate) async fn set(store: &Store, name: &str, value: u64) -> Result<Committed, CommitError> {
    store.commit(put(TABLE, name, Expect::Any, value)).await
}

/// The value readers see under a name.
pub(crate) fn seen(store: &Store, name: &str) -> Option<u64> {
    store.snapshot().get(TABLE, &key(name)).map(value)
}

pub(crate) async fn open(backend: impl Backend + 'static) -> Result<Store, StoreError> {
    Store::open(Box::new(backend), Arc::new(|_| Codec::of::<ConfigMap>())).await
}
