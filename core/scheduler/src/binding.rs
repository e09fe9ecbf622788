use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::extender::Extender;
use crate::framework::{Bound, CycleState, Handle, PluginSet, Profile, Refusal, Waited};
use crate::pod::PodInfo;

/// A pod on its way to its node.
pub(crate) struct Binding {
    pub(crate) profiles: Arc<[Profile]>,
    pub(crate) pod: Arc<PodInfo>,
    pub(crate) node: Arc<str>,
    pub(crate) state: CycleState,
    pub(crate) wait: Option<Wait>,
    /// Who binds it in place of the plugins.
    pub(crate) binder: Option<Extender>,
}

/// What a pod waits for before it may be bound.
pub(crate) struct Wait {
    pub(crate) answer: oneshot::Receiver<Waited>,
    /// The plugin whose time is up first, and when.
    pub(crate) first: (String, Duration),
    pub(crate) handle: Handle,
}

/// Why a pod was not bound.
#[derive(Debug)]
pub(crate) struct Unbound {
    pub(crate) refusal: Refusal,
    /// The plugin that rejected the pod while it waited.
    pub(crate) rejected: PluginSet,
    pub(crate) while_waiting: bool,
}

impl From<Refusal> for Unbound {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, rejected: PluginSet::default(), while_waiting: false }
    }
}

impl Binding {
    pub(crate) fn profile(&self) -> &Profile {
        &self.profiles[self.pod.profile()]
    }

    /// Waits until the pod may be bound, makes ready what it needs, and binds it.
    pub(crate) async fn run(
        mut self,
        limit: Arc<Semaphore>,
        mut slot: Option<OwnedSemaphorePermit>,
    ) -> (Self, Result<(), Unbound>) {
        if let Some(wait) = self.wait.take() {
            // Others may be bound meanwhile, perhaps the very pod that this one waits for.
            drop(slot.take());
            if let Err(unbound) = self.wait(wait).await {
                return (self, Err(unbound));
            }
            // The semaphore is never closed.
            slot = limit.acquire_owned().await.ok();
        }
        let result = self.bind().await.map_err(Unbound::from);
        drop(slot);
        (self, result)
    }

    async fn wait(&self, wait: Wait) -> Result<(), Unbound> {
        let Wait { mut answer, first: (plugin, time), handle } = wait;
        let answered = tokio::time::timeout(time, &mut answer).await;
        let ended = match answered {
            Ok(ended) => ended,
            Err(_) => {
                let reason =
                    format!("rejected due to timeout after waiting {time:?} at plugin {plugin}");
                handle.waiting().reject(self.pod.uid(), &plugin, Refusal::unschedulable(reason));
                answer.await
            }
        };
        let (plugin, refusal) = match ended {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(no)) => no,
            Err(_) => (String::new(), Refusal::error("nobody waits for the pod any more")),
        };
        let mut rejected = PluginSet::default();
        let mut plugins = self.profile().plugins();
        if let Some((index, _)) = plugins.find(|(_, one)| one.name() == plugin) {
            rejected.insert(index);
        }
        Err(Unbound { refusal, rejected, while_waiting: true })
    }

    async fn bind(&self) -> Result<(), Refusal> {
        for (_, plugin) in self.profile().plugins() {
            let Some(pre_bind) = plugin.as_pre_bind() else { continue };
            let answer = pre_bind.pre_bind(&self.pod, &self.node, &self.state).await;
            answer.map_err(|refusal| running("PreBind", plugin.name(), refusal))?;
        }
        if let Some(binder) = &self.binder {
            match binder.bind(&self.pod, &self.node).await {
                Ok(()) => return Ok(()),
                Err(why) if binder.is_ignorable() => {
                    tracing::warn!(why, "an extender is passed over");
                }
                Err(why) => return Err(Refusal::Error(why)),
            }
        }
        for (_, plugin) in self.profile().plugins() {
            let Some(bind) = plugin.as_bind() else { continue };
            let answer = bind.bind(&self.pod, &self.node, &self.state).await;
            match answer.map_err(|refusal| running("Bind", plugin.name(), refusal))? {
                Bound::Done => return Ok(()),
                Bound::Skip => {}
            }
        }
        Err(Refusal::error("no plugin binds the pod"))
    }
}

/// Says where an error comes from; a rejection speaks for itself.
pub(crate) fn running(point: &str, plugin: &str, refusal: Refusal) -> Refusal {
    match refusal {
        Refusal::Error(message) => {
            Refusal::Error(format!("running {point} plugin {plugin:?}: {message}"))
        }
        rejection => rejection,
    }
}
