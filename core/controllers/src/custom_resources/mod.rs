//! Custom kinds: which names a definition gets, whether its kind is served, and the end of its
//! objects when it goes.
//!
//! A definition that is established has its versions in the catalog, by which every room then knows
//! them as it knows the built-in kinds. They are there before the condition says so: who waits for
//! it finds them.

mod clean;

use std::collections::HashMap;

use async_trait::async_trait;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use pinnace_api::custom;
use pinnace_api::custom::definition::{self, Standing};
use pinnace_api::{Catalog, Key, Object, Result, Typed};
use pinnace_client::{Api, Client, Lister};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;

/// The index of definitions by what they mean to others of their group: see [`Standing`].
const BY_NAMES: &str = "names";

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let definitions = context.informers.of::<CustomResourceDefinition>()?;
    definitions.informer().index(BY_NAMES, definition::standing);
    let reconciler = CustomResources {
        definitions: definitions.clone(),
        client: context.client().clone(),
        api: context.client().of()?,
        env: context.env.clone(),
        served: Mutex::default(),
    };
    let all = definitions.clone();
    Ok(Controller::new(reconciler, &context.env).maps(
        definitions.informer(),
        move |delta, queue| {
            let Some(key) = delta.object().map(Object::key) else { return };
            queue.add(key.clone());
            // A name that comes free goes to another of the group.
            let group = key.name().split_once('.').map_or("", |(_, group)| group);
            for other in all.informer().by_index(BY_NAMES, &Standing::Waits.of(group)) {
                queue.add(other.key());
            }
        },
    ))
}

/// Has the kinds of the definitions that are established be served, before anything is asked.
///
/// # Errors
/// What reading them says.
pub async fn restore(client: &Client) -> Result<()> {
    let definitions = client.of::<CustomResourceDefinition>()?;
    for found in definitions.list(None, Default::default()).await?.items {
        if definition::is_true(&found, "Established") {
            serve(client.catalog(), &found)?;
        }
    }
    Ok(())
}

fn serve(catalog: &Catalog, found: &CustomResourceDefinition) -> Result<()> {
    let (group, plural) = (&found.spec.group, &found.spec.names.plural);
    if is_built_in(catalog, group, plural) {
        return Ok(());
    }
    let mut versions = custom::resources(found)?;
    if found.metadata.deletion_timestamp.is_some() {
        // Nothing is added to what is being deleted.
        versions = versions.into_iter().map(|one| one.verbs(clean::VERBS)).collect();
    }
    catalog.replace(group, plural, versions);
    Ok(())
}

/// Whether a kind of that name is the engine's own: no definition replaces it.
fn is_built_in(catalog: &Catalog, group: &str, plural: &str) -> bool {
    let mut all = catalog.all().into_iter();
    all.any(|one| {
        one.group == group && one.plural == plural && !one.is_custom() && !one.is_elsewhere()
    })
}

struct CustomResources {
    definitions: Lister<CustomResourceDefinition>,
    client: Client,
    api: Api<CustomResourceDefinition>,
    env: Env,
    /// What the catalog has, by the names of the definitions.
    served: Mutex<HashMap<Key, Served>>,
}

/// What entries of the catalog follow from.
#[derive(Clone, PartialEq)]
struct Served {
    uid: String,
    generation: Option<i64>,
    names: Option<CustomResourceDefinitionNames>,
    going: bool,
}

#[async_trait]
impl Reconciler for CustomResources {
    fn name(&self) -> &str {
        "custom-resource-definition"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(found) = self.definitions.get(key) else {
            self.withdraw(key);
            return Ok(Action::Done);
        };
        let now = Time(self.env.clock().now_seconds());
        let is_taken = |name: Standing<'_>| {
            let by = name.of(&found.spec.group);
            self.definitions.informer().by_index(BY_NAMES, &by).iter().any(|one| one.key() != *key)
        };
        let status = definition::status(&found, is_taken, &now);
        let mut wanted = found.to_owned();
        wanted.status = Some(status);
        if definition::is_true(&wanted, "Established") {
            self.publish(key, &wanted)?;
        }
        if found.object().is_deleting() {
            return Ok(self.clean(&found, wanted).await?);
        }
        if wanted.status != found.status {
            self.write_status(&found, &wanted).await?;
        }
        Ok(Action::Done)
    }
}

impl CustomResources {
    fn publish(&self, key: &Key, wanted: &CustomResourceDefinition) -> Result<()> {
        let served = Served {
            uid: wanted.metadata.uid.clone().unwrap_or_default(),
            generation: wanted.metadata.generation,
            names: wanted.status.as_ref().and_then(|status| status.accepted_names.clone()),
            going: wanted.metadata.deletion_timestamp.is_some(),
        };
        let mut all = self.served.lock();
        if all.get(key) != Some(&served) {
            serve(self.client.catalog(), wanted)?;
            all.insert(key.clone(), served);
        }
        Ok(())
    }

    fn withdraw(&self, key: &Key) {
        let mut all = self.served.lock();
        let catalog = self.client.catalog();
        if let Some((plural, group)) = key.name().split_once('.')
            && !is_built_in(catalog, group, plural)
        {
            all.remove(key);
            catalog.unregister(group, plural);
        }
    }

    async fn write_status(
        &self,
        found: &Typed<CustomResourceDefinition>,
        wanted: &CustomResourceDefinition,
    ) -> Result<()> {
        let uid = found.object().uid();
        let key = found.object().key();
        let written = self.api.modify_status(&key, |current| {
            let same = current.metadata.uid.as_deref() == Some(uid);
            let changes = same && current.status != wanted.status;
            if changes {
                let stored =
                    current.status.as_mut().and_then(|status| status.stored_versions.take());
                current.status.clone_from(&wanted.status);
                if let (Some(status), Some(stored)) = (&mut current.status, stored) {
                    status.stored_versions = Some(stored);
                }
            }
            changes
        });
        match written.await {
            Ok(written) => {
                // The next definition is looked at beside the names that this one has now.
                self.definitions.informer().caught_up(written.object().revision()).await;
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}
