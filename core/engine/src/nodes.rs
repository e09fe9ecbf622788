//! What runs containers on which nodes, and where its belongings are kept.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pinnace_env::Env;
use pinnace_network::{HostNetwork, Ipv4Net, PodNetwork, SimulatedNetwork};
use pinnace_node::{Capacity, Eviction, Machine, NodeConfig, NodeSettings};
use pinnace_runtime::Runtime as ContainerRuntime;
use pinnace_runtime::simulated::{Simulated, SimulatedConfig};

use crate::builder::{Choice, Discovered, config};
use crate::machinery::Machinery;
use crate::{Error, Result, Runtime};

/// Simulated nodes get a /25 of 10.0.0.0/8 each, so there cannot be more.
const MAX_SIMULATED_NODES: usize = 1 << 17;
/// Where simulated nodes have their own addresses: 100.64.0.0/10, which nobody routes.
const SIMULATED_ADDRESSES: u32 = 0x6440_0000;
/// Where a machine's belongings of an engine in memory live, if root may write there: not on a
/// disk, and gone after a reboot, as what they describe is.
const RUN_DIR: &str = "/run/pinnace";

/// Which nodes there are to be in this process.
#[derive(Clone, Debug)]
pub(crate) struct NodeOptions {
    pub(crate) runtime: Runtime,
    pub(crate) count: Option<usize>,
    pub(crate) name: Option<String>,
    pub(crate) data_dir: Option<PathBuf>,
    /// Where CSI drivers register; below what else the node keeps, if not here.
    pub(crate) plugins_dir: Option<PathBuf>,
    pub(crate) kubelet: Option<Vec<u8>>,
    /// Where the node is reached; the machine's own addresses, or made-up ones, if there are none.
    pub(crate) addresses: Vec<IpAddr>,
    /// Where the pods of a single node have their addresses, if it is not to choose by itself.
    pub(crate) pod_range: Option<Ipv4Net>,
}

/// The nodes of an engine, before their agent starts.
pub(crate) struct Nodes {
    pub(crate) runtime: Discovered,
    pub(crate) machinery: Machinery,
    pub(crate) configs: Vec<NodeConfig>,
    pub(crate) machine: Machine,
    /// Where logs go.
    pub(crate) logs: PathBuf,
    /// Where the directories of local volumes are, on a real machine.
    pub(crate) volumes: Option<PathBuf>,
}

impl Nodes {
    pub(crate) async fn prepare(options: &NodeOptions, env: &Env) -> Result<Self> {
        let place = Place::of(options)?;
        let prepared = match &options.runtime.0 {
            Choice::Simulated(world) => simulated(options, env, world.clone(), &place),
            choice => real(options, env, choice, &place).await,
        };
        if prepared.is_err() {
            place.remove();
        }
        prepared
    }
}

/// The directory of an engine, and a name for it that no other engine on this machine has.
struct Place {
    directory: PathBuf,
    id: String,
    is_temporary: bool,
}

impl Place {
    fn of(options: &NodeOptions) -> Result<Self> {
        match &options.data_dir {
            Some(data) => {
                let directory = absolute(data)?.join("node");
                let id = stored_id(&directory)?;
                Ok(Self { directory, id, is_temporary: false })
            }
            None => {
                // The engine's own randomness may be seeded, and this must be unique on the machine.
                let id = pinnace_env::Random::from_os().suffix(10);
                let run = Path::new(RUN_DIR);
                let base = match fs::create_dir_all(run.join(&id)) {
                    Ok(()) => {
                        let _ = fs::remove_dir(run.join(&id));
                        run.to_owned()
                    }
                    Err(_) => std::env::temp_dir(),
                };
                let name = if base == run { id.clone() } else { format!("pinnace-{id}") };
                Ok(Self { directory: base.join(name), id, is_temporary: true })
            }
        }
    }

    fn temporary(&self) -> Option<PathBuf> {
        self.is_temporary.then(|| self.directory.clone())
    }

    fn remove(&self) {
        if self.is_temporary {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|source| Error::Io { path: path.to_owned(), source })
}

/// The name under which the engine of a data directory keeps things elsewhere on this machine.
fn stored_id(directory: &Path) -> Result<String> {
    let failed = |source| Error::Io { path: directory.to_owned(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    let file = directory.join("id");
    match fs::read_to_string(&file) {
        Ok(id) if !id.trim().is_empty() => return Ok(id.trim().to_owned()),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let id = pinnace_env::Random::from_os().suffix(10);
    fs::write(&file, &id).map_err(failed)?;
    Ok(id)
}

fn simulated(
    options: &NodeOptions,
    env: &Env,
    world: Option<Simulated>,
    place: &Place,
) -> Result<Nodes> {
    let count = options.count.unwrap_or(1);
    if count > MAX_SIMULATED_NODES {
        return Err(config(format!(
            "{count} nodes are too many: at most {MAX_SIMULATED_NODES} can be simulated"
        )));
    }
    // A host that holds the world may want to fail one node of it, so each has a runtime of its
    // own; else one serves all, which is cheaper by far for thousands.
    let shared = Simulated::new(SimulatedConfig::new(env.clone()));
    let mut runtimes: Vec<Arc<dyn ContainerRuntime>> = vec![Arc::new(shared)];
    let mut configs = Vec::with_capacity(count);
    let mut networks: Vec<Arc<dyn PodNetwork>> = Vec::with_capacity(count);
    let mut ranges = options.pod_range.into_iter().chain((0..).map(simulated_range));
    for index in 0..count {
        let range =
            ranges.next().ok_or_else(|| config("no range of addresses is left for pods"))?;
        let network: Arc<dyn PodNetwork> = Arc::new(SimulatedNetwork::new(range)?);
        networks.push(network.clone());
        let name = match &options.name {
            Some(name) if count == 1 => name.clone(),
            Some(name) => format!("{name}-{index}"),
            None => format!("node-{index}"),
        };
        let runtime = match &world {
            Some(world) => {
                let runtime: Arc<dyn ContainerRuntime> = Arc::new(world.node(&name));
                runtimes.push(runtime.clone());
                runtime
            }
            None => runtimes[0].clone(),
        };
        configs.push(NodeConfig {
            name,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            capacity: Capacity::default(),
            settings: settings(options, None)?,
            addresses: match &options.addresses[..] {
                [] => vec![simulated_address(index)],
                known => known.to_vec(),
            },
            port: 0,
            runtime,
            network,
        });
    }
    Ok(Nodes {
        runtime: Discovered { name: "simulated", why: "it was asked for".to_owned() },
        machinery: Machinery { runtimes, networks, volumes: None, temporary: place.temporary() },
        configs,
        machine: Machine::Simulated,
        logs: place.directory.join("logs"),
        volumes: None,
    })
}

/// How nodes look after themselves: as the builder was told, or with this eviction alone.
fn settings(options: &NodeOptions, eviction: Option<Eviction>) -> Result<NodeSettings> {
    match &options.kubelet {
        None => Ok(NodeSettings { eviction, ..NodeSettings::default() }),
        Some(document) => NodeSettings::read(document)
            .map_err(|why| config(format!("the configuration of the kubelet: {why}"))),
    }
}

fn simulated_range(index: usize) -> Ipv4Net {
    let index = u32::try_from(index).unwrap_or(0);
    let base = Ipv4Addr::from(0x0a00_0000 | (index << 7));
    Ipv4Net::new_assert(base, 25)
}

fn simulated_address(index: usize) -> IpAddr {
    let index = u32::try_from(index).unwrap_or(0).saturating_add(1);
    IpAddr::V4(Ipv4Addr::from(SIMULATED_ADDRESSES.saturating_add(index)))
}

#[cfg(target_os = "linux")]
async fn real(options: &NodeOptions, env: &Env, choice: &Choice, place: &Place) -> Result<Nodes> {
    let count = options.count.unwrap_or(1);
    if count > 1 {
        return Err(config(format!(
            "{count} nodes need the simulated runtime: a machine is one node"
        )));
    }
    let failed = |source| Error::Io { path: place.directory.clone(), source };
    fs::create_dir_all(&place.directory).map_err(failed)?;
    let (runtime, discovered) = connect(choice, env, place).await?;
    let (network, note) = network(options, place).await?;
    let addresses = match &options.addresses[..] {
        [] => pinnace_network::machine_addresses(),
        known => known.to_vec(),
    };
    let mut why = vec![discovered.why];
    why.extend(runtime.restrictions());
    why.extend(note);
    let why = why.join("; ");
    let name = options.name.clone().unwrap_or_else(host_name);
    let plugins = options.plugins_dir.as_deref().map(absolute).transpose()?;
    let config = NodeConfig {
        name,
        labels: BTreeMap::new(),
        taints: Vec::new(),
        capacity: pinnace_node::machine_capacity(&place.directory),
        settings: settings(options, Some(Eviction::of_memory()))?,
        addresses,
        port: 0,
        runtime: runtime.clone(),
        network: network.clone(),
    };
    Ok(Nodes {
        runtime: Discovered { name: discovered.name, why },
        machinery: Machinery {
            runtimes: vec![runtime],
            networks: vec![network],
            volumes: Some(place.directory.join("pods")),
            temporary: place.temporary(),
        },
        configs: if count == 0 { Vec::new() } else { vec![config] },
        machine: Machine::Local { state: place.directory.join("pods"), plugins },
        logs: place.directory.join("logs"),
        volumes: Some(place.directory.join("volumes")),
    })
}

#[cfg(not(target_os = "linux"))]
async fn real(
    _options: &NodeOptions,
    _env: &Env,
    _choice: &Choice,
    _place: &Place,
) -> Result<Nodes> {
    Err(config("only the simulated runtime works on this platform"))
}

/// A bridge of the node's own where the user may make one, else the machine's network.
#[cfg(target_os = "linux")]
async fn network(
    options: &NodeOptions,
    place: &Place,
) -> Result<(Arc<dyn PodNetwork>, Option<String>)> {
    use pinnace_network::{BridgeConfig, BridgeNetwork};
    let directory = place.directory.join("network");
    let mut config = BridgeConfig::new(directory);
    config.preferred = options.pod_range;
    match BridgeNetwork::open(config).await {
        Ok(network) => Ok((Arc::new(network), None)),
        Err(error) if error.is_unavailable() => {
            let addresses = pinnace_network::machine_addresses();
            let note = format!("pods share the machine's network: {error}");
            Ok((Arc::new(HostNetwork::new(addresses)), Some(note)))
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(target_os = "linux")]
async fn connect(
    choice: &Choice,
    env: &Env,
    place: &Place,
) -> Result<(Arc<dyn ContainerRuntime>, Discovered)> {
    use pinnace_runtime::auto::{AutoConfig, auto};
    use pinnace_runtime::{Process, ProcessConfig};
    let asked = || "it was asked for".to_owned();
    let namespace = format!("pinnace-{}", place.id);
    match choice {
        Choice::Auto => {
            let state = place.directory.join("runtime");
            let found = auto(AutoConfig::new(namespace, state, env.clone())).await?;
            let name = found.runtime.name();
            Ok((found.runtime, Discovered { name, why: found.reason }))
        }
        #[cfg(feature = "containerd")]
        Choice::Containerd { socket } => {
            let runtime = containerd(socket, env, place).await?;
            Ok((runtime, Discovered { name: "containerd", why: asked() }))
        }
        Choice::Process => {
            let state = place.directory.join("runtime");
            let process = ProcessConfig::new(namespace, state, env.clone());
            let runtime = Process::open(process).await?;
            Ok((Arc::new(runtime), Discovered { name: "process", why: asked() }))
        }
        Choice::Custom(custom) => {
            let name = custom.0.name();
            Ok((custom.0.clone(), Discovered { name, why: asked() }))
        }
        Choice::Simulated(_) => Err(config("the simulated runtime has no machine")),
    }
}

#[cfg(all(target_os = "linux", feature = "containerd"))]
async fn containerd(socket: &Path, env: &Env, place: &Place) -> Result<Arc<dyn ContainerRuntime>> {
    use pinnace_runtime::{Containerd, ContainerdConfig};
    let directory = place.directory.join("runtime");
    let config = ContainerdConfig::new(format!("pinnace-{}", place.id), directory, env.clone());
    Ok(Arc::new(Containerd::connect(socket, config).await?))
}

/// The name of this machine's node where none is said.
pub(crate) fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim().to_ascii_lowercase();
    if pinnace_api::kinds::names::dns_subdomain(&name).is_ok() { name } else { "node".to_owned() }
}
