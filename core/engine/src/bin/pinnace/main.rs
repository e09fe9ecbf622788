//! The program `pinnace`: an engine from the command line.

mod cluster;
mod explain;
mod guard;
mod node;
mod snapshot;

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use explain::Explain;
use futures::StreamExt as _;
use guard::Guard;
use k8s_openapi::api::core::v1::Pod;
use node::{JoinNode, MakeKubeconfig};
use pinnace::scheduler::Rebalancing;
use pinnace::{Engine, ListOptions, LogOptions, Object, Runtime, ServeConfig, WatchEvent};
use tokio::sync::mpsc;

/// Lines of logs that may wait to be printed.
const LOG_LINES: usize = 1024;

/// Kubernetes as a library, from the command line.
#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Applies manifests and runs them until Ctrl-C.
    Run(Run),
    /// Serves the API for kubectl and others until Ctrl-C.
    Up(Up),
    Explain(Explain),
    Node(JoinNode),
    Kubeconfig(MakeKubeconfig),
}

#[derive(Args)]
struct Up {
    /// The address to serve HTTPS on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:6443", value_name = "A")]
    listen: SocketAddr,
    /// A Unix socket to serve on, too.
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// More names and addresses for the certificate.
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// Where the kubeconfig goes; `kubeconfig` in the data directory or here.
    #[arg(long, value_name = "F")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    cluster: Cluster,
}

/// What the engine is like.
#[derive(Args)]
struct Cluster {
    /// Keeps objects in this directory, and leaves pods running at the end.
    #[arg(long, value_name = "D")]
    data_dir: Option<PathBuf>,
    /// Where CSI drivers register; in the data directory by default.
    #[arg(long, value_name = "D")]
    plugins_dir: Option<PathBuf>,
    /// What runs the containers: auto, containerd, process or simulated.
    #[arg(long, default_value = "auto")]
    runtime: String,
    /// A KubeletConfiguration: how the nodes look after themselves.
    #[arg(long, value_name = "FILE")]
    kubelet_config: Option<PathBuf>,
    /// How many nodes; more than one needs the simulated runtime.
    #[arg(long, value_name = "N")]
    nodes: Option<usize>,
    /// Imports images from an OCI archive or directory before anything is run.
    #[arg(long, value_name = "ARCHIVE")]
    import_image: Vec<PathBuf>,
    /// An AdmissionConfiguration; files that it names are looked for beside it.
    #[arg(long, value_name = "F")]
    admission_config: Option<PathBuf>,
    /// Leaves out a rule of admission, by the name of upstream's plug-in.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    disable_admission: Vec<String>,
    /// A KubeSchedulerConfiguration.
    #[arg(long, value_name = "F")]
    scheduler_config: Option<PathBuf>,
    /// A DeschedulerPolicy: has pods evicted that could be placed better.
    #[arg(long, value_name = "F")]
    descheduler_policy: Option<PathBuf>,
    /// The same with all strategies, every five minutes.
    #[arg(long, conflicts_with = "descheduler_policy")]
    rebalance: bool,
    #[command(flatten)]
    guard: Guard,
}

#[derive(Args)]
struct Run {
    /// Manifests to apply; `-` reads from standard input.
    #[arg(short, long = "file", required = true, num_args = 1.., value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    cluster: Cluster,
    /// Prints the logs of all containers as they come.
    #[arg(short = 'F', long)]
    follow: bool,
}

fn main() -> ExitCode {
    let command = Cli::parse().command;
    let tokio = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(tokio) => tokio,
        Err(error) => return fail(&error),
    };
    let result = match command {
        Command::Run(run) => tokio.block_on(run.run()),
        Command::Up(up) => tokio.block_on(up.run()),
        Command::Explain(explain) => tokio.block_on(explain.run()),
        Command::Node(node) => tokio.block_on(node.run()),
        Command::Kubeconfig(make) => tokio.block_on(make.run()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

/// What a command fails with.
pub(crate) type Failure = Box<dyn std::error::Error>;

impl Cluster {
    async fn start(&self) -> Result<Engine, Failure> {
        let mut builder = Engine::builder().runtime(Runtime::named(&self.runtime)?);
        if let Some(nodes) = self.nodes {
            builder = builder.nodes(nodes);
        }
        if let Some(file) = &self.kubelet_config {
            let read = std::fs::read(file);
            builder =
                builder.kubelet(read.map_err(|error| format!("{}: {error}", file.display()))?);
        }
        if let Some(directory) = &self.data_dir {
            builder = builder.data_dir(directory);
        }
        if let Some(directory) = &self.plugins_dir {
            builder = builder.plugins_dir(directory);
        }
        if let Some(path) = &self.admission_config {
            builder = builder.admission_configuration_file(path)?;
        }
        builder = builder.disable_admission(&self.disable_admission);
        if let Some(path) = &self.scheduler_config {
            let about = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let text = std::fs::read_to_string(path).map_err(|error| about(&error))?;
            builder = builder.scheduler_configuration(&text).map_err(|error| about(&error))?;
        }
        if let Some(path) = &self.descheduler_policy {
            let about = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
            let text = std::fs::read_to_string(path).map_err(|error| about(&error))?;
            builder = builder.descheduler_policy(&text).map_err(|error| about(&error))?;
        }
        if self.rebalance {
            builder = builder.rebalancing(Rebalancing::default());
        }
        Ok(self.guard.tell(builder)?.start().await?)
    }

    async fn import(&self, engine: &Engine) -> Result<(), Failure> {
        for archive in &self.import_image {
            for image in engine.import_image(archive).await? {
                println!("# image {image} imported");
            }
        }
        Ok(())
    }
}

impl Up {
    async fn run(self) -> Result<(), Failure> {
        let engine = self.cluster.start().await?;
        let result = self.serve(&engine).await;
        let ended = engine.shutdown().await;
        result?;
        Ok(ended?)
    }

    async fn serve(&self, engine: &Engine) -> Result<(), Failure> {
        // Asked for first, so that a signal that comes early is not missed.
        let mut interrupted = std::pin::pin!(interrupted());
        let config = ServeConfig {
            address: Some(self.listen),
            unix: self.unix.clone(),
            names: self.name.clone(),
        };
        self.cluster.import(engine).await?;
        let serving = engine.serve(config).await?;
        let path = match (&self.kubeconfig, &self.cluster.data_dir) {
            (Some(path), _) => path.clone(),
            (None, Some(directory)) => directory.join("kubeconfig"),
            (None, None) => PathBuf::from("kubeconfig"),
        };
        let kubeconfig = engine.kubeconfig("kubernetes-admin", &["system:masters"])?;
        write_private(&path, &kubeconfig)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        let path = path.canonicalize()?;
        println!("# runtime: {} ({})", engine.runtime().name, engine.runtime().why);
        println!("# serving {}", serving.url().unwrap_or_default());
        println!("export KUBECONFIG={}", path.display());
        (&mut interrupted).await?;
        serving.stop().await;
        Ok(())
    }
}

/// Writes a file that holds a key: for its owner alone.
pub(crate) fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}

impl Run {
    async fn run(self) -> Result<(), Failure> {
        let mut manifests = Vec::new();
        for file in &self.files {
            manifests.push(read(file)?);
        }
        let engine = self.cluster.start().await?;
        println!("runtime: {} ({})", engine.runtime().name, engine.runtime().why);
        let result = self.follow_engine(&engine, &manifests).await;
        let ended = engine.shutdown().await;
        result?;
        Ok(ended?)
    }

    async fn follow_engine(&self, engine: &Engine, manifests: &[String]) -> Result<(), Failure> {
        self.cluster.import(engine).await?;
        // Watched from before the first apply, so that nothing is missed.
        let mut pods = engine.client().named("pods")?.watch(None, ListOptions::default()).await?;
        for manifest in manifests {
            for applied in engine.apply(manifest).await? {
                println!("{} {}", applied.name, applied.change.as_str());
            }
        }
        let (print, mut lines) = mpsc::channel::<String>(LOG_LINES);
        let mut progress = Progress::default();
        let mut interrupted = std::pin::pin!(interrupted());
        loop {
            tokio::select! {
                signal = &mut interrupted => {
                    println!("stopping");
                    return Ok(signal?);
                }
                line = lines.recv() => if let Some(line) = line {
                    let mut out = std::io::stdout().lock();
                    out.write_all(line.as_bytes())?;
                },
                event = pods.next() => match event {
                    Some(Ok(event)) => {
                        let changed = progress.note(&event);
                        if let (Some(pod), true) = (changed, self.follow) {
                            follow_logs(engine, &pod, &mut progress.followed, &print);
                        }
                    }
                    Some(Err(error)) => return Err(error.into()),
                    None => return Ok(()),
                },
            }
        }
    }
}

/// Ends when the user has pressed Ctrl-C or the program is told to end.
pub(crate) async fn interrupted() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminate.recv() => Ok(()),
    }
}

fn read(file: &PathBuf) -> Result<String, Failure> {
    let text = if file.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin())
    } else {
        std::fs::read_to_string(file)
    };
    text.map_err(|error| format!("{}: {error}", file.display()).into())
}

/// What has been printed of each pod.
#[derive(Default)]
struct Progress {
    shown: BTreeMap<String, String>,
    /// Attempts of containers whose logs are printed.
    followed: HashMap<(String, String), i32>,
}

impl Progress {
    /// Prints what is new about a pod; gives the pod unless it is gone.
    fn note(&mut self, event: &WatchEvent) -> Option<Object> {
        let (object, line) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, describe(object)),
            WatchEvent::Deleted(object) => (object, "gone".to_owned()),
            WatchEvent::Bookmark(..) => return None,
        };
        let key = object.key().to_string();
        if self.shown.get(&key) != Some(&line) {
            println!("pod {key} {line}");
            self.shown.insert(key.clone(), line);
        }
        if matches!(event, WatchEvent::Deleted(_)) {
            self.shown.remove(&key);
            return None;
        }
        Some(object.clone())
    }
}

/// The state of a pod as `kubectl get pods` sums it up, with its node and readiness.
fn describe(object: &Object) -> String {
    let Ok(pod) = object.get::<Pod>() else { return String::new() };
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let waiting = containers.iter().find_map(|container| {
        let state = container.state.as_ref()?;
        let waiting = state.waiting.as_ref().and_then(|waiting| waiting.reason.clone());
        waiting.or_else(|| state.terminated.as_ref()?.reason.clone())
    });
    let phase = status.phase.unwrap_or_default();
    let reason = if object.is_deleting() {
        "Terminating".to_owned()
    } else {
        waiting.or(status.reason).unwrap_or(phase)
    };
    let ready = containers.iter().filter(|container| container.ready).count();
    let total = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
    let restarts: i32 = containers.iter().map(|container| container.restart_count).sum();
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("no node");
    let restarts = if restarts > 0 { format!(", restarts {restarts}") } else { String::new() };
    format!("{reason} {ready}/{total} on {node}{restarts}")
}

/// Starts printing the logs of the containers of a pod that have started since it was seen last.
fn follow_logs(
    engine: &Engine,
    object: &Object,
    followed: &mut HashMap<(String, String), i32>,
    print: &mpsc::Sender<String>,
) {
    let Ok(pod) = object.get::<Pod>() else { return };
    let status = pod.status.as_ref();
    for container in status.into_iter().flat_map(|s| s.container_statuses.iter().flatten()) {
        let started = container.state.as_ref().is_some_and(|state| state.waiting.is_none());
        let key = (object.uid().to_owned(), container.name.clone());
        let known = followed.get(&key).is_some_and(|attempt| *attempt >= container.restart_count);
        if !started || known {
            continue;
        }
        followed.insert(key, container.restart_count);
        let engine = engine.in_namespace(object.namespace());
        let (pod, container) = (object.name().to_owned(), container.name.clone());
        let print = print.clone();
        tokio::spawn(async move {
            let options = LogOptions {
                container: Some(container.clone()),
                follow: true,
                ..LogOptions::default()
            };
            let Ok(mut lines) = engine.logs(&pod, options).await else { return };
            while let Some(Ok(line)) = lines.next().await {
                let text = String::from_utf8_lossy(&line.text);
                let end = if text.ends_with('\n') { "" } else { "\n" };
                if print.send(format!("[{pod} {container}] {text}{end}")).await.is_err() {
                    return;
                }
            }
        });
    }
}
