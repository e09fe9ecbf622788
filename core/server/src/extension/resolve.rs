use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{EndpointPort, EndpointSlice};
use pinnace_api::{ApiError, Key, Reason, Result};
use pinnace_store::Snapshot;

const SERVICES: &str = "services";
const SLICES: &str = "endpointslices.discovery.k8s.io";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Types of services that lead to endpoints.
const TYPES: [&str; 4] = ["", "ClusterIP", "LoadBalancer", "NodePort"];

/// The ready endpoints behind a port of a service.
///
/// # Errors
/// `NotFound` and `ServiceUnavailable`, in upstream's words.
pub(crate) fn resolve_service(
    snapshot: &Snapshot,
    namespace: &str,
    name: &str,
    port: u16,
) -> Result<Vec<SocketAddr>> {
    let unavailable = |why: String| ApiError::new(Reason::ServiceUnavailable, why);
    let found = snapshot.get(SERVICES, &Key::new(namespace, name));
    let not_found = || ApiError::new(Reason::NotFound, format!("service {name:?} not found"));
    let service = found.ok_or_else(not_found)?.get::<Service>()?;
    let spec = service.spec.as_ref();
    let type_ = spec.and_then(|spec| spec.type_.as_deref()).unwrap_or_default();
    if !TYPES.contains(&type_) {
        return Err(unavailable(format!("unsupported service type {type_:?}")));
    }
    let mut ports = spec.into_iter().flat_map(|spec| spec.ports.iter().flatten());
    let found = ports
        .find(|one| one.port == i32::from(port))
        .ok_or_else(|| unavailable(format!("no service port {port} found for service {name:?}")))?;
    let port_name = found.name.as_deref().unwrap_or_default();
    let mut addresses = Vec::new();
    for object in snapshot.iter_namespace(SLICES, namespace) {
        let of = object.labels().and_then(|labels| labels.get(SERVICE_NAME));
        if of.is_some_and(|of| of == name) {
            addresses.extend(ready(object.get()?, port_name));
        }
    }
    if addresses.is_empty() {
        return Err(unavailable(format!("no endpoints available for service {name:?}")));
    }
    Ok(addresses)
}

/// The ready endpoints of a port in a slice.
fn ready<'a>(slice: &'a EndpointSlice, port: &str) -> impl Iterator<Item = SocketAddr> + 'a {
    let named = |one: &&EndpointPort| one.name.as_deref().unwrap_or_default() == port;
    let number = slice.ports.iter().flatten().find(named).and_then(|one| one.port);
    let number = number.and_then(|number| u16::try_from(number).ok());
    slice.endpoints.iter().flatten().filter_map(move |endpoint| {
        let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
        let address = endpoint.addresses.first()?.parse::<IpAddr>().ok()?;
        (ready != Some(false)).then_some(SocketAddr::new(address, number?))
    })
}
