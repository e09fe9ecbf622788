use bytes::Bytes;
use http::{Response, StatusCode};
use pinnace_api::{ApiError, Object, Result};
use serde_json::{Value, json};

use super::indent::indent;
use super::{Accepted, Encoding, Shape, yaml};
use crate::Body;
use crate::response::reply;

/// Whether answers can be written in a form.
pub(super) fn is_written(accepted: Accepted) -> bool {
    accepted.encoding != Encoding::Protobuf && accepted.shape != Shape::Table
}

/// An object as an answer.
///
/// # Errors
/// `NotAcceptable` for a shape that only lists have; `InternalError` when it cannot be read.
pub(crate) fn object(
    code: StatusCode,
    object: &Object,
    accepted: Accepted,
) -> Result<Response<Body>> {
    match (accepted.shape, accepted.encoding) {
        (Shape::Whole, Encoding::Json) => Ok(json_reply(code, object.json(), accepted)),
        (Shape::Whole, _) => value(code, &object.to_value()?, accepted),
        (Shape::Metadata, _) => value(code, &metadata(object)?, accepted),
        (Shape::MetadataList | Shape::Table, _) => Err(not_a_list()),
    }
}

/// The metadata of an object as an object of its own.
pub(super) fn metadata(object: &Object) -> Result<Value> {
    let metadata = serde_json::to_value(object.meta()).map_err(|error| ApiError::encode(&error))?;
    Ok(json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
    }))
}

/// A value that is no object of the catalog, whole.
///
/// # Errors
/// `InternalError` when it has no text form.
pub(crate) fn value(code: StatusCode, value: &Value, accepted: Accepted) -> Result<Response<Body>> {
    if accepted.encoding == Encoding::Yaml {
        return Ok(reply(code, accepted.media_type(), yaml::to_string(value)));
    }
    let json = serde_json::to_vec(value).map_err(|error| ApiError::encode(&error))?;
    Ok(json_reply(code, json.into(), Accepted { encoding: Encoding::Json, ..accepted }))
}

/// A `Status` of success.
///
/// # Errors
/// As [`value`].
pub(crate) fn status(
    code: StatusCode,
    details: Value,
    accepted: Accepted,
) -> Result<Response<Body>> {
    let mut status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
    });
    if details.is_null() {
        status["code"] = code.as_u16().into();
    } else {
        status["details"] = details;
    }
    value(code, &status, accepted)
}

fn json_reply(code: StatusCode, json: Bytes, accepted: Accepted) -> Response<Body> {
    let json = if accepted.pretty { indent(&json).into() } else { json };
    let body = Body::pieces([json, Bytes::from_static(b"\n")].into());
    reply(code, accepted.media_type(), body)
}

fn not_a_list() -> ApiError {
    ApiError::new(
        pinnace_api::Reason::NotAcceptable,
        "you requested PartialObjectMetadataList, but the requested object is not a list",
    )
}
