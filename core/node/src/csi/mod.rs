//! Drivers of volumes that speak the Container Storage Interface: [`registration`] finds them,
//! [`publish`](mod@publish) and [`unpublish`] have them mount and unmount, [`in_use`] knows for which
//! pods, and [`state`] is what is kept of that on disk. Mounted volumes grow ([`expansion`]), are
//! published anew ([`upkeep`]) and measured ([`usage`]) beside what their pods do.

mod claimed;
pub(crate) mod expansion;
mod in_use;
mod protocol;
mod publish;
pub(crate) mod registration;
mod state;
mod unpublish;
pub(crate) mod upkeep;
pub(crate) mod usage;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore};

pub(crate) use claimed::source_of;
pub(crate) use publish::publish;
pub(crate) use unpublish::{remove_orphan, unpublish_all};

use crate::agent::Shared;
use in_use::InUse;
use protocol::{CALL_TIMEOUT, Capabilities, Empty, Failure};

/// How long to wait before something is tried again that has failed: at first, and at most, as
/// upstream.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(122);

/// The drivers that are registered, what they have mounted, and who works at which volume.
#[derive(Default)]
pub(crate) struct Drivers {
    known: Mutex<BTreeMap<String, Driver>>,
    in_use: InUse,
    usage: usage::Known,
    /// Work at one place never meets other work there.
    at_work: Mutex<HashMap<PathBuf, Weak<tokio::sync::Mutex<()>>>>,
}

/// A driver, as long as it is registered.
#[derive(Clone)]
struct Driver {
    /// Where it has registered.
    registration: PathBuf,
    /// Where it answers.
    endpoint: PathBuf,
    capabilities: Arc<OnceCell<Capabilities>>,
    /// Questions about the use of volumes that it may be asked at once.
    questions: Arc<Semaphore>,
}

impl Driver {
    /// What it can do, which it is asked once.
    async fn capabilities(&self) -> Result<&Capabilities, Failure> {
        let method = "/csi.v1.Node/NodeGetCapabilities";
        let ask = || protocol::call(&self.endpoint, method, Empty {}, CALL_TIMEOUT);
        // Who waits for another to ask waits no longer than it would itself.
        let known = tokio::time::timeout(CALL_TIMEOUT, self.capabilities.get_or_try_init(ask));
        known.await.map_err(|_| Failure::late()).flatten()
    }
}

impl Drivers {
    /// Takes up what was in use before a restart. Blocks.
    pub(crate) fn recall(&self, state: &Path) {
        self.in_use.recall(state);
    }

    /// What the node's status says to be in use.
    pub(crate) fn in_use(&self) -> Vec<String> {
        self.in_use.names().into_iter().collect()
    }

    /// Whether a driver has mounted something for a pod.
    pub(crate) fn has_volumes(&self, uid: &str) -> bool {
        !self.in_use.of_pod(uid).is_empty()
    }

    fn add(&self, name: &str, registration: PathBuf, endpoint: PathBuf) {
        let questions = Arc::new(Semaphore::new(usage::QUESTIONS_AT_ONCE));
        let driver = Driver { registration, endpoint, capabilities: Arc::default(), questions };
        self.known.lock().insert(name.to_owned(), driver);
    }

    /// Lets go of a driver, unless it has registered elsewhere since; says whether it has gone.
    fn remove(&self, name: &str, registration: &Path) -> bool {
        let mut known = self.known.lock();
        let same = known.get(name).is_some_and(|driver| driver.registration == registration);
        same && known.remove(name).is_some()
    }

    fn driver(&self, name: &str) -> Result<Driver, String> {
        self.known.lock().get(name).cloned().ok_or_else(|| {
            format!("driver name {name} not found in the list of registered CSI drivers")
        })
    }

    /// The lock of a place.
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
}

async fn blocking<T: Send + 'static>(
    shared: &Shared,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, String> {
    shared.tasks.spawn_blocking(work).await.map_err(text)?.map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
