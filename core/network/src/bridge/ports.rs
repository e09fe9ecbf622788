use std::{collections::HashMap, io};

use nix::errno::Errno;
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec,
    packet_route::{RouteNetlinkMessage, link::LinkAttribute},
};

use super::{
    device::{BridgeDevice, kernel},
    label::{PodLabel, interface_name, stable_hash},
    link,
};
use crate::{
    Error,
    address_pool::AddressPool,
    netlink::{Request, RouteSocket, failed_with},
};

/// The names of the node's ends of pods' cables begin so.
const CABLE_PREFIX: &str = "pod";

/// The end of a pod's cable on the bridge.
pub(crate) struct Port {
    pub(crate) name: String,
    /// `None` when a program died before the cable was finished.
    pub(crate) label: Option<PodLabel>,
    index: u32,
    doomed: bool,
}

/// A pod that has a slot of the address pool.
#[derive(Debug)]
pub(crate) struct Pod {
    pub(crate) slot: usize,
    /// Found when the bridge was opened rather than attached since.
    pub(crate) adopted: bool,
}

/// The name of the node's end of a pod's cable; it follows from the uid, so that a cable can be
/// removed without having been found.
pub(crate) fn cable_name(bridge: &BridgeDevice, pod_uid: &str) -> String {
    interface_name(CABLE_PREFIX, &format!("{} {pod_uid}", bridge.name))
}

/// The pods' cables on the bridge; whatever else was plugged into it isn't ours.
pub(crate) fn list(node: &mut RouteSocket, bridge: &BridgeDevice) -> Result<Vec<Port>, Error> {
    let links = link::list(node).map_err(kernel("list the ports of", &bridge.name))?;
    let doom = LinkAttribute::Group(doom(bridge));
    let port = |link: &rtnetlink::packet_route::link::LinkMessage| {
        let name = link::name(link).to_owned();
        let alias = link::alias(link);
        let label = alias.and_then(PodLabel::from_alias);
        let ours = label.is_some() || (alias.is_none() && name.starts_with(CABLE_PREFIX));
        let doomed = link.attributes.contains(&doom);
        ours.then_some(Port { name, label, index: link.header.index, doomed })
    };
    let plugged = links.iter().filter(|link| link::bridge(link) == Some(bridge.index));
    Ok(plugged.filter_map(port).collect())
}

/// Takes over the pods of an earlier program and removes the cables that it didn't finish or was
/// about to remove.
pub(crate) fn adopt(
    node: &mut RouteSocket,
    bridge: &BridgeDevice,
    pool: &mut AddressPool,
) -> Result<HashMap<String, Pod>, Error> {
    let mut found = list(node, bridge)?;
    // Indexes only grow, so the newest pod comes last and the rotation goes on after it.
    found.sort_by_key(|port| port.index);
    let mut pods = HashMap::new();
    for port in found {
        let label = port.label.filter(|_| !port.doomed);
        let slot =
            label.as_ref().and_then(|label| label.ips.first()).and_then(|ip| pool.claim(*ip));
        match (label, slot) {
            (Some(label), Some(slot)) => {
                pods.insert(label.pod_uid, Pod { slot, adopted: true });
            }
            _ => {
                tracing::info!(interface = port.name, "unfinished pod interface removed");
                link::delete(node, &port.name).map_err(kernel("remove", &port.name))?;
            }
        }
    }
    Ok(pods)
}

/// Removes cables, all in one go: the kernel waits for every processor to let go of an interface,
/// some 20 ms, and does so once for a group of them.
pub(crate) fn remove_all(socket: &mut RouteSocket, bridge: &BridgeDevice, names: &[String]) {
    let doomed = names.iter().map(|name| -> Request {
        let link = LinkUnspec::new_with_name(name).link_group(doom(bridge)).build();
        (RouteNetlinkMessage::SetLink(link), 0)
    });
    // Some may be gone already. Who needs to know asks for each by name afterwards.
    let marked = socket.execute(doomed.collect());
    let group = LinkMessageBuilder::<LinkUnspec>::new().link_group(doom(bridge)).build();
    let removed = socket.execute(vec![(RouteNetlinkMessage::DelLink(group), 0)]);
    for result in [marked, removed] {
        if !failed_with(&result, Errno::ENODEV)
            && let Err(error) = result
        {
            tracing::debug!(%error, bridge = bridge.name, "removing interfaces together failed");
        }
    }
}

/// The interface group of cables that are about to go. High numbers are nobody else's: groups are
/// numbered by hand.
fn doom(bridge: &BridgeDevice) -> u32 {
    0x8000_0000 | stable_hash(&bridge.name) as u32
}

/// Removes a cable that may have gone with others before.
pub(crate) fn ensure_removed(socket: &mut RouteSocket, name: &str) -> io::Result<()> {
    match link::find(socket, name)? {
        Some(_) => link::delete(socket, name),
        None => Ok(()),
    }
}
