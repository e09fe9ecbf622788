//! Figures of admission, by upstream's names where they mean the same: how long its steps, webhooks
//! and policies take, and what they let through.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::Operation;
use crate::matching::name_of;

/// Upper bounds in seconds: upstream's.
const STEP_BUCKETS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
const WEBHOOK_BUCKETS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
const POLICY_BUCKETS: [f64; 5] = [0.000_000_5, 0.001, 0.01, 0.1, 1.0];
/// Codes above are counted as this one.
const CODE_MAX: u16 = 600;

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// Figures of admission. Cheap to clone; clones share.
#[derive(Clone, Debug)]
pub struct AdmissionFigures {
    steps: Histograms<Step>,
    webhooks: Histograms<Labels>,
    webhook_requests: Family<Labels, Counter>,
    webhook_rejections: Family<Labels, Gauge>,
    webhooks_failed_open: Family<Labels, Gauge>,
    validations: Family<Labels, Counter>,
    validation_durations: Histograms<Labels>,
    mutations: Family<Labels, Counter>,
    mutation_durations: Histograms<Labels>,
    conditions_wrong: Family<Labels, Counter>,
    conditions_unmet: Family<Labels, Counter>,
}

/// A step of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Step {
    phase: Phase,
    operation: &'static str,
    rejected: bool,
}

/// What a step is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// What is written may be changed.
    Admit,
    /// It may only be refused.
    Validate,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Validate => "validate",
        }
    }

    /// What webhooks of it are called.
    fn of_webhooks(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::Validate => "validating",
        }
    }
}

/// How the request to a webhook has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// It lets the write through.
    Passed,
    /// It says no, with a code.
    Refused(u16),
    /// It cannot be asked, and that is let be.
    FailedOpen,
    /// It cannot be asked.
    Failed,
    /// What it says cannot be done.
    Broken,
}

/// Names and values of labels.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Labels(Vec<(&'static str, String)>);

impl Labels {
    fn of<const N: usize>(all: [(&'static str, &str); N]) -> Self {
        Self(all.into_iter().map(|(name, value)| (name, value.to_owned())).collect())
    }
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        self.0
            .iter()
            .try_for_each(|(name, value)| (*name, value.as_str()).encode(encoder.encode_label()))
    }
}

impl EncodeLabelSet for Step {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        let labels = [
            ("type", self.phase.name()),
            ("operation", self.operation),
            ("rejected", truth(self.rejected)),
        ];
        labels.into_iter().try_for_each(|label| label.encode(encoder.encode_label()))
    }
}

fn truth(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

impl Default for AdmissionFigures {
    fn default() -> Self {
        let of_webhooks: fn() -> Histogram = || Histogram::new(WEBHOOK_BUCKETS);
        let of_policies: fn() -> Histogram = || Histogram::new(POLICY_BUCKETS);
        Self {
            steps: Family::new_with_constructor(|| Histogram::new(STEP_BUCKETS)),
            webhooks: Family::new_with_constructor(of_webhooks),
            webhook_requests: Family::default(),
            webhook_rejections: Family::default(),
            webhooks_failed_open: Family::default(),
            validations: Family::default(),
            validation_durations: Family::new_with_constructor(of_policies),
            mutations: Family::default(),
            mutation_durations: Family::new_with_constructor(of_policies),
            conditions_wrong: Family::default(),
            conditions_unmet: Family::default(),
        }
    }
}

impl AdmissionFigures {
    /// Has a registry show them. The names of counters end in `_total` there; two that do not end so
    /// upstream are gauges for that reason, and who shows them says what they are.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "apiserver_admission_step_admission_duration_seconds",
            "Admission sub-step latency, by operation and step type (validate or admit)",
            self.steps.clone(),
        );
        registry.register(
            "apiserver_admission_webhook_admission_duration_seconds",
            "Admission webhook latency, by name, operation and type",
            self.webhooks.clone(),
        );
        registry.register(
            "apiserver_admission_webhook_request",
            "Requests to admission webhooks, by name, type, operation, code and whether they reject",
            self.webhook_requests.clone(),
        );
        registry.register(
            "apiserver_admission_webhook_rejection_count",
            "Rejections by admission webhooks, by name, type, operation, error type and code",
            self.webhook_rejections.clone(),
        );
        registry.register(
            "apiserver_admission_webhook_fail_open_count",
            "Admission webhooks that failed and were let be, by name and type",
            self.webhooks_failed_open.clone(),
        );
        registry.register(
            "apiserver_validating_admission_policy_check",
            "Validations by policies, by policy, binding, error type and what was done",
            self.validations.clone(),
        );
        registry.register(
            "apiserver_validating_admission_policy_check_duration_seconds",
            "Validation latency, by policy, binding, error type and what was done",
            self.validation_durations.clone(),
        );
        registry.register(
            "apiserver_mutating_admission_policy_check",
            "Mutations by policies, by policy, binding and error type",
            self.mutations.clone(),
        );
        registry.register(
            "apiserver_mutating_admission_policy_check_duration_seconds",
            "Mutation latency, by policy, binding and error type",
            self.mutation_durations.clone(),
        );
        registry.register(
            "apiserver_admission_match_condition_evaluation_errors",
            "Match conditions that could not be evaluated, by name, kind, type and operation",
            self.conditions_wrong.clone(),
        );
        registry.register(
            "apiserver_admission_match_condition_exclusions",
            "Writes that match conditions left out, by name, kind, type and operation",
            self.conditions_unmet.clone(),
        );
    }

    pub(crate) fn step(&self, phase: Phase, operation: Operation, rejected: bool, took: Duration) {
        let step = Step { phase, operation: name_of(operation), rejected };
        self.steps.get_or_create(&step).observe(took.as_secs_f64());
    }

    pub(crate) fn webhook(
        &self,
        name: &str,
        phase: Phase,
        operation: Operation,
        ending: Ending,
        took: Duration,
    ) {
        let (kind, operation) = (("type", phase.of_webhooks()), ("operation", name_of(operation)));
        // What cannot be asked is as if it said that it is not there.
        let (rejected, code, error) = match ending {
            Ending::Passed => (false, 200, ""),
            Ending::Refused(code) => (true, code.min(CODE_MAX), "no_error"),
            Ending::FailedOpen => (false, 503, ""),
            Ending::Failed => (true, 503, "calling_webhook_error"),
            Ending::Broken => (true, 0, "apiserver_internal_error"),
        };
        let (name, code) = (("name", name), ("code", code.to_string()));
        let rejects = ("rejected", truth(rejected));
        let labels = Labels::of([name, kind, operation, rejects]);
        self.webhooks.get_or_create(&labels).observe(took.as_secs_f64());
        let labels = Labels::of([name, kind, operation, (code.0, &code.1), rejects]);
        self.webhook_requests.get_or_create(&labels).inc();
        if rejected {
            let why = ("error_type", error);
            let labels = Labels::of([name, kind, operation, why, ("rejection_code", &code.1)]);
            self.webhook_rejections.get_or_create(&labels).inc();
        }
        if matches!(ending, Ending::FailedOpen) {
            self.webhooks_failed_open.get_or_create(&Labels::of([name, kind])).inc();
        }
    }

    pub(crate) fn validation(
        &self,
        (policy, binding): (&str, &str),
        error: &str,
        action: &str,
        took: Duration,
    ) {
        let labels = Labels::of([
            ("policy", policy),
            ("policy_binding", binding),
            ("error_type", error),
            ("enforcement_action", action),
        ]);
        self.validations.get_or_create(&labels).inc();
        self.validation_durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(crate) fn mutation(&self, policy: &str, binding: &str, error: &str, took: Duration) {
        let labels =
            Labels::of([("policy", policy), ("policy_binding", binding), ("error_type", error)]);
        self.mutations.get_or_create(&labels).inc();
        self.mutation_durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Notes that conditions are not met, or that it cannot be told.
    pub(crate) fn conditions(
        &self,
        name: &str,
        kind: &'static str,
        phase: Phase,
        operation: Operation,
        wrong: bool,
    ) {
        let labels = Labels::of([
            ("name", name),
            ("kind", kind),
            ("type", phase.of_webhooks()),
            ("operation", name_of(operation)),
        ]);
        let family = if wrong { &self.conditions_wrong } else { &self.conditions_unmet };
        family.get_or_create(&labels).inc();
    }
}
