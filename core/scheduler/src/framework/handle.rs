use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use pinnace_api::Key;
use pinnace_client::{Client, Informers};
use pinnace_env::Env;
use serde_json::Value;
use tokio::sync::oneshot;

use super::Refusal;

/// What the scheduler lets its plugins use. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    informers: Informers,
    env: Env,
    waiting: Arc<WaitingPods>,
    arguments: Arc<Value>,
}

impl Handle {
    /// A handle for plugins that are made outside of a scheduler.
    pub fn new(informers: &Informers, env: &Env) -> Self {
        Self {
            informers: informers.clone(),
            env: env.clone(),
            waiting: Arc::default(),
            arguments: Arc::default(),
        }
    }

    /// The arguments of the plugin that is being made, from the configuration of its profile; null
    /// when there are none.
    pub fn arguments(&self) -> &Value {
        &self.arguments
    }

    /// The same for a plugin with these arguments.
    pub(crate) fn with_arguments(&self, arguments: Option<&Value>) -> Self {
        Self { arguments: Arc::new(arguments.cloned().unwrap_or_default()), ..self.clone() }
    }

    /// The client that the scheduler writes with.
    pub fn client(&self) -> &Client {
        self.informers.client()
    }

    /// The caches that the scheduler reads from.
    pub fn informers(&self) -> &Informers {
        &self.informers
    }

    /// Time and chance.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The pods that wait for a [`Permit`](super::Permit) plugin, by uid.
    pub fn waiting_pods(&self) -> Vec<(Arc<str>, Key)> {
        let pods = self.waiting.0.lock();
        let mut pods: Vec<_> =
            pods.iter().map(|(uid, pod)| (uid.clone(), pod.key.clone())).collect();
        pods.sort_by(|a, b| a.1.cmp(&b.1));
        pods
    }

    /// Lets a waiting pod go on as far as `plugin` is concerned; `false` when it does not wait for
    /// it.
    pub fn allow(&self, uid: &str, plugin: &str) -> bool {
        self.waiting.allow(uid, plugin)
    }

    /// Ends the wait of a pod with a no; `false` when it does not wait.
    pub fn reject(&self, uid: &str, plugin: &str, reason: &str) -> bool {
        self.waiting.reject(uid, plugin, Refusal::unschedulable(reason.to_owned()))
    }

    pub(crate) fn waiting(&self) -> &WaitingPods {
        &self.waiting
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle")
    }
}

/// How a wait ended: with a yes, or with whose no.
pub(crate) type Waited = Result<(), (String, Refusal)>;

#[derive(Default)]
pub(crate) struct WaitingPods(Mutex<HashMap<Arc<str>, WaitingPod>>);

struct WaitingPod {
    key: Key,
    plugins: Vec<String>,
    done: oneshot::Sender<Waited>,
}

impl WaitingPods {
    pub(crate) fn add(
        &self,
        uid: Arc<str>,
        key: Key,
        plugins: Vec<String>,
    ) -> oneshot::Receiver<Waited> {
        let (done, wait) = oneshot::channel();
        self.0.lock().insert(uid, WaitingPod { key, plugins, done });
        wait
    }

    pub(crate) fn reject(&self, uid: &str, plugin: &str, refusal: Refusal) -> bool {
        let Some(pod) = self.0.lock().remove(uid) else { return false };
        pod.done.send(Err((plugin.to_owned(), refusal))).is_ok()
    }

    pub(crate) fn reject_all(&self, reason: &'static str) {
        for (_, pod) in self.0.lock().drain() {
            // A receiver that is gone has its answer already.
            let _ = pod.done.send(Err((String::new(), Refusal::unschedulable(reason))));
        }
    }

    fn allow(&self, uid: &str, plugin: &str) -> bool {
        let mut pods = self.0.lock();
        let Some(pod) = pods.get_mut(uid) else { return false };
        let Some(found) = pod.plugins.iter().position(|one| one == plugin) else { return false };
        pod.plugins.remove(found);
        if pod.plugins.is_empty()
            && let Some(pod) = pods.remove(uid)
        {
            // As above.
            let _ = pod.done.send(Ok(()));
        }
        true
    }
}
