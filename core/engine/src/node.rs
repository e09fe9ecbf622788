//! This machine, or a simulated one, as a node of a cluster that another engine is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node as NodeObject, Pod};
use pinnace_api::patch::Patch;
use pinnace_api::{Key, Object, Reason};
use pinnace_client::nodes::NodeDirectory as _;
use pinnace_client::{Client, Informers, ListOptions, Recorder};
use pinnace_controllers::POD_RANGE_WANTED;
use pinnace_env::Env;
use pinnace_http::{Kubelet, KubeletConfig};
use pinnace_network::Ipv4Net;
use pinnace_node::{Machine, NodeAgent, NodeAgentConfig, NodeConfig, Sight};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::builder::{Discovered, OnShutdown, Runtime};
use crate::machinery::Machinery;
use crate::nodes::{NodeOptions, Nodes, host_name};
use crate::{Error, Result};

/// Where nodes listen unless they are told otherwise, as upstream.
const PORT: u16 = 10250;
/// How long the cluster may take to say where a node's pods have their addresses.
const RANGE_PATIENCE: Duration = Duration::from_secs(10);

/// A node of a cluster elsewhere: it runs the pods that are bound to it, and serves their logs, commands
/// and ports to the cluster over mutual TLS.
///
/// It may do what upstream's kubelet may, and has to be that user: `system:node:NAME` of the group
/// `system:nodes`, for which [`Engine::kubeconfig`](crate::Engine::kubeconfig) makes a kubeconfig.
///
/// [`Node::shutdown`] ends it in order; dropping it only tells its tasks to end.
#[must_use = "a node ends when it is dropped"]
pub struct Node {
    name: String,
    runtime: Discovered,
    client: Client,
    address: Option<SocketAddr>,
    informers: Informers,
    recorder: Recorder,
    machinery: Machinery,
    on_shutdown: OnShutdown,
    /// Set once the cluster reaches it, or never will.
    reached: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Configures a [`Node`]. Nothing is checked or touched before [`NodeBuilder::start`].
#[derive(Clone, Debug)]
pub struct NodeBuilder {
    client: Client,
    authority: Option<String>,
    /// The node that the client acts as, where that is known.
    user: Option<String>,
    listen: SocketAddr,
    options: NodeOptions,
    images: Vec<PathBuf>,
    on_shutdown: Option<OnShutdown>,
    env: Option<Env>,
}

impl Node {
    /// A node of the cluster that a client leads to. It is not reached for logs, commands and ports
    /// unless [`NodeBuilder::authority`] says whom to believe.
    pub fn builder(client: Client) -> NodeBuilder {
        NodeBuilder {
            client,
            authority: None,
            user: None,
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)),
            options: NodeOptions {
                runtime: Runtime::auto(),
                count: Some(1),
                name: None,
                data_dir: None,
                plugins_dir: None,
                kubelet: None,
                addresses: Vec::new(),
                pod_range: None,
            },
            images: Vec::new(),
            on_shutdown: None,
            env: None,
        }
    }

    /// A node of the cluster of a kubeconfig, which serves the clients of that cluster's authority. It
    /// has the name that the kubeconfig's certificate is of.
    ///
    /// # Errors
    /// [`Error::Remote`] for a kubeconfig that leads nowhere.
    #[cfg(feature = "remote")]
    pub fn of(kubeconfig: &pinnace_remote::Kubeconfig) -> Result<NodeBuilder> {
        let client = Client::new(pinnace_remote::Remote::new(kubeconfig)?);
        let mut builder = Self::builder(client);
        builder.authority.clone_from(&kubeconfig.authority);
        let certificate = kubeconfig.identity.as_ref().map(|identity| &*identity.certificate);
        builder.user = certificate.and_then(pinnace_http::node_of_certificate);
        Ok(builder)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which runtime runs its containers, and why that one was taken.
    pub fn runtime(&self) -> &Discovered {
        &self.runtime
    }

    /// Where it listens for the cluster.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Waits until the cluster has it as ready and, where it listens, has signed its certificate.
    ///
    /// # Errors
    /// [`Error::Timeout`], and what the cluster answers.
    pub async fn ready(&self, timeout: Duration) -> Result<()> {
        let waited = tokio::time::timeout(timeout, self.becomes_ready()).await;
        waited.map_err(|_| Error::Timeout {
            what: format!("condition=Ready on nodes/{}", self.name),
            after: timeout,
            seen: String::new(),
        })?
    }

    async fn becomes_ready(&self) -> Result<()> {
        self.reached.cancelled().await;
        let nodes = self.client.of::<NodeObject>()?;
        let look = |node: Option<&Object>| -> Result<Option<()>> {
            let node = node.map(|node| node.get::<NodeObject>()).transpose()?;
            Ok(node.is_some_and(is_ready).then_some(()))
        };
        nodes.dynamic().follow(&Key::cluster(&*self.name), look).await
    }

    /// Ends the node and waits until everything of it has. Its pods are stopped, or go on to be taken
    /// over by the next node on the same data directory, as [`NodeBuilder::on_shutdown`] says. The Node
    /// stays in the cluster, which finds it unreachable when its Lease ends.
    ///
    /// # Errors
    /// When something could not be cleaned up; the node has ended all the same.
    pub async fn shutdown(self) -> Result<()> {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let ended = self.machinery.end(self.on_shutdown == OnShutdown::LeavePods).await;
        self.recorder.shutdown().await;
        self.informers.shutdown().await;
        ended
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({}, {})", self.name, self.runtime.name)
    }
}

fn is_ready(node: &NodeObject) -> bool {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True")
}

impl NodeBuilder {
    /// Sets its name, which must be that of its user. If this is not called, it is that of the
    /// kubeconfig, or else the machine's host name.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = Some(name.into());
        self
    }

    /// Sets what runs its containers; [`Runtime::auto`] if this is not called.
    pub fn runtime(mut self, runtime: Runtime) -> Self {
        self.options.runtime = runtime;
        self
    }

    /// Sets the address that the cluster reaches it at; the machine's own if this is not called.
    pub fn address(mut self, address: IpAddr) -> Self {
        self.options.addresses = vec![address];
        self
    }

    /// Sets where it listens for the cluster: port 10250 of all addresses if this is not called; port 0
    /// takes a free one.
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Sets whose clients are known, by the certificate of the cluster's authority in PEM.
    pub fn authority(mut self, pem: impl Into<String>) -> Self {
        self.authority = Some(pem.into());
        self
    }

    /// Keeps what belongs to its pods in a directory, so that they may go on without it.
    pub fn data_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.options.data_dir = Some(directory.into());
        self
    }

    /// Sets where CSI drivers register; see [`EngineBuilder::plugins_dir`](crate::EngineBuilder::plugins_dir).
    pub fn plugins_dir(mut self, directory: impl Into<PathBuf>) -> Self {
        self.options.plugins_dir = Some(directory.into());
        self
    }

    /// Sets how it looks after itself; see [`EngineBuilder::kubelet`](crate::EngineBuilder::kubelet).
    pub fn kubelet(mut self, configuration: impl AsRef<[u8]>) -> Self {
        self.options.kubelet = Some(configuration.as_ref().to_vec());
        self
    }

    /// Imports an OCI archive or directory before the node joins; see
    /// [`Engine::import_image`](crate::Engine::import_image).
    pub fn import_image(mut self, path: impl Into<PathBuf>) -> Self {
        self.images.push(path.into());
        self
    }

    /// Sets what becomes of its pods at the shutdown: by default they are stopped without a data
    /// directory, and left with one.
    pub fn on_shutdown(mut self, what: OnShutdown) -> Self {
        self.on_shutdown = Some(what);
        self
    }

    /// Sets where time and randomness come from.
    pub fn env(mut self, env: Env) -> Self {
        self.env = Some(env);
        self
    }

    /// Joins the cluster, on the Tokio runtime of the caller.
    ///
    /// # Errors
    /// [`Error::Api`] when the cluster cannot be reached or refuses, [`Error::Config`],
    /// [`Error::Runtime`] and [`Error::Serve`].
    pub async fn start(self) -> Result<Node> {
        let Self { client, authority, user, listen, mut options, images, on_shutdown, env } = self;
        let env = env.unwrap_or_else(Env::system);
        let own = || user.clone().unwrap_or_else(host_name);
        let name = options.name.get_or_insert_with(own).clone();
        if let Some(user) = user.filter(|user| *user != name) {
            return Err(Error::Config(format!(
                "the kubeconfig is that of node {user:?}, not {name:?}"
            )));
        }
        options.pod_range = range_of(&client, &name).await?;
        let listener = match &authority {
            Some(_) => Some(bind(listen).await?),
            None => None,
        };
        let address = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let mut nodes = Nodes::prepare(&options, &env).await?;
        for config in &mut nodes.configs {
            config.port = address.map_or(0, |address| address.port());
        }
        let informers = Informers::new(client.clone());
        let of = |field: &str| ListOptions::default().fields(&format!("{field}={name}"));
        informers.select::<Pod>(of("spec.nodeName")?)?;
        informers.select::<NodeObject>(of("metadata.name")?)?;
        let node = Node {
            name,
            runtime: nodes.runtime,
            recorder: Recorder::new(&client, &env, "pinnace")?,
            client,
            address,
            informers,
            machinery: nodes.machinery,
            on_shutdown: on_shutdown.unwrap_or(match &options.data_dir {
                Some(_) => OnShutdown::LeavePods,
                None => OnShutdown::StopPods,
            }),
            reached: CancellationToken::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let kubelet = listener.zip(authority);
        let prepared = Prepared { nodes: nodes.configs, machine: nodes.machine, logs: nodes.logs };
        match node.begin(prepared, kubelet, &images, env).await {
            Ok(()) => Ok(node),
            Err(error) => {
                // What is said is why it did not start.
                drop(node.shutdown().await);
                Err(error)
            }
        }
    }
}

/// What a node's agent works with.
struct Prepared {
    nodes: Vec<NodeConfig>,
    machine: Machine,
    logs: PathBuf,
}

impl Node {
    async fn begin(
        &self,
        prepared: Prepared,
        kubelet: Option<(TcpListener, String)>,
        images: &[PathBuf],
        env: Env,
    ) -> Result<()> {
        self.machinery.import(images).await?;
        let Prepared { nodes, machine, logs } = prepared;
        let addresses = nodes.first().map(|one| one.addresses.clone()).unwrap_or_default();
        let agent = NodeAgent::new(NodeAgentConfig {
            nodes,
            machine,
            logs,
            informers: self.informers.clone(),
            recorder: self.recorder.clone(),
            env: env.clone(),
            sight: Sight::Related,
        })
        .map_err(|error| Error::Node(error.to_string()))?;
        if let Some((listener, authority)) = kubelet {
            let kubelet = KubeletConfig {
                node: self.name.clone(),
                addresses,
                connection: agent.nodes().node(&self.name)?,
                client: self.client.clone(),
                authority,
                env,
            };
            let kubelet = Kubelet::serve(listener, kubelet)?;
            let (certified, reached) = (kubelet.certified(), self.reached.clone());
            self.tasks.spawn(async move {
                certified.await;
                reached.cancel();
            });
            self.tasks.spawn(kubelet.run(self.stop.clone()));
        } else {
            self.reached.cancel();
        }
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            if let Err(error) = agent.run(stop).await {
                tracing::error!(%error, "node agent ended");
            }
        });
        Ok(())
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|source| {
        Error::Serve(pinnace_http::Error::Listen { address: address.to_string(), source })
    })
}

/// Where the cluster says that the pods of a node have their addresses: what its Node says, which is
/// made for that if it is not there. A cluster that says nothing leaves it to the node, as does one where
/// the client is not that node.
async fn range_of(client: &Client, name: &str) -> Result<Option<Ipv4Net>> {
    let (nodes, key) = (client.of::<NodeObject>()?, Key::cluster(name));
    let asks = json!({"metadata": {"name": name, "annotations": {POD_RANGE_WANTED: ""}}});
    let asked = match nodes.find(&key).await {
        Ok(Some(found)) if range(&found).is_some() => return Ok(range(&found)),
        Ok(Some(_)) => nodes.patch(&key, Patch::Merge(asks)).await,
        Ok(None) => nodes.create(serde_json::from_value(asks).unwrap_or_default()).await,
        Err(error) => Err(error),
    };
    match asked {
        Err(error) if error.reason() == Reason::Forbidden => return Ok(None),
        asked => asked?,
    };
    let given = nodes.dynamic().follow(&key, |object| {
        let node = object.and_then(|object| object.get::<NodeObject>().ok());
        Ok::<_, Error>(node.and_then(range))
    });
    match tokio::time::timeout(RANGE_PATIENCE, given).await {
        Ok(given) => given.map(Some),
        Err(_) => Ok(None),
    }
}

fn range(node: &NodeObject) -> Option<Ipv4Net> {
    let ranges = node.spec.as_ref()?.pod_cidrs.as_deref()?;
    ranges.iter().find_map(|range| range.parse().ok())
}
