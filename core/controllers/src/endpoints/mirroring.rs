//! EndpointSlices of services whose Endpoints somebody writes by hand.

use std::collections::BTreeMap;
use std::net::IpAddr;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{EndpointAddress, EndpointSubset, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions};
use pinnace_api::{Key, Result, Typed};
use pinnace_client::Lister;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use super::desired::{Groups, Port};
use super::slices::{Slices, Wanted};
use super::{SETTLE, service_key};
use crate::Context;
use crate::claim::controller_reference;

const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// Annotations that are about the Endpoints alone.
const OWN: [&str; 2] = [
    "endpoints.kubernetes.io/last-change-trigger-time",
    "kubectl.kubernetes.io/last-applied-configuration",
];
/// Most addresses of a subset that are mirrored.
const MOST: usize = 1000;

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let endpoints = context.informers.of::<Endpoints>()?;
    let services = context.informers.of::<Service>()?;
    let slices = Slices::new(context)?;
    let informer = slices.lister.informer().clone();
    let mirroring = Mirroring { endpoints: endpoints.clone(), services: services.clone(), slices };
    let controller = Controller::new(mirroring, &context.env)
        .watches(endpoints.informer())
        .watches(services.informer())
        .maps(&informer, |delta, queue| {
            if let Some(key) = delta.object().and_then(|slice| service_key(slice, MANAGER)) {
                queue.add_after(key, SETTLE);
            }
        });
    Ok(controller)
}

struct Mirroring {
    endpoints: Lister<Endpoints>,
    services: Lister<Service>,
    slices: Slices,
}

#[async_trait]
impl Reconciler for Mirroring {
    fn name(&self) -> &str {
        "endpointslicemirroring"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        self.slices.caught_up(key).await;
        let endpoints = self.endpoints.get(key).filter(is_mirrored);
        let service = self.services.get(key).filter(|service| is_served_by_hand(service));
        let (Some(endpoints), Some(_)) = (endpoints, service) else {
            self.slices.clear(key, MANAGER).await?;
            return Ok(Action::Done);
        };
        let owner = controller_reference("v1", "Endpoints", &endpoints.metadata);
        let labels = endpoints.metadata.labels.clone();
        let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
        annotations.retain(|name, _| !OWN.contains(&name.as_str()));
        let wanted = Wanted::new(key.clone(), owner, MANAGER, labels).annotated(annotations);
        self.slices.sync(&wanted, &groups(&endpoints)).await?;
        Ok(Action::Done)
    }
}

fn is_mirrored(endpoints: &Typed<Endpoints>) -> bool {
    let labels = endpoints.metadata.labels.as_ref();
    let skipped = labels.and_then(|labels| labels.get(SKIP)).is_some_and(|skip| skip == "true");
    let annotations = endpoints.metadata.annotations.as_ref();
    let elects = annotations.is_some_and(|annotations| annotations.contains_key(LEADER));
    !skipped && !elects && !endpoints.object().is_deleting()
}

fn is_served_by_hand(service: &Service) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    service.metadata.deletion_timestamp.is_none() && selector.is_none_or(BTreeMap::is_empty)
}

fn groups(endpoints: &Endpoints) -> Groups {
    let mut groups = Groups::new();
    for subset in endpoints.subsets.iter().flatten() {
        let ports = ports(subset);
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let waiting = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        for (address, ready) in ready.chain(waiting).take(MOST) {
            let Ok(parsed) = address.ip.parse::<IpAddr>() else { continue };
            let family = if parsed.is_ipv4() { "IPv4" } else { "IPv6" };
            let group = groups.entry((family.to_owned(), ports.clone())).or_default();
            group.push(endpoint(address, ready));
        }
    }
    groups
}

fn ports(subset: &EndpointSubset) -> Vec<Port> {
    let ports = subset.ports.iter().flatten().map(|port| Port {
        name: port.name.clone().unwrap_or_default(),
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        number: port.port,
        application: port.app_protocol.clone(),
    });
    ports.collect()
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![address.ip.clone()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..Default::default() }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Default::default()
    }
}
