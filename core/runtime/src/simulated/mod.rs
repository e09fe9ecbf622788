//! Containers that exist only in Tokio's time.
//!
//! [`Simulated`] is a complete [`Runtime`] without any process, file or socket: containers start,
//! run, end and fail by [`Script`] or by seeded chance. Under paused time a day passes in the
//! time it takes to handle its events, the same way each time. It is made for tests, and for
//! thousands of nodes and tens of thousands of containers in one process: a container costs its
//! state, and a timer only where its script asks for one.

mod exec;
mod node;
mod script;
mod stats;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::{Mutex, RwLock};
use pinnace_env::Env;
use tokio::sync::broadcast;

pub use script::{Script, ScriptError, Span};

use crate::{
    Acting, Connection, ContainerConfig, ContainerId, ContainerPhase, ContainerState, Error,
    Features, Image, PodConfig, PodId, PodSandbox, PodState, PodStats, Probing, RegistryAuth,
    Resources, Result, Runtime, RuntimeEvent, Session, Streams,
};
use node::{Node, State};

/// The pod annotation that holds a [`Script`] for all containers of the pod; with a dot and a
/// container's name after it, for that container.
pub const SIMULATE_ANNOTATION: &str = "pinnace.dev/simulate";

/// The exit code of a container that was killed.
const KILLED: i32 = 137;

/// What a simulated world begins with.
#[derive(Clone, Debug)]
pub struct SimulatedConfig {
    /// Time and chance.
    pub env: Env,
    /// The script of a container that nothing else speaks of.
    pub default: Script,
    /// Scripts by image reference, as the pod gives it.
    pub images: BTreeMap<String, Script>,
}

impl SimulatedConfig {
    /// Containers that start at once and run until they are stopped.
    pub fn new(env: Env) -> Self {
        Self { env, default: Script::default(), images: BTreeMap::new() }
    }
}

/// One node of a simulated world, as a [`Runtime`].
///
/// Cheap to clone; clones are the same node. [`Simulated::node`] gives another node of the same
/// world. The world ends when its last handle is dropped, and the containers' timers with it.
#[derive(Clone)]
pub struct Simulated {
    world: Arc<World>,
    node: Arc<Node>,
}

struct World {
    env: Env,
    default: RwLock<Arc<Script>>,
    images: RwLock<BTreeMap<String, Arc<Script>>>,
    nodes: Mutex<BTreeMap<String, Arc<Node>>>,
}

impl Simulated {
    /// A world of its own. The node that this gives has the empty name.
    pub fn new(config: SimulatedConfig) -> Self {
        let node = Arc::new(Node::new(config.env.clone(), node::WORLD_EVENTS));
        let images = config.images.into_iter().map(|(image, script)| (image, Arc::new(script)));
        let world = World {
            env: config.env,
            default: RwLock::new(Arc::new(config.default)),
            images: RwLock::new(images.collect()),
            nodes: Mutex::new(BTreeMap::from([(String::new(), Arc::clone(&node))])),
        };
        Self { world: Arc::new(world), node }
    }

    /// The node of that name, with pods and events of its own.
    pub fn node(&self, name: &str) -> Self {
        let mut nodes = self.world.nodes.lock();
        let node = match nodes.get(name) {
            Some(node) => Arc::clone(node),
            None => {
                let node = Arc::new(Node::new(self.world.env.clone(), node::NODE_EVENTS));
                nodes.insert(name.to_owned(), Arc::clone(&node));
                node
            }
        };
        Self { world: Arc::clone(&self.world), node }
    }

    /// Sets the script of all containers of an image that are created from now on, on any node.
    pub fn set_image_script(&self, image: &str, script: Script) {
        self.world.images.write().insert(image.to_owned(), Arc::new(script));
    }

    /// Sets what all containers of an image use from now on, on any node: those that run, and, but
    /// for pods that say otherwise, those to come.
    pub fn set_image_usage(&self, image: &str, cpu_millis: u64, memory_bytes: u64) {
        let mut images = self.world.images.write();
        let script =
            images.get(image).cloned().unwrap_or_else(|| self.world.default.read().clone());
        let mut script = Script::clone(&script);
        (script.cpu_millis, script.memory_bytes) = (Some(cpu_millis), Some(memory_bytes));
        images.insert(image.to_owned(), Arc::new(script));
        drop(images);
        for node in self.nodes() {
            let now = node.env.now();
            node.state.lock().set_usage(image, cpu_millis, memory_bytes, now);
        }
    }

    /// Sets the script of all containers created from now on that nothing else speaks of.
    pub fn set_default_script(&self, script: Script) {
        *self.world.default.write() = Arc::new(script);
    }

    /// Kills a container of any node behind the engine's back. False when it does not run.
    pub fn kill(&self, container: &ContainerId) -> bool {
        self.exit(container, KILLED)
    }

    /// Ends a container of any node with an exit code, as if by itself. False when it does not
    /// run.
    pub fn exit(&self, container: &ContainerId, code: i32) -> bool {
        self.nodes().iter().any(|node| node.state.lock().end(container, code, node.env.now()))
    }

    /// The containers that run now, on all nodes.
    pub fn running(&self) -> Vec<ContainerState> {
        let pods = self.nodes().into_iter().flat_map(|node| node.state.lock().pods());
        pods.flat_map(|pod| pod.containers)
            .filter(|container| matches!(container.phase, ContainerPhase::Running { .. }))
            .collect()
    }

    /// How many pods there are on all nodes.
    pub fn pod_count(&self) -> usize {
        self.nodes().iter().map(|node| node.state.lock().pod_count()).sum()
    }

    /// Makes this node's runtime fail: everything answers [`Error::Unavailable`] from now on, and
    /// what runs goes on running.
    pub fn fail(&self, message: &str) {
        let mut state = self.node.state.lock();
        state.failure = Some(message.to_owned());
        state.send(|| RuntimeEvent::Lost { message: message.to_owned() });
    }

    /// Ends what [`Simulated::fail`] began.
    pub fn recover(&self) {
        let mut state = self.node.state.lock();
        if state.failure.take().is_some() {
            state.send(|| RuntimeEvent::Recovered);
        }
    }

    fn nodes(&self) -> Vec<Arc<Node>> {
        self.world.nodes.lock().values().map(Arc::clone).collect()
    }

    /// The node's state, unless its runtime has failed.
    fn state(&self) -> Result<parking_lot::MutexGuard<'_, State>> {
        let state = self.node.state.lock();
        match &state.failure {
            None => Ok(state),
            Some(message) => {
                Err(Error::Unavailable { runtime: self.name(), message: message.clone() })
            }
        }
    }

    /// The script of a container that runs, and for how long it has.
    fn running_script(&self, id: &ContainerId) -> Result<(Arc<Script>, Duration)> {
        let state = self.state()?;
        let missing = || Error::ContainerNotFound(id.0.clone());
        let script = state.script(id).ok_or_else(missing)?;
        match state.phase(id) {
            Some(ContainerPhase::Running { started_at, .. }) => {
                Ok((script, self.world.env.clock().since(*started_at)))
            }
            _ => Err(Error::NotRunning(id.0.clone())),
        }
    }

    fn image_script(&self, image: &str) -> Option<Arc<Script>> {
        self.world.images.read().get(image).map(Arc::clone)
    }

    /// The nearest script: of the container, of the pod, of the image, of the world.
    fn script(&self, pod: &PodConfig, container: &ContainerConfig) -> Result<Arc<Script>> {
        let own = || pod.annotations.get(&format!("{SIMULATE_ANNOTATION}.{}", container.name));
        let text = if pod.annotations.is_empty() {
            None
        } else {
            own().or_else(|| pod.annotations.get(SIMULATE_ANNOTATION))
        };
        if let Some(text) = text {
            let script = text.parse::<Script>();
            return script.map(Arc::new).map_err(|e| {
                Error::InvalidConfig(format!("annotation {SIMULATE_ANNOTATION}: {e}"))
            });
        }
        Ok(self
            .image_script(&container.image)
            .unwrap_or_else(|| Arc::clone(&self.world.default.read())))
    }
}

#[async_trait]
impl Runtime for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    async fn version(&self) -> Result<String> {
        Ok(format!("simulated://{}", env!("CARGO_PKG_VERSION")))
    }

    async fn check(&self) -> Result<()> {
        self.state().map(|_| ())
    }

    fn events(&self) -> broadcast::Receiver<RuntimeEvent> {
        self.node.state.lock().subscribe(self.node.event_capacity)
    }

    async fn create_pod(&self, config: &PodConfig) -> Result<PodSandbox> {
        Ok(self.state()?.add_pod(config, self.world.env.now()))
    }

    async fn remove_pod(&self, pod: &PodId) -> Result<()> {
        self.state()?.remove_pod(pod, self.world.env.now());
        Ok(())
    }

    async fn list_pods(&self) -> Result<Vec<PodState>> {
        Ok(self.state()?.pods())
    }

    async fn update_pod(&self, pod: &PodId, resources: &Resources) -> Result<()> {
        let found = self.state()?.update_pod(pod, resources);
        if found { Ok(()) } else { Err(Error::PodNotFound(pod.0.clone())) }
    }

    async fn update_container(&self, id: &ContainerId, resources: &Resources) -> Result<()> {
        self.running_script(id)?;
        self.state()?.update_container(id, resources);
        Ok(())
    }

    async fn features(&self, _handler: &str) -> Features {
        Features { recursive_read_only: true }
    }

    async fn create_container(&self, pod: &PodId, config: &ContainerConfig) -> Result<ContainerId> {
        let mut state = self.state()?;
        let owner = state.pod_config(pod).ok_or_else(|| Error::PodNotFound(pod.0.clone()))?;
        let script = self.script(owner, config)?;
        let id = ContainerId(format!("{pod}-{}-{}", config.name, config.attempt));
        let image_id = image_id(&config.image);
        state.add_container(id.clone(), pod, config, script, image_id, self.world.env.now());
        Ok(id)
    }

    async fn start_container(&self, id: &ContainerId) -> Result<()> {
        let missing = || Error::ContainerNotFound(id.0.clone());
        let script = self.state()?.script(id).ok_or_else(missing)?;
        if let Some(delay) = &script.start_delay {
            tokio::time::sleep(delay.draw(self.world.env.random())).await;
        }
        let failed = |message: String| Err(Error::Start { container: id.0.clone(), message });
        if let Some(message) = &script.start_error {
            return failed(message.clone());
        }
        let mut state = self.state()?;
        match state.phase(id).ok_or_else(missing)? {
            ContainerPhase::Running { .. } => {}
            ContainerPhase::Exited(_) => return failed("it has exited".into()),
            ContainerPhase::Created => self.node.begin(&mut state, id),
        }
        Ok(())
    }

    async fn stop_container(&self, id: &ContainerId, grace: Duration) -> Result<()> {
        let (script, exited) = {
            let mut state = self.state()?;
            let (Some(script), Some(exited)) = (state.script(id), state.exit_of(id)) else {
                return Ok(());
            };
            (script, exited)
        };
        let delay = script.stop_delay.as_ref().map(|delay| delay.draw(self.world.env.random()));
        let delay = delay.unwrap_or_default();
        let (wait, code) = if script.ignore_term || delay > grace {
            (grace, KILLED)
        } else {
            (delay, script.stop_exit_code)
        };
        if !wait.is_zero() {
            let by_itself = exited.notified();
            tokio::pin!(by_itself);
            // From here on no notification is missed; one before shows in the phase.
            by_itself.as_mut().enable();
            let runs =
                matches!(self.node.state.lock().phase(id), Some(ContainerPhase::Running { .. }));
            if runs {
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = by_itself => {}
                }
            }
        }
        self.state()?.end(id, code, self.world.env.now());
        Ok(())
    }

    async fn remove_container(&self, container: &ContainerId) -> Result<()> {
        self.state()?.remove_container(container, self.world.env.now());
        Ok(())
    }

    async fn container(&self, container: &ContainerId) -> Result<Option<ContainerState>> {
        Ok(self.state()?.container(container))
    }

    async fn wait_container(&self, id: &ContainerId) -> Result<()> {
        self.node.ended(id).await;
        Ok(())
    }

    async fn stats(&self, pods: &[PodId], _written: bool) -> Result<Vec<PodStats>> {
        let (state, now) = (self.state()?, self.world.env.now());
        Ok(pods.iter().filter_map(|pod| state.stats(pod, now)).collect())
    }

    async fn exec(
        &self,
        id: &ContainerId,
        command: &[String],
        streams: Streams,
    ) -> Result<Session> {
        let (script, _) = self.running_script(id)?;
        if command.is_empty() {
            return Err(Error::InvalidConfig("you must specify at least one command".into()));
        }
        let delay = script.exec_delay.as_ref().map(|delay| delay.draw(self.world.env.random()));
        Ok(exec::exec(Arc::clone(&self.node), id.clone(), &script, delay, streams))
    }

    async fn attach(&self, id: &ContainerId, streams: Streams) -> Result<Session> {
        self.running_script(id)?;
        let missing = || Error::ContainerNotFound(id.0.clone());
        let container = self.state()?.container(id).ok_or_else(missing)?;
        Ok(exec::attach(Arc::clone(&self.node), container, streams))
    }

    async fn connect(&self, pod: &PodId, port: u16) -> Result<Box<dyn Connection>> {
        let state = self.state()?;
        if state.pod_config(pod).is_none() {
            return Err(Error::PodNotFound(pod.0.clone()));
        }
        if state.listens(pod, port) {
            return Ok(Box::new(exec::echo()));
        }
        let message = format!("127.0.0.1:{port}: connection refused");
        Err(Error::Connect { port, message })
    }

    fn simulates(&self) -> bool {
        true
    }

    async fn probe(&self, id: &ContainerId, probing: Probing) -> Result<(), String> {
        let (script, age) = self.running_script(id).map_err(|error| error.to_string())?;
        let random = self.world.env.random();
        let reached = |at: &Option<Span>| at.as_ref().map(|at| age >= at.draw(random));
        let well = match probing {
            Probing::Startup => reached(&script.start_after).unwrap_or(true),
            Probing::Readiness => {
                reached(&script.ready_after).unwrap_or(true)
                    && !reached(&script.unready_after).unwrap_or(false)
            }
            Probing::Liveness => !reached(&script.fail_after).unwrap_or(false),
        };
        if well { Ok(()) } else { Err("the script says so".to_owned()) }
    }

    async fn act(&self, id: &ContainerId, _acting: Acting) -> Result<(), String> {
        let (script, _) = self.running_script(id).map_err(|error| error.to_string())?;
        if let Some(delay) = &script.hook_delay {
            tokio::time::sleep(delay.draw(self.world.env.random())).await;
        }
        script.hook_error.clone().map_or(Ok(()), Err)
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        let state = self.state()?;
        let present = match self.image_script(reference) {
            Some(script) if script.pull_error.is_some() => false,
            Some(script) if script.pull_delay.is_some() => state.pulled.contains(reference),
            _ => true,
        };
        Ok(present.then(|| image(reference)))
    }

    async fn pull_image(&self, reference: &str, _auth: Option<&RegistryAuth>) -> Result<Image> {
        self.check().await?;
        if let Some(script) = self.image_script(reference) {
            if let Some(delay) = &script.pull_delay {
                tokio::time::sleep(delay.draw(self.world.env.random())).await;
            }
            if let Some(message) = script.pull_error.clone() {
                return Err(Error::ImageNotFound { reference: reference.to_owned(), message });
            }
            self.state()?.pulled.insert(reference.to_owned());
        }
        Ok(image(reference))
    }

    async fn import_image(&self, path: &Path) -> Result<Vec<Image>> {
        let mut state = self.state()?;
        let reference = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let image = image(&reference);
        state.pulled.insert(reference);
        Ok(vec![image])
    }

    async fn mount_image(&self, pod: &PodId, _reference: &str) -> Result<std::path::PathBuf> {
        let state = self.state()?;
        state.pod_config(pod).ok_or_else(|| Error::PodNotFound(pod.0.clone()))?;
        // There is nothing to see.
        Ok("/".into())
    }

    async fn list_images(&self) -> Result<Vec<Image>> {
        let pulled: Vec<String> = self.state()?.pulled.iter().cloned().collect();
        let mut images: Vec<Image> = pulled
            .iter()
            .map(|reference| {
                let script = self.image_script(reference);
                let size = script.and_then(|script| script.image_bytes).unwrap_or(0);
                Image { size, ..image(reference) }
            })
            .collect();
        images.sort_by(|a, b| a.tags.cmp(&b.tags));
        Ok(images)
    }

    async fn remove_image(&self, id: &str) -> Result<()> {
        self.state()?.pulled.retain(|reference| image_id(reference) != id);
        Ok(())
    }

    async fn shutdown(&self) {
        self.node.state.lock().unsubscribe_all();
    }
}

fn image(reference: &str) -> Image {
    Image {
        id: image_id(reference),
        tags: vec![reference.to_owned()],
        digests: Vec::new(),
        size: 0,
    }
}

/// An identity of the right form that depends on the name alone: there is no content to digest.
fn image_id(reference: &str) -> String {
    let hash = |seed: u64| {
        reference.bytes().fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    };
    format!("sha256:{:016x}{:016x}{:016x}{:016x}", hash(0), hash(1), hash(2), hash(3))
}
