mod cable;
mod config;
mod device;
mod gate;
mod host_ports;
mod label;
mod link;
mod ports;
mod removal;
mod surroundings;

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use async_trait::async_trait;
use ipnet::IpNet;
use nix::sched::{CloneFlags, setns};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot};

pub use self::config::BridgeConfig;
use self::{
    cable::{Cable, LayError},
    device::{BridgeDevice, kernel},
    gate::{Gate, Pass},
    host_ports::HostPorts,
    label::PodLabel,
    ports::{Pod, cable_name},
    removal::Removals,
};
use crate::{
    AttachedPod, Error, HostPort, PodAddresses, PodAttachment, PodNetwork,
    address_pool::AddressPool, netlink::RouteSocket, pod_network::check_pod_uid,
};

/// The name of a pod's interface inside its namespace.
pub const POD_INTERFACE: &str = "eth0";

/// Operations at work at once, a thread each. The kernel changes links one at a time, so more
/// would only wait.
const MAX_THREADS: usize = 8;

/// The pod network of a node: a bridge, and a virtual cable from it to each pod.
///
/// The kernel's own tables are the record of who has which address: each cable's end on the bridge
/// is labelled with the pod's uid and addresses once all else is done. So a program that dies at
/// any moment loses nothing, and the next one to open the bridge finds every pod.
///
/// Everything happens in the network namespace that [`open`](Self::open) is called in. No thread
/// of the caller changes its namespace, and no setting of the machine is changed. Ports of the
/// machine that lead to pods are translated by nftables; from other machines they do where this
/// one forwards packets (`net.ipv4.ip_forward`), which is its owner's to say. Pods reach the
/// host and each other; a way out to other networks is not part of it. Where the machine has
/// bridged packets pass the host's firewall (`net.bridge.bridge-nf-call-iptables`), that firewall
/// must let pods' packets through.
///
/// Dropping it leaves the bridge and the pods' cables in place, as `shutdown(true)` does.
pub struct BridgeNetwork {
    shared: Arc<Shared>,
}

struct Shared {
    node: Mutex<RouteSocket>,
    removals: Removals,
    bridge: BridgeDevice,
    cidrs: Vec<IpNet>,
    gate: Arc<Gate>,
    threads: Arc<Semaphore>,
    state: Mutex<State>,
    host_ports: Mutex<HostPorts>,
}

struct State {
    pool: AddressPool,
    pods: HashMap<String, Pod>,
    closed: bool,
}

impl BridgeNetwork {
    /// Makes the node's bridge, or finds it with the pods that are on it.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] without the privileges, in which case nothing was made;
    /// [`Error::is_unavailable`] tells when a [`HostNetwork`](crate::HostNetwork) is what remains.
    pub async fn open(config: BridgeConfig) -> Result<Self, Error> {
        config.check()?;
        // Here and not on the thread below: the caller's namespace decides.
        let socket =
            || RouteSocket::open().map_err(kernel("open a netlink socket for", &config.bridge));
        let (mut node, removals) = (socket()?, Removals::new(socket()?));
        let shared = on_thread("open the bridge", move || {
            probe_namespace_entry()?;
            let (bridge, mut pool) = device::open(&mut node, &config)?;
            let pods = ports::adopt(&mut node, &bridge, &mut pool)?;
            let cidrs = pool.cidrs();
            let mut host_ports = HostPorts::open(&bridge.name, &cidrs, &config.state_dir);
            host_ports.keep(|uid| pods.contains_key(uid));
            Ok(Shared {
                cidrs,
                host_ports: Mutex::new(host_ports),
                node: Mutex::new(node),
                removals,
                bridge,
                gate: Arc::default(),
                threads: Arc::new(Semaphore::new(MAX_THREADS)),
                state: Mutex::new(State { pool, pods, closed: false }),
            })
        })
        .await?;
        tracing::info!(bridge = shared.bridge.name, cidrs = ?shared.cidrs, "pod network open");
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The bridge's interface name.
    pub fn bridge(&self) -> &str {
        &self.shared.bridge.name
    }

    /// The node's own addresses on the pod network, where pods reach the host.
    pub fn gateways(&self) -> Vec<std::net::IpAddr> {
        self.shared.state.lock().pool.gateways()
    }

    /// Runs `work` on a thread of our own, whether or not the caller waits for it.
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Shared) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let permit = self.shared.threads.clone().acquire_owned().await;
        let shared = self.shared.clone();
        on_thread(operation, move || {
            let _permit = permit;
            work(&shared)
        })
        .await
    }
}

#[async_trait]
impl PodNetwork for BridgeNetwork {
    async fn attach(&self, pod: &PodAttachment<'_>) -> Result<PodAddresses, Error> {
        check_pod_uid(pod.pod_uid)?;
        let pass = self.shared.gate.enter(pod.pod_uid).await;
        if self.shared.state.lock().closed {
            return Err(Error::Closed);
        }
        let (pod_uid, namespace) = (pod.pod_uid.to_owned(), pod.namespace.to_owned());
        self.run("attach a pod", move |shared| {
            let _pass: Pass = pass;
            shared.attach(&pod_uid, namespace)
        })
        .await
    }

    async fn publish(&self, pod_uid: &str, ports: &[HostPort]) -> Result<(), Error> {
        check_pod_uid(pod_uid)?;
        let pass = self.shared.gate.enter(pod_uid).await;
        let (pod_uid, ports) = (pod_uid.to_owned(), ports.to_vec());
        self.run("publish ports", move |shared| {
            let _pass: Pass = pass;
            let addresses = {
                let state = shared.state.lock();
                let slot = state.pods.get(&pod_uid).map(|pod| pod.slot);
                slot.map(|slot| state.pool.addresses(slot).ips).unwrap_or_default()
            };
            shared.host_ports.lock().publish(&pod_uid, &addresses, &ports)
        })
        .await
    }

    async fn detach(&self, pod_uid: &str) -> Result<(), Error> {
        check_pod_uid(pod_uid)?;
        let pass = self.shared.gate.enter(pod_uid).await;
        let removed = removal::enqueue(&self.shared, pod_uid, pass)?;
        removed.await.map_err(|_| Error::ThreadLost { operation: "detach a pod" })?
    }

    async fn attached(&self) -> Result<Vec<AttachedPod>, Error> {
        self.run("list pods", |shared| {
            let gateways = shared.state.lock().pool.gateways();
            let mut pods: Vec<_> = ports::list(&mut shared.node.lock(), &shared.bridge)?
                .into_iter()
                .filter_map(|port| port.label)
                .map(|label| AttachedPod {
                    pod_uid: label.pod_uid,
                    addresses: PodAddresses { ips: label.ips, gateways: gateways.clone() },
                })
                .collect();
            pods.sort_by(|one, other| one.pod_uid.cmp(&other.pod_uid));
            Ok(pods)
        })
        .await
    }

    async fn reconcile(&self, known_uids: &HashSet<String>) -> Result<Vec<String>, Error> {
        let mut unknown: Vec<_> = {
            let state = self.shared.state.lock();
            let stale = |(uid, pod): &(&String, &Pod)| pod.adopted && !known_uids.contains(*uid);
            state.pods.iter().filter(stale).map(|(uid, _)| uid.clone()).collect()
        };
        unknown.sort();
        let mut removed = Vec::new();
        for pod_uid in &unknown {
            let pass = self.shared.gate.enter(pod_uid).await;
            removed.push(removal::enqueue(&self.shared, pod_uid, pass)?);
        }
        for removed in removed {
            removed.await.map_err(|_| Error::ThreadLost { operation: "detach a pod" })??;
        }
        Ok(unknown)
    }

    async fn shutdown(&self, leave: bool) -> Result<(), Error> {
        self.shared.state.lock().closed = true;
        self.shared.gate.idle().await;
        if leave {
            return Ok(());
        }
        self.run("remove the bridge", Shared::remove).await
    }

    fn pod_cidrs(&self) -> Vec<IpNet> {
        self.shared.cidrs.clone()
    }
}

impl Shared {
    fn attach(&self, pod_uid: &str, path: PathBuf) -> Result<PodAddresses, Error> {
        let unavailable = |source| Error::NamespaceUnavailable {
            pod_uid: pod_uid.to_owned(),
            path: path.clone(),
            source,
        };
        let namespace = File::open(&path).map_err(unavailable)?;
        let namespace_id = namespace.metadata().map_err(unavailable)?.ino();
        let name = cable_name(&self.bridge, pod_uid);

        let held = self.state.lock().pods.get(pod_uid).map(|pod| pod.slot);
        let slot = match held {
            Some(slot) => slot,
            None => self.state.lock().pool.allocate()?,
        };
        let addresses = self.state.lock().pool.addresses(slot);
        let cable = Cable {
            node: &self.node,
            bridge: &self.bridge,
            name: &name,
            pod_uid,
            namespace: &namespace,
            namespace_id,
            addresses: &addresses,
            cidrs: &self.cidrs,
        };
        if held.is_some() && self.is_connected(&cable)? {
            self.keep(pod_uid, slot);
            return Ok(addresses);
        }
        match self.connect(&cable, &path, held.is_some()) {
            Ok(()) => {
                self.keep(pod_uid, slot);
                Ok(addresses)
            }
            Err(error) => {
                if let Err(error) = link::delete(&mut self.node.lock(), &name) {
                    tracing::warn!(%error, interface = name, "half a cable could not be removed");
                }
                if held.is_none() {
                    self.state.lock().pool.release(slot);
                }
                Err(error)
            }
        }
    }

    fn keep(&self, pod_uid: &str, slot: usize) {
        self.state.lock().pods.insert(pod_uid.to_owned(), Pod { slot, adopted: false });
    }

    /// Whether the pod is connected in the namespace it is in now.
    fn is_connected(&self, cable: &Cable<'_>) -> Result<bool, Error> {
        let found = link::find(&mut self.node.lock(), cable.name)
            .map_err(kernel("look for", cable.name))?;
        let label = found.as_ref().and_then(link::alias).and_then(PodLabel::from_alias);
        Ok(label.is_some_and(|label| {
            label.namespace == cable.namespace_id && label.ips == cable.addresses.ips
        }))
    }

    fn connect(&self, cable: &Cable<'_>, path: &Path, renew: bool) -> Result<(), Error> {
        let delete = || {
            link::delete(&mut self.node.lock(), cable.name).map_err(kernel("remove", cable.name))
        };
        if renew {
            delete()?;
        }
        let mut laid = cable.lay();
        if matches!(laid, Err(LayError::Exists)) {
            // The name follows from the uid, so one that is taken is left from an earlier life of
            // the same pod. The one in the pod's namespace isn't ours to remove.
            delete()?;
            laid = cable.lay();
        }
        let (pod_uid, path) = (cable.pod_uid.to_owned(), path.to_owned());
        laid.map_err(|error| match error {
            LayError::Namespace(source) => Error::NamespaceUnavailable { pod_uid, path, source },
            LayError::Exists => Error::InterfaceExists { pod_uid, path, interface: POD_INTERFACE },
            LayError::Other(error) => error,
        })
    }

    fn forget(&self, pod_uid: &str) {
        if let Err(error) = self.host_ports.lock().publish(pod_uid, &[], &[]) {
            tracing::warn!(pod_uid, %error, "ports of a pod that is gone stay");
        }
        let state = &mut *self.state.lock();
        if let Some(pod) = state.pods.remove(pod_uid) {
            state.pool.release(pod.slot);
        }
    }

    fn remove(&self) -> Result<(), Error> {
        let mut node = self.node.lock();
        let cables: Vec<_> =
            ports::list(&mut node, &self.bridge)?.into_iter().map(|port| port.name).collect();
        self.removals.remove_now(self, &cables)?;
        self.host_ports.lock().remove()?;
        link::delete(&mut node, &self.bridge.name).map_err(kernel("remove", &self.bridge.name))?;
        let state = &mut *self.state.lock();
        for (_, pod) in state.pods.drain() {
            state.pool.release(pod.slot);
        }
        Ok(())
    }
}

/// Entering a namespace takes a privilege of its own, which is better missed now than when the
/// first pod comes.
fn probe_namespace_entry() -> Result<(), Error> {
    let entered = File::open("/proc/thread-self/ns/net")
        .and_then(|own| setns(own, CloneFlags::CLONE_NEWNET).map_err(std::io::Error::from));
    entered.map_err(kernel("enter network namespaces for", "the pod bridge"))
}

/// Runs `work` on a new thread and waits for what it says.
async fn on_thread<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (done, answer) = oneshot::channel();
    start_thread(move || {
        // Nobody may be waiting any more; the work counts all the same.
        let _ = done.send(work());
    })?;
    answer.await.map_err(|_| Error::ThreadLost { operation })?
}

fn start_thread(work: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    let started = thread::Builder::new().name("pinnace-network".to_owned()).spawn(work);
    started.map(drop).map_err(kernel("start a thread for", "the pod bridge"))
}
