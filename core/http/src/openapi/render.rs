use serde_json::{Map, Value, json};

use super::operations::{Operation, TypeName};
use super::types::{Flavor, Types};
use crate::discovery::GIT_VERSION;

/// A document of some operations and the types that they need.
pub(super) fn document(flavor: Flavor, operations: &[Operation], mut types: Types) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let path = paths.entry(operation.path.clone()).or_insert_with(|| json!({}));
        if !operation.shared.is_empty() {
            path["parameters"] = parameters(flavor, &operation.shared).into();
        }
        path[operation.method] = match flavor {
            Flavor::V2 => v2(operation, &mut types),
            Flavor::V3 => v3(operation, &mut types),
        };
    }
    let schemas = types.finish();
    let version = GIT_VERSION.split('+').next().unwrap_or_default();
    let info = json!({"title": "Kubernetes", "version": version});
    let bearer = json!({"BearerToken": {
        "type": "apiKey", "in": "header", "name": "authorization",
        "description": "Bearer Token authentication",
    }});
    let security = json!([{"BearerToken": []}]);
    match flavor {
        Flavor::V2 => json!({
            "swagger": "2.0", "info": info, "paths": paths, "definitions": schemas,
            "securityDefinitions": bearer, "security": security,
        }),
        Flavor::V3 => json!({
            "openapi": "3.0.0", "info": info, "paths": paths, "security": security,
            "components": {"schemas": schemas, "securitySchemes": bearer},
        }),
    }
}

fn parameters(flavor: Flavor, all: &[super::parameters::Parameter]) -> Vec<Value> {
    let write = |parameter: &super::parameters::Parameter| match flavor {
        Flavor::V2 => parameter.v2(),
        Flavor::V3 => parameter.v3(),
    };
    all.iter().map(write).collect()
}

fn common(operation: &Operation) -> Map<String, Value> {
    let mut value = Map::new();
    let mut set = |name: &str, field: Value| value.insert(name.to_owned(), field);
    set("operationId", json!(operation.id));
    set("description", json!(operation.description));
    set("tags", json!([operation.tag]));
    if !operation.action.is_empty() {
        set("x-kubernetes-action", json!(operation.action));
    }
    if let Some([group, version, kind]) = &operation.kind {
        let kind = json!({"group": group, "version": version, "kind": kind});
        set("x-kubernetes-group-version-kind", kind);
    }
    value
}

/// What a status code of an answer means.
fn meaning(code: u16) -> &'static str {
    match code {
        201 => "Created",
        202 => "Accepted",
        _ => "OK",
    }
}

fn v2(operation: &Operation, types: &mut Types) -> Value {
    let mut value = common(operation);
    let mut own = parameters(Flavor::V2, operation.own);
    if let Some(body) = &operation.body {
        let mut parameter = json!({"name": "body", "in": "body", "schema": types.refer(body)});
        if is_required(body) {
            parameter["required"] = true.into();
        }
        own.insert(0, parameter);
    }
    if !own.is_empty() {
        value.insert("parameters".to_owned(), own.into());
    }
    let mut responses = json!({"401": {"description": "Unauthorized"}});
    for code in operation.answers {
        let schema = types.refer(&operation.answer);
        responses[code.to_string()] = json!({"description": meaning(*code), "schema": schema});
    }
    value.insert("responses".to_owned(), responses);
    value.insert("consumes".to_owned(), json!(operation.consumes));
    value.insert("produces".to_owned(), json!(operation.produces));
    value.insert("schemes".to_owned(), json!(["https"]));
    value.into()
}

fn v3(operation: &Operation, types: &mut Types) -> Value {
    let mut value = common(operation);
    let own = parameters(Flavor::V3, operation.own);
    if !own.is_empty() {
        value.insert("parameters".to_owned(), own.into());
    }
    if let Some(body) = &operation.body {
        let schema = types.refer(body);
        let mut request = json!({"content": content(operation.consumes, &schema)});
        if is_required(body) {
            request["required"] = true.into();
        }
        value.insert("requestBody".to_owned(), request);
    }
    let mut responses = json!({"401": {"description": "Unauthorized"}});
    for code in operation.answers {
        let schema = types.refer(&operation.answer);
        let content = content(operation.produces, &schema);
        responses[code.to_string()] = json!({"description": meaning(*code), "content": content});
    }
    value.insert("responses".to_owned(), responses);
    value.into()
}

fn content(media_types: &[&str], schema: &Value) -> Value {
    media_types.iter().map(|name| ((*name).to_owned(), json!({"schema": schema}))).collect()
}

fn is_required(body: &TypeName) -> bool {
    *body != TypeName::Meta("DeleteOptions")
}
