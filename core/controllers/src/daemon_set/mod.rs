//! DaemonSets: a pod on every node that wants one.

mod backoff;
mod look;
mod placement;
mod plan;
mod pod;
mod status;

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use pinnace_api::selector::Selector;
use pinnace_api::{ApiError, Key, Object, Result};
use pinnace_client::{Api, Delta, Lister};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Queue, Reconciler};

use crate::Context;
use crate::claim::{Claims, SETTLE, enqueue_owners};
use crate::history::{HASH_LABEL, History, Revisions};
use crate::pod_control::{BURST, PodControl};
use crate::written::Written;
use backoff::Backoffs;
use look::Look;
use placement::{Placement, Verdict};
use plan::Plan;

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let sets = context.informers.of::<DaemonSet>()?;
    let nodes = context.informers.of::<Node>()?;
    let claims = Claims::new(context)?;
    let pods = claims.pods().clone();
    let history = History::new(context, HASH_LABEL)?;
    let revisions = history.lister().clone();
    let reconciler = DaemonSets {
        sets: sets.clone(),
        nodes: nodes.clone(),
        api: context.client().of()?,
        claims,
        history,
        control: PodControl::new(context, "daemonset-controller")?,
        env: context.env.clone(),
        written: Written::default(),
        backoffs: Backoffs::default(),
    };
    let (of_pods, of_nodes) = (sets.clone(), sets.clone());
    let owned = pods.clone();
    let selects = |set: &DaemonSet| selector_of(set).ok();
    Ok(Controller::new(reconciler, &context.env)
        .watches(sets.informer())
        .owns(revisions.informer(), "apps", "DaemonSet")
        .maps(pods.informer(), move |delta, queue| {
            enqueue_owners(delta, queue, &of_pods, &owned, selects)
        })
        .maps(nodes.informer(), move |delta, queue| enqueue_for_node(delta, queue, &of_nodes)))
}

struct DaemonSets {
    sets: Lister<DaemonSet>,
    nodes: Lister<Node>,
    api: Api<DaemonSet>,
    claims: Claims<DaemonSet>,
    history: History<DaemonSet>,
    control: PodControl,
    env: Env,
    written: Written,
    backoffs: Backoffs,
}

#[async_trait]
impl Reconciler for DaemonSets {
    fn name(&self) -> &str {
        "daemonset"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        self.written.seen_by(self.claims.pods().informer(), key).await;
        self.history.caught_up(key).await;
        let set = self.sets.get(key);
        let Some(set) = set.filter(|set| !set.object().is_deleting()) else {
            self.backoffs.forget(key);
            return Ok(Action::Done);
        };
        let selector = selector_of(&set)?;
        let Some(spec) = &set.spec else { return Ok(Action::Done) };
        let collisions = set.status.as_ref().and_then(|status| status.collision_count);
        let revisions =
            self.history.of(&set, &selector, &spec.template, collisions.unwrap_or(0)).await?;
        let owned = self
            .claims
            .claim(&set, &selector, &self.written, |pod| pod.metadata.deletion_timestamp.is_none())
            .await?;
        let limit = spec.revision_history_limit;
        let hash = hash_of(revisions.update.object());
        let live: HashSet<String> = owned.iter().map(|pod| hash_of(pod.object())).collect();
        let look = Look::new(set.clone(), hash, &self.nodes.list(None), owned, self.env.now());
        let (failed, wait) = self.act(&look).await;
        let live = |label: Option<&String>| label.is_some_and(|hash| live.contains(hash));
        self.history
            .truncate(&revisions.old, limit, |one| {
                live(one.metadata.labels.as_ref().and_then(|labels| labels.get(HASH_LABEL)))
            })
            .await?;
        self.write_status(&look, collisions, &revisions).await?;
        match (failed, sooner(wait, look.wait())) {
            (Some(error), _) => Err(error.into()),
            (None, Some(wait)) => Ok(Action::RequeueAfter(wait)),
            (None, None) => Ok(Action::Done),
        }
    }
}

impl DaemonSets {
    /// Puts pods where they belong, or else, when nothing is left to put, goes on with an update:
    /// what that may do depends on what is there.
    async fn act(&self, look: &Look) -> (Option<ApiError>, Option<Duration>) {
        let plan = plan::place(look, &self.backoffs);
        let wait = plan.wait;
        let failed = if plan.is_empty() {
            self.carry_out(look, plan::update(look)).await
        } else {
            self.carry_out(look, plan).await
        };
        (failed, wait)
    }

    /// Does the first [`BURST`] of a plan; the changes bring the key back for the rest.
    async fn carry_out(&self, look: &Look, mut plan: Plan) -> Option<ApiError> {
        let set = look.set.object();
        for (kind, reason, message) in plan.events {
            self.control.recorder().record(set, kind, reason, message);
        }
        plan.create.truncate(BURST);
        plan.delete.truncate(BURST);
        let deleted = self.control.delete(set, &plan.delete, &self.written).await;
        let template = pod::Template::new(&look.set, &look.hash);
        let pods: Vec<Pod> = plan.create.iter().map(|node| template.on(node)).collect();
        let (_, created) = self.control.create(set, pods, &self.written).await;
        created.or(deleted)
    }

    async fn write_status(
        &self,
        look: &Look,
        before: Option<i32>,
        revisions: &Revisions,
    ) -> Result<()> {
        let collisions = before.or((revisions.collisions > 0).then_some(revisions.collisions));
        let collisions = collisions.map(|before| before.max(revisions.collisions));
        let status = status::of(look, collisions);
        if look.set.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut new = look.set.to_owned();
        new.status = Some(status);
        match self.api.update_status(new).await {
            Ok(_) => Ok(()),
            // Somebody else wrote, so this look was at an old state: the change brings it back.
            Err(error) if error.is_conflict() || error.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn selector_of(set: &DaemonSet) -> Result<Selector> {
    match set.spec.as_ref() {
        Some(spec) => Selector::from_label_selector(&spec.selector),
        None => Err(ApiError::internal("a DaemonSet has no spec")),
    }
}

fn hash_of(object: &Object) -> String {
    object.labels().and_then(|labels| labels.get(HASH_LABEL)).cloned().unwrap_or_default()
}

/// Has those sets looked at for which a node has become another: nodes write often, and mostly
/// nothing that matters here.
fn enqueue_for_node(delta: &Delta, queue: &Queue, sets: &Lister<DaemonSet>) {
    let [old, new] =
        [&delta.old, &delta.new].map(|node| node.as_ref().and_then(|node| node.get::<Node>().ok()));
    if let (Some(old), Some(new)) = (old, new) {
        let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone());
        if old.metadata.labels == new.metadata.labels && taints(old) == taints(new) {
            return;
        }
    }
    for set in sets.list(None) {
        let Some(placement) = Placement::of(&set) else { continue };
        let verdict = |node: Option<&Node>| node.map(|node| placement.verdict(node));
        let (old, new) = (verdict(old), verdict(new));
        let idle = |verdict: Option<Verdict>| matches!(verdict, None | Some(Verdict::Leave));
        if old != new && !(idle(old) && idle(new)) {
            queue.add_after(set.object().key(), SETTLE);
        }
    }
}

/// The sooner of two times.
fn sooner(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
