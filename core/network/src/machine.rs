use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// How the names of bridges of pods begin.
const BRIDGE_PREFIX: &str = "pinnace-";

/// The addresses at which this machine can be reached from its pods: at most one of each family,
/// of the first interface that is up and is neither the loopback nor a bridge of pods; the
/// loopback's if there is no other.
pub fn machine_addresses() -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for interface in getifaddrs().into_iter().flatten() {
        let up = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
        let pods = interface.interface_name.starts_with(BRIDGE_PREFIX);
        if !interface.flags.contains(up)
            || interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
            || pods
        {
            continue;
        }
        let Some(address) = interface.address else { continue };
        let address = address
            .as_sockaddr_in()
            .map(|v4| IpAddr::V4(v4.ip()))
            .or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())));
        let Some(address) = address.filter(|address| !is_link_local(address)) else { continue };
        if !found.iter().any(|known| known.is_ipv4() == address.is_ipv4()) {
            found.push(address);
        }
    }
    found.sort_by_key(IpAddr::is_ipv6);
    if found.is_empty() {
        found.push(IpAddr::from([127, 0, 0, 1]));
    }
    found
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}
