use std::{io, num::NonZeroI32};

use nix::errno::Errno;
use rtnetlink::{
    packet_core::{
        NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    },
    packet_route::RouteNetlinkMessage,
    sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE},
};

/// One read takes what the kernel sends at once, which is at most 32 KiB.
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;

/// Messages sent at once: the answers to all of them wait in the socket's buffer.
const MAX_BATCH: usize = 64;

/// How often a dump is asked for again when the tables changed while the kernel walked them.
const MAX_DUMP_ATTEMPTS: usize = 20;

/// Set in a part of a dump when the tables changed meanwhile (`linux/netlink.h`).
const NLM_F_DUMP_INTR: u16 = 0x10;

/// A route socket for threads of our own: it sends several messages with one system call and
/// waits for their answers. It speaks of the network namespace it was opened in for as long as it
/// lives, whichever thread uses it.
pub(crate) struct RouteSocket {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// A message and the `NLM_F_*` flags that say what to do with it.
pub(crate) type Request = (RouteNetlinkMessage, u16);

impl RouteSocket {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.set_cap_ack(true)?;
        socket.set_ext_ack(true)?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(RECEIVE_BUFFER_BYTES) })
    }

    /// Has the kernel do all of `requests` in their order. It goes on after one that fails; the
    /// first failure is reported.
    pub(crate) fn execute(&mut self, mut requests: Vec<Request>) -> io::Result<()> {
        let mut result = Ok(());
        while !requests.is_empty() {
            let rest = requests.split_off(requests.len().min(MAX_BATCH));
            result = result.and(self.execute_batch(requests)?);
            requests = rest;
        }
        result
    }

    /// The outer result is that of talking to the kernel, the inner one what it said.
    fn execute_batch(&mut self, requests: Vec<Request>) -> io::Result<io::Result<()>> {
        let mut unanswered = requests.len();
        let first = self.send(requests, NLM_F_ACK)?;
        let mut failure: Option<(u32, io::Error)> = None;
        while unanswered > 0 {
            for message in self.receive()? {
                let sequence = message.header.sequence_number;
                // An answer to an earlier batch that was given up is nobody's concern.
                if sequence.wrapping_sub(first) > u32::MAX / 2 {
                    continue;
                }
                if let NetlinkPayload::Error(answer) = message.payload {
                    unanswered -= 1;
                    let earlier = failure.as_ref().is_none_or(|(known, _)| sequence < *known);
                    if let (Some(code), true) = (answer.code, earlier) {
                        failure = Some((sequence, refusal(code, &answer.header)));
                    }
                }
            }
        }
        Ok(failure.map_or(Ok(()), |(_, error)| Err(error)))
    }

    /// Asks for one object, such as a link by name.
    pub(crate) fn get(&mut self, request: RouteNetlinkMessage) -> io::Result<RouteNetlinkMessage> {
        let sequence = self.send(vec![(request, 0)], 0)?;
        loop {
            for message in self.receive()? {
                if message.header.sequence_number != sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(answer) => return Ok(answer),
                    NetlinkPayload::Error(answer) => {
                        let code = answer.code.map(|code| refusal(code, &answer.header));
                        return Err(code.unwrap_or_else(|| io::ErrorKind::InvalidData.into()));
                    }
                    _ => {}
                }
            }
        }
    }

    /// Lists a table: a consistent snapshot of it, also when others change it meanwhile.
    pub(crate) fn dump(
        &mut self,
        request: &RouteNetlinkMessage,
    ) -> io::Result<Vec<RouteNetlinkMessage>> {
        for _ in 0..MAX_DUMP_ATTEMPTS {
            if let Some(table) = self.try_dump(request.clone())? {
                return Ok(table);
            }
        }
        Err(io::Error::new(io::ErrorKind::Interrupted, "the kernel's tables keep changing"))
    }

    fn try_dump(
        &mut self,
        request: RouteNetlinkMessage,
    ) -> io::Result<Option<Vec<RouteNetlinkMessage>>> {
        let sequence = self.send(vec![(request, NLM_F_DUMP)], 0)?;
        let mut table = Vec::new();
        let mut consistent = true;
        loop {
            for message in self.receive()? {
                if message.header.sequence_number != sequence {
                    continue;
                }
                consistent &= message.header.flags & NLM_F_DUMP_INTR == 0;
                match message.payload {
                    NetlinkPayload::InnerMessage(entry) => table.push(entry),
                    NetlinkPayload::Done(done) if done.code < 0 => {
                        return Err(io::Error::from_raw_os_error(-done.code));
                    }
                    NetlinkPayload::Done(_) => return Ok(consistent.then_some(table)),
                    NetlinkPayload::Error(answer) => {
                        if let Some(code) = answer.code {
                            return Err(refusal(code, &answer.header));
                        }
                    }
                    _ => {}
                }
            }
        }
    }

    /// Sends all requests at once and returns the sequence number of the first.
    fn send(&mut self, requests: Vec<Request>, flags: u16) -> io::Result<u32> {
        let first = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        for (request, own_flags) in requests {
            self.sequence = self.sequence.wrapping_add(1);
            let mut header = NetlinkHeader::default();
            header.flags = NLM_F_REQUEST | flags | own_flags;
            header.sequence_number = self.sequence;
            let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(request));
            message.finalize();
            let start = bytes.len();
            bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
            message.serialize(&mut bytes[start..]);
        }
        retry_interrupted(|| self.socket.send(&bytes, 0))?;
        Ok(first)
    }

    /// What the kernel has to say next. A message that this version of the packet library can't
    /// read is left out: it is about something that is not ours.
    fn receive(&mut self) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
        self.buffer.clear();
        retry_interrupted(|| self.socket.recv(&mut self.buffer, 0))?;
        let mut messages = Vec::new();
        let mut rest = self.buffer.as_slice();
        while let Some(length) = rest.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)) {
            let length = length as usize;
            if length < HEADER_BYTES || length > rest.len() {
                return Err(io::ErrorKind::InvalidData.into());
            }
            match NetlinkMessage::deserialize(&rest[..length]) {
                Ok(message) => messages.push(message),
                Err(error) => tracing::debug!(%error, "unreadable netlink message left out"),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(messages)
    }
}

const HEADER_BYTES: usize = 16;
const ATTRIBUTE_MESSAGE: u16 = 1;
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;

/// The errno of a refused request; the kernel's own words go to the log. `details` are the
/// request's header and then attributes of which one may be a text.
fn refusal(code: NonZeroI32, details: &[u8]) -> io::Error {
    let error = io::Error::from_raw_os_error(code.get().saturating_neg());
    if let Some(words) = kernel_words(details.get(HEADER_BYTES..).unwrap_or_default()) {
        tracing::debug!(%error, words, "the kernel refused a netlink request");
    }
    error
}

fn kernel_words(mut attributes: &[u8]) -> Option<&str> {
    while let Some((header, _)) = attributes.split_first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & ATTRIBUTE_TYPE_MASK;
        let value = attributes.get(4..length)?;
        if kind == ATTRIBUTE_MESSAGE {
            return std::str::from_utf8(value).ok().map(|text| text.trim_end_matches('\0'));
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

fn retry_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Whether `result` failed with `errno`.
pub(crate) fn failed_with<T>(result: &io::Result<T>, errno: Errno) -> bool {
    matches!(result, Err(error) if error.raw_os_error() == Some(errno as i32))
}
