use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pinnace_env::Env;
use pinnace_runtime::cgroup::Cgroups;
use pinnace_runtime::{
    ContainerConfig, ContainerId, ContainerPhase, Containerd, ContainerdConfig, Exit, PodConfig,
    PodId, Runtime, RuntimeEvent, RuntimeHandler,
};
use pinnace_test_harness::{BusyboxImage, PrivateContainerd, why_no_containers};
use tokio::sync::broadcast::Receiver;

/// The image that every world has.
pub(crate) const IMAGE: &str = "docker.io/library/busybox:test";
/// Longer than anything here takes on a loaded machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

static WORLDS: AtomicU32 = AtomicU32::new(0);

/// A private containerd with the test image, and a runtime on it.
pub(crate) struct World {
    pub(crate) containerd: PrivateContainerd,
    runtime: Option<Containerd>,
    namespace: String,
    /// What the runtime is told of RuntimeClasses.
    pub(crate) handlers: BTreeMap<String, RuntimeHandler>,
}

impl World {
    /// `None`, and the reason printed, where real containers cannot run.
    pub(crate) async fn new() -> Option<Self> {
        let world = Self::without_image().await?;
        let archive = world.containerd.path("busybox.tar");
        BusyboxImage::new(IMAGE).write_archive(&archive).unwrap();
        world.runtime().import_image(&archive).await.unwrap();
        Some(world)
    }

    pub(crate) async fn without_image() -> Option<Self> {
        if let Some(reason) = why_no_containers() {
            eprintln!("skipped: {reason}");
            return None;
        }
        let containerd = PrivateContainerd::start().unwrap();
        let number = WORLDS.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("pinnace-containerd-{}-{number}", std::process::id());
        let handlers = BTreeMap::new();
        let mut world = Self { containerd, runtime: None, namespace, handlers };
        world.restart_runtime().await;
        Some(world)
    }

    pub(crate) fn runtime(&self) -> &Containerd {
        self.runtime.as_ref().unwrap()
    }

    /// As a host process that dies: nothing is shut down, and a new one begins.
    pub(crate) async fn restart_runtime(&mut self) {
        self.drop_runtime();
        self.runtime = Some(self.connect().await.unwrap());
    }

    pub(crate) fn drop_runtime(&mut self) {
        self.runtime = None;
    }

    pub(crate) async fn connect(&self) -> pinnace_runtime::Result<Containerd> {
        let state = self.containerd.path("pinnace");
        let mut config = ContainerdConfig::new(&self.namespace, state, Env::system());
        config.handlers = self.handlers.clone();
        Containerd::connect(self.containerd.socket(), config).await
    }

    pub(crate) fn cgroups(&self) -> Cgroups {
        Cgroups::detect(&self.namespace).unwrap()
    }

    pub(crate) fn pod(&self, uid: &str) -> PodConfig {
        PodConfig {
            id: uid.into(),
            name: "pod".into(),
            namespace: "default".into(),
            hostname: "pod".into(),
            log_directory: self.containerd.path("logs").join(uid),
            ..PodConfig::default()
        }
    }

    pub(crate) async fn make_pod(&self, uid: &str) -> PodId {
        self.runtime().create_pod(&self.pod(uid)).await.unwrap().id
    }

    /// Makes and starts a container, and says which it is.
    pub(crate) async fn start(&self, pod: &PodId, config: &ContainerConfig) -> ContainerId {
        let id = self.runtime().create_container(pod, config).await.unwrap();
        if let Err(error) = self.runtime().start_container(&id).await {
            panic!("{error}\n{}", self.containerd.log());
        }
        id
    }

    /// Runs a shell script to its end and gives what it printed.
    pub(crate) async fn output(&self, pod: &PodId, config: ContainerConfig) -> (Exit, String) {
        let id = self.start(pod, &config).await;
        let exit = self.exit(&id).await;
        let pod_directory = self.containerd.path("logs").join(&pod.0);
        let log = pod_directory.join(&config.name).join(format!("{}.log", config.attempt));
        // Removing is what guarantees that the log is complete.
        self.runtime().remove_container(&id).await.unwrap();
        let text = std::fs::read_to_string(&log).unwrap();
        let plain = text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap().to_owned() + "\n");
        (exit, plain.collect())
    }

    /// Waits for a container's end by the events alone.
    pub(crate) async fn exit(&self, id: &ContainerId) -> Exit {
        let mut events = self.runtime().events();
        loop {
            if let ContainerPhase::Exited(exit) = self.phase(id).await {
                return exit;
            }
            next(&mut events).await;
        }
    }

    pub(crate) async fn phase(&self, id: &ContainerId) -> ContainerPhase {
        self.runtime().container(id).await.unwrap().unwrap().phase
    }

    /// What containerd's own client says in this namespace.
    pub(crate) fn ctr(&self, arguments: &[&str]) -> String {
        let output = std::process::Command::new("ctr")
            .arg("--address")
            .arg(self.containerd.socket())
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn log_path(&self, pod: &PodId, name: &str) -> PathBuf {
        self.containerd.path("logs").join(&pod.0).join(name).join("0.log")
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.runtime = None;
        // Ends what runs before the cgroups go; its own drop finds nothing more to do.
        self.containerd.end();
        if let Ok(cgroups) = Cgroups::detect(&self.namespace)
            && let Err(error) = cgroups.all().remove()
        {
            eprintln!("{error}");
        }
    }
}

/// The next event, before the deadline.
pub(crate) async fn next(events: &mut Receiver<RuntimeEvent>) -> RuntimeEvent {
    tokio::time::timeout(DEADLINE, events.recv()).await.expect("an event").unwrap()
}

/// A container that runs a shell script.
pub(crate) fn script(name: &str, script: &str) -> ContainerConfig {
    ContainerConfig {
        name: name.into(),
        image: IMAGE.into(),
        command: vec!["/bin/sh".into(), "-c".into()],
        args: vec![script.into()],
        ..ContainerConfig::default()
    }
}

/// Looks at a condition until it holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "{what}");
}
