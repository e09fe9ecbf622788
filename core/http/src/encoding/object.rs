use std::sync::Arc;

use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use pinnace_api::printing::{self, IncludeObject, Printer, TableOptions};
use pinnace_api::{ApiError, Object, Reason, Resource, Result, Subresource, protobuf};
use serde_json::{Value, json};

use super::indent::indent;
use super::{Accepted, Encoding, Shape, yaml};
use crate::Body;
use crate::response::reply;

/// How objects of a kind are shown to a client.
pub(crate) struct View {
    pub(crate) accepted: Accepted,
    /// What the objects are.
    pub(crate) api_version: String,
    pub(crate) kind: String,
    /// The kind that was asked for, or a part of it.
    pub(crate) resource: Arc<Resource>,
    pub(crate) part: Option<Subresource>,
    pub(crate) now: Timestamp,
}

impl View {
    fn printer(&self) -> Arc<dyn Printer> {
        match self.part {
            Some(Subresource::Scale) => printing::builtin("autoscaling", "v1", "Scale"),
            _ => self.resource.printer(),
        }
    }

    /// An object as an answer.
    ///
    /// # Errors
    /// `NotAcceptable` for a shape that only lists have; `InternalError` when it cannot be read.
    pub(crate) fn object(&self, code: StatusCode, object: &Object) -> Result<Response<Body>> {
        let accepted = self.accepted;
        match (accepted.shape, accepted.encoding) {
            (Shape::Whole, Encoding::Json) => Ok(json_reply(code, object.json(), accepted)),
            (Shape::Whole, Encoding::Protobuf) => {
                let body = protobuf::envelope(&self.api_version, &self.kind, &object.protobuf()?);
                Ok(reply(code, accepted.media_type(), body))
            }
            (Shape::Whole, Encoding::Yaml) => value(code, &object.to_value()?, accepted),
            (Shape::Metadata, _) => value(code, &metadata(object)?, accepted),
            (Shape::Table(include), _) => {
                let metadata = ListMeta {
                    resource_version: object.meta().resource_version.clone(),
                    ..ListMeta::default()
                };
                self.table(code, std::slice::from_ref(object), include, metadata)
            }
            (Shape::MetadataList, _) => Err(ApiError::new(
                Reason::NotAcceptable,
                "you requested PartialObjectMetadataList, but the requested object is not a list",
            )),
        }
    }

    /// Objects as a table.
    pub(super) fn table(
        &self,
        code: StatusCode,
        objects: &[Object],
        include: IncludeObject,
        metadata: ListMeta,
    ) -> Result<Response<Body>> {
        let options = TableOptions { include, no_headers: false, metadata };
        let json = printing::table(&*self.printer(), objects, &options, self.now)?;
        encoded(code, json.into(), self.accepted)
    }
}

/// The metadata of an object as an object of its own.
pub(super) fn metadata(object: &Object) -> Result<Value> {
    let mut metadata = object.meta().clone();
    let managed = object.managed_fields();
    metadata.managed_fields = (!managed.is_empty()).then(|| managed.to_vec());
    let metadata = serde_json::to_value(metadata).map_err(|error| ApiError::encode(&error))?;
    Ok(json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
    }))
}

/// A value that is no object of the catalog, whole.
///
/// # Errors
/// `InternalError` when it has no text form.
pub(crate) fn value(code: StatusCode, value: &Value, accepted: Accepted) -> Result<Response<Body>> {
    match accepted.encoding {
        Encoding::Yaml => Ok(reply(code, accepted.media_type(), yaml::to_string(value))),
        Encoding::Protobuf => {
            let text = |name: &str| value[name].as_str().unwrap_or_default();
            let json = serde_json::to_vec(value).map_err(|error| ApiError::encode(&error))?;
            let body = protobuf::encode(text("apiVersion"), text("kind"), &json)?;
            Ok(reply(code, accepted.media_type(), body))
        }
        Encoding::Json => {
            let json = serde_json::to_vec(value).map_err(|error| ApiError::encode(&error))?;
            Ok(json_reply(code, json.into(), accepted))
        }
    }
}

/// JSON in the encoding that the client takes.
///
/// # Errors
/// `InternalError`.
pub(super) fn encoded(code: StatusCode, json: Bytes, accepted: Accepted) -> Result<Response<Body>> {
    if accepted.encoding == Encoding::Json {
        return Ok(json_reply(code, json, accepted));
    }
    let tree = serde_json::from_slice(&json).map_err(|error| ApiError::decode(&error))?;
    value(code, &tree, accepted)
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
