//! What is not as it should be is answered in upstream's words, and disturbs nobody else.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{CONFIG_MAPS, Client, PATIENCE, World, config_map};

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// Sends what is wrong, and compares the answer's code, its reason, and a part of its message.
async fn check(
    client: &Client,
    (method, path, kind, body): (Method, &str, &str, &[u8]),
    (code, reason, part): (u16, &str, &str),
) {
    let sending = client.with("content-type", kind);
    let (got, text) = sending.text(method.clone(), path, body.to_vec()).await;
    let status: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"));
    let message = status["message"].as_str().unwrap_or_default();
    assert_eq!((got, &status["reason"]), (code, &json!(reason)), "{method} {path}: {message}");
    assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Failure")));
    assert_eq!(status["code"], code);
    assert!(message.contains(part), "{method} {path}: {message:?} lacks {part:?}");
}

#[tokio::test]
async fn bodies_that_are_not_what_they_should_be() {
    let world = World::start().await;
    let admin = world.admin();
    admin.send(Method::POST, CONFIG_MAPS, &config_map("a", "1")).await;
    let one = &format!("{CONFIG_MAPS}/a");
    let managed = &format!("{one}?fieldManager=m");
    let (post, patch) = (Method::POST, Method::PATCH);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_object = format!("{{\"data\":{deep}}}");
    let deep_yaml = format!("data: {deep}");
    let unrecognized = "the object provided is unrecognized (must be of type ConfigMap): ";
    let bad = |part| (400, "BadRequest", part);
    type Case<'a> = (&'a Method, &'a str, &'a str, &'a [u8], (u16, &'a str, &'a str));
    let cases: Vec<Case<'_>> = vec![
        (&post, CONFIG_MAPS, JSON, b"", bad(unrecognized)),
        (&post, CONFIG_MAPS, JSON, b"{\"metadata\":", bad(unrecognized)),
        (&post, CONFIG_MAPS, JSON, b"{\"metadata\":", bad("json parse error: ")),
        (&post, CONFIG_MAPS, JSON, b"{\"metadata\":", bad(" ({\"metadata\":)")),
        (&post, CONFIG_MAPS, JSON, b"{} {}", bad(unrecognized)),
        (&post, CONFIG_MAPS, JSON, b"\xff\xfe", bad("(fffe)")),
        (&post, CONFIG_MAPS, JSON, b"[1]", bad(unrecognized.trim_end_matches(": "))),
        (&post, CONFIG_MAPS, JSON, deep_object.as_bytes(), bad(unrecognized)),
        (
            &post,
            CONFIG_MAPS,
            JSON,
            b"{\"data\":{\"a\":1}}",
            bad("cannot be handled as a ConfigMap"),
        ),
        (&post, CONFIG_MAPS, YAML, b"a: [", bad(unrecognized)),
        (&post, CONFIG_MAPS, YAML, b"a: &a [*a]", bad(unrecognized)),
        (&post, CONFIG_MAPS, YAML, deep_yaml.as_bytes(), bad(unrecognized)),
        (&post, CONFIG_MAPS, PROTOBUF, b"", bad(unrecognized)),
        (&post, CONFIG_MAPS, PROTOBUF, b"k8s\0\xff\xff\xff\xff\xff", bad(unrecognized)),
        (
            &post,
            CONFIG_MAPS,
            JSON,
            b"{\"kind\":\"Secret\",\"apiVersion\":\"v1\"}",
            bad("Secret in version \"v1\" cannot be handled as a ConfigMap"),
        ),
        (
            &post,
            CONFIG_MAPS,
            JSON,
            b"{\"apiVersion\":\"v2\"}",
            bad("the API version in the data (v2) does not match the expected API version (v1)"),
        ),
        (&patch, one, JSON_PATCH, b"{}", bad("error decoding patch: ")),
        (&patch, one, JSON_PATCH, b"[{\"op\":\"x\"}]", (400, "BadRequest", "")),
        (&patch, one, MERGE_PATCH, b"[]", bad("error decoding patch: ")),
        (&patch, one, MERGE_PATCH, deep_object.as_bytes(), bad("error decoding patch: ")),
        (&patch, one, MERGE_PATCH, b"{\"data\":{\"x\":", bad("error decoding patch: ")),
        (&patch, managed, APPLY, b"a: [", bad("error decoding YAML: ")),
        (&patch, one, APPLY, b"{}", (422, "Invalid", "fieldManager: Required value")),
    ];
    for (method, path, kind, body, expected) in cases {
        check(&admin, (method.clone(), path, kind, body), expected).await;
    }
    assert_eq!(admin.get(one).await.1["data"], json!({"key": "1"}), "nothing has come of it");
}

#[tokio::test]
async fn paths_and_parameters_that_are_not_what_they_should_be() {
    let world = World::start().await;
    let admin = world.admin();
    let bad = |part| (400, "BadRequest", part);
    let invalid = |part| (422, "Invalid", part);
    let missing = (404, "NotFound", "the server could not find the requested resource");
    for (path, expected) in [
        ("configmaps/..", bad("may not be '..'")),
        ("configmaps/%2e%2e", bad("may not be '..'")),
        ("configmaps/a%25", bad("may not contain '%'")),
        ("configmaps/a%2f..%2f..", missing),
        ("configmaps/a/b/c", missing),
        ("nothings", missing),
        ("configmaps?limit=x", bad("strconv.ParseInt: parsing \"x\": invalid syntax")),
        ("configmaps?continue=x", bad("continue key is not valid")),
        ("configmaps?labelSelector=a%20in", bad("unable to parse requirement")),
        ("configmaps?labelSelector=-a", bad("")),
        ("configmaps?fieldSelector=a", bad("invalid selector")),
        (
            "configmaps?fieldSelector=data.a%3D1",
            bad("\"data.a\" is not a known field selector: only \"metadata.name\", "),
        ),
        ("secrets?fieldSelector=data.a%3D1", bad("field label not supported: data.a")),
        ("configmaps?resourceVersion=x", bad("strconv.ParseUint: parsing \"x\": invalid syntax")),
        ("configmaps?resourceVersion=99999", (504, "Timeout", "Too large resource version: 99999")),
        ("configmaps?watch=1&timeoutSeconds=x", bad("strconv.ParseInt")),
        ("configmaps?watch=1&sendInitialEvents=true", invalid("resourceVersionMatch: Forbidden: ")),
        (
            "configmaps?watch=1&resourceVersionMatch=NotOlderThan",
            invalid(
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            ),
        ),
        (
            "configmaps?resourceVersionMatch=Exact&resourceVersion=0",
            invalid("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""),
        ),
        (
            "configmaps?resourceVersionMatch=x&resourceVersion=1",
            invalid("Unsupported value: \"x\": supported values: "),
        ),
    ] {
        let path = format!("/api/v1/namespaces/default/{path}");
        check(&admin, (Method::GET, &path, JSON, b""), expected).await;
    }
    let namespaces = "/api/v1/namespaces";
    check(&admin, (Method::DELETE, namespaces, JSON, b""), (405, "MethodNotAllowed", "")).await;
    for (name, part) in [
        ("UPPER", "a lowercase RFC 1123 subdomain"),
        ("a/b", "a lowercase RFC 1123 subdomain"),
        ("", "name or generateName is required"),
    ] {
        let body = config_map(name, "1").to_string();
        check(&admin, (Method::POST, CONFIG_MAPS, JSON, body.as_bytes()), invalid(part)).await;
    }
}

#[tokio::test]
async fn fields_that_a_json_patch_puts_where_none_are() {
    let world = World::start().await;
    let admin = world.admin();
    admin.send(Method::POST, CONFIG_MAPS, &config_map("a", "1")).await;
    let body = json!([{"op": "add", "path": "/datum", "value": "1"}]).to_string();
    let strict = format!("{CONFIG_MAPS}/a?fieldValidation=Strict");
    let refused = (422, "Invalid", "strict decoding error: unknown field \"datum\"");
    check(&admin, (Method::PATCH, &strict, JSON_PATCH, body.as_bytes()), refused).await;
    let patch = admin.with("content-type", JSON_PATCH);
    let warned = patch.open(Method::PATCH, &format!("{CONFIG_MAPS}/a"), body.clone()).await;
    assert_eq!(warned.status(), 200);
    assert_eq!(warned.headers()["warning"], "299 - \"unknown field \\\"datum\\\"\"");
    let ignored = format!("{CONFIG_MAPS}/a?fieldValidation=Ignore");
    let ignored = patch.open(Method::PATCH, &ignored, body).await;
    assert!(!ignored.headers().contains_key("warning"));
}

/// Everything that the server says until it closes.
async fn said(mut stream: impl tokio::io::AsyncRead + Unpin) -> String {
    let mut answer = Vec::new();
    // A client that is cut off is cut off; what counts is that it is.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn connections_that_speak_nonsense_or_stop_midway_disturb_nobody() {
    let world = World::start().await;
    let admin = world.admin();
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\xff\xff\x01", &[0; 4096]] {
        let mut stream = TcpStream::connect(admin.address).await.unwrap();
        stream.write_all(garbage).await.unwrap();
        stream.shutdown().await.unwrap();
        said(stream).await;
    }
    let head = |length: usize| {
        format!("POST {CONFIG_MAPS} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n")
    };
    for (request, expected) in [
        ("NONSENSE\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("GET /version HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        // Half a body, half a head.
        (format!("{}{{\"metadata\"", head(100)), ""),
        ("GET /version HTTP/1.1\r\nho".to_owned(), ""),
    ] {
        let mut stream = admin.connect(b"http/1.1").await;
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let answer = said(stream).await;
        assert!(answer.starts_with(expected) && !answer.contains("200 OK"), "{answer}");
    }
    assert_eq!(admin.get("/version").await.0, 200);
    let (_, list) = admin.get(CONFIG_MAPS).await;
    assert_eq!(list["items"], json!([]), "half a body makes nothing");
}

#[tokio::test]
async fn a_watch_that_is_never_read_holds_up_nobody() {
    let world = World::start().await;
    let admin = world.admin();
    let mut silent = admin.connect(b"http/1.1").await;
    let request = format!("GET {CONFIG_MAPS}?watch=1 HTTP/1.1\r\nhost: x\r\n\r\n");
    silent.write_all(request.as_bytes()).await.unwrap();
    // More than the kernel takes for a client that does not read.
    let large = "x".repeat(900_000);
    for n in 0..16 {
        let (code, _) =
            admin.send(Method::POST, CONFIG_MAPS, &config_map(&format!("m{n}"), &large)).await;
        assert_eq!(code, 201);
    }
    let mut lines = admin.lines(&format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=1")).await;
    let mut seen = 0;
    while tokio::time::timeout(Duration::from_secs(10), lines.next()).await.unwrap().is_some() {
        seen += 1;
    }
    assert_eq!(seen, 16, "others are told everything");
    drop(silent);
}
