//! Garbage collection: what an object owns goes with it, before it, or stays without it, as the
//! deletion asked for.
//!
//! Handlers of informers keep an index from an owner's uid to its dependents and enqueue whatever
//! a change may have made superfluous, so work is proportional to the change. Workers look at one
//! object each, live, and decide.

mod graph;
mod item;
mod owners;
mod writes;

use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use parking_lot::{Mutex, RwLock};
use pinnace_api::{Catalog, Resource, Result};
use pinnace_client::{Informer, Informers, Recorder};
use pinnace_reconcile::{Queue, SHUTDOWN_GRACE};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Context;
use graph::Graph;
use item::Item;
use owners::Absent;

/// How many objects are looked at at once.
const WORKERS: usize = 16;
/// After how many objects a worker gives other tasks their turn: calls within the process never
/// wait, so that it would not do so by itself.
const YIELD_EVERY: usize = 8;

/// Deletes what has lost its owners.
pub(crate) struct GarbageCollector(Arc<Shared>);

struct Shared {
    informers: Informers,
    recorder: Recorder,
    queue: Queue<Item>,
    graph: Mutex<Graph>,
    /// The kinds that take part, by `plural.group`.
    kinds: RwLock<HashMap<Arc<str>, Informer, ahash::RandomState>>,
    absent: Mutex<Absent>,
    /// Wakes whoever looks for kinds that have joined the catalog.
    rescan: Notify,
}

impl GarbageCollector {
    /// A collector for every kind of the catalog.
    ///
    /// # Errors
    /// None so far: every kind that can be listed and deleted takes part.
    pub(crate) fn new(context: &Context) -> Result<Self> {
        let shared = Arc::new(Shared {
            informers: context.informers.clone(),
            recorder: context.recorder.component("garbage-collector-controller"),
            queue: Queue::new(context.env.random().clone()),
            graph: Mutex::default(),
            kinds: RwLock::default(),
            absent: Mutex::default(),
            rescan: Notify::new(),
        });
        let weak = Arc::downgrade(&shared);
        shared.catalog().on_change(move || {
            if let Some(shared) = weak.upgrade() {
                shared.rescan.notify_one();
            }
        });
        Ok(Self(shared))
    }

    /// Runs until stopped; what is being looked at then may end for at most [`SHUTDOWN_GRACE`].
    pub(crate) async fn run(self, stop: CancellationToken) {
        let shared = self.0;
        if stop.run_until_cancelled(shared.join_kinds()).await.is_none() {
            return;
        }
        let mut tasks = JoinSet::new();
        for _ in 0..WORKERS {
            tasks.spawn(work(shared.clone(), stop.clone()));
        }
        let scanner = shared.clone();
        let scan = async move {
            loop {
                scanner.rescan.notified().await;
                scanner.join_kinds().await;
            }
        };
        stop.run_until_cancelled(scan).await;
        let ended = tokio::time::timeout(SHUTDOWN_GRACE, async {
            while tasks.join_next().await.is_some() {}
        });
        if ended.await.is_err() {
            tasks.shutdown().await;
        }
    }
}

impl fmt::Debug for GarbageCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GarbageCollector")
    }
}

async fn work(shared: Arc<Shared>, stop: CancellationToken) {
    let mut looked: usize = 0;
    while let Some(item) = stop.run_until_cancelled(shared.queue.next()).await {
        match AssertUnwindSafe(shared.look_at(&item)).catch_unwind().await {
            Ok(Ok(())) => shared.queue.forget(&item),
            Ok(Err(error)) => {
                tracing::debug!(%item, %error, "garbage collection failed");
                shared.queue.retry(item.clone());
            }
            Err(_) => {
                tracing::error!(%item, "garbage collection panicked");
                shared.queue.retry(item.clone());
            }
        }
        shared.queue.done(&item);
        looked += 1;
        if looked.is_multiple_of(YIELD_EVERY) {
            tokio::task::yield_now().await;
        }
    }
}

impl Shared {
    fn catalog(&self) -> &Catalog {
        self.informers.client().catalog()
    }

    fn informer(&self, kind: &str) -> Option<Informer> {
        self.kinds.read().get(kind).cloned()
    }

    /// Takes kinds in that are new in the catalog. All their caches are read before the first
    /// object is looked at: an owner that is not in a cache has to be asked for. Other servers are
    /// not waited for, for they may be away.
    async fn join_kinds(self: &Arc<Self>) {
        let new: Vec<Informer> = {
            let mut kinds = self.kinds.write();
            let mut new = Vec::new();
            for kind in self.catalog().all() {
                if takes_part(&kind) && !kinds.contains_key(kind.name()) {
                    let informer = self.informers.resource(kind.clone());
                    kinds.insert(kind.name().clone(), informer.clone());
                    new.push(informer);
                }
            }
            new
        };
        for informer in new.iter().filter(|one| !one.resource().is_elsewhere()) {
            informer.synced().await;
        }
        for informer in new {
            let shared = Arc::downgrade(self);
            let kind = informer.resource().name().clone();
            informer.on_change(move |delta| {
                if let Some(shared) = shared.upgrade() {
                    shared.observe(&kind, delta);
                }
            });
            tokio::task::yield_now().await;
        }
    }
}

/// Events neither own nor are owned, and there are many.
fn takes_part(kind: &Resource) -> bool {
    kind.kind != "Event"
        && ["list", "watch", "delete"].iter().all(|verb| kind.verbs.0.contains(verb))
}
