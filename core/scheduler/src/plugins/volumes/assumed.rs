use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use pinnace_api::Key;

/// What pods that are being bound are going to have, until the API says so.
#[derive(Debug, Default)]
pub(super) struct Assumed(Mutex<HashMap<Arc<str>, Taken>>);

/// What one pod is going to have.
#[derive(Clone, Debug, Default)]
pub(super) struct Taken {
    /// Claims with the volumes that were found for them.
    pub(super) found: Vec<(Key, String)>,
    /// Claims whose volumes are to be made on the node.
    pub(super) made: Vec<Key>,
    pub(super) node: String,
}

impl Assumed {
    pub(super) fn take(&self, pod: &Arc<str>, taken: Taken) {
        self.0.lock().insert(pod.clone(), taken);
    }

    pub(super) fn give_back(&self, pod: &str) {
        self.0.lock().remove(pod);
    }

    pub(super) fn of(&self, pod: &str) -> Option<Taken> {
        self.0.lock().get(pod).cloned()
    }

    /// Whether a volume is to be another pod's.
    pub(super) fn is_taken(&self, volume: &str, pod: &str) -> bool {
        let all = self.0.lock();
        let mut others = all.iter().filter(|(uid, _)| &***uid != pod);
        others.any(|(_, taken)| taken.found.iter().any(|(_, name)| name == volume))
    }

    /// The node where a claim's volume is going to be, because of another pod.
    pub(super) fn node_of(&self, claim: &Key, pod: &str) -> Option<String> {
        let all = self.0.lock();
        let mut others = all.iter().filter(|(uid, _)| &***uid != pod).map(|(_, taken)| taken);
        let taken = others.find(|taken| {
            taken.made.contains(claim) || taken.found.iter().any(|(key, _)| key == claim)
        });
        taken.map(|taken| taken.node.clone())
    }
}
