use std::path::PathBuf;

use ipnet::{Ipv4Net, Ipv6Net};

use super::label::interface_name;
use crate::Error;

/// The kernel's limit on names (`IFNAMSIZ` without the closing zero).
pub(crate) const MAX_INTERFACE_NAME_BYTES: usize = 15;

/// IPv6's own minimum; below it, nothing of the day works.
const MIN_MTU: u32 = 1280;
const MAX_MTU: u32 = 65_535;

/// How a [`BridgeNetwork`](crate::BridgeNetwork) is set up.
#[derive(Clone, Debug)]
pub struct BridgeConfig {
    /// The bridge's interface name, at most 15 bytes and of this node alone. [`BridgeConfig::new`]
    /// derives one from the state folder.
    pub bridge: String,
    /// Where pods get their IPv4 addresses from. `None` picks a /24 of the private address space
    /// that nothing on the machine uses, and keeps to it across restarts.
    pub pod_cidr: Option<Ipv4Net>,
    /// The range that picking tries first, unless it keeps to an earlier one.
    pub preferred: Option<Ipv4Net>,
    /// Where pods get an IPv6 address from beside the IPv4 one; at least as large as `pod_cidr`.
    pub pod_cidr_v6: Option<Ipv6Net>,
    /// A folder of this node alone that lives as long as the node does. It tells the node's bridge
    /// from another's and holds the file `pod-cidr`.
    pub state_dir: PathBuf,
    /// The largest packet in bytes. `None` takes that of the machine's default route.
    pub mtu: Option<u32>,
    /// Ranges that picking leaves free though the machine doesn't know them, such as that of
    /// service addresses.
    pub avoid: Vec<Ipv4Net>,
}

impl BridgeConfig {
    /// A bridge that everything is chosen for. Picking stays clear of 10.96.0.0/12, the customary
    /// range of service addresses.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        let state_dir: PathBuf = state_dir.into();
        // The same folder must give the same name wherever the program was started.
        let state_dir = std::path::absolute(&state_dir).unwrap_or(state_dir);
        Self {
            bridge: interface_name("pinnace-", &state_dir.to_string_lossy()),
            pod_cidr: None,
            preferred: None,
            pod_cidr_v6: None,
            state_dir,
            mtu: None,
            avoid: vec![Ipv4Net::new_assert([10, 96, 0, 0].into(), 12)],
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let invalid = |field, reason: String| Err(Error::InvalidConfig { field, reason });
        let name = self.bridge.as_str();
        let legal = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%');
        let usable = (1..=MAX_INTERFACE_NAME_BYTES).contains(&name.len())
            && name.bytes().all(legal)
            && !matches!(name, "." | "..");
        if !usable {
            return invalid("bridge", format!("{name:?} is no interface name"));
        }
        match self.mtu {
            Some(mtu) if !(MIN_MTU..=MAX_MTU).contains(&mtu) => {
                invalid("mtu", format!("{mtu} is not within {MIN_MTU} and {MAX_MTU}"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_kernel_refuses_are_refused_first() {
        let check = |name: &str| {
            BridgeConfig { bridge: name.to_owned(), ..BridgeConfig::new("/tmp/x") }.check()
        };
        for name in ["", "sixteen-bytes-xx", "a b", "a/b", "..", "a:b", "pod%d"] {
            assert!(matches!(check(name), Err(Error::InvalidConfig { field: "bridge", .. })));
        }
        assert!(check("pinnace0").is_ok());
        assert!(BridgeConfig::new("/var/lib/pinnace").check().is_ok());
    }
}
