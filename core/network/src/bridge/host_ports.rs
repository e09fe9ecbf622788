//! Ports of the machine that lead to pods: translated by the kernel, in a table of the bridge's
//! own. The rules follow from a file beside the range of addresses, so that a program that dies
//! loses none, and the next one tells what is still of use.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net};

use super::device::kernel;
use crate::nftables::expressions as when;
use crate::nftables::{FilterSocket, Hook, NatChain};
use crate::{Error, HostPort, Protocol};

const FILE: &str = "host-ports";
/// 127.0.0.0/8.
const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);

/// The ports that lead to the pods of a bridge.
pub(crate) struct HostPorts {
    bridge: String,
    range: Option<Ipv4Net>,
    file: PathBuf,
    /// `None` where there is no packet filter: that is said when a port is asked for.
    socket: io::Result<FilterSocket>,
    pods: BTreeMap<String, Lead>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Lead {
    to: Ipv4Addr,
    ports: Vec<HostPort>,
}

impl HostPorts {
    /// The ports of a bridge, those of before included. In the namespace of the calling thread.
    pub(crate) fn open(bridge: &str, cidrs: &[IpNet], state: &Path) -> Self {
        let range = cidrs.iter().find_map(|cidr| match cidr {
            IpNet::V4(range) => Some(*range),
            IpNet::V6(_) => None,
        });
        let file = state.join(FILE);
        let pods = read(&file);
        let socket = FilterSocket::open();
        Self { bridge: bridge.to_owned(), range, file, socket, pods }
    }

    /// Lets go of the ports of pods that are no more.
    pub(crate) fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        let before = self.pods.len();
        self.pods.retain(|uid, _| is_there(uid));
        if self.pods.len() != before
            && let Err(error) = self.write()
        {
            tracing::warn!(%error, "ports of pods that are gone stay");
        }
    }

    /// Has ports of the machine lead to a pod, instead of those before.
    pub(crate) fn publish(
        &mut self,
        pod_uid: &str,
        addresses: &[IpAddr],
        ports: &[HostPort],
    ) -> Result<(), Error> {
        let to = addresses.iter().find_map(|address| match address {
            IpAddr::V4(address) => Some(*address),
            IpAddr::V6(_) => None,
        });
        let lead = to.map(|to| Lead { to, ports: ports.to_vec() });
        let lead = lead.filter(|lead| !lead.ports.is_empty());
        if self.pods.get(pod_uid) == lead.as_ref() {
            return Ok(());
        }
        let old = match lead {
            Some(lead) => self.pods.insert(pod_uid.to_owned(), lead),
            None => self.pods.remove(pod_uid),
        };
        let done = self.write();
        if done.is_err() {
            match old {
                Some(old) => self.pods.insert(pod_uid.to_owned(), old),
                None => self.pods.remove(pod_uid),
            };
        }
        done
    }

    /// Removes all of it.
    pub(crate) fn remove(&mut self) -> Result<(), Error> {
        if self.pods.is_empty() {
            return Ok(());
        }
        self.pods.clear();
        self.write()
    }

    fn write(&mut self) -> Result<(), Error> {
        if !self.pods.is_empty() {
            self.open_the_bridge()?;
        }
        let chains = self.chains();
        let socket = match &mut self.socket {
            Ok(socket) => socket,
            Err(error) => {
                let source = io::Error::from(error.kind());
                return Err(kernel("open a packet filter for", &self.bridge)(source));
            }
        };
        let replaced = socket.replace(&self.bridge, &chains);
        replaced.map_err(kernel("translate ports to", &self.bridge))?;
        self.remember().map_err(|source| Error::State { path: self.file.clone(), source })
    }

    /// What comes by a port of the machine is routed to the bridge, also from 127.0.0.1. These are
    /// settings of the bridge, and of nothing else.
    fn open_the_bridge(&self) -> Result<(), Error> {
        for setting in ["forwarding", "route_localnet"] {
            let path = format!("/proc/sys/net/ipv4/conf/{}/{setting}", self.bridge);
            fs::write(&path, "1").map_err(kernel("route to", &self.bridge))?;
        }
        let forwards = fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap_or_default();
        if forwards.trim() == "0" {
            tracing::warn!(
                "this machine forwards no packets (net.ipv4.ip_forward is 0): its ports lead to \
                 pods for itself only"
            );
        }
        Ok(())
    }

    fn chains(&self) -> Vec<NatChain> {
        let leads =
            self.pods.values().flat_map(|lead| lead.ports.iter().map(|port| (lead.to, port)));
        let lead = |(to, port): (Ipv4Addr, &HostPort)| {
            let address = match port.address {
                Some(IpAddr::V4(address)) if !address.is_unspecified() => when::to_address(address),
                _ => when::to_this_machine(),
            };
            let asked = when::to_port(port.protocol.number(), port.port);
            [address, asked, when::send_to(to, port.pod_port)].concat()
        };
        let leads: Vec<_> = leads.map(lead).collect();
        if leads.is_empty() {
            return Vec::new();
        }
        // A pod that reaches a pod by the machine would be answered past the machine, and nobody
        // outside of it can answer 127.0.0.1.
        let hidden = [Some(LOOPBACK), self.range].into_iter().flatten().map(|range| {
            let here = [when::from_range(range), when::out_by(&self.bridge)].concat();
            [here, when::was_translated(), when::masquerade()].concat()
        });
        vec![
            NatChain { name: "prerouting", hook: Hook::Prerouting, rules: leads.clone() },
            NatChain { name: "output", hook: Hook::Output, rules: leads },
            NatChain { name: "postrouting", hook: Hook::Postrouting, rules: hidden.collect() },
        ]
    }

    fn remember(&self) -> io::Result<()> {
        if self.pods.is_empty() {
            return match fs::remove_file(&self.file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let new = self.file.with_extension("new");
        let mut file = fs::File::create(&new)?;
        for (uid, lead) in &self.pods {
            for port in &lead.ports {
                let address = port.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
                let HostPort { protocol, port, pod_port, .. } = port;
                let protocol = protocol.name();
                writeln!(file, "{uid} {} {protocol} {address} {port} {pod_port}", lead.to)?;
            }
        }
        fs::rename(&new, &self.file)
    }
}

/// What the file of an earlier program says; a line that cannot be read is left out.
fn read(file: &Path) -> BTreeMap<String, Lead> {
    let mut pods = BTreeMap::new();
    for line in fs::read_to_string(file).unwrap_or_default().lines() {
        let Some((uid, to, port)) = read_line(line) else { continue };
        pods.entry(uid).or_insert_with(|| Lead { to, ports: Vec::new() }).ports.push(port);
    }
    pods
}

fn read_line(line: &str) -> Option<(String, Ipv4Addr, HostPort)> {
    let mut words = line.split(' ');
    let (uid, to) = (words.next()?.to_owned(), words.next()?.parse().ok()?);
    let protocol = Protocol::parse(words.next()?)?;
    let address: IpAddr = words.next()?.parse().ok()?;
    let (port, pod_port) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let address = Some(address).filter(|address| !address.is_unspecified());
    Some((uid, to, HostPort { protocol, address, port, pod_port }))
}
