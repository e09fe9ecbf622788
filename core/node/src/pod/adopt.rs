use k8s_openapi::api::core::v1::ContainerStatus;
use pinnace_client::EventType;
use pinnace_runtime::{ContainerPhase, PodState};
use tokio::time::Instant;

use super::pod_level::PodLevel;
use super::record::{self, Ended, Record, State};
use super::resize;
use super::status::ended_from;
use super::worker::{Cx, Worker};

/// What is said of a container that was lost together with its sandbox.
const LOST: &str = "The container could not be located when the pod was terminated";

impl Worker {
    /// Makes the records: from nothing for a new pod, else from what the API and the runtime know
    /// of it. Says whether the pod was begun before.
    pub(super) fn adopt(&mut self, cx: &Cx) -> bool {
        let now = Instant::now();
        let pod = self.object();
        let pod = pod.get::<k8s_openapi::api::core::v1::Pod>().ok();
        let spec = pod.map(record::spec_of);
        let status = pod.and_then(|pod| pod.status.as_ref());
        let begun = status.and_then(|status| status.start_time.as_ref());
        let found = cx.shared.adopted(&cx.slot.uid);
        self.started_at = begun.map_or_else(|| cx.shared.env.clock().now_seconds(), |time| time.0);
        let statuses = status.into_iter().flat_map(|status| {
            let init = status.init_container_statuses.iter().flatten();
            let ephemeral = status.ephemeral_container_statuses.iter().flatten();
            init.chain(status.container_statuses.iter().flatten()).chain(ephemeral)
        });
        let statuses: Vec<&ContainerStatus> = statuses.collect();
        let ephemeral = spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
        self.ephemeral = ephemeral.map(record::ephemeral).collect();
        if let (Some(spec), Some(status)) = (spec, status) {
            self.pod_level = PodLevel::adopted(spec, status);
        }
        let defined = spec.into_iter().flat_map(record::containers);
        for container in defined.chain(&self.ephemeral) {
            let status = statuses.iter().find(|status| status.name == container.name);
            let mut record = record(status.copied(), found.as_ref(), &container.name, now);
            if let Some(status) = status {
                resize::adopt(&mut record, container, status);
            }
            self.records.push(record);
        }
        if begun.is_none() && found.is_none() {
            return false;
        }
        self.made = true;
        self.pod_ips = status
            .into_iter()
            .flat_map(|status| status.pod_ips.iter().flatten().map(|ip| ip.ip.clone()))
            .collect();
        self.watch_references(cx);
        for index in 0..self.records.len() {
            self.probe(cx, index);
        }
        let ran = self.records.iter().any(|record| !matches!(record.state, State::Absent));
        let lost = found.is_none_or(|found| !found.whole);
        if lost && ran && !self.is_terminal() {
            self.lose_sandbox(cx);
        }
        true
    }

    /// The containers went with what they shared: those that are to run run anew, init containers
    /// first.
    pub(super) fn lose_sandbox(&mut self, cx: &Cx) {
        self.has_sandbox = false;
        let spec = record::spec_of(self.pod());
        let policy = spec.restart_policy.clone().unwrap_or_default();
        let init_count = record::init_count(spec);
        let count = record::containers(spec).count();
        let now = Instant::now();
        for (index, record) in self.records.iter_mut().enumerate() {
            if let Some(id) = record.running().cloned() {
                record.exited(Ended::unknown(Some(id), LOST), now);
            }
            let again = match (policy.as_str(), record.ended()) {
                ("Never", _) | (_, None) => false,
                (_, Some(_)) if index < init_count => true,
                // An ephemeral container runs once.
                (_, Some(_)) if index >= count => false,
                ("OnFailure", Some(ended)) => ended.code != 0,
                _ => true,
            };
            if again && let State::Exited { ended, .. } = std::mem::take(&mut record.state) {
                record.last = Some(ended);
                record.restarts = record.restarts.saturating_add(1);
            }
        }
        if policy != "Never" {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            self.event(cx, None, EventType::Normal, "SandboxChanged", message);
        }
    }
}

/// One container from what its last status says and what the runtime has of it.
fn record(
    status: Option<&ContainerStatus>,
    found: Option<&PodState>,
    name: &str,
    now: Instant,
) -> Record {
    let mut record = Record::default();
    if let Some(status) = status {
        record.restarts = status.restart_count;
        record.was = (status.started == Some(true), status.ready);
        record.image_id.clone_from(&status.image_id);
        record.last = ended_from(status.last_state.as_ref());
        let id = || {
            let (_, id) = status.container_id.as_deref()?.split_once("://")?;
            Some(pinnace_runtime::ContainerId(id.to_owned()))
        };
        let state = status.state.as_ref();
        if let Some(ended) = ended_from(state) {
            record.exited(ended, now);
        } else if state.is_some_and(|state| state.running.is_some()) {
            record.exited(Ended::unknown(id(), LOST), now);
        } else if state
            .and_then(|state| state.waiting.as_ref()?.reason.as_deref())
            .is_some_and(|reason| reason == "CrashLoopBackOff")
            && let Some(last) = record.last.take()
        {
            // A container that waits for its restart has ended, and is shown as its own last state.
            record.exited(last, now);
        }
    }
    let mut attempts: Vec<_> = found
        .iter()
        .flat_map(|pod| &pod.containers)
        .filter(|container| container.config.name == name)
        .collect();
    attempts.sort_by_key(|container| container.config.attempt);
    if let Some(newest) = attempts.pop() {
        let attempt = i32::try_from(newest.config.attempt).unwrap_or(i32::MAX);
        if record.image_id.is_empty() {
            record.image_id.clone_from(&newest.image_id);
        }
        let newer = attempt > record.restarts || newest.phase != ContainerPhase::Created;
        if newer {
            if attempt > record.restarts
                && let State::Exited { ended, .. } = std::mem::take(&mut record.state)
            {
                record.last = Some(ended);
            }
            record.observe(newest.clone(), now);
        }
        record.restarts = record.restarts.max(attempt);
    }
    if let Some(older) = attempts.pop()
        && let ContainerPhase::Exited(exit) = &older.phase
    {
        record.last = Some(Ended::new(older.id.clone(), exit.clone()));
    }
    record
}
