use std::io::Write as _;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use serde_json::json;

use super::Printer;
use crate::{ApiError, Object, Result};

/// How much of each row's object is sent along: `includeObject` of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata, as a `PartialObjectMetadata`.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl IncludeObject {
    /// Reads the parameter of a request; absent is metadata.
    ///
    /// # Errors
    /// `BadRequest` for a word that is not among the three.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        match text.unwrap_or_default() {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::None),
            "Object" => Ok(Self::Object),
            other => {
                Err(ApiError::bad_request(format!("unrecognized includeObject value: {other:?}")))
            }
        }
    }
}

/// How a table is made.
#[derive(Clone, Debug, Default)]
pub struct TableOptions {
    /// What is sent of each object.
    pub include: IncludeObject,
    /// Leave out the columns, as in all events of a watch but the first.
    pub no_headers: bool,
    /// `metadata` of the table: that of the list, or the resource version of a single object.
    pub metadata: ListMeta,
}

/// Objects as a `Table` of `meta.k8s.io/v1`, in JSON. Objects that are sent whole are copied from
/// their JSON form as it is.
///
/// # Errors
/// `InternalError` when an object is not of the printer's kind.
pub fn table(
    printer: &dyn Printer,
    objects: &[Object],
    options: &TableOptions,
    now: Timestamp,
) -> Result<Vec<u8>> {
    let mut ordered = objects.to_vec();
    printer.sort(&mut ordered);
    let mut out = Vec::with_capacity(1024 + 512 * objects.len());
    out.extend_from_slice(br#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":"#);
    put(&mut out, &options.metadata)?;
    out.extend_from_slice(br#","columnDefinitions":"#);
    let columns = if options.no_headers { &[] } else { printer.columns() };
    put(&mut out, columns)?;
    out.extend_from_slice(br#","rows":["#);
    for (index, object) in ordered.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        row(&mut out, printer, object, options.include, now)?;
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

fn row(
    out: &mut Vec<u8>,
    printer: &dyn Printer,
    object: &Object,
    include: IncludeObject,
    now: Timestamp,
) -> Result<()> {
    out.extend_from_slice(br#"{"cells":"#);
    put(out, &printer.cells(object, now)?)?;
    if let Some(completed) = printer.completed(object) {
        let condition = json!([{
            "type": "Completed", "status": "True",
            "reason": completed.reason, "message": completed.message,
        }]);
        write!(out, r#","conditions":{condition}"#).map_err(ApiError::internal)?;
    }
    out.extend_from_slice(br#","object":"#);
    match include {
        IncludeObject::None => out.extend_from_slice(b"null"),
        IncludeObject::Object => out.extend_from_slice(&object.json()),
        IncludeObject::Metadata => {
            out.extend_from_slice(
                br#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#,
            );
            put(out, object.meta())?;
            out.push(b'}');
        }
    }
    out.push(b'}');
    Ok(())
}

fn put<T: serde::Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<()> {
    serde_json::to_writer(out, value).map_err(|error| ApiError::encode(&error))
}
