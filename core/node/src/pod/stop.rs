use std::future::Future;
use std::time::Duration;

use futures::future::join_all;
use pinnace_client::EventType;
use pinnace_runtime::{Acting, ContainerId, Runtime};
use tokio::time::Instant;

use super::hooks::{self, Hook};
use super::record;
use super::set_up::chain;
use super::worker::{Cx, Stage, Worker};
use crate::{csi, logs, volumes};

/// What a container is given at least to end, as upstream.
pub(super) const MINIMUM_GRACE: Duration = Duration::from_secs(2);

impl Worker {
    /// Stops all containers within the pod's grace period. Their hooks run at once; sidecars end
    /// after the others, in the reverse order of their start.
    pub(super) async fn stop(&mut self, cx: &Cx) {
        let init_count = record::init_count(record::spec_of(self.pod()));
        let mut running: Vec<(usize, ContainerId)> = Vec::new();
        for (index, record) in self.records.iter_mut().enumerate() {
            running.extend(record.running().map(|id| (index, id.clone())));
            if let Some(probes) = &mut record.probes {
                probes.end_all_but_readiness();
            }
        }
        // Those that are told last come last.
        running.sort_by_key(|(index, _)| (*index < init_count, std::cmp::Reverse(*index)));
        if !self.stop_all(cx, running, init_count).await {
            return self.try_later(cx);
        }
        for record in &mut self.records {
            record.hold = None;
        }
        self.over = true;
        self.go_to(Stage::Cleaning);
    }

    /// Says whether all of them have ended.
    async fn stop_all(
        &mut self,
        cx: &Cx,
        containers: Vec<(usize, ContainerId)>,
        init_count: usize,
    ) -> bool {
        if containers.is_empty() {
            return true;
        }
        for (index, _) in &containers {
            let message = format!("Stopping container {}", self.container(*index).name);
            self.event(cx, Some(*index), EventType::Normal, "Killing", message);
        }
        let begun = Instant::now();
        let mut hooks: Vec<Option<Box<Hook>>> = containers
            .iter()
            .map(|(index, id)| self.hook(cx, *index, id, Acting::PreStop))
            .collect();
        loop {
            let known = self.object().meta().deletion_grace_period_seconds;
            let deadline = begun + self.grace(cx).max(begun.elapsed());
            // Whoever is told a second time that there is less time does not begin anew.
            let hooks = std::mem::replace(&mut hooks, containers.iter().map(|_| None).collect());
            let runtime = cx.runtime();
            let work = end_all(&*runtime, &containers, hooks, init_count, deadline);
            let Some(ended) = self.unless_sooner(cx, known, work).await else {
                self.renew(cx.slot.pod());
                continue;
            };
            let mut all = true;
            for (index, ended) in &ended {
                if let Err(why) = &ended.hook {
                    self.pre_stop_failed(cx, *index, why);
                }
                if let Err(error) = &ended.stopped {
                    let message = format!("error killing pod: {}", chain(error));
                    self.event(cx, None, EventType::Warning, "FailedKillPod", message);
                    all = false;
                }
            }
            for (index, id) in &containers {
                self.observe_one(cx, *index, id).await;
                all &= self.records[*index].running().is_none();
            }
            return all;
        }
    }

    /// Waits for `work`, and shows meanwhile what becomes of the pod. `None` when the pod, which
    /// is deleted already, is given less time by a second deletion.
    async fn unless_sooner<T>(
        &mut self,
        cx: &Cx,
        known: Option<i64>,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = std::pin::pin!(work);
        let slot = cx.slot.clone();
        let sooner = async {
            match known {
                Some(_) => slot.ends_before(known).await,
                None => std::future::pending().await,
            }
        };
        let mut sooner = std::pin::pin!(sooner);
        loop {
            let probed = cx.slot.until_probed();
            tokio::select! {
                biased;
                done = self.busy(cx, work.as_mut()) => return Some(done),
                () = &mut sooner => return None,
                // A container may turn unready while it ends, and then nobody should send to it.
                () = probed => {}
            }
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
            _ => self.evicted.as_ref().map_or_else(|| self.spec_grace(), |evicted| evicted.grace),
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
            let shared = cx.shared.clone();
            let uid = cx.slot.uid.clone();
            let unpublished = self.busy(cx, csi::unpublish_all(&shared, &uid)).await;
            if let Err(message) = unpublished {
                self.event(cx, None, EventType::Warning, "FailedUnmount", message);
                return self.try_later(cx);
            }
            if let Some(state) = cx.shared.machine.state() {
                let (state, uid) = (state.to_owned(), uid.to_string());
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

/// Lets containers end: the main ones at once, then the sidecars one after the other.
async fn end_all(
    runtime: &dyn Runtime,
    containers: &[(usize, ContainerId)],
    hooks: Vec<Option<Box<Hook>>>,
    init_count: usize,
    deadline: Instant,
) -> Vec<(usize, hooks::Ended)> {
    let (mut main, mut sidecars) = (Vec::new(), Vec::new());
    for ((index, id), hook) in containers.iter().zip(hooks) {
        if *index >= init_count {
            let end = hooks::end(runtime, id, hook, deadline, MINIMUM_GRACE);
            main.push(async move { (*index, end.await) });
        } else {
            sidecars.push(async move { (*index, id, hooks::before_end(hook, deadline).await) });
        }
    }
    let (mut ended, sidecars) = tokio::join!(join_all(main), join_all(sidecars));
    for (index, id, hook) in sidecars {
        let left = deadline.saturating_duration_since(Instant::now()).max(MINIMUM_GRACE);
        let stopped = runtime.stop_container(id, left).await;
        ended.push((index, hooks::Ended { hook, stopped }));
    }
    ended
}
