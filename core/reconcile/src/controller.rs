use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use pinnace_api::{Key, Object};
use pinnace_client::{Delta, Informer};
use pinnace_env::Env;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Queue;

/// Any error: a reconcile that fails is logged and tried again, whatever it failed of.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How long reconciles in flight may go on after the stop; then they are dropped. They are
/// restartable at any point, so nothing is lost.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// How many reconciles run at once if nobody says otherwise.
const WORKERS: usize = 4;

/// Brings the world to what one object asks for.
#[async_trait]
pub trait Reconciler: Send + Sync + 'static {
    /// A name for logs, such as `deployment`.
    fn name(&self) -> &str;

    /// Compares what is with what should be, for one object, and takes steps towards it.
    ///
    /// Must be idempotent, for it runs again after a crash, a conflict or a doubt; it reads from
    /// caches and writes through the client. The object may be gone.
    ///
    /// # Errors
    /// Any: the key is tried again, later with each failure.
    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError>;
}

/// What is to happen after a reconcile that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing until something changes.
    Done,
    /// Reconcile again after this time, even if nothing changes.
    RequeueAfter(Duration),
}

/// Runs a [`Reconciler`]: collects keys from what is watched, and works them off.
pub struct Controller {
    reconciler: Arc<dyn Reconciler>,
    queue: Queue,
    workers: usize,
    watched: Vec<Informer>,
}

impl Controller {
    /// A controller that watches nothing yet.
    pub fn new(reconciler: impl Reconciler, env: &Env) -> Self {
        Self::shared(Arc::new(reconciler), env)
    }

    /// As [`Controller::new`], for a reconciler that others hold too.
    pub fn shared(reconciler: Arc<dyn Reconciler>, env: &Env) -> Self {
        let queue = Queue::new(env.random().clone());
        Self { reconciler, queue, workers: WORKERS, watched: Vec::new() }
    }

    /// Sets how many keys are reconciled at once.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers.max(1);
        self
    }

    /// Where keys may be added from elsewhere.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Reconciles every object of a kind when it changes.
    pub fn watches(self, informer: &Informer) -> Self {
        self.maps(informer, |delta, queue| {
            if let Some(object) = delta.object() {
                queue.add(object.key());
            }
        })
    }

    /// Reconciles the owner of an object when the object changes: the `kind` of `api_group` that
    /// its controller reference names, before and after the change.
    pub fn owns(self, informer: &Informer, api_group: &'static str, kind: &'static str) -> Self {
        self.maps(informer, move |delta, queue| {
            let owner = |object: &Object| owner_key(object, api_group, kind);
            let old = delta.old.as_ref().and_then(owner);
            let new = delta.new.as_ref().and_then(owner);
            if old != new
                && let Some(old) = old
            {
                queue.add(old);
            }
            if let Some(new) = new {
                queue.add(new);
            }
        })
    }

    /// Has `map` add whatever keys a change of an object of another kind concerns. It must not
    /// block.
    pub fn maps(
        mut self,
        informer: &Informer,
        map: impl Fn(&Delta, &Queue) + Send + Sync + 'static,
    ) -> Self {
        let queue = self.queue.clone();
        informer.on_change(move |delta| map(delta, &queue));
        self.watched.push(informer.clone());
        self
    }

    /// Runs until stopped: first waits until everything watched has been read once. When told to
    /// stop, it lets reconciles in flight end for at most [`SHUTDOWN_GRACE`].
    pub async fn run(self, stop: CancellationToken) {
        for informer in &self.watched {
            if stop.run_until_cancelled(informer.synced()).await.is_none() {
                return;
            }
        }
        let mut workers = JoinSet::new();
        for _ in 0..self.workers {
            let worker = work(self.reconciler.clone(), self.queue.clone(), stop.clone());
            workers.spawn(worker);
        }
        stop.cancelled().await;
        let ended = tokio::time::timeout(SHUTDOWN_GRACE, async {
            while workers.join_next().await.is_some() {}
        });
        if ended.await.is_err() {
            tracing::warn!(controller = self.reconciler.name(), "reconciles cut off by the stop");
            workers.shutdown().await;
        }
    }
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Controller({})", self.reconciler.name())
    }
}

async fn work(reconciler: Arc<dyn Reconciler>, queue: Queue, stop: CancellationToken) {
    while let Some(key) = stop.run_until_cancelled(queue.next()).await {
        // A panic in one reconcile must not take the engine, or the host, with it.
        let result = AssertUnwindSafe(reconciler.reconcile(&key)).catch_unwind().await;
        match result {
            Ok(Ok(action)) => {
                queue.forget(&key);
                if let Action::RequeueAfter(delay) = action {
                    queue.add_after(key.clone(), delay);
                }
            }
            Ok(Err(error)) => {
                tracing::debug!(controller = reconciler.name(), %key, %error, "reconcile failed");
                queue.retry(key.clone());
            }
            Err(panic) => {
                let message = panic_message(&*panic);
                tracing::error!(controller = reconciler.name(), %key, message, "reconcile panicked");
                queue.retry(key.clone());
            }
        }
        queue.done(&key);
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of unknown cause")
}

fn owner_key(object: &Object, api_group: &str, kind: &str) -> Option<Key> {
    let owner = object.controller()?;
    let group = owner.api_version.split_once('/').map_or("", |(group, _)| group);
    (owner.kind == kind && group == api_group)
        .then(|| Key::new(object.namespace(), owner.name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use tokio::time::Instant;

    /// Does what the name of the key says, and notes when.
    struct Scripted {
        runs: Mutex<Vec<(String, u64)>>,
        start: Instant,
    }

    #[async_trait]
    impl Reconciler for Scripted {
        fn name(&self) -> &str {
            "scripted"
        }
        async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
            let run = {
                let mut runs = self.runs.lock();
                runs.push((key.name().to_owned(), self.start.elapsed().as_secs()));
                runs.iter().filter(|(name, _)| name == key.name()).count()
            };
            match (key.name(), run) {
                ("panics", 1) => panic!("out of coffee"),
                ("fails", 1) => Err("not yet".into()),
                ("again", 1) => Ok(Action::RequeueAfter(Duration::from_secs(7))),
                ("slow", _) => {
                    tokio::time::sleep(Duration::from_secs(3)).await;
                    Ok(Action::Done)
                }
                _ => Ok(Action::Done),
            }
        }
    }

    async fn runs_of(names: &[&str], seconds: u64) -> Vec<(String, u64)> {
        let env = Env::simulated(1);
        let scripted = Arc::new(Scripted { runs: Mutex::default(), start: Instant::now() });
        let controller = Controller::shared(scripted.clone(), &env);
        let queue = controller.queue().clone();
        let stop = CancellationToken::new();
        let running = tokio::spawn(controller.run(stop.clone()));
        for name in names {
            queue.add(Key::cluster(*name));
        }
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        stop.cancel();
        running.await.unwrap();
        scripted.runs.lock().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reconcile_that_fails_or_panics_is_tried_again() {
        for name in ["fails", "panics"] {
            assert_eq!(runs_of(&[name], 1).await.len(), 2, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requeue_after_comes_back_in_time() {
        assert_eq!(runs_of(&["again"], 10).await, [("again".into(), 0), ("again".into(), 7)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reconcile_does_not_hold_up_others_and_ends_before_the_stop() {
        let runs = runs_of(&["slow", "other"], 1).await;
        assert_eq!(runs, [("slow".into(), 0), ("other".into(), 0)]);
    }
}
