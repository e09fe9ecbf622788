//! The `APIService` objects of what is served here: one for each version of a group, of those that
//! are built in and of those that definitions of custom kinds make.
//!
//! Those of custom kinds are kept as they should be for as long as a definition serves the version.
//! Those that are built in are put right once, when the engine starts: what is written over them later
//! stays until then. Each is made anew where it is missing, and one that does not say that it is
//! managed is nobody's business here.

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use async_trait::async_trait;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use parking_lot::Mutex;
use pinnace_api::api_services::{self, ALWAYS, MANAGED, ON_START};
use pinnace_api::custom::definition;
use pinnace_api::{Catalog, Key, Result, Typed};
use pinnace_client::{Api, DeleteOptions, Lister, Preconditions};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;

/// The index of definitions by the versions that they have served.
const SERVED: &str = "served";

/// The controller; none where nobody looks after these objects.
pub(crate) fn controller(context: &Context) -> Result<Option<Controller>> {
    if context.servers.is_none() {
        return Ok(None);
    }
    let all = context.informers.of::<APIService>()?;
    let definitions = context.informers.of::<CustomResourceDefinition>()?;
    definitions.informer().index(SERVED, |definition| definition::versions(definition, true));
    let built_in = built_in(context.client().catalog());
    let keys: Vec<Key> = built_in.keys().cloned().collect();
    let reconciler = Registration {
        built_in,
        definitions: definitions.clone(),
        all: all.clone(),
        api: context.client().of()?,
        at_start: OnceLock::new(),
        settled: Mutex::default(),
    };
    let controller = Controller::new(reconciler, &context.env).watches(all.informer());
    let controller = controller.maps(definitions.informer(), |delta, queue| {
        for object in [&delta.old, &delta.new].into_iter().flatten() {
            let named = definition::versions(object, false);
            named.into_iter().for_each(|name| queue.add(Key::cluster(name)));
        }
    });
    keys.into_iter().for_each(|key| controller.queue().add(key));
    Ok(Some(controller))
}

fn built_in(catalog: &Catalog) -> HashMap<Key, APIService> {
    let all = catalog.all().into_iter().filter(|kind| !kind.is_custom() && !kind.is_elsewhere());
    let wanted = all.filter_map(|kind| api_services::built_in(&kind.group, &kind.version));
    wanted.map(|service| (key_of(&service), service)).collect()
}

fn key_of(service: &APIService) -> Key {
    Key::cluster(service.metadata.name.as_deref().unwrap_or_default())
}

struct Registration {
    built_in: HashMap<Key, APIService>,
    definitions: Lister<CustomResourceDefinition>,
    all: Lister<APIService>,
    api: Api<APIService>,
    /// The names of those that were there first.
    at_start: OnceLock<HashSet<Key>>,
    /// Those that have been put right once.
    settled: Mutex<HashSet<Key>>,
}

#[async_trait]
impl Reconciler for Registration {
    fn name(&self) -> &str {
        "api-service-registration"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let were_there = self.at_start.get_or_init(|| {
            self.all.list(None).iter().map(|service| service.object().key()).collect()
        });
        let (wanted, found) = (self.wanted(key), self.all.get(key));
        match (wanted, found) {
            (None, None) => {}
            (Some(wanted), None) => self.make(wanted).await?,
            (wanted, Some(found)) => {
                let may_change = match managed(&found) {
                    Some(ALWAYS) => true,
                    Some(ON_START) => {
                        were_there.contains(key) && !self.settled.lock().contains(key)
                    }
                    _ => false,
                };
                if may_change {
                    self.put_right(key, &found, wanted).await?;
                }
            }
        }
        self.settled.lock().insert(key.clone());
        Ok(Action::Done)
    }
}

fn managed(service: &APIService) -> Option<&str> {
    service.metadata.labels.as_ref()?.get(MANAGED).map(String::as_str)
}

impl Registration {
    /// What should be there by this name.
    fn wanted(&self, key: &Key) -> Option<APIService> {
        if let Some(wanted) = self.built_in.get(key) {
            return Some(wanted.clone());
        }
        let (version, group) = key.name().split_once('.')?;
        let served = self.definitions.informer().count_by_index(SERVED, key.name());
        (served > 0).then(|| api_services::custom(group, version))
    }

    async fn make(&self, wanted: APIService) -> Result<()> {
        match self.api.create(wanted).await {
            Err(error) if !error.is_already_exists() => Err(error),
            _ => Ok(()),
        }
    }

    async fn put_right(
        &self,
        key: &Key,
        found: &Typed<APIService>,
        wanted: Option<APIService>,
    ) -> Result<()> {
        let written = match wanted {
            None => {
                let uid = found.metadata.uid.clone();
                let preconditions = Some(Preconditions { uid, resource_version: None });
                let options = DeleteOptions { preconditions, ..DeleteOptions::default() };
                self.api.delete(key, options).await
            }
            Some(wanted) => {
                let change = |service: &mut APIService| {
                    let differs = managed(service).is_some() && service.spec != wanted.spec;
                    if differs {
                        service.spec.clone_from(&wanted.spec);
                    }
                    differs
                };
                self.api.modify(key, change).await
            }
        };
        match written {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}
