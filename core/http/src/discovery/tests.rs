use std::collections::BTreeSet;

use http::Request;
use serde_json::{Value, json};

use super::*;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
     application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

fn discovery() -> Discovery {
    Discovery::new(Catalog::builtin(), vec!["/healthz".to_owned()])
}

fn ask(discovery: &Discovery, path: &str, headers: &[(&str, &str)]) -> Option<Response<Bytes>> {
    let mut request = Request::get(path).header("host", "127.0.0.1:6443");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    discovery.respond(&parts)
}

fn read(path: &str, headers: &[(&str, &str)]) -> Value {
    let response = ask(&discovery(), path, headers).unwrap_or_else(|| panic!("{path}"));
    serde_json::from_slice(response.body()).unwrap()
}

#[track_caller]
fn entry(path: &str, name: &str) -> Value {
    let list = read(path, &[]);
    let found = list["resources"].as_array().unwrap().iter().find(|entry| entry["name"] == name);
    found.unwrap_or_else(|| panic!("{name} in {list}")).clone()
}

#[test]
fn the_roots_name_versions_groups_and_paths() {
    let api = read("/api", &[]);
    assert_eq!((&api["kind"], &api["versions"]), (&json!("APIVersions"), &json!(["v1"])));
    assert_eq!(api["serverAddressByClientCIDRs"][0]["serverAddress"], "127.0.0.1:6443");
    let apis = read("/apis/", &[]);
    assert_eq!(apis["kind"], "APIGroupList");
    let mut apps = read("/apis/apps", &[]);
    assert_eq!(apps["kind"].take(), "APIGroup");
    let names = |value: &Value| value["versions"].clone();
    let groups = apis["groups"].as_array().unwrap();
    let listed = groups.iter().find(|group| group["name"] == "apps").unwrap();
    assert_eq!(names(listed), names(&apps));
    assert!(listed.get("kind").is_none());
    assert_eq!(listed["preferredVersion"]["groupVersion"], "apps/v1");
    let paths = read("/", &[]);
    for path in ["/api", "/api/v1", "/apis", "/apis/apps/v1", "/healthz", "/version"] {
        assert!(paths["paths"].as_array().unwrap().contains(&json!(path)), "{path}");
    }
    for path in ["/api/v2", "/apis/nothing", "/apis/apps/v2", "/apis//v1", "/other"] {
        assert!(ask(&discovery(), path, &[]).is_none(), "{path}");
    }
}

#[test]
fn a_version_lists_its_kinds_and_what_is_below_them() {
    assert_eq!(
        entry("/apis/apps/v1", "deployments"),
        json!({
            "name": "deployments", "singularName": "deployment", "namespaced": true,
            "kind": "Deployment", "shortNames": ["deploy"], "categories": ["all"],
            "storageVersionHash": "8aSe+NMegvE=",
            "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update",
                      "watch"],
        })
    );
    let check = |path: &str, name: &str, [group, version, kind]: [&str; 3], verbs: &[&str]| {
        let entry = entry(path, name);
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            [text("group"), text("version"), text("kind")],
            [group, version, kind],
            "{name}"
        );
        assert_eq!(entry["verbs"], json!(verbs), "{name}");
        assert_eq!(entry["singularName"], "", "{name}");
    };
    let proxy = ["create", "delete", "get", "patch", "update"];
    let own = |kind| ["", "", kind];
    check("/apis/apps/v1", "deployments/scale", ["autoscaling", "v1", "Scale"], READ_WRITE);
    check("/apis/apps/v1", "deployments/status", own("Deployment"), READ_WRITE);
    check("/api/v1", "pods/binding", own("Binding"), &["create"]);
    check("/api/v1", "pods/log", own("Pod"), &["get"]);
    check("/api/v1", "pods/exec", own("PodExecOptions"), &["create", "get"]);
    check("/api/v1", "pods/proxy", own("PodProxyOptions"), &proxy);
    check("/api/v1", "nodes/proxy", own("NodeProxyOptions"), &proxy);
    check("/api/v1", "namespaces/finalize", own("Namespace"), &["update"]);
    assert_eq!(entry("/api/v1", "pods")["storageVersionHash"], "xPOwRZ+Yhw8=");
}

#[test]
fn kinds_have_upstreams_short_names_and_categories() {
    let table = "
        api-extensions: apiservices customresourcedefinitions mutatingadmissionpolicies
            mutatingadmissionpolicybindings mutatingwebhookconfigurations
            validatingadmissionpolicies validatingadmissionpolicybindings
            validatingwebhookconfigurations
        all: cronjobs daemonsets deployments horizontalpodautoscalers jobs pods replicasets
            replicationcontrollers services statefulsets
        certificatesigningrequests=csr componentstatuses=cs configmaps=cm cronjobs=cj customresourcedefinitions=crd,crds
        daemonsets=ds deployments=deploy endpoints=ep events=ev horizontalpodautoscalers=hpa
        ingresses=ing ipaddresses=ip limitranges=limits namespaces=ns networkpolicies=netpol
        nodes=no persistentvolumeclaims=pvc persistentvolumes=pv poddisruptionbudgets=pdb pods=po
        priorityclasses=pc replicasets=rs replicationcontrollers=rc resourcequotas=quota
        serviceaccounts=sa services=svc statefulsets=sts storageclasses=sc
        volumeattributesclasses=vac";
    let mut expected = BTreeSet::new();
    let mut category = "";
    for word in table.split_whitespace() {
        if let Some(name) = word.strip_suffix(':') {
            category = name;
        } else if let Some((plural, short)) = word.split_once('=') {
            expected.insert(format!("{plural} is {short}"));
        } else {
            expected.insert(format!("{word} is in {category}"));
        }
    }
    let mut found = BTreeSet::new();
    for resource in discovery().catalog.all().iter().filter(|one| one.is_served()) {
        if !resource.short_names.is_empty() {
            found.insert(format!("{} is {}", resource.plural, resource.short_names.join(",")));
        }
        for category in &resource.categories {
            found.insert(format!("{} is in {category}", resource.plural));
        }
    }
    assert_eq!(found, expected);
}

const READ_WRITE: &[&str] = &["get", "patch", "update"];

#[test]
fn aggregated_discovery_says_the_same_in_one_document() {
    let discovery = discovery();
    let response = ask(&discovery, "/apis", &[("accept", AGGREGATED)]).unwrap();
    assert_eq!(response.headers()["content-type"], V2);
    let list: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(list["apiVersion"], "apidiscovery.k8s.io/v2");
    let groups = list["items"].as_array().unwrap();
    let apps = groups.iter().find(|group| group["metadata"]["name"] == "apps").unwrap();
    let resources = apps["versions"][0]["resources"].as_array().unwrap();
    let deployments = resources.iter().find(|one| one["resource"] == "deployments").unwrap();
    assert_eq!(deployments["scope"], "Namespaced");
    assert_eq!(
        deployments["responseKind"],
        json!({"group": "", "version": "", "kind": "Deployment"})
    );
    assert_eq!(
        deployments["subresources"][0],
        json!({
            "subresource": "scale", "verbs": ["get", "patch", "update"],
            "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
        })
    );
    let older = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    let core = read("/api", &[("accept", older)]);
    assert_eq!(core["apiVersion"], "apidiscovery.k8s.io/v2beta1");
    assert_eq!(core["items"].as_array().unwrap().len(), 1);
}

#[test]
fn a_client_that_has_a_document_is_told_so_until_the_catalog_changes() {
    let discovery = discovery();
    let ask = |etag: &str| {
        ask(&discovery, "/apis", &[("accept", AGGREGATED), ("if-none-match", etag)]).unwrap()
    };
    let first = ask("");
    let etag = first.headers()["etag"].to_str().unwrap();
    assert_eq!((first.status(), ask(etag).status()), (StatusCode::OK, StatusCode::NOT_MODIFIED));
    assert_eq!(ask("").body().as_ptr(), first.body().as_ptr(), "made once");
    discovery.catalog.unregister("apps", "deployments");
    let changed = ask(etag);
    assert_eq!(changed.status(), StatusCode::OK);
    assert_ne!(changed.headers()["etag"], etag);
}

#[test]
fn the_version_is_one_that_clients_can_compare() {
    let version = read("/version", &[]);
    assert_eq!((&version["major"], &version["minor"]), (&json!("1"), &json!("36")));
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1.36."));
}
