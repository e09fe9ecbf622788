//! Which volumes drivers have mounted for which pods, or are about to: in memory what
//! [`state`](super::state) keeps on disk, so that one pod can be told from another without reading
//! the directories of all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use pinnace_api::quantity::Quantity;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::claimed::Claimed;
use super::state::{self, Published};
use super::text;
use crate::agent::Shared;
use crate::heartbeat;
use crate::pod::tokens::Token;

/// The uid of a pod, and the name under which it has a volume.
pub(super) type Of = (String, String);

#[derive(Default)]
pub(super) struct InUse {
    volumes: Mutex<BTreeMap<Of, Volume>>,
    /// By the unique name of the volume, whichever pods have it.
    growths: Mutex<HashMap<String, Growth>>,
    /// That one is to be looked at sooner than was known.
    sooner: Notify,
    /// What the node's status says; held while that is written.
    told: tokio::sync::Mutex<Option<BTreeSet<String>>>,
}

struct Volume {
    published: Published,
    mounted: Option<Mounted>,
}

/// What is known of a volume that this agent has had mounted.
#[derive(Clone)]
pub(super) struct Mounted {
    pub(super) claimed: Arc<Claimed>,
    /// The tokens that the driver was given.
    pub(super) tokens: Vec<Token>,
    /// When to see whether the driver wants to be told again.
    pub(super) due: Instant,
}

/// How far a volume has grown on this machine.
#[derive(Clone, Default)]
pub(super) struct Growth {
    /// What it is believed to hold.
    pub(super) size: Option<Quantity>,
    /// Whether the driver has said that it is not to be tried again as it was.
    pub(super) has_failed: bool,
    /// Whether the driver does not let it grow as long as it is in use.
    pub(super) waits_for_end: bool,
    is_worked_at: bool,
    has_news: bool,
}

impl InUse {
    /// Takes up what was in use before a restart. Blocks.
    pub(super) fn recall(&self, state: &Path) {
        let pods = crate::volumes::pods_on_disk(state).into_iter();
        let all = pods.flat_map(|uid| {
            let volumes = state::volumes_of(state, &uid).into_iter();
            volumes.map(move |published| {
                let of = (uid.clone(), published.name.clone());
                (of, Volume { published, mounted: None })
            })
        });
        self.volumes.lock().extend(all);
    }

    pub(super) fn insert(&self, uid: &str, published: Published) {
        let of = (uid.to_owned(), published.name.clone());
        self.volumes.lock().insert(of, Volume { published, mounted: None });
    }

    pub(super) fn remove(&self, of: &Of) {
        let mut volumes = self.volumes.lock();
        let Some(removed) = volumes.remove(of) else { return };
        let name = removed.published.unique_name();
        if !volumes.values().any(|other| other.published.unique_name() == name) {
            self.growths.lock().remove(&name);
        }
    }

    /// Notes that a volume is mounted.
    pub(super) fn mounted(&self, of: &Of, mounted: Mounted) {
        if let Some(volume) = self.volumes.lock().get_mut(of) {
            volume.mounted = Some(mounted);
            self.sooner.notify_one();
        }
    }

    /// A volume that is mounted.
    pub(super) fn get(&self, of: &Of) -> Option<(Published, Mounted)> {
        let volumes = self.volumes.lock();
        let volume = volumes.get(of)?;
        Some((volume.published.clone(), volume.mounted.clone()?))
    }

    /// The volumes of a pod.
    pub(super) fn of_pod(&self, uid: &str) -> Vec<Published> {
        let volumes = self.volumes.lock();
        let all = volumes.range((uid.to_owned(), String::new())..);
        let own = all.take_while(|((of, _), _)| of == uid);
        own.map(|(_, volume)| volume.published.clone()).collect()
    }

    /// The volumes that are mounted, and for which pods.
    pub(super) fn all_mounted(&self) -> Vec<(Of, Published)> {
        let volumes = self.volumes.lock();
        let mounted = volumes.iter().filter(|(_, volume)| volume.mounted.is_some());
        mounted.map(|(of, volume)| (of.clone(), volume.published.clone())).collect()
    }

    /// A pod that has a volume of this name mounted and may write to it.
    pub(super) fn writer_of(&self, unique_name: &str) -> Option<Of> {
        let volumes = self.volumes.lock();
        let writes = |volume: &Volume| {
            let claimed = volume.mounted.as_ref().map(|mounted| &mounted.claimed);
            claimed.is_some_and(|claimed| claimed.source.read_only != Some(true))
                && volume.published.unique_name() == unique_name
        };
        volumes.iter().find(|(_, volume)| writes(volume)).map(|(of, _)| of.clone())
    }

    /// Whether another pod has a volume staged at the same place, or is about to.
    pub(super) fn is_staged_for_another(&self, uid: &str, staging: &Path) -> bool {
        let volumes = self.volumes.lock();
        volumes.iter().any(|((of, _), one)| of != uid && one.published.staging_path == staging)
    }

    /// What the node's status says to be in use.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.volumes.lock().values().map(|volume| volume.published.unique_name()).collect()
    }

    /// Waits until a volume is due to be looked at.
    pub(super) async fn until_due(&self) {
        loop {
            let wait = async {
                match self.next_due() {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = wait => return,
                () = self.sooner.notified() => {}
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let volumes = self.volumes.lock();
        volumes.values().filter_map(|volume| Some(volume.mounted.as_ref()?.due)).min()
    }

    /// Takes the volumes that are due; they are due again at `again`.
    pub(super) fn take_due(&self, again: impl Fn() -> Instant) -> Vec<Of> {
        let now = Instant::now();
        let mut due = Vec::new();
        for (of, volume) in self.volumes.lock().iter_mut() {
            if let Some(mounted) = volume.mounted.as_mut().filter(|mounted| mounted.due <= now) {
                mounted.due = again();
                due.push(of.clone());
            }
        }
        due
    }

    pub(super) fn growth(&self, unique_name: &str) -> Growth {
        self.growths.lock().get(unique_name).cloned().unwrap_or_default()
    }

    pub(super) fn change_growth(&self, unique_name: &str, change: impl FnOnce(&mut Growth)) {
        change(self.growths.lock().entry(unique_name.to_owned()).or_default());
    }

    /// Begins to work at the growth of a volume. When somebody does already, that one looks again.
    pub(super) fn begins_to_grow(&self, unique_name: &str) -> bool {
        let mut growths = self.growths.lock();
        let growth = growths.entry(unique_name.to_owned()).or_default();
        growth.has_news = growth.is_worked_at;
        !std::mem::replace(&mut growth.is_worked_at, true)
    }

    /// Says whether there is nothing more to do, and ends the work then.
    pub(super) fn has_grown(&self, unique_name: &str) -> bool {
        let mut growths = self.growths.lock();
        let Some(growth) = growths.get_mut(unique_name) else { return true };
        if !std::mem::take(&mut growth.has_news) {
            growth.is_worked_at = false;
        }
        !growth.is_worked_at
    }
}

/// Has the node's status say what is in use, unless it does already: what it names nobody may detach.
///
/// # Errors
/// What the API answers.
pub(super) async fn tell(shared: &Arc<Shared>) -> Result<(), String> {
    let in_use = &shared.csi.in_use;
    let mut told = in_use.told.lock().await;
    let now = in_use.names();
    if told.as_ref() == Some(&now) {
        return Ok(());
    }
    for host in shared.hosts.values() {
        heartbeat::write_status(shared, host).await.map_err(text)?;
    }
    *told = Some(now);
    Ok(())
}
