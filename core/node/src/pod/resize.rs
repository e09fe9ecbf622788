//! Changing what the containers of a running pod may use.
//!
//! A pod may ask for other resources at any time. The node grants that when it has the room, and
//! then gives it to the containers that run, one after the other: three states that a pod's status
//! shows apart, as asked for, granted and enacted.

use std::borrow::Cow;
use std::time::Duration;

use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, PodCondition, PodSpec, ResourceRequirements,
};
use pinnace_api::Object;
use pinnace_api::quantity::Quantity;
use pinnace_client::EventType;
use pinnace_runtime::Resources;
use serde::Serialize;
use tokio::time::Instant;

use super::record::{self, Record};
use super::resources;
use super::worker::{Cx, Worker};
use crate::config::Capacity;

/// The conditions that stand in a status only while a resize is on its way.
pub(crate) const CONDITIONS: [&str; 2] = ["PodResizePending", "PodResizeInProgress"];
/// How long a resize that the node has no room for waits before it is looked at again.
const DEFERRED_RETRY: Duration = Duration::from_secs(10);
/// The resources that can be changed.
const RESIZABLE: [&str; 2] = ["cpu", "memory"];

/// How far the change of a pod's resources has got.
#[derive(Debug, Default)]
pub(crate) struct Resize {
    /// Why the node has not granted it.
    pending: Option<Pending>,
    /// The generation of the pod that is being enacted.
    progress: Option<i64>,
    /// Why that has failed.
    error: Option<String>,
    /// When to ask the node again.
    pub(super) again: Option<Instant>,
}

/// Why a node does not grant a resize: never, or not now.
#[derive(Clone, Debug, PartialEq)]
struct Pending {
    reason: &'static str,
    message: String,
}

impl Resize {
    /// What the pod's status says of it, without times.
    pub(crate) fn conditions(&self, generation: Option<i64>) -> Vec<PodCondition> {
        let condition =
            |name: &str, reason: Option<&str>, message: Option<&String>, of| PodCondition {
                type_: name.to_owned(),
                status: "True".to_owned(),
                reason: reason.map(str::to_owned),
                message: message.cloned(),
                observed_generation: of,
                ..PodCondition::default()
            };
        let pending = self.pending.as_ref().map(|pending| {
            condition(CONDITIONS[0], Some(pending.reason), Some(&pending.message), generation)
        });
        let progress = self.progress.map(|of| {
            let error = self.error.as_ref();
            condition(CONDITIONS[1], error.map(|_| "Error"), error, Some(of))
        });
        pending.into_iter().chain(progress).collect()
    }
}

/// Whether two requirements differ in something that can be changed.
pub(super) fn differ(one: &ResourceRequirements, other: &ResourceRequirements) -> bool {
    RESIZABLE.iter().any(|name| differ_in(name, one, other))
}

fn differ_in(name: &str, one: &ResourceRequirements, other: &ResourceRequirements) -> bool {
    let amounts = |of: &ResourceRequirements| {
        [&of.requests, &of.limits].map(|list| {
            let text = list.as_ref().and_then(|list| list.get(name));
            text.and_then(|text| Quantity::parse(&text.0).ok()).map(Quantity::millis)
        })
    };
    amounts(one) != amounts(other)
}

/// Whether a container wants to be started again when it gets what it asks for now.
fn restarts(container: &Container, enacted: &ResourceRequirements) -> bool {
    container.resize_policy.iter().flatten().any(|policy| {
        policy.restart_policy == "RestartContainer"
            && differ_in(&policy.resource_name, enacted, &asked(container))
    })
}

fn asked(container: &Container) -> Cow<'_, ResourceRequirements> {
    container.resources.as_ref().map_or_else(Cow::default, Cow::Borrowed)
}

/// Takes up a resize that an earlier agent has left where it stands: its status says what was
/// enacted and what was granted.
pub(crate) fn adopt(record: &mut Record, container: &Container, status: &ContainerStatus) {
    let Some(enacted) = status.resources.as_ref() else { return };
    if record.running().is_none() || !differ(enacted, &asked(container)) {
        return;
    }
    let granted = ResourceRequirements {
        requests: status.allocated_resources.clone(),
        limits: asked(container).limits.clone(),
        ..ResourceRequirements::default()
    };
    if differ(&granted, &asked(container)) {
        record.granted = Some(Box::new(enacted.clone()));
    }
    record.enacted = Some(Box::new(enacted.clone()));
}

/// Why a node cannot grant `wanted` when the other pods have `others`.
fn refusal(wanted: &Capacity, others: &Capacity, capacity: &Capacity) -> Option<Pending> {
    let cpu = ("cpu", wanted.cpu_millis, others.cpu_millis, capacity.cpu_millis);
    let memory = ("memory", wanted.memory_bytes, others.memory_bytes, capacity.memory_bytes);
    for (name, wanted, _, capacity) in [memory, cpu] {
        if wanted > capacity {
            let message = format!(
                "Node didn't have enough capacity: {name}, requested: {wanted}, capacity: \
                 {capacity}"
            );
            return Some(Pending { reason: "Infeasible", message });
        }
    }
    let full = |(_, wanted, used, capacity): &(_, i64, i64, i64)| {
        *wanted > 0 && used.saturating_add(*wanted) > *capacity
    };
    let (name, wanted, used, capacity) = [cpu, memory].into_iter().find(full)?;
    let message = format!(
        "Node didn't have enough resource: {name}, requested: {wanted}, used: {used}, capacity: \
         {capacity}"
    );
    Some(Pending { reason: "Deferred", message })
}

/// What holds while a pod goes from one limit to another: the wider of both.
fn widest(one: &Resources, other: &Resources) -> Resources {
    // Zero is no limit at all.
    let limit = |one: u64, other: u64| if one == 0 || other == 0 { 0 } else { one.max(other) };
    Resources {
        cpu_request_millis: one.cpu_request_millis.max(other.cpu_request_millis),
        cpu_limit_millis: limit(one.cpu_limit_millis, other.cpu_limit_millis),
        memory_request_bytes: one.memory_request_bytes.max(other.memory_request_bytes),
        memory_limit_bytes: limit(one.memory_limit_bytes, other.memory_limit_bytes),
        ..one.clone()
    }
}

/// The resources of a pod as Events about a resize tell them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Told<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<ToldContainer<'a>>,
    containers: Vec<ToldContainer<'a>>,
    generation: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

#[derive(Serialize)]
struct ToldContainer<'a> {
    name: &'a str,
    resources: Cow<'a, ResourceRequirements>,
}

fn told(container: &Container) -> ToldContainer<'_> {
    ToldContainer { name: &container.name, resources: asked(container) }
}

fn tell(what: &str, spec: &PodSpec, generation: i64, error: &str) -> String {
    let sidecars = spec.init_containers.iter().flatten().filter(|one| record::is_sidecar(one));
    let all = Told {
        init_containers: sidecars.map(told).collect(),
        containers: spec.containers.iter().map(told).collect(),
        generation,
        error,
    };
    format!("Pod resize {what}: {}", serde_json::to_string(&all).unwrap_or_default())
}

impl Worker {
    /// Takes a newer version of the pod. What its containers had is kept for as long as they have
    /// it, should it ask for something else now.
    pub(super) fn renew(&mut self, pod: Object) {
        let Some(old) = self.pod.replace(pod) else { return };
        if old.meta().generation == self.object().meta().generation {
            return;
        }
        let Ok(old) = old.get::<k8s_openapi::api::core::v1::Pod>() else { return };
        let runs = self.records.iter().any(|record| record.running().is_some());
        let now = self.object();
        if let Ok(now) = now.get::<k8s_openapi::api::core::v1::Pod>() {
            self.pod_level.renew(record::spec_of(old), record::spec_of(now), runs);
        }
        for (index, before) in record::containers(record::spec_of(old)).enumerate() {
            let (before, now) = (asked(before), asked(self.container(index)).into_owned());
            let Some(record) = self.records.get_mut(index) else { return };
            if !differ(&before, &now) {
                continue;
            }
            if record.running().is_some() && record.enacted.is_none() {
                record.enacted = Some(Box::new(before.clone().into_owned()));
            }
            if record.granted.is_none() {
                record.granted = Some(Box::new(before.into_owned()));
            }
        }
    }

    /// Whether its containers have, or were granted, something else than the pod asks for.
    pub(super) fn is_resizing(&self) -> bool {
        self.resize.is_some()
            || self.pod_level.is_open()
            || self.records.iter().any(|one| one.granted.is_some() || one.enacted.is_some())
    }

    /// A container with the resources that it was granted.
    pub(super) fn granted_container(&self, index: usize) -> Cow<'_, Container> {
        let container = self.container(index);
        match self.records.get(index).and_then(|record| record.granted.as_deref()) {
            None => Cow::Borrowed(container),
            Some(granted) => {
                Cow::Owned(Container { resources: Some(granted.clone()), ..container.clone() })
            }
        }
    }

    /// The pod's spec with the resources that it was granted.
    pub(super) fn granted_spec(&self) -> Cow<'_, PodSpec> {
        self.spec_with(self.pod_level.granted(), |record| record.granted.as_deref())
    }

    fn spec_with(
        &self,
        whole: Option<&ResourceRequirements>,
        resources: impl Fn(&Record) -> Option<&ResourceRequirements>,
    ) -> Cow<'_, PodSpec> {
        let mut spec = Cow::Borrowed(record::spec_of(self.pod()));
        let init_count = record::init_count(&spec);
        if let Some(whole) = whole {
            spec.to_mut().resources = Some(whole.clone());
        }
        for (index, record) in self.records.iter().enumerate() {
            let Some(resources) = resources(record).cloned() else { continue };
            let spec = spec.to_mut();
            let container = match index.checked_sub(init_count) {
                None => spec.init_containers.as_mut().and_then(|all| all.get_mut(index)),
                Some(index) => spec.containers.get_mut(index),
            };
            if let Some(container) = container {
                container.resources = Some(resources);
            }
        }
        spec
    }

    /// Brings a resize as far as it gets now.
    pub(super) async fn resize(&mut self, cx: &Cx) {
        self.consider_resize(cx);
        let failed = self.enact(cx).await.err();
        let Some(mut resize) = self.resize.take() else { return };
        if failed.is_some() {
            self.try_later(cx);
        }
        let generation = resize.progress.unwrap_or_default();
        if let Some(error) = failed.as_ref().filter(|_| resize.error != failed) {
            let message = tell("error", &self.granted_spec(), generation, error);
            self.event(cx, None, EventType::Warning, "ResizeError", message);
        }
        resize.error = failed;
        if resize.error.is_none() && resize.progress.is_some() && !self.is_unfinished() {
            resize.progress = None;
            let message = tell("completed", &self.granted_spec(), generation, "");
            self.event(cx, None, EventType::Normal, "ResizeCompleted", message);
        }
        self.resize = (resize.pending.is_some() || resize.progress.is_some()).then_some(resize);
    }

    /// Asks the node for what the pod asks for now.
    pub(super) fn consider_resize(&mut self, cx: &Cx) {
        let mut resize = self.resize.take().unwrap_or_default();
        self.grant(cx, &mut resize);
        self.resize = Some(resize);
    }

    /// Whether a container still has, or waits to be started with, what is not granted any more.
    fn is_unfinished(&self) -> bool {
        let whole = self.pod_level.is_unfinished(record::spec_of(self.pod()));
        whole
            || self.records.iter().zip(0..).any(|(record, index)| {
                let target = self.granted_container(index);
                record.enacted.as_ref().is_some_and(|enacted| differ(enacted, &asked(&target)))
            })
    }

    /// Asks the node for what the pod asks for, unless it has that.
    fn grant(&mut self, cx: &Cx, resize: &mut Resize) {
        resize.again = None;
        if !self.pod_level.waits() && self.records.iter().all(|one| one.granted.is_none()) {
            resize.pending = None;
            return;
        }
        let spec = record::spec_of(self.pod());
        let wanted = resources::requests(spec);
        let granted = self.reserved.clone().unwrap_or(resources::NOTHING);
        let answer = cx.host().reserve(&wanted.minus(&granted), |used| {
            refusal(&wanted, &used.minus(&granted), &cx.host().allocatable).map_or(Ok(()), Err)
        });
        let generation = self.pod().metadata.generation.unwrap_or_default();
        match answer {
            Ok(()) => {
                let message = tell("started", spec, generation, "");
                self.event(cx, None, EventType::Normal, "ResizeStarted", message);
                self.reserved = Some(wanted);
                self.pod_level.grant();
                for record in &mut self.records {
                    record.granted = None;
                }
                *resize = Resize { progress: Some(generation), ..Resize::default() };
            }
            Err(pending) => {
                if pending.reason == "Deferred" {
                    resize.again = Some(Instant::now() + DEFERRED_RETRY);
                }
                if resize.pending.as_ref().map(|old| old.reason) != Some(pending.reason) {
                    let what = if resize.again.is_some() { "Deferred" } else { "Infeasible" };
                    let message = tell(&what.to_lowercase(), spec, generation, &pending.message);
                    let reason = format!("Resize{what}");
                    self.event(cx, None, EventType::Warning, &reason, message);
                }
                resize.pending = Some(pending);
            }
        }
    }

    /// Gives the containers that run what was granted, and the pod as a whole before and after:
    /// at no time may a container have a limit above its pod's.
    async fn enact(&mut self, cx: &Cx) -> Result<(), String> {
        if self.is_unfinished() {
            let (runtime, pod) = (cx.runtime(), cx.pod_id());
            let whole = self.pod_level.enacted().or(self.pod_level.granted());
            let before =
                self.spec_with(whole, |one| one.enacted.as_deref().or(one.granted.as_deref()));
            let limits = |spec| cx.host().pod_limits(spec);
            let (before, after) = (limits(&before), limits(&self.granted_spec()));
            let said = |error: pinnace_runtime::Error| error.to_string();
            self.check_use(cx, &after).await?;
            let between = widest(&before, &after);
            self.busy(cx, runtime.update_pod(&pod, &between)).await.map_err(said)?;
            for index in 0..self.records.len() {
                self.enact_one(cx, index).await?;
            }
            self.busy(cx, runtime.update_pod(&pod, &after)).await.map_err(said)?;
        }
        self.pod_level.enact();
        for record in self.records.iter_mut().filter(|record| record.granted.is_none()) {
            record.enacted = None;
        }
        Ok(())
    }

    /// Refuses memory limits below what is in use: the kernel would kill for them.
    async fn check_use(&mut self, cx: &Cx, whole: &Resources) -> Result<(), String> {
        if cx.shared.machine.state().is_none() {
            // What is simulated uses what it asks for.
            return Ok(());
        }
        let (runtime, pod) = (cx.runtime(), [cx.pod_id()]);
        let stats = self.busy(cx, runtime.stats(&pod, false)).await;
        let Some(stats) = stats.map_err(|error| error.to_string())?.pop() else { return Ok(()) };
        let mut below = Vec::new();
        let mut check = |who: &str, limit: u64, used: u64| {
            if limit > 0 && limit < used {
                below.push(format!(
                    "attempting to set {who} memory limit ({limit}) below current usage ({used})"
                ));
            }
        };
        check("pod", whole.memory_limit_bytes, stats.usage.memory_bytes);
        for (index, record) in self.records.iter().enumerate() {
            let target = self.granted_container(index);
            let Some(enacted) = record.enacted.as_deref() else { continue };
            let running = record.running();
            let Some(one) = stats.containers.iter().find(|one| Some(&one.id) == running) else {
                continue;
            };
            if differ_in("memory", enacted, &asked(&target)) && !restarts(&target, enacted) {
                let limit = resources::limits(target.resources.as_ref()).memory_limit_bytes;
                check(&format!("container {:?}", target.name), limit, one.usage.memory_bytes);
            }
        }
        match &below[..] {
            [] => Ok(()),
            [one] => Err(format!("cannot decrease memory limits: {one}")),
            all => Err(format!("cannot decrease memory limits: [{}]", all.join(", "))),
        }
    }

    async fn enact_one(&mut self, cx: &Cx, index: usize) -> Result<(), String> {
        let target = self.granted_container(index).into_owned();
        let wanted = asked(&target);
        let record = &self.records[index];
        let Some(enacted) = record.enacted.as_deref().filter(|has| differ(has, &wanted)) else {
            return Ok(());
        };
        let Some(id) = record.running().cloned() else {
            // It is made anew with what was granted.
            self.records[index].enacted = None;
            return Ok(());
        };
        if restarts(&target, enacted) {
            let message = format!("Container {} resize requires restart", target.name);
            self.replace_because(cx, index, id, message).await;
            self.records[index].enacted = None;
            return Ok(());
        }
        let class = resources::qos_class(record::spec_of(self.pod()));
        let limits = resources::of_container(&target, class, &cx.host().allocatable);
        let runtime = cx.runtime();
        let updated = self.busy(cx, runtime.update_container(&id, &limits)).await;
        updated.map_err(|error| error.to_string())?;
        self.records[index].enacted = Some(Box::new(wanted.into_owned()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_says_whether_there_is_no_room_or_never_will_be() {
        let of =
            |cpu_millis, memory_bytes| Capacity { cpu_millis, memory_bytes, ..resources::NOTHING };
        let check = |wanted, others, expected: Option<(&str, &str)>| {
            let said = refusal(&wanted, &others, &of(1000, 1000));
            let said = said.as_ref().map(|said| (said.reason, said.message.as_str()));
            assert_eq!(said, expected);
        };
        check(of(500, 500), of(500, 500), None);
        let never = "Node didn't have enough capacity: memory, requested: 1001, capacity: 1000";
        check(of(1001, 1001), of(0, 0), Some(("Infeasible", never)));
        let full =
            "Node didn't have enough resource: cpu, requested: 600, used: 500, capacity: 1000";
        check(of(600, 600), of(500, 500), Some(("Deferred", full)));
    }

    #[test]
    fn on_the_way_the_wider_limit_holds_and_none_is_the_widest() {
        let of = |memory_limit_bytes| Resources { memory_limit_bytes, ..Resources::default() };
        for (one, other, expected) in [(1, 2, 2), (2, 1, 2), (0, 2, 0), (2, 0, 0)] {
            assert_eq!(widest(&of(one), &of(other)), of(expected));
        }
    }
}
