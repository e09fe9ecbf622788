use std::collections::VecDeque;

use bytes::Bytes;
use http::{Response, StatusCode};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use pinnace_api::schema::Schema;
use pinnace_api::{ApiError, Object, Reason, Resource, Result, protobuf};
use pinnace_client::List;
use serde_json::{Value, json};

use super::object::{encoded, metadata};
use super::{Encoding, Shape, View, value};
use crate::Body;
use crate::response::reply;

impl View {
    /// A list as an answer. In JSON its items are the bytes that all readers of the objects share.
    ///
    /// # Errors
    /// `NotAcceptable` for a shape that only single objects have; `InternalError`.
    pub(crate) fn list(&self, resource: &Resource, list: &List<Object>) -> Result<Response<Body>> {
        let (code, accepted) = (StatusCode::OK, self.accepted);
        match accepted.shape {
            Shape::Whole if accepted.encoding == Encoding::Protobuf => {
                let (version, kind) = (resource.api_version(), &resource.list_kind);
                let body = protobuf::list(&version, kind, &list_meta(list), &list.items)?;
                Ok(reply(code, accepted.media_type(), body))
            }
            Shape::Whole => {
                let pieces = whole(resource, list);
                if accepted.encoding == Encoding::Json && !accepted.pretty {
                    return Ok(reply(code, accepted.media_type(), Body::pieces(pieces)));
                }
                let json: Vec<u8> = pieces.iter().flatten().copied().collect();
                encoded(code, json.into(), accepted)
            }
            Shape::MetadataList => {
                let items: Vec<Value> = list.items.iter().map(metadata).collect::<Result<_>>()?;
                let tree = json!({
                    "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                    "metadata": list_metadata(list), "items": items,
                });
                value(code, &tree, accepted)
            }
            Shape::Table(include) => self.table(code, &list.items, include, list_meta(list)),
            Shape::Metadata => Err(ApiError::new(
                Reason::NotAcceptable,
                "you requested PartialObjectMetadata, but the requested object is a list",
            )),
        }
    }
}

fn whole(resource: &Resource, list: &List<Object>) -> VecDeque<Bytes> {
    let head = format!(
        "{{\"kind\":\"{}\",\"apiVersion\":\"{}\",\"metadata\":{},\"items\":[",
        resource.list_kind,
        resource.api_version(),
        list_metadata(list)
    );
    let prefix = own_type(resource);
    let mut pieces = VecDeque::with_capacity(2 * list.items.len() + 2);
    pieces.push_back(Bytes::from(head));
    for (index, item) in list.items.iter().enumerate() {
        let json = item.json();
        let comma = if index > 0 { &b",{"[..] } else { &b"{"[..] };
        match prefix.as_ref().filter(|prefix| json.starts_with(prefix.as_bytes())) {
            Some(prefix) => {
                pieces.push_back(Bytes::from_static(comma));
                pieces.push_back(json.slice(prefix.len()..));
            }
            None => {
                if index > 0 {
                    pieces.push_back(Bytes::from_static(b","));
                }
                pieces.push_back(json);
            }
        }
    }
    pieces.push_back(Bytes::from_static(b"]}\n"));
    pieces
}

/// How the items of a list begin that do not say in the list what they are: those of built-in
/// kinds, as upstream has it. Custom ones say it.
fn own_type(resource: &Resource) -> Option<String> {
    Schema::builtin().type_of(&resource.group, &resource.version, &resource.kind)?;
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

    #[test]
    fn items_are_shared_bytes_without_their_type() {
        let config_map = |name: &str| {
            let mut object = ConfigMap::default();
            object.metadata.name = Some(name.to_owned());
            Object::new(object)
        };
        let resource = Catalog::builtin().of::<ConfigMap>().unwrap();
        let items = vec![config_map("a"), config_map("b")];
        let list = List { items, revision: 7, continue_token: None, remaining: None };
        let pieces = whole(&resource, &list);
        let text: Vec<u8> = pieces.iter().flatten().copied().collect();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "{\"kind\":\"ConfigMapList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"7\"},\
             \"items\":[{\"metadata\":{\"name\":\"a\"}},{\"metadata\":{\"name\":\"b\"}}]}\n"
        );
        let shared = list.items[0].json();
        assert!(shared.as_ptr_range().contains(&pieces[2].as_ptr()), "not copied");
    }
}
