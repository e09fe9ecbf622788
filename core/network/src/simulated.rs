use std::collections::{BTreeMap, HashSet};

use async_trait::async_trait;
use ipnet::{IpNet, Ipv4Net};
use parking_lot::Mutex;

use crate::{
    AttachedPod, Error, HostPort, PodAddresses, PodAttachment, PodNetwork,
    address_pool::AddressPool, pod_network::check_pod_uid,
};

/// Hands out addresses of a node's pod CIDR and touches nothing else: the same calls in the same
/// order always give the same addresses.
#[derive(Debug)]
pub struct SimulatedNetwork {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pool: AddressPool,
    slots: BTreeMap<String, usize>,
    closed: bool,
}

impl SimulatedNetwork {
    /// A network whose pods get the addresses of `pod_cidr` after the first, which is the
    /// gateway's.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] when the CIDR has no room for a pod.
    pub fn new(pod_cidr: Ipv4Net) -> Result<Self, Error> {
        let pool = AddressPool::new(pod_cidr, None)?;
        Ok(Self { state: Mutex::new(State { pool, slots: BTreeMap::new(), closed: false }) })
    }
}

#[async_trait]
impl PodNetwork for SimulatedNetwork {
    async fn attach(&self, pod: &PodAttachment<'_>) -> Result<PodAddresses, Error> {
        check_pod_uid(pod.pod_uid)?;
        let State { pool, slots, closed } = &mut *self.state.lock();
        if *closed {
            return Err(Error::Closed);
        }
        let slot = match slots.get(pod.pod_uid) {
            Some(slot) => *slot,
            None => {
                let slot = pool.allocate()?;
                slots.insert(pod.pod_uid.to_owned(), slot);
                slot
            }
        };
        Ok(pool.addresses(slot))
    }

    async fn publish(&self, _pod_uid: &str, _ports: &[HostPort]) -> Result<(), Error> {
        Ok(())
    }

    async fn detach(&self, pod_uid: &str) -> Result<(), Error> {
        let State { pool, slots, .. } = &mut *self.state.lock();
        if let Some(slot) = slots.remove(pod_uid) {
            pool.release(slot);
        }
        Ok(())
    }

    async fn attached(&self) -> Result<Vec<AttachedPod>, Error> {
        let State { pool, slots, .. } = &*self.state.lock();
        let pod = |(pod_uid, slot): (&String, &usize)| AttachedPod {
            pod_uid: pod_uid.clone(),
            addresses: pool.addresses(*slot),
        };
        Ok(slots.iter().map(pod).collect())
    }

    /// A simulated network ends with its program, so there is nothing from before a restart.
    async fn reconcile(&self, _known_uids: &HashSet<String>) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    async fn shutdown(&self, leave: bool) -> Result<(), Error> {
        let State { pool, slots, closed } = &mut *self.state.lock();
        *closed = true;
        if !leave {
            for (_, slot) in std::mem::take(slots) {
                pool.release(slot);
            }
        }
        Ok(())
    }

    fn pod_cidrs(&self) -> Vec<IpNet> {
        self.state.lock().pool.cidrs()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    async fn attach(network: &SimulatedNetwork, pod_uid: &str) -> Result<String, Error> {
        let pod = PodAttachment { pod_uid, namespace: Path::new("/nowhere") };
        Ok(network.attach(&pod).await?.ips[0].to_string())
    }

    #[tokio::test]
    async fn pods_keep_their_address_until_they_are_detached() {
        let network = SimulatedNetwork::new("10.1.0.0/29".parse().unwrap()).unwrap();
        assert_eq!(attach(&network, "a").await.unwrap(), "10.1.0.2");
        assert_eq!(attach(&network, "b").await.unwrap(), "10.1.0.3");
        assert_eq!(attach(&network, "a").await.unwrap(), "10.1.0.2");
        network.detach("a").await.unwrap();
        network.detach("a").await.unwrap();
        assert_eq!(attach(&network, "c").await.unwrap(), "10.1.0.4");
        let uids: Vec<_> =
            network.attached().await.unwrap().into_iter().map(|pod| pod.pod_uid).collect();
        assert_eq!(uids, ["b", "c"]);
    }

    #[tokio::test]
    async fn a_network_that_was_shut_down_takes_no_pods() {
        let network = SimulatedNetwork::new("10.1.0.0/29".parse().unwrap()).unwrap();
        attach(&network, "a").await.unwrap();
        network.shutdown(false).await.unwrap();
        assert!(matches!(attach(&network, "b").await, Err(Error::Closed)));
        assert!(network.attached().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn uids_that_no_label_can_hold_are_refused() {
        let network = SimulatedNetwork::new("10.1.0.0/29".parse().unwrap()).unwrap();
        for uid in ["", "a b", "a\n", &"x".repeat(65)] {
            assert!(matches!(attach(&network, uid).await, Err(Error::InvalidPodUid { .. })));
        }
    }
}
