//! Whole objects.

use pinnace_api::field::ErrorList;
use pinnace_api::{Catalog, Draft, manifest, protobuf};
use serde_json::Value;

/// An object of a kind that is served: read, defaulted, validated, written, read again.
pub(crate) fn json(data: &[u8]) {
    let Ok(tree) = serde_json::from_slice::<Value>(data) else { return };
    let text = |name: &str| tree[name].as_str().unwrap_or_default();
    let Ok(resource) = Catalog::builtin().by_kind(text("apiVersion"), text("kind")) else { return };
    let Ok(mut draft) = Draft::from_json(resource.codec, data) else { return };
    let json = draft.to_json().unwrap();
    let again = Draft::from_json(resource.codec, &json).expect("what was written can be read");
    assert_eq!(again.to_json().unwrap(), json);
    if resource.is_stored() {
        resource.strategy.default(&mut draft);
        let defaulted = draft.to_json().unwrap();
        resource.strategy.default(&mut draft);
        assert_eq!(draft.to_json().unwrap(), defaulted, "defaults stay what they are");
        resource.strategy.prepare_for_create(&mut draft);
        resource.strategy.validate(&draft, &mut ErrorList::default());
        resource.strategy.warnings(&draft, None);
        let object = draft.freeze();
        let mut next = object.draft().unwrap();
        resource.strategy.prepare_for_update(&mut next, &object);
        resource.strategy.validate_update(&next, &object, &mut ErrorList::default());
    }
}

/// A manifest: what it says can be said again in JSON.
pub(crate) fn yaml(data: &[u8]) {
    let Ok(objects) = manifest::read(data) else { return };
    for object in objects {
        let text = serde_json::to_vec(&object).unwrap();
        let read = manifest::read_one(&text).expect("JSON is a manifest");
        assert_eq!(read, object);
    }
}

/// Protobuf: what was read can be written, and means the same.
pub(crate) fn protobuf(data: &[u8]) {
    let Ok(tree) = protobuf::decode(data, None) else { return };
    let text = |name: &str| tree[name].as_str().unwrap_or_default();
    let json = serde_json::to_vec(&tree).unwrap();
    let Ok(bytes) = protobuf::encode(text("apiVersion"), text("kind"), &json) else { return };
    let again = protobuf::decode(&bytes, None).expect("what was written can be read");
    let bytes_again =
        protobuf::encode(text("apiVersion"), text("kind"), &serde_json::to_vec(&again).unwrap());
    assert_eq!(bytes_again.unwrap(), bytes);
}
