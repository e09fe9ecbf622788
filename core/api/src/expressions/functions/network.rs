//! Addresses: of machines, of networks and of what they serve.

use std::cmp::Ordering;
use std::net::IpAddr;

use super::super::fault::{Budget, Fault, Outcome};
use super::super::value::{Opaque, Val};
use super::{opaque, text};

fn one<'v>(arguments: &'v [Val<'_>], budget: &Budget) -> Result<&'v str, Fault> {
    match arguments {
        [one] => {
            budget.traverse(one.size())?;
            text(one)
        }
        _ => Err(Fault::no_such_overload()),
    }
}

/// The address of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ip(IpAddr);

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cidr {
    address: IpAddr,
    bits: u8,
}

#[derive(Debug)]
struct Url(url::Url);

fn parse_ip(text: &str) -> Option<Ip> {
    let address: IpAddr = text.parse().ok()?;
    match address {
        // What is an IPv4 address in another form is refused as upstream does.
        IpAddr::V6(address) if address.to_ipv4_mapped().is_some() => None,
        address => Some(Ip(address)),
    }
}

fn parse_cidr(text: &str) -> Option<Cidr> {
    let (address, bits) = text.split_once('/')?;
    let Ip(address) = parse_ip(address)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let plain = bits == "0" || !bits.starts_with(['0', '+']);
    let bits: u8 = bits.parse().ok().filter(|bits| plain && *bits <= most)?;
    Some(Cidr { address, bits })
}

fn parse_url(text: &str) -> Option<Url> {
    if text.starts_with('/') {
        // A path alone is one too: it is kept below a host that nobody sees.
        return url::Url::parse(&format!("none://-{text}")).ok().map(Url);
    }
    let parsed = url::Url::parse(text).ok()?;
    text.contains("://").then_some(Url(parsed))
}

pub(super) fn ip<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    if let [Val::Opaque(own)] = arguments {
        return own.call("ip", &[]).unwrap_or_else(|| Err(Fault::no_such_overload()));
    }
    let text = one(arguments, budget)?;
    let wrong =
        || Fault::new(format!("IP Address {text:?} parse error during conversion from string"));
    parse_ip(text).map(opaque).ok_or_else(wrong)
}

pub(super) fn is_ip<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    Ok(Val::Bool(parse_ip(one(arguments, budget)?).is_some()))
}

pub(super) fn is_canonical<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let text = one(arguments, budget)?;
    match parse_ip(text) {
        Some(ip) => Ok(Val::Bool(ip.key() == text)),
        None => Err(Fault::new(format!(
            "IP Address {text:?} parse error during conversion from string"
        ))),
    }
}

pub(super) fn cidr<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let text = one(arguments, budget)?;
    let wrong = || Fault::new("network address parse error during conversion from string");
    parse_cidr(text).map(opaque).ok_or_else(wrong)
}

pub(super) fn is_cidr<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    Ok(Val::Bool(parse_cidr(one(arguments, budget)?).is_some()))
}

pub(super) fn url<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    let text = one(arguments, budget)?;
    let wrong = || Fault::new(format!("URL parse error during conversion from string: {text:?}"));
    parse_url(text).map(opaque).ok_or_else(wrong)
}

pub(super) fn is_url<'a>(arguments: &[Val<'a>], budget: &Budget) -> Outcome<'a> {
    Ok(Val::Bool(parse_url(one(arguments, budget)?).is_some()))
}

impl Opaque for Ip {
    fn type_name(&self) -> &'static str {
        "net.IP"
    }

    fn call<'a>(&self, function: &str, arguments: &[Val<'a>]) -> Option<Outcome<'a>> {
        if !arguments.is_empty() {
            return None;
        }
        let address = self.0;
        let link_local_unicast = match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        let link_local_multicast = match address {
            IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
            IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
        };
        Some(Ok(Val::Bool(match function {
            "family" => return Some(Ok(Val::Int(if address.is_ipv4() { 4 } else { 6 }))),
            "isUnspecified" => address.is_unspecified(),
            "isLoopback" => address.is_loopback(),
            "isLinkLocalMulticast" => link_local_multicast,
            "isLinkLocalUnicast" => link_local_unicast,
            "isGlobalUnicast" => {
                let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
                !(broadcast
                    || address.is_unspecified()
                    || address.is_loopback()
                    || address.is_multicast()
                    || link_local_unicast)
            }
            _ => return None,
        })))
    }

    fn key(&self) -> String {
        self.0.to_string()
    }
}

impl Cidr {
    fn masked(self) -> Self {
        let (address, bits) = (self.address, u32::from(self.bits));
        let address = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
                IpAddr::V4((u32::from(address) & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
                IpAddr::V6((u128::from(address) & mask).into())
            }
        };
        Self { address, ..self }
    }

    fn has(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && Self { address, bits: self.bits }.masked().address == self.masked().address
    }
}

impl Opaque for Cidr {
    fn type_name(&self) -> &'static str {
        "net.CIDR"
    }

    fn call<'a>(&self, function: &str, arguments: &[Val<'a>]) -> Option<Outcome<'a>> {
        let wrong = || Fault::new("network address parse error during conversion from string");
        Some(Ok(match (function, arguments) {
            ("ip", []) => opaque(Ip(self.address)),
            ("masked", []) => opaque(self.masked()),
            ("prefixLength", []) => Val::Int(self.bits.into()),
            ("containsIP", [one]) => {
                let text = match one {
                    Val::Opaque(own) => own.key(),
                    other => match text(other) {
                        Ok(text) => text.to_owned(),
                        Err(fault) => return Some(Err(fault)),
                    },
                };
                match parse_ip(&text) {
                    Some(Ip(address)) => Val::Bool(self.has(address)),
                    None => return Some(Err(wrong())),
                }
            }
            ("containsCIDR", [one]) => {
                let text = match one {
                    Val::Opaque(own) => own.key(),
                    other => match text(other) {
                        Ok(text) => text.to_owned(),
                        Err(fault) => return Some(Err(fault)),
                    },
                };
                match parse_cidr(&text) {
                    Some(other) => {
                        Val::Bool(other.bits >= self.bits && self.has(other.masked().address))
                    }
                    None => return Some(Err(wrong())),
                }
            }
            _ => return None,
        }))
    }

    fn key(&self) -> String {
        format!("{}/{}", self.address, self.bits)
    }
}

impl Opaque for Url {
    fn type_name(&self) -> &'static str {
        "kubernetes.URL"
    }

    fn call<'a>(&self, function: &str, arguments: &[Val<'a>]) -> Option<Outcome<'a>> {
        if !arguments.is_empty() {
            return None;
        }
        let only_path = self.0.scheme() == "none";
        let host = if only_path { "" } else { self.0.host_str().unwrap_or("") };
        let port = self.0.port().map(|port| port.to_string()).unwrap_or_default();
        let made: String = match function {
            "getScheme" if only_path => String::new(),
            "getScheme" => self.0.scheme().to_owned(),
            "getHost" if port.is_empty() => host.to_owned(),
            "getHost" => format!("{host}:{port}"),
            "getHostname" => host.trim_matches(['[', ']']).to_owned(),
            "getPort" => port,
            "getEscapedPath" => self.0.path().to_owned(),
            "getQuery" => {
                let mut all: std::collections::BTreeMap<String, Vec<Val<'a>>> = Default::default();
                for (name, value) in self.0.query_pairs() {
                    all.entry(name.into_owned()).or_default().push(Val::text(value.as_ref()));
                }
                let all = all.into_iter().map(|(name, values)| {
                    (super::super::value::MapKey::Text(name.into()), Val::list(values))
                });
                return Some(Ok(Val::Map(std::sync::Arc::new(all.collect()))));
            }
            _ => return None,
        };
        Some(Ok(Val::text(made)))
    }

    fn compare(&self, other: &dyn Opaque) -> Option<Ordering> {
        Some(self.key().cmp(&other.key()))
    }

    fn key(&self) -> String {
        let text = self.0.as_str();
        text.strip_prefix("none://-").unwrap_or(text).to_owned()
    }
}
