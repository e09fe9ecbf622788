use std::collections::HashMap;

use parking_lot::Mutex;
use pinnace_api::Key;
use pinnace_client::Delta;
use tokio::sync::Notify;

use crate::cluster::Owner;
use crate::framework::Events;

/// What the scheduler watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Watched {
    Node,
    Pod,
    Namespace,
    Service,
    Owner(Owner),
    Budget,
    /// What no part of the scheduler keeps account of: plugins are told that it changed.
    Storage(Events),
}

/// Changes on their way from the informers to the scheduler. Several changes of one object become
/// one, so there are never more than there are objects, however late the scheduler is.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    changes: Vec<(Watched, Delta)>,
    places: HashMap<(Watched, Key), usize, ahash::RandomState>,
}

impl Inbox {
    pub(crate) fn push(&self, kind: Watched, delta: &Delta) {
        let Some(object) = delta.object() else { return };
        let waiting = &mut *self.waiting.lock();
        let place = *waiting.places.entry((kind, object.key())).or_insert(waiting.changes.len());
        match waiting.changes.get_mut(place) {
            Some((_, known)) => known.new = delta.new.clone(),
            None => waiting.changes.push((kind, delta.clone())),
        }
        self.arrived.notify_one();
    }

    /// Takes all changes out, in the order in which their objects first changed.
    pub(crate) fn take(&self) -> Vec<(Watched, Delta)> {
        let waiting = &mut *self.waiting.lock();
        waiting.places.clear();
        std::mem::take(&mut waiting.changes)
    }

    /// Waits until there is something to take.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Node;
    use pinnace_api::{Draft, Object};

    fn version(revision: u64) -> Option<Object> {
        let mut node = Node::default();
        node.metadata.name = Some("a".into());
        Some(Draft::new(node).commit(revision))
    }

    #[test]
    fn changes_of_one_object_become_one() {
        let inbox = Inbox::default();
        inbox.push(Watched::Node, &Delta { old: version(1), new: version(2) });
        inbox.push(Watched::Pod, &Delta { old: None, new: version(9) });
        inbox.push(Watched::Node, &Delta { old: version(2), new: version(3) });
        let taken: Vec<_> = inbox
            .take()
            .into_iter()
            .map(|(kind, delta)| {
                let revision = |object: Option<Object>| object.map(|object| object.revision());
                (kind, revision(delta.old), revision(delta.new))
            })
            .collect();
        assert_eq!(taken, [(Watched::Node, Some(1), Some(3)), (Watched::Pod, None, Some(9))]);
        assert!(inbox.take().is_empty());
    }
}
