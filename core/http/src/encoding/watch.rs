use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use pinnace_api::printing::{self, TableOptions};
use pinnace_api::{ApiError, Object, Reason, Resource, Result, protobuf};
use pinnace_client::{WatchEvent, WatchStream};
use pinnace_env::Clock;
use serde_json::{Value, json};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::object::metadata;
use super::{Accepted, Encoding, Shape};
use crate::BoxError;
use crate::limits::CHUNK_BYTES;

/// What marks the bookmark that ends the initial events.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// Puts the events of a watch in the form that its client takes. Objects are not encoded here but
/// bring their JSON, which all watchers share.
pub(crate) struct WatchFrames {
    resource: Arc<Resource>,
    shape: Shape,
    encoding: Encoding,
    clock: Clock,
    /// Whether a table has told its columns, as only the first does.
    headed: bool,
}

impl WatchFrames {
    pub(crate) fn new(resource: Arc<Resource>, accepted: Accepted, clock: &Clock) -> Self {
        let Accepted { shape, encoding, .. } = accepted;
        Self { resource, shape, encoding, clock: clock.clone(), headed: false }
    }

    /// Appends one event.
    ///
    /// # Errors
    /// `InternalError` when an object has no text form.
    pub(crate) fn write(&mut self, event: &WatchEvent, out: &mut BytesMut) -> Result<()> {
        match event {
            WatchEvent::Added(object) => self.write_object("ADDED", object, out),
            WatchEvent::Modified(object) => self.write_object("MODIFIED", object, out),
            WatchEvent::Deleted(object) => self.write_object("DELETED", object, out),
            WatchEvent::Bookmark(revision, initial_end) => {
                self.write_bookmark(*revision, *initial_end, out)
            }
        }
    }

    fn write_object(&mut self, kind: &str, object: &Object, out: &mut BytesMut) -> Result<()> {
        match self.shape {
            Shape::Whole if self.encoding == Encoding::Protobuf => {
                let (version, of) = (self.resource.api_version(), &self.resource.kind);
                let object = protobuf::envelope(&version, of, &object.protobuf()?);
                out.extend_from_slice(&protobuf::watch_frame(kind, &object));
            }
            Shape::Whole => frame(kind, &object.json(), out),
            Shape::Table(include) => {
                let metadata = ListMeta {
                    resource_version: object.meta().resource_version.clone(),
                    ..ListMeta::default()
                };
                let options = TableOptions { include, no_headers: self.headed, metadata };
                self.headed = true;
                let objects = std::slice::from_ref(object);
                let printer = &*self.resource.printer();
                frame(kind, &printing::table(printer, objects, &options, self.clock.now())?, out);
            }
            Shape::Metadata | Shape::MetadataList => {
                self.write_value(kind, &metadata(object)?, out)?;
            }
        }
        Ok(())
    }

    /// Appends an event about something that is in no store.
    fn write_value(&self, kind: &str, value: &Value, out: &mut BytesMut) -> Result<()> {
        let json = serde_json::to_vec(value).map_err(|error| ApiError::encode(&error))?;
        if self.encoding == Encoding::Protobuf {
            let text = |name: &str| value[name].as_str().unwrap_or_default();
            let object = protobuf::encode(text("apiVersion"), text("kind"), &json)?;
            out.extend_from_slice(&protobuf::watch_frame(kind, &object));
        } else {
            frame(kind, &json, out);
        }
        Ok(())
    }

    fn write_bookmark(&self, revision: u64, initial_end: bool, out: &mut BytesMut) -> Result<()> {
        let mut metadata = json!({"resourceVersion": revision.to_string()});
        if initial_end {
            metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
        }
        let (kind, api_version) = match self.shape {
            Shape::Whole => (&*self.resource.kind, self.resource.api_version()),
            Shape::Table(_) => {
                let table = json!({
                    "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                    "columnDefinitions": null, "rows": [],
                });
                return self.write_value("BOOKMARK", &table, out);
            }
            _ => ("PartialObjectMetadata", "meta.k8s.io/v1".into()),
        };
        let object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        self.write_value("BOOKMARK", &object, out)
    }

    /// Appends an error, which ends a watch.
    pub(crate) fn write_error(&self, error: &ApiError, out: &mut BytesMut) {
        let status = serde_json::to_value(error.to_status());
        let status = status.map_err(|error| ApiError::encode(&error));
        if let Err(error) = status.and_then(|status| self.write_value("ERROR", &status, out)) {
            tracing::error!(%error, "a status has no form");
        }
    }
}

fn frame(kind: &str, object: &[u8], out: &mut BytesMut) {
    out.reserve(object.len() + 40);
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
}

/// The events of a watch as bytes. While nothing happens it holds no buffer; what happens at once
/// travels together. Nothing is read ahead of the client: one that is too slow finds that the log
/// of events has gone on without it.
pub(crate) struct WatchBody {
    events: WatchStream,
    frames: WatchFrames,
    end: Pin<Box<Sleep>>,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
}

impl WatchBody {
    pub(crate) fn new(
        events: WatchStream,
        frames: WatchFrames,
        timeout: Duration,
        stop: &CancellationToken,
    ) -> Self {
        Self {
            events,
            frames,
            end: Box::pin(tokio::time::sleep(timeout)),
            stop: Box::pin(stop.clone().cancelled_owned()),
            ended: false,
        }
    }
}

impl Stream for WatchBody {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended
            || this.stop.as_mut().poll(cx).is_ready()
            || this.end.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(None);
        }
        let mut out = BytesMut::new();
        while out.len() < CHUNK_BYTES && !this.ended {
            let written = match this.events.poll_next_unpin(cx) {
                Poll::Pending if out.is_empty() => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(Some(event)) => {
                    event.and_then(|event| this.frames.write(&event, &mut out))
                }
                Poll::Ready(None) => {
                    this.ended = true;
                    Ok(())
                }
            };
            if let Err(error) = written {
                this.ended = true;
                // An engine that ends says so by ending the watch.
                if error.reason() != Reason::ServiceUnavailable {
                    this.frames.write_error(&error, &mut out);
                }
            }
        }
        Poll::Ready((!out.is_empty()).then(|| Ok(out.freeze())))
    }
}
