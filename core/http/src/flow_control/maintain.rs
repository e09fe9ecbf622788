use std::sync::atomic::Ordering;

use k8s_openapi::api::flowcontrol::v1::{
    FlowSchema, FlowSchemaCondition, FlowSchemaSpec, PriorityLevelConfiguration,
    PriorityLevelConfigurationSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use pinnace_api::{Key, Kind, Result};
use pinnace_client::Api;
use pinnace_server::{Server, User};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::FlowControl;
use super::borrowing::PERIOD;
use super::defaults::{self, AUTO_UPDATE, MANDATORY};

/// The condition that says whether a schema's level is missing.
const DANGLING: &str = "Dangling";

impl FlowControl {
    /// Follows the objects until `stop`: rules by them, makes those anew that every cluster has,
    /// and says of schemas whether their level is there.
    ///
    /// # Errors
    /// What the API says.
    pub(crate) async fn maintain(&self, server: &Server, stop: &CancellationToken) -> Result<()> {
        let client = server.client(User::system("apiserver"));
        // Where they are not served, the defaults rule.
        let (Ok(schema_kind), Ok(level_kind)) = (
            client.catalog().of::<FlowSchema>(),
            client.catalog().of::<PriorityLevelConfiguration>(),
        ) else {
            return Ok(());
        };
        let schema_api = client.of::<FlowSchema>()?;
        let level_api = client.of::<PriorityLevelConfiguration>()?;
        let store = server.store();
        let mut adjust = tokio::time::interval(PERIOD);
        adjust.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // First the place from which to watch, then what is there: nothing falls between.
            let at = store.revision();
            let cursors = (store.watch(schema_kind.name(), at), store.watch(level_kind.name(), at));
            let (Ok(mut schema_events), Ok(mut level_events)) = cursors else { return Ok(()) };
            let made = ensure(&level_api, defaults::levels(), same_level).await;
            logged(made.and(ensure(&schema_api, defaults::schemas(), same_schema).await));
            let snapshot = store.snapshot();
            let schemas = all::<FlowSchema>(snapshot.iter(schema_kind.name()))?;
            let levels = all::<PriorityLevelConfiguration>(snapshot.iter(level_kind.name()))?;
            self.apply(&schemas, &levels);
            self.pending.store(false, Ordering::Release);
            for schema in &schemas {
                logged(tell(server, &schema_api, schema, &levels).await);
            }
            let event = loop {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    event = schema_events.next() => break event,
                    event = level_events.next() => break event,
                    _ = adjust.tick() => self.adjust(),
                }
            };
            match event {
                Err(error) if !error.is_expired() => return Ok(()),
                _ => {}
            }
        }
    }
}

/// What another writer came before with, or what is refused, is not the end.
fn logged(outcome: Result<()>) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "an object of flow control was not written");
    }
}

fn all<'a, K: Kind>(objects: impl Iterator<Item = &'a pinnace_api::Object>) -> Result<Vec<K>> {
    objects.map(|object| object.typed::<K>().map(|typed| K::clone(&typed))).collect()
}

/// Parts that objects of both kinds have.
trait Ruled: Kind {
    fn metadata_mut(&mut self) -> &mut ObjectMeta;
    fn take_spec(&mut self, other: &Self);
}

impl Ruled for FlowSchema {
    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
    fn take_spec(&mut self, other: &Self) {
        self.spec.clone_from(&other.spec);
    }
}

impl Ruled for PriorityLevelConfiguration {
    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
    fn take_spec(&mut self, other: &Self) {
        self.spec.clone_from(&other.spec);
    }
}

/// Makes what is missing, and mends what has changed of what may not, or is not to.
async fn ensure<K: Ruled>(
    api: &Api<K>,
    wanted: serde_json::Result<Vec<K>>,
    same: impl Fn(&K, &K) -> bool,
) -> Result<()> {
    for mut wanted in wanted.map_err(|error| pinnace_api::ApiError::decode(&error))? {
        let name = wanted.metadata_mut().name.clone().unwrap_or_default();
        match api.find(&Key::cluster(&*name)).await? {
            None => drop(api.create(wanted).await?),
            Some(found) => {
                let mut object = K::clone(&found);
                let annotations = object.metadata_mut().annotations.as_ref();
                let follows = annotations.and_then(|all| all.get(AUTO_UPDATE));
                let follows = follows.is_some_and(|follows| follows == "true");
                if (follows || MANDATORY.contains(&&*name)) && !same(&object, &wanted) {
                    object.take_spec(&wanted);
                    api.update(object).await?;
                }
            }
        }
    }
    Ok(())
}

fn same_schema(a: &FlowSchema, b: &FlowSchema) -> bool {
    // What is not given and what is false are the same.
    let plain = |spec: &Option<FlowSchemaSpec>| {
        let mut spec = spec.clone().unwrap_or_default();
        for rule in spec.rules.iter_mut().flatten() {
            for resources in rule.resource_rules.iter_mut().flatten() {
                resources.cluster_scope = Some(resources.cluster_scope.unwrap_or(false));
            }
        }
        spec
    };
    plain(&a.spec) == plain(&b.spec)
}

/// How much the exempt level lends is for people to say.
fn same_level(a: &PriorityLevelConfiguration, b: &PriorityLevelConfiguration) -> bool {
    let plain = |spec: &Option<PriorityLevelConfigurationSpec>| {
        let mut spec = spec.clone().unwrap_or_default();
        spec.exempt = None;
        spec
    };
    plain(&a.spec) == plain(&b.spec)
}

/// Writes whether the level of a schema is there, if its status says otherwise.
async fn tell(
    server: &Server,
    api: &Api<FlowSchema>,
    schema: &FlowSchema,
    levels: &[PriorityLevelConfiguration],
) -> Result<()> {
    let level = schema.spec.as_ref().map(|spec| &*spec.priority_level_configuration.name);
    let level = level.unwrap_or_default();
    let there = levels.iter().any(|one| one.metadata.name.as_deref() == Some(level));
    let named =
        format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?}");
    let (status, reason, message) = if there {
        ("False", "Found", format!("{named} and it exists"))
    } else {
        ("True", "NotFound", format!("{named} but there is no such object"))
    };
    let mut object = schema.clone();
    let conditions = object.status.get_or_insert_default().conditions.get_or_insert_default();
    let known = conditions.iter().position(|one| one.type_.as_deref() == Some(DANGLING));
    if let Some(known) = known {
        let condition = &conditions[known];
        if condition.status.as_deref() == Some(status)
            && condition.message.as_deref() == Some(&*message)
        {
            return Ok(());
        }
        conditions.remove(known);
    }
    conditions.push(FlowSchemaCondition {
        type_: Some(DANGLING.to_owned()),
        status: Some(status.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: Some(Time(server.env().clock().now_seconds())),
    });
    api.update_status(object).await.map(drop)
}
