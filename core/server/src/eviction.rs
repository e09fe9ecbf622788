use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{Eviction, PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    Condition, DeleteOptions as DeleteDocument, StatusCause, Time,
};
use pinnace_api::disruption::Disruption;
use pinnace_api::selector::Selector;
use pinnace_api::{ApiError, Draft, Object, Reason, Result};
use pinnace_client::{
    DeleteOptions, Preconditions, PropagationPolicy, Subresource, Target, WriteOptions,
};
use std::time::Duration;

use crate::delete::check_preconditions;
use crate::server::WRITE_ATTEMPTS;
use crate::write::Write;
use crate::{Operation, Server, User};

/// Most evictions that may wait for the controller of a budget to notice them.
const MAX_DISRUPTED_PODS: usize = 2000;
/// How long who was refused because a budget is out of date should wait.
const OUT_OF_DATE: Duration = Duration::from_secs(10);
const VIOLATED: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
const BUDGETS: &str = "poddisruptionbudgets.policy";

/// What a budget says to an eviction.
enum Verdict {
    /// It has nothing to say.
    Free,
    /// It has been charged, or need not be.
    Granted,
    /// The pod does not count; it may go as long as it is as it was.
    Unhealthy(String),
}

impl Server {
    /// Deletes a pod, if its budget allows.
    pub(crate) async fn evict(
        &self,
        user: &User,
        target: Target,
        mut draft: Draft,
        options: WriteOptions,
    ) -> Result<Object> {
        let resource = &*target.resource;
        let (namespace, name) = (target.key.namespace(), target.key.name());
        let part = Some(Subresource::Eviction);
        self.authorize(user, "create", resource, part, namespace, name)?;
        Self::check_part(resource, name, part, "create")?;
        let write = Write::to(user, Operation::Create, &target, None, &options);
        self.admit_part(&write, &mut draft)?;
        self.mutate(&write, Some(&mut draft), |draft| self.admit_part(&write, draft)).await?;
        self.review_final(&write, Some(&mut draft)).await?;
        let eviction = draft
            .get::<Eviction>()
            .ok_or_else(|| ApiError::bad_request("the body must be a policy/v1 Eviction"))?;
        if eviction.metadata.name.as_deref() != Some(name) {
            let why = "name in URL does not match name in Eviction object";
            return Err(ApiError::bad_request(why));
        }
        let wanted = delete_options(eviction.delete_options.as_ref(), options.dry_run)?;
        let versioned = (wanted.preconditions.as_ref())
            .is_some_and(|preconditions| preconditions.resource_version.is_some());
        let whole = Target::new(target.resource.clone(), target.key.clone());
        for _ in 0..WRITE_ATTEMPTS {
            let snapshot = self.snapshot();
            let found = snapshot.get(resource.table(), &target.key);
            let object = found.ok_or_else(|| ApiError::not_found(resource, name))?.clone();
            drop(snapshot);
            let pod = object.get::<Pod>()?;
            if !may_ignore_budgets(pod) {
                return self.evict_guarded(user, whole, &object, wanted).await;
            }
            let mut options = wanted.clone();
            if !is_over(pod) {
                pin(&mut options, &object);
            }
            match self.mark_and_delete(user, whole.clone(), options).await {
                Err(error) if error.is_conflict() && !versioned => {}
                done => return done,
            }
        }
        Err(ApiError::modified(resource, name))
    }

    async fn evict_guarded(
        &self,
        user: &User,
        target: Target,
        object: &Object,
        options: DeleteOptions,
    ) -> Result<Object> {
        let verdict = self.ask_budget(object, options.dry_run).await?;
        let Verdict::Unhealthy(budget) = verdict else {
            return self.mark_and_delete(user, target, options).await;
        };
        let versioned = (options.preconditions.as_ref())
            .is_some_and(|preconditions| preconditions.resource_version.is_some());
        let mut pinned = options;
        pin(&mut pinned, object);
        match self.mark_and_delete(user, target, pinned).await {
            Err(error) if error.is_conflict() && !versioned => Err(out_of_date(&budget)),
            done => done,
        }
    }

    /// Says in a pod's status why it goes, and deletes it.
    async fn mark_and_delete(
        &self,
        user: &User,
        target: Target,
        mut options: DeleteOptions,
    ) -> Result<Object> {
        if !options.dry_run {
            let resource = &*target.resource;
            let now = Time(self.env().clock().now_seconds());
            let marked = |old: Object| {
                check_preconditions(resource, &old, &options)?;
                let mut draft = old.draft()?;
                if let Some(pod) = draft.get_mut::<Pod>() {
                    Disruption::Eviction.mark(pod, &now);
                }
                Ok(draft)
            };
            let write = WriteOptions::default();
            let marked =
                self.rewrite(&target, &write, |old| std::future::ready(marked(old))).await?;
            // Whoever asks for a version means the one before this.
            let asked = options.preconditions.as_mut().map(|asked| &mut asked.resource_version);
            if let Some(version) = asked.filter(|version| version.is_some()) {
                version.clone_from(&marked.meta().resource_version);
            }
        }
        self.delete_admitted(user, target, options).await
    }

    async fn ask_budget(&self, object: &Object, dry_run: bool) -> Result<Verdict> {
        let pod = object.get::<Pod>()?;
        let budgets = self.budgets_of(object);
        let key = match &budgets[..] {
            [] => return Ok(Verdict::Free),
            [one] => one.key(),
            _ => {
                return Err(ApiError::new(
                    Reason::InternalError,
                    "This pod has more than one PodDisruptionBudget, which the eviction \
                     subresource does not support.",
                ));
            }
        };
        let budget = budgets[0].get::<PodDisruptionBudget>()?;
        if !is_ready(pod) && lets_unhealthy_go(budget) {
            return Ok(Verdict::Unhealthy(key.name().to_owned()));
        }
        let resource = self.catalog().of::<PodDisruptionBudget>()?;
        let target = Target::new(resource.clone(), key);
        let options = WriteOptions { dry_run, ..WriteOptions::default() };
        let now = Time(self.env().clock().now_seconds());
        let charged = |old: Object| {
            let mut draft = old.draft()?;
            if let Some(budget) = draft.get_mut::<PodDisruptionBudget>() {
                charge(&resource, budget, object.name(), &now)?;
            }
            Ok(draft)
        };
        self.rewrite(&target, &options, |old| std::future::ready(charged(old))).await?;
        Ok(Verdict::Granted)
    }

    /// The budgets that count a pod.
    fn budgets_of(&self, pod: &Object) -> Vec<Object> {
        let snapshot = self.snapshot();
        let counts = |budget: &&Object| {
            let Ok(budget) = budget.get::<PodDisruptionBudget>() else { return false };
            let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            let selector = selector.and_then(|s| Selector::from_label_selector(s).ok());
            selector
                .is_some_and(|selector| !selector.is_everything() && selector.matches(pod.labels()))
        };
        snapshot.iter_namespace(BUDGETS, pod.namespace()).filter(counts).cloned().collect()
    }
}

fn delete_options(document: Option<&DeleteDocument>, dry_run: bool) -> Result<DeleteOptions> {
    let Some(document) = document else {
        return Ok(DeleteOptions { dry_run, ..DeleteOptions::default() });
    };
    let policy = document.propagation_policy.as_deref().filter(|policy| !policy.is_empty());
    let propagation = policy
        .map(|policy| {
            let unknown = || ApiError::bad_request(format!("invalid propagationPolicy {policy:?}"));
            PropagationPolicy::parse(policy).ok_or_else(unknown)
        })
        .transpose()?;
    let preconditions = document.preconditions.as_ref().map(|wanted| Preconditions {
        uid: wanted.uid.clone(),
        resource_version: wanted.resource_version.clone(),
    });
    let dry_too = document.dry_run.as_ref().is_some_and(|values| !values.is_empty());
    Ok(DeleteOptions {
        grace_period_seconds: document.grace_period_seconds,
        propagation,
        preconditions,
        dry_run: dry_run || dry_too,
        ..DeleteOptions::default()
    })
}

/// Deletes only the version that was looked at.
fn pin(options: &mut DeleteOptions, object: &Object) {
    let preconditions = options.preconditions.get_or_insert_default();
    if preconditions.resource_version.is_none() {
        preconditions.resource_version.clone_from(&object.meta().resource_version);
    }
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn is_over(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed") || pod.metadata.deletion_timestamp.is_some()
}

fn may_ignore_budgets(pod: &Pod) -> bool {
    is_over(pod) || phase(pod) == "Pending"
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn lets_unhealthy_go(budget: &PodDisruptionBudget) -> bool {
    let spec = budget.spec.as_ref();
    let policy = spec.and_then(|spec| spec.unhealthy_pod_eviction_policy.as_deref());
    let status = budget.status.as_ref();
    let count =
        |count: fn(&PodDisruptionBudgetStatus) -> Option<i32>| status.and_then(count).unwrap_or(0);
    let desired = count(|status| status.desired_healthy);
    policy == Some("AlwaysAllow")
        || count(|status| status.current_healthy) >= desired && desired > 0
}

fn charge(
    resource: &pinnace_api::Resource,
    budget: &mut PodDisruptionBudget,
    pod: &str,
    now: &Time,
) -> Result<()> {
    let name = budget.metadata.name.clone().unwrap_or_default();
    let generation = budget.metadata.generation;
    let status = budget.status.get_or_insert_default();
    if status.observed_generation.unwrap_or(0) < generation.unwrap_or(0) {
        return Err(out_of_date(&name));
    }
    let allowed = status.disruptions_allowed.unwrap_or(0);
    if allowed < 0 {
        return Err(ApiError::forbidden(resource, &name, "pdb disruptions allowed is negative"));
    }
    let disrupted = status.disrupted_pods.get_or_insert_with(BTreeMap::new);
    if disrupted.len() > MAX_DISRUPTED_PODS {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(ApiError::forbidden(resource, &name, why));
    }
    if allowed == 0 {
        let message = format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            status.desired_healthy.unwrap_or(0),
            status.current_healthy.unwrap_or(0)
        );
        return Err(refused(None, message));
    }
    disrupted.insert(pod.to_owned(), now.clone());
    status.disruptions_allowed = Some(allowed - 1);
    if allowed == 1 {
        mark_exhausted(status, generation, now);
    }
    Ok(())
}

fn mark_exhausted(status: &mut PodDisruptionBudgetStatus, generation: Option<i64>, now: &Time) {
    let exhausted = Condition {
        type_: "DisruptionAllowed".to_owned(),
        status: "False".to_owned(),
        reason: "InsufficientPods".to_owned(),
        message: String::new(),
        last_transition_time: now.clone(),
        observed_generation: generation,
    };
    let conditions = status.conditions.get_or_insert_default();
    match conditions.iter_mut().find(|condition| condition.type_ == exhausted.type_) {
        Some(condition) => {
            let same = condition.status == exhausted.status;
            let since = condition.last_transition_time.clone();
            *condition = exhausted;
            if same {
                condition.last_transition_time = since;
            }
        }
        None => conditions.push(exhausted),
    }
}

fn out_of_date(budget: &str) -> ApiError {
    let message = format!("The disruption budget {budget} is still being processed by the server.");
    refused(Some(OUT_OF_DATE), message)
}

fn refused(wait: Option<Duration>, message: String) -> ApiError {
    let mut status = match wait {
        Some(wait) => ApiError::too_many_requests(VIOLATED, wait),
        None => ApiError::new(Reason::TooManyRequests, VIOLATED),
    }
    .to_status();
    let details = status.details.get_or_insert_default();
    details.causes = Some(vec![StatusCause {
        reason: Some("DisruptionBudget".to_owned()),
        message: Some(message),
        field: None,
    }]);
    ApiError::from_status(status)
}
