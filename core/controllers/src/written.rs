use std::collections::HashMap;

use parking_lot::Mutex;
use pinnace_api::Key;
use pinnace_client::Informer;

/// What a controller has written last for each key, so that its next look does not miss it.
#[derive(Debug, Default)]
pub(crate) struct Written(Mutex<HashMap<Key, u64, ahash::RandomState>>);

impl Written {
    /// Notes a write for a key.
    pub(crate) fn note(&self, key: &Key, revision: u64) {
        let mut revisions = self.0.lock();
        let last = revisions.entry(key.clone()).or_default();
        *last = revision.max(*last);
    }

    /// Waits until a cache has seen what was written for a key.
    pub(crate) async fn seen_by(&self, informer: &Informer, key: &Key) {
        let revision = self.0.lock().remove(key);
        if let Some(revision) = revision {
            informer.caught_up(revision).await;
        }
    }
}
