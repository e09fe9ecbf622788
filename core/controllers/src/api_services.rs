//! Whether the servers of other groups are there: the condition `Available` of an `APIService`.
//!
//! What is served here always is. Another server has to have a service with ready endpoints, and has
//! to say that it serves the version; it is asked again every half minute, for it may fall silent
//! without anything that changes here.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{
    APIService, APIServiceCondition, ServiceReference,
};
use pinnace_api::{Key, Object, Result};
use pinnace_client::{Api, Lister};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;
use crate::context::ExtensionServers;

const AVAILABLE: &str = "Available";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// The port of a service that names none.
const PORT: i32 = 443;
/// How long until a server is asked again, and one that did not pass.
const AGAIN: Duration = Duration::from_secs(30);
const SOON: Duration = Duration::from_secs(5);

/// The controller; none where nobody can ask other servers.
pub(crate) fn controller(context: &Context) -> Result<Option<Controller>> {
    let Some(servers) = context.servers.clone() else { return Ok(None) };
    let all = context.informers.of::<APIService>()?;
    let services = context.informers.of::<Service>()?;
    let slices = context.informers.of::<EndpointSlice>()?;
    let reconciler = Availability {
        all: all.clone(),
        services: services.clone(),
        slices: slices.clone(),
        api: context.client().of()?,
        servers,
        env: context.env.clone(),
    };
    let controller = Controller::new(reconciler, &context.env).watches(all.informer());
    let asked = all.clone();
    let controller = controller.maps(services.informer(), move |delta, queue| {
        let Some(service) = delta.object() else { return };
        of_service(&asked, service.namespace(), service.name()).for_each(|key| queue.add(key));
    });
    let controller = controller.maps(slices.informer(), move |delta, queue| {
        let Some(slice) = delta.object() else { return };
        let Some(name) = slice.labels().and_then(|labels| labels.get(SERVICE_NAME)) else { return };
        of_service(&all, slice.namespace(), name).for_each(|key| queue.add(key));
    });
    Ok(Some(controller))
}

/// What is served by way of a service.
fn of_service(
    all: &Lister<APIService>,
    namespace: &str,
    name: &str,
) -> impl Iterator<Item = Key> + use<> {
    let is = |service: &APIService| {
        let target = service.spec.as_ref().and_then(|spec| spec.service.as_ref());
        target.is_some_and(|target| (namespace_of(target), name_of(target)) == (namespace, name))
    };
    let found = all.list(None).into_iter().filter(|service| is(service));
    let keys: Vec<Key> = found.map(|service| service.object().key()).collect();
    keys.into_iter()
}

fn namespace_of(target: &ServiceReference) -> &str {
    target.namespace.as_deref().unwrap_or_default()
}

fn name_of(target: &ServiceReference) -> &str {
    target.name.as_deref().unwrap_or_default()
}

struct Availability {
    all: Lister<APIService>,
    services: Lister<Service>,
    slices: Lister<EndpointSlice>,
    api: Api<APIService>,
    servers: Arc<dyn ExtensionServers>,
    env: Env,
}

/// What a condition says: status, reason and message.
struct Finding(&'static str, &'static str, String);

impl Finding {
    fn missing(reason: &'static str, message: String) -> Self {
        Self("False", reason, message)
    }

    fn passed() -> Self {
        Self("True", "Passed", "all checks passed".to_owned())
    }
}

#[async_trait]
impl Reconciler for Availability {
    fn name(&self) -> &str {
        "api-service-availability"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let service = self.all.get(key);
        let target = service.as_ref().and_then(|one| one.spec.as_ref()?.service.as_ref());
        if target.is_none() {
            self.servers.forget(key.name());
        }
        let Some(service) = &service else { return Ok(Action::Done) };
        let Some(target) = target else {
            let message = "Local APIServices are always available".to_owned();
            self.write(service.object(), &Finding("True", "Local", message)).await?;
            return Ok(Action::Done);
        };
        let finding = match self.look(target) {
            Some(missing) => missing,
            None => match self.servers.check(service).await {
                Ok(()) => Finding::passed(),
                Err(why) => Finding::missing("FailedDiscoveryCheck", why),
            },
        };
        self.write(service.object(), &finding).await?;
        let again = if finding.1 == "FailedDiscoveryCheck" { SOON } else { AGAIN };
        Ok(Action::RequeueAfter(again))
    }
}

impl Availability {
    /// What is missing before a server could be asked.
    fn look(&self, target: &ServiceReference) -> Option<Finding> {
        let (namespace, name) = (namespace_of(target), name_of(target));
        let Some(service) = self.services.get(&Key::new(namespace, name)) else {
            let message = format!("service/{name} in {namespace:?} is not present");
            return Some(Finding::missing("ServiceNotFound", message));
        };
        let spec = service.spec.as_ref()?;
        if spec.type_.as_deref().unwrap_or("ClusterIP") != "ClusterIP" {
            return None;
        }
        let number = target.port.unwrap_or(PORT);
        let Some(port) = spec.ports.iter().flatten().find(|port| port.port == number) else {
            let message =
                format!("service/{name} in {namespace:?} is not listening on port {number}");
            return Some(Finding::missing("ServicePortError", message));
        };
        let port = port.name.as_deref().unwrap_or_default();
        let mut slices = self.slices.list(Some(namespace));
        slices.retain(|slice| {
            let labels = slice.metadata.labels.as_ref();
            labels.and_then(|labels| labels.get(SERVICE_NAME)).is_some_and(|of| of == name)
        });
        if slices.is_empty() {
            let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
            return Some(Finding::missing("EndpointsNotFound", message));
        }
        if slices.iter().any(|slice| has_ready(slice, port)) {
            return None;
        }
        let message = format!(
            "endpointslices for service/{name} in {namespace:?} have no addresses with port name \
             {port:?}"
        );
        Some(Finding::missing("MissingEndpoints", message))
    }

    async fn write(&self, service: &Object, finding: &Finding) -> Result<()> {
        let Finding(status, reason, message) = finding;
        let now = Time(self.env.clock().now_seconds());
        let uid = service.uid();
        let key = service.key();
        let written = self.api.modify_status(&key, |current| {
            if current.metadata.uid.as_deref() != Some(uid) {
                return false;
            }
            let conditions = current.status.get_or_insert_default();
            let conditions = conditions.conditions.get_or_insert_default();
            let old = conditions.iter().position(|one| one.type_ == AVAILABLE);
            let since = old.map(|at| &conditions[at]).filter(|old| old.status == *status);
            let since = since.and_then(|old| old.last_transition_time.clone());
            let new = APIServiceCondition {
                type_: AVAILABLE.to_owned(),
                status: (*status).to_owned(),
                reason: Some((*reason).to_owned()),
                message: Some(message.clone()),
                last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
            };
            match old {
                Some(at) if conditions[at] == new => false,
                Some(at) => {
                    conditions[at] = new;
                    true
                }
                None => {
                    conditions.push(new);
                    true
                }
            }
        });
        match written.await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

fn has_ready(slice: &EndpointSlice, port: &str) -> bool {
    let ready = slice.endpoints.iter().flatten().any(|endpoint| {
        let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready);
        ready != Some(false)
    });
    ready
        && slice
            .ports
            .iter()
            .flatten()
            .any(|one| one.name.as_deref().unwrap_or_default() == port && one.port.is_some())
}
