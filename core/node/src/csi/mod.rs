//! Drivers of volumes that speak the Container Storage Interface: [`registration`] finds them,
//! [`volumes`](mod@volumes) has them mount, [`state`] is what is kept of that on disk.

mod protocol;
pub(crate) mod registration;
mod state;
mod volumes;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

pub(crate) use state::has_volumes;
pub(crate) use volumes::{publish, remove_orphan, source_of, unpublish_all};

/// The drivers that are registered, and who works at which volume.
#[derive(Default)]
pub(crate) struct Drivers {
    known: Mutex<BTreeMap<String, Driver>>,
    /// Staging and unstaging of one volume never meet.
    at_work: Mutex<HashMap<PathBuf, Weak<tokio::sync::Mutex<()>>>>,
    /// The volumes in use by their unique names.
    in_use: Mutex<BTreeSet<String>>,
}

struct Driver {
    /// Where it has registered.
    registration: PathBuf,
    /// Where it answers.
    endpoint: PathBuf,
}

impl Drivers {
    /// Takes up what was in use before a restart. Blocks.
    pub(crate) fn recall(&self, state: &Path) {
        let pods = crate::volumes::pods_on_disk(state).into_iter();
        let all = pods.flat_map(|uid| state::volumes_of(state, &uid));
        self.in_use.lock().extend(all.map(|(_, published)| published.unique_name()));
    }

    fn add(&self, name: &str, registration: PathBuf, endpoint: PathBuf) {
        self.known.lock().insert(name.to_owned(), Driver { registration, endpoint });
    }

    /// Lets go of a driver, unless it has registered elsewhere since; says whether it has gone.
    fn remove(&self, name: &str, registration: &Path) -> bool {
        let mut known = self.known.lock();
        let same = known.get(name).is_some_and(|driver| driver.registration == registration);
        same && known.remove(name).is_some()
    }

    fn endpoint(&self, name: &str) -> Result<PathBuf, String> {
        let known = self.known.lock();
        let driver = known.get(name).map(|driver| driver.endpoint.clone());
        driver.ok_or_else(|| {
            format!("driver name {name} not found in the list of registered CSI drivers")
        })
    }

    /// The lock of a volume, by where it is kept.
    fn lock(&self, place: &Path) -> Arc<tokio::sync::Mutex<()>> {
        let mut at_work = self.at_work.lock();
        if let Some(lock) = at_work.get(place).and_then(Weak::upgrade) {
            return lock;
        }
        at_work.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        at_work.insert(place.to_owned(), Arc::downgrade(&lock));
        lock
    }

    /// What the node's status says to be in use.
    pub(crate) fn in_use(&self) -> Vec<String> {
        self.in_use.lock().iter().cloned().collect()
    }
}
