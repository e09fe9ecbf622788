use std::{io, net::IpAddr};

use ipnet::Ipv4Net;
use rtnetlink::packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{LinkAttribute, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteMessage},
};

use super::{label::stable_hash, link};
use crate::netlink::RouteSocket;

/// The size of a range that is picked: 253 pods, as upstream gives each node by default.
const PICKED_PREFIX: u8 = 24;

/// A route shorter than this is a default route in disguise, as some tunnels make them.
const SHORTEST_ROUTE: u8 = 8;

const ETHERNET_MTU: u32 = 1500;

/// What the node's network namespace holds: links, addresses and routes of one moment.
pub(crate) struct Surroundings {
    pub(crate) links: Vec<LinkMessage>,
    addresses: Vec<AddressMessage>,
    routes: Vec<RouteMessage>,
}

/// A range that something else uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) net: Ipv4Net,
    pub(crate) interface: String,
}

impl Surroundings {
    pub(crate) fn look(socket: &mut RouteSocket) -> io::Result<Self> {
        let links = link::list(socket)?;
        let addresses = socket
            .dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?
            .into_iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewAddress(address) => Some(address),
                _ => None,
            })
            .collect();
        let mut v4_routes = RouteMessage::default();
        v4_routes.header.address_family = AddressFamily::Inet;
        let routes = socket
            .dump(&RouteNetlinkMessage::GetRoute(v4_routes))?
            .into_iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewRoute(route) => Some(route),
                _ => None,
            })
            .collect();
        Ok(Self { links, addresses, routes })
    }

    pub(crate) fn link(&self, name: &str) -> Option<&LinkMessage> {
        self.links.iter().find(|link| link::name(link) == name)
    }

    /// The first IPv4 network of an interface.
    pub(crate) fn v4_of(&self, index: u32) -> Option<Ipv4Net> {
        self.addresses.iter().filter(|address| address.header.index == index).find_map(v4_net)
    }

    /// The ranges that interfaces other than `own` have addresses in or routes to.
    pub(crate) fn taken(&self, own: Option<u32>) -> Vec<Taken> {
        let name = |index: u32| {
            let link = self.links.iter().find(|link| link.header.index == index);
            link.map_or_else(|| format!("interface {index}"), |link| link::name(link).to_owned())
        };
        let addresses =
            self.addresses.iter().filter(|address| Some(address.header.index) != own).filter_map(
                |address| {
                    Some(Taken { net: v4_net(address)?, interface: name(address.header.index) })
                },
            );
        let routes = self.routes.iter().filter_map(|route| {
            let net = destination(route).filter(|net| net.prefix_len() >= SHORTEST_ROUTE)?;
            let outgoing = outgoing(route);
            let interface = outgoing.map_or_else(|| "the routing table".to_owned(), name);
            (outgoing.is_none() || outgoing != own).then_some(Taken { net, interface })
        });
        addresses.chain(routes).collect()
    }

    /// The MTU of the interface that the default route leaves by.
    pub(crate) fn default_mtu(&self) -> u32 {
        let default = |route: &&RouteMessage| route.header.destination_prefix_length == 0;
        let uplink = self.routes.iter().filter(default).find_map(outgoing);
        self.links
            .iter()
            .filter(|link| Some(link.header.index) == uplink)
            .flat_map(|link| &link.attributes)
            .find_map(|attribute| match attribute {
                LinkAttribute::Mtu(mtu) => Some(*mtu),
                _ => None,
            })
            .unwrap_or(ETHERNET_MTU)
    }
}

/// What a configured range can't live with: something at least as specific inside it or the same.
/// A wider route, such as a company's 10.0.0.0/8, only loses the part that was asked for.
pub(crate) fn conflict(cidr: Ipv4Net, taken: &[Taken]) -> Option<&Taken> {
    taken.iter().find(|other| cidr.contains(&other.net))
}

/// A range that overlaps nothing in `taken`. Different seeds start the search at different places,
/// so that engines that search at the same moment hardly ever meet.
pub(crate) fn pick(seed: &str, taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    let bases = [([10, 0, 0, 0], 8), ([172, 16, 0, 0], 12), ([192, 168, 0, 0], 16)];
    bases.into_iter().find_map(|(network, prefix)| {
        let base = Ipv4Net::new_assert(network.into(), prefix);
        let taken: Vec<_> = taken.iter().filter(|net| overlap(base, **net)).collect();
        if taken.iter().any(|net| net.contains(&base)) {
            return None;
        }
        let count = 1_u32 << (PICKED_PREFIX - prefix);
        let start = stable_hash(seed) as u32 % count;
        let candidate = |place: u32| {
            let network = u32::from(base.network()) + (place << (32 - PICKED_PREFIX));
            Ipv4Net::new_assert(network.into(), PICKED_PREFIX)
        };
        let first_free = |mut place: u32, end: u32| {
            while place < end {
                let candidate = candidate(place);
                let Some(other) = taken.iter().find(|net| overlap(candidate, ***net)) else {
                    return Some(candidate);
                };
                let last = u32::from(other.broadcast()) - u32::from(base.network());
                place = (last >> (32 - PICKED_PREFIX)) + 1;
            }
            None
        };
        first_free(start, count).or_else(|| first_free(0, start))
    })
}

pub(crate) fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

fn v4_net(address: &AddressMessage) -> Option<Ipv4Net> {
    // An address between two points names the other end first; ours is the local one.
    let find = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| {
        address.attributes.iter().find_map(wanted)
    };
    let local = find(|attribute| match attribute {
        AddressAttribute::Local(ip) => Some(*ip),
        _ => None,
    });
    match local? {
        IpAddr::V4(ip) => Ipv4Net::new(ip, address.header.prefix_len).ok(),
        IpAddr::V6(_) => None,
    }
}

fn destination(route: &RouteMessage) -> Option<Ipv4Net> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(ip)) => {
            Ipv4Net::new(*ip, route.header.destination_prefix_length).ok()
        }
        _ => None,
    })
}

fn outgoing(route: &RouteMessage) -> Option<u32> {
    route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nets(texts: &[&str]) -> Vec<Ipv4Net> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn picking_leaves_ten_when_all_of_it_is_taken() {
        let picked = pick("a", &nets(&["10.0.0.0/8", "172.16.0.0/13"])).unwrap();
        assert!(nets(&["172.24.0.0/13"])[0].contains(&picked), "{picked}");
        assert_eq!(pick("a", &nets(&["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"])), None);
    }

    #[test]
    fn a_wider_route_does_not_forbid_a_configured_range() {
        let taken = |net: &str| vec![Taken { net: net.parse().unwrap(), interface: "x".into() }];
        let cidr = "10.4.0.0/16".parse().unwrap();
        assert_eq!(conflict(cidr, &taken("10.0.0.0/8")), None);
        assert_eq!(conflict(cidr, &taken("10.5.0.0/16")), None);
        assert!(conflict(cidr, &taken("10.4.0.0/16")).is_some());
        assert!(conflict(cidr, &taken("10.4.7.1/32")).is_some());
    }

    proptest! {
        #[test]
        fn what_is_picked_overlaps_nothing(
            seed in "[a-z]{1,8}",
            taken in proptest::collection::vec((any::<u32>(), 9_u8..=32), 0..40),
        ) {
            let taken: Vec<_> = taken
                .into_iter()
                .map(|(ip, prefix)| {
                    Ipv4Net::new_assert((ip & 0x00ff_ffff | 0x0a00_0000).into(), prefix)
                })
                .collect();
            if let Some(picked) = pick(&seed, &taken) {
                prop_assert!(taken.iter().all(|net| !overlap(picked, *net)));
            }
        }
    }
}
