use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, HostIP, Pod, PodIP, PodStatus, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::disruption::Disruption;
use pinnace_api::kinds::qos;

use super::pod_level::PodLevel;
use super::record::{self, Ended, Record, State};
use super::resize::Resize;
use super::{conditions, phase, read_only};

/// All that a pod's status is made from.
pub(crate) struct View<'a> {
    pub(crate) pod: &'a Pod,
    /// In the order of [`record::containers`].
    pub(crate) records: &'a [Record],
    /// The ephemeral containers, whose records follow those of the others.
    pub(crate) ephemeral: &'a [Container],
    /// The runtime's name, which container ids begin with.
    pub(crate) runtime: &'a str,
    /// The node's addresses.
    pub(crate) host_ips: &'a [String],
    /// The pod's addresses, empty until it has some.
    pub(crate) pod_ips: &'a [String],
    /// Whether what the containers share exists.
    pub(crate) has_sandbox: bool,
    /// When the node agent took the pod.
    pub(crate) started_at: Timestamp,
    /// Whether no container will be started again.
    pub(crate) over: bool,
    /// What the node agent has decided about the pod, whatever its containers say.
    pub(crate) verdict: Option<&'a Verdict>,
    /// Whether the verdict disrupts it for no fault of its own.
    pub(crate) disrupted: bool,
    /// How far a change of its resources has got.
    pub(crate) resize: Option<&'a Resize>,
    /// Whether the runtime makes what is mounted below a volume read-only, too.
    pub(crate) recursive_read_only: bool,
    /// What the pod has as a whole.
    pub(crate) pod_level: &'a PodLevel,
}

/// Why a node agent has failed a pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// The status to write, given the one that is there.
pub(crate) fn status(view: &View<'_>, current: Option<&PodStatus>, now: Timestamp) -> PodStatus {
    let none = PodStatus::default();
    let current = current.unwrap_or(&none);
    let spec = record::spec_of(view.pod);
    let phase = match view.verdict {
        Some(_) if view.over => phase::FAILED,
        _ if phase::is_terminal(current.phase.as_deref()) => {
            if current.phase.as_deref() == Some(phase::FAILED) {
                phase::FAILED
            } else {
                phase::SUCCEEDED
            }
        }
        _ => phase::phase(spec, view.records, view.over),
    };
    let mut wanted = conditions::conditions(view.pod, view.records, phase, view.has_sandbox);
    if !phase::is_terminal(Some(phase)) {
        let generation = view.pod.metadata.generation;
        wanted.extend(view.resize.into_iter().flat_map(|resize| resize.conditions(generation)));
    }
    wanted.extend(
        view.verdict
            .filter(|_| view.disrupted)
            .map(|verdict| Disruption::NodeAgent(&verdict.message).condition(view.pod)),
    );
    let init_count = record::init_count(spec);
    let mut init: Vec<ContainerStatus> = record::containers(spec)
        .zip(view.records)
        .map(|(container, record)| container_status(view, container, record, init_count > 0))
        .collect();
    let main = init.split_off(init_count.min(init.len()));
    let ephemeral: Vec<ContainerStatus> = view
        .ephemeral
        .iter()
        .zip(view.records.iter().skip(record::containers(spec).count()))
        .map(|(container, record)| ContainerStatus {
            ready: false,
            started: None,
            ..container_status(view, container, record, false)
        })
        .collect();
    let granted = view.pod_level.granted().or(spec.resources.as_ref());
    let host_ips = view.host_ips;
    let pod_ips = if view.pod_ips.is_empty() { None } else { Some(view.pod_ips) };
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions::merge(current.conditions.as_deref(), wanted, now)),
        reason: view.verdict.map_or(current.reason.clone(), |verdict| Some(verdict.reason.clone())),
        message: view
            .verdict
            .map_or(current.message.clone(), |verdict| Some(verdict.message.clone())),
        host_ip: host_ips.first().cloned(),
        host_ips: (!host_ips.is_empty())
            .then(|| host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        pod_ip: match pod_ips {
            Some(ips) => ips.first().cloned(),
            None => current.pod_ip.clone(),
        },
        pod_ips: match pod_ips {
            Some(ips) => Some(ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect()),
            None => current.pod_ips.clone(),
        },
        start_time: current.start_time.clone().or(Some(Time(view.started_at))),
        qos_class: current.qos_class.clone().or_else(|| Some(qos::class(spec).to_owned())),
        observed_generation: view.pod.metadata.generation,
        init_container_statuses: (!init.is_empty()).then_some(init),
        container_statuses: Some(main),
        ephemeral_container_statuses: (!ephemeral.is_empty()).then_some(ephemeral),
        allocated_resources: match granted {
            Some(granted) => granted.requests.clone(),
            None => current.allocated_resources.clone(),
        },
        resources: match granted {
            Some(granted) => Some(view.pod_level.enacted().unwrap_or(granted).clone()),
            None => current.resources.clone(),
        },
        // These belong to others.
        extended_resource_claim_status: current.extended_resource_claim_status.clone(),
        node_allocatable_resource_claim_statuses: current
            .node_allocatable_resource_claim_statuses
            .clone(),
        nominated_node_name: current.nominated_node_name.clone(),
        resize: current.resize.clone(),
        resource_claim_statuses: current.resource_claim_statuses.clone(),
    }
}

fn container_status(
    view: &View<'_>,
    container: &Container,
    record: &Record,
    has_init: bool,
) -> ContainerStatus {
    let terminated = |ended: &Ended| terminated(view, ended);
    let last = record.last.as_ref().map(terminated);
    let (state, last) = match (&record.state, &record.hold) {
        (State::Running { started_at, .. }, _) => {
            let running =
                ContainerStateRunning { started_at: Some(Time(whole_seconds(*started_at))) };
            (ContainerState { running: Some(running), ..Default::default() }, last)
        }
        (State::Exited { ended, .. }, Some(hold)) if !view.over => {
            (waiting(hold.reason, &hold.message), Some(terminated(ended)))
        }
        (State::Exited { ended, .. }, _) => (terminated(ended), last),
        (State::Absent, Some(hold)) => (waiting(hold.reason, &hold.message), last),
        (State::Absent, None) if has_init => (waiting("PodInitializing", ""), last),
        (State::Absent, None) => (waiting("ContainerCreating", ""), last),
    };
    let id = match &record.state {
        State::Running { id, .. } => Some(id),
        State::Exited { ended, .. } => ended.id.as_ref(),
        State::Absent => record.last.as_ref().and_then(|ended| ended.id.as_ref()),
    };
    let running = record.running().is_some();
    // A completed init container counts as ready, though it is not running.
    let completed = record.ended().is_some_and(|ended| ended.code == 0);
    let is_init = has_init
        && record::spec_of(view.pod)
            .init_containers
            .iter()
            .flatten()
            .any(|init| std::ptr::eq(init, container));
    let exists = running || record.ended().is_some();
    let granted = record.granted.as_deref().or(container.resources.as_ref());
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: if exists { record.image_id.clone() } else { String::new() },
        container_id: id.map(|id| format!("{}://{id}", view.runtime)),
        ready: record.is_ready() || (is_init && completed && !record::is_sidecar(container)),
        started: Some(record.is_started()),
        restart_count: record.restarts,
        last_state: Some(last.unwrap_or_default()),
        state: Some(state),
        resources: record.enacted.as_deref().or(granted).filter(|_| running).cloned(),
        allocated_resources: granted
            .filter(|_| running)
            .and_then(|resources| resources.requests.clone()),
        volume_mounts: volume_mounts(container, view.recursive_read_only),
        ..Default::default()
    }
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message: (!message.is_empty()).then(|| message.to_owned()),
        }),
        ..Default::default()
    }
}

/// What the last words of all containers of a pod may have together, in bytes.
const MESSAGE_BYTES: usize = 12 << 10;

fn terminated(view: &View<'_>, ended: &Ended) -> ContainerState {
    let runtime = view.runtime;
    let most = MESSAGE_BYTES / view.records.len().max(1);
    let mut message = ended.message.clone();
    while message.len() > most {
        // A whole character at a time.
        message.pop();
    }
    let time = |at: Option<Timestamp>| Some(Time(whole_seconds(at.unwrap_or_default())));
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: ended.id.as_ref().map(|id| format!("{runtime}://{id}")),
            exit_code: ended.code,
            reason: Some(ended.reason.clone()).filter(|reason| !reason.is_empty()),
            message: Some(message).filter(|message| !message.is_empty()),
            started_at: time(ended.started_at),
            finished_at: time(ended.finished_at),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn volume_mounts(container: &Container, recursive: bool) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref().filter(|mounts| !mounts.is_empty())?;
    let status = |mount: &k8s_openapi::api::core::v1::VolumeMount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only.filter(|read_only| *read_only),
        recursive_read_only: (mount.read_only == Some(true))
            .then(|| read_only::told(mount, recursive).to_owned()),
        ..Default::default()
    };
    Some(mounts.iter().map(status).collect())
}

/// Times in a status have no fractions, so that what is written and what is read back are equal.
fn whole_seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

/// The end of a container as an earlier status told it.
pub(crate) fn ended_from(state: Option<&ContainerState>) -> Option<Ended> {
    let terminated = state?.terminated.as_ref()?;
    let id = terminated.container_id.as_deref().and_then(|id| id.split_once("://"));
    Some(Ended {
        id: id.map(|(_, id)| pinnace_runtime::ContainerId(id.to_owned())),
        code: terminated.exit_code,
        reason: terminated.reason.clone().unwrap_or_default(),
        message: terminated.message.clone().unwrap_or_default(),
        started_at: terminated.started_at.as_ref().map(|time| time.0),
        finished_at: terminated.finished_at.as_ref().map(|time| time.0),
    })
}
