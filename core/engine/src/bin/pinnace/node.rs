//! `pinnace node` and `pinnace kubeconfig`: a machine joins a cluster.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pinnace::{Kubeconfig, Node, Runtime, node_kubeconfig};

use crate::cluster::kubeconfig;
use crate::{Failure, interrupted, write_private};

/// How long a node may take to be ready before that is said.
const READY_TIMEOUT: Duration = Duration::from_secs(60);

/// Makes this machine a node of a cluster until Ctrl-C.
#[derive(Args)]
pub(crate) struct JoinNode {
    /// The node's kubeconfig, as `pinnace kubeconfig` writes it; else `$KUBECONFIG`, else `kubeconfig`
    /// here.
    #[arg(long, value_name = "F")]
    kubeconfig: Option<PathBuf>,
    /// The node's name; the one that the kubeconfig is of without it.
    #[arg(long, value_name = "N")]
    name: Option<String>,
    /// The address that the cluster reaches the node at; the machine's own without it.
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// Where to listen for the cluster; port 0 takes a free one.
    #[arg(long, default_value = "0.0.0.0:10250", value_name = "A")]
    listen: SocketAddr,
    /// What runs the containers: auto, containerd, process or simulated.
    #[arg(long, default_value = "auto")]
    runtime: String,
    /// Keeps what belongs to pods in this directory, and leaves them running at the end.
    #[arg(long, value_name = "D")]
    data_dir: Option<PathBuf>,
    /// Where CSI drivers register, by Unix sockets.
    #[arg(long, value_name = "D")]
    plugins_dir: Option<PathBuf>,
    /// A KubeletConfiguration: how the node looks after itself.
    #[arg(long, value_name = "FILE")]
    kubelet_config: Option<PathBuf>,
    /// Imports images from an OCI archive or directory before the node joins.
    #[arg(long, value_name = "ARCHIVE")]
    import_image: Vec<PathBuf>,
}

impl JoinNode {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        // Asked for first, so that a signal that comes early is not missed.
        let mut interrupted = std::pin::pin!(interrupted());
        let config = Kubeconfig::read(&kubeconfig(self.kubeconfig.as_deref()))?;
        if config.authority.is_none() {
            return Err("the kubeconfig does not say whose certificates to believe".into());
        }
        let mut builder =
            Node::of(&config)?.runtime(Runtime::named(&self.runtime)?).listen(self.listen);
        if let Some(name) = self.name {
            builder = builder.name(name);
        }
        if let Some(address) = self.address {
            builder = builder.address(address);
        }
        if let Some(directory) = self.data_dir {
            builder = builder.data_dir(directory);
        }
        if let Some(directory) = self.plugins_dir {
            builder = builder.plugins_dir(directory);
        }
        if let Some(file) = &self.kubelet_config {
            let read = std::fs::read(file);
            let read = read.map_err(|error| format!("{}: {error}", file.display()))?;
            builder = builder.kubelet(read);
        }
        for archive in &self.import_image {
            builder = builder.import_image(archive);
        }
        let node = tokio::select! {
            signal = &mut interrupted => return Ok(signal?),
            started = builder.start() => started?,
        };
        println!("# runtime: {} ({})", node.runtime().name, node.runtime().why);
        if let Some(address) = node.address() {
            println!("# node {} listens on {address}", node.name());
        }
        let said = tokio::select! {
            signal = &mut interrupted => Some(signal),
            ready = node.ready(READY_TIMEOUT) => {
                match ready {
                    Ok(()) => println!("node {} is ready", node.name()),
                    Err(error) => eprintln!("warning: {error}"),
                }
                None
            }
        };
        let signal = match said {
            Some(signal) => signal,
            None => interrupted.await,
        };
        println!("stopping");
        let ended = node.shutdown().await;
        signal?;
        Ok(ended?)
    }
}

/// Writes a kubeconfig by which a machine joins a cluster as a node.
#[derive(Args)]
pub(crate) struct MakeKubeconfig {
    /// The node's name.
    #[arg(long, value_name = "N")]
    node: String,
    /// The kubeconfig of an administrator; else `$KUBECONFIG`, else `kubeconfig` here.
    #[arg(long, value_name = "F")]
    kubeconfig: Option<PathBuf>,
    /// The URL of the API as the node reaches it; that of the administrator without it.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// Where it goes. It holds a key: whoever reads it is the node.
    #[arg(short, long, value_name = "F")]
    output: PathBuf,
}

impl MakeKubeconfig {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let config = Kubeconfig::read(&kubeconfig(self.kubeconfig.as_deref()))?;
        let server = self.server.as_deref().unwrap_or(&config.server);
        let text = node_kubeconfig(&config, server, &self.node).await?;
        write_private(&self.output, &text)
            .map_err(|error| format!("{}: {error}", self.output.display()))?;
        Ok(())
    }
}
