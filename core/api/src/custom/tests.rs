use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::*;
use crate::field::ErrorList;
use crate::{Catalog, Draft, Object};

fn definition(plural: &str, versions: Value) -> CustomResourceDefinition {
    let kind = plural.trim_end_matches('s').to_uppercase();
    serde_json::from_value(json!({
        "metadata": {"name": format!("{plural}.example.com")},
        "spec": {"group": "example.com", "scope": "Namespaced", "versions": versions,
                 "names": {"plural": plural, "singular": plural.trim_end_matches('s'),
                           "kind": kind, "listKind": format!("{kind}List"), "shortNames": ["sh"]}},
    }))
    .unwrap()
}

fn version(name: &str, storage: bool, spec: Value) -> Value {
    json!({
        "name": name, "served": true, "storage": storage,
        "subresources": {"status": {}, "scale": {
            "specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size",
            "labelSelectorPath": ".status.pods"}},
        "selectableFields": [{"jsonPath": ".spec.color"}],
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": spec, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }}},
    })
}

fn spec() -> Value {
    json!({"type": "object", "properties": {
        "size": {"type": "integer", "default": 3, "maximum": 9},
        "color": {"type": "string"},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port"],
            "items": {"type": "object", "required": ["port"], "properties": {"port": {"type": "integer"}}}},
    }})
}

fn object(version: &str, spec: Value) -> Value {
    let meta = json!({"name": "a", "namespace": "default"});
    json!({"apiVersion": format!("example.com/{version}"), "kind": "SHIRT", "metadata": meta, "spec": spec})
}

fn draft(resource: &Resource, value: Value) -> Draft {
    let mut draft = Draft::from_value(resource.codec, value).unwrap();
    resource.strategy.default(&mut draft);
    draft
}

fn errors(resource: &Resource, new: &Draft, old: Option<&Object>) -> Vec<String> {
    let mut errors = ErrorList::default();
    match old {
        None => resource.strategy.validate(new, &mut errors),
        Some(old) => resource.strategy.validate_update(new, old, &mut errors),
    }
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn versions_are_ordered_as_upstream_orders_them() {
    let mut all =
        ["foo1", "v1", "v10beta3", "v2", "v3beta1", "v12alpha1", "v10", "foo10", "v11beta2"];
    all.sort_by_cached_key(|version| std::cmp::Reverse(priority(version)));
    let expected =
        ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "foo1", "foo10"];
    assert_eq!(all, expected);
}

#[test]
fn objects_are_pruned_defaulted_and_checked() {
    let all = resources(&definition("shirts", json!([version("v1", true, spec())]))).unwrap();
    let v1 = &all[0];
    let made =
        draft(v1, object("v1", json!({"color": "red", "odd": 1, "ports": [{"port": 1, "x": 2}]})));
    let expected = json!({"color": "red", "size": 3, "ports": [{"port": 1}]});
    assert_eq!(made.to_value().unwrap()["spec"], expected);
    assert_eq!(errors(v1, &made, None), Vec::<String>::new());
    for (spec, expected) in [
        (
            json!({"size": "3"}),
            "spec.size: Invalid value: \"string\": spec.size in body must be of type integer: \"string\"",
        ),
        (
            json!({"size": 10}),
            "spec.size: Invalid value: 10: spec.size in body should be less than or equal to 9",
        ),
        (json!({"ports": [{}]}), "spec.ports[0].port: Required value"),
        (
            json!({"ports": [{"port": 1}, {"port": 1}]}),
            "spec.ports[1]: Duplicate value: {\"port\":1}",
        ),
    ] {
        assert_eq!(errors(v1, &draft(v1, object("v1", spec)), None), [expected]);
    }
}

#[test]
fn what_has_not_changed_is_not_complained_of() {
    let v1 = &resources(&definition("shirts", json!([version("v1", true, spec())]))).unwrap()[0];
    let old = draft(v1, object("v1", json!({"size": 10, "ports": [{"port": "x"}]}))).freeze();
    let new =
        draft(v1, object("v1", json!({"size": 10, "color": "red", "ports": [{"port": "x"}]})));
    assert_eq!(errors(v1, &new, Some(&old)), Vec::<String>::new());
    let new = draft(v1, object("v1", json!({"size": 11})));
    assert_eq!(errors(v1, &new, Some(&old)).len(), 1);
}

#[test]
fn a_version_reads_what_another_has_stored_with_defaults_of_its_own() {
    let mut later = spec();
    later["properties"]["cut"] = json!({"type": "string", "default": "slim"});
    let versions = json!([version("v1beta1", true, spec()), version("v1", false, later)]);
    let all = resources(&definition("shirts", versions)).unwrap();
    let (v1, beta) = (&all[0], &all[1]);
    assert_eq!((&*v1.version, v1.is_stored(), beta.is_stored()), ("v1", false, true));
    let made = v1.to_stored(draft(v1, object("v1", json!({})))).unwrap();
    assert_eq!(made.api_version(), "example.com/v1beta1");
    let bare = Draft::from_value(beta.codec, object("v1beta1", json!({}))).unwrap().freeze();
    let read = v1.to_served(bare.clone()).unwrap().to_value().unwrap();
    assert_eq!(
        (&read["apiVersion"], &read["spec"]),
        (&json!("example.com/v1"), &json!({"size": 3, "cut": "slim"}))
    );
    assert_eq!(beta.to_served(bare).unwrap().to_value().unwrap()["spec"], json!({"size": 3}));
}

#[test]
fn subresources_and_selectable_fields_follow_their_paths() {
    let v1 = &resources(&definition("shirts", json!([version("v1", true, spec())]))).unwrap()[0];
    let mut value = object("v1", json!({"size": 2, "color": "red"}));
    value["status"] = json!({"size": 1, "pods": "app=a"});
    let old = draft(v1, value.clone()).freeze();
    assert_eq!(v1.field(&old, "spec.color").as_deref(), Some("red"));
    let view = v1.strategy.scale(&old).unwrap();
    assert_eq!((view.replicas, view.status_replicas), (2, 1));
    value["status"] = json!({"size": 9});
    value["spec"]["color"] = json!("blue");
    let mut new = draft(v1, value);
    v1.strategy.prepare_for_status_update(&mut new, &old);
    let kept = new.to_value().unwrap();
    assert_eq!((&kept["spec"]["color"], &kept["status"]["size"]), (&json!("red"), &json!(9)));
    v1.strategy.set_replicas(&mut new, 7);
    assert_eq!(new.to_value().unwrap()["spec"]["size"], 7);
}

#[test]
fn a_kind_whose_schema_cannot_be_read_again_is_not_served() {
    let nested = |levels: usize| {
        let list = |items: JSONSchemaProps| JSONSchemaProps {
            type_: Some("array".to_owned()),
            items: Some(JSONSchemaPropsOrArray::Schema(Box::new(items))),
            ..JSONSchemaProps::default()
        };
        let schema = (0..levels).fold(JSONSchemaProps::default(), |inner, _| list(inner));
        let mut definition = definition("shirts", json!([version("v1", true, spec())]));
        let root = definition.spec.versions[0].schema.as_mut().unwrap();
        root.open_api_v3_schema = Some(schema);
        resources(&definition)
    };
    assert!(nested(20).is_ok());
    assert!(nested(200).is_err_and(|error| error.to_string().contains("recursion limit")));
}

#[test]
fn names_go_to_who_asks_first() {
    let now = Time(jiff::Timestamp::UNIX_EPOCH);
    let mut first = definition("shirts", json!([version("v1", true, spec())]));
    first.status = Some(definition::status(&first, |_| false, &now));
    assert!(definition::is_true(&first, "Established"));
    let mut second = definition("shorts", json!([version("v1", true, spec())]));
    let taken = definition::standing(&Object::new(first));
    let is_taken = |name: definition::Standing<'_>| taken.contains(&name.of("example.com"));
    second.status = Some(definition::status(&second, is_taken, &now));
    let status = second.status.as_ref().unwrap();
    let says = |type_: &str| {
        let one = status.conditions.iter().flatten().find(|one| one.type_ == type_).unwrap();
        (one.status.clone(), one.reason.clone().unwrap(), one.message.clone().unwrap())
    };
    let of = |texts: [&str; 3]| (texts[0].to_owned(), texts[1].to_owned(), texts[2].to_owned());
    assert_eq!(
        says("NamesAccepted"),
        of(["False", "ShortNamesConflict", "\"sh\" is already in use"])
    );
    assert_eq!(says("Established"), of(["False", "NotAccepted", "not all names are accepted"]));
    assert_eq!(status.accepted_names.as_ref().unwrap().plural, "shorts");
}

#[test]
fn a_catalog_takes_versions_and_lets_them_go() {
    let catalog = Catalog::builtin();
    let before = catalog.generation();
    let versions = json!([version("v1beta1", true, spec()), version("v1", false, spec())]);
    catalog.replace("example.com", "shirts", resources(&definition("shirts", versions)).unwrap());
    assert!(catalog.generation() > before);
    assert_eq!(catalog.resolve("sh").unwrap().version, "v1");
    assert_eq!(catalog.by_table("shirts.example.com").unwrap().version, "v1beta1");
    catalog.unregister("example.com", "shirts");
    assert!(catalog.resolve("shirts").is_err() && catalog.by_table("shirts.example.com").is_none());
}
