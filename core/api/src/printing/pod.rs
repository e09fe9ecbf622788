//! Pods: the one word that says how a pod is doing, gathered from all of its containers.

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodSpec, PodStatus,
    PodTemplate,
};
use serde_json::Value;

use super::age::{age, human_duration};
use super::text::{self, NONE, or_none};
use super::typed::{Entry, TypedPrinter};
use super::{AGE, Column, Completed, NAME, cells};

const POD: &[Column] = &[
    NAME,
    Column::text("Ready", "Containers that are ready, of all that should be"),
    Column::text("Status", "How the pod and its containers are doing"),
    Column::text("Restarts", "How often containers were restarted, and when last"),
    AGE,
    Column::text("IP", "Address of the pod").wide(),
    Column::text("Node", "Node that the pod is on").wide(),
    Column::text("Nominated Node", "Node where room is being made for the pod").wide(),
    Column::text("Readiness Gates", "Readiness gates that are true, of all").wide(),
];

const TEMPLATE: &[Column] = &[
    NAME,
    Column::text("Containers", "Names of the template's containers"),
    Column::text("Images", "Images of the template's containers"),
    Column::text("Pod Labels", "Labels of the template's pods"),
];

pub(super) fn printers() -> Vec<Entry> {
    vec![
        Entry::of(TypedPrinter { columns: POD, cells: pod, completed, order: None }),
        Entry::new(TEMPLATE, template),
    ]
}

fn pod(pod: &Pod, now: Timestamp) -> Vec<Value> {
    let (no_spec, no_status) = (PodSpec::default(), PodStatus::default());
    let spec = pod.spec.as_ref().unwrap_or(&no_spec);
    let status = pod.status.as_ref().unwrap_or(&no_status);
    let summary = Summary::of(pod, spec, status);
    let restarts = match summary.last_restart {
        Some(last) if summary.restarts != 0 => {
            format!("{} ({} ago)", summary.restarts, human_duration(now.duration_since(last)))
        }
        _ => summary.restarts.to_string(),
    };
    let address = status.pod_ips.iter().flatten().next().map(|one| &one.ip[..]);
    cells![
        pod.metadata.name.as_deref().unwrap_or_default(),
        format!("{}/{}", summary.ready, summary.containers),
        summary.reason.into_owned(),
        restarts,
        age(&pod.metadata, now),
        or_none(address),
        or_none(spec.node_name.as_deref()),
        or_none(status.nominated_node_name.as_deref()),
        readiness_gates(spec, status),
    ]
}

/// What a pod's containers come to.
#[derive(Default)]
struct Summary<'a> {
    ready: usize,
    containers: usize,
    restarts: i64,
    last_restart: Option<Timestamp>,
    reason: Cow<'a, str>,
}

impl<'a> Summary<'a> {
    fn of(pod: &'a Pod, spec: &'a PodSpec, status: &'a PodStatus) -> Self {
        let sidecars: Vec<&str> = spec
            .init_containers
            .iter()
            .flatten()
            .filter(|one| is_sidecar(one))
            .map(|one| &one.name[..])
            .collect();
        let mut summary = Self {
            containers: spec.containers.len() + sidecars.len(),
            reason: Cow::Borrowed(initial_reason(status)),
            ..Self::default()
        };
        let mut of_sidecars = Self::default();
        let initializing = summary.init_containers(spec, status, &sidecars, &mut of_sidecars);
        if !initializing || condition(status, "Initialized") == Some("True") {
            summary.restarts = of_sidecars.restarts;
            summary.last_restart = of_sidecars.last_restart;
            summary.containers(status);
        }
        summary.deletion(pod, status);
        summary
    }

    /// Whether init containers still keep the pod from running.
    fn init_containers(
        &mut self,
        spec: &PodSpec,
        status: &'a PodStatus,
        sidecars: &[&str],
        of_sidecars: &mut Self,
    ) -> bool {
        for (index, one) in status.init_container_statuses.iter().flatten().enumerate() {
            let is_sidecar = sidecars.contains(&&one.name[..]);
            self.count_restarts(one);
            if is_sidecar {
                of_sidecars.count_restarts(one);
            }
            let terminated = one.state.as_ref().and_then(|state| state.terminated.as_ref());
            if terminated.is_some_and(|ended| ended.exit_code == 0) {
                continue;
            }
            if is_sidecar && one.started == Some(true) {
                self.ready += usize::from(one.ready);
                continue;
            }
            let waiting = waiting_reason(one.state.as_ref());
            self.reason = Cow::Owned(match (terminated, waiting) {
                (Some(ended), _) => format!("Init:{}", ended_reason(ended)),
                (None, Some(why)) if why != "PodInitializing" => format!("Init:{why}"),
                _ => {
                    let all = spec.init_containers.as_ref().map_or(0, Vec::len);
                    format!("Init:{index}/{all}")
                }
            });
            return true;
        }
        false
    }

    fn containers(&mut self, status: &'a PodStatus) {
        let mut any_running = false;
        let mut error = None;
        for one in status.container_statuses.iter().flatten().rev() {
            self.count_restarts(one);
            let state = one.state.as_ref();
            if let Some(why) = waiting_reason(state) {
                self.reason = Cow::Borrowed(why);
            } else if let Some(ended) = state.and_then(|state| state.terminated.as_ref()) {
                self.reason = ended_reason(ended);
                if ended.exit_code != 0 {
                    error = Some(self.reason.clone());
                }
            } else if one.ready && state.is_some_and(|state| state.running.is_some()) {
                any_running = true;
                self.ready += 1;
            }
        }
        // One container that has done its work does not make a pod complete.
        if self.reason == "Completed" {
            let is_ready = condition(status, "Ready") == Some("True");
            match error {
                _ if any_running && is_ready => self.reason = Cow::Borrowed("Running"),
                Some(error) => self.reason = error,
                None if any_running => self.reason = Cow::Borrowed("NotReady"),
                None => {}
            }
        }
    }

    fn deletion(&mut self, pod: &Pod, status: &PodStatus) {
        if pod.metadata.deletion_timestamp.is_none() {
            return;
        }
        let is_over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        if status.reason.as_deref() == Some("NodeLost") {
            self.reason = Cow::Borrowed("Unknown");
        } else if !is_over {
            self.reason = Cow::Borrowed("Terminating");
        }
    }

    fn count_restarts(&mut self, one: &ContainerStatus) {
        self.restarts += i64::from(one.restart_count);
        let ended = one.last_state.as_ref().and_then(|state| state.terminated.as_ref());
        let at = ended.and_then(|ended| ended.finished_at.as_ref()).map(|time| time.0);
        self.last_restart = self.last_restart.max(at);
    }
}

/// The phase, or the reason the pod gives for it.
fn initial_reason(status: &PodStatus) -> &str {
    const GATED: &str = "SchedulingGated";
    let gated = status.conditions.iter().flatten().any(|condition| {
        condition.type_ == "PodScheduled" && condition.reason.as_deref() == Some(GATED)
    });
    let phase = status.phase.as_deref().unwrap_or_default();
    if gated { GATED } else { text::or(status.reason.as_deref(), phase) }
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn waiting_reason(state: Option<&ContainerState>) -> Option<&str> {
    let waiting = state?.waiting.as_ref()?;
    waiting.reason.as_deref().filter(|reason| !reason.is_empty())
}

fn ended_reason(ended: &ContainerStateTerminated) -> Cow<'_, str> {
    match (ended.reason.as_deref().unwrap_or_default(), ended.signal.unwrap_or(0)) {
        ("", 0) => Cow::Owned(format!("ExitCode:{}", ended.exit_code)),
        ("", signal) => Cow::Owned(format!("Signal:{signal}")),
        (reason, _) => Cow::Borrowed(reason),
    }
}

fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<&'a str> {
    let all = status.conditions.iter().flatten();
    all.into_iter().find(|one| one.type_ == kind).map(|one| &one.status[..])
}

fn readiness_gates(spec: &PodSpec, status: &PodStatus) -> String {
    match spec.readiness_gates.as_deref() {
        None | Some([]) => NONE.to_owned(),
        Some(gates) => {
            let is_true = |gate: &str| condition(status, gate) == Some("True");
            let count = gates.iter().filter(|gate| is_true(&gate.condition_type)).count();
            format!("{count}/{}", gates.len())
        }
    }
}

fn completed(pod: &Pod) -> Option<Completed> {
    match pod.status.as_ref()?.phase.as_deref()? {
        "Succeeded" => {
            Some(Completed { reason: "Succeeded", message: "The pod has completed successfully." })
        }
        "Failed" => Some(Completed { reason: "Failed", message: "The pod failed." }),
        _ => None,
    }
}

fn template(template: &PodTemplate, _: Timestamp) -> Vec<Value> {
    let (names, images) = text::template_containers(template.template.as_ref());
    let meta = template.template.as_ref().and_then(|template| template.metadata.as_ref());
    cells![
        template.metadata.name.as_deref().unwrap_or_default(),
        names,
        images,
        text::labels(meta.and_then(|meta| meta.labels.as_ref())),
    ]
}
