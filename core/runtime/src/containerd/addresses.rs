use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use crate::namespaces::{Namespaces, enter, on_own_thread};
use crate::{Error, Result};

/// The addresses of a network namespace that others can reach, from the kernel's own tables.
/// Blocks; runs on a thread of its own.
pub(super) fn addresses(network_namespace: &Path) -> Result<Vec<IpAddr>> {
    let namespaces =
        Namespaces { network: Some(network_namespace.to_owned()), ..Namespaces::default() };
    on_own_thread("read pod addresses", move || {
        enter(&namespaces)?;
        let read = |name: &str| {
            let path = format!("/proc/thread-self/net/{name}");
            match std::fs::read_to_string(&path) {
                Ok(text) => Ok(text),
                // A kernel without IPv6 has no such file.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
                Err(source) => Err(Error::Io { operation: format!("read {path}"), source }),
            }
        };
        let mut all: Vec<IpAddr> = ipv4(&read("fib_trie")?).into_iter().map(IpAddr::from).collect();
        all.extend(ipv6(&read("if_inet6")?).into_iter().map(IpAddr::from));
        Ok(all)
    })
}

/// Local addresses of `/proc/net/fib_trie`: an address, then the line that says what it is.
fn ipv4(trie: &str) -> Vec<Ipv4Addr> {
    let mut found: Vec<Ipv4Addr> = Vec::new();
    let mut last = None;
    for line in trie.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line == "/32 host LOCAL"
            && let Some(address) = last
            && !address.is_loopback()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

/// Global addresses of `/proc/net/if_inet6`: address, index, prefix, scope, flags, device.
fn ipv6(table: &str) -> Vec<Ipv6Addr> {
    const GLOBAL: &str = "00";
    let address = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [hex, _, _, GLOBAL, ..] = fields.as_slice() else { return None };
        u128::from_str_radix(hex, 16).ok().map(Ipv6Addr::from)
    };
    table.lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_reachable_addresses_are_taken() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.88.0.0\n        /24 link UNICAST\n     \
                    |-- 10.88.0.7\n        /32 host LOCAL\n     |-- 127.0.0.1\n        /32 host LOCAL\n\
                    Local:\n     |-- 10.88.0.7\n        /32 host LOCAL\n";
        assert_eq!(ipv4(trie), [Ipv4Addr::new(10, 88, 0, 7)]);
        let table = "fe800000000000000000000000000001 02 40 20 80 eth0\n\
                     fd000000000000000000000000000007 02 40 00 80 eth0\n\
                     00000000000000000000000000000001 01 80 10 80 lo\n";
        assert_eq!(ipv6(table), ["fd00::7".parse::<Ipv6Addr>().unwrap()]);
    }

    #[test]
    fn nonsense_gives_nothing() {
        assert!(ipv4("|-- x\n/32 host LOCAL").is_empty());
        assert!(ipv6("zz 1 2 00 3").is_empty());
    }
}
