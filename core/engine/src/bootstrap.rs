//! What every cluster has from its start, and the health checks that say that it is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::networking::v1::{ServiceCIDR, ServiceCIDRSpec};
use k8s_openapi::api::scheduling::v1::PriorityClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::Key;
use pinnace_client::{Api, Client, Informers};
use pinnace_controllers::{default_storage_class, restore_custom_kinds};
use pinnace_http::FrontBuilder;
use pinnace_http::health::Page;
use pinnace_server::{ServiceNetwork, rbac};
use tokio_util::sync::CancellationToken;

use crate::Result;

/// Namespaces that every cluster has.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// Priority classes that every cluster has: name, value, and what upstream says of it.
const PRIORITIES: [(&str, i32, &str); 2] = [
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another \
         node if necessary.",
    ),
];

/// Which steps are done; a health check of each is named after upstream's.
#[derive(Clone, Default)]
pub(crate) struct Steps(Arc<[AtomicBool; HOOKS.len()]>);

const HOOKS: [&str; 4] = [
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/start-kubernetes-service-cidr-controller",
];

impl Steps {
    fn done(&self, step: usize) {
        self.0[step].store(true, Ordering::Release);
    }
}

/// Makes what is not there yet.
pub(crate) async fn objects(
    client: &Client,
    network: &ServiceNetwork,
    steps: &Steps,
) -> Result<()> {
    let namespaces = client.of::<Namespace>()?;
    for name in NAMESPACES {
        make(&namespaces, Namespace { metadata: named(name), ..Namespace::default() }).await?;
    }
    steps.done(0);
    rbac::bootstrap(client).await?;
    steps.done(1);
    let classes = client.of::<PriorityClass>()?;
    for (name, value, description) in PRIORITIES {
        let class = PriorityClass {
            metadata: named(name),
            value: Some(value),
            description: Some(description.to_owned()),
            ..PriorityClass::default()
        };
        make(&classes, class).await?;
    }
    steps.done(2);
    let cidrs = network.ranges.iter().map(ToString::to_string).collect();
    let spec = Some(ServiceCIDRSpec { cidrs: Some(cidrs) });
    let range = ServiceCIDR { metadata: named("kubernetes"), spec, ..ServiceCIDR::default() };
    make(&client.of()?, range).await?;
    steps.done(3);
    make(&client.of()?, default_storage_class()).await?;
    Ok(restore_custom_kinds(client).await?)
}

/// Makes what is not there. What is there is not written once more: an engine starts even where a
/// webhook lets nobody write.
async fn make<K: pinnace_api::Kind>(api: &Api<K>, object: K) -> Result<()> {
    let meta = object.meta();
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    if api.find(&Key::new(text(&meta.namespace), text(&meta.name))).await?.is_some() {
        return Ok(());
    }
    match api.create(object).await {
        Err(error) if !error.is_already_exists() => Err(error.into()),
        _ => Ok(()),
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}

/// Has the front's pages say whether an engine has begun, follows its objects and goes on.
pub(crate) fn checks(
    mut front: FrontBuilder,
    informers: &Informers,
    steps: &Steps,
    stop: &CancellationToken,
) -> FrontBuilder {
    for (step, name) in HOOKS.into_iter().enumerate() {
        let steps = steps.clone();
        let done = move || steps.0[step].load(Ordering::Acquire);
        front = front.check(name, &Page::ALL, move || {
            if done() { Ok(()) } else { Err("not finished".to_owned()) }
        });
    }
    let (informers, stop) = (informers.clone(), stop.clone());
    front
        .check("informer-sync", &[Page::Ready], move || {
            let waiting = informers.unsynced();
            if waiting.is_empty() {
                return Ok(());
            }
            Err(format!("{} informers not started yet: [{}]", waiting.len(), waiting.join(" ")))
        })
        .check("shutdown", &[Page::Ready], move || {
            if stop.is_cancelled() { Err("process is shutting down".to_owned()) } else { Ok(()) }
        })
}
