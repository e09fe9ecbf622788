//! PodDisruptionBudgets: how many pods of a selection may be missing now.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::{
    PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    Condition, LabelSelector, OwnerReference, Time,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use pinnace_api::selector::Selector;
use pinnace_api::{Key, Result, Subresource, Typed};
use pinnace_client::{Api, Client, Delta, EventType, Lister, Recorder};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::{Context, labelled, pods};

/// How long a pod that was let go of may take to go, before it counts as there again.
const GOING: Duration = Duration::from_secs(120);
/// How long changes of pods are collected before a budget is looked at.
const SETTLE: Duration = Duration::from_millis(5);
const ALLOWED: &str = "DisruptionAllowed";

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let budgets = context.informers.of::<PodDisruptionBudget>()?;
    let pods = context.informers.of::<Pod>()?;
    labelled::index(pods.informer());
    labelled::index_selectors(budgets.informer(), |object| {
        let budget = object.get::<PodDisruptionBudget>().ok();
        let selector = budget.and_then(|one| one.spec.as_ref()?.selector.as_ref());
        let labels = selector.and_then(|selector| selector.match_labels.as_ref());
        labelled::selecting(object.namespace(), labels)
    });
    let recorder = context.recorder.component("controllermanager");
    let reconciler = Budgets {
        budgets: budgets.clone(),
        api: context.client().of()?,
        client: context.client().clone(),
        pods: pods.clone(),
        deployments: context.informers.of()?,
        replica_sets: context.informers.of()?,
        stateful_sets: context.informers.of()?,
        replication_controllers: context.informers.of()?,
        recorder: recorder.clone(),
        env: context.env.clone(),
    };
    let selecting = budgets.clone();
    let controller = Controller::new(reconciler, &context.env).watches(budgets.informer());
    Ok(controller.maps(pods.informer(), move |delta, queue| {
        for pod in [&delta.old, &delta.new].into_iter().flatten() {
            let mut budgets = labelled::selectors_of(&selecting, pod);
            budgets.retain(|budget| {
                selector_of(budget).is_ok_and(|selector| selector.matches(pod.labels()))
            });
            budgets.sort_by(|one, other| one.object().name().cmp(other.object().name()));
            // Evictions of such a pod are refused; people should hear of it before.
            if let ([first, _, ..], true) = (&budgets[..], is_new(delta)) {
                let (namespace, name) = (pod.namespace(), pod.name());
                let message = format!(
                    "Pod {namespace:?}/{name:?} matches multiple PodDisruptionBudgets.  Chose {:?} \
                     arbitrarily.",
                    first.object().name()
                );
                let reason = "MultiplePodDisruptionBudgets";
                recorder.record(pod, EventType::Warning, reason, message);
            }
            for budget in budgets {
                queue.add_after(budget.object().key(), SETTLE);
            }
        }
    }))
}

struct Budgets {
    budgets: Lister<PodDisruptionBudget>,
    api: Api<PodDisruptionBudget>,
    client: Client,
    pods: Lister<Pod>,
    deployments: Lister<Deployment>,
    replica_sets: Lister<ReplicaSet>,
    stateful_sets: Lister<StatefulSet>,
    replication_controllers: Lister<ReplicationController>,
    recorder: Recorder,
    env: Env,
}

/// Whether a pod has just come, or got other labels.
fn is_new(delta: &Delta) -> bool {
    match (&delta.old, &delta.new) {
        (Some(old), Some(new)) => old.labels() != new.labels(),
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

/// What a budget asks for.
struct Counts {
    expected: i32,
    desired: i32,
    /// Whether there are pods that nobody can say the number of.
    unmanaged: bool,
}

fn selector_of(budget: &PodDisruptionBudget) -> Result<Selector> {
    match budget.spec.as_ref().and_then(|spec| spec.selector.as_ref()) {
        Some(selector) => Selector::from_label_selector(selector),
        None => Ok(Selector::nothing()),
    }
}

#[async_trait]
impl Reconciler for Budgets {
    fn name(&self) -> &str {
        "disruption"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let budget = self.budgets.get(key).filter(|budget| !budget.object().is_deleting());
        let Some(budget) = budget else { return Ok(Action::Done) };
        let selector = selector_of(&budget)?;
        let mut pods = labelled::selected(&self.pods, key.namespace(), &selector);
        pods.retain(|pod| !pods::is_terminal(pod));
        let now = self.env.clock().now_seconds();
        let (disrupted, wait) = self.disrupted(&budget, &pods, now);
        if pods.is_empty() {
            let message = "No matching pods found".to_owned();
            self.recorder.record(budget.object(), EventType::Normal, "NoPods", message);
        }
        let status = match self.counts(&budget, &pods).await {
            Ok(counts) => {
                if counts.unmanaged {
                    self.tell_unmanaged(&budget);
                }
                let healthy = pods
                    .iter()
                    .filter(|pod| {
                        !pod.object().is_deleting()
                            && !disrupted.contains_key(pod.object().name())
                            && pods::ready_since(pod).is_some()
                    })
                    .count();
                let healthy = i32::try_from(healthy).unwrap_or(i32::MAX);
                status(&budget, &counts, healthy, disrupted, now)
            }
            Err(why) => {
                let reason = "CalculateExpectedPodCountFailed";
                let message = format!("Failed to calculate the number of expected pods: {why}");
                self.recorder.record(budget.object(), EventType::Warning, reason, message);
                failed(&budget, &why, now)
            }
        };
        if budget.status.as_ref() != Some(&status) {
            let mut new = budget.to_owned();
            new.status = Some(status);
            match self.api.update_status(new).await {
                Ok(_) => {}
                // An eviction was granted meanwhile: the change brings the budget back.
                Err(error) if error.is_conflict() || error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(wait.map_or(Action::Done, Action::RequeueAfter))
    }
}

impl Budgets {
    /// Pods that were let go of and have not gone yet, and when the first of them counts again.
    fn disrupted(
        &self,
        budget: &PodDisruptionBudget,
        pods: &[Typed<Pod>],
        now: Timestamp,
    ) -> (BTreeMap<String, Time>, Option<Duration>) {
        let known = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref());
        let mut kept = BTreeMap::new();
        let mut wait: Option<Duration> = None;
        for (name, since) in known.into_iter().flatten() {
            let pod = pods.iter().find(|pod| pod.object().name() == name);
            if pod.is_none_or(|pod| pod.object().is_deleting()) {
                continue;
            }
            let age = Duration::try_from(now.duration_since(since.0)).unwrap_or(Duration::ZERO);
            if let Some(left) = GOING.checked_sub(age).filter(|left| !left.is_zero()) {
                kept.insert(name.clone(), since.clone());
                wait = Some(wait.map_or(left, |wait| wait.min(left)));
            }
        }
        (kept, wait)
    }

    async fn counts(
        &self,
        budget: &PodDisruptionBudget,
        pods: &[Typed<Pod>],
    ) -> std::result::Result<Counts, String> {
        let none = PodDisruptionBudgetSpec::default();
        let spec = budget.spec.as_ref().unwrap_or(&none);
        match (&spec.max_unavailable, &spec.min_available) {
            (Some(most), _) => {
                let (expected, unmanaged) = self.expected_scale(pods).await?;
                let desired = (expected - share(most, expected)).max(0);
                Ok(Counts { expected, desired, unmanaged })
            }
            (None, Some(IntOrString::Int(least))) => {
                let expected = i32::try_from(pods.len()).unwrap_or(i32::MAX);
                Ok(Counts { expected, desired: *least, unmanaged: false })
            }
            (None, Some(least)) => {
                let (expected, unmanaged) = self.expected_scale(pods).await?;
                Ok(Counts { expected, desired: share(least, expected), unmanaged })
            }
            (None, None) => Ok(Counts { expected: 0, desired: 0, unmanaged: false }),
        }
    }

    fn tell_unmanaged(&self, budget: &Typed<PodDisruptionBudget>) {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        let message = format!(
            "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a \
             result, the status of the PDB cannot be calculated correctly, which may result in \
             undefined behavior. To account for these pods please set \".spec.minAvailable\" field of \
             the PDB to an integer value.",
            selector.map_or_else(|| "nil".to_owned(), written)
        );
        self.recorder.record(budget.object(), EventType::Warning, "UnmanagedPods", message);
    }

    /// The sum of what the controllers of the pods should have, and whether some have none.
    async fn expected_scale(
        &self,
        pods: &[Typed<Pod>],
    ) -> std::result::Result<(i32, bool), String> {
        let mut scales: BTreeMap<String, i32> = BTreeMap::new();
        let mut unmanaged = false;
        for pod in pods {
            let Some(owner) = pod.object().controller() else {
                unmanaged = true;
                continue;
            };
            if scales.contains_key(&owner.uid) {
                continue;
            }
            let namespace = pod.object().namespace();
            let scale = match self.scale(namespace, owner) {
                Some(scale) => Some(scale),
                None => self.scale_of_other(namespace, owner).await?,
            };
            let name = pod.object().name();
            let (uid, replicas) =
                scale.ok_or_else(|| format!("found no controllers for pod {name:?}"))?;
            scales.insert(uid, replicas);
        }
        Ok((scales.values().copied().fold(0, i32::saturating_add), unmanaged))
    }

    /// The uid and replicas of a controller; of the Deployment, for one of its ReplicaSets.
    fn scale(&self, namespace: &str, owner: &OwnerReference) -> Option<(String, i32)> {
        let key = Key::new(namespace, owner.name.as_str());
        let own = |uid: &str, replicas: Option<i32>| {
            (uid == owner.uid).then(|| (owner.uid.clone(), replicas.unwrap_or(1)))
        };
        match owner.kind.as_str() {
            "ReplicaSet" => {
                let set = self.replica_sets.get(&key)?;
                if let Some(above) = set.object().controller().filter(|o| o.kind == "Deployment") {
                    let key = Key::new(namespace, above.name.as_str());
                    let deployment = self.deployments.get(&key)?;
                    let replicas = deployment.spec.as_ref().and_then(|spec| spec.replicas);
                    return Some((above.uid.clone(), replicas.unwrap_or(1)));
                }
                own(set.object().uid(), set.spec.as_ref().and_then(|spec| spec.replicas))
            }
            "StatefulSet" => {
                let set = self.stateful_sets.get(&key)?;
                own(set.object().uid(), set.spec.as_ref().and_then(|spec| spec.replicas))
            }
            "ReplicationController" => {
                let found = self.replication_controllers.get(&key)?;
                own(found.object().uid(), found.spec.as_ref().and_then(|spec| spec.replicas))
            }
            _ => None,
        }
    }

    /// The same of a controller of any kind that can be scaled.
    async fn scale_of_other(
        &self,
        namespace: &str,
        owner: &OwnerReference,
    ) -> std::result::Result<Option<(String, i32)>, String> {
        let kind = self
            .client
            .catalog()
            .by_kind(&owner.api_version, &owner.kind)
            .map_err(|error| error.message().to_owned())?;
        if !kind.subresources.has(Subresource::Scale) {
            let name = kind.name();
            return Err(format!("{name} does not implement the scale subresource"));
        }
        let key = Key::new(namespace, owner.name.as_str());
        match self.client.resource(kind).scale(&key).await {
            Ok(scale) if scale.object().uid() == owner.uid => {
                let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas);
                Ok(Some((owner.uid.clone(), replicas.unwrap_or_default())))
            }
            Ok(_) => Ok(None),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.message().to_owned()),
        }
    }
}

/// A selector as upstream's Events show it.
fn written(selector: &LabelSelector) -> String {
    let labels = selector.match_labels.iter().flatten();
    let labels: String = labels.map(|(key, value)| format!("{key}: {value},")).collect();
    let expressions = selector.match_expressions.iter().flatten();
    let expressions = expressions.map(|one| {
        let values = one.values.iter().flatten().cloned().collect::<Vec<_>>().join(" ");
        let (key, operator) = (&one.key, &one.operator);
        format!("LabelSelectorRequirement{{Key:{key},Operator:{operator},Values:[{values}],}},")
    });
    let expressions: String = expressions.collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},\
         MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}

/// A number, or a share of all, rounded up.
fn share(value: &IntOrString, all: i32) -> i32 {
    match value {
        IntOrString::Int(number) => *number,
        IntOrString::String(text) => {
            let percent: i64 =
                text.strip_suffix('%').and_then(|digits| digits.parse().ok()).unwrap_or(0);
            let exact = percent.saturating_mul(all.into());
            i32::try_from(exact.div_euclid(100) + i64::from(exact.rem_euclid(100) != 0))
                .unwrap_or(i32::MAX)
        }
    }
}

fn condition(
    budget: &PodDisruptionBudget,
    holds: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> Vec<Condition> {
    let value = if holds { "True" } else { "False" };
    let conditions = budget.status.as_ref().and_then(|status| status.conditions.clone());
    let mut conditions = conditions.unwrap_or_default();
    let before = conditions.iter().find(|one| one.type_ == ALLOWED && one.status == value);
    let since = before.map_or(Time(now), |one| one.last_transition_time.clone());
    conditions.retain(|one| one.type_ != ALLOWED);
    conditions.push(Condition {
        type_: ALLOWED.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: since,
        observed_generation: budget.metadata.generation,
    });
    conditions
}

fn status(
    budget: &PodDisruptionBudget,
    counts: &Counts,
    healthy: i32,
    disrupted: BTreeMap<String, Time>,
    now: Timestamp,
) -> PodDisruptionBudgetStatus {
    let allowed = if counts.expected <= 0 { 0 } else { (healthy - counts.desired).max(0) };
    let reason = if allowed > 0 { "SufficientPods" } else { "InsufficientPods" };
    PodDisruptionBudgetStatus {
        conditions: Some(condition(budget, allowed > 0, reason, "", now)),
        current_healthy: Some(healthy),
        desired_healthy: Some(counts.desired),
        disrupted_pods: Some(disrupted).filter(|pods| !pods.is_empty()),
        disruptions_allowed: Some(allowed),
        expected_pods: Some(counts.expected),
        observed_generation: budget.metadata.generation,
    }
}

/// Where it cannot be said how many pods there should be, none may go.
fn failed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    PodDisruptionBudgetStatus {
        conditions: Some(condition(budget, false, "SyncFailed", why, now)),
        disruptions_allowed: Some(0),
        observed_generation: budget.metadata.generation,
        ..budget.status.clone().unwrap_or_default()
    }
}
