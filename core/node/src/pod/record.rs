use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, EphemeralContainer, Pod, PodSpec, ResourceRequirements,
};
use pinnace_runtime::{ContainerId, ContainerPhase, ContainerState, Exit};
use tokio::time::Instant;

use super::back_off::BackOff;
use super::probing::Probes;

/// One container of a pod as the agent knows it.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// How often it was started again; the number of its current attempt.
    pub(crate) restarts: i32,
    /// Where its current attempt stands.
    pub(crate) state: State,
    /// Why it is not started now, if it should be.
    pub(crate) hold: Option<Hold>,
    /// How its attempt before the current one ended.
    pub(crate) last: Option<Ended>,
    /// The image as the status names it: by digest where that is known.
    pub(crate) image_id: String,
    /// Between restarts.
    pub(crate) restart_back_off: BackOff,
    /// Between pulls.
    pub(crate) pull_back_off: BackOff,
    /// The probes of the attempt that runs, if it has any.
    pub(crate) probes: Option<Probes>,
    /// What was known of a container that ran before the agent did: whether it had started and
    /// was ready.
    pub(crate) was: (bool, bool),
    /// Whether the attempt was stopped because a probe said so: then it counts as failed.
    pub(crate) unhealthy: bool,
    /// What the node has granted it, while that is not what its pod asks for.
    pub(crate) granted: Option<Box<ResourceRequirements>>,
    /// What the attempt that runs has, while that may not be what was granted.
    pub(crate) enacted: Option<Box<ResourceRequirements>>,
}

/// Where the current attempt of a container stands.
#[derive(Clone, Debug, Default)]
pub(crate) enum State {
    /// It has not been started: it is started when its turn comes.
    #[default]
    Absent,
    /// It runs until the runtime says otherwise, or the pod ends.
    Running {
        id: ContainerId,
        started_at: Timestamp,
        /// The image it was made from, to notice when the pod names another.
        image: String,
    },
    /// It has ended: it is started again if the restart policy says so.
    Exited { ended: Ended, seen: Instant },
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ended {
    /// `None` when nothing of the container exists or is known.
    pub(crate) id: Option<ContainerId>,
    pub(crate) code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
}

/// Why a container is not started yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hold {
    /// The reason of the waiting state, such as `CrashLoopBackOff`.
    pub(crate) reason: &'static str,
    /// What there is to say.
    pub(crate) message: String,
    /// When to try again.
    pub(crate) until: Instant,
}

/// Exit code of a container that vanished, as upstream gives it.
const CODE_UNKNOWN: i32 = 137;

impl Ended {
    pub(crate) fn new(id: ContainerId, exit: Exit) -> Self {
        Self {
            id: Some(id),
            code: exit.code,
            reason: exit.reason.to_owned(),
            message: exit.message,
            started_at: Some(exit.started_at),
            finished_at: Some(exit.finished_at),
        }
    }

    /// The end of a container that the runtime no longer knows.
    pub(crate) fn unknown(id: Option<ContainerId>, message: &str) -> Self {
        Self {
            id,
            code: CODE_UNKNOWN,
            reason: "ContainerStatusUnknown".to_owned(),
            message: message.to_owned(),
            started_at: None,
            finished_at: None,
        }
    }
}

impl Record {
    /// Takes over what the runtime says of the current attempt.
    pub(crate) fn observe(&mut self, state: ContainerState, now: Instant) {
        let seen = match &self.state {
            State::Exited { seen, .. } => *seen,
            _ => now,
        };
        self.state = match state.phase {
            ContainerPhase::Created => State::Absent,
            ContainerPhase::Running { started_at, .. } => {
                State::Running { id: state.id, started_at, image: state.config.image }
            }
            ContainerPhase::Exited(exit) => {
                State::Exited { ended: Ended::new(state.id, exit), seen }
            }
        };
        if self.running().is_none() {
            self.probes = None;
        }
    }

    /// Notes that the current attempt is over.
    pub(crate) fn exited(&mut self, ended: Ended, now: Instant) {
        self.state = State::Exited { ended, seen: now };
        self.probes = None;
    }

    /// Whether it runs and its startup probe, if it has one, has succeeded.
    pub(crate) fn is_started(&self) -> bool {
        self.running().is_some() && self.probes.as_ref().is_none_or(Probes::is_started)
    }

    /// Whether it runs and its readiness probe, if it has one, has succeeded.
    pub(crate) fn is_ready(&self) -> bool {
        self.running().is_some() && self.probes.as_ref().is_none_or(Probes::is_ready)
    }

    /// Moves on to the attempt that is about to be started.
    pub(crate) fn begin_attempt(&mut self, now: Instant) {
        self.was = (false, false);
        self.unhealthy = false;
        self.probes = None;
        // It is made with what was granted.
        self.enacted.clone_from(&self.granted);
        if let State::Exited { ended, seen } = std::mem::take(&mut self.state) {
            self.restart_back_off.attempt(seen, now);
            self.restarts = self.restarts.saturating_add(1);
            self.last = Some(ended);
        }
    }

    /// The container that runs, if one does.
    pub(crate) fn running(&self) -> Option<&ContainerId> {
        match &self.state {
            State::Running { id, .. } => Some(id),
            _ => None,
        }
    }

    /// How the current attempt ended, if it has.
    pub(crate) fn ended(&self) -> Option<&Ended> {
        match &self.state {
            State::Exited { ended, .. } => Some(ended),
            _ => None,
        }
    }

    /// Puts off the start of the container.
    pub(crate) fn hold(
        &mut self,
        reason: &'static str,
        message: String,
        now: Instant,
        delay: Duration,
    ) {
        self.hold = Some(Hold { reason, message, until: now + delay });
    }
}

/// The containers of a pod in the order in which they are started.
pub(crate) fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

/// A container of a pod by its place in [`containers`].
pub(crate) fn container(spec: &PodSpec, index: usize) -> Option<&Container> {
    let init = spec.init_containers.as_deref().unwrap_or_default();
    init.get(index).or_else(|| spec.containers.get(index.checked_sub(init.len())?))
}

/// An ephemeral container in the form of all others; what it cannot have is not set.
pub(crate) fn ephemeral(of: &EphemeralContainer) -> Container {
    let of = of.clone();
    Container {
        name: of.name,
        image: of.image,
        image_pull_policy: of.image_pull_policy,
        command: of.command,
        args: of.args,
        env: of.env,
        env_from: of.env_from,
        working_dir: of.working_dir,
        volume_mounts: of.volume_mounts,
        volume_devices: of.volume_devices,
        security_context: of.security_context,
        stdin: of.stdin,
        stdin_once: of.stdin_once,
        tty: of.tty,
        termination_message_path: of.termination_message_path,
        termination_message_policy: of.termination_message_policy,
        ..Container::default()
    }
}

/// How many init containers a pod has.
pub(crate) fn init_count(spec: &PodSpec) -> usize {
    spec.init_containers.as_ref().map_or(0, Vec::len)
}

/// Whether an init container keeps running beside the containers: a sidecar.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// `spec`, for pods that the API has validated: all of them have one.
pub(crate) fn spec_of(pod: &Pod) -> &PodSpec {
    static NONE: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&NONE)
}
