//! Figures of acting as another, by upstream's names.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::metrics::Labels;

/// Figures of callers who want to act as others, and of what authorizers are asked for it.
#[derive(Default)]
pub(super) struct Figures {
    pub(super) attempts: Attempts,
    pub(super) authorizations: Attempts,
}

impl Figures {
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("apiserver_impersonation");
        self.attempts.register(registry, "attempts", "Requests to act as another");
        let help = "Questions to authorizers about acting as another";
        self.authorizations.register(registry, "authorization_attempts", help);
    }
}

/// How often something was tried, and how long that took.
pub(super) struct Attempts {
    counts: Family<Labels, Counter>,
    durations: Family<Labels, Histogram, fn() -> Histogram>,
}

impl Default for Attempts {
    fn default() -> Self {
        // From a millisecond to sixteen seconds, as upstream.
        let durations = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        Self { counts: Family::default(), durations: Family::new_with_constructor(durations) }
    }
}

impl Attempts {
    fn register(&self, registry: &mut Registry, name: &str, help: &str) {
        registry.register(name, help, self.counts.clone());
        let help = format!("{help}: how many seconds they took");
        registry.register(format!("{name}_duration_seconds"), help, self.durations.clone());
    }

    pub(super) fn note(&self, mode: &str, allowed: bool, took: Duration) {
        let decision = if allowed { "allowed" } else { "denied" };
        let labels = Labels::of(&[("mode", mode), ("decision", decision)]);
        self.counts.get_or_create(&labels).inc();
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }
}
