//! The protobuf form of objects (`application/vnd.kubernetes.protobuf`), which clients in Go
//! prefer.
//!
//! Messages and JSON are turned into each other with a table of field numbers, made from
//! Kubernetes' own types; nothing is generated per type. What is absent in JSON is absent on the
//! wire, which readers of Kubernetes' messages take for the same. Kinds that are known only at run
//! time have no protobuf form.
//!
//! An object stands in an envelope: the bytes `k8s\0`, then a message of its type and its body
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding>).

mod decode;
mod encode;
mod envelope;
mod table;
#[cfg(test)]
mod tests;

pub use decode::SIZE_MAX;
pub use envelope::{decode, encode, envelope, list, watch_frame};

use crate::{ApiError, Reason, Result};

/// The media type of an object.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// The media type of a stream of watch events.
pub const MEDIA_TYPE_WATCH: &str = "application/vnd.kubernetes.protobuf;stream=watch";

/// Whether objects of a kind have a protobuf form.
pub fn supports(api_version: &str, kind: &str) -> bool {
    table::Table::builtin().message_of(api_version, kind).is_some()
}

/// The body of an object's message, without the envelope, from its JSON form.
///
/// # Errors
/// `NotAcceptable` for a kind that has no protobuf form, `InternalError` for JSON that does not
/// fit the kind.
pub(crate) fn body(api_version: &str, kind: &str, json: &[u8]) -> Result<Vec<u8>> {
    let message = message_of(api_version, kind)?;
    let mut out = Vec::with_capacity(json.len());
    encode::body(&mut out, message, json).map_err(|error| ApiError::encode(&error))?;
    Ok(out)
}

fn message_of(api_version: &str, kind: &str) -> Result<table::MessageId> {
    table::Table::builtin().message_of(api_version, kind).ok_or_else(|| {
        let message = format!("object of kind {kind} in {api_version} has no protobuf form");
        ApiError::new(Reason::NotAcceptable, message)
    })
}
