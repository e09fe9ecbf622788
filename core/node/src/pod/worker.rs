use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use pinnace_api::Object;
use pinnace_client::EventType;
use pinnace_runtime::{ContainerId, Features, PodId};
use tokio::time::Instant;

use super::plan::{Action, plan};
use super::pod_level::PodLevel;
use super::record::{self, Ended, Record};
use super::resize::Resize;
use super::status::Verdict;
use super::tokens::Token;
use super::{phase, resources};
use crate::agent::Shared;
use crate::config::Capacity;
use crate::host::Host;
use crate::slot::{Evict, News, Signals, Slot};
use crate::volumes::Prepared;
use crate::{csi, eviction};

/// How long to wait before trying again what failed for no fault of the pod: at first, and at
/// most.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// How long to wait before asking again for a token that could not be had.
const TOKEN_RETRY: Duration = Duration::from_secs(10);

/// Where a pod stands. Each stage but the last is left by doing what it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// To be admitted, or taken over from before a restart.
    #[default]
    New,
    /// To be given volumes, sandbox and network.
    SettingUp,
    /// Its containers are started and restarted until none is left to be.
    Active,
    /// Its containers are to be stopped.
    Stopping,
    /// What was made for it is to be removed.
    Cleaning,
    /// Nothing of it is left on the node but its logs, until the API lets go of it.
    Ended,
    /// Not even they.
    Gone,
}

/// The state machine of one pod on its node. It goes by the pod's object, by what the runtime says
/// and by its own records; any of them may change at any time, and it is run again then.
#[derive(Default)]
pub(crate) struct Worker {
    pub(super) pod: Option<Object>,
    pub(super) stage: Stage,
    /// The containers, in the order of [`record::containers`].
    pub(super) records: Vec<Record>,
    /// The ephemeral containers, whose records follow those of the others.
    pub(super) ephemeral: Vec<Container>,
    pub(super) started_at: Timestamp,
    pub(super) pod_ips: Vec<String>,
    pub(super) has_sandbox: bool,
    /// What the runtime can do for it.
    pub(super) features: Features,
    /// Where its volumes are.
    pub(super) volumes: Prepared,
    /// The tokens that its volumes show.
    pub(super) tokens: Vec<Token>,
    pub(super) verdict: Option<Verdict>,
    /// Why the node evicts it.
    pub(super) evicted: Option<Box<Evict>>,
    /// What it has as a whole, while that changes.
    pub(super) pod_level: PodLevel,
    /// How far a change of its resources has got.
    pub(super) resize: Option<Box<Resize>>,
    /// Whether a container has made way for itself in another form, and has not started yet:
    /// nothing is told of the pod then.
    pub(super) replacing: bool,
    /// What it was given of its node.
    pub(super) reserved: Option<Capacity>,
    /// Whether something may exist for it outside of this worker.
    pub(super) made: bool,
    /// Whether the API has it no more.
    pub(super) gone: bool,
    /// Whether the API was asked to let go of it.
    pub(super) released: bool,
    /// Whether no container will be started again.
    pub(super) over: bool,
    /// The version of the object that this worker has written last.
    written: u64,
    /// When to try again what failed, and after how long the next time.
    retry: Option<(Instant, Duration)>,
}

/// The surroundings in which a worker works.
pub(crate) struct Cx {
    pub(super) shared: Arc<Shared>,
    pub(super) slot: Arc<Slot>,
}

impl Cx {
    pub(super) fn host(&self) -> &Host {
        &self.slot.host
    }

    pub(super) fn runtime(&self) -> Arc<dyn pinnace_runtime::Runtime> {
        self.slot.host.runtime.runtime.clone()
    }

    pub(super) fn pod_id(&self) -> PodId {
        PodId(self.slot.uid.to_string())
    }
}

impl Worker {
    /// Whether a version of the pod is the one that this worker has written last.
    pub(crate) fn has_written(&self, pod: &Object) -> bool {
        self.written != 0 && pod.revision() == self.written
    }

    pub(super) fn note_written(&mut self, pod: Object) {
        self.written = pod.revision();
        self.renew(pod);
    }

    /// Works until there is nothing to do but to wait.
    pub(crate) async fn run(mut self: Box<Self>, shared: Arc<Shared>, slot: Arc<Slot>) {
        let cx = Cx { shared, slot };
        loop {
            let News { pod, signals, evict } = cx.slot.take_news();
            self.renew(pod);
            if let Some(evict) = evict {
                self.evicted.get_or_insert_with(|| Box::new(evict));
            }
            self.take_ephemeral();
            self.sync(&cx, signals).await;
            if self.stage == Stage::Gone {
                return cx.shared.forget(&cx.slot);
            }
            let until = self.next_wake(&cx);
            match cx.slot.rest(&cx.shared, self, until) {
                Ok(()) => return,
                Err(worker) => self = worker,
            }
        }
    }

    /// Takes in ephemeral containers that were added to the pod.
    fn take_ephemeral(&mut self) {
        let spec = record::spec_of(self.pod());
        let all = spec.ephemeral_containers.as_deref().unwrap_or_default();
        if self.stage == Stage::New || all.len() <= self.ephemeral.len() {
            return;
        }
        let new: Vec<Container> =
            all.iter().skip(self.ephemeral.len()).map(record::ephemeral).collect();
        self.records.extend(new.iter().map(|_| Record::default()));
        self.ephemeral.extend(new);
    }

    async fn sync(&mut self, cx: &Cx, signals: Signals) {
        self.gone |= signals.gone;
        if self.gone
            && let Some(reserved) = self.reserved.take()
        {
            // The scheduler counts on it from this moment, though the containers may still end.
            cx.host().release(&reserved);
        }
        if signals.alarm && self.retry.is_some_and(|(at, _)| at > Instant::now()) {
            // Woken for another reason: the retry keeps its time.
        } else if (Signals { pod: false, probes: false, ..signals }) != Signals::default() {
            self.retry = self.retry.map(|(_, delay)| (Instant::now(), delay));
        }
        if signals.references {
            for record in &mut self.records {
                record.hold.take_if(|hold| hold.reason == "CreateContainerConfigError");
            }
        }
        if signals.claims && self.stage < Stage::Stopping {
            csi::expansion::look(&cx.shared, &cx.slot.uid);
        }
        if self.stage == Stage::Active {
            if self.is_resizing() {
                // Before anything is told of the pod as it is now.
                self.consider_resize(cx);
            }
            if signals.runtime {
                let changed = self.observe(cx).await;
                let alone = signals == Signals { runtime: true, ..Signals::default() };
                if alone && !changed && self.retry.is_none() {
                    // A runtime whose events were missed has all pods looked at.
                    return;
                }
            }
            let due = self.tokens.iter().any(|token| token.until <= Instant::now());
            if signals.references || signals.pod || due {
                Box::pin(self.refresh_volumes(cx)).await;
            }
        }
        loop {
            let before = self.stage;
            self.end_if_due(cx);
            self.step(cx).await;
            if self.stage == Stage::Gone {
                return;
            }
            if self.stage != before {
                continue;
            }
            if !self.gone {
                Box::pin(self.publish(cx)).await;
            }
            // What it has learnt of the pod meanwhile, that it is deleted above all, nobody tells
            // it again.
            self.end_if_due(cx);
            if self.stage == before {
                return;
            }
        }
    }

    /// Does what the stage says. What is done once or seldom is boxed: a worker is moved and
    /// allocated for every piece of news, so it has to be small. The stage is the same afterwards when there is nothing to do now.
    async fn step(&mut self, cx: &Cx) {
        match self.stage {
            Stage::New => self.begin(cx),
            Stage::SettingUp if self.waits() => {}
            Stage::SettingUp => self.set_up(cx).await,
            Stage::Active => {
                if self.is_resizing() {
                    Box::pin(self.resize(cx)).await;
                }
                self.run_containers(cx).await;
                if self.is_resizing() && self.stage == Stage::Active {
                    Box::pin(self.resize(cx)).await;
                }
            }
            Stage::Stopping => Box::pin(self.stop(cx)).await,
            Stage::Cleaning if self.waits() => {}
            Stage::Cleaning => Box::pin(self.clean(cx)).await,
            Stage::Ended if self.gone => Box::pin(self.bury(cx)).await,
            Stage::Ended if self.waits() => {}
            Stage::Ended => Box::pin(self.let_go(cx)).await,
            Stage::Gone => {}
        }
    }

    /// Turns towards the end when the pod is deleted or has been active for too long.
    fn end_if_due(&mut self, cx: &Cx) {
        if self.stage >= Stage::Stopping || self.stage == Stage::New {
            return;
        }
        if self.gone || self.object().is_deleting() {
            self.go_to(Stage::Stopping);
        } else if let Some(evicted) = &self.evicted {
            let reason = eviction::REASON.to_owned();
            self.verdict = Some(Verdict { reason, message: evicted.message.clone() });
            self.go_to(Stage::Stopping);
        } else if self.deadline(cx).is_some_and(|deadline| deadline <= Instant::now()) {
            let message = "Pod was active on the node longer than the specified deadline";
            self.event(cx, None, EventType::Normal, "DeadlineExceeded", message);
            let reason = "DeadlineExceeded".to_owned();
            self.verdict = Some(Verdict { reason, message: message.to_owned() });
            self.go_to(Stage::Stopping);
        }
    }

    async fn run_containers(&mut self, cx: &Cx) {
        self.run_due_containers(cx).await;
        self.replacing = false;
    }

    async fn run_due_containers(&mut self, cx: &Cx) {
        loop {
            let spec = record::spec_of(self.pod());
            let plan = plan(spec, &self.records, Instant::now());
            if plan.over {
                return self.go_to(Stage::Stopping);
            }
            let mut changed = false;
            for action in plan.actions {
                if self.object().is_deleting() || self.gone || self.stage != Stage::Active {
                    return;
                }
                match action {
                    Action::Start(index) => {
                        self.start(cx, index).await;
                        self.replacing = false;
                        changed = true;
                    }
                    Action::BackOff(index, until) => self.back_off(cx, index, until),
                    Action::Heal(index, probing, again) => {
                        Box::pin(self.heal(cx, index, probing, again)).await;
                        changed = true;
                    }
                    Action::Replace(index) => {
                        Box::pin(self.replace(cx, index)).await;
                        changed = true;
                    }
                }
                // The pod may have been deleted meanwhile.
                self.renew(cx.slot.pod());
            }
            if !changed {
                return;
            }
            // What was just started may have ended already; its event is on its way.
        }
    }

    /// Puts a container off that keeps exiting.
    fn back_off(&mut self, cx: &Cx, index: usize, until: Instant) {
        let (name, describe) = (self.container(index).name.clone(), self.describe());
        let Some(record) = self.records.get_mut(index) else { return };
        let delay = record.restart_back_off.delay();
        record.hold = Some(record::Hold {
            reason: "CrashLoopBackOff",
            message: format!(
                "back-off {} restarting failed container={name} pod={describe}",
                go_duration(delay)
            ),
            until,
        });
        let message = format!("Back-off restarting failed container {name} in pod {describe}");
        self.event(cx, Some(index), EventType::Warning, "BackOff", message);
    }

    /// The containers that are believed to run.
    pub(crate) fn running(&self) -> impl Iterator<Item = &ContainerId> {
        self.records.iter().filter_map(Record::running)
    }

    /// Asks the runtime about the containers that are believed to run.
    /// Says whether one of them has ended.
    async fn observe(&mut self, cx: &Cx) -> bool {
        let mut changed = false;
        for index in 0..self.records.len() {
            if let Some(id) = self.records[index].running().cloned() {
                self.observe_one(cx, index, &id).await;
                changed |= self.records[index].running().is_none();
            }
        }
        changed
    }

    pub(super) async fn observe_one(&mut self, cx: &Cx, index: usize, id: &ContainerId) {
        let found = cx.runtime().container(id).await;
        let now = Instant::now();
        match found {
            Ok(Some(state)) => {
                let log = state.log_path.clone();
                self.records[index].observe(state, now);
                if self.has_termination_message(cx, index) {
                    Box::pin(self.read_termination_message(cx, index, log)).await;
                }
            }
            Ok(None) => {
                let why = "The container could not be located when the pod was terminated";
                self.records[index].exited(Ended::unknown(Some(id.clone()), why), now);
            }
            // It is asked again when the runtime is back.
            Err(error) => tracing::debug!(pod = %cx.slot.key, %error, "container not observed"),
        }
    }

    pub(super) fn go_to(&mut self, stage: Stage) {
        self.stage = stage;
        self.retry = None;
    }

    /// Tries the present stage again later.
    pub(super) fn try_later(&mut self, cx: &Cx) {
        let delay = self.retry.map_or(RETRY_FIRST, |(_, delay)| (delay * 2).min(RETRY_MAX));
        let jittered = cx.shared.env.random().jitter(delay, 0.1);
        self.retry = Some((Instant::now() + jittered, delay));
    }

    fn waits(&self) -> bool {
        self.retry.is_some_and(|(at, _)| at > Instant::now())
    }

    /// When to look at the pod again although nothing has happened.
    fn next_wake(&self, cx: &Cx) -> Option<Instant> {
        // One that is past was made: what it tried is either done or has set the next.
        let retry = self.retry.map(|(at, _)| at).filter(|at| *at > Instant::now());
        if self.stage >= Stage::Stopping {
            return retry;
        }
        let spec = record::spec_of(self.pod());
        let planned = match self.stage {
            Stage::Active => plan(spec, &self.records, Instant::now()).wake,
            _ => None,
        };
        // One that could not be renewed is tried again with everything else.
        let now = Instant::now();
        let token = self.tokens.iter().map(|token| token.until.max(now + TOKEN_RETRY)).min();
        let resize = self.resize.as_ref().and_then(|resize| resize.again);
        [retry, planned, self.deadline(cx), token, resize].into_iter().flatten().min()
    }

    /// When the pod has been active for as long as it may.
    fn deadline(&self, cx: &Cx) -> Option<Instant> {
        let seconds = record::spec_of(self.pod()).active_deadline_seconds?;
        let allowed = Duration::from_secs(u64::try_from(seconds).ok()?);
        let active = cx.shared.env.clock().since(self.started_at);
        Instant::now().checked_add(allowed.saturating_sub(active))
    }

    /// The pod's object.
    pub(super) fn object(&self) -> Object {
        self.pod.clone().unwrap_or_else(|| Object::new(Pod::default()))
    }

    /// The pod, which a worker at work always has.
    pub(super) fn pod(&self) -> &Pod {
        static NONE: std::sync::LazyLock<Pod> = std::sync::LazyLock::new(Pod::default);
        self.pod.as_ref().and_then(|pod| pod.get::<Pod>().ok()).unwrap_or(&NONE)
    }

    pub(super) fn container(&self, index: usize) -> &Container {
        static NONE: std::sync::LazyLock<Container> = std::sync::LazyLock::new(Container::default);
        let spec = record::spec_of(self.pod());
        let ephemeral = || self.ephemeral.get(index.checked_sub(record::containers(spec).count())?);
        record::container(spec, index).or_else(ephemeral).unwrap_or(&NONE)
    }

    /// The pod as messages name it: `name_namespace(uid)`.
    pub(super) fn describe(&self) -> String {
        let meta = &self.pod().metadata;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        format!("{}_{}({})", text(&meta.name), text(&meta.namespace), text(&meta.uid))
    }

    /// Where an Event about a container points.
    pub(super) fn field_path(&self, index: usize) -> String {
        let spec = record::spec_of(self.pod());
        let list = if index < record::init_count(spec) {
            "initContainers"
        } else if index < record::containers(spec).count() {
            "containers"
        } else {
            "ephemeralContainers"
        };
        format!("spec.{list}{{{}}}", self.container(index).name)
    }

    /// Records an Event about the pod or one of its containers.
    pub(super) fn event(
        &self,
        cx: &Cx,
        container: Option<usize>,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let Some(pod) = &self.pod else { return };
        let path = container.map(|index| self.field_path(index));
        cx.host().recorder.record_at(pod, path, kind, reason, message);
    }

    /// Whether the API already knew how the pod has ended.
    pub(super) fn is_terminal(&self) -> bool {
        let status = self.pod().status.as_ref();
        phase::is_terminal(status.and_then(|status| status.phase.as_deref()))
    }

    pub(super) fn requests(&self) -> Capacity {
        resources::requests(&self.granted_spec())
    }
}

/// A duration as messages show it, such as `2m40s`.
pub(super) fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}
