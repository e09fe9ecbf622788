//! SPDY/3.1, as far as clients of Kubernetes speak it: streams with headers, without flow control.
//!
//! See <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>.

use std::collections::HashMap;
use std::io;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;

/// Bytes of a frame; what is longer is no frame of a client of ours.
const MAX_FRAME: usize = 1024 * 1024;
/// Bytes of the headers of a stream, unpacked.
const MAX_HEADERS: usize = 64 * 1024;
/// Streams that are open at once.
const MAX_STREAMS: usize = 1024;
/// Pieces of data that may wait for whoever reads a stream, frames that may wait to be sent, and
/// streams that may wait to be taken.
const PIECES: usize = 16;
const FRAMES: usize = 32;
const NEW_STREAMS: usize = 32;
/// Bytes of a data frame that we send.
pub(super) const DATA_BYTES: usize = 32 * 1024;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FIN: u8 = 1;
/// The status of a stream that is not taken.
const REFUSED: u32 = 3;

/// A stream that the client has opened.
pub(super) struct SpdyStream {
    pub(super) headers: HashMap<String, String>,
    /// What the client sends, until it says that this was all.
    pub(super) incoming: mpsc::Receiver<Bytes>,
    pub(super) outgoing: Outgoing,
}

/// The way back to the client on a stream.
#[derive(Clone)]
pub(super) struct Outgoing {
    id: u32,
    frames: mpsc::Sender<Bytes>,
}

impl Outgoing {
    /// Sends data, and says whether this was all; `false` when the client has gone.
    pub(super) async fn send(&self, data: &[u8], last: bool) -> bool {
        let mut frame = BytesMut::with_capacity(data.len() + 8);
        frame.put_u32(self.id);
        frame.put_u32((u32::from(if last { FIN } else { 0 }) << 24) | length(data.len()));
        frame.extend_from_slice(data);
        self.frames.send(frame.freeze()).await.is_ok()
    }

    /// Sends all that a reader gives, and its end.
    pub(super) async fn copy(&self, from: Option<impl AsyncRead + Unpin>) {
        if let Some(mut from) = from {
            let mut buffer = vec![0; DATA_BYTES];
            while let Ok(read) = from.read(&mut buffer).await {
                if read == 0 || !self.send(&buffer[..read], false).await {
                    break;
                }
            }
        }
        self.send(b"", true).await;
    }
}

/// Serves a connection: `handle` is given each stream that the client opens. It ends with the
/// connection, or when `handle` has ended.
///
/// # Errors
/// What is wrong with the connection or with what came over it.
pub(super) async fn serve<T, H, F>(transport: T, handle: H) -> io::Result<()>
where
    T: AsyncRead + AsyncWrite,
    H: FnOnce(mpsc::Receiver<SpdyStream>) -> F,
    F: Future<Output = ()>,
{
    let (read, mut write) = tokio::io::split(transport);
    let (frames, mut waiting) = mpsc::channel::<Bytes>(FRAMES);
    let (opened, streams) = mpsc::channel(NEW_STREAMS);
    let writer = async {
        while let Some(frame) = waiting.recv().await {
            write.write_all(&frame).await?;
            if waiting.is_empty() {
                write.flush().await?;
            }
        }
        write.flush().await
    };
    let reader = Reader {
        transport: read,
        headers_in: Decompress::new(true),
        headers_out: HeaderWriter::new()?,
        streams: HashMap::new(),
        frames,
        opened,
    };
    // The reader holds a way to the writer: what `handle` has sent is written before all ends.
    let run = async {
        tokio::select! {
            read = reader.run() => read,
            () = handle(streams) => Ok(()),
        }
    };
    let (ran, wrote) = tokio::join!(run, writer);
    ran.and(wrote)
}

struct Reader<R> {
    transport: R,
    headers_in: Decompress,
    headers_out: HeaderWriter,
    streams: HashMap<u32, mpsc::Sender<Bytes>>,
    frames: mpsc::Sender<Bytes>,
    opened: mpsc::Sender<SpdyStream>,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    async fn run(mut self) -> io::Result<()> {
        loop {
            let mut head = [0; 8];
            match self.transport.read_exact(&mut head).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                other => other?,
            };
            let (first, second) = ((&head[..4]).get_u32(), (&head[4..]).get_u32());
            let (flags, size) = ((second >> 24) as u8, (second & 0x00ff_ffff) as usize);
            if size > MAX_FRAME {
                return Err(invalid("a frame is too long"));
            }
            let mut payload = vec![0; size];
            self.transport.read_exact(&mut payload).await?;
            let payload = Bytes::from(payload);
            if first & 0x8000_0000 == 0 {
                self.data(first, flags, payload).await;
                continue;
            }
            match (first & 0xffff) as u16 {
                SYN_STREAM => self.open(flags, payload).await?,
                RST_STREAM if payload.len() >= 4 => {
                    self.streams.remove(&(&payload[..4]).get_u32());
                }
                PING => self.send(control(PING, 0, &payload)).await,
                GOAWAY => return Ok(()),
                // Settings and windows are nothing that clients of ours depend on.
                _ => {}
            }
        }
    }

    async fn data(&mut self, id: u32, flags: u8, data: Bytes) {
        if let Some(stream) = self.streams.get(&id)
            && !data.is_empty()
            && stream.send(data).await.is_err()
        {
            // Nobody reads it any more: the rest is dropped.
            self.streams.remove(&id);
        }
        if flags & FIN != 0 {
            self.streams.remove(&id);
        }
    }

    async fn open(&mut self, flags: u8, mut payload: Bytes) -> io::Result<()> {
        if payload.len() < 10 {
            return Err(invalid("a stream begins without a head"));
        }
        let id = payload.get_u32() & 0x7fff_ffff;
        payload.advance(6);
        // Unpacked whatever becomes of the stream: each block is packed with those before it.
        let headers = read_headers(&inflate(&mut self.headers_in, &payload)?)?;
        if self.streams.len() >= MAX_STREAMS || self.streams.contains_key(&id) {
            let mut refusal = BytesMut::new();
            refusal.put_u32(id);
            refusal.put_u32(REFUSED);
            self.send(control(RST_STREAM, 0, &refusal)).await;
            return Ok(());
        }
        let mut reply = BytesMut::new();
        reply.put_u32(id);
        reply.extend_from_slice(&self.headers_out.none()?);
        self.send(control(SYN_REPLY, 0, &reply)).await;
        let (data, incoming) = mpsc::channel(PIECES);
        if flags & FIN == 0 {
            self.streams.insert(id, data);
        }
        let outgoing = Outgoing { id, frames: self.frames.clone() };
        // When nobody takes streams any more, the connection is about to end.
        drop(self.opened.send(SpdyStream { headers, incoming, outgoing }).await);
        Ok(())
    }

    async fn send(&mut self, frame: Bytes) {
        // A writer that has failed ends the connection by itself.
        drop(self.frames.send(frame).await);
    }
}

fn control(kind: u16, flags: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 8);
    frame.put_u16(0x8003);
    frame.put_u16(kind);
    frame.put_u32((u32::from(flags) << 24) | length(payload.len()));
    frame.extend_from_slice(payload);
    frame.freeze()
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX) & 0x00ff_ffff
}

fn inflate(inflater: &mut Decompress, mut packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(4096);
    let mut knows_dictionary = false;
    loop {
        if out.len() == out.capacity() {
            if out.len() >= MAX_HEADERS {
                return Err(invalid("the headers of a stream are too long"));
            }
            out.reserve(out.capacity());
        }
        let before = (inflater.total_in(), out.len());
        let result = inflater.decompress_vec(packed, &mut out, FlushDecompress::Sync);
        let taken = usize::try_from(inflater.total_in() - before.0).unwrap_or(usize::MAX);
        packed = packed.get(taken..).unwrap_or_default();
        match result {
            Err(error) if error.needs_dictionary().is_some() && !knows_dictionary => {
                inflater.set_dictionary(&dictionary()).map_err(io::Error::other)?;
                knows_dictionary = true;
            }
            Err(error) => return Err(io::Error::other(error)),
            Ok(Status::StreamEnd) => return Ok(out),
            Ok(_) if packed.is_empty() && out.len() < out.capacity() => return Ok(out),
            Ok(_) if taken == 0 && out.len() == before.1 && out.len() < out.capacity() => {
                return Err(invalid("the headers of a stream end early"));
            }
            Ok(_) => {}
        }
    }
}

fn read_headers(mut block: &[u8]) -> io::Result<HashMap<String, String>> {
    let number = |block: &mut &[u8]| -> io::Result<usize> {
        if block.len() < 4 {
            return Err(invalid("the headers of a stream end early"));
        }
        Ok(block.get_u32() as usize)
    };
    let text = |block: &mut &[u8]| -> io::Result<String> {
        let size = number(block)?;
        if size > block.len() {
            return Err(invalid("the headers of a stream end early"));
        }
        let (text, rest) = block.split_at(size);
        *block = rest;
        Ok(String::from_utf8_lossy(text).into_owned())
    };
    let count = number(&mut block)?;
    let mut headers = HashMap::new();
    for _ in 0..count {
        let name = text(&mut block)?.to_ascii_lowercase();
        headers.insert(name, text(&mut block)?);
    }
    Ok(headers)
}

/// Packs the headers of our answers, of which there are none.
struct HeaderWriter(Compress);

impl HeaderWriter {
    fn new() -> io::Result<Self> {
        let mut deflater = Compress::new(Compression::new(1), true);
        deflater.set_dictionary(&dictionary()).map_err(io::Error::other)?;
        Ok(Self(deflater))
    }

    fn none(&mut self) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(256);
        self.0
            .compress_vec(&0u32.to_be_bytes(), &mut out, FlushCompress::Sync)
            .map_err(io::Error::other)?;
        Ok(out)
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// The text that both sides have seen before the first header: section 2.6.10.1 of the protocol.
/// It begins with words that each have their length before them.
fn dictionary() -> Vec<u8> {
    const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding \
        accept-language accept-ranges age allow authorization cache-control connection \
        content-base content-encoding content-language content-length content-location \
        content-md5 content-range content-type date etag expect expires from host if-match \
        if-modified-since if-none-match if-range if-unmodified-since last-modified location \
        max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after \
        server te trailer transfer-encoding upgrade user-agent vary via warning \
        www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
        keep-alive origin";
    const REST: &str = "100101201202205206300302303304305306307402405406407408409410411412413414\
        415416417502504505203 Non-Authoritative Information204 No Content301 Moved Permanently\
        400 Bad Request401 Unauthorized403 Forbidden404 Not Found500 Internal Server Error\
        501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov \
        Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,\
        image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,\
        publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    let mut out = Vec::with_capacity(1423);
    for word in WORDS.split_whitespace() {
        out.put_u32(u32::try_from(word.len()).unwrap_or(u32::MAX));
        out.extend(word.bytes().map(|byte| if byte == b'_' { b' ' } else { byte }));
    }
    out.extend_from_slice(REST.as_bytes());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_that_of_the_protocol() {
        let dictionary = dictionary();
        assert_eq!(dictionary.len(), 1423);
        let mut deflater = Compress::new(Compression::new(1), true);
        assert_eq!(deflater.set_dictionary(&dictionary).unwrap(), 0xe3c6_a7c2);
    }

    fn pack(deflater: &mut Compress, headers: &[(&str, &str)]) -> Vec<u8> {
        let mut block = BytesMut::new();
        block.put_u32(headers.len() as u32);
        for (name, value) in headers {
            for text in [name, value] {
                block.put_u32(text.len() as u32);
                block.extend_from_slice(text.as_bytes());
            }
        }
        let mut out = Vec::with_capacity(4096);
        deflater.compress_vec(&block, &mut out, FlushCompress::Sync).unwrap();
        out
    }

    #[tokio::test]
    async fn streams_are_opened_answered_and_closed() {
        let (ours, mut theirs) = tokio::io::duplex(4096);
        let served = serve(ours, async |mut streams| {
            for _ in 0..2 {
                let mut stream = streams.recv().await.unwrap();
                let data = stream.incoming.recv().await.unwrap();
                assert!(stream.incoming.recv().await.is_none(), "the client has said all");
                let answer = format!("{} {}", stream.headers["port"], data.len());
                assert!(stream.outgoing.send(answer.as_bytes(), true).await);
            }
        });
        let client = async {
            let mut deflater = HeaderWriter::new().unwrap().0;
            for (id, port) in [(1u32, "80"), (3, "8080")] {
                let mut head = BytesMut::new();
                head.put_u32(id);
                head.put_slice(&[0; 6]);
                head.extend_from_slice(&pack(&mut deflater, &[("Port", port), ("x", "y")]));
                theirs.write_all(&control(SYN_STREAM, 0, &head)).await.unwrap();
                let mut data = BytesMut::new();
                data.put_u32(id);
                data.put_u32((u32::from(FIN) << 24) | 3);
                data.put_slice(b"abc");
                theirs.write_all(&data).await.unwrap();
            }
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.unwrap();
            all
        };
        let (served, all) = tokio::join!(served, client);
        served.unwrap();
        let text = String::from_utf8_lossy(&all);
        assert!(text.contains("80 3") && text.contains("8080 3"), "{text:?}");
    }

    #[tokio::test]
    async fn garbage_ends_the_connection() {
        for garbage in [&[0xff; 64][..], &control(SYN_STREAM, 0, &[1; 64])] {
            let (ours, mut theirs) = tokio::io::duplex(4096);
            theirs.write_all(garbage).await.unwrap();
            drop(theirs);
            let ended = serve(ours, async |mut streams| while streams.recv().await.is_some() {});
            assert!(ended.await.is_err());
        }
    }
}
