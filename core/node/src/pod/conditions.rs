use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::record::{self, Record, State};
use super::{phase, resize};

/// The conditions that node agents own; all others belong to somebody else.
const OWNED: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// What is said by one condition.
#[derive(Debug, PartialEq)]
struct Said {
    status: bool,
    reason: &'static str,
    message: String,
}

impl Said {
    fn yes() -> Self {
        Self { status: true, reason: "", message: String::new() }
    }

    fn no(reason: &'static str, message: String) -> Self {
        Self { status: false, reason, message }
    }

    fn into_condition(self, name: &str, generation: Option<i64>) -> PodCondition {
        PodCondition {
            type_: name.to_owned(),
            status: if self.status { "True" } else { "False" }.to_owned(),
            reason: Some(self.reason.to_owned()).filter(|reason| !reason.is_empty()),
            message: Some(self.message).filter(|message| !message.is_empty()),
            observed_generation: generation,
            ..Default::default()
        }
    }
}

/// The conditions of a pod, without times: [`merge`] adds them.
pub(crate) fn conditions(
    pod: &Pod,
    records: &[Record],
    phase: &str,
    has_sandbox: bool,
) -> Vec<PodCondition> {
    let spec = record::spec_of(pod);
    let sandbox = Said { status: has_sandbox, reason: "", message: String::new() };
    let containers = containers_ready(spec, records, phase);
    let ready = ready(pod, &containers);
    let all = [sandbox, initialized(spec, records, phase), ready, containers, Said::yes()];
    let generation = pod.metadata.generation;
    OWNED.iter().zip(all).map(|(name, said)| said.into_condition(name, generation)).collect()
}

fn initialized(spec: &PodSpec, records: &[Record], phase: &str) -> Said {
    if phase == phase::SUCCEEDED {
        return Said { status: true, reason: "PodCompleted", message: String::new() };
    }
    let count = record::init_count(spec);
    let begun = records.iter().skip(count).any(|record| !matches!(record.state, State::Absent));
    let incomplete = record::containers(spec).zip(records).take(count).filter(
        |(container, record)| match record.ended() {
            Some(ended) => ended.code != 0 && !record::is_sidecar(container),
            None => !(record::is_sidecar(container) && (begun || record.running().is_some())),
        },
    );
    let names: Vec<&str> = incomplete.map(|(container, _)| container.name.as_str()).collect();
    if names.is_empty() || begun {
        return Said::yes();
    }
    let message = format!("containers with incomplete status: [{}]", names.join(" "));
    Said::no("ContainersNotInitialized", message)
}

fn containers_ready(spec: &PodSpec, records: &[Record], phase: &str) -> Said {
    match phase {
        phase::SUCCEEDED => return Said::no("PodCompleted", String::new()),
        phase::FAILED => return Said::no("PodFailed", String::new()),
        _ => {}
    }
    let init_count = record::init_count(spec);
    let counts = record::containers(spec)
        .zip(records)
        .enumerate()
        .filter(|(index, (container, _))| *index >= init_count || record::is_sidecar(container));
    let unready = counts.filter(|(_, (_, record))| !record.is_ready());
    let names: Vec<&str> = unready.map(|(_, (container, _))| container.name.as_str()).collect();
    if names.is_empty() {
        return Said::yes();
    }
    let message = format!("containers with unready status: [{}]", names.join(" "));
    Said::no("ContainersNotReady", message)
}

/// Whether the containers are ready and what else the pod's readiness depends on says so.
fn ready(pod: &Pod, containers: &Said) -> Said {
    if !containers.status {
        return Said::no(containers.reason, containers.message.clone());
    }
    let gates = record::spec_of(pod).readiness_gates.iter().flatten();
    let present = || pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut messages = Vec::new();
    for gate in gates {
        let name = &gate.condition_type;
        match present().find(|condition| condition.type_ == *name) {
            None => messages.push(format!(
                "corresponding condition of pod readiness gate {name:?} does not exist."
            )),
            Some(condition) if condition.status != "True" => messages.push(format!(
                "the status of pod readiness gate {name:?} is not \"True\", but {}",
                condition.status
            )),
            Some(_) => {}
        }
    }
    if messages.is_empty() {
        return Said::yes();
    }
    Said::no("ReadinessGatesNotReady", messages.join(", "))
}

/// The conditions to write: those wanted, each with the time since when its status is so, and
/// those that belong to others.
pub(crate) fn merge(
    current: Option<&[PodCondition]>,
    wanted: Vec<PodCondition>,
    now: Timestamp,
) -> Vec<PodCondition> {
    let current = current.unwrap_or_default();
    let find = |name: &str| current.iter().find(|condition| condition.type_ == name);
    let owned = wanted.into_iter().map(|mut condition| {
        let old = find(&condition.type_);
        let since = old.filter(|old| old.status == condition.status);
        let since = since.and_then(|old| old.last_transition_time.clone());
        condition.last_transition_time = Some(since.unwrap_or(Time(now)));
        if condition.type_ == "PodScheduled"
            && let Some(old) = old
        {
            condition.reason.clone_from(&old.reason);
            condition.message.clone_from(&old.message);
            condition.observed_generation = old.observed_generation;
            condition.last_probe_time.clone_from(&old.last_probe_time);
        }
        condition
    });
    let own = |name: &str| OWNED.contains(&name) || resize::CONDITIONS.contains(&name);
    let foreign = current.iter().filter(|condition| !own(&condition.type_));
    owned.chain(foreign.cloned()).collect()
}
