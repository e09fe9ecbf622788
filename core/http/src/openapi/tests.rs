use std::collections::{BTreeMap, BTreeSet};

use http::Request;
use serde_json::Value;

use super::*;

const NOW: Timestamp = Timestamp::constant(1_893_456_000, 0);

fn ask(path: &str, headers: &[(&str, &str)]) -> Option<Response<Bytes>> {
    let mut request = Request::get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    OpenApi::new(Catalog::builtin()).respond(&parts, NOW)
}

fn read(path: &str) -> Value {
    let response = ask(path, &[]).unwrap_or_else(|| panic!("{path}"));
    serde_json::from_slice(response.body()).unwrap()
}

fn header<'a>(response: &'a Response<Bytes>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[test]
fn the_index_leads_to_documents_that_clients_may_keep() {
    let url = read("/openapi/v3")["paths"]["apis/apps/v1"]["serverRelativeURL"].clone();
    let url = url.as_str().unwrap();
    let response = ask(url, &[]).unwrap();
    assert_eq!(header(&response, "cache-control"), "public, immutable");
    assert_eq!(header(&response, "expires"), "Wed, 01 Jan 2031 00:00:00 GMT");
    let etag = header(&response, "etag");
    assert!(url.ends_with(&format!("?hash={}", etag.trim_matches('"'))));
    let again = ask(url, &[("if-none-match", etag)]).unwrap();
    assert_eq!((again.status(), again.body().len()), (StatusCode::NOT_MODIFIED, 0));
    let stale = ask("/openapi/v3/apis/apps/v1?hash=ABC", &[]).unwrap();
    assert_eq!((stale.status(), header(&stale, "location")), (StatusCode::MOVED_PERMANENTLY, url));
    let unnamed = ask("/openapi/v3/apis/apps/v1", &[]).unwrap();
    assert_eq!(header(&unnamed, "cache-control"), "");
    assert!(ask("/openapi/v3/apis/apps/v9", &[]).is_none());
}

#[test]
fn clients_in_go_get_v2_as_a_message() {
    let json = ask("/openapi/v2", &[]).unwrap();
    for name in [PROTOBUF, OLD_PROTOBUF] {
        let message = ask("/openapi/v2", &[("accept", name)]).unwrap();
        assert_eq!(header(&message, "content-type"), PROTOBUF);
        assert_eq!(header(&message, "etag"), header(&json, "etag"));
        assert_eq!(header(&message, "vary"), "Accept");
        let seen = [("accept", name), ("if-none-match", header(&json, "etag"))];
        assert_eq!(ask("/openapi/v2", &seen).unwrap().status(), StatusCode::NOT_MODIFIED);
    }
    let either = format!("{PROTOBUF};q=0.5,application/json");
    let either = ask("/openapi/v2", &[("accept", &either)]).unwrap();
    assert_eq!(header(&either, "content-type"), JSON);
    let refused = ask("/openapi/v3/version", &[("accept", PROTOBUF)]).unwrap();
    assert_eq!(refused.status(), StatusCode::NOT_ACCEPTABLE);
}

#[test]
fn a_document_says_what_kubectl_explains_and_asks_for() {
    let document = read("/openapi/v3/apis/apps/v1");
    let schemas = &document["components"]["schemas"];
    let spec = &schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"];
    assert!(spec["replicas"]["description"].as_str().unwrap().contains("Defaults to 1"));
    let template = "#/components/schemas/io.k8s.api.core.v1.PodTemplateSpec";
    assert_eq!(spec["template"]["allOf"][0]["$ref"], template);
    let pod = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"];
    assert_eq!(pod["volumes"]["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert_eq!(pod["volumes"]["x-kubernetes-list-type"], "map");
    let patch =
        &document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
    assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], "Deployment");
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|one| one["name"] == "fieldValidation" && one["in"] == "query"));
    all_references_lead_somewhere(&document, &document);
}

fn all_references_lead_somewhere(document: &Value, value: &Value) {
    match value {
        Value::Object(object) => {
            if let Some(Value::String(target)) = object.get("$ref") {
                let target = target.strip_prefix('#').unwrap();
                assert!(document.pointer(target).is_some(), "{target}");
            }
            object.values().for_each(|value| all_references_lead_somewhere(document, value));
        }
        Value::Array(items) => {
            items.iter().for_each(|value| all_references_lead_somewhere(document, value));
        }
        _ => {}
    }
}

/// Kubernetes' own document, without descriptions. Where it is not at hand there is nothing to
/// compare with.
fn upstream() -> Option<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/kubernetes/openapi-v2.json");
    let Ok(document) = std::fs::read(path) else {
        eprintln!("skipped: there is no {path}");
        return None;
    };
    Some(serde_json::from_slice(&document).unwrap())
}

/// What is said elsewhere or not at all by one side.
fn without_prose(value: &Value) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .filter(|(name, value)| {
                !(matches!(&***name, "description") && value.is_string()
                    || matches!(&***name, "default") && value.get("$ref").is_none()
                    // Upstream calls the bytes of one field an atomic list, which they are anyway.
                    || *name == "x-kubernetes-list-type" && object.get("format") == Some(&json!("byte")))
            })
            .map(|(name, value)| {
                let mut value = without_prose(value);
                if let (true, Value::Array(items)) = (&**name == "required", &mut value) {
                    items.sort_by_key(ToString::to_string);
                }
                (name.clone(), value)
            })
            .collect(),
        Value::Array(items) => items.iter().map(without_prose).collect(),
        other => other.clone(),
    }
}

/// Types that belong to no group alone: upstream names each.
const SHARED: [&str; 3] = ["Status", "DeleteOptions", "WatchEvent"];

#[test]
fn types_are_those_of_upstream() {
    let Some(upstream) = upstream() else { return };
    let document = read("/openapi/v2");
    all_references_lead_somewhere(&document, &document);
    let mut differences = Vec::new();
    for (name, ours) in document["definitions"].as_object().unwrap() {
        if name.starts_with("io.k8s.metrics.") {
            // Upstream's server leaves them to another.
            continue;
        }
        let mut ours = without_prose(ours);
        let mut theirs = without_prose(&upstream["definitions"][name]);
        if SHARED.iter().any(|shared| name.ends_with(&format!(".v1.{shared}")))
            || name.contains("meta.v1.API")
            // A kind that others hold, and that the catalog does not serve.
            || ours.get("x-kubernetes-group-version-kind").is_none()
        {
            for side in [&mut ours, &mut theirs] {
                side.as_object_mut().unwrap().remove("x-kubernetes-group-version-kind");
            }
        }
        if ours != theirs {
            differences.push(format!("{name}\n  ours   {ours}\n  theirs {theirs}"));
        }
    }
    assert!(differences.is_empty(), "{}:\n{}", differences.len(), differences.join("\n"));
}

/// Method, path → what a client must know of an operation.
type Operations = BTreeMap<(String, String), (Value, BTreeSet<String>)>;

fn operations(document: &Value) -> Operations {
    let mut operations = BTreeMap::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if method == "parameters" {
                continue;
            }
            let both = [&methods["parameters"], &operation["parameters"]];
            let parameters = both.into_iter().filter_map(Value::as_array).flatten();
            let parameters = parameters.map(|parameter| {
                let target = parameter["$ref"].as_str();
                let at = |target: &str| document.pointer(&target[1..]).unwrap();
                let parameter = target.map_or(parameter, at);
                let ty = &parameter["type"];
                format!("{} {} {ty} {}", parameter["in"], parameter["name"], parameter["schema"])
            });
            let answers: BTreeMap<_, _> = operation["responses"]
                .as_object()
                .unwrap()
                .iter()
                .map(|(code, answer)| (code, &answer["schema"]))
                .collect();
            let facts = json!([
                operation["operationId"],
                operation["x-kubernetes-action"],
                operation["tags"],
                operation["x-kubernetes-group-version-kind"],
                answers,
            ]);
            operations.insert((method.clone(), path.clone()), (facts, parameters.collect()));
        }
    }
    operations
}

#[test]
fn operations_are_those_of_upstream() {
    let Some(upstream) = upstream() else { return };
    let served: BTreeSet<_> =
        Catalog::builtin().all().iter().map(|one| one.plural.to_string()).collect();
    let (ours, theirs) = (operations(&read("/openapi/v2")), operations(&upstream));
    let mut differences = Vec::new();
    for (key, (facts, parameters)) in &ours {
        if key.1.starts_with("/apis/metrics.k8s.io/") {
            // Upstream's server leaves them to another.
            continue;
        }
        let Some((expected, expected_parameters)) = theirs.get(key) else {
            differences.push(format!("not upstream's: {key:?}"));
            continue;
        };
        // Shards of a list are an experiment of upstream's that is not served.
        let is_shard = |parameter: &&String| parameter.contains("\"shardSelector\"");
        let missing: Vec<_> =
            expected_parameters.difference(parameters).filter(|one| !is_shard(one)).collect();
        let more: Vec<_> = parameters.difference(expected_parameters).collect();
        if facts != expected || !missing.is_empty() || !more.is_empty() {
            differences.push(format!(
                "{key:?}\n  ours   {facts} {more:?}\n  theirs {expected} {missing:?}"
            ));
        }
    }
    let bases: BTreeSet<_> = ours
        .keys()
        .filter(|(_, path)| path.ends_with('/'))
        .filter(|(_, path)| path.starts_with("/api/v") || path.matches('/').count() == 4)
        .map(|(_, path)| path.clone())
        .collect();
    for key in theirs.keys().filter(|key| !ours.contains_key(key)) {
        let in_served_version = bases.iter().any(|base| key.1.starts_with(base));
        let of_served_kind = key.1.split('/').skip(3).any(|segment| served.contains(segment));
        let name = key.1.rsplit('/').next().unwrap_or_default();
        if in_served_version && of_served_kind && served.contains(name) {
            differences.push(format!("missing: {key:?}"));
        }
    }
    assert!(differences.is_empty(), "{}:\n{}", differences.len(), differences.join("\n"));
}
