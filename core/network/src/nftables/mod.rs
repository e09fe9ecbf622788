//! The kernel's packet filter, spoken to by netlink: tables that are replaced as a whole, in one
//! transaction, so that there is never half of one.

pub(crate) mod expressions;

use std::io;

use rtnetlink::sys::{Socket, SocketAddr};

/// `NETLINK_NETFILTER` (`linux/netlink.h`).
const NETLINK_NETFILTER: isize = 12;
/// `nfnetlink`'s own messages and the subsystem of nftables (`linux/netfilter/nfnetlink.h`).
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const NFTABLES: u16 = 10;
/// Messages of nftables (`linux/netfilter/nf_tables.h`).
const NEW_TABLE: u16 = NFTABLES << 8;
const DELETE_TABLE: u16 = NFTABLES << 8 | 2;
const NEW_CHAIN: u16 = NFTABLES << 8 | 3;
const NEW_RULE: u16 = NFTABLES << 8 | 6;
/// Flags of messages (`linux/netlink.h`).
const REQUEST: u16 = 1;
const ACKNOWLEDGE: u16 = 4;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;
const ERROR: u16 = 2;
/// Set on an attribute that holds others.
const NESTED: u16 = 0x8000;
const HEADER_BYTES: usize = 16;
/// One read takes what the kernel sends at once.
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;
/// `AF_INET`.
const IPV4: u8 = 2;

/// A chain of address translation, and its rules.
pub(crate) struct NatChain {
    pub(crate) name: &'static str,
    pub(crate) hook: Hook,
    /// Each is the expressions of a rule, one after the other.
    pub(crate) rules: Vec<Vec<u8>>,
}

/// Where a packet meets a chain.
#[derive(Clone, Copy)]
pub(crate) enum Hook {
    /// When it has come in, before it is routed.
    Prerouting,
    /// When this machine sends it.
    Output,
    /// When it is about to leave.
    Postrouting,
}

impl Hook {
    /// Number and priority, as other tools have them.
    fn place(self) -> (u32, i32) {
        match self {
            Self::Prerouting => (0, -100),
            Self::Output => (3, -100),
            Self::Postrouting => (4, 100),
        }
    }
}

/// A socket of the packet filter, of the network namespace it was opened in.
pub(crate) struct FilterSocket {
    socket: Socket,
    sequence: u32,
}

impl FilterSocket {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.set_cap_ack(true)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// Has a table consist of these chains, whatever it was before; without any there is no table.
    pub(crate) fn replace(&mut self, table: &str, chains: &[NatChain]) -> io::Result<()> {
        let name = text(1, table);
        // What is not there cannot be deleted, so it is made first.
        let mut messages = vec![(NEW_TABLE, CREATE, name.clone()), (DELETE_TABLE, 0, name.clone())];
        if !chains.is_empty() {
            messages.push((NEW_TABLE, CREATE, name));
        }
        for chain in chains {
            messages.push((NEW_CHAIN, CREATE, chain_body(table, chain)));
            for rule in &chain.rules {
                let body = [text(1, table), text(2, chain.name), nested(4, rule)].concat();
                messages.push((NEW_RULE, CREATE | APPEND, body));
            }
        }
        self.transact(&messages)
    }

    /// Does all of it or nothing.
    fn transact(&mut self, messages: &[(u16, u16, Vec<u8>)]) -> io::Result<()> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        let mut add =
            |sequence: &mut u32, kind: u16, flags: u16, family: u8, resource: u16, body: &[u8]| {
                *sequence = sequence.wrapping_add(1);
                let length = u32::try_from(HEADER_BYTES + 4 + body.len()).unwrap_or(u32::MAX);
                bytes.extend_from_slice(&length.to_ne_bytes());
                bytes.extend_from_slice(&kind.to_ne_bytes());
                bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
                bytes.extend_from_slice(&sequence.to_ne_bytes());
                bytes.extend_from_slice(&[0; 4]);
                bytes.extend_from_slice(&[family, 0]);
                bytes.extend_from_slice(&resource.to_be_bytes());
                bytes.extend_from_slice(body);
            };
        let sequence = &mut self.sequence;
        add(sequence, BATCH_BEGIN, 0, 0, NFTABLES, &[]);
        for (kind, flags, body) in messages {
            add(sequence, *kind, *flags | ACKNOWLEDGE, IPV4, 0, body);
        }
        add(sequence, BATCH_END, 0, 0, NFTABLES, &[]);
        self.socket.send(&bytes, 0)?;
        self.answers(first, messages.len())
    }

    fn answers(&self, first: u32, mut expected: usize) -> io::Result<()> {
        let mut buffer = Vec::with_capacity(RECEIVE_BUFFER_BYTES);
        while expected > 0 {
            buffer.clear();
            match self.socket.recv(&mut buffer, 0) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                received => received?,
            };
            let mut rest = buffer.as_slice();
            while let Some(header) = rest.first_chunk::<20>() {
                let [a, b, c, d, kind_low, kind_high, ..] = *header;
                let length = u32::from_ne_bytes([a, b, c, d]) as usize;
                let kind = u16::from_ne_bytes([kind_low, kind_high]);
                let sequence = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
                let code = i32::from_ne_bytes([header[16], header[17], header[18], header[19]]);
                // An answer to an earlier batch is nobody's concern.
                if kind == ERROR && sequence.wrapping_sub(first) <= u32::MAX / 2 {
                    if code != 0 {
                        return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                    }
                    expected = expected.saturating_sub(1);
                }
                if length < HEADER_BYTES {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
        Ok(())
    }
}

fn chain_body(table: &str, chain: &NatChain) -> Vec<u8> {
    let (hook, priority) = chain.hook.place();
    let place = [number(1, hook), attribute(2, &priority.to_be_bytes())].concat();
    [text(1, table), text(3, chain.name), nested(4, &place), text(7, "nat")].concat()
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn nested(kind: u16, value: &[u8]) -> Vec<u8> {
    attribute(kind | NESTED, value)
}

fn text(kind: u16, value: &str) -> Vec<u8> {
    attribute(kind, &[value.as_bytes(), &[0]].concat())
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}
