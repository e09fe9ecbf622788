//! The probes of a running container.
//!
//! Each probe is a task of the container's present attempt, which keeps what it finds in the
//! container's [`Health`] and has the pod looked at when that changes. What follows from it is
//! planned with everything else.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, Probe};
use parking_lot::Mutex;
use pinnace_client::EventType;
use pinnace_runtime::{ContainerId, Probing};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::worker::go_duration;
use crate::agent::Shared;
use crate::checks::{self, Outcome};
use crate::slot::Slot;

/// How often a probe that could not find out anything is repeated at once, as upstream.
const ATTEMPTS: usize = 3;

/// What is known of how a container is.
pub(crate) struct Health {
    started: watch::Sender<bool>,
    ready: AtomicBool,
    failed: Mutex<Option<Probing>>,
}

/// The probes of one attempt of a container. They end with it.
pub(crate) struct Probes {
    health: Arc<Health>,
    tasks: Vec<(Probing, AbortHandle)>,
}

impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.tasks.iter().map(|(probing, _)| probing)).finish()
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        for (_, task) in &self.tasks {
            task.abort();
        }
    }
}

/// Whose probes they are.
pub(crate) struct Probed {
    pub(crate) shared: Arc<Shared>,
    pub(crate) slot: Arc<Slot>,
    pub(crate) container: Container,
    pub(crate) id: ContainerId,
    /// Where Events about the container point.
    pub(crate) field_path: String,
    pub(crate) pod_ip: String,
    /// When it was started.
    pub(crate) since: Instant,
}

impl Probes {
    /// Begins to probe a container that has just been started, or that ran before the agent did:
    /// then what was known of it counts until there is news. `None` when it has no probes.
    pub(crate) fn begin(of: Probed, was_started: bool, was_ready: bool) -> Option<Self> {
        let container = &of.container;
        let wanted = [
            (Probing::Startup, container.startup_probe.clone()),
            (Probing::Liveness, container.liveness_probe.clone()),
            (Probing::Readiness, container.readiness_probe.clone()),
        ];
        if wanted.iter().all(|(_, probe)| probe.is_none()) {
            return None;
        }
        let health = Arc::new(Health {
            started: watch::Sender::new(was_started || container.startup_probe.is_none()),
            ready: AtomicBool::new(was_ready || container.readiness_probe.is_none()),
            failed: Mutex::new(None),
        });
        let of = Arc::new(of);
        let mut tasks = Vec::new();
        for (probing, probe) in wanted {
            let Some(probe) = probe else { continue };
            if probing == Probing::Startup && was_started {
                continue;
            }
            let prober = Prober { of: of.clone(), health: health.clone(), probing, probe };
            let stop = of.shared.stop.clone();
            let work = async move { stop.run_until_cancelled_owned(prober.run()).await };
            tasks.push((probing, of.shared.tasks.spawn(work).abort_handle()));
        }
        Some(Self { health, tasks })
    }

    pub(crate) fn is_started(&self) -> bool {
        *self.health.started.borrow()
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.is_started() && self.health.ready.load(Ordering::Acquire)
    }

    /// Which probe says that the container is to be started again.
    pub(crate) fn failed(&self) -> Option<Probing> {
        *self.health.failed.lock()
    }

    /// The container is about to be stopped: from now on it only matters whether it is ready.
    pub(crate) fn end_all_but_readiness(&mut self) {
        for (probing, task) in &self.tasks {
            if *probing != Probing::Readiness {
                task.abort();
            }
        }
        *self.health.failed.lock() = None;
    }
}

/// One probe.
struct Prober {
    of: Arc<Probed>,
    health: Arc<Health>,
    probing: Probing,
    probe: Probe,
}

impl Prober {
    /// Probes until there is nothing more to find out.
    async fn run(self) {
        let delay = seconds(self.probe.initial_delay_seconds, 0);
        let period = seconds(self.probe.period_seconds, 10).max(Duration::from_secs(1));
        tokio::time::sleep_until(self.of.since + delay).await;
        let mut next = Instant::now();
        let mut streak: Option<(bool, i32)> = None;
        loop {
            if self.probing != Probing::Startup {
                let mut started = self.health.started.subscribe();
                // The sender lives as long as this does.
                let _ = started.wait_for(|started| *started).await;
            }
            tokio::time::sleep_until(next).await;
            next = Instant::now() + period;
            let Some(well) = self.probe().await else { continue };
            let count = match streak {
                Some((same, count)) if same == well => count.saturating_add(1),
                _ => 1,
            };
            streak = Some((well, count));
            let threshold = if well {
                self.probe.success_threshold.unwrap_or(1)
            } else {
                self.probe.failure_threshold.unwrap_or(3)
            };
            if count >= threshold && self.conclude(well) {
                return;
            }
        }
    }

    /// Notes what is now certain; says whether nothing more is to be found out.
    fn conclude(&self, well: bool) -> bool {
        let (news, done) = match (self.probing, well) {
            (Probing::Startup, true) => {
                self.health.started.send_replace(true);
                (true, true)
            }
            (Probing::Startup | Probing::Liveness, false) => {
                *self.health.failed.lock() = Some(self.probing);
                (true, true)
            }
            (Probing::Liveness, true) => (false, false),
            (Probing::Readiness, _) => {
                (self.health.ready.swap(well, Ordering::AcqRel) != well, false)
            }
        };
        if news {
            self.of.slot.probed(&self.of.shared);
        }
        done
    }

    /// Probes once and tells of what is not well. `None` when nothing could be found out.
    async fn probe(&self) -> Option<bool> {
        let mut errored = String::new();
        for _ in 0..ATTEMPTS {
            match self.check().await {
                Ok(Outcome::Success) => return Some(true),
                Ok(Outcome::Warning(what)) => {
                    let message = format!("{} probe warning: {what}", self.name());
                    self.event("ProbeWarning", message);
                    return Some(true);
                }
                Ok(Outcome::Failure(why)) => {
                    self.event("Unhealthy", format!("{} probe failed: {why}", self.name()));
                    return Some(false);
                }
                Err(why) => errored = why,
            }
        }
        let message =
            format!("{} probe errored and resulted in unknown state: {errored}", self.name());
        self.event("Unhealthy", message);
        None
    }

    async fn check(&self) -> Result<Outcome, String> {
        let runtime = &self.of.slot.host.runtime.runtime;
        if runtime.simulates() {
            let answer = runtime.probe(&self.of.id, self.probing).await;
            return Ok(answer.map_or_else(Outcome::Failure, |()| Outcome::Success));
        }
        let limit = seconds(self.probe.timeout_seconds, 1).max(Duration::from_secs(1));
        let shown = go_duration(limit);
        let (container, ip) = (&self.of.container, self.of.pod_ip.as_str());
        let timed_out = |why: String| Ok(Outcome::Failure(why));
        if let Some(exec) = &self.probe.exec {
            let command = exec.command.as_deref().unwrap_or_default();
            let work = checks::command::check(&**runtime, &self.of.id, command);
            return tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
                let command = command.join(" ");
                timed_out(format!("command timed out: {command:?} timed out after {shown}"))
            });
        }
        if let Some(action) = &self.probe.http_get {
            let get = checks::http::Get::of(action, container, ip)?;
            return tokio::time::timeout(limit, get.check()).await.map_or_else(
                |_| {
                    timed_out(format!(
                        "Get {:?}: context deadline exceeded (Client.Timeout exceeded while \
                         awaiting headers)",
                        get.url()
                    ))
                },
                Ok,
            );
        }
        if let Some(action) = &self.probe.tcp_socket {
            let host = action.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(ip);
            let port = checks::port(&action.port, container)?;
            let work = checks::tcp::check(host, port);
            return tokio::time::timeout(limit, work).await.map_or_else(
                |_| timed_out(format!("dial tcp {}: i/o timeout", checks::authority(host, port))),
                Ok,
            );
        }
        if let Some(action) = &self.probe.grpc {
            let port = u16::try_from(action.port).map_err(|error| error.to_string())?;
            let service = action.service.as_deref().unwrap_or_default();
            let work = checks::grpc::check(ip, port, service);
            return tokio::time::timeout(limit, work).await.map_or_else(
                |_| timed_out(format!("timeout: health rpc did not complete within {shown}")),
                Ok,
            );
        }
        Err(format!("missing probe handler for container {:?}", container.name))
    }

    fn name(&self) -> &'static str {
        match self.probing {
            Probing::Startup => "Startup",
            Probing::Liveness => "Liveness",
            Probing::Readiness => "Readiness",
        }
    }

    fn event(&self, reason: &str, message: String) {
        let pod = self.of.slot.pod();
        let path = Some(self.of.field_path.clone());
        self.of.slot.host.recorder.record_at(&pod, path, EventType::Warning, reason, message);
    }
}

fn seconds(given: Option<i32>, default: u64) -> Duration {
    let given = given.and_then(|seconds| u64::try_from(seconds).ok());
    Duration::from_secs(given.unwrap_or(default))
}
