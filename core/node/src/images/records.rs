use std::collections::{BTreeMap, HashSet};

use pinnace_runtime::Image;
use tokio::time::Instant;

/// An image that was seen on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) first_seen: Instant,
    /// When it was in use last; when it was first seen, if it never was.
    pub(super) last_used: Instant,
    pub(super) size: u64,
}

/// The images of a node, by identity.
#[derive(Default)]
pub(super) struct Records(BTreeMap<String, Record>);

impl Records {
    /// Takes note of the images that there are, and gives those that are not in use, in the order
    /// in which they go.
    pub(super) fn note(
        &mut self,
        images: &[Image],
        used: &HashSet<String>,
        now: Instant,
    ) -> Vec<Record> {
        let there: HashSet<&str> = images.iter().map(|image| &*image.id).collect();
        self.0.retain(|id, _| there.contains(id.as_str()));
        for image in images {
            let new = || Record { id: image.id.clone(), first_seen: now, last_used: now, size: 0 };
            let record = self.0.entry(image.id.clone()).or_insert_with(new);
            record.size = image.size;
            if used.contains(&image.id) {
                record.last_used = now;
            }
        }
        let unused = self.0.values().filter(|record| !used.contains(&record.id));
        let mut unused: Vec<Record> = unused.cloned().collect();
        unused.sort_by_key(|record| (record.last_used, record.first_seen));
        unused
    }

    pub(super) fn forget(&mut self, id: &str) {
        self.0.remove(id);
    }
}
