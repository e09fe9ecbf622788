use std::path::PathBuf;
use std::time::Duration;

use futures::future::join_all;
use pinnace_client::EventType;
use pinnace_runtime::logs::remove_log;
use pinnace_runtime::{Acting, ContainerId, Error, Image, Probing};
use tokio::time::Instant;

use super::container_config::{Inside, container_config};
use super::environment::environment;
use super::hooks::{self, Hook};
use super::plan::Again;
use super::probing::{Probed, Probes};
use super::record::{self, Ended, State};
use super::stop::MINIMUM_GRACE;
use super::worker::{Cx, Stage, Worker};
use super::{plan, resources, service_environment};
use crate::logs;
use crate::sources::{self, Sources};
use crate::volumes;

/// How long a container that could not be made waits for the next attempt.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// How much of a termination message is kept, in bytes.
const MAX_TERMINATION_MESSAGE: usize = 4096;
/// Exit code of a container whose process could not be executed.
const CODE_START_ERROR: i32 = 128;

impl Worker {
    /// Starts a container, for the first time or again. Afterwards it runs, has ended, or is on
    /// hold.
    pub(super) async fn start(&mut self, cx: &Cx, index: usize) {
        let shared = cx.shared.clone();
        self.records[index].hold = None;
        let Some(image) = self.ensure_image(cx, index).await else { return };
        if !Box::pin(self.ensure_image_volumes(cx, index)).await {
            return;
        }
        let _turn = self.busy(cx, shared.turn()).await;
        let inside = match self.inside(cx, index).await {
            Ok(inside) => inside,
            Err(message) => {
                return self.refuse(cx, index, "CreateContainerConfigError", message);
            }
        };
        let class = resources::qos_class(record::spec_of(self.pod()));
        let node = &cx.host().allocatable;
        let config = container_config(
            self.pod(),
            &self.granted_container(index),
            class,
            node,
            &cx.shared.machine,
            inside,
        );
        let (runtime, pod) = (cx.runtime(), cx.pod_id());
        let created = self.busy(cx, runtime.create_container(&pod, &config)).await;
        let id = match created {
            Ok(id) => id,
            Err(Error::PodNotFound(_)) => return Box::pin(self.set_up_again(cx)).await,
            Err(Error::InvalidConfig(message)) => {
                return self.refuse(cx, index, "CreateContainerConfigError", message);
            }
            Err(error) => {
                return self.refuse(cx, index, "CreateContainerError", error.to_string());
            }
        };
        let previous = self.records[index].ended().and_then(|ended| ended.id.clone());
        self.records[index].begin_attempt(Instant::now());
        self.event(cx, Some(index), EventType::Normal, "Created", "Container created");
        let started = self.busy(cx, runtime.start_container(&id)).await;
        if let Err(error) = started {
            return Box::pin(self.start_failed(cx, index, id, &error)).await;
        }
        self.event(cx, Some(index), EventType::Normal, "Started", "Container started");
        if let Some(hook) = self.hook(cx, index, &id, Acting::PostStart)
            && let Err(why) = Box::pin(self.after_start(cx, hook)).await
        {
            Box::pin(self.post_start_failed(cx, index, id, &image, why)).await;
            return self.forget_attempt(cx, index, previous).await;
        }
        self.note_started(cx, index, &id, &image).await;
        self.forget_attempt(cx, index, previous).await;
    }

    async fn note_started(&mut self, cx: &Cx, index: usize, id: &ContainerId, image: &Image) {
        let spec_image = self.container(index).image.clone().unwrap_or_default();
        let record = &mut self.records[index];
        record.image_id = image.digests.first().unwrap_or(&image.id).clone();
        record.state = State::Running {
            id: id.clone(),
            started_at: cx.shared.env.clock().now_seconds(),
            image: spec_image,
        };
        self.probe(cx, index);
        if cx.shared.machine.state().is_none() {
            // It begins when the clock says so, and its end is told.
            return;
        }
        // It may have ended already, and the runtime knows best when it began.
        let believed = self.records[index].state.clone();
        self.observe_one(cx, index, id).await;
        if let State::Absent = self.records[index].state {
            // A runtime that still shows it as created lags behind its own answer.
            self.records[index].state = believed;
        }
    }

    /// Begins to probe a container that runs, unless that has begun.
    pub(super) fn probe(&mut self, cx: &Cx, index: usize) {
        let container = self.container(index);
        let Some(record) = self.records.get(index) else { return };
        let probed = container.startup_probe.is_some()
            || container.liveness_probe.is_some()
            || container.readiness_probe.is_some();
        let State::Running { id, started_at, .. } = &record.state else { return };
        if !probed || record.probes.is_some() {
            return;
        }
        let ran = cx.shared.env.clock().since(*started_at);
        let now = Instant::now();
        let of = Probed {
            shared: cx.shared.clone(),
            slot: cx.slot.clone(),
            container: container.clone(),
            id: id.clone(),
            field_path: self.field_path(index),
            pod_ip: self.pod_ips.first().cloned().unwrap_or_default(),
            // It began in this second, the fraction of which is not known.
            since: if ran < Duration::from_secs(1) {
                now
            } else {
                now.checked_sub(ran).unwrap_or(now)
            },
        };
        let (was_started, was_ready) = record.was;
        self.records[index].probes = Probes::begin(of, was_started, was_ready);
    }

    /// Carries out a container's hook, unless the pod ends before that does.
    async fn after_start(&mut self, cx: &Cx, hook: Box<Hook>) -> Result<(), String> {
        let slot = cx.slot.clone();
        tokio::select! {
            biased;
            done = self.busy(cx, hook.run()) => done,
            () = slot.ends_before(None) => Ok(()),
        }
    }

    /// A container whose hook has failed is stopped, and started again if its pod's policy says
    /// so.
    async fn post_start_failed(
        &mut self,
        cx: &Cx,
        index: usize,
        id: ContainerId,
        image: &Image,
        why: String,
    ) {
        let reason = "FailedPostStartHook";
        self.event(cx, Some(index), EventType::Warning, reason, "PostStartHook failed");
        self.event(cx, Some(index), EventType::Normal, "Killing", reason);
        let (runtime, grace) = (cx.runtime(), self.spec_grace());
        if let Err(error) = self.busy(cx, runtime.stop_container(&id, grace)).await {
            tracing::debug!(container = %id, %error, "container not stopped");
        }
        self.records[index].image_id = image.digests.first().unwrap_or(&image.id).clone();
        self.observe_one(cx, index, &id).await;
        self.records[index].unhealthy = true;
        self.show_hold(cx, index, "PostStartHookError", why).await;
    }

    /// Shows why a container that has ended was not kept, before what follows from its end does.
    async fn show_hold(&mut self, cx: &Cx, index: usize, reason: &'static str, message: String) {
        let now = Instant::now();
        let again = plan::plan(record::spec_of(self.pod()), &self.records, now)
            .actions
            .iter()
            .any(|action| matches!(action, plan::Action::Start(one) | plan::Action::BackOff(one, _) if *one == index));
        if again {
            self.records[index].hold(reason, message, now, Duration::ZERO);
            self.publish(cx).await;
            self.records[index].hold = None;
        }
    }

    /// Stops a container that a probe has found to be ill.
    pub(super) async fn heal(&mut self, cx: &Cx, index: usize, probing: Probing, again: Again) {
        let Some(id) = self.records[index].running().cloned() else { return };
        let container = self.container(index);
        let (word, probe) = match probing {
            Probing::Startup => ("startup", container.startup_probe.as_ref()),
            _ => ("liveness", container.liveness_probe.as_ref()),
        };
        let own = probe.and_then(|probe| probe.termination_grace_period_seconds);
        let grace = match own.and_then(|seconds| u64::try_from(seconds).ok()) {
            Some(seconds) => Duration::from_secs(seconds),
            None => self.spec_grace(),
        };
        let restarts = if again == Again::Yes { ", will be restarted" } else { "" };
        let message = format!("Container {} failed {word} probe{restarts}", container.name);
        self.event(cx, Some(index), EventType::Normal, "Killing", message);
        if let Some(probes) = &mut self.records[index].probes {
            probes.end_all_but_readiness();
        }
        self.records[index].unhealthy = true;
        let hook = self.hook(cx, index, &id, Acting::PreStop);
        let (runtime, slot) = (cx.runtime(), cx.slot.clone());
        let work = hooks::end(&*runtime, &id, hook, Instant::now() + grace, MINIMUM_GRACE);
        let done = tokio::select! {
            biased;
            done = self.busy(cx, work) => Some(done),
            // Then it has the time that the deletion gives.
            () = slot.ends_before(None) => None,
        };
        let Some(done) = done else { return };
        if let Err(why) = done.hook {
            self.pre_stop_failed(cx, index, &why);
        }
        if let Err(error) = done.stopped {
            tracing::debug!(container = %id, %error, "container not stopped");
        }
        self.observe_one(cx, index, &id).await;
    }

    /// Removes what the attempt before the last has left. Its log stays while it is the previous
    /// one.
    async fn forget_attempt(&mut self, cx: &Cx, index: usize, previous: Option<ContainerId>) {
        if let Some(previous) = previous {
            let runtime = cx.runtime();
            if let Err(error) = runtime.remove_container(&previous).await {
                tracing::debug!(container = %previous, %error, "old container not removed");
            }
        }
        if let Ok(old) = u32::try_from(self.records[index].restarts.saturating_sub(2)) {
            let name = &self.container(index).name;
            let directory = logs::pod_directory(&cx.shared.logs, self.pod());
            // Best effort: it goes with the pod at the latest.
            let _ = remove_log(&logs::attempt_path(&directory, name, old));
        }
    }

    async fn start_failed(&mut self, cx: &Cx, index: usize, id: ContainerId, error: &Error) {
        let message = error.to_string();
        self.event(cx, Some(index), EventType::Warning, "Failed", format!("Error: {message}"));
        let now = Instant::now();
        let ended = Ended {
            id: Some(id),
            code: CODE_START_ERROR,
            reason: "StartError".to_owned(),
            message: message.clone(),
            started_at: None,
            finished_at: Some(cx.shared.env.clock().now_seconds()),
        };
        self.records[index].exited(ended, now);
        self.show_hold(cx, index, "RunContainerError", message).await;
    }

    /// What the container finds inside.
    async fn inside(&mut self, cx: &Cx, index: usize) -> Result<Inside, String> {
        let references: Vec<_> = sources::of_environment(self.container(index)).collect();
        let found = if references.is_empty() {
            Sources::default()
        } else {
            let client = cx.shared.client.clone();
            let namespace = cx.slot.key.namespace().to_owned();
            let read = Box::pin(Sources::read(&client, &namespace, references));
            self.busy(cx, read).await.map_err(|error| error.to_string())?
        };
        let services = if cx.shared.machine.state().is_some() {
            let (client, object) = (cx.shared.client.clone(), self.object());
            let read = Box::pin(async move {
                let pod = object.get::<k8s_openapi::api::core::v1::Pod>()?;
                service_environment::read(&client, pod).await
            });
            self.busy(cx, read).await.map_err(|error| error.to_string())?
        } else {
            // Nobody in a simulated container reads them.
            Vec::new()
        };
        let around = self.surroundings(cx);
        let mut variables =
            environment(self.pod(), self.container(index), &found, &around, &services)?;
        let skipped = std::mem::take(&mut variables.skipped);
        if !skipped.is_empty() {
            let message = format!(
                "Keys [{}] were skipped since they are considered invalid environment variable \
                 names.",
                skipped.join(", ")
            );
            let reason = "InvalidEnvironmentVariableNames";
            self.event(cx, Some(index), EventType::Warning, reason, message);
        }
        let record = &self.records[index];
        let attempt = record.restarts.saturating_add(i32::from(record.ended().is_some()));
        let attempt = u32::try_from(attempt).unwrap_or(0);
        let mut inside = Inside {
            attempt,
            env: variables.into_variables(),
            mounts: Vec::new(),
            devices: Vec::new(),
            termination_message: PathBuf::new(),
        };
        if let Some(state) = cx.shared.machine.state().map(std::path::Path::to_owned) {
            Box::pin(self.add_files(cx, index, state, &mut inside)).await?;
        }
        Ok(inside)
    }

    /// Adds what a container needs of a real machine: mounts and a file for its last words.
    async fn add_files(
        &mut self,
        cx: &Cx,
        index: usize,
        state: PathBuf,
        inside: &mut Inside,
    ) -> Result<(), String> {
        let object = self.object();
        let volumes = self.volumes.clone();
        let features = self.features;
        let variables = inside.env.clone();
        let container = self.container(index).clone();
        let message = message_path(cx, &container.name, inside.attempt);
        let logs = logs::pod_directory(&cx.shared.logs, self.pod());
        let work = cx.shared.tasks.spawn_blocking(move || {
            let pod = object.get().map_err(|error| error.to_string())?;
            let lookup = |name: &str| {
                let found = variables.iter().find(|(variable, _)| variable == name);
                found.map(|(_, value)| value.clone())
            };
            let mounts = volumes::mounts(&state, pod, &container, &volumes, features, &lookup)?;
            let devices = volumes::devices(pod, &container, &volumes)?;
            let make = |path: &std::path::Path| {
                std::fs::create_dir_all(path)
                    .map_err(|error| format!("cannot make {}: {error}", path.display()))
            };
            make(&logs)?;
            if let Some(path) = &message {
                make(path.parent().unwrap_or(path))?;
                std::fs::write(path, b"")
                    .and_then(|()| {
                        use std::os::unix::fs::PermissionsExt as _;
                        let anybody = std::fs::Permissions::from_mode(0o666);
                        std::fs::set_permissions(path, anybody)
                    })
                    .map_err(|error| format!("cannot make {}: {error}", path.display()))?;
            }
            Ok::<_, String>((mounts, devices, message.unwrap_or_default()))
        });
        let done = self.busy(cx, work).await.map_err(|error| error.to_string())?;
        (inside.mounts, inside.devices, inside.termination_message) = done?;
        Ok(())
    }

    /// Whether a container has ended that may have left last words.
    pub(super) fn has_termination_message(&self, cx: &Cx, index: usize) -> bool {
        cx.shared.machine.state().is_some() && self.records[index].ended().is_some()
    }

    /// Adds a container's last words to how it ended: from its message file, or from its log if
    /// it asks for that and has failed.
    pub(super) async fn read_termination_message(&mut self, cx: &Cx, index: usize, log: PathBuf) {
        let container = self.container(index);
        let from_log =
            container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
        let name = container.name.clone();
        let Some(record) = self.records.get_mut(index) else { return };
        let attempt = u32::try_from(record.restarts).unwrap_or(0);
        let State::Exited { ended, .. } = &mut record.state else { return };
        let Some(path) = message_path(cx, &name, attempt) else { return };
        let failed = ended.code != 0;
        let words =
            cx.shared.tasks.spawn_blocking(move || logs::read_head(&path, MAX_TERMINATION_MESSAGE));
        let mut words = words.await.ok().flatten().unwrap_or_default();
        if words.is_empty() && from_log && failed {
            // What it wrote last, and a line without an end above all, may not be there yet.
            if let Some(id) = &ended.id {
                let complete = cx.runtime().wait_container(id).await;
                if let Err(error) = complete {
                    tracing::debug!(container = %id, %error, "the end of a log is not awaited");
                }
            }
            words = logs::last_lines(&log).await;
        }
        if !words.is_empty() {
            ended.message = words;
        }
    }

    /// Puts a container off that cannot be made as it is.
    fn refuse(&mut self, cx: &Cx, index: usize, reason: &'static str, message: String) {
        self.event(cx, Some(index), EventType::Warning, "Failed", format!("Error: {message}"));
        if let Some(record) = self.records.get_mut(index) {
            record.hold(reason, message, Instant::now(), TRY_AGAIN_AFTER);
        }
    }

    /// Begins anew with what the containers share, for the runtime no longer has it. Those that
    /// run yet have time to end.
    async fn set_up_again(&mut self, cx: &Cx) {
        let running: Vec<(usize, ContainerId)> = (0..self.records.len())
            .filter_map(|index| Some((index, self.records[index].running()?.clone())))
            .collect();
        let (runtime, grace) = (cx.runtime(), self.spec_grace());
        let stops = running.iter().map(|(_, id)| runtime.stop_container(id, grace));
        for error in self.busy(cx, join_all(stops)).await.into_iter().filter_map(Result::err) {
            tracing::debug!(pod = %cx.slot.key, %error, "container not stopped");
        }
        for (index, id) in running {
            self.observe_one(cx, index, &id).await;
        }
        self.lose_sandbox(cx);
        self.go_to(Stage::SettingUp);
        self.try_later(cx);
    }

    /// Stops a container whose definition has changed; it is then started as it is now.
    pub(super) async fn replace(&mut self, cx: &Cx, index: usize) {
        let Some(id) = self.records[index].running().cloned() else { return };
        let name = self.container(index).name.clone();
        self.replacing = true;
        self.replace_because(
            cx,
            index,
            id,
            format!("Container {name} definition changed, will be restarted"),
        )
        .await;
    }

    /// Stops a container that is to start again at once, and says why.
    pub(super) async fn replace_because(
        &mut self,
        cx: &Cx,
        index: usize,
        id: ContainerId,
        message: String,
    ) {
        self.event(cx, Some(index), EventType::Normal, "Killing", message);
        let grace = self.spec_grace();
        let runtime = cx.runtime();
        if let Err(error) = self.busy(cx, runtime.stop_container(&id, grace)).await {
            tracing::debug!(container = %id, %error, "container not stopped");
        }
        self.observe_one(cx, index, &id).await;
        if let Some(ended) = self.records[index].ended().cloned() {
            // It is no failure of the container: it starts again at once, whatever its policy.
            let record = &mut self.records[index];
            record.state = State::Absent;
            record.was = (false, false);
            record.last = Some(ended);
            record.restarts = record.restarts.saturating_add(1);
            record.restart_back_off.reset();
        }
    }
}

/// Where a container's last words go: a file of its attempt; nowhere on no machine.
fn message_path(cx: &Cx, name: &str, attempt: u32) -> Option<PathBuf> {
    let state = cx.shared.machine.state()?;
    let pod = volumes::pod_directory(state, &cx.slot.uid);
    Some(pod.join("containers").join(name).join(attempt.to_string()))
}
