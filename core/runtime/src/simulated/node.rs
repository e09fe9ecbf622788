use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use pinnace_env::Env;
use tokio::sync::{Notify, broadcast};
use tokio::task::AbortHandle;

use super::Script;
use super::stats::{Spent, usage};
use crate::logs::{LogStream, format_line};
use crate::{
    ContainerConfig, ContainerId, ContainerPhase, ContainerState, Exit, PodConfig, PodId,
    PodSandbox, PodState, Resources, RuntimeEvent,
};

/// Events that a subscriber may be behind before it has to look at everything again: of a node that
/// is one among thousands, and of the one that a whole world may share.
pub(super) const NODE_EVENTS: usize = 128;
pub(super) const WORLD_EVENTS: usize = 8192;
/// Within what time a container crashes that has no running time of its own.
const CRASH_WITHIN: Duration = Duration::from_secs(60);
/// The exit code of a process that was killed.
const KILLED: i32 = 137;

/// One machine of a simulated world.
pub(super) struct Node {
    pub(super) env: Env,
    pub(super) event_capacity: usize,
    pub(super) state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    pods: BTreeMap<PodId, Pod>,
    containers: HashMap<ContainerId, Container>,
    /// Images that had to be pulled and were.
    pub(super) pulled: HashSet<String>,
    /// Why the runtime does not answer.
    pub(super) failure: Option<String>,
    events: Option<broadcast::Sender<RuntimeEvent>>,
}

struct Pod {
    config: PodConfig,
    created_at: Timestamp,
    containers: Vec<ContainerId>,
}

struct Container {
    pod: PodId,
    config: ContainerConfig,
    image_id: String,
    script: Arc<Script>,
    phase: ContainerPhase,
    log_path: PathBuf,
    created_at: Timestamp,
    /// What it had used when what it uses was changed last.
    spent: Option<Spent>,
    /// The one task that acts in the container's name.
    life: Option<AbortHandle>,
    exited: Option<Arc<Notify>>,
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Some(life) = &self.life {
            life.abort();
        }
    }
}

impl State {
    pub(super) fn subscribe(&mut self, capacity: usize) -> broadcast::Receiver<RuntimeEvent> {
        match &self.events {
            Some(sender) => sender.subscribe(),
            None => {
                let (sender, receiver) = broadcast::channel(capacity);
                self.events = Some(sender);
                receiver
            }
        }
    }

    pub(super) fn unsubscribe_all(&mut self) {
        self.events = None;
    }

    pub(super) fn send(&self, event: impl FnOnce() -> RuntimeEvent) {
        if let Some(events) = &self.events {
            // Fails only when nobody listens.
            let _ = events.send(event());
        }
    }

    pub(super) fn add_pod(&mut self, config: &PodConfig, now: Timestamp) -> PodSandbox {
        let id = PodId(config.id.clone());
        let pod = self.pods.entry(id.clone()).or_insert_with(|| Pod {
            config: config.clone(),
            created_at: now,
            containers: Vec::new(),
        });
        PodSandbox { id, network_namespace: None, created_at: pod.created_at }
    }

    /// Changes what a pod may use; whether there is such a pod.
    pub(super) fn update_pod(&mut self, id: &PodId, resources: &Resources) -> bool {
        let pod = self.pods.get_mut(id);
        pod.map(|pod| pod.config.resources = resources.clone()).is_some()
    }

    pub(super) fn update_container(&mut self, id: &ContainerId, resources: &Resources) {
        if let Some(container) = self.containers.get_mut(id) {
            container.config.resources = resources.clone();
        }
    }

    pub(super) fn pod_config(&self, pod: &PodId) -> Option<&PodConfig> {
        self.pods.get(pod).map(|pod| &pod.config)
    }

    pub(super) fn remove_pod(&mut self, id: &PodId, now: Timestamp) {
        let Some(pod) = self.pods.remove(id) else { return };
        for container in &pod.containers {
            self.end(container, KILLED, now);
            self.containers.remove(container);
        }
    }

    /// The container of that name and attempt, made if need be. The pod exists.
    pub(super) fn add_container(
        &mut self,
        id: ContainerId,
        pod: &PodId,
        config: &ContainerConfig,
        script: Arc<Script>,
        image_id: String,
        now: Timestamp,
    ) {
        let Some(owner) = self.pods.get_mut(pod) else { return };
        if self.containers.contains_key(&id) {
            return;
        }
        owner.containers.push(id.clone());
        let log_path =
            owner.config.log_directory.join(&config.name).join(format!("{}.log", config.attempt));
        self.containers.insert(
            id,
            Container {
                pod: pod.clone(),
                config: config.clone(),
                image_id,
                script,
                phase: ContainerPhase::Created,
                log_path,
                created_at: now,
                spent: None,
                life: None,
                exited: None,
            },
        );
    }

    pub(super) fn remove_container(&mut self, id: &ContainerId, now: Timestamp) {
        self.end(id, KILLED, now);
        let Some(container) = self.containers.remove(id) else { return };
        if let Some(pod) = self.pods.get_mut(&container.pod) {
            pod.containers.retain(|other| other != id);
        }
    }

    pub(super) fn script(&self, id: &ContainerId) -> Option<Arc<Script>> {
        self.containers.get(id).map(|container| Arc::clone(&container.script))
    }

    /// Changes what the containers of an image use from now on.
    pub(super) fn set_usage(&mut self, image: &str, cpu: u64, memory: u64, now: Timestamp) {
        for container in self.containers.values_mut() {
            if container.config.image != image {
                continue;
            }
            if let ContainerPhase::Running { started_at, .. } = container.phase {
                let spent =
                    container.spent.unwrap_or(Spent { cpu: Duration::ZERO, at: started_at });
                let used = usage(&container.script, &container.config.resources, spent, now);
                container.spent = Some(Spent { cpu: used.cpu, at: now });
            }
            let mut script = Script::clone(&container.script);
            (script.cpu_millis, script.memory_bytes) = (Some(cpu), Some(memory));
            container.script = Arc::new(script);
        }
    }

    pub(super) fn spent(&self, id: &ContainerId) -> Option<Spent> {
        self.containers.get(id)?.spent
    }

    pub(super) fn phase(&self, id: &ContainerId) -> Option<&ContainerPhase> {
        self.containers.get(id).map(|container| &container.phase)
    }

    pub(super) fn container(&self, id: &ContainerId) -> Option<ContainerState> {
        let container = self.containers.get(id)?;
        Some(ContainerState {
            id: id.clone(),
            pod: container.pod.clone(),
            config: container.config.clone(),
            image_id: container.image_id.clone(),
            phase: container.phase.clone(),
            log_path: container.log_path.clone(),
            created_at: container.created_at,
        })
    }

    pub(super) fn pods(&self) -> Vec<PodState> {
        self.pods.keys().filter_map(|id| self.pod(id)).collect()
    }

    pub(super) fn pod(&self, id: &PodId) -> Option<PodState> {
        let pod = self.pods.get(id)?;
        Some(PodState {
            config: pod.config.clone(),
            sandbox: PodSandbox {
                id: id.clone(),
                network_namespace: None,
                created_at: pod.created_at,
            },
            whole: true,
            containers: pod.containers.iter().filter_map(|id| self.container(id)).collect(),
        })
    }

    pub(super) fn pod_count(&self) -> usize {
        self.pods.len()
    }

    /// Whether a container of the pod runs that listens at the port.
    pub(super) fn listens(&self, pod: &PodId, port: u16) -> bool {
        let containers = self.pods.get(pod).into_iter().flat_map(|pod| &pod.containers);
        containers.filter_map(|id| self.containers.get(id)).any(|container| {
            matches!(container.phase, ContainerPhase::Running { .. })
                && container.script.listen.contains(&port)
        })
    }

    /// Something that is notified when the container ends; `None` when it does not run.
    pub(super) fn exit_of(&mut self, id: &ContainerId) -> Option<Arc<Notify>> {
        let container = self.containers.get_mut(id)?;
        matches!(container.phase, ContainerPhase::Running { .. })
            .then(|| Arc::clone(container.exited.get_or_insert_default()))
    }

    /// Ends a container that runs. False when it doesn't.
    pub(super) fn end(&mut self, id: &ContainerId, code: i32, now: Timestamp) -> bool {
        let Some(container) = self.containers.get_mut(id) else { return false };
        let ContainerPhase::Running { started_at, .. } = container.phase else { return false };
        let out_of_memory = code == KILLED && container.script.out_of_memory;
        container.phase = ContainerPhase::Exited(Exit {
            code,
            reason: match code {
                0 => "Completed",
                _ if out_of_memory => "OOMKilled",
                _ => "Error",
            },
            message: container.script.message.clone(),
            started_at,
            finished_at: now,
        });
        if let Some(life) = container.life.take() {
            life.abort();
        }
        if let Some(exited) = container.exited.take() {
            exited.notify_waiters();
        }
        let pod = container.pod.clone();
        self.send(|| RuntimeEvent::Exited { pod, container: id.clone() });
        true
    }
}

impl Node {
    pub(super) fn new(env: Env, event_capacity: usize) -> Self {
        Self { env, event_capacity, state: Mutex::default() }
    }

    /// Waits until a container does not run.
    pub(super) async fn ended(&self, id: &ContainerId) {
        loop {
            let Some(exited) = self.state.lock().exit_of(id) else { return };
            let told = exited.notified();
            tokio::pin!(told);
            // From here on no notification is missed; one before shows in the phase.
            told.as_mut().enable();
            if self.state.lock().exit_of(id).is_some() {
                told.await;
            }
        }
    }

    /// Begins the container's life. It is `Created`.
    pub(super) fn begin(self: &Arc<Self>, state: &mut State, id: &ContainerId) {
        let Some(container) = state.containers.get_mut(id) else { return };
        container.phase = ContainerPhase::Running { started_at: self.env.now(), pid: 0 };
        let script = Arc::clone(&container.script);
        let random = self.env.random();
        let end = if script.crash > 0.0 && random.chance(script.crash) {
            let within = script.run.as_ref().map_or(CRASH_WITHIN, |run| run.draw(random));
            let nanos = u64::try_from(within.as_nanos()).unwrap_or(u64::MAX);
            let code = if script.exit_code == 0 { 1 } else { script.exit_code };
            Some((Duration::from_nanos(random.below(nanos)), code))
        } else {
            script.run.as_ref().map(|run| (run.draw(random), script.exit_code))
        };
        let end =
            end.map(|(after, code)| (after, if script.out_of_memory { KILLED } else { code }));
        let prints = script.log_every.is_some() && !script.log.is_empty();
        if !prints {
            let lines = script.log.iter().map(String::as_str);
            print(&container.log_path, lines, self.env.now());
        }
        if end.is_some() || prints {
            let life = Life {
                node: Arc::downgrade(self),
                id: id.clone(),
                log_path: container.log_path.clone(),
                script,
            };
            container.life = Some(tokio::spawn(life.live(end)).abort_handle());
        }
        let pod = container.pod.clone();
        state.send(|| RuntimeEvent::Started { pod, container: id.clone() });
    }
}

/// What a container does by itself.
struct Life {
    /// Weak: a world that nobody holds ends.
    node: Weak<Node>,
    id: ContainerId,
    log_path: PathBuf,
    script: Arc<Script>,
}

impl Life {
    async fn live(self, end: Option<(Duration, i32)>) {
        let Some((after, code)) = end else { return self.print().await };
        tokio::select! {
            () = tokio::time::sleep(after) => {}
            () = self.print() => {}
        }
        if let Some(node) = self.node.upgrade() {
            node.state.lock().end(&self.id, code, node.env.now());
        }
    }

    async fn print(&self) {
        let Some(every) = &self.script.log_every else { return std::future::pending().await };
        for line in self.script.log.iter().cycle() {
            let Some(node) = self.node.upgrade() else { return };
            print(&self.log_path, [line.as_str()], node.env.now());
            let pause = every.draw(node.env.random());
            drop(node);
            tokio::time::sleep(pause).await;
        }
        std::future::pending().await
    }
}

/// A simulated container has no raw output: its lines go to the log at once. That log is a file
/// only if the pod has a place for it and the script says something.
fn print<'a>(path: &std::path::Path, lines: impl IntoIterator<Item = &'a str>, now: Timestamp) {
    let mut text = Vec::new();
    for line in lines {
        format_line(&mut text, now, LogStream::Stdout, false, line.as_bytes());
    }
    if text.is_empty() || !path.is_absolute() {
        return;
    }
    let write = || {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::OpenOptions::new().append(true).create(true).open(path)?.write_all(&text)
    };
    if let Err(error) = write() {
        tracing::warn!(log = %path.display(), %error, "cannot write a simulated container's log");
    }
}
