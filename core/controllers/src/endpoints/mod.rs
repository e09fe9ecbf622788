//! Where services are served: EndpointSlices, and Endpoints for those who still read them.

mod desired;
mod hints;
mod legacy;
mod mirroring;
mod slices;
mod topology;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Endpoints, Node, Pod, Service};
use pinnace_api::selector::Selector;
use pinnace_api::{Key, Object, Result};
use pinnace_client::{Api, Lister};
use pinnace_reconcile::{Action, BoxError, Controller, Queue, Reconciler};

use crate::{Context, labelled};
pub(crate) use mirroring::controller as mirroring_controller;
use slices::{Slices, Wanted};
use topology::Topology;

/// How long changes of pods are collected before their services are looked at.
const SETTLE: Duration = Duration::from_millis(10);
/// The label by which a slice names its service, and the index by it.
const SERVICE: &str = "kubernetes.io/service-name";

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let services = context.informers.of::<Service>()?;
    let pods = context.informers.of::<Pod>()?;
    labelled::index(pods.informer());
    labelled::index_selectors(services.informer(), |object| {
        let service = object.get::<Service>().ok();
        let labels = service.and_then(|service| service.spec.as_ref()?.selector.as_ref());
        // Who selects nothing is not served by pods.
        let labels = labels.filter(|labels| !labels.is_empty());
        labels.map(|all| labelled::selecting(object.namespace(), Some(all))).unwrap_or_default()
    });
    let slices = Slices::new(context)?;
    let informer = slices.lister.informer().clone();
    let nodes = context.informers.of::<Node>()?;
    let recorder = context.recorder.component("endpoint-slice-controller");
    let topology = Arc::new(Topology::new(nodes.clone(), recorder));
    let reconciler = Arc::new(Serving {
        services: services.clone(),
        pods: pods.clone(),
        nodes: nodes.clone(),
        slices,
        topology: topology.clone(),
        queue: OnceLock::new(),
        endpoints: context.informers.of()?,
        endpoints_api: context.client().of()?,
    });
    let selecting = services.clone();
    let controller = Controller::shared(reconciler.clone(), &context.env);
    // Set once, here.
    let _ = reconciler.queue.set(controller.queue().clone());
    let controller = controller
        .watches(services.informer())
        .maps(pods.informer(), move |delta, queue| {
            if !desired::matters(delta.old.as_ref(), delta.new.as_ref()) {
                return;
            }
            for pod in [&delta.old, &delta.new].into_iter().flatten() {
                for service in labelled::selectors_of(&selecting, pod) {
                    if selector_of(&service).is_some_and(|one| one.matches(pod.labels())) {
                        queue.add_after(service.object().key(), SETTLE);
                    }
                }
            }
        })
        .maps(nodes.informer(), move |delta, queue| {
            if topology::matters(delta) && topology.expire() {
                queue.add_after(nodes_key(), SETTLE);
            }
        })
        .maps(&informer, |delta, queue| {
            // Somebody else's change of a slice of ours is undone.
            if let Some(key) = delta.object().and_then(|one| service_key(one, slices::MANAGER)) {
                queue.add_after(key, SETTLE);
            }
        });
    Ok(controller)
}

/// The service of a slice that `manager` keeps.
fn service_key(slice: &Object, manager: &str) -> Option<Key> {
    let labels = slice.labels()?;
    let ours = labels.get(slices::MANAGED_BY).is_some_and(|by| by == manager);
    let name = labels.get(SERVICE).filter(|_| ours)?;
    Some(Key::new(slice.namespace(), name.as_str()))
}

/// The key under which all nodes are looked at: no service is without a namespace.
fn nodes_key() -> Key {
    Key::cluster("nodes")
}

struct Serving {
    services: Lister<Service>,
    pods: Lister<Pod>,
    nodes: Lister<Node>,
    slices: Slices,
    topology: Arc<Topology>,
    queue: OnceLock<Queue>,
    endpoints: Lister<Endpoints>,
    endpoints_api: Api<Endpoints>,
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
        if *key == nodes_key() {
            for service in self.topology.nodes_changed() {
                self.queue.get().into_iter().for_each(|queue| queue.add(service.clone()));
            }
            return Ok(Action::Done);
        }
        self.slices.caught_up(key).await;
        let service = self.services.get(key).filter(|service| !service.object().is_deleting());
        let Some(service) = service else {
            self.topology.forget(key);
            // Slices have an owner and are the garbage collector's; Endpoints have none.
            self.remove_endpoints(key).await?;
            return Ok(Action::Done);
        };
        let Some(selector) = selector_of(&service) else {
            self.topology.forget(key);
            return Ok(Action::Done);
        };
        let mut pods = labelled::selected(&self.pods, key.namespace(), &selector);
        pods.sort_by(|a, b| a.object().name().cmp(b.object().name()));
        let mut desired = desired::of(&service, &pods, |node| {
            let node = self.nodes.get(&Key::cluster(node))?;
            node.object().labels()?.get("topology.kubernetes.io/zone").cloned()
        });
        let wanted = Wanted::of(&service);
        if topology::is_wanted(&service) {
            let mut planned = self.slices.plan(&wanted, &desired);
            self.topology.give(&service, &mut planned);
            self.slices.write(&wanted, planned).await?;
        } else {
            self.topology.is_not_wanted(&service);
            hints::give(&service, &mut desired);
            self.slices.sync(&wanted, &desired).await?;
        }
        self.sync_endpoints(&service, &desired).await?;
        Ok(Action::Done)
    }
}
