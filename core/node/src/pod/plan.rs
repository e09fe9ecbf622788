use k8s_openapi::api::core::v1::{Container, PodSpec};
use pinnace_runtime::Probing;
use tokio::time::Instant;

use super::probing::Probes;
use super::record::{self, Record, State};

/// What to do next with the containers of a pod.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    /// In this order.
    pub(crate) actions: Vec<Action>,
    /// When to plan again although nothing has happened.
    pub(crate) wake: Option<Instant>,
    /// Whether no container will be started any more and none but sidecars runs.
    pub(crate) over: bool,
}

/// Something to do with one container, by its place among the pod's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start it, for the first time or again.
    Start(usize),
    /// It keeps exiting: start it then.
    BackOff(usize, Instant),
    /// Stop it, for the pod names another image than the one it runs.
    Replace(usize),
    /// Stop it, for a probe has failed.
    Heal(usize, Probing, Again),
}

/// Whether a container is started again after it was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    Yes,
    No,
}

/// When a container that has exited is started again.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Restart {
    Always,
    OnFailure,
    Never,
}

impl Restart {
    fn of(policy: Option<&str>) -> Self {
        match policy {
            Some("Never") => Self::Never,
            Some("OnFailure") => Self::OnFailure,
            _ => Self::Always,
        }
    }

    /// Whoever was stopped for its health has failed, whatever its exit code.
    fn after_end(self, record: &Record, code: i32) -> bool {
        self.after(if record.unhealthy && code == 0 { 1 } else { code })
    }

    fn after(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// Plans from what is wanted and what is there, as upstream orders it: init containers one after
/// the other, sidecars among them as soon as they run, then all containers at once.
pub(crate) fn plan(spec: &PodSpec, records: &[Record], now: Instant) -> Plan {
    let mut plan = Plan::default();
    let policy = Restart::of(spec.restart_policy.as_deref());
    let init_count = record::init_count(spec);
    let (init, main) = records.split_at(init_count.min(records.len()));
    let begun = main.iter().any(|record| !matches!(record.state, State::Absent));

    for (index, (container, record)) in record::containers(spec).zip(init).enumerate() {
        if record::is_sidecar(container) {
            let running = plan.keep(index, container, record, Restart::Always, now);
            if !(running && record.is_started()) && !begun {
                return plan;
            }
            continue;
        }
        if begun || record.ended().is_some_and(|ended| ended.code == 0) {
            continue;
        }
        let retry = if policy == Restart::Never { Restart::Never } else { Restart::OnFailure };
        plan.keep(index, container, record, retry, now);
        plan.over = record.ended().is_some() && retry == Restart::Never;
        return plan;
    }

    let mut over = true;
    for (offset, (container, record)) in spec.containers.iter().zip(main).enumerate() {
        plan.keep(init_count + offset, container, record, policy, now);
        over &= record.ended().is_some_and(|ended| !policy.after_end(record, ended.code));
    }
    plan.over = over;
    if over {
        plan.actions.clear();
    }
    plan
}

impl Plan {
    /// Plans for one container that should run; says whether it does.
    fn keep(
        &mut self,
        index: usize,
        container: &Container,
        record: &Record,
        restart: Restart,
        now: Instant,
    ) -> bool {
        if let Some(hold) = &record.hold
            && !matches!(record.state, State::Running { .. })
        {
            if hold.until > now {
                self.wake_at(hold.until);
            } else {
                self.actions.push(Action::Start(index));
            }
            return false;
        }
        match &record.state {
            State::Absent => self.actions.push(Action::Start(index)),
            State::Running { image, .. } => {
                if let Some(probing) = record.probes.as_ref().and_then(Probes::failed) {
                    let again = if restart == Restart::Never { Again::No } else { Again::Yes };
                    self.actions.push(Action::Heal(index, probing, again));
                    return true;
                }
                let wanted = container.image.as_deref().unwrap_or_default();
                if wanted != image {
                    self.actions.push(Action::Replace(index));
                }
                return true;
            }
            State::Exited { ended, .. } if !restart.after_end(record, ended.code) => {}
            State::Exited { seen, .. } => match record.restart_back_off.until(*seen) {
                Some(until) if until > now => {
                    self.actions.push(Action::BackOff(index, until));
                    self.wake_at(until);
                }
                _ => self.actions.push(Action::Start(index)),
            },
        }
        false
    }

    fn wake_at(&mut self, at: Instant) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}
