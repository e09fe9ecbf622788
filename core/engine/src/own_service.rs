//! The service `kubernetes` in the namespace `default`: where pods and people find the API.

use std::net::SocketAddr;

use pinnace_api::Key;
use pinnace_api::patch::Patch;
use pinnace_client::{Client, WriteOptions};
use serde_json::{Value, json};

use crate::Result;

const NAME: &str = "kubernetes";
const NAMESPACE: &str = "default";
/// Who keeps it, as upstream names it.
const MANAGER: &str = "kube-apiserver";

/// Makes the service, and leads it to an address that the API is served on. What listens on
/// loopback alone is nothing that pods could reach, so the service leads nowhere then.
///
/// The API is served even where a webhook lets nobody write: how else would that be mended?
pub(crate) async fn publish(client: &Client, address: SocketAddr) {
    let led = async {
        apply(client, "services", service(address)).await?;
        if !address.ip().is_loopback() && !address.ip().is_unspecified() {
            apply(client, "endpointslices", slice(address)).await?;
        }
        Ok::<_, crate::Error>(())
    };
    if let Err(error) = led.await {
        tracing::warn!(%error, "the service {NAME} does not lead to this API");
    }
}

async fn apply(client: &Client, kind: &str, object: Value) -> Result<()> {
    let options = WriteOptions {
        field_manager: Some(MANAGER.to_owned()),
        force: true,
        ..WriteOptions::default()
    };
    let key = Key::new(NAMESPACE, NAME);
    client.named(kind)?.patch(&key, Patch::Apply(object), options).await?;
    Ok(())
}

fn service(address: SocketAddr) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": NAME, "namespace": NAMESPACE,
            "labels": {"component": "apiserver", "provider": NAME},
        },
        "spec": {"ports": [
            {"name": "https", "port": 443, "protocol": "TCP", "targetPort": address.port()},
        ]},
    })
}

fn slice(address: SocketAddr) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": NAME, "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": NAME},
        },
        "addressType": if address.is_ipv4() { "IPv4" } else { "IPv6" },
        "endpoints": [{"addresses": [address.ip().to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": address.port(), "protocol": "TCP"}],
    })
}
