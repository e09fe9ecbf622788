use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use serde_json::Value;

use super::decode::{self, DecodeError, SIZE_MAX, Wire, each, text};
use super::encode::{self, bytes, close, open, string};
use super::message_of;
use crate::{ApiError, Object, Reason, Result};

/// What every object in protobuf begins with.
const MAGIC: &[u8] = b"k8s\0";
/// Field numbers of the envelope and of the type within it.
const TYPE: u32 = 1;
const BODY: u32 = 2;
const API_VERSION: u32 = 1;
const KIND: u32 = 2;
/// Field numbers of a list.
const METADATA: u32 = 1;
const ITEMS: u32 = 2;
/// Room for what stands around a body.
const AROUND: usize = 64;

/// Puts the body of a message ([`Object::protobuf`]) into the envelope that names its type.
pub fn envelope(api_version: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(AROUND + api_version.len() + kind.len() + body.len());
    head(&mut out, api_version, kind);
    bytes(&mut out, BODY, body);
    out
}

fn head(out: &mut Vec<u8>, api_version: &str, kind: &str) {
    out.extend_from_slice(MAGIC);
    let start = open(out, TYPE);
    string(out, API_VERSION, api_version);
    string(out, KIND, kind);
    close(out, start);
}

/// The protobuf form of anything that has one, from its JSON form: objects, lists, `Status`,
/// options, reviews.
///
/// # Errors
/// `NotAcceptable` for a kind that has no protobuf form, `InternalError` for JSON that does not
/// fit the kind.
pub fn encode(api_version: &str, kind: &str, json: &[u8]) -> Result<Vec<u8>> {
    let message = message_of(api_version, kind)?;
    let mut out = Vec::with_capacity(AROUND + json.len());
    head(&mut out, api_version, kind);
    let start = open(&mut out, BODY);
    encode::body(&mut out, message, json).map_err(|error| ApiError::encode(&error))?;
    close(&mut out, start);
    Ok(out)
}

/// A list of objects, from the form that each keeps.
///
/// # Errors
/// As [`encode`].
pub fn list(api_version: &str, kind: &str, meta: &ListMeta, objects: &[Object]) -> Result<Vec<u8>> {
    message_of(api_version, kind)?;
    let bodies = objects.iter().map(Object::protobuf).collect::<Result<Vec<_>>>()?;
    let size: usize = bodies.iter().map(|body| body.len() + 8).sum();
    let mut out = Vec::with_capacity(2 * AROUND + size);
    head(&mut out, api_version, kind);
    let start = open(&mut out, BODY);
    let json = serde_json::to_vec(meta).map_err(|error| ApiError::encode(&error))?;
    let metadata = open(&mut out, METADATA);
    let message = super::table::Table::builtin().list_meta();
    encode::body(&mut out, message, &json).map_err(|error| ApiError::encode(&error))?;
    close(&mut out, metadata);
    bodies.iter().for_each(|body| bytes(&mut out, ITEMS, body));
    close(&mut out, start);
    Ok(out)
}

/// An event of a watch as it goes into the stream: its length in four bytes, then the event with
/// the object in its envelope. `event` is `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
pub fn watch_frame(event: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(AROUND + object.len());
    out.extend_from_slice(&[0; 4]);
    string(&mut out, 1, event);
    let start = open(&mut out, 2);
    bytes(&mut out, 1, object);
    close(&mut out, start);
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

/// Reads an object in its envelope into its JSON form. `expected` is what the object is when the
/// envelope does not say.
///
/// # Errors
/// `RequestEntityTooLarge` beyond [`SIZE_MAX`]; `BadRequest` for what is no protobuf of a kind
/// that has such a form, or is nested too deeply.
pub fn decode(bytes: &[u8], expected: Option<(&str, &str)>) -> Result<Value> {
    if bytes.len() > SIZE_MAX {
        let message = format!("limit is {SIZE_MAX} bytes");
        return Err(ApiError::new(Reason::RequestEntityTooLarge, message));
    }
    let bad =
        |error: DecodeError| ApiError::bad_request(format!("cannot decode protobuf: {error}"));
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| {
        ApiError::bad_request("provided data does not appear to be a protobuf message")
    })?;
    let (mut api_version, mut kind, mut body) = ("", "", &[][..]);
    each(rest, |number, wire| {
        match (number, wire) {
            (TYPE, Wire::Bytes(bytes)) => each(bytes, |number, wire| {
                match (number, wire) {
                    (API_VERSION, Wire::Bytes(bytes)) => api_version = text(bytes)?,
                    (KIND, Wire::Bytes(bytes)) => kind = text(bytes)?,
                    _ => {}
                }
                Ok(())
            })?,
            (BODY, Wire::Bytes(bytes)) => body = bytes,
            _ => {}
        }
        Ok(())
    })
    .map_err(bad)?;
    let (default_version, default_kind) = expected.unwrap_or_default();
    api_version = if api_version.is_empty() { default_version } else { api_version };
    kind = if kind.is_empty() { default_kind } else { kind };
    let message = message_of(api_version, kind).map_err(|_| {
        ApiError::bad_request(format!("no kind {kind:?} is registered for version {api_version:?}"))
    })?;
    let mut out = decode::body(body, message).map_err(bad)?;
    out.insert("apiVersion".to_owned(), api_version.into());
    out.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(out))
}
