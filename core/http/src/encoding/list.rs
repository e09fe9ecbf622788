use std::iter::Peekable;
use std::vec::IntoIter;

use bytes::{Bytes, BytesMut};
use http::{Response, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use pinnace_api::{ApiError, Object, Reason, Resource, Result, protobuf};
use pinnace_client::List;
use serde_json::{Value, json};

use super::object::{encoded, metadata};
use super::{Encoding, Shape, View, value};
use crate::Body;
use crate::limits::CHUNK_BYTES;
use crate::response::reply;

impl View {
    /// A list as an answer. In JSON its items are the bytes that all readers of the objects share.
    ///
    /// # Errors
    /// `NotAcceptable` for a shape that only single objects have; `InternalError`.
    pub(crate) fn list(&self, resource: &Resource, list: List<Object>) -> Result<Response<Body>> {
        let (code, accepted) = (StatusCode::OK, self.accepted);
        match accepted.shape {
            Shape::Whole if accepted.encoding == Encoding::Protobuf => {
                let (version, kind) = (resource.api_version(), &resource.list_kind);
                let body = protobuf::list(&version, kind, &list_meta(&list), &list.items)?;
                Ok(reply(code, accepted.media_type(), body))
            }
            Shape::Whole => {
                let whole = Whole::new(resource, list);
                if accepted.encoding == Encoding::Json && !accepted.pretty {
                    return Ok(reply(code, accepted.media_type(), Body::chunks(whole)));
                }
                let json: Vec<u8> = whole.flatten().collect();
                encoded(code, json.into(), accepted)
            }
            Shape::MetadataList => {
                let items: Vec<Value> = list.items.iter().map(metadata).collect::<Result<_>>()?;
                let tree = json!({
                    "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                    "metadata": list_metadata(&list), "items": items,
                });
                value(code, &tree, accepted)
            }
            Shape::Table(include) => self.table(code, &list.items, include, list_meta(&list)),
            Shape::Metadata => Err(ApiError::new(
                Reason::NotAcceptable,
                "you requested PartialObjectMetadata, but the requested object is a list",
            )),
        }
    }
}

/// A list in JSON, in chunks of a size that is worth sending. Each is put together when the one
/// before is on its way, so that the client reads the first objects while the last are looked at.
struct Whole {
    items: Peekable<IntoIter<Object>>,
    prefix: Option<String>,
    /// What comes before the next item: the head, then commas.
    before: Bytes,
    /// An object that is too large to be copied.
    alone: Option<Bytes>,
    ended: bool,
}

const END: &[u8] = b"]}\n";
/// What an item takes at least, or thereabouts.
const ITEM_BYTES: usize = 256;

impl Whole {
    fn new(resource: &Resource, list: List<Object>) -> Self {
        let head = format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
            resource.list_kind,
            resource.api_version(),
            list_metadata(&list)
        );
        let (prefix, items) = (own_type(resource), list.items.into_iter().peekable());
        Self { items, prefix, before: head.into(), alone: None, ended: false }
    }

    /// The next items that fit, and the end after the last.
    fn gather(&mut self) -> Option<Bytes> {
        let mut chunk =
            BytesMut::with_capacity(CHUNK_BYTES.min((self.items.len() + 1) * ITEM_BYTES));
        while let Some(object) = self.items.peek() {
            let (open, rest) = without_type(object, self.prefix.as_deref());
            let large = rest.len() >= CHUNK_BYTES;
            let copied = self.before.len() + open.len() + if large { 0 } else { rest.len() };
            if chunk.len() + copied > CHUNK_BYTES && !chunk.is_empty() {
                return Some(chunk.freeze());
            }
            chunk.extend_from_slice(&self.before);
            chunk.extend_from_slice(open);
            self.before = Bytes::from_static(b",");
            if large {
                self.alone = Some(object.json_ref().slice_ref(rest));
            } else {
                chunk.extend_from_slice(rest);
            }
            self.items.next();
            if large {
                return Some(chunk.freeze());
            }
        }
        if !self.ended {
            self.ended = true;
            // A list of nothing has not told its head yet.
            let head = if self.before.len() > 1 { &self.before[..] } else { b"" };
            chunk.extend_from_slice(head);
            chunk.extend_from_slice(END);
        }
        (!chunk.is_empty()).then(|| chunk.freeze())
    }
}

impl Iterator for Whole {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.alone.take().or_else(|| self.gather())
    }
}

/// An item as it stands in a list: in built-in kinds it does not say again what it is.
fn without_type<'o>(object: &'o Object, prefix: Option<&str>) -> (&'static [u8], &'o [u8]) {
    let json = object.json_ref();
    match prefix.and_then(|prefix| json.strip_prefix(prefix.as_bytes())) {
        Some(rest) => (b"{", rest),
        None => (b"", json),
    }
}

/// How the items of a list begin that do not say in the list what they are: those of built-in
/// kinds, as upstream has it. Custom ones say it.
fn own_type(resource: &Resource) -> Option<String> {
    if resource.is_custom() {
        return None;
    }
    Some(format!("{{\"apiVersion\":\"{}\",\"kind\":\"{}\",", resource.api_version(), resource.kind))
}

fn list_meta(list: &List<Object>) -> ListMeta {
    ListMeta {
        resource_version: Some(list.revision.to_string()),
        continue_: list.continue_token.clone(),
        remaining_item_count: list.remaining.and_then(|left| i64::try_from(left).ok()),
        ..ListMeta::default()
    }
}

fn list_metadata(list: &List<Object>) -> Value {
    let mut metadata = json!({"resourceVersion": list.revision.to_string()});
    if let Some(token) = &list.continue_token {
        metadata["continue"] = token.as_str().into();
    }
    if let Some(remaining) = list.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    metadata
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use pinnace_api::Catalog;

    use super::*;

    fn config_map(name: &str, bytes: usize) -> Object {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.data = (bytes > 0).then(|| [("text".to_owned(), "x".repeat(bytes))].into());
        Object::new(object)
    }

    fn chunks(items: Vec<Object>) -> Vec<Bytes> {
        let resource = Catalog::builtin().of::<ConfigMap>().unwrap();
        let list = List { items, revision: 7, continue_token: None, remaining: None };
        Whole::new(&resource, list).collect()
    }

    const HEAD: &str = "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"7\"},\"items\":[";

    #[test]
    fn items_do_not_say_what_they_are() {
        let items = "{\"metadata\":{\"name\":\"a\"}},{\"metadata\":{\"name\":\"b\"}}";
        for (objects, items) in [(vec!["a", "b"], items), (vec![], "")] {
            let objects = objects.into_iter().map(|name| config_map(name, 0)).collect();
            let chunks = chunks(objects);
            assert_eq!(chunks, [format!("{HEAD}{items}]}}\n")]);
        }
    }

    #[test]
    fn small_items_travel_together_and_large_ones_are_not_copied() {
        let large = config_map("large", CHUNK_BYTES);
        let small = (0..3).map(|_| config_map("small", CHUNK_BYTES / 2 - 200));
        let items: Vec<_> = small.chain([large.clone(), config_map("last", 0)]).collect();
        let chunks = chunks(items);
        assert_eq!(chunks.len(), 4);
        let shared = large.json();
        assert!(shared.as_ptr_range().contains(&chunks[2].as_ptr()), "not copied");
        let text: Vec<u8> = chunks.iter().flatten().copied().collect();
        let list: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(list["items"].as_array().unwrap().len(), 5);
    }
}
