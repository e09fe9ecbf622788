//! When a Job has succeeded or failed, and what its pods' failures mean.

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobSpec, JobStatus, PodFailurePolicyRule};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use pinnace_api::Typed;

use super::counting::{Count, IndexFailures};
use super::{conditions, indexes, is_indexed, size};
use crate::{condition, pods};

/// How often the index of a pod had failed before it, and how often beside that a policy did not
/// count it.
pub(super) const INDEX_FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
pub(super) const INDEX_IGNORED_FAILURES: &str =
    "batch.kubernetes.io/job-index-ignored-failure-count";

/// How a Job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) success: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Verdict {
    fn failure(reason: &'static str, message: impl Into<String>) -> Self {
        Self { success: false, reason, message: message.into() }
    }

    fn success(reason: &'static str, message: impl Into<String>) -> Self {
        Self { success: true, reason, message: message.into() }
    }
}

/// Whether a Job is to end, and how. A verdict that was written down stays.
pub(super) fn judge(
    spec: &JobSpec,
    status: &JobStatus,
    count: &Count,
    pods: &[Typed<Pod>],
    now: Timestamp,
) -> Option<Verdict> {
    written(status)
        .or_else(|| failed_by_policy(spec, count))
        .or_else(|| past_backoff(spec, count, pods))
        .or_else(|| past_deadline(spec, status, now))
        .or_else(|| failed_indexes(spec, count))
        .or_else(|| by_success_policy(spec, count))
        .or_else(|| completed(spec, count))
}

/// The end that a Job has been promised already.
pub(super) fn written(status: &JobStatus) -> Option<Verdict> {
    let promised = |kind: &str, success: bool| {
        let condition = conditions::find(status, kind)?;
        Some(Verdict {
            success,
            reason: known(condition.reason.as_deref().unwrap_or_default()),
            message: condition.message.clone().unwrap_or_default(),
        })
    };
    promised("SuccessCriteriaMet", true).or_else(|| promised("FailureTarget", false))
}

/// The reasons that this controller gives.
fn known(reason: &str) -> &'static str {
    const REASONS: [&str; 7] = [
        "PodFailurePolicy",
        "DeadlineExceeded",
        "BackoffLimitExceeded",
        "MaxFailedIndexesExceeded",
        "FailedIndexes",
        "SuccessPolicy",
        "CompletionsReached",
    ];
    REASONS.into_iter().find(|known| *known == reason).unwrap_or("PodFailurePolicy")
}

fn failed_by_policy(spec: &JobSpec, count: &Count) -> Option<Verdict> {
    count.new_failed.iter().find_map(|pod| {
        let (rule, message) = matched(spec, pod)?;
        (rule.action == "FailJob").then(|| Verdict::failure("PodFailurePolicy", message))
    })
}

fn past_deadline(spec: &JobSpec, status: &JobStatus, now: Timestamp) -> Option<Verdict> {
    let seconds = spec.active_deadline_seconds?;
    let start = status.start_time.as_ref()?.0;
    let over = now.duration_since(start).as_secs() >= seconds && spec.suspend != Some(true);
    let message = "Job was active longer than specified deadline";
    over.then(|| Verdict::failure("DeadlineExceeded", message))
}

fn past_backoff(spec: &JobSpec, count: &Count, pods: &[Typed<Pod>]) -> Option<Verdict> {
    let limit = size(spec.backoff_limit);
    let restarts: usize =
        match spec.template.spec.as_ref().and_then(|s| s.restart_policy.as_deref()) {
            Some("OnFailure") => {
                let live = |pod: &&Typed<Pod>| matches!(pods::phase(pod), "Running" | "Pending");
                pods.iter().filter(live).flat_map(|pod| statuses(pod)).map(restarts).sum()
            }
            _ => 0,
        };
    let over = count.failed > limit || if limit == 0 { restarts > 0 } else { restarts >= limit };
    let message = "Job has reached the specified backoff limit";
    over.then(|| Verdict::failure("BackoffLimitExceeded", message))
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    let main = status.and_then(|status| status.container_statuses.as_ref());
    init.into_iter().chain(main).flatten()
}

fn restarts(status: &ContainerStatus) -> usize {
    usize::try_from(status.restart_count).unwrap_or(0)
}

fn failed_indexes(spec: &JobSpec, count: &Count) -> Option<Verdict> {
    spec.backoff_limit_per_index?;
    let failed = count.failed_indexes.len();
    if spec.max_failed_indexes.is_some() && failed > size(spec.max_failed_indexes) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(Verdict::failure("MaxFailedIndexesExceeded", message));
    }
    let done = failed + count.succeeded_indexes.len();
    let over = failed > 0 && done >= size(spec.completions);
    over.then(|| Verdict::failure("FailedIndexes", "Job has failed indexes"))
}

fn by_success_policy(spec: &JobSpec, count: &Count) -> Option<Verdict> {
    let completions = u32::try_from(spec.completions?).ok()?;
    let rules = spec.success_policy.iter().flat_map(|policy| &policy.rules).enumerate();
    for (index, rule) in rules {
        let listed =
            rule.succeeded_indexes.as_deref().map(|text| indexes::parse(Some(text), completions));
        let reached = match &listed {
            Some(listed) => listed.intersection(&count.succeeded_indexes).count(),
            None => count.succeeded_indexes.len(),
        };
        let needed = match (rule.succeeded_count, &listed) {
            (Some(count), _) => size(Some(count)),
            (None, Some(listed)) => listed.len(),
            (None, None) => continue,
        };
        if reached >= needed {
            let message = format!("Matched rules at index {index}");
            return Some(Verdict::success("SuccessPolicy", message));
        }
    }
    None
}

fn completed(spec: &JobSpec, count: &Count) -> Option<Verdict> {
    let reached = match spec.completions {
        // Any success is success for all, once all have ended.
        None => count.succeeded > 0 && count.active.is_empty(),
        Some(completions) => count.succeeded >= size(Some(completions)) && count.active.is_empty(),
    };
    if !reached || (is_indexed(spec) && !count.failed_indexes.is_empty()) {
        return None;
    }
    let message = "Reached expected number of succeeded pods";
    Some(Verdict::success("CompletionsReached", message))
}

/// Whether a failed pod is not counted.
pub(super) fn is_ignored(spec: &JobSpec, pod: &Pod) -> bool {
    matched(spec, pod).is_some_and(|(rule, _)| rule.action == "Ignore")
}

/// Whether a failed pod gives its index up.
pub(super) fn fails_index(spec: &JobSpec, pod: &Pod) -> bool {
    matched(spec, pod).is_some_and(|(rule, _)| rule.action == "FailIndex")
}

/// The first rule that a failed pod matches, and what is said of it.
fn matched<'a>(spec: &'a JobSpec, pod: &Pod) -> Option<(&'a PodFailurePolicyRule, String)> {
    let policy = spec.pod_failure_policy.as_ref()?;
    let meta = &pod.metadata;
    let name = format!(
        "{}/{}",
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default()
    );
    policy.rules.iter().enumerate().find_map(|(index, rule)| {
        let action = &rule.action;
        if let Some((container, code)) = matching_container(rule, pod) {
            let message = format!(
                "Container {container} for pod {name} failed with exit code {code} matching \
                 {action} rule at index {index}"
            );
            return Some((rule, message));
        }
        let condition = matching_condition(rule, pod)?;
        let message =
            format!("Pod {name} has condition {condition} matching {action} rule at index {index}");
        Some((rule, message))
    })
}

fn matching_container(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<(String, i32)> {
    let codes = rule.on_exit_codes.as_ref()?;
    let status = pod.status.as_ref()?;
    let main = status.container_statuses.iter().flatten();
    main.chain(status.init_container_statuses.iter().flatten()).find_map(|status| {
        if codes.container_name.as_ref().is_some_and(|name| *name != status.name) {
            return None;
        }
        let code = status.state.as_ref()?.terminated.as_ref()?.exit_code;
        let listed = codes.values.contains(&code);
        let matches = match codes.operator.as_str() {
            "In" => listed,
            "NotIn" => code != 0 && !listed,
            _ => false,
        };
        matches.then(|| (status.name.clone(), code))
    })
}

fn matching_condition(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    let patterns = rule.on_pod_conditions.as_deref().unwrap_or_default();
    let matching = conditions.iter().find(|condition| {
        patterns.iter().any(|pattern| {
            pattern.type_ == condition.type_
                && pattern.status.as_deref().unwrap_or("True") == condition.status
        })
    });
    matching.map(|condition| condition.type_.clone())
}

/// How often the index of a pod had failed when the pod was made.
pub(super) fn index_failures(pod: &Pod) -> u32 {
    annotated(pod, INDEX_FAILURES)
}

fn annotated(pod: &Pod, name: &str) -> u32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.and_then(|all| all.get(name)?.parse().ok()).unwrap_or(0)
}

/// How often the index of a failed pod has failed, this pod included.
pub(super) fn failures_with(spec: &JobSpec, pod: &Pod) -> IndexFailures {
    let ignored = is_ignored(spec, pod);
    IndexFailures {
        counted: index_failures(pod).saturating_add(u32::from(!ignored)),
        ignored: annotated(pod, INDEX_IGNORED_FAILURES).saturating_add(u32::from(ignored)),
        last: finished_at(pod),
    }
}

/// When a pod ended: its last container's end, or else when it ceased to be ready or began to go.
pub(super) fn finished_at(pod: &Pod) -> Timestamp {
    containers_ended(pod)
        .or_else(|| unready_since(pod))
        .or_else(|| began_to_go(pod))
        .or_else(|| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
        .unwrap_or(Timestamp::MIN)
}

/// When the last container ended, if all have. Sidecars end after the others.
fn containers_ended(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let is_sidecar = |status: &&ContainerStatus| {
        let spec = pod.spec.as_ref();
        spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten().any(|container| {
            container.name == status.name && container.restart_policy.as_deref() == Some("Always")
        })
    };
    let sidecars = status.init_container_statuses.iter().flatten().filter(is_sidecar);
    let ended = |status: &ContainerStatus| {
        Some(status.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref()?.0)
    };
    let all = status.container_statuses.iter().flatten().chain(sidecars).map(ended);
    all.collect::<Option<Vec<_>>>()?.into_iter().max()
}

fn unready_since(pod: &Pod) -> Option<Timestamp> {
    let conditions = pod.status.as_ref()?.conditions.as_ref();
    let ready = condition::find(conditions, "Ready").filter(|ready| ready.status == "False")?;
    Some(ready.last_transition_time.as_ref()?.0)
}

fn began_to_go(pod: &Pod) -> Option<Timestamp> {
    let end = pod.metadata.deletion_timestamp.as_ref()?.0;
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
    end.checked_sub(jiff::SignedDuration::from_secs(grace)).ok()
}
