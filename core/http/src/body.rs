use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt as _};
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::limits::{CHUNK_BYTES, COMPRESS_FROM_BYTES};

/// Whatever may go wrong with a body on its way.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request, from whatever it came over.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// The body of an answer: shared bytes, put together as they are sent.
pub struct Body(Inner);

enum Inner {
    /// All is there, in pieces that are shared with whoever else reads them.
    Pieces { pieces: VecDeque<Bytes>, bytes: u64 },
    /// It is made as it is sent.
    Chunks(Box<dyn Iterator<Item = Bytes> + Send>),
    /// It comes as it comes.
    Stream(BoxStream<'static, Result<Bytes, BoxError>>),
    /// As a stream, and mostly nothing comes.
    Watch(BoxStream<'static, Result<Bytes, BoxError>>),
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self::pieces(VecDeque::new())
    }

    /// Pieces in their order.
    pub(crate) fn pieces(pieces: VecDeque<Bytes>) -> Self {
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self(Inner::Pieces { pieces, bytes })
    }

    /// Chunks, each made when the one before is sent. As many as are worth compressing are made at
    /// once: with fewer it is known how long the answer is.
    pub(crate) fn chunks(mut chunks: impl Iterator<Item = Bytes> + Send + 'static) -> Self {
        let (mut first, mut bytes) = (VecDeque::new(), 0);
        while bytes <= COMPRESS_FROM_BYTES {
            let Some(chunk) = chunks.next() else { return Self::pieces(first) };
            bytes += chunk.len();
            first.push_back(chunk);
        }
        Self(Inner::Chunks(Box::new(first.into_iter().chain(chunks))))
    }

    /// Whatever a stream gives.
    pub(crate) fn stream(
        stream: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
    ) -> Self {
        Self(Inner::Stream(Box::pin(stream)))
    }

    /// The events of a watch.
    pub(crate) fn watch(
        events: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
    ) -> Self {
        Self(Inner::Watch(Box::pin(events)))
    }

    /// Whether this is a watch, for which a connection may be kept for hours.
    pub(crate) fn is_watch(&self) -> bool {
        matches!(self.0, Inner::Watch(_))
    }

    /// Keeps something until the last byte is sent, or none will be. What is all there is not
    /// waited for.
    pub(crate) fn holding<T: Send + 'static>(self, held: T) -> Self {
        let held = move |chunk| {
            let _ = &held;
            chunk
        };
        match self.0 {
            Inner::Stream(stream) => Self(Inner::Stream(stream.map(held).boxed())),
            Inner::Watch(events) => Self(Inner::Watch(events.map(held).boxed())),
            there => Self(there),
        }
    }

    /// How many bytes there will be, where that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        match &self.0 {
            Inner::Pieces { bytes, .. } => Some(*bytes),
            Inner::Chunks(_) | Inner::Stream(_) | Inner::Watch(_) => None,
        }
    }

    /// Whether it is all there, or can be made at once, and large enough to be compressed.
    pub(crate) fn is_large(&self) -> bool {
        match &self.0 {
            Inner::Pieces { bytes, .. } => *bytes > COMPRESS_FROM_BYTES as u64,
            Inner::Chunks(_) => true,
            Inner::Stream(_) | Inner::Watch(_) => false,
        }
    }

    /// The next bytes, in chunks of a size that is worth sending.
    fn next_chunk(pieces: &mut VecDeque<Bytes>) -> Option<Bytes> {
        let first = pieces.pop_front()?;
        let Some(second) = pieces.front() else { return Some(first) };
        if first.len() >= CHUNK_BYTES || first.len() + second.len() > CHUNK_BYTES {
            return Some(first);
        }
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        chunk.extend_from_slice(&first);
        while let Some(next) = pieces.front() {
            if chunk.len() + next.len() > CHUNK_BYTES {
                break;
            }
            chunk.extend_from_slice(next);
            pieces.pop_front();
        }
        Some(chunk.freeze())
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Inner::Pieces { pieces, bytes } => {
                let chunk = Self::next_chunk(pieces);
                *bytes -= chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
                Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
            }
            Inner::Chunks(chunks) => Poll::Ready(chunks.next().map(|chunk| Ok(Frame::data(chunk)))),
            Inner::Stream(stream) | Inner::Watch(stream) => {
                stream.as_mut().poll_next(cx).map(|next| next.map(|bytes| bytes.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Pieces { pieces, .. } => pieces.is_empty(),
            Inner::Chunks(_) | Inner::Stream(_) | Inner::Watch(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::empty() } else { Self::pieces([bytes].into()) }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({:?})", self.length())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn small_pieces_travel_together_and_large_ones_alone() {
        let large = Bytes::from(vec![b'x'; CHUNK_BYTES]);
        let pieces = [Bytes::from_static(b"a"), Bytes::from_static(b"b"), large.clone()];
        let mut body = Body::pieces(pieces.into());
        assert_eq!(body.length(), Some(2 + CHUNK_BYTES as u64));
        let mut next = async || body.frame().await.map(|frame| frame.unwrap().into_data().unwrap());
        assert_eq!(next().await.unwrap(), "ab");
        let second = next().await.unwrap();
        assert_eq!((second.as_ptr(), second.len()), (large.as_ptr(), large.len()), "shared");
        assert!(next().await.is_none());
    }
}
