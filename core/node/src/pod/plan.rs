use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, PodSpec};
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

    /// A container's own policy goes before its pod's.
    fn of_container(container: &Container, pod: Self) -> Self {
        container.restart_policy.as_deref().map_or(pod, |own| Self::of(Some(own)))
    }

    fn after(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// Whether a container that has exited is started again: by the first of its own rules that speaks
/// of its exit code, else by the policy.
fn again(container: &Container, record: &Record, restart: Restart, code: i32) -> bool {
    let speaks = |rule: &ContainerRestartRule| {
        let codes = rule.exit_codes.as_ref()?;
        let listed = codes.values.iter().flatten().any(|value| *value == code);
        Some(listed == (codes.operator == "In"))
    };
    let mut rules = container.restart_policy_rules.iter().flatten();
    rules.any(|rule| speaks(rule) == Some(true)) || restart.after_end(record, code)
}

/// Whether a container with a policy or rules of its own is started again, whatever its pod's
/// policy says.
pub(crate) fn insists(container: &Container, record: &Record, pod_policy: Option<&str>) -> bool {
    let own = container.restart_policy.is_some()
        || container.restart_policy_rules.as_ref().is_some_and(|rules| !rules.is_empty());
    let restart = Restart::of_container(container, Restart::of(pod_policy));
    own && record.ended().is_some_and(|ended| again(container, record, restart, ended.code))
}

/// Plans for all containers; ephemeral ones, whose records come last, are started once, whatever
/// stands of the others.
pub(crate) fn plan(spec: &PodSpec, records: &[Record], now: Instant) -> Plan {
    let count = record::containers(spec).count().min(records.len());
    let (records, ephemeral) = records.split_at(count);
    let mut plan = plan_defined(spec, records, now);
    if plan.over {
        return plan;
    }
    for (offset, record) in ephemeral.iter().enumerate() {
        match (&record.state, &record.hold) {
            (State::Absent, Some(hold)) if hold.until > now => plan.wake_at(hold.until),
            (State::Absent, _) => plan.actions.insert(0, Action::Start(count + offset)),
            _ => {}
        }
    }
    plan
}

/// Plans from what is wanted and what is there, as upstream orders it: init containers one after
/// the other, sidecars among them as soon as they run, then all containers at once.
fn plan_defined(spec: &PodSpec, records: &[Record], now: Instant) -> Plan {
    let mut plan = Plan::default();
    let policy = Restart::of(spec.restart_policy.as_deref());
    let init_count = record::init_count(spec);
    let (init, main) = records.split_at(init_count.min(records.len()));
    let begun = main.iter().any(|record| !matches!(record.state, State::Absent));

    for (index, (container, record)) in record::containers(spec).zip(init).enumerate() {
        if record::is_sidecar(container) {
            let running = plan.keep(index, container, record, Restart::Always, now);
            if !(begun || running && record.is_started()) {
                return plan;
            }
            continue;
        }
        if begun || record.ended().is_some_and(|ended| ended.code == 0) {
            continue;
        }
        let retry = match Restart::of_container(container, policy) {
            Restart::Never => Restart::Never,
            _ => Restart::OnFailure,
        };
        plan.keep(index, container, record, retry, now);
        plan.over =
            record.ended().is_some_and(|ended| !again(container, record, retry, ended.code));
        return plan;
    }

    let mut over = true;
    for (offset, (container, record)) in spec.containers.iter().zip(main).enumerate() {
        let policy = Restart::of_container(container, policy);
        plan.keep(init_count + offset, container, record, policy, now);
        over &= record.ended().is_some_and(|ended| !again(container, record, policy, ended.code));
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
            State::Exited { ended, .. } if !again(container, record, restart, ended.code) => {}
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::record::Ended;
    use super::*;

    /// One letter per container: `w`aiting, `r`unning, a digit for exited with that code.
    fn check(spec: serde_json::Value, records: &str, expected: &[usize], over: bool) {
        let spec: PodSpec = serde_json::from_value(spec).unwrap();
        let record = |state: char| {
            let state = match state {
                'w' => State::Absent,
                'r' => State::Running {
                    id: pinnace_runtime::ContainerId("c".to_owned()),
                    started_at: jiff::Timestamp::UNIX_EPOCH,
                    image: String::new(),
                },
                code => {
                    let mut ended = Ended::unknown(None, "");
                    ended.code = i32::try_from(code.to_digit(10).unwrap()).unwrap();
                    State::Exited { ended, seen: Instant::now() }
                }
            };
            Record { state, ..Record::default() }
        };
        let records: Vec<Record> = records.chars().map(record).collect();
        let plan = plan(&spec, &records, Instant::now());
        let starts: Vec<usize> = plan
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::Start(index) => Some(*index),
                _ => None,
            })
            .collect();
        assert_eq!((starts.as_slice(), plan.over), (expected, over));
    }

    fn with_rules(rules: serde_json::Value) -> serde_json::Value {
        json!({"restartPolicy": "Never", "containers": [
            {"name": "a", "restartPolicy": "Never", "restartPolicyRules": rules}]})
    }

    #[tokio::test]
    async fn a_containers_own_rules_and_policy_go_before_its_pods() {
        let rule = |operator: &str| json!([{"action": "Restart", "exitCodes": {"operator": operator, "values": [3, 4]}}]);
        check(with_rules(rule("In")), "3", &[0], false);
        check(with_rules(rule("In")), "1", &[], true);
        check(with_rules(rule("NotIn")), "1", &[0], false);
        check(with_rules(rule("NotIn")), "3", &[], true);
        let own = json!({"restartPolicy": "Never", "containers": [
            {"name": "a", "restartPolicy": "OnFailure"}, {"name": "b"}]});
        check(own.clone(), "11", &[0], false);
        check(own, "01", &[], true);
    }

    #[tokio::test]
    async fn ephemeral_containers_are_started_once_whatever_stands_of_the_others() {
        let spec = json!({"containers": [{"name": "a", "image": ""}]});
        check(spec.clone(), "rw", &[1], false);
        check(spec.clone(), "ww", &[1, 0], false);
        check(spec.clone(), "r1", &[], false);
        check(json!({"restartPolicy": "Never", "containers": [{"name": "a"}]}), "0r", &[], true);
    }

    #[tokio::test]
    async fn sidecars_run_before_what_follows_them() {
        let spec = json!({
            "initContainers": [{"name": "s", "image": "", "restartPolicy": "Always"}, {"name": "i"}],
            "containers": [{"name": "a"}]
        });
        check(spec.clone(), "www", &[0], false);
        check(spec.clone(), "rww", &[1], false);
        check(spec.clone(), "r0w", &[2], false);
        check(spec, "10r", &[0], false);
    }
}
