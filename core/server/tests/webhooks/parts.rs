//! Webhooks of services, and of what is done to pods.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use pinnace_api::{Draft, Key};
use pinnace_client::{Subresource, Target, Transport as _, WriteOptions};
use pinnace_server::{
    ExtensionAddress, ExtensionAnswer, ExtensionClient, ExtensionRequest, InProcess, User,
};
use serde_json::{Value, json};

use crate::support::{World, check_error};

const VALIDATING: &str = "validatingwebhookconfiguration";

#[tokio::test]
async fn what_is_done_to_a_pod_is_asked_about_by_its_own_kind() {
    let world = World::new().await;
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    world.create("pod", pod).await.unwrap();
    let rules = json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]);
    world.register(VALIDATING, &[json!({"rules": rules})]).await;
    world.respond("a", |_| json!({"allowed": false, "status": {"message": "no"}}));
    let transport = InProcess::new(world.server.clone(), User::host());
    let parts = [
        (
            "pods",
            "p",
            Subresource::Binding,
            json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n"}}),
        ),
        (
            "pods",
            "p",
            Subresource::Eviction,
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}),
        ),
    ];
    for (plural, name, part, body) in parts {
        let kind = world.server.catalog().resolve(plural).unwrap();
        let target = Target::part(kind, Key::new("default", name), part);
        let codec = match part {
            Subresource::Binding => pinnace_api::Codec::of::<k8s_openapi::api::core::v1::Binding>(),
            _ => pinnace_api::Codec::of::<k8s_openapi::api::policy::v1::Eviction>(),
        };
        let draft = Draft::from_value(codec, body.clone()).unwrap();
        let done = transport.create(target, draft, WriteOptions::default()).await;
        check_error(done, 400, "admission webhook \"a.example.com\" denied the request: no");
        let asked = world.asked();
        assert_eq!(asked.len(), 1);
        let request = &asked[0]["request"];
        assert_eq!(
            (&request["kind"]["kind"], &request["subResource"]),
            (&body["kind"], &json!(part.as_str()))
        );
        assert_eq!(request["resource"]["resource"], plural);
    }
}

/// Keeps where it was sent.
#[derive(Default)]
struct Places(Mutex<Vec<(ExtensionAddress, String)>>);

#[async_trait]
impl ExtensionClient for Places {
    async fn post(&self, request: ExtensionRequest) -> Result<ExtensionAnswer, String> {
        self.0.lock().push((request.address, request.path));
        Err("connection refused".to_owned())
    }
}

#[tokio::test]
async fn services_are_found_by_their_endpoints() {
    let places = Arc::new(Places::default());
    let given = places.clone();
    let world = World::with(move |builder| builder.extensions(given)).await;
    let service = json!({"namespace": "default", "name": "hooks", "path": "/check", "port": 8443});
    let config = json!({"service": service, "caBundle": "LS0tCg=="});
    world.register(VALIDATING, &[json!({"clientConfig": config})]).await;
    let prefix = "Internal error occurred: failed calling webhook \"a.example.com\": failed to call webhook: \
                  Post \"https://hooks.default.svc:8443/check?timeout=10s\": ";
    check_error(world.config_map().await, 500, &format!("{prefix}service \"hooks\" not found"));
    world
        .create(
            "service",
            json!({"metadata": {"name": "hooks"}, "spec": {"ports": [{"port": 443}]}}),
        )
        .await
        .unwrap();
    check_error(
        world.config_map().await,
        500,
        &format!("{prefix}no service port 8443 found for service \"hooks\""),
    );
    let ports = json!([{"name": "x", "port": 8443, "targetPort": 9443}]);
    world.patch("service", "hooks", json!({"spec": {"ports": ports}})).await.unwrap();
    check_error(
        world.config_map().await,
        500,
        &format!("{prefix}no endpoints available for service \"hooks\""),
    );
    let slice: Value = json!({"metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "hooks"}},
        "addressType": "IPv4", "ports": [{"name": "x", "port": 9443}],
        "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"], "conditions": {"ready": false}}]});
    world.create("endpointslice", slice).await.unwrap();
    check_error(world.config_map().await, 500, &format!("{prefix}connection refused"));
    let (address, path) = places.0.lock().pop().unwrap();
    assert_eq!(address.addresses, [SocketAddr::from(([10, 0, 0, 1], 9443))]);
    assert_eq!((&*address.server_name, &*path), ("hooks.default.svc", "/check?timeout=10s"));
    assert_eq!(address.ca_bundle.as_deref(), Some(&b"---\n"[..]));
}

#[tokio::test]
async fn questions_are_for_webhooks_and_not_for_policies() {
    let world = World::new().await;
    let everything = json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]);
    let spec = json!({"matchConstraints": {"resourceRules": everything},
        "validations": [{"expression": "false"}]});
    let ask = async || {
        let attributes = json!({"verb": "get", "resource": "pods"});
        let spec = json!({"resourceAttributes": attributes});
        world.create("selfsubjectaccessreview", json!({"metadata": {}, "spec": spec})).await
    };
    let policy = json!({"metadata": {"name": "p"}, "spec": spec});
    world.create("validatingadmissionpolicy", policy).await.unwrap();
    world.register(VALIDATING, &[json!({"rules": everything})]).await;
    let bound = json!({"policyName": "p", "validationActions": ["Deny"]});
    let binding = json!({"metadata": {"name": "b"}, "spec": bound});
    world.respond("a", |_| json!({"allowed": true}));
    world.create("validatingadmissionpolicybinding", binding).await.unwrap();
    assert!(world.config_map().await.is_err(), "the policy is in force");
    world.asked();
    assert_eq!(ask().await.unwrap().to_value().unwrap()["status"]["allowed"], true);
    let asked = world.asked();
    let request = &asked[0]["request"];
    assert_eq!(
        (&request["operation"], &request["resource"]["resource"]),
        (&json!("CREATE"), &json!("selfsubjectaccessreviews"))
    );
    world.respond("a", |_| json!({"allowed": false, "status": {"message": "no"}}));
    check_error(ask().await, 400, "admission webhook \"a.example.com\" denied the request: no");
}
