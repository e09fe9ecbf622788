//! Where services are served: EndpointSlices, and Endpoints for those who still read them.

mod desired;
mod legacy;
mod slices;

use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use pinnace_api::selector::Selector;
use pinnace_api::{Key, Object, Result};
use pinnace_client::{Api, Lister};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;
use crate::written::Written;

/// How long changes of pods are collected before their services are looked at.
const SETTLE: Duration = Duration::from_millis(10);
/// The label by which a slice names its service, and the index by it.
const SERVICE: &str = "kubernetes.io/service-name";

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let services = context.informers.of::<Service>()?;
    let pods = context.informers.of::<Pod>()?;
    let slices = context.informers.of::<EndpointSlice>()?;
    slices.informer().index(SERVICE, |slice| {
        let name = slice.labels().and_then(|labels| labels.get(SERVICE));
        name.map(|name| format!("{}/{name}", slice.namespace())).into_iter().collect()
    });
    let reconciler = Serving {
        services: services.clone(),
        pods: pods.clone(),
        nodes: context.informers.of()?,
        slices: slices.clone(),
        endpoints: context.informers.of()?,
        slice_api: context.client().of()?,
        endpoints_api: context.client().of()?,
        written: Written::default(),
    };
    let by_namespace = services.clone();
    let controller = Controller::new(reconciler, &context.env)
        .watches(services.informer())
        .maps(pods.informer(), move |delta, queue| {
            if !desired::matters(delta.old.as_ref(), delta.new.as_ref()) {
                return;
            }
            for pod in [&delta.old, &delta.new].into_iter().flatten() {
                for service in by_namespace.list(Some(pod.namespace())) {
                    if selector_of(&service).is_some_and(|one| one.matches(pod.labels())) {
                        queue.add_after(service.object().key(), SETTLE);
                    }
                }
            }
        })
        .maps(slices.informer(), |delta, queue| {
            // Somebody else's change of a slice of ours is undone.
            if let Some(key) = delta.object().and_then(service_key) {
                queue.add_after(key, SETTLE);
            }
        });
    Ok(controller)
}

fn service_key(slice: &Object) -> Option<Key> {
    let labels = slice.labels()?;
    let ours = labels.get(slices::MANAGED_BY).is_some_and(|by| by == slices::MANAGER);
    let name = labels.get(SERVICE).filter(|_| ours)?;
    Some(Key::new(slice.namespace(), name.as_str()))
}

struct Serving {
    services: Lister<Service>,
    pods: Lister<Pod>,
    nodes: Lister<Node>,
    slices: Lister<EndpointSlice>,
    endpoints: Lister<Endpoints>,
    slice_api: Api<EndpointSlice>,
    endpoints_api: Api<Endpoints>,
    written: Written,
}

/// What a service selects; `None` if others say where it is served.
fn selector_of(service: &Service) -> Option<Selector> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
    Some(Selector::from_labels(selector))
}

#[async_trait]
impl Reconciler for Serving {
    fn name(&self) -> &str {
        "endpointslice"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        self.written.seen_by(self.slices.informer(), key).await;
        let service = self.services.get(key).filter(|service| !service.object().is_deleting());
        let Some(service) = service else {
            // Slices have an owner and are the garbage collector's; Endpoints have none.
            self.remove_endpoints(key).await?;
            return Ok(Action::Done);
        };
        let Some(selector) = selector_of(&service) else { return Ok(Action::Done) };
        let mut pods = self.pods.list(Some(key.namespace()));
        pods.retain(|pod| selector.matches(pod.object().labels()));
        pods.sort_by(|a, b| a.object().name().cmp(b.object().name()));
        let desired = desired::of(&service, &pods, |node| {
            let node = self.nodes.get(&Key::cluster(node))?;
            node.object().labels()?.get("topology.kubernetes.io/zone").cloned()
        });
        self.sync_slices(&service, &desired).await?;
        self.sync_endpoints(&service, &desired).await?;
        Ok(Action::Done)
    }
}
