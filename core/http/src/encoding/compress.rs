use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::StreamExt as _;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderValue, VARY};
use http::{HeaderMap, Response};
use http_body_util::BodyDataStream;

use crate::{Body, BoxError};

/// Compresses a large answer when the client takes that. It is done piece by piece, as it is sent.
pub(crate) fn compress(request: &HeaderMap, response: Response<Body>) -> Response<Body> {
    if !response.body().is_large()
        || !takes_gzip(request)
        || response.headers().contains_key(CONTENT_ENCODING)
    {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    // As upstream: the fastest level, which gets most of what there is to get from JSON.
    let encoder = GzEncoder::new(Vec::new(), Compression::new(1));
    let pieces = BodyDataStream::new(body);
    let stream = futures::stream::unfold((pieces, Some(encoder)), |(mut pieces, encoder)| async {
        let mut encoder = encoder?;
        loop {
            match pieces.next().await {
                Some(Ok(piece)) => {
                    if let Err(error) = encoder.write_all(&piece) {
                        return Some((Err(error.into()), (pieces, None)));
                    }
                    let ready = std::mem::take(encoder.get_mut());
                    if !ready.is_empty() {
                        return Some((Ok(Bytes::from(ready)), (pieces, Some(encoder))));
                    }
                }
                Some(Err(error)) => return Some((Err(error), (pieces, None))),
                None => {
                    let end = encoder.finish().map(Bytes::from).map_err(BoxError::from);
                    return Some((end, (pieces, None)));
                }
            }
        }
    });
    Response::from_parts(parts, Body::stream(stream))
}

fn takes_gzip(request: &HeaderMap) -> bool {
    let values = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|one| {
        let (name, parameters) = one.split_once(';').unwrap_or((one, ""));
        let refused = parameters.replace(' ', "");
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(&*refused, "q=0" | "q=0.0")
    })
}
