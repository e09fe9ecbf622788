//! The body of a request: read within bounds, decoded by its content type, checked for fields that
//! its kind does not have.

mod strict;

use std::fmt;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::BodyExt as _;
use pinnace_api::patch::Patch;
use pinnace_api::schema::{TypeRef, unknown_fields};
use pinnace_api::{ApiError, Reason, Result, manifest, protobuf};
use pinnace_client::{FieldValidation, WriteOptions};
use serde_json::Value;

use crate::RequestBody;
use crate::limits::{BODY_TIMEOUT, MAX_BODY_BYTES};

/// Bytes of a body that are shown when it cannot be read.
const SUMMARY_BYTES: usize = 30;

/// Reads a whole body.
///
/// # Errors
/// `RequestEntityTooLarge` past [`MAX_BODY_BYTES`], `BadRequest` when it ends early, `Timeout`
/// when it does not come.
pub(crate) async fn read_body(headers: &HeaderMap, body: RequestBody) -> Result<Bytes> {
    let too_large = || {
        let message = format!("Request entity is too large: limit is {MAX_BODY_BYTES}");
        ApiError::new(Reason::RequestEntityTooLarge, message)
    };
    let announced =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: usize| length > MAX_BODY_BYTES) {
        return Err(too_large());
    }
    let read = async {
        let mut body = body;
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|error| ApiError::bad_request(format!("the body ended early: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if first.len() + all.len() + data.len() > MAX_BODY_BYTES {
                return Err(too_large());
            }
            // Most bodies are one frame, which needs no copy.
            if first.is_empty() && all.is_empty() {
                first = data;
                continue;
            }
            all.extend_from_slice(&std::mem::take(&mut first));
            all.extend_from_slice(&data);
        }
        Ok(if all.is_empty() { first } else { all.freeze() })
    };
    tokio::time::timeout(BODY_TIMEOUT, read).await.map_err(|_| {
        ApiError::new(Reason::Timeout, "the body of the request did not arrive in time")
    })?
}

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Yaml,
    Protobuf,
}

/// The media type of a body, without its parameters; empty for none.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim()
}

/// How an object in a body is encoded.
///
/// # Errors
/// `UnsupportedMediaType`.
pub(crate) fn format(headers: &HeaderMap) -> Result<Format> {
    match media_type(headers) {
        "" | "application/json" | "*/*" | "application/*" => Ok(Format::Json),
        "application/yaml" => Ok(Format::Yaml),
        protobuf::MEDIA_TYPE => Ok(Format::Protobuf),
        _ => Err(unsupported(&["application/json", "application/yaml", protobuf::MEDIA_TYPE])),
    }
}

fn unsupported(accepted: &[&str]) -> ApiError {
    let accepted = accepted.join(", ");
    ApiError::new(
        Reason::UnsupportedMediaType,
        format!(
            "the body of the request was in an unknown format - accepted media types include: \
             {accepted}"
        ),
    )
}

/// A document with what is to be said of its fields.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) value: Value,
    /// What is to be said of fields that are there twice, of which the last one counts; and of unknown
    /// ones, if `typed`. In upstream's words.
    problems: Vec<String>,
    /// What YAML says of keys that are there twice: each in a line of one problem.
    repeated: Vec<String>,
    typed: bool,
}

impl Document {
    /// Reads a body. `expected` is the version and kind of one in protobuf that says nothing; `kind`
    /// is given where unknown fields matter.
    ///
    /// # Errors
    /// `BadRequest`.
    pub(crate) fn read(
        format: Format,
        body: &[u8],
        expected: (&str, &str),
        kind: Option<TypeRef<'_>>,
    ) -> Result<Self> {
        let unrecognized = |why: &dyn fmt::Display| {
            let (kind, shown) = (expected.1, summary(body));
            let of = format!("(must be of type {kind})");
            ApiError::bad_request(format!(
                "the object provided is unrecognized {of}: {why} ({shown})"
            ))
        };
        let whole =
            |value| Self { value, problems: Vec::new(), repeated: Vec::new(), typed: false };
        match format {
            // As upstream: custom kinds are looked at for unknown fields after they have been read.
            Format::Json => {
                Self::json(body, kind.filter(|kind| !kind.name().is_empty())).map_err(|error| {
                    let why = format!("couldn't get version/kind; json parse error: {error}");
                    unrecognized(&why)
                })
            }
            Format::Yaml => Self::yaml(body).map_err(|error| unrecognized(&error.message())),
            Format::Protobuf => protobuf::decode(body, Some(expected))
                .map(whole)
                .map_err(|error| unrecognized(&error)),
        }
    }

    fn json(body: &[u8], kind: Option<TypeRef<'_>>) -> serde_json::Result<Self> {
        let (value, problems) = strict::read(body, kind)?;
        Ok(Self { value, problems, repeated: Vec::new(), typed: kind.is_some() })
    }

    fn yaml(body: &[u8]) -> Result<Self> {
        // Much YAML is JSON, which is read faster; what is wrong with it is for the other to say.
        if body.trim_ascii_start().starts_with(b"{")
            && let Ok(document) = Self::json(body, None)
            && document.problems.is_empty()
        {
            return Ok(document);
        }
        let (value, repeated) = manifest::read_body(body)?;
        Ok(Self { value, problems: Vec::new(), repeated, typed: false })
    }

    /// What is said of keys that are there twice in YAML, as one problem.
    fn repetition(&self) -> Option<String> {
        let lines = self.repeated.join("\n  ");
        (!lines.is_empty()).then(|| format!("yaml: unmarshal errors:\n  {lines}"))
    }

    /// Deals with fields that are unknown or there twice as `options` say.
    ///
    /// # Errors
    /// `BadRequest` under strict validation.
    pub(crate) fn check_fields(
        &mut self,
        kind: Option<TypeRef<'_>>,
        options: &WriteOptions,
    ) -> Result<()> {
        let strict = match options.field_validation {
            FieldValidation::Ignore => return Ok(()),
            FieldValidation::Warn => false,
            FieldValidation::Strict => true,
        };
        let mut problems = if strict {
            self.repetition().into_iter().collect()
        } else {
            std::mem::take(&mut self.repeated)
        };
        problems.append(&mut self.problems);
        if let Some(kind) = kind.filter(|_| !self.typed) {
            problems.extend(unknown_fields(kind, &self.value));
        }
        if strict && !problems.is_empty() {
            return Err(strict_error(&self.value, &problems));
        }
        problems.into_iter().for_each(|problem| options.warnings.add(problem));
        Ok(())
    }

    /// Deals with keys that are there twice in what is to be applied.
    ///
    /// # Errors
    /// `BadRequest` under strict validation.
    fn check_applied(&self, options: &WriteOptions) -> Result<()> {
        let Some(repetition) = self.repetition() else { return Ok(()) };
        match options.field_validation {
            FieldValidation::Ignore => {}
            FieldValidation::Warn => {
                self.repeated.iter().for_each(|line| options.warnings.add(line));
            }
            FieldValidation::Strict => {
                return Err(ApiError::bad_request(format!(
                    "error strict decoding YAML: error converting YAML to JSON: {repetition}"
                )));
            }
        }
        Ok(())
    }
}

/// The beginning of a body that cannot be read: as text where it may be JSON, else in hexadecimal.
fn summary(body: &[u8]) -> String {
    let start = &body[..body.len().min(SUMMARY_BYTES)];
    let rest = if body.len() > SUMMARY_BYTES { " ..." } else { "" };
    match start {
        [] => "<empty>".to_owned(),
        [b'{', ..] => format!("{}{rest}", String::from_utf8_lossy(start)),
        _ => {
            let mut text = String::with_capacity(2 * start.len() + rest.len());
            for byte in start {
                text.push_str(&format!("{byte:02x}"));
            }
            text + rest
        }
    }
}

fn strict_error(value: &Value, problems: &[String]) -> ApiError {
    let text = |name: &str| value[name].as_str().unwrap_or_default();
    let kind = text("kind");
    let api_version = text("apiVersion");
    let version = api_version.rsplit('/').next().unwrap_or_default();
    ApiError::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
        problems.join(", ")
    ))
}

/// The kind of patch that a content type announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PatchType {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl PatchType {
    /// By the request's headers; `strategic` says whether the kind knows how its lists merge.
    ///
    /// # Errors
    /// `UnsupportedMediaType`, naming what is supported.
    pub(crate) fn of(headers: &HeaderMap, strategic: bool) -> Result<Self> {
        match media_type(headers) {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if strategic => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            _ => {
                let mut accepted =
                    vec!["application/json-patch+json", "application/merge-patch+json"];
                if strategic {
                    accepted.push("application/strategic-merge-patch+json");
                }
                accepted.push("application/apply-patch+yaml");
                Err(unsupported(&accepted))
            }
        }
    }

    /// Reads a patch. What is wrong with its fields is added to the options: the rest shows in what
    /// it makes of an object.
    ///
    /// # Errors
    /// `BadRequest`.
    pub(crate) fn read(self, body: &[u8], options: &mut WriteOptions) -> Result<Patch> {
        let wrong = |error: &dyn fmt::Display| {
            ApiError::bad_request(format!("error decoding patch: {error}"))
        };
        match self {
            Self::Json => {
                let read = strict::read_operations(body);
                let (patch, problems) = read.map_err(|error| wrong(&error))?;
                options.problems = problems.iter().map(|it| format!("json patch {it}")).collect();
                if !patch.is_array() {
                    let message = "error decoding patch: a JSON patch is a list of operations";
                    return Err(ApiError::bad_request(message));
                }
                Ok(Patch::Json(patch))
            }
            Self::Merge | Self::Strategic => {
                let document = Document::json(body, None).map_err(|error| wrong(&error))?;
                if !document.value.is_object() {
                    let message = "error decoding patch: a merge patch is an object";
                    return Err(ApiError::bad_request(message));
                }
                options.problems = document.problems;
                let merge = if self == Self::Merge { Patch::Merge } else { Patch::StrategicMerge };
                Ok(merge(document.value))
            }
            Self::Apply => {
                let document = Document::yaml(body).map_err(|error| {
                    let why = error.message();
                    let why = format!("error decoding YAML: error converting YAML to JSON: {why}");
                    ApiError::bad_request(why)
                })?;
                document.check_applied(options)?;
                // Fields that its type does not have are refused when it is applied, whatever
                // validation was asked for: nobody could own them.
                Ok(Patch::Apply(document.value))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::stream;
    use http_body_util::StreamBody;
    use http_body_util::combinators::UnsyncBoxBody;
    use hyper::body::Frame;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_cut_off() {
        let trickle = stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_millis(900)).await;
            Some((Ok(Frame::data(Bytes::from_static(b" "))), ()))
        });
        let start = Instant::now();
        let read = read_body(&HeaderMap::new(), UnsyncBoxBody::new(StreamBody::new(trickle))).await;
        assert_eq!(read.unwrap_err().reason(), Reason::Timeout);
        assert_eq!(start.elapsed(), BODY_TIMEOUT);
    }
}
