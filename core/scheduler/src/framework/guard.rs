//! Plugins of the host, which may panic or never answer: neither must take the scheduler along.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::Pod;

use super::{
    Answer, Bind, Bound, ClusterEvent, Concern, Cycle, CycleState, Events, Filter, Hint,
    Normalization, Obstacle, Permit, Permitted, Plugin, PostBind, PostFilter, PostFiltered,
    PreBind, PreEnqueue, PreFilter, PreFiltered, Prepared, QueueSort, Reasons, Refusal, Reserve,
    Scope, Score, Verdict,
};
use crate::cluster::{Cluster, NodeIndex};
use crate::decision::Attempt;
use crate::pod::{PodInfo, Signature};
use crate::queue::QueuedPod;

/// How long a plugin of the host may take to make ready what a pod needs, or to bind it.
pub const MAX_BINDING_TIME: Duration = Duration::from_secs(15 * 60);

/// A plugin whose panics are errors that name it, and whose waits end.
pub(super) struct Guarded {
    plugin: Arc<dyn Plugin>,
    name: String,
}

/// Guards a plugin.
///
/// # Errors
/// When it panics as it is asked for its name.
pub(super) fn guarded(plugin: Arc<dyn Plugin>) -> Result<Arc<dyn Plugin>, String> {
    let name = catch_unwind(AssertUnwindSafe(|| plugin.name().to_owned()));
    let name = name.map_err(|panic| format!("it panicked: {}", words(&*panic)))?;
    Ok(Arc::new(Guarded { plugin, name }))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

impl Guarded {
    fn panicked(&self, panic: &(dyn Any + Send)) -> Refusal {
        Refusal::Error(format!("plugin {:?} panicked: {}", self.name, words(panic)))
    }

    /// What the plugin answers, or that it panicked.
    fn answer<T>(&self, ask: impl FnOnce(&dyn Plugin) -> Answer<T>) -> Answer<T> {
        catch_unwind(AssertUnwindSafe(|| ask(&*self.plugin)))
            .unwrap_or_else(|panic| Err(self.panicked(&*panic)))
    }

    /// What the plugin says, or something else when it panics.
    fn say<T>(&self, ask: impl FnOnce(&dyn Plugin) -> T, or: T) -> T {
        catch_unwind(AssertUnwindSafe(|| ask(&*self.plugin))).unwrap_or_else(|panic| {
            tracing::error!(plugin = self.name, panic = words(&*panic), "a plugin panicked");
            or
        })
    }

    async fn wait<T>(&self, answer: impl Future<Output = Answer<T>>) -> Answer<T> {
        let guarded = AssertUnwindSafe(answer).catch_unwind();
        match tokio::time::timeout(MAX_BINDING_TIME, guarded).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(panic)) => Err(self.panicked(&*panic)),
            Err(_) => Err(Refusal::Error(format!(
                "plugin {:?} has not answered within {MAX_BINDING_TIME:?}",
                self.name
            ))),
        }
    }

    /// The plugin at a point where it takes part: it has said so.
    fn gone() -> Refusal {
        Refusal::error("the plugin takes part here no more")
    }
}

impl Plugin for Guarded {
    fn name(&self) -> &str {
        &self.name
    }
    fn scope(&self) -> Scope {
        self.say(|plugin| plugin.scope(), Scope::Everything)
    }
    fn sign(&self, pod: &Pod, signature: &mut Signature) {
        self.say(|plugin| plugin.sign(pod, signature), ());
    }
    fn prepare(&self, pod: &Pod, cluster: &mut Cluster) -> Option<Prepared> {
        self.say(|plugin| plugin.prepare(pod, cluster), None)
    }
    fn concern(&self, cycle: &Cycle<'_>) -> Concern {
        self.say(|plugin| plugin.concern(cycle), Concern::ALL)
    }
    fn events(&self) -> Events {
        self.say(|plugin| plugin.events(), Events::ALL)
    }
    fn hint(&self, pod: &PodInfo, event: &ClusterEvent<'_>) -> Hint {
        self.say(|plugin| plugin.hint(pod, event), Hint::Queue)
    }
    fn as_queue_sort(&self) -> Option<&dyn QueueSort> {
        self.plugin.as_queue_sort().map(|_| self as _)
    }
    fn as_pre_enqueue(&self) -> Option<&dyn PreEnqueue> {
        self.plugin.as_pre_enqueue().map(|_| self as _)
    }
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        self.plugin.as_pre_filter().map(|_| self as _)
    }
    fn as_filter(&self) -> Option<&dyn Filter> {
        self.plugin.as_filter().map(|_| self as _)
    }
    fn as_post_filter(&self) -> Option<&dyn PostFilter> {
        self.plugin.as_post_filter().map(|_| self as _)
    }
    fn as_score(&self) -> Option<&dyn Score> {
        self.plugin.as_score().map(|_| self as _)
    }
    fn as_reserve(&self) -> Option<&dyn Reserve> {
        self.plugin.as_reserve().map(|_| self as _)
    }
    fn as_permit(&self) -> Option<&dyn Permit> {
        self.plugin.as_permit().map(|_| self as _)
    }
    fn as_pre_bind(&self) -> Option<&dyn PreBind> {
        self.plugin.as_pre_bind().map(|_| self as _)
    }
    fn as_bind(&self) -> Option<&dyn Bind> {
        self.plugin.as_bind().map(|_| self as _)
    }
    fn as_post_bind(&self) -> Option<&dyn PostBind> {
        self.plugin.as_post_bind().map(|_| self as _)
    }
}

impl QueueSort for Guarded {
    fn less(&self, first: &QueuedPod, second: &QueuedPod) -> bool {
        let less = |plugin: &dyn Plugin| {
            plugin.as_queue_sort().is_some_and(|sort| sort.less(first, second))
        };
        self.say(less, false)
    }
}

impl PreEnqueue for Guarded {
    fn pre_enqueue(&self, pod: &Pod) -> Answer {
        self.answer(|plugin| plugin.as_pre_enqueue().ok_or_else(Self::gone)?.pre_enqueue(pod))
    }
}

impl PreFilter for Guarded {
    fn pre_filter(&self, cycle: &Cycle<'_>) -> Answer<PreFiltered> {
        self.answer(|plugin| plugin.as_pre_filter().ok_or_else(Self::gone)?.pre_filter(cycle))
    }
}

impl Filter for Guarded {
    fn filter(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], verdicts: &mut [Verdict]) -> Answer {
        self.answer(|plugin| {
            plugin.as_filter().ok_or_else(Self::gone)?.filter(cycle, nodes, verdicts)
        })
    }

    fn reasons(&self, cycle: &Cycle<'_>, node: NodeIndex) -> Reasons {
        let reasons = |plugin: &dyn Plugin| {
            plugin.as_filter().map(|filter| filter.reasons(cycle, node)).unwrap_or_default()
        };
        self.say(reasons, vec![format!("plugin {:?} panicked", self.name).into()])
    }

    fn obstacles(&self, cycle: &Cycle<'_>, node: NodeIndex) -> Vec<Obstacle> {
        let obstacles = |plugin: &dyn Plugin| {
            plugin.as_filter().map(|filter| filter.obstacles(cycle, node)).unwrap_or_default()
        };
        self.say(obstacles, Vec::new())
    }
}

impl PostFilter for Guarded {
    fn post_filter(&self, attempt: &mut Attempt<'_>) -> Answer<PostFiltered> {
        self.answer(|plugin| plugin.as_post_filter().ok_or_else(Self::gone)?.post_filter(attempt))
    }
}

impl Score for Guarded {
    fn applies(&self, pod: &PodInfo) -> bool {
        self.say(|plugin| plugin.as_score().is_some_and(|score| score.applies(pod)), true)
    }

    fn score(&self, cycle: &Cycle<'_>, nodes: &[NodeIndex], scores: &mut [i64]) -> Answer {
        self.answer(|plugin| plugin.as_score().ok_or_else(Self::gone)?.score(cycle, nodes, scores))
    }

    fn normalization(&self) -> Normalization {
        let normalization =
            |plugin: &dyn Plugin| plugin.as_score().map(|score| score.normalization());
        self.say(normalization, None).unwrap_or(Normalization::None)
    }

    fn normalize(&self, cycle: &Cycle<'_>, scores: &mut [i64]) -> Answer {
        self.answer(|plugin| plugin.as_score().ok_or_else(Self::gone)?.normalize(cycle, scores))
    }
}

impl Reserve for Guarded {
    fn reserve(&self, cycle: &Cycle<'_>, node: &str) -> Answer {
        self.answer(|plugin| plugin.as_reserve().ok_or_else(Self::gone)?.reserve(cycle, node))
    }

    fn unreserve(&self, pod: &PodInfo, node: &str, state: &CycleState) {
        let unreserve = |plugin: &dyn Plugin| {
            if let Some(reserve) = plugin.as_reserve() {
                reserve.unreserve(pod, node, state);
            }
        };
        self.say(unreserve, ());
    }
}

impl Permit for Guarded {
    fn permit(&self, cycle: &Cycle<'_>, node: &str) -> Answer<Permitted> {
        self.answer(|plugin| plugin.as_permit().ok_or_else(Self::gone)?.permit(cycle, node))
    }
}

#[async_trait]
impl PreBind for Guarded {
    async fn pre_bind(&self, pod: &PodInfo, node: &str, state: &CycleState) -> Answer {
        let Some(pre_bind) = self.plugin.as_pre_bind() else { return Err(Self::gone()) };
        self.wait(async { pre_bind.pre_bind(pod, node, state).await }).await
    }
}

#[async_trait]
impl Bind for Guarded {
    async fn bind(&self, pod: &PodInfo, node: &str, state: &CycleState) -> Answer<Bound> {
        let Some(bind) = self.plugin.as_bind() else { return Err(Self::gone()) };
        self.wait(async { bind.bind(pod, node, state).await }).await
    }
}

impl PostBind for Guarded {
    fn post_bind(&self, pod: &PodInfo, node: &str, state: &CycleState) {
        let post_bind = |plugin: &dyn Plugin| {
            if let Some(post_bind) = plugin.as_post_bind() {
                post_bind.post_bind(pod, node, state);
            }
        };
        self.say(post_bind, ());
    }
}
