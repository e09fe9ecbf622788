use std::{
    collections::{BTreeSet, HashSet},
    net::IpAddr,
};

use async_trait::async_trait;
use ipnet::IpNet;
use parking_lot::Mutex;

use crate::{
    AttachedPod, Error, HostPort, PodAddresses, PodAttachment, PodNetwork,
    pod_network::check_pod_uid,
};

/// The network of a node whose pods share the machine's: each pod's addresses are the node's, and
/// nothing is made or removed.
#[derive(Debug)]
pub struct HostNetwork {
    ips: Vec<IpAddr>,
    pods: Mutex<Pods>,
}

#[derive(Debug, Default)]
struct Pods {
    attached: BTreeSet<String>,
    closed: bool,
}

impl HostNetwork {
    /// A network on which pods answer at the node's addresses, the primary first.
    pub fn new(node_ips: Vec<IpAddr>) -> Self {
        Self { ips: node_ips, pods: Mutex::default() }
    }

    fn addresses(&self) -> PodAddresses {
        PodAddresses { ips: self.ips.clone(), gateways: Vec::new() }
    }
}

#[async_trait]
impl PodNetwork for HostNetwork {
    async fn attach(&self, pod: &PodAttachment<'_>) -> Result<PodAddresses, Error> {
        check_pod_uid(pod.pod_uid)?;
        let mut pods = self.pods.lock();
        if pods.closed {
            return Err(Error::Closed);
        }
        pods.attached.insert(pod.pod_uid.to_owned());
        Ok(self.addresses())
    }

    async fn publish(&self, _pod_uid: &str, ports: &[HostPort]) -> Result<(), Error> {
        match ports.iter().find(|one| one.port != one.pod_port) {
            None => Ok(()),
            Some(HostPort { port, pod_port, .. }) => {
                Err(Error::PortsShared { port: *port, pod_port: *pod_port })
            }
        }
    }

    async fn detach(&self, pod_uid: &str) -> Result<(), Error> {
        self.pods.lock().attached.remove(pod_uid);
        Ok(())
    }

    async fn attached(&self) -> Result<Vec<AttachedPod>, Error> {
        let pod = |uid: &String| AttachedPod { pod_uid: uid.clone(), addresses: self.addresses() };
        Ok(self.pods.lock().attached.iter().map(pod).collect())
    }

    async fn reconcile(&self, _known_uids: &HashSet<String>) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    async fn shutdown(&self, _leave: bool) -> Result<(), Error> {
        *self.pods.lock() = Pods { attached: BTreeSet::new(), closed: true };
        Ok(())
    }

    fn pod_cidrs(&self) -> Vec<IpNet> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[tokio::test]
    async fn every_pod_has_the_addresses_of_the_node() {
        let network = HostNetwork::new(vec!["192.0.2.7".parse().unwrap()]);
        for pod_uid in ["a", "b"] {
            let pod = PodAttachment { pod_uid, namespace: Path::new("/proc/self/ns/net") };
            let addresses = network.attach(&pod).await.unwrap();
            assert_eq!(addresses.ips, ["192.0.2.7".parse::<IpAddr>().unwrap()]);
        }
        network.detach("a").await.unwrap();
        let left: Vec<_> =
            network.attached().await.unwrap().into_iter().map(|pod| pod.pod_uid).collect();
        assert_eq!(left, ["b"]);
    }
}
