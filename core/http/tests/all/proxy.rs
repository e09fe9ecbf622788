use std::sync::Arc;

use http::Method;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::nodes::EchoNodes;
use crate::world::World;

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";

async fn world() -> World {
    let world = World::with(Some(Arc::new(EchoNodes))).await;
    let ports = json!([{"name": "http", "containerPort": 8000}]);
    let pod = json!({
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"nodeName": "n1", "containers": [
            {"name": "main", "image": "web:1", "ports": ports},
        ]},
    });
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let service = json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 9000, "targetPort": "http"}]},
    });
    let slice = json!({
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 8000, "protocol": "TCP"}],
        "endpoints": [{
            "addresses": ["10.0.0.9"], "conditions": {"ready": true},
            "targetRef": {"kind": "Pod", "namespace": "default", "name": "web"},
        }],
    });
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let admin = world.admin();
    let patch = admin.with("content-type", "application/merge-patch+json");
    for (client, method, path, body) in [
        (&admin, Method::POST, PODS.to_owned(), pod),
        (&patch, Method::PATCH, format!("{PODS}/web/status"), ready),
        (&admin, Method::POST, SERVICES.to_owned(), service),
        (&admin, Method::POST, slices.to_owned(), slice),
    ] {
        let (code, made) = client.send(method, &path, &body).await;
        assert!(code < 300, "{made}");
    }
    world
}

#[tokio::test]
async fn any_method_is_passed_on_and_the_answer_comes_back() {
    let world = world().await;
    let admin = world.admin().with("authorization", "Basic x").with("x-mine", "1");
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let path = format!("{PODS}/web/proxy/a%2Fb//c/?q=1");
        let (code, head) = admin.text(method.clone(), &path, "").await;
        assert_eq!(code, 202, "{head}");
        assert!(head.starts_with(&format!("{method} /a%2Fb//c/?q=1 HTTP/1.1\r\n")), "{head}");
        assert!(head.contains("x-mine: 1") && !head.contains("authorization"), "{head}");
    }
    let response = admin.open(Method::HEAD, &format!("{PODS}/http:web:8000/proxy/x"), "").await;
    assert_eq!(response.status(), 202);
    assert_eq!(response.headers()["location"], format!("{PODS}/http:web:8000/proxy/there"));
}

#[tokio::test]
async fn services_lead_to_their_pods() {
    let world = world().await;
    let admin = world.admin();
    let check = async |name: &str, code: u16, text: &str| {
        let path = format!("{SERVICES}/{name}/proxy/x");
        let (given, answer) = admin.text(Method::GET, &path, "").await;
        assert_eq!(given, code, "{name}: {answer}");
        assert!(answer.contains(text), "{name}: {answer}");
    };
    check("web", 202, "GET /x HTTP").await;
    check("web:9000", 202, "GET /x HTTP").await;
    check("web:81", 503, "no service port 81 found for service").await;
    check("web:none", 503, "no endpoints available for service").await;
    check("ftp:web:80", 400, "invalid service request").await;
    check("other", 404, "not found").await;
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let world = world().await;
    let admin = world.admin();
    let response = admin.open(Method::GET, &format!("{PODS}/web/proxy?a=b"), "").await;
    assert_eq!(response.status(), 301);
    assert_eq!(response.headers()["location"], format!("{PODS}/web/proxy/?a=b"));
    let (code, status) = admin.get(&format!("{PODS}/web:8001/proxy/")).await;
    let message = "error trying to reach service: connection refused";
    assert_eq!((code, &status["message"]), (503, &json!(message)));
    let ann = world.user("ann", &[]);
    assert_eq!(ann.get(&format!("{PODS}/web/proxy/")).await.0, 403);
}

#[tokio::test]
async fn upgrades_go_through() {
    let world = world().await;
    let client = world.admin().with("connection", "Upgrade").with("upgrade", "echo");
    let response = client.open(Method::GET, &format!("{PODS}/web/proxy/ws"), "").await;
    assert_eq!(response.status(), 101);
    let mut stream = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    stream.write_all(b"hello").await.unwrap();
    let mut heard = [0; 5];
    stream.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"hello");
}

#[tokio::test]
async fn the_pages_of_a_nodes_agent_are_reached_without_its_address() {
    let world = World::with(Some(Arc::new(EchoNodes))).await;
    let admin = world.admin();
    let node = json!({"metadata": {"name": "n1"}});
    assert_eq!(admin.send(Method::POST, "/api/v1/nodes", &node).await.0, 201);
    for name in ["n1", "n1:10250", "https:n1:"] {
        let path = format!("/api/v1/nodes/{name}/proxy/healthz");
        let (code, text) = admin.text(Method::GET, &path, "").await;
        assert_eq!((code, &*text), (200, "this is /healthz"), "{name}");
    }
    let (code, text) = admin.text(Method::GET, "/api/v1/nodes/n1/proxy/x", "").await;
    assert_eq!((code, &*text), (404, "404 page not found\n"));
    let (code, _) = admin.text(Method::POST, "/api/v1/nodes/n1/proxy/healthz", "").await;
    assert_eq!(code, 405);
    let (code, _) = admin.text(Method::GET, "/api/v1/nodes/n2/proxy/healthz", "").await;
    assert_eq!(code, 404);
}
