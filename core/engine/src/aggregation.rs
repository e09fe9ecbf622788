//! Servers of other groups: by what they know that a request comes from this engine, and who asks
//! them whether they are there.

use async_trait::async_trait;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use pinnace_api::Key;
use pinnace_api::patch::Patch;
use pinnace_client::{Client, WriteOptions};
use pinnace_controllers::ExtensionServers;
use pinnace_http::{Authority, Front, PROXY_NAME};
use serde_json::json;

use crate::Result;

/// Where other servers read whom to believe, as upstream names it.
const NAME: &str = "extension-apiserver-authentication";
const NAMESPACE: &str = "kube-system";
/// Who keeps it, as upstream names it.
const MANAGER: &str = "kube-apiserver";

/// Tells other servers whom to believe: callers with certificates of the cluster, and this engine
/// when it says who a caller is, which `proxy` vouches for.
pub(crate) async fn publish(client: &Client, cluster: &Authority, proxy: &Authority) -> Result<()> {
    let list = |name: &str| json!([name]).to_string();
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "data": {
            "client-ca-file": cluster.certificate_pem(),
            "requestheader-allowed-names": list(PROXY_NAME),
            "requestheader-client-ca-file": proxy.certificate_pem(),
            "requestheader-extra-headers-prefix": list("X-Remote-Extra-"),
            "requestheader-group-headers": list("X-Remote-Group"),
            "requestheader-uid-headers": list("X-Remote-Uid"),
            "requestheader-username-headers": list("X-Remote-User"),
        },
    });
    let options = WriteOptions {
        field_manager: Some(MANAGER.to_owned()),
        force: true,
        ..WriteOptions::default()
    };
    let key = Key::new(NAMESPACE, NAME);
    let maps = client.named("configmaps")?;
    if let Some(found) = maps.find(&key).await?
        && found.to_value()?["data"] == object["data"]
    {
        // It is not written once more: an engine starts even where a webhook lets nobody write.
        return Ok(());
    }
    maps.patch(&key, Patch::Apply(object), options).await?;
    Ok(())
}

/// Asks other servers by way of the front, which shows what they have.
#[derive(Debug)]
pub(crate) struct Servers(pub(crate) Front);

#[async_trait]
impl ExtensionServers for Servers {
    async fn check(&self, service: &APIService) -> Result<(), String> {
        match self.0.aggregator() {
            Some(aggregator) => aggregator.check(service).await,
            None => Err("service unavailable".to_owned()),
        }
    }

    fn knows(&self, name: &str) -> bool {
        self.0.aggregator().is_some_and(|aggregator| aggregator.knows(name))
    }

    fn forget(&self, name: &str) {
        if let Some(aggregator) = self.0.aggregator() {
            aggregator.forget(name);
        }
    }
}
