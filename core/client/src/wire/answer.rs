use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use pinnace_api::{ApiError, Codec, Draft, Object, Resource, Result, Subresource};
use serde_json::{Value, json};

use crate::{List, Target};

/// Most characters of an answer that is no document that a message repeats.
const MAX_WORDS: usize = 1024;

/// An object that was asked for. Of what is deleted a server may say no more than that it is.
pub(super) fn object(target: &Target, value: Value) -> Result<Object> {
    let resource = &*target.resource;
    if value["kind"] == "Status" && resource.kind != "Status" {
        let uid = value.pointer("/details/uid").cloned().unwrap_or_default();
        let mut metadata = json!({"name": target.key.name(), "namespace": target.key.namespace()});
        if uid.is_string() {
            metadata["uid"] = uid;
        }
        return item(resource, json!({ "metadata": metadata }));
    }
    // Some parts are kinds of their own.
    let codec = match target.subresource {
        Some(Subresource::Scale) => Codec::of::<Scale>(),
        Some(Subresource::Token) => Codec::of::<TokenRequest>(),
        _ => return item(resource, value),
    };
    Ok(Draft::from_value(codec, value)?.freeze())
}

/// An object of a kind, which items of lists do not name.
pub(super) fn item(resource: &Resource, mut value: Value) -> Result<Object> {
    let Some(fields) = value.as_object_mut() else {
        return Err(super::unavailable("the answer is no object"));
    };
    let api_version = resource.api_version();
    fields.entry("apiVersion").or_insert_with(|| (*api_version).into());
    fields.entry("kind").or_insert_with(|| (*resource.kind).into());
    Ok(Draft::from_value(resource.codec, value)?.freeze())
}

/// A list that was asked for.
pub(super) fn list(resource: &Resource, mut value: Value) -> Result<List<Object>> {
    let items = match value["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    let meta = &value["metadata"];
    let token = meta["continue"].as_str().filter(|token| !token.is_empty());
    Ok(List {
        revision: revision(meta),
        continue_token: token.map(str::to_owned),
        remaining: meta["remainingItemCount"].as_u64(),
        items: items.into_iter().map(|one| item(resource, one)).collect::<Result<_>>()?,
    })
}

/// The version of an object or of a list. Where a server has no numbers for it, it is 0, from which a
/// watch begins with what is there.
pub(super) fn revision(meta: &Value) -> u64 {
    meta["resourceVersion"].as_str().and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// What a server says where it does not do what it is asked.
pub fn failure(code: u16, body: &[u8]) -> ApiError {
    let told = serde_json::from_slice::<Value>(body).ok().filter(|told| told["kind"] == "Status");
    let told = told.and_then(|told| serde_json::from_value::<Status>(told).ok());
    let status = told.unwrap_or_else(|| {
        let words = String::from_utf8_lossy(body);
        Status {
            message: Some(words.trim().chars().take(MAX_WORDS).collect()),
            ..Status::default()
        }
    });
    let code = status.code.filter(|code| (400..600).contains(code)).or(Some(code.into()));
    ApiError::from_status(Status { code, ..status })
}
