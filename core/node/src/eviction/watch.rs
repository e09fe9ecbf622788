//! Which thresholds are crossed, since when, and what follows: a function of what is observed and
//! of what was observed before.

use std::collections::BTreeMap;

use pinnace_client::summary::Summary;
use tokio::time::Instant;

use super::config::{Eviction, Observed, Pressure, Threshold};

/// What is remembered between two looks.
#[derive(Default)]
pub(crate) struct Watch {
    /// Since when each threshold is crossed, by its place in the configuration.
    crossed: BTreeMap<usize, Instant>,
    /// The thresholds for which pods were to go at the last look.
    met: Vec<usize>,
    /// When each pressure was seen last.
    seen: BTreeMap<Pressure, Instant>,
}

/// What is to be done now.
pub(crate) struct Findings {
    /// What the node suffers from.
    pub(crate) pressures: Vec<Pressure>,
    /// The thresholds because of which pods must go, the most urgent first, and what was seen.
    pub(crate) urgent: Vec<(Threshold, Observed)>,
}

impl Watch {
    /// Takes a look.
    pub(crate) fn look(&mut self, config: &Eviction, summary: &Summary, now: Instant) -> Findings {
        let all = || config.thresholds.iter().enumerate();
        let seen = |threshold: &Threshold| threshold.signal.observe(summary);
        let crosses = |index: usize, threshold: &Threshold| {
            let Some(found) = seen(threshold) else { return false };
            let wanted = threshold.amount.of(found.capacity);
            // What has been acted upon is over only when some more is free.
            let more = threshold.reclaim.filter(|_| self.met.contains(&index));
            let more = more.map_or(0, |more| more.of(found.capacity));
            found.available < wanted.saturating_add(more)
        };
        let crossed: BTreeMap<usize, Instant> = all()
            .filter(|(index, threshold)| crosses(*index, threshold))
            .map(|(index, _)| (index, self.crossed.get(&index).copied().unwrap_or(now)))
            .collect();
        for index in crossed.keys() {
            self.seen.insert(config.thresholds[*index].signal.pressure(), now);
        }
        self.seen.retain(|_, at| now.duration_since(*at) < config.transition_period || *at == now);
        let is_due = |(index, since): &(&usize, &Instant)| {
            now.duration_since(**since) >= config.thresholds[**index].grace
        };
        self.met = crossed.iter().filter(is_due).map(|(index, _)| *index).collect();
        self.crossed = crossed;
        let met = self.met.iter().map(|index| config.thresholds[*index]);
        let mut urgent: Vec<_> = met.filter_map(|one| Some((one, seen(&one)?))).collect();
        // Memory before all else: without it nothing else gets done.
        urgent.sort_by_key(|(one, _)| one.signal);
        Findings { pressures: self.seen.keys().copied().collect(), urgent }
    }
}

/// Whether no threshold is crossed, with what is to be free beyond it.
pub(crate) fn is_well(config: &Eviction, summary: &Summary) -> bool {
    !config.thresholds.iter().any(|threshold| {
        threshold.signal.observe(summary).is_some_and(|found| {
            let more = threshold.reclaim.map_or(0, |more| more.of(found.capacity));
            found.available < threshold.amount.of(found.capacity).saturating_add(more)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pinnace_client::summary::{MemoryUse, NodeUse, ProcessLimits};

    use super::super::config::{Amount, Signal};
    use super::*;

    fn summary(memory: u64, pids: i64) -> Summary {
        let time = jiff::Timestamp::UNIX_EPOCH;
        let memory = MemoryUse {
            time,
            available_bytes: Some(memory),
            working_set_bytes: Some(1000 - memory),
            usage_bytes: None,
            rss_bytes: None,
            page_faults: None,
            major_page_faults: None,
        };
        let rlimit = Some(ProcessLimits { time, max: 100, current: 100 - pids });
        let node = NodeUse { memory: Some(memory), rlimit, ..NodeUse::default() };
        Summary { node, pods: Vec::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn thresholds_have_their_time_and_pressures_theirs() {
        let seconds = Duration::from_secs;
        let soft = Threshold {
            grace: seconds(30),
            reclaim: Some(Amount::Absolute(50)),
            ..Threshold::hard(Signal::MemoryAvailable, Amount::Percent(20.0))
        };
        let config = Eviction {
            thresholds: vec![
                Threshold::hard(Signal::PidAvailable, Amount::Absolute(10)),
                soft,
                Threshold::hard(Signal::NodeFsAvailable, Amount::Percent(10.0)),
            ],
            transition_period: seconds(60),
            ..Eviction::default()
        };
        let mut watch = Watch::default();
        let begun = Instant::now();
        let mut look = |after: u64, memory: u64, pids: i64| {
            let found = watch.look(&config, &summary(memory, pids), begun + seconds(after));
            let pressures: Vec<_> = found.pressures.iter().map(|one| one.condition()).collect();
            let urgent: Vec<_> =
                found.urgent.iter().map(|(one, _)| one.signal.resource().name()).collect();
            (pressures.join(","), urgent.join(","))
        };
        let said = |pressures: &str, urgent: &str| (pressures.to_owned(), urgent.to_owned());
        assert_eq!(look(0, 500, 50), said("", ""));
        assert_eq!(look(10, 150, 50), said("MemoryPressure", ""), "it has its grace");
        assert_eq!(look(30, 150, 5), said("MemoryPressure,PIDPressure", "pids"));
        assert_eq!(look(40, 150, 5), said("MemoryPressure,PIDPressure", "memory,pids"));
        assert_eq!(look(50, 220, 50), said("MemoryPressure,PIDPressure", "memory"), "some more");
        assert_eq!(look(60, 260, 50), said("MemoryPressure,PIDPressure", ""), "for a while");
        assert_eq!(look(105, 260, 50), said("MemoryPressure", ""));
        assert_eq!(look(110, 260, 50), said("", ""));
        assert_eq!(look(120, 150, 50), said("MemoryPressure", ""), "its grace begins anew");
    }

    #[test]
    fn amounts_are_numbers_or_parts() {
        assert_eq!(Amount::parse("100Mi"), Ok(Amount::Absolute(100 << 20)));
        assert_eq!(Amount::parse("12.5%").unwrap().of(1000), 125);
        for wrong in ["", "0", "-1Gi", "101%", "x%", "ten"] {
            assert!(Amount::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(Signal::parse("pid.available"), Ok(Signal::PidAvailable));
        assert_eq!(Signal::parse("luck").unwrap_err(), "unsupported eviction signal luck");
    }
}
