use std::{
    fs,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use ipnet::{IpNet, Ipv4Net};
use nix::errno::Errno;
use rtnetlink::{
    AddressMessageBuilder, LinkBridge, LinkUnspec,
    packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE},
    packet_route::{
        RouteNetlinkMessage,
        address::{AddressHeaderFlags, AddressMessage},
        link::LinkMessage,
    },
};

use super::{
    config::BridgeConfig,
    label::bridge_alias,
    link,
    surroundings::{Surroundings, conflict, overlap, pick},
};
use crate::{
    Error,
    address_pool::AddressPool,
    netlink::{Request, RouteSocket, failed_with},
};

/// How often opening starts over because another engine took the same range or name meanwhile.
const MAX_OPEN_ATTEMPTS: usize = 16;

/// The file in the state folder that remembers the range that was picked.
const CIDR_FILE: &str = "pod-cidr";

pub(crate) const NEEDS: &str = "CAP_NET_ADMIN and CAP_SYS_ADMIN";

/// The bridge of a node.
#[derive(Debug)]
pub(crate) struct BridgeDevice {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) mtu: u32,
}

/// Finds the node's bridge or makes it, and says which addresses its pods may have.
pub(crate) fn open(
    socket: &mut RouteSocket,
    config: &BridgeConfig,
) -> Result<(BridgeDevice, AddressPool), Error> {
    let alias = bridge_alias(&config.state_dir.to_string_lossy());
    for attempt in 0..MAX_OPEN_ATTEMPTS {
        let seen =
            Surroundings::look(socket).map_err(kernel("list interfaces for", &config.bridge))?;
        let opened = match seen.link(&config.bridge) {
            Some(found) => adopt(socket, config, &alias, &seen, found)?,
            None => create(socket, config, &alias, &seen, attempt)?,
        };
        if let Some((device, v4)) = opened {
            remember(config, v4)?;
            let pool = AddressPool::new(v4, config.pod_cidr_v6)?;
            return Ok((device, pool));
        }
    }
    Err(Error::NoFreeCidr)
}

/// `None` when there was nothing worth adopting and the way is free to make a new one.
fn adopt(
    socket: &mut RouteSocket,
    config: &BridgeConfig,
    alias: &str,
    seen: &Surroundings,
    found: &LinkMessage,
) -> Result<Option<(BridgeDevice, Ipv4Net)>, Error> {
    let taken = |reason: String| Err(Error::BridgeTaken { bridge: config.bridge.clone(), reason });
    if !link::is_bridge(found) {
        return taken("it is no bridge".to_owned());
    }
    if let Some(other) = link::alias(found).filter(|found| *found != alias) {
        return taken(format!("it is labelled {other:?}"));
    }
    let index = found.header.index;
    let has_ports = seen.links.iter().any(|link| link::bridge(link) == Some(index));
    let current = seen.v4_of(index);
    let gateway = current.map(|net| gateway_of(net.trunc()) == net.addr()).unwrap_or(false);
    let v4 = match (current, config.pod_cidr) {
        (Some(current), None) if gateway => current.trunc(),
        (Some(current), Some(wanted)) if gateway && current.trunc() == wanted.trunc() => {
            wanted.trunc()
        }
        (Some(current), _) if has_ports => {
            return taken(format!("its ports use {current}"));
        }
        // Made by a program that died before it was done, or for another range and unused since.
        _ => {
            link::delete(socket, &config.bridge).map_err(kernel("replace", &config.bridge))?;
            return Ok(None);
        }
    };
    let mtu = config.mtu.unwrap_or_else(|| seen.default_mtu());
    let device = BridgeDevice { name: config.bridge.clone(), index, mtu };
    configure(socket, config, &device, alias, v4).map_err(kernel("configure", &config.bridge))?;
    Ok(Some((device, v4)))
}

/// `None` when another engine got in between and another look is needed.
fn create(
    socket: &mut RouteSocket,
    config: &BridgeConfig,
    alias: &str,
    seen: &Surroundings,
    attempt: usize,
) -> Result<Option<(BridgeDevice, Ipv4Net)>, Error> {
    let v4 = free_cidr(config, seen, attempt)?;
    // Refuses a range without room before anything is made.
    AddressPool::new(v4, config.pod_cidr_v6)?;
    let mtu = config.mtu.unwrap_or_else(|| seen.default_mtu());
    let name = &config.bridge;
    let request = LinkBridge::new(name).mtu(mtu).down().build();
    let made =
        socket.execute(vec![(RouteNetlinkMessage::NewLink(request), NLM_F_CREATE | NLM_F_EXCL)]);
    if failed_with(&made, Errno::EEXIST) {
        return Ok(None);
    }
    made.map_err(kernel("create bridge", name))?;
    let settled = settle(socket, config, alias, v4, mtu);
    if !matches!(settled, Ok(Some(_))) {
        link::delete(socket, name).map_err(kernel("remove", name))?;
    }
    Ok(settled?.map(|device| (device, v4)))
}

/// Gives a new bridge its address, then looks again. Two engines may have picked the same range
/// at once: each sees the other here unless it was done before the other began, so whoever sees a
/// neighbour steps back. Both may, and then pick anew from different places.
fn settle(
    socket: &mut RouteSocket,
    config: &BridgeConfig,
    alias: &str,
    v4: Ipv4Net,
    mtu: u32,
) -> Result<Option<BridgeDevice>, Error> {
    let name = &config.bridge;
    let look = kernel("look for", name);
    let Some(found) = link::find(socket, name).map_err(look)? else { return Ok(None) };
    let device = BridgeDevice { name: name.clone(), index: found.header.index, mtu };
    configure(socket, config, &device, alias, v4).map_err(kernel("configure", name))?;
    let taken = Surroundings::look(socket)
        .map_err(kernel("list interfaces for", name))?
        .taken(Some(device.index));
    let met = match config.pod_cidr {
        Some(_) => conflict(v4, &taken),
        None => taken.iter().find(|other| overlap(v4, other.net)),
    };
    match (met, config.pod_cidr) {
        (None, _) => Ok(Some(device)),
        (Some(_), None) => Ok(None),
        (Some(other), Some(cidr)) => {
            Err(Error::CidrInUse { cidr, other: other.net, interface: other.interface.clone() })
        }
    }
}

fn free_cidr(config: &BridgeConfig, seen: &Surroundings, attempt: usize) -> Result<Ipv4Net, Error> {
    let taken = seen.taken(None);
    if let Some(cidr) = config.pod_cidr {
        return match conflict(cidr, &taken) {
            None => Ok(cidr.trunc()),
            Some(other) => {
                Err(Error::CidrInUse { cidr, other: other.net, interface: other.interface.clone() })
            }
        };
    }
    let mut nets: Vec<_> = taken.into_iter().map(|other| other.net).collect();
    if attempt == 0
        && let Some(wanted) = recall(config)?.or(config.preferred)
        && !nets.iter().any(|net| overlap(wanted, *net))
    {
        return Ok(wanted);
    }
    nets.extend(&config.avoid);
    pick(&format!("{} {attempt}", config.bridge), &nets).ok_or(Error::NoFreeCidr)
}

/// All that a bridge needs beyond being there; does no harm to one that has it.
fn configure(
    socket: &mut RouteSocket,
    config: &BridgeConfig,
    device: &BridgeDevice,
    alias: &str,
    v4: Ipv4Net,
) -> io::Result<()> {
    let gateway = gateway_of(v4);
    // A bridge without an address of its own takes that of a port and changes it when ports go,
    // which neighbours would notice.
    let link = LinkUnspec::new_with_index(device.index)
        .address(hardware_address(gateway).to_vec())
        .alias(alias)
        .up()
        .build();
    let mut requests = vec![
        link::change(link),
        assign(device.index, IpNet::new_assert(gateway.into(), v4.prefix_len())),
    ];
    if let Some(v6) = config.pod_cidr_v6 {
        let gateway = (u128::from(v6.network()) + 1).into();
        requests
            .push(assign(device.index, IpNet::new_assert(IpAddr::V6(gateway), v6.prefix_len())));
    }
    socket.execute(requests)
}

/// A request to give an interface an address.
pub(crate) fn assign(index: u32, address: IpNet) -> Request {
    let mut message: AddressMessage = match address {
        IpNet::V4(net) => AddressMessageBuilder::<Ipv4Addr>::new()
            .address(net.addr(), net.prefix_len())
            .index(index)
            .build(),
        IpNet::V6(net) => AddressMessageBuilder::<std::net::Ipv6Addr>::new()
            .address(net.addr(), net.prefix_len())
            .index(index)
            .build(),
    };
    // Addresses are ours to give, so asking the neighbours first would only cost a second.
    message.header.flags = AddressHeaderFlags::Nodad;
    (RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
}

/// An Ethernet address that follows from the IPv4 one, as CNI plugins make them: neighbours that
/// remember an address's former owner are right about the next.
pub(crate) fn hardware_address(ip: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = ip.octets();
    [0x0a, 0x58, a, b, c, d]
}

fn gateway_of(net: Ipv4Net) -> Ipv4Addr {
    (u32::from(net.network()) + 1).into()
}

fn recall(config: &BridgeConfig) -> Result<Option<Ipv4Net>, Error> {
    let path = config.state_dir.join(CIDR_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().parse::<Ipv4Net>().ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::State { path, source }),
    }
}

/// Written whole beside the old file and put in its place, so that a crash leaves one or the other.
fn remember(config: &BridgeConfig, cidr: Ipv4Net) -> Result<(), Error> {
    let path = config.state_dir.join(CIDR_FILE);
    if config.pod_cidr.is_some() || recall(config)? == Some(cidr) {
        return Ok(());
    }
    let write = |folder: &Path| -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let new = folder.join("pod-cidr.new");
        let mut file = fs::File::create(&new)?;
        writeln!(file, "{cidr}")?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        fs::File::open(folder)?.sync_all()
    };
    write(&config.state_dir).map_err(|source| Error::State { path: path.clone(), source })
}

/// Words a kernel's refusal: a missing privilege is told apart from the rest.
pub(crate) fn kernel(
    operation: &'static str,
    interface: &str,
) -> impl FnOnce(io::Error) -> Error + use<> {
    let interface = interface.to_owned();
    move |source| match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM) => Error::NotPermitted { operation, needs: NEEDS },
        _ => Error::Kernel { operation, interface, source },
    }
}
