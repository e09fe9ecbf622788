//! Figures of flow control, by upstream's names where they mean the same.

use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::borrowing::{Bounds, Seen, Share};
use crate::metrics::Labels;

const PREFIX: &str = "apiserver_flowcontrol";
/// Upper bounds of durations in seconds, and of lengths of queues: upstream's.
const DURATIONS: [f64; 13] =
    [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];
const LENGTHS: [f64; 8] = [0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];
/// What there is of each level.
const OF_LEVEL: [(&str, &str); 9] = [
    ("nominal_limit_seats", "Seats that are a level's own"),
    ("lower_limit_seats", "Seats that a level never lends"),
    ("upper_limit_seats", "Seats that a level may have at most"),
    ("current_limit_seats", "Seats that a level has now"),
    ("demand_seats_high_watermark", "Most seats that a level could have used in the last period"),
    ("demand_seats_average", "Seats that a level could have used in the last period, on average"),
    ("demand_seats_stdev", "Standard deviation of the seats that a level could have used"),
    ("demand_seats_smoothed", "Seats that a level could have used, smoothed"),
    ("target_seats", "Seats that a level is to have"),
];

type Histograms = Family<Labels, Histogram, fn() -> Histogram>;
type Fraction = Gauge<f64, AtomicU64>;

/// Figures of all levels and schemas. Cheap to clone; clones share.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    rejected: Family<Labels, Counter>,
    dispatched: Family<Labels, Counter>,
    waiting: Family<Labels, Gauge>,
    executing: Family<Labels, Gauge>,
    lengths: Histograms,
    waits: Histograms,
    executions: Histograms,
    levels: [Family<Labels, Fraction>; OF_LEVEL.len()],
    fair_part: Fraction,
}

/// Why a request is not dealt with.
#[derive(Clone, Copy, Debug)]
pub(super) enum Why {
    /// All seats are taken, and nothing waits.
    NoSeat,
    /// Its queue is full.
    QueueFull,
    /// It has waited too long.
    TimeOut,
    /// The client has gone.
    Cancelled,
}

impl Default for Figures {
    fn default() -> Self {
        let durations: fn() -> Histogram = || Histogram::new(DURATIONS);
        Self {
            rejected: Family::default(),
            dispatched: Family::default(),
            waiting: Family::default(),
            executing: Family::default(),
            lengths: Family::new_with_constructor(|| Histogram::new(LENGTHS)),
            waits: Family::new_with_constructor(durations),
            executions: Family::new_with_constructor(durations),
            levels: std::array::from_fn(|_| Family::default()),
            fair_part: Fraction::default(),
        }
    }
}

impl Figures {
    /// Has a registry show them. Each request takes one seat, so seats are counted as requests are.
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix(PREFIX);
        registry.register("rejected_requests", "Requests that were refused", self.rejected.clone());
        let dispatched = self.dispatched.clone();
        registry.register("dispatched_requests", "Requests that were dealt with", dispatched);
        for (requests, seats, family) in [
            ("current_inqueue_requests", "current_inqueue_seats", &self.waiting),
            ("current_executing_requests", "current_executing_seats", &self.executing),
        ] {
            registry.register(requests, "Requests that wait or are dealt with", family.clone());
            registry.register(seats, "Seats that they want or have", family.clone());
        }
        let lengths = self.lengths.clone();
        registry.register(
            "request_queue_length_after_enqueue",
            "How long a queue is for the request that has joined it",
            lengths,
        );
        let waits = self.waits.clone();
        registry.register("request_wait_duration_seconds", "How long requests wait", waits);
        let executions = self.executions.clone();
        registry.register(
            "request_execution_seconds",
            "How long requests are dealt with, watches until they have begun",
            executions,
        );
        for ((name, help), family) in OF_LEVEL.into_iter().zip(&self.levels) {
            registry.register(name, help, family.clone());
        }
        let help = "The part of its target that each level has that meets no bound";
        registry.register("seat_fair_frac", help, self.fair_part.clone());
    }

    /// Those of the requests of a schema.
    pub(super) fn flow(&self, level: &str, schema: &str) -> Flow {
        let labels = Labels::of(&[("priority_level", level), ("flow_schema", schema)]);
        Flow {
            dispatched: self.dispatched.get_or_create_owned(&labels),
            waiting: self.waiting.get_or_create_owned(&labels),
            executing: self.executing.get_or_create_owned(&labels),
            lengths: OnceLock::new(),
            waits: Default::default(),
            executions: Default::default(),
            labels,
            figures: self.clone(),
        }
    }

    pub(super) fn level(&self, name: &str, bounds: &Bounds, seen: &Seen, share: &Share) {
        let labels = Labels::of(&[("priority_level", name)]);
        let values = [
            bounds.nominal as f64,
            bounds.lower as f64,
            bounds.upper as f64,
            share.seats as f64,
            seen.most,
            seen.average,
            seen.deviation,
            seen.smoothed,
            share.target,
        ];
        for (family, value) in self.levels.iter().zip(values) {
            family.get_or_create(&labels).set(value);
        }
    }

    pub(super) fn fair_part(&self, part: f64) {
        self.fair_part.set(part);
    }

    /// Shows nothing more of a level that is gone.
    pub(super) fn forget_level(&self, name: &str) {
        let labels = Labels::of(&[("priority_level", name)]);
        self.levels.iter().for_each(|family| {
            family.remove(&labels);
        });
    }
}

/// Figures of the requests of a schema at a level. Those that many never have are made when they are
/// needed.
#[derive(Debug)]
pub(crate) struct Flow {
    labels: Labels,
    figures: Figures,
    dispatched: Counter,
    waiting: Gauge,
    executing: Gauge,
    lengths: OnceLock<Histogram>,
    /// Of those that were refused, and of those that were not.
    waits: [OnceLock<Histogram>; 2],
    /// Of requests, and of watches.
    executions: [OnceLock<Histogram>; 2],
}

impl Flow {
    pub(super) fn rejected(&self, why: Why) {
        let why = match why {
            Why::NoSeat => "concurrency-limit",
            Why::QueueFull => "queue-full",
            Why::TimeOut => "time-out",
            Why::Cancelled => "cancelled",
        };
        self.figures.rejected.get_or_create(&self.labels.with("reason", why)).inc();
    }

    /// One waits, in a queue that is as long now.
    pub(super) fn joined(&self, length: usize) {
        self.waiting.inc();
        let lengths =
            self.lengths.get_or_init(|| self.figures.lengths.get_or_create_owned(&self.labels));
        lengths.observe(length as f64);
    }

    pub(super) fn left(&self) {
        self.waiting.dec();
    }

    pub(super) fn waited(&self, took: Duration, executes: bool) {
        let family = &self.figures.waits;
        let label = if executes { "true" } else { "false" };
        let labels = || self.labels.with("execute", label);
        let waits =
            self.waits[usize::from(executes)].get_or_init(|| family.get_or_create_owned(&labels()));
        waits.observe(took.as_secs_f64());
    }

    pub(super) fn began(&self) {
        self.dispatched.inc();
        self.executing.inc();
    }

    pub(super) fn ended(&self, took: Duration, watches: bool) {
        self.executing.dec();
        let family = &self.figures.executions;
        let label = if watches { "watch" } else { "regular" };
        let labels = || self.labels.with("type", label);
        let executions = self.executions[usize::from(watches)]
            .get_or_init(|| family.get_or_create_owned(&labels()));
        executions.observe(took.as_secs_f64());
    }
}
