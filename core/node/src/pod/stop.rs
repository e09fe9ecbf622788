use std::time::Duration;

use futures::future::join_all;
use pinnace_client::EventType;
use pinnace_runtime::ContainerId;
use tokio::time::Instant;

use super::record;
use super::set_up::chain;
use super::worker::{Cx, Stage, Worker};
use crate::config::Machine;
use crate::logs;
use crate::volumes;

/// What a container is given at least to end, as upstream.
const MINIMUM_GRACE: Duration = Duration::from_secs(2);

impl Worker {
    /// Stops all containers within the pod's grace period: sidecars after the others, in the
    /// reverse order of their start.
    pub(super) async fn stop(&mut self, cx: &Cx) {
        let init_count = record::init_count(record::spec_of(self.pod()));
        let running = |worker: &Self, index: usize| {
            let record = worker.records.get(index)?;
            record.running().map(|id| (index, id.clone()))
        };
        let main: Vec<_> =
            (init_count..self.records.len()).filter_map(|index| running(self, index)).collect();
        let begun = Instant::now();
        let mut all = self.stop_some(cx, main, begun).await;
        for index in (0..init_count).rev() {
            let one: Vec<_> = running(self, index).into_iter().collect();
            all &= self.stop_some(cx, one, begun).await;
        }
        if !all {
            return self.try_later(cx);
        }
        for record in &mut self.records {
            record.hold = None;
        }
        self.over = true;
        self.go_to(Stage::Cleaning);
    }

    /// Stops some containers at once. Says whether all of them have ended.
    async fn stop_some(
        &mut self,
        cx: &Cx,
        containers: Vec<(usize, ContainerId)>,
        begun: Instant,
    ) -> bool {
        if containers.is_empty() {
            return true;
        }
        for (index, _) in &containers {
            let message = format!("Stopping container {}", self.container(*index).name);
            self.event(cx, Some(*index), EventType::Normal, "Killing", message);
        }
        loop {
            let known = self.object().meta().deletion_grace_period_seconds;
            let grace = self.grace(cx).saturating_sub(begun.elapsed()).max(MINIMUM_GRACE);
            let runtime = cx.runtime();
            let work = join_all(containers.iter().map(|(_, id)| runtime.stop_container(id, grace)));
            let slot = cx.slot.clone();
            let sooner = async {
                // A pod that is deleted already may be given less time by a second deletion.
                match known {
                    Some(_) => slot.ends_before(known).await,
                    None => std::future::pending().await,
                }
            };
            let done = tokio::select! {
                biased;
                done = self.busy(cx, work) => Some(done),
                () = sooner => None,
            };
            let Some(done) = done else {
                self.pod = Some(cx.slot.pod());
                continue;
            };
            for error in done.iter().filter_map(|result| result.as_ref().err()) {
                let message = format!("error killing pod: {}", chain(error));
                self.event(cx, None, EventType::Warning, "FailedKillPod", message);
            }
            let mut all = done.iter().all(Result::is_ok);
            for (index, id) in &containers {
                self.observe_one(cx, *index, id).await;
                all &= self.records[*index].running().is_none();
            }
            return all;
        }
    }

    /// How long the containers have to end.
    fn grace(&self, cx: &Cx) -> Duration {
        let object = self.object();
        let meta = object.meta();
        match (meta.deletion_grace_period_seconds, &meta.deletion_timestamp) {
            (Some(seconds), Some(until)) => {
                let whole = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
                // The timestamp has no fractions: what it lost is given back.
                let left = cx.shared.env.clock().until(until.0) + Duration::from_secs(1);
                whole.min(left)
            }
            _ => self.spec_grace(),
        }
    }

    /// The grace period that the pod itself asks for.
    pub(super) fn spec_grace(&self) -> Duration {
        let seconds = record::spec_of(self.pod()).termination_grace_period_seconds;
        let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(30);
        Duration::from_secs(seconds).max(MINIMUM_GRACE)
    }

    /// Removes what was made for the pod: sandbox, addresses, volumes.
    pub(super) async fn clean(&mut self, cx: &Cx) {
        if !self.object().is_deleting() && !self.gone {
            // How it ended is to be known before the containers that know it go.
            self.publish(cx).await;
        }
        if self.made {
            let (runtime, pod) = (cx.runtime(), cx.pod_id());
            if let Err(error) = self.busy(cx, runtime.remove_pod(&pod)).await {
                return self.not_cleaned(cx, &error);
            }
            let network = cx.host().network.clone();
            let uid = cx.slot.uid.clone();
            if let Err(error) = self.busy(cx, network.detach(&uid)).await {
                return self.not_cleaned(cx, &error);
            }
            self.has_sandbox = false;
            if let Machine::Local { state } = &cx.shared.machine {
                let (state, uid) = (state.clone(), uid.to_string());
                let work = cx.shared.tasks.spawn_blocking(move || volumes::remove(&state, &uid));
                match self.busy(cx, work).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => return self.not_cleaned(cx, &error),
                    Err(error) => return self.not_cleaned(cx, &error),
                }
            }
        }
        self.volumes.clear();
        if let Some(reserved) = self.reserved.take() {
            cx.host().release(&reserved);
        }
        cx.shared.unwatch_references(&cx.slot);
        self.go_to(Stage::Ended);
    }

    fn not_cleaned(&mut self, cx: &Cx, error: &dyn std::error::Error) {
        let message = format!("error killing pod: {}", chain(error));
        self.event(cx, None, EventType::Warning, "FailedKillPod", message);
        self.try_later(cx);
    }

    /// Removes the last that is left of the pod: its logs.
    pub(super) async fn bury(&mut self, cx: &Cx) {
        let directory = logs::pod_directory(&cx.shared.logs, self.pod());
        logs::remove(&cx.shared.machine, &cx.shared.tasks, directory).await;
        self.go_to(Stage::Gone);
    }
}
