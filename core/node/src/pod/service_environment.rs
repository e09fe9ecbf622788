//! What the environment of a container says of the services around it, as Docker's links did.

use k8s_openapi::api::core::v1::{Pod, Service};
use pinnace_api::ApiError;
use pinnace_client::Client;

use super::record;

/// The namespace and name of the API's own service, of which every container learns.
const API_SERVICE: (&str, &str) = ("default", "kubernetes");

/// The variables of the services of a pod's namespace, unless the pod wants none, and of the API.
///
/// # Errors
/// What the API answers.
pub(crate) async fn read(client: &Client, pod: &Pod) -> Result<Vec<(String, String)>, ApiError> {
    let api = client.of::<Service>()?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let (api_namespace, api_name) = API_SERVICE;
    let mut services: Vec<Service> = Vec::new();
    if let Some(service) = api.find(&pinnace_api::Key::new(api_namespace, api_name)).await? {
        services.push((*service).clone());
    }
    if record::spec_of(pod).enable_service_links != Some(false) {
        let list = api.list(Some(namespace), pinnace_client::ListOptions::default()).await?;
        let own = list.items.iter().filter(|service| {
            let name = service.metadata.name.as_deref();
            (namespace, name) != (api_namespace, Some(api_name))
        });
        services.extend(own.map(|service| (**service).clone()));
    }
    Ok(services.iter().flat_map(variables).collect())
}

/// The variables of one service; none for one without an address.
fn variables(service: &Service) -> Vec<(String, String)> {
    let spec = service.spec.as_ref();
    let address = spec.and_then(|spec| spec.cluster_ip.as_deref());
    let address = address.filter(|address| !address.is_empty() && *address != "None");
    let ports = spec.and_then(|spec| spec.ports.as_deref()).unwrap_or_default();
    let (Some(address), Some(first)) = (address, ports.first()) else { return Vec::new() };
    let name = upper(service.metadata.name.as_deref().unwrap_or_default());
    let mut all = vec![
        (format!("{name}_SERVICE_HOST"), address.to_owned()),
        (format!("{name}_SERVICE_PORT"), first.port.to_string()),
    ];
    for port in ports {
        if let Some(of) = port.name.as_deref().filter(|name| !name.is_empty()) {
            all.push((format!("{name}_SERVICE_PORT_{}", upper(of)), port.port.to_string()));
        }
    }
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    for (at, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let lower = protocol.to_lowercase();
        let url = format!("{lower}://{host}:{}", port.port);
        let prefix = format!("{name}_PORT_{}_{}", port.port, protocol.to_uppercase());
        if at == 0 {
            all.push((format!("{name}_PORT"), url.clone()));
        }
        all.extend([
            (prefix.clone(), url),
            (format!("{prefix}_PROTO"), lower),
            (format!("{prefix}_PORT"), port.port.to_string()),
            (format!("{prefix}_ADDR"), address.to_owned()),
        ]);
    }
    all
}

fn upper(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(spec: serde_json::Value, expected: &[(&str, &str)]) {
        let service = json!({"metadata": {"name": "red-db"}, "spec": spec});
        let service: Service = serde_json::from_value(service).unwrap();
        let expected: Vec<(String, String)> =
            expected.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        assert_eq!(variables(&service), expected);
    }

    #[test]
    fn a_service_shows_with_its_address_and_ports() {
        check(
            json!({"clusterIP": "10.0.0.11", "ports": [
                {"name": "p-1", "port": 6379, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]}),
            &[
                ("RED_DB_SERVICE_HOST", "10.0.0.11"),
                ("RED_DB_SERVICE_PORT", "6379"),
                ("RED_DB_SERVICE_PORT_P_1", "6379"),
                ("RED_DB_PORT", "tcp://10.0.0.11:6379"),
                ("RED_DB_PORT_6379_TCP", "tcp://10.0.0.11:6379"),
                ("RED_DB_PORT_6379_TCP_PROTO", "tcp"),
                ("RED_DB_PORT_6379_TCP_PORT", "6379"),
                ("RED_DB_PORT_6379_TCP_ADDR", "10.0.0.11"),
                ("RED_DB_PORT_53_UDP", "udp://10.0.0.11:53"),
                ("RED_DB_PORT_53_UDP_PROTO", "udp"),
                ("RED_DB_PORT_53_UDP_PORT", "53"),
                ("RED_DB_PORT_53_UDP_ADDR", "10.0.0.11"),
            ],
        );
        check(json!({"clusterIP": "None", "ports": [{"port": 80}]}), &[]);
        check(json!({"ports": [{"port": 80}]}), &[]);
    }
}
