//! What rules are made of. Each expression reads into, or compares, the first register.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{IPV4, attribute, nested, number, text};

const REGISTER: u32 = 1;
const SECOND_REGISTER: u32 = 2;
/// Sixteen bytes with a closing zero.
const INTERFACE_NAME_BYTES: usize = 16;
/// Keys of `meta`.
const PROTOCOL: u32 = 16;
const OUT_INTERFACE: u32 = 7;
/// Bases of `payload`.
const NETWORK_HEADER: u32 = 1;
const TRANSPORT_HEADER: u32 = 2;
/// In the IPv4 header, and in those of TCP, UDP and SCTP.
const SOURCE_ADDRESS: u32 = 12;
const DESTINATION_ADDRESS: u32 = 16;
const DESTINATION_PORT: u32 = 2;
/// `RTN_LOCAL`: an address of this machine.
const LOCAL: u32 = 2;
/// `IPS_DST_NAT`: the connection's destination was translated.
const TRANSLATED: u32 = 1 << 5;

/// The destination is an address of this machine.
pub(crate) fn to_this_machine() -> Vec<u8> {
    let look = [number(1, REGISTER), number(2, 3), number(3, 2)].concat();
    [expression("fib", &look), equals(&LOCAL.to_ne_bytes())].concat()
}

/// The destination is this address.
pub(crate) fn to_address(address: Ipv4Addr) -> Vec<u8> {
    let read = payload(NETWORK_HEADER, DESTINATION_ADDRESS, 4);
    [read, equals(&address.octets())].concat()
}

/// The source is in this range.
pub(crate) fn from_range(range: Ipv4Net) -> Vec<u8> {
    let read = payload(NETWORK_HEADER, SOURCE_ADDRESS, 4);
    let network = range.network().octets();
    [read, masked(&range.netmask().octets()), equals(&network)].concat()
}

/// The protocol and the destination port are these.
pub(crate) fn to_port(protocol: u8, port: u16) -> Vec<u8> {
    let read = meta(PROTOCOL);
    let port_of = payload(TRANSPORT_HEADER, DESTINATION_PORT, 2);
    [read, equals(&[protocol]), port_of, equals(&port.to_be_bytes())].concat()
}

/// It leaves by this interface.
pub(crate) fn out_by(interface: &str) -> Vec<u8> {
    let mut name = interface.as_bytes().to_vec();
    name.resize(INTERFACE_NAME_BYTES, 0);
    [meta(OUT_INTERFACE), equals(&name)].concat()
}

/// The connection's destination was translated.
pub(crate) fn was_translated() -> Vec<u8> {
    let status = [number(1, REGISTER), number(2, 2)].concat();
    let some = [number(1, REGISTER), number(2, 1), nested(3, &attribute(1, &[0; 4]))].concat();
    [expression("ct", &status), masked(&TRANSLATED.to_ne_bytes()), expression("cmp", &some)]
        .concat()
}

/// Sends it to another address and port.
pub(crate) fn send_to(address: Ipv4Addr, port: u16) -> Vec<u8> {
    let put = |register: u32, value: &[u8]| {
        let data = nested(2, &attribute(1, value));
        expression("immediate", &[number(1, register), data].concat())
    };
    let translate =
        [number(1, 1), number(2, IPV4.into()), number(3, REGISTER), number(5, SECOND_REGISTER)];
    [
        put(REGISTER, &address.octets()),
        put(SECOND_REGISTER, &port.to_be_bytes()),
        expression("nat", &translate.concat()),
    ]
    .concat()
}

/// Has it come from this machine.
pub(crate) fn masquerade() -> Vec<u8> {
    expression("masq", &[])
}

fn meta(key: u32) -> Vec<u8> {
    expression("meta", &[number(1, REGISTER), number(2, key)].concat())
}

fn payload(base: u32, offset: u32, length: u32) -> Vec<u8> {
    let fields = [number(1, REGISTER), number(2, base), number(3, offset), number(4, length)];
    expression("payload", &fields.concat())
}

fn equals(value: &[u8]) -> Vec<u8> {
    let data = nested(3, &attribute(1, value));
    expression("cmp", &[number(1, REGISTER), number(2, 0), data].concat())
}

fn masked(mask: &[u8]) -> Vec<u8> {
    let length = u32::try_from(mask.len()).unwrap_or(4);
    let fields = [
        number(1, REGISTER),
        number(2, REGISTER),
        number(3, length),
        nested(4, &attribute(1, mask)),
        nested(5, &attribute(1, &vec![0; mask.len()])),
    ];
    expression("bitwise", &fields.concat())
}

fn expression(name: &str, data: &[u8]) -> Vec<u8> {
    nested(1, &[text(1, name), nested(2, data)].concat())
}
