//! How an engine is put together, and how it ends.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pinnace_api::{Catalog, Codec, DynamicObject};
use pinnace_client::{Client, Informers, Recorder};
use pinnace_controllers::{Context, Controllers};
use pinnace_env::Env;
use pinnace_http::{Front, HttpsExtensions, NodeClients, PROXY_NAME};
use pinnace_node::{NodeAgent, NodeAgentConfig, Sight};
use pinnace_scheduler::{Explainer, Rebalancer, Scheduler};
use pinnace_server::{Server, User};
use pinnace_store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::builder::{Discovered, EngineBuilder, OnShutdown};
use crate::credentials::credentials;
use crate::directory::{Directory, Local};
use crate::machinery::Machinery;
use crate::nodes::Nodes;
use crate::serving::Keys;
use crate::{Engine, Error, Result, aggregation, bootstrap};

/// How long a start waits for its nodes.
const NODES_PATIENCE: Duration = Duration::from_secs(2);

/// Everything that an engine consists of.
pub(crate) struct Parts {
    pub(crate) server: Server,
    pub(crate) client: Client,
    pub(crate) informers: Informers,
    pub(crate) recorder: Recorder,
    pub(crate) env: Env,
    pub(crate) runtime: Discovered,
    /// The way to what runs on the nodes.
    pub(crate) nodes: Arc<Directory>,
    pub(crate) stop: CancellationToken,
    /// Answers why the scheduler decides as it does, once it is there.
    pub(crate) explainer: OnceLock<Explainer>,
    pub(crate) front: Front,
    pub(crate) keys: Keys,
    tasks: TaskTracker,
    store: Store,
    pub(crate) machinery: Machinery,
    on_shutdown: OnShutdown,
    /// Held while the engine is being shut down, so that a second caller waits for the first.
    ending: tokio::sync::Mutex<()>,
    ended: AtomicBool,
    /// Where tasks run, for the destructor.
    tokio: tokio::runtime::Handle,
}

pub(crate) async fn start(builder: EngineBuilder) -> Result<Engine> {
    let env = builder.env.clone().unwrap_or_else(Env::system);
    let catalog = Catalog::builtin();
    let store = open_store(&builder, &catalog).await?;
    let nodes = match Nodes::prepare(&builder.node_options(), &env).await {
        Ok(nodes) => nodes,
        Err(error) => {
            store.close().await?;
            return Err(error);
        }
    };
    let directory = Arc::new(Directory::default());
    let keys = Keys::new(builder.data_dir.as_deref());
    let (authority, signing_key) = match keys.open(&env) {
        Ok(opened) => opened,
        Err(error) => {
            store.close().await?;
            return Err(error);
        }
    };
    let server = Server::builder(store.clone(), catalog, env.clone())
        .extensions(Arc::new(HttpsExtensions::new()))
        .signing_key(signing_key)
        .nodes(directory.clone())
        .root_certificate(authority.certificate_pem());
    let server = match builder.access.guard(server, &store, &env) {
        Ok(server) => server.build(),
        Err(error) => {
            store.close().await?;
            return Err(error);
        }
    };
    let client = server.client(User::host());
    // What every cluster has is not the host's to refuse.
    server.ask_hooks(false);
    let steps = bootstrap::Steps::default();
    bootstrap::objects(&client, server.service_network(), &steps).await?;
    let front_proxy = keys.front_proxy(&env)?;
    aggregation::publish(&client, &authority, &front_proxy).await?;
    server.ask_hooks(true);

    let informers = Informers::new(server.client(User::system("informers")));
    let recorder = Recorder::new(&client, &env, "pinnace")?;
    let stop = CancellationToken::new();
    let identity = front_proxy.client(PROXY_NAME, &[])?;
    let front = Front::builder(server.clone()).aggregate(Some(&identity))?;
    let front = builder.access.front(front);
    let front =
        bootstrap::checks(front, &informers, &steps, &stop).nodes(directory.clone()).build();
    let parts = Parts {
        server: server.clone(),
        client,
        informers: informers.clone(),
        recorder: recorder.clone(),
        env: env.clone(),
        runtime: nodes.runtime,
        nodes: directory,
        stop,
        explainer: OnceLock::new(),
        front,
        keys,
        tasks: TaskTracker::new(),
        store,
        machinery: nodes.machinery,
        on_shutdown: builder.on_shutdown.unwrap_or(match builder.data_dir {
            Some(_) => OnShutdown::LeavePods,
            None => OnShutdown::StopPods,
        }),
        ending: tokio::sync::Mutex::new(()),
        ended: AtomicBool::new(false),
        tokio: tokio::runtime::Handle::current(),
    };
    // From here on the parts own everything: an error drops them, and that ends what has begun.
    let engine = Engine::new(parts);
    let parts = engine.parts();
    let context = Context {
        informers: Informers::clone(&informers),
        recorder: recorder.clone(),
        env: env.clone(),
        credentials: credentials(&server, authority.clone()),
        volume_directory: nodes.volumes,
        servers: Some(Arc::new(aggregation::Servers(parts.front.clone()))),
    };
    parts.spawn(parts.front.maintain(parts.stop.clone()));
    let compaction = parts.stop.clone().run_until_cancelled_owned(server.compact());
    parts.spawn(async move { _ = compaction.await });
    parts.spawn(Controllers::new(&context)?.run(parts.stop.clone()));
    let mut scheduling = builder.scheduler.unwrap_or_default();
    for plugin in builder.scheduler_plugins {
        plugin.add_to(&mut scheduling);
    }
    let not_scheduled = |error: pinnace_scheduler::Error| Error::Scheduler(error.to_string());
    if let Some(config) = builder.rebalancing {
        let rebalancer = Rebalancer::new(&informers, &recorder, env.clone(), &scheduling, config);
        parts.spawn(rebalancer.map_err(not_scheduled)?.run(parts.stop.clone()));
    }
    let recorder_of = recorder.component("default-scheduler");
    let scheduler =
        Scheduler::new(&informers, recorder_of, env.clone(), scheduling).map_err(not_scheduled)?;
    // Nothing has asked before: the engine is not handed out yet.
    let _ = parts.explainer.set(scheduler.explainer());
    parts.spawn(scheduler.run(parts.stop.clone()));
    let clients = NodeClients::new(authority, env.clone());
    parts.nodes.reach(informers.of()?, clients);
    let names: Vec<String> = nodes.configs.iter().map(|node| node.name.clone()).collect();
    let agent = NodeAgent::new(NodeAgentConfig {
        nodes: nodes.configs,
        machine: nodes.machine,
        logs: nodes.logs,
        informers,
        recorder,
        env,
        sight: Sight::All,
    })
    .map_err(|error| Error::Node(error.to_string()))?;
    parts.nodes.fill(Local { nodes: agent.nodes(), names: names.iter().cloned().collect() });
    let stop = parts.stop.clone();
    parts.spawn(async move {
        if let Err(error) = agent.run(stop).await {
            tracing::error!(%error, "node agent ended");
        }
    });
    wait_for_nodes(&engine, &names).await;
    Ok(engine)
}

/// Waits until the engine's nodes are ready, so that what is applied first has all of them to
/// choose from. One that does not get ready holds nothing up for long: its condition says why.
async fn wait_for_nodes(engine: &Engine, names: &[String]) {
    let all = async {
        for name in names {
            if engine.wait(&format!("nodes/{name}"), "Ready", NODES_PATIENCE).await.is_err() {
                return;
            }
        }
    };
    if tokio::time::timeout(NODES_PATIENCE, all).await.is_err() {
        tracing::warn!("started before all nodes were ready");
    }
}

async fn open_store(builder: &EngineBuilder, catalog: &Catalog) -> Result<Store> {
    let Some(directory) = &builder.data_dir else { return Ok(Store::memory()) };
    #[cfg(feature = "disk")]
    {
        let backend = pinnace_store::DiskBackend::open(&directory.join("store"))?;
        let backend = pinnace_store::EncryptedBackend::new(backend, builder.encryption.as_ref())?;
        let catalog = catalog.clone();
        let codecs = Arc::new(move |table: &str| {
            catalog.by_table(table).map_or_else(Codec::of::<DynamicObject>, |kind| kind.codec)
        });
        Ok(Store::open(Box::new(backend), codecs).await?)
    }
    #[cfg(not(feature = "disk"))]
    {
        let _ = catalog;
        Err(crate::builder::config(format!(
            "{}: this build keeps nothing on disk: it was made without the feature `disk`",
            directory.display()
        )))
    }
}

impl Parts {
    /// Runs a task that the engine owns.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    pub(crate) fn is_ended(&self) -> bool {
        self.stop.is_cancelled()
    }

    pub(crate) async fn shutdown(&self) -> Result<()> {
        let _ending = self.ending.lock().await;
        if self.ended.load(Ordering::Acquire) {
            return Ok(());
        }
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let mut first = Ok(());
        let mut note = |result: Result<()>| {
            if first.is_ok() {
                first = result;
            }
        };
        note(self.machinery.end(self.on_shutdown == OnShutdown::LeavePods).await);
        self.recorder.shutdown().await;
        self.informers.shutdown().await;
        note(self.store.close().await.map_err(Error::from));
        if let Some(auditor) = self.server.auditor().cloned() {
            // It waits for a disk, so not here.
            drop(tokio::task::spawn_blocking(move || auditor.close()).await);
        }
        self.ended.store(true, Ordering::Release);
        first
    }
}

impl Drop for Parts {
    /// Ends an engine whose last handle is dropped without a shutdown. Where the thread may wait,
    /// it waits, and nothing is left; on a single-threaded runtime waiting would be forever, so
    /// there the tasks are only told to stop.
    fn drop(&mut self) {
        if self.ended.load(Ordering::Acquire) {
            return;
        }
        self.stop.cancel();
        let inside = tokio::runtime::Handle::try_current();
        let single = tokio::runtime::RuntimeFlavor::CurrentThread;
        let waits = match &inside {
            Err(_) => self.tokio.runtime_flavor() != single,
            Ok(handle) => handle.runtime_flavor() != single,
        };
        if !waits {
            return;
        }
        let tokio = self.tokio.clone();
        let ended = match inside {
            Err(_) => tokio.block_on(self.shutdown()),
            Ok(_) => tokio::task::block_in_place(|| tokio.block_on(self.shutdown())),
        };
        if let Err(error) = ended {
            tracing::warn!(%error, "engine did not end cleanly");
        }
    }
}
