//! Who may come, what they may do, and what is noted of it.

use std::time::Duration;

use pinnace::access::audit::{AuditFile, AuditLevel, AuditPolicy};
use pinnace::access::{
    AdmissionHook, Attributes, Authorizer, Decision, PodSecurityConfiguration, Ruling,
};
use pinnace::k8s_openapi::ByteString;
use pinnace::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use pinnace::{Engine, Env, ListOptions, Runtime};
use serde_json::json;

/// A host's own: Ann reads nodes.
struct Ann;

impl Authorizer for Ann {
    fn authorize(&self, asked: &Attributes<'_>) -> Decision {
        match (&*asked.user.name, asked.verb, asked.resource) {
            ("ann", "list", "nodes") => Decision::Allow,
            _ => Decision::Deny(String::new()),
        }
    }
}

#[tokio::test]
async fn a_host_decides_too_and_all_is_noted_before_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let engine = Engine::builder()
        .runtime(Runtime::simulated())
        .authorizer(Ann)
        .audit(AuditPolicy::all(AuditLevel::Metadata), AuditFile::new(&path, &Env::system()))
        .start()
        .await
        .unwrap();
    let ann = engine.as_user("ann", []);
    let list = async |kind: &str| {
        ann.named(kind).unwrap().list(None, Default::default()).await.map(|list| list.items.len())
    };
    assert_eq!(list("nodes").await.unwrap(), 1);
    assert_eq!(list("secrets").await.unwrap_err().code(), 403);
    engine.shutdown().await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let of_ann: Vec<_> =
        text.lines().filter(|line| line.contains("\"username\":\"ann\"")).collect();
    assert_eq!(of_ann.len(), 4, "two calls of two stages");
    assert!(of_ann[3].contains("\"code\":403"), "{}", of_ann[3]);
}

const CERTIFICATE_OF_NODES: &str = "{apiVersion: rbac.authorization.k8s.io/v1, \
    kind: ClusterRoleBinding, metadata: {name: nodes}, \
    roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, \
              name: 'system:certificates.k8s.io:certificatesigningrequests:selfnodeclient'}, \
    subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: 'system:nodes'}]}";

#[tokio::test]
async fn a_node_is_given_its_certificate_once_it_may_ask_for_it() {
    let engine = Engine::builder().runtime(Runtime::simulated()).nodes(0).start().await.unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "system:node:n1");
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    let request: CertificateSigningRequest = serde_json::from_value(json!({
        "metadata": {"name": "n1"},
        "spec": {"request": ByteString(pem.into_bytes()),
                 "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
                 "usages": ["digital signature", "client auth"]}}))
    .unwrap();
    let node = engine.as_user("system:node:n1", ["system:nodes".to_owned()]);
    node.of::<CertificateSigningRequest>().unwrap().create(request).await.unwrap();
    let status = async || engine.get("csr/n1").await.unwrap().to_value().unwrap()["status"].clone();
    assert_eq!(status().await["conditions"], json!(null), "it may not yet");
    engine.apply(CERTIFICATE_OF_NODES).await.unwrap();
    engine.wait("csr/n1", "Approved", Duration::from_secs(30)).await.unwrap();
    let issued = async {
        while status().await["certificate"].is_null() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), issued).await.unwrap();
    engine.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_host_says_what_is_asked_of_pods_and_which_rules_there_are() {
    let config = PodSecurityConfiguration::read(
        "{apiVersion: pod-security.admission.config.k8s.io/v1, kind: PodSecurityConfiguration, \
          defaults: {enforce: baseline}, exemptions: {namespaces: [kube-system]}}",
    );
    let builder = || Engine::builder().runtime(Runtime::simulated()).nodes(0);
    let pod = |namespace: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: p, namespace: {namespace}}}, \
              spec: {{hostNetwork: true, containers: [{{name: c, image: i}}]}}}}"
        )
    };
    let engine = builder().pod_security(config.unwrap()).start().await.unwrap();
    let refused = engine.apply(&pod("default")).await.unwrap_err().to_string();
    assert!(
        refused.contains("violates PodSecurity \"baseline:latest\": host namespaces"),
        "{refused}"
    );
    engine.apply(&pod("kube-system")).await.unwrap();
    engine.shutdown().await.unwrap();

    let unknown = builder().disable_admission(["Quota"]).start().await.unwrap_err();
    assert!(unknown.to_string().contains("there is no plugin \"Quota\""), "{unknown}");
}

#[tokio::test]
async fn a_configuration_tells_rules_of_admission_what_they_need_to_know() {
    let builder = || Engine::builder().runtime(Runtime::simulated()).nodes(0);
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    file(
        "quota.yaml",
        "{apiVersion: apiserver.config.k8s.io/v1, kind: ResourceQuotaConfiguration, \
          limitedResources: [{resource: secrets, matchContains: [count/]}]}",
    );
    let text = "apiVersion: apiserver.config.k8s.io/v1\n\
                kind: AdmissionConfiguration\n\
                plugins:\n\
                - name: PodSecurity\n  \
                  configuration: {apiVersion: pod-security.admission.config.k8s.io/v1, \
                    kind: PodSecurityConfiguration, defaults: {enforce: baseline}}\n\
                - name: ResourceQuota\n  path: quota.yaml\n";
    let path = file("admission.yaml", text);
    let started = builder().admission_configuration_file(&path).unwrap().start().await;
    let engine = started.unwrap();
    let pod = "{apiVersion: v1, kind: Pod, metadata: {name: p}, \
                spec: {hostNetwork: true, containers: [{name: c, image: i}]}}";
    let refused = engine.apply(pod).await.unwrap_err().to_string();
    assert!(refused.contains("violates PodSecurity \"baseline:latest\""), "{refused}");
    let secret = "{apiVersion: v1, kind: Secret, metadata: {name: s}}";
    let refused = engine.apply(secret).await.unwrap_err().to_string();
    assert!(refused.contains("insufficient quota to consume: count/secrets"), "{refused}");
    engine.shutdown().await.unwrap();
    let refused = builder().admission_configuration(text).unwrap_err().to_string();
    assert!(refused.contains("only a configuration in a file names others"), "{refused}");
    let missing = builder().admission_configuration_file(directory.path().join("none.yaml"));
    assert!(matches!(missing.unwrap_err(), pinnace::Error::Io { .. }));
}

#[tokio::test]
async fn a_function_that_refuses_everything_does_not_keep_an_engine_from_its_first_objects() {
    let refuses = AdmissionHook::validating("no", |_| {
        std::future::ready(Ok(Ruling::Refuse("never".to_owned())))
    });
    let builder = Engine::builder().runtime(Runtime::simulated()).nodes(0).admission(refuses);
    let engine = builder.start().await.unwrap();
    let namespaces = engine.list("namespaces", ListOptions::default()).await.unwrap();
    assert_eq!(namespaces.items.len(), 4);
    assert!(!engine.list("clusterroles", ListOptions::default()).await.unwrap().items.is_empty());
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: m}}";
    let refused = engine.apply(map).await.unwrap_err().to_string();
    assert!(refused.contains("configmaps \"m\" is forbidden: never"), "{refused}");
    engine.shutdown().await.unwrap();
}
