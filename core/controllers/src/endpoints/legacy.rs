//! Endpoints: the same in one object, as it was before slices.

use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service,
};
use k8s_openapi::api::discovery::v1::Endpoint;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::{Key, Result, Typed};
use pinnace_client::DeleteOptions;

use super::Serving;
use super::desired::{Groups, Port};

/// Most addresses that one object lists; the slices list all.
const MOST: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";

impl Serving {
    /// Takes away the Endpoints of a service that is gone, if they were made here.
    pub(super) async fn remove_endpoints(&self, key: &Key) -> Result<()> {
        let found = self.endpoints.get(key).filter(|found| {
            let labels = found.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == MANAGER)
        });
        if found.is_none() {
            return Ok(());
        }
        match self.endpoints_api.delete(key, DeleteOptions::default()).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Brings the Endpoints of a service to what is desired: the family of its first address.
    pub(super) async fn sync_endpoints(
        &self,
        service: &Typed<Service>,
        desired: &Groups,
    ) -> Result<()> {
        let key = service.object().key();
        let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
        let family = families.and_then(|all| all.first()).map_or("IPv4", String::as_str);
        let mut room = MOST;
        let mut over = false;
        let mut subsets = Vec::new();
        for ((_, ports), endpoints) in desired.iter().filter(|((of, _), _)| of == family) {
            over |= endpoints.len() > room;
            let endpoints = &endpoints[..endpoints.len().min(room)];
            room -= endpoints.len();
            subsets.extend(subset(ports, endpoints));
        }
        let mut labels = service.metadata.labels.clone().unwrap_or_default();
        labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
        if service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None") {
            labels.insert(HEADLESS.to_owned(), String::new());
        }
        let subsets = Some(subsets).filter(|subsets| !subsets.is_empty());
        let mut new = match self.endpoints.get(&key) {
            Some(found) => found.to_owned(),
            None => Endpoints {
                metadata: ObjectMeta {
                    name: service.metadata.name.clone(),
                    namespace: service.metadata.namespace.clone(),
                    ..Default::default()
                },
                subsets: None,
            },
        };
        let old = new.clone();
        new.subsets = subsets;
        new.metadata.labels = Some(labels);
        let mut annotations = new.metadata.annotations.take().unwrap_or_default();
        annotations.remove(OVER_CAPACITY);
        if over {
            annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
        }
        new.metadata.annotations = Some(annotations).filter(|all| !all.is_empty());
        let exists = new.metadata.uid.is_some();
        if exists && new == old {
            return Ok(());
        }
        let written = match exists {
            true => self.endpoints_api.update(new).await,
            false => self.endpoints_api.create(new).await,
        };
        match written {
            Ok(_) => Ok(()),
            Err(error) if error.message().contains("because it is being terminated") => Ok(()),
            // The cache is behind: its next change brings the service back no sooner than a retry.
            Err(error) => Err(error),
        }
    }
}

fn subset(ports: &[Port], endpoints: &[Endpoint]) -> Option<EndpointSubset> {
    let address = |endpoint: &Endpoint| EndpointAddress {
        ip: endpoint.addresses.first().cloned().unwrap_or_default(),
        hostname: endpoint.hostname.clone(),
        node_name: endpoint.node_name.clone(),
        target_ref: endpoint.target_ref.clone(),
    };
    let is = |endpoint: &&Endpoint, ready: bool| {
        let conditions = endpoint.conditions.as_ref();
        // Pods that go are left out: only slices can tell of them.
        let going = conditions.and_then(|one| one.terminating) == Some(true);
        let is_ready = conditions.and_then(|one| one.ready) == Some(true);
        is_ready == ready && (!going || is_ready)
    };
    let list = |ready: bool| -> Option<Vec<EndpointAddress>> {
        let all: Vec<_> = endpoints.iter().filter(|one| is(one, ready)).map(address).collect();
        Some(all).filter(|all| !all.is_empty())
    };
    let (addresses, not_ready_addresses) = (list(true), list(false));
    if addresses.is_none() && not_ready_addresses.is_none() {
        return None;
    }
    let ports: Vec<EndpointPort> = ports
        .iter()
        .map(|port| EndpointPort {
            name: Some(port.name.clone()).filter(|name| !name.is_empty()),
            port: port.number,
            protocol: Some(port.protocol.clone()),
            app_protocol: port.application.clone(),
        })
        .collect();
    let ports = Some(ports).filter(|ports| !ports.is_empty());
    Some(EndpointSubset { addresses, not_ready_addresses, ports })
}
