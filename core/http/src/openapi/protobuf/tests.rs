use pinnace_api::{Catalog, custom, manifest};
use prost::Message;
use serde_json::json;

use super::super::{Source, groups};
use super::{Value, encode};

/// Declares messages by upstream's numbers, which have nothing to do with the table that is tested.
macro_rules! messages {
    ($($message:ident { $($(#[$rule:meta])* $field:ident: $ty:ty,)* })*) => {
        $(#[derive(Clone, PartialEq, Message)] struct $message { $($(#[$rule])* $field: $ty,)* })*
    };
}

messages! {
    Document {
        #[prost(string, tag = "1")] swagger: String,
        #[prost(message, optional, tag = "2")] info: Option<Info>,
        #[prost(message, optional, tag = "8")] paths: Option<Paths>,
        #[prost(message, optional, tag = "9")] definitions: Option<Schemas>,
        #[prost(message, optional, tag = "13")] security: Option<Securities>,
    }
    Info { #[prost(string, tag = "1")] title: String, }
    Securities { #[prost(message, repeated, tag = "1")] all: Vec<NamedSecurity>, }
    NamedSecurity {
        #[prost(string, tag = "1")] name: String,
        #[prost(message, optional, tag = "2")] value: Option<Security>,
    }
    Security { #[prost(message, optional, tag = "2")] api_key: Option<ApiKey>, }
    ApiKey { #[prost(string, tag = "3")] place: String, }
    Paths { #[prost(message, repeated, tag = "2")] all: Vec<NamedPath>, }
    NamedPath {
        #[prost(string, tag = "1")] name: String,
        #[prost(message, optional, tag = "2")] value: Option<Path>,
    }
    Path {
        #[prost(message, optional, tag = "2")] get: Option<Operation>,
        #[prost(message, optional, tag = "3")] put: Option<Operation>,
        #[prost(message, optional, tag = "4")] post: Option<Operation>,
        #[prost(message, optional, tag = "5")] delete: Option<Operation>,
        #[prost(message, optional, tag = "6")] options: Option<Operation>,
        #[prost(message, optional, tag = "7")] head: Option<Operation>,
        #[prost(message, optional, tag = "8")] patch: Option<Operation>,
        #[prost(message, repeated, tag = "9")] parameters: Vec<ParametersItem>,
    }
    Operation {
        #[prost(string, repeated, tag = "1")] tags: Vec<String>,
        #[prost(string, tag = "5")] id: String,
        #[prost(string, repeated, tag = "6")] produces: Vec<String>,
        #[prost(string, repeated, tag = "7")] consumes: Vec<String>,
        #[prost(message, repeated, tag = "8")] parameters: Vec<ParametersItem>,
        #[prost(message, optional, tag = "9")] responses: Option<Responses>,
        #[prost(message, repeated, tag = "13")] extensions: Vec<NamedAny>,
    }
    ParametersItem { #[prost(message, optional, tag = "1")] parameter: Option<Parameter>, }
    Parameter {
        #[prost(message, optional, tag = "1")] body: Option<Body>,
        #[prost(message, optional, tag = "2")] other: Option<NonBody>,
    }
    Body {
        #[prost(string, tag = "2")] name: String,
        #[prost(bool, tag = "4")] required: bool,
        #[prost(message, optional, tag = "5")] schema: Option<Schema>,
    }
    NonBody {
        #[prost(message, optional, tag = "3")] query: Option<Query>,
        #[prost(message, optional, tag = "4")] path: Option<InPath>,
    }
    Query {
        #[prost(string, tag = "4")] name: String,
        #[prost(string, tag = "6")] ty: String,
        #[prost(bool, tag = "20")] unique: bool,
    }
    InPath {
        #[prost(bool, tag = "1")] required: bool,
        #[prost(string, tag = "4")] name: String,
        #[prost(string, tag = "5")] ty: String,
        #[prost(bool, tag = "19")] unique: bool,
    }
    Responses { #[prost(message, repeated, tag = "1")] all: Vec<NamedResponse>, }
    NamedResponse {
        #[prost(string, tag = "1")] name: String,
        #[prost(message, optional, tag = "2")] value: Option<ResponseValue>,
    }
    ResponseValue { #[prost(message, optional, tag = "1")] response: Option<Response>, }
    Response {
        #[prost(string, tag = "1")] description: String,
        #[prost(message, optional, tag = "2")] schema: Option<SchemaItem>,
    }
    SchemaItem { #[prost(message, optional, tag = "1")] schema: Option<Schema>, }
    Schemas { #[prost(message, repeated, tag = "1")] all: Vec<NamedSchema>, }
    NamedSchema {
        #[prost(string, tag = "1")] name: String,
        #[prost(message, optional, tag = "2")] value: Option<Schema>,
    }
    Schema {
        #[prost(string, tag = "1")] reference: String,
        #[prost(string, tag = "2")] format: String,
        #[prost(string, tag = "4")] description: String,
        #[prost(message, optional, tag = "5")] default: Option<Any>,
        #[prost(double, tag = "7")] maximum: f64,
        #[prost(int64, tag = "11")] max_length: i64,
        #[prost(string, repeated, tag = "19")] required: Vec<String>,
        #[prost(message, repeated, tag = "20")] options: Vec<Any>,
        #[prost(message, optional, tag = "21")] additional: Option<Additional>,
        #[prost(message, optional, tag = "22")] ty: Option<Texts>,
        #[prost(message, optional, tag = "23")] items: Option<Items>,
        #[prost(message, optional, tag = "25")] properties: Option<Schemas>,
        #[prost(message, repeated, tag = "31")] extensions: Vec<NamedAny>,
    }
    Additional {
        #[prost(message, optional, boxed, tag = "1")] schema: Option<Box<Schema>>,
        #[prost(bool, optional, tag = "2")] flag: Option<bool>,
    }
    Items { #[prost(message, repeated, tag = "1")] all: Vec<Schema>, }
    Texts { #[prost(string, repeated, tag = "1")] all: Vec<String>, }
    NamedAny {
        #[prost(string, tag = "1")] name: String,
        #[prost(message, optional, tag = "2")] value: Option<Any>,
    }
    Any { #[prost(string, tag = "2")] yaml: String, }
}

/// What a text in YAML says.
fn read(any: &Any) -> Value {
    let indented = any.yaml.replace('\n', "\n  ");
    manifest::read_one(format!("value:\n  {indented}").as_bytes()).unwrap()["value"].take()
}

fn extensions(all: &[NamedAny]) -> Value {
    let read = |one: &NamedAny| (one.name.clone(), read(one.value.as_ref().unwrap()));
    all.iter().map(read).collect()
}

fn extensions_of(object: &Value) -> Value {
    let all = object.as_object().unwrap().iter().filter(|(name, _)| name.starts_with("x-"));
    all.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn check_schema(told: &Schema, json: &Value) {
    let texts = [&told.reference, &told.format, &told.description].map(String::as_str);
    assert_eq!(texts, ["$ref", "format", "description"].map(|name| text(&json[name])));
    assert_eq!(told.default.as_ref().map(read), json.get("default").cloned());
    assert_eq!(told.maximum, json["maximum"].as_f64().unwrap_or_default());
    assert_eq!(told.max_length, json["maxLength"].as_i64().unwrap_or_default());
    assert_eq!(json!(told.required), json!(list(&json["required"])));
    assert_eq!(told.options.iter().map(read).collect::<Vec<_>>(), list(&json["enum"]));
    let ty = told.ty.as_ref().map(|ty| json!(ty.all));
    assert_eq!(ty, json.get("type").map(|ty| json!([ty])));
    assert_eq!(extensions(&told.extensions), extensions_of(json));
    assert_eq!(told.items.is_some(), json.get("items").is_some());
    if let Some(items) = &told.items {
        check_schema(&items.all[0], &json["items"]);
    }
    let additional = json.get("additionalProperties");
    assert_eq!(told.additional.is_some(), additional.is_some());
    for (told, json) in told.additional.iter().zip(additional) {
        assert_eq!(told.flag, json.as_bool());
        told.schema.iter().for_each(|told| check_schema(told, json));
    }
    assert_eq!(told.properties.is_some(), json.get("properties").is_some());
    if let Some(told) = &told.properties {
        check_schemas(told, &json["properties"]);
    }
}

fn check_schemas(told: &Schemas, json: &Value) {
    let json = json.as_object().unwrap();
    assert_eq!(told.all.len(), json.len());
    for (told, (name, json)) in told.all.iter().zip(json) {
        assert_eq!(&told.name, name);
        check_schema(told.value.as_ref().unwrap(), json);
    }
}

fn check_parameters(told: &[ParametersItem], json: &Value) {
    assert_eq!(told.len(), list(json).len());
    for (told, json) in told.iter().zip(list(json)) {
        let flag = |name: &str| json[name].as_bool().unwrap_or_default();
        let Parameter { body, other } = told.parameter.as_ref().unwrap();
        let NonBody { query, path } = other.clone().unwrap_or_default();
        let [name, ty] = ["name", "type"].map(|name| text(&json[name]).to_owned());
        let (required, unique) = (flag("required"), flag("uniqueItems"));
        match text(&json["in"]) {
            "body" => {
                let body = body.as_ref().unwrap();
                assert_eq!((&body.name, body.required), (&name, required));
                check_schema(body.schema.as_ref().unwrap(), &json["schema"]);
            }
            "query" => assert_eq!(query, Some(Query { name, ty, unique })),
            _ => assert_eq!(path, Some(InPath { required, name, ty, unique })),
        }
    }
}

fn check_operation(told: &Operation, json: &Value) {
    assert_eq!(told.id, text(&json["operationId"]));
    for (told, name) in
        [(&told.tags, "tags"), (&told.produces, "produces"), (&told.consumes, "consumes")]
    {
        assert_eq!(json!(told), json[name]);
    }
    assert_eq!(extensions(&told.extensions), extensions_of(json));
    check_parameters(&told.parameters, &json["parameters"]);
    let responses = json["responses"].as_object().unwrap();
    let told = &told.responses.as_ref().unwrap().all;
    assert_eq!(told.len(), responses.len());
    for (told, (code, json)) in told.iter().zip(responses) {
        assert_eq!(&told.name, code);
        let told = told.value.as_ref().unwrap().response.as_ref().unwrap();
        assert_eq!(told.description, text(&json["description"]));
        assert_eq!(told.schema.is_some(), json.get("schema").is_some());
        if let Some(told) = &told.schema {
            check_schema(told.schema.as_ref().unwrap(), &json["schema"]);
        }
    }
}

fn check_paths(told: &Paths, json: &Value) {
    let json = json.as_object().unwrap();
    assert_eq!(told.all.len(), json.len());
    for (told, (path, json)) in told.all.iter().zip(json) {
        assert_eq!(&told.name, path);
        let Path { get, put, post, delete, options, head, patch, parameters } =
            told.value.as_ref().unwrap();
        let methods = [
            ("get", get),
            ("put", put),
            ("post", post),
            ("delete", delete),
            ("options", options),
            ("head", head),
            ("patch", patch),
        ];
        for (method, told) in methods {
            assert_eq!(told.is_some(), json.get(method).is_some(), "{method} {path}");
            told.iter().for_each(|told| check_operation(told, &json[method]));
        }
        check_parameters(parameters, &json["parameters"]);
    }
}

#[track_caller]
fn check(document: &Value) {
    let told = Document::decode(&*encode(document)).unwrap();
    assert_eq!(told.swagger, "2.0");
    assert_eq!(told.info.unwrap().title, "Kubernetes");
    let security = &told.security.unwrap().all[0];
    assert_eq!(security.name, "BearerToken");
    let key = security.value.as_ref().unwrap().api_key.as_ref();
    assert_eq!(key.unwrap().place, "header");
    check_paths(&told.paths.unwrap(), &document["paths"]);
    check_schemas(&told.definitions.unwrap(), &document["definitions"]);
}

#[test]
fn built_in_and_custom_kinds_are_told_as_in_json() {
    let catalog = Catalog::builtin();
    let spec = json!({
        "x-large": {"type": "string", "maxLength": 9, "enum": ["no", "it is: a 'text'"]},
        "sizes": {"type": "object", "additionalProperties": {"type": "number", "maximum": 1.5}},
        "open": {"type": "object", "default": {"a": [1]}, "properties": {}},
        "all": {"type": "array", "items": {"type": "integer", "format": "int64"}}});
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": spec, "required": ["x-large"]}}});
    let definition = json!({"metadata": {"name": "shirts.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "shirts", "kind": "Shirt"},
        "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": schema}}]}});
    let definition = serde_json::from_value(definition).unwrap();
    for resource in custom::resources(&definition).unwrap() {
        catalog.register(resource);
    }
    let groups = groups(&catalog.all());
    let document = Source::Everything(&groups, Vec::new()).document();
    let shirt = &document["definitions"]["com.example.v1.Shirt"]["properties"]["spec"];
    assert_eq!(shirt["properties"]["x-large"]["maxLength"], 9);
    check(&document);
}

#[test]
fn what_does_not_fit_is_left_out() {
    let told = encode(&json!({"swagger": 2, "info": [], "schemes": {}, "definitions": {"A": {
        "type": {}, "required": "a", "items": 1, "properties": {"b": null}}}}));
    let schemas = Document::decode(&*told).unwrap().definitions.unwrap();
    assert_eq!(schemas.all[0].name, "A");
}
