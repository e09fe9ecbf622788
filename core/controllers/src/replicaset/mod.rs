//! ReplicaSets and ReplicationControllers: as many pods of a template as asked for. The two differ
//! in how they say so, and in nothing that is done about it.

mod kind;
mod ranking;
mod status;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::{Key, Result, Typed};
use pinnace_client::{Api, Lister};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;
use crate::claim::{Claims, controller_reference, enqueue_owners};
use crate::pod_control::{BURST, PodControl};
use crate::pods;
use crate::written::Written;
use kind::ReplicaKind;

/// The controller of ReplicaSets.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    controller_of::<ReplicaSet>(context)
}

/// The controller of ReplicationControllers.
pub(crate) fn replication_controller(context: &Context) -> Result<Controller> {
    controller_of::<ReplicationController>(context)
}

fn controller_of<K: ReplicaKind>(context: &Context) -> Result<Controller> {
    let sets = context.informers.of::<K>()?.index_by_controller();
    let claims = Claims::new(context)?;
    let pods = claims.pods().clone();
    let reconciler = ReplicaSets {
        sets: sets.clone(),
        pods: pods.clone(),
        claims,
        set_api: context.client().of()?,
        control: PodControl::new(context, K::COMPONENT)?,
        env: context.env.clone(),
        written: Written::default(),
    };
    let by_namespace = sets.clone();
    let owned = pods.clone();
    let selects = |set: &K| set.selector().ok();
    Ok(Controller::new(reconciler, &context.env)
        .watches(sets.informer())
        .maps(pods.informer(), move |delta, queue| {
            enqueue_owners(delta, queue, &by_namespace, &owned, selects)
        }))
}

struct ReplicaSets<K> {
    sets: Lister<K>,
    pods: Lister<Pod>,
    claims: Claims<K>,
    set_api: Api<K>,
    control: PodControl,
    env: Env,
    written: Written,
}

#[async_trait]
impl<K: ReplicaKind> Reconciler for ReplicaSets<K> {
    fn name(&self) -> &str {
        K::CONTROLLER
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        self.written.seen_by(self.pods.informer(), key).await;
        let Some(set) = self.sets.get(key) else { return Ok(Action::Done) };
        let selector = set.selector()?;
        let owned = self.claims.claim(&set, &selector, &self.written, pods::is_active).await?;
        let failed = if !set.object().is_deleting() {
            let active: Vec<_> = owned.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
            self.adjust(&set, active).await.err()
        } else {
            None
        };
        let wait = self.write_status(&set, &owned, failed.as_ref()).await?;
        match (failed, wait) {
            (Some(error), _) => Err(error.into()),
            (None, Some(wait)) => Ok(Action::RequeueAfter(wait)),
            (None, None) => Ok(Action::Done),
        }
    }
}

/// The replicas that are asked for.
fn desired<K: ReplicaKind>(set: &K) -> usize {
    usize::try_from(set.replicas().unwrap_or(1)).unwrap_or(0)
}

impl<K: ReplicaKind> ReplicaSets<K> {
    /// Makes or deletes pods until their number is right, or [`BURST`] are.
    async fn adjust(&self, set: &Typed<K>, active: Vec<Typed<Pod>>) -> Result<()> {
        let (have, want) = (active.len(), desired(&**set));
        let failure = if have < want {
            let pods = (0..(want - have).min(BURST)).map(|_| pod_of(&**set)).collect();
            self.control.create(set.object(), pods, &self.written).await.1
        } else if have > want {
            let surplus = (have - want).min(BURST);
            let related = self.pods_on_same_nodes(set);
            let victims = ranking::first_to_go(active, surplus, &related, self.env.now());
            self.control.delete(set.object(), &victims, &self.written).await
        } else {
            None
        };
        failure.map_or(Ok(()), Err)
    }

    /// Pods of all ReplicaSets of the same owner: where many of them run, one is missed least.
    fn pods_on_same_nodes(&self, set: &Typed<K>) -> Vec<Typed<Pod>> {
        let siblings = match set.object().controller() {
            Some(owner) => self.sets.owned_by(&owner.uid),
            None => vec![set.clone()],
        };
        siblings.iter().flat_map(|sibling| self.pods.owned_by(sibling.object().uid())).collect()
    }
}

/// Longest name from which pods' names are generated.
const MAX_PREFIX: usize = 253 - 5;

/// A pod of the template.
fn pod_of<K: ReplicaKind>(set: &K) -> Pod {
    let template = set.template();
    let meta = template.and_then(|template| template.metadata.as_ref());
    let own = set.meta();
    let prefix = format!("{}-", own.name.as_deref().unwrap_or_default());
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix).filter(|prefix| prefix.len() <= MAX_PREFIX),
            namespace: own.namespace.clone(),
            labels: meta.and_then(|meta| meta.labels.clone()),
            annotations: meta.and_then(|meta| meta.annotations.clone()),
            finalizers: meta.and_then(|meta| meta.finalizers.clone()),
            owner_references: Some(vec![controller_reference(K::API_VERSION, K::KIND, own)]),
            ..Default::default()
        },
        spec: template.and_then(|template| template.spec.clone()),
        status: None,
    }
}
