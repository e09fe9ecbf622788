use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::AsRawFd,
    thread,
    time::Duration,
};

use ipnet::IpNet;
use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
};
use parking_lot::Mutex;
use rtnetlink::{
    LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_core::{NLM_F_CREATE, NLM_F_EXCL},
    packet_route::{
        RouteNetlinkMessage,
        link::{InfoData, InfoKind, InfoVeth},
    },
};

use super::{
    POD_INTERFACE,
    device::{BridgeDevice, assign, hardware_address, kernel},
    label::PodLabel,
    link,
};
use crate::{
    Error, PodAddresses,
    netlink::{Request, RouteSocket, failed_with},
};

/// The kernel gives every network namespace's loopback this index.
const LOOPBACK_INDEX: u32 = 1;

/// How often, a millisecond apart, a new cable is asked whether it carries traffic.
const MAX_CARRIER_CHECKS: usize = 200;

/// A pair of virtual interfaces: one end on the bridge, the other in a pod's namespace.
pub(crate) struct Cable<'a> {
    pub(crate) node: &'a Mutex<RouteSocket>,
    pub(crate) bridge: &'a BridgeDevice,
    /// The name of the node's end.
    pub(crate) name: &'a str,
    pub(crate) pod_uid: &'a str,
    pub(crate) namespace: &'a File,
    pub(crate) namespace_id: u64,
    pub(crate) addresses: &'a PodAddresses,
    /// The pod CIDRs, by family as in `addresses`.
    pub(crate) cidrs: &'a [IpNet],
}

/// Why a cable couldn't be laid.
pub(crate) enum LayError {
    /// The pod's namespace can't be entered.
    Namespace(io::Error),
    /// One of the two ends' names is taken.
    Exists,
    /// Anything else.
    Other(Error),
}

impl From<Error> for LayError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Cable<'_> {
    /// Connects the pod. The calling thread is in the pod's namespace afterwards, so it must be
    /// one of our own that ends soon.
    pub(crate) fn lay(&self) -> Result<(), LayError> {
        setns(self.namespace, CloneFlags::CLONE_NEWNET).map_err(|errno| match errno {
            Errno::EPERM => kernel("enter the namespace for", self.name)(errno.into()).into(),
            errno => LayError::Namespace(errno.into()),
        })?;
        let mut pod =
            RouteSocket::open().map_err(kernel("open a netlink socket for", self.name))?;
        let made = self.node.lock().execute(vec![self.create()]);
        if failed_with(&made, Errno::EEXIST) {
            return Err(LayError::Exists);
        }
        made.map_err(kernel("create interface", self.name))?;
        let interface = link::find(&mut pod, POD_INTERFACE)
            .and_then(|found| found.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map_err(kernel("find the pod's end of", self.name))?;
        pod.execute(self.configure_pod(interface.header.index))
            .map_err(kernel("configure the pod's end of", self.name))?;
        let finished = self.node.lock().execute(vec![self.finish()]);
        finished.map_err(kernel("configure interface", self.name))?;
        self.wait_for_carrier(&mut pod)?;
        Ok(())
    }

    /// Both ends at once, the pod's already where it belongs.
    fn create(&self) -> Request {
        let mut pod_end = LinkUnspec::new_with_name(POD_INTERFACE)
            .mtu(self.bridge.mtu)
            .setns_by_fd(self.namespace.as_raw_fd());
        if let Some(IpAddr::V4(ip)) = self.addresses.ips.first() {
            pod_end = pod_end.address(hardware_address(*ip).to_vec());
        }
        let message = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth)
            .name(self.name)
            .mtu(self.bridge.mtu)
            .controller(self.bridge.index)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(pod_end.build())))
            .build();
        (RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    fn configure_pod(&self, index: u32) -> Vec<Request> {
        let mut requests = vec![
            link::change(LinkUnspec::new_with_index(LOOPBACK_INDEX).up().build()),
            link::change(LinkUnspec::new_with_index(index).up().build()),
        ];
        for ((ip, gateway), cidr) in
            self.addresses.ips.iter().zip(&self.addresses.gateways).zip(self.cidrs)
        {
            requests.push(assign(index, IpNet::new_assert(*ip, cidr.prefix_len())));
            let route = match gateway {
                IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new()
                    .gateway(*gateway)
                    .output_interface(index)
                    .build(),
                IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new()
                    .gateway(*gateway)
                    .output_interface(index)
                    .build(),
            };
            requests.push((RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_EXCL));
        }
        requests
    }

    /// Hairpin lets a pod reach itself by a translated address; the label says that all is done.
    fn finish(&self) -> Request {
        let label = PodLabel {
            pod_uid: self.pod_uid.to_owned(),
            namespace: self.namespace_id,
            ips: self.addresses.ips.clone(),
        };
        let port = LinkBridgePort::new(0)
            .name(self.name)
            .hairpin(true)
            .alias(label.to_alias())
            .up()
            .build();
        link::change(port)
    }

    /// The kernel notices a plugged cable a moment later. Packets before that are lost, and a
    /// first packet lost costs a connection a second.
    fn wait_for_carrier(&self, pod: &mut RouteSocket) -> Result<(), Error> {
        let check = |socket: &mut RouteSocket, name: &str| {
            let found = link::find(socket, name).map_err(kernel("look for", self.name))?;
            Ok(found.is_some_and(|link| link::carries_traffic(&link)))
        };
        for _ in 0..MAX_CARRIER_CHECKS {
            if check(pod, POD_INTERFACE)? && check(&mut self.node.lock(), self.name)? {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(1));
        }
        tracing::warn!(pod_uid = self.pod_uid, interface = self.name, "no carrier yet");
        Ok(())
    }
}
