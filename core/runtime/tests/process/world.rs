use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use pinnace_env::Env;
use pinnace_runtime::cgroup::Cgroups;
use pinnace_runtime::{
    ContainerConfig, ContainerId, ContainerPhase, Exit, PodConfig, PodId, Process, ProcessConfig,
    Result, Runtime,
};

/// Long enough for the slowest machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// A process runtime in a directory of its own.
pub(crate) struct World {
    pub(crate) runtime: Process,
    pub(crate) home: Home,
    pub(crate) namespace: String,
    /// So that every run has a log of its own.
    pub(crate) runs: AtomicU32,
}

pub(crate) async fn open(directory: &Path, namespace: &str) -> Process {
    let config = ProcessConfig::new(namespace, directory.join("state"), Env::system());
    Process::open(config).await.unwrap()
}

/// The directory of a world. A test that fails leaves nothing behind either.
pub(crate) struct Home {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) namespace: String,
}

impl Home {
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        if let Ok(groups) = Cgroups::detect(&self.namespace) {
            let _ = groups.all().remove();
        }
        for pod in std::fs::read_dir(self.path().join("state/process/pods")).into_iter().flatten() {
            let _ = pinnace_runtime::namespaces::unpin(&pod.unwrap().path().join("ns"));
        }
        let pods = self.path().join("state/process/pods");
        let _ = rustix::mount::unmount(pods, rustix::mount::UnmountFlags::DETACH);
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("pinnace-test-{}-{number}", std::process::id());
        let home = Home { directory: tempfile::tempdir().unwrap(), namespace: namespace.clone() };
        let runtime = open(home.path(), &namespace).await;
        Self { runtime, home, namespace, runs: AtomicU32::new(0) }
    }

    /// A world whose user may do everything, else the reason why the test is skipped.
    pub(crate) async fn of_root() -> Option<Self> {
        let world = Self::new().await;
        if world.runtime.restrictions().is_empty() {
            return Some(world);
        }
        println!("skipped: {}", world.runtime.restrictions().join("; "));
        world.end().await;
        None
    }

    pub(crate) fn pod(&self, id: &str) -> PodConfig {
        PodConfig {
            id: id.into(),
            name: id.into(),
            namespace: "default".into(),
            hostname: id.into(),
            log_directory: self.home.path().join("logs").join(id),
            ..PodConfig::default()
        }
    }

    pub(crate) async fn start(&self, pod: &str, config: &ContainerConfig) -> Result<ContainerId> {
        let id = self.runtime.create_pod(&self.pod(pod)).await?.id;
        let container = self.runtime.create_container(&id, config).await?;
        self.runtime.start_container(&container).await.map(|()| container)
    }

    /// Runs a shell script to its end; gives how it ended and what it printed.
    pub(crate) async fn run(&self, config: &ContainerConfig) -> (Exit, String) {
        let attempt = self.runs.fetch_add(1, Ordering::Relaxed);
        let config = ContainerConfig { attempt, ..config.clone() };
        let container = self.start("p", &config).await.unwrap();
        let exit = exited(&self.runtime, &container).await;
        let log = self.log(&container).await;
        self.runtime.remove_container(&container).await.unwrap();
        (exit, log)
    }

    /// What a container has printed, without times.
    pub(crate) async fn log(&self, container: &ContainerId) -> String {
        let state = self.runtime.container(container).await.unwrap().unwrap();
        let text = std::fs::read_to_string(state.log_path).unwrap();
        text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap().to_owned() + "\n").collect()
    }

    /// Removes everything and sees that nothing is left.
    pub(crate) async fn end(self) {
        for pod in self.runtime.list_pods().await.unwrap() {
            self.runtime.remove_pod(&PodId(pod.config.id)).await.unwrap();
        }
        self.runtime.shutdown().await;
        let pods = std::fs::read_dir(self.home.path().join("state/process/pods")).unwrap();
        assert_eq!(pods.count(), 0);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&*self.home.path().to_string_lossy()), "mounts are left");
        if let Ok(groups) = Cgroups::detect(&self.namespace) {
            assert!(!groups.all().exists(), "cgroups are left");
        }
    }
}

/// A container that runs a shell script.
pub(crate) fn sh(script: &str) -> ContainerConfig {
    ContainerConfig {
        name: "c".into(),
        image: "web:1".into(),
        command: vec!["sh".into(), "-c".into(), script.into()],
        ..ContainerConfig::default()
    }
}

pub(crate) async fn exited(runtime: &Process, container: &ContainerId) -> Exit {
    let mut found = None;
    until(async || {
        let state = runtime.container(container).await.unwrap().unwrap();
        if let ContainerPhase::Exited(exit) = state.phase {
            found = Some(exit);
        }
        found.is_some()
    })
    .await;
    found.unwrap()
}

pub(crate) async fn pid(runtime: &Process, container: &ContainerId) -> u32 {
    match runtime.container(container).await.unwrap().unwrap().phase {
        ContainerPhase::Running { pid, .. } => pid,
        other => panic!("does not run: {other:?}"),
    }
}

/// Waits until a condition holds.
pub(crate) async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("the condition does not come true");
}

pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Whether a process is there and not a zombie.
pub(crate) fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat[stat.rfind(')').unwrap()..].starts_with(") Z"))
}
