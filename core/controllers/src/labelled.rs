//! Objects by their labels: who selects some must not look at all.

use std::collections::BTreeMap;

use pinnace_api::selector::Selector;
use pinnace_api::{Kind, Object, Typed};
use pinnace_client::{Informer, Lister};

/// The index of objects by each of their labels, within their namespace.
const BY_LABEL: &str = "label";

/// Makes [`selected`] quick.
pub(crate) fn index(informer: &Informer) {
    informer.index(BY_LABEL, |object| {
        let labels = object.labels().into_iter().flatten();
        labels.map(|(name, value)| entry(object.namespace(), name, value)).collect()
    });
}

fn entry(namespace: &str, name: &str, value: &str) -> String {
    format!("{namespace}/{name}={value}")
}

/// The objects of a namespace that a selector selects: found by the label that the fewest have, where
/// the selector asks for one.
pub(crate) fn selected<K: Kind>(
    objects: &Lister<K>,
    namespace: &str,
    selector: &Selector,
) -> Vec<Typed<K>> {
    let asked = selector.requirements().iter().filter_map(|one| {
        let value = selector.requires(one.key())?;
        Some(entry(namespace, one.key(), value))
    });
    let rarest = asked.min_by_key(|entry| objects.informer().count_by_index(BY_LABEL, entry));
    let mut found = match rarest {
        Some(entry) => objects.by_index(BY_LABEL, &entry),
        None => objects.list(Some(namespace)),
    };
    found.retain(|object| selector.matches(object.object().labels()));
    found
}

/// The index of those who select by labels, under one label that they ask for each.
const SELECTING: &str = "selecting";

/// Under what a selector of labels is found: its first label, or `*`.
pub(crate) fn selecting(namespace: &str, labels: Option<&BTreeMap<String, String>>) -> Vec<String> {
    let first = labels.and_then(|labels| labels.first_key_value());
    vec![match first {
        Some((name, value)) => entry(namespace, name, value),
        None => entry(namespace, "*", ""),
    }]
}

/// Makes [`selectors_of`] work, by an index made with [`selecting`].
pub(crate) fn index_selectors(informer: &Informer, values_of: fn(&Object) -> Vec<String>) {
    informer.index(SELECTING, values_of);
}

/// Those of a kind that may select an object: whether they do is for the caller to see.
pub(crate) fn selectors_of<K: Kind>(selectors: &Lister<K>, object: &Object) -> Vec<Typed<K>> {
    let labels = object.labels().into_iter().flatten();
    let entries = labels.map(|(name, value)| entry(object.namespace(), name, value));
    let entries = entries.chain([entry(object.namespace(), "*", "")]);
    entries.flat_map(|entry| selectors.by_index(SELECTING, &entry)).collect()
}
