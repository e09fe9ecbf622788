use std::collections::HashMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::taints;

/// How long after a node has failed it is tainted at the earliest: nodes that fail together are
/// all counted before the first one's pods are driven away.
const SETTLE: Duration = Duration::from_millis(100);
/// How long it is from one node's taint to the next one's, in a zone.
const INTERVAL: Duration = Duration::from_secs(10);
/// And in a large zone of which much has failed.
const SECONDARY_INTERVAL: Duration = Duration::from_secs(100);
/// The share of failed nodes from which on a zone is disrupted, in percent.
const UNHEALTHY_PERCENT: usize = 55;
/// So many nodes make a zone large; a smaller one that is disrupted is left alone.
const LARGE: usize = 50;

const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";
const REGION: &str = "topology.kubernetes.io/region";
const ZONE: &str = "topology.kubernetes.io/zone";

/// How much of each zone has failed, and so how fast its pods may be driven away: when very much
/// fails at once, the network is more likely broken than the nodes.
#[derive(Debug, Default)]
pub(super) struct Zones(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    nodes: HashMap<String, Member, ahash::RandomState>,
    zones: HashMap<String, Zone, ahash::RandomState>,
    /// Whether no zone has a node that is ready.
    all_failed: bool,
}

#[derive(Debug)]
struct Member {
    zone: String,
    ready: bool,
    counted: bool,
    /// Since when it is not ready.
    since: Instant,
    /// When it may be tainted.
    turn: Option<Instant>,
}

#[derive(Debug, Default)]
struct Zone {
    ready: usize,
    failed: usize,
    next_turn: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    Normal,
    Slow,
    Stopped,
}

/// Whether a node's pods may be driven away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// They may, now.
    Go,
    /// They may later.
    Wait(Duration),
    /// They may not, until the zone is better or larger.
    Stop,
    /// They may not, and what has been begun is to be undone: every node has failed.
    Undo,
}

/// What a change of one node means to others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Consequence {
    /// These failed nodes are to be looked at again.
    pub(super) look_at: Vec<String>,
    /// After a time in which all had failed, the first one is back: every node gets its time anew.
    pub(super) start_over: bool,
}

impl Zones {
    /// Counts a node as it is now, or no longer.
    pub(super) fn set(&self, name: &str, node: Option<&Node>) -> Consequence {
        let state = &mut *self.0.lock();
        let new = node.map(|node| (zone_of(node), taints::is_ready(node), is_counted(node)));
        let old = state.nodes.get(name);
        let same = match (old, &new) {
            (None, None) => true,
            (Some(old), Some((zone, ready, counted))) => {
                old.zone == *zone && old.ready == *ready && old.counted == *counted
            }
            _ => false,
        };
        if same {
            return Consequence::default();
        }
        let concerned = [old.map(|old| old.zone.clone()), new.as_ref().map(|new| new.0.clone())];
        let concerned: Vec<String> = concerned.into_iter().flatten().collect();
        let before: Vec<Pace> = concerned.iter().map(|zone| state.pace(zone)).collect();
        let all_failed = state.all_failed;
        state.replace(name, new);
        state.all_failed = !state.zones.is_empty() && state.zones.values().all(|z| z.ready == 0);
        if state.all_failed != all_failed {
            return Consequence {
                look_at: state.begin_anew(|_| true),
                start_over: all_failed && !state.nodes.is_empty(),
            };
        }
        let changed: Vec<String> = concerned
            .into_iter()
            .zip(before)
            .filter(|(zone, before)| state.pace(zone) != *before)
            .map(|(zone, _)| zone)
            .collect();
        Consequence { look_at: state.begin_anew(|zone| changed.contains(zone)), start_over: false }
    }

    /// Whether a failed node's pods may be driven away now. Once it may, it is another node's
    /// turn.
    pub(super) fn ask(&self, name: &str) -> Verdict {
        let state = &mut *self.0.lock();
        if state.all_failed {
            return Verdict::Undo;
        }
        let Some(zone) = state.nodes.get(name).map(|member| member.zone.clone()) else {
            return Verdict::Wait(SETTLE);
        };
        let interval = match state.pace(&zone) {
            Pace::Normal => INTERVAL,
            Pace::Slow => SECONDARY_INTERVAL,
            Pace::Stopped => return Verdict::Stop,
        };
        let Some(member) = state.nodes.get_mut(name) else { return Verdict::Stop };
        let earliest = member.since + SETTLE;
        let turn = *member.turn.get_or_insert_with(|| {
            let zone = state.zones.entry(zone).or_default();
            let turn = zone.next_turn.map_or(earliest, |next| next.max(earliest));
            zone.next_turn = Some(turn + interval);
            turn
        });
        match turn.saturating_duration_since(Instant::now()) {
            Duration::ZERO => Verdict::Go,
            left => Verdict::Wait(left),
        }
    }
}

impl State {
    fn replace(&mut self, name: &str, new: Option<(String, bool, bool)>) {
        let old = self.nodes.remove(name);
        if let Some(old) = &old
            && let Some(zone) = self.zones.get_mut(&old.zone)
            && old.counted
        {
            let count = if old.ready { &mut zone.ready } else { &mut zone.failed };
            *count = count.saturating_sub(1);
            if zone.ready == 0 && zone.failed == 0 {
                self.zones.remove(&old.zone);
            }
        }
        let Some((zone, ready, counted)) = new else { return };
        if counted {
            let zone = self.zones.entry(zone.clone()).or_default();
            *(if ready { &mut zone.ready } else { &mut zone.failed }) += 1;
        }
        let since = match old {
            Some(old) if !old.ready && !ready => old.since,
            _ => Instant::now(),
        };
        let member = Member { zone, ready, counted, since, turn: None };
        self.nodes.insert(name.to_owned(), member);
    }

    fn pace(&self, zone: &str) -> Pace {
        let Some(zone) = self.zones.get(zone) else { return Pace::Normal };
        let all = zone.ready + zone.failed;
        // A zone that has failed as a whole is left to the others, which can take its pods.
        let disrupted =
            zone.ready > 0 && zone.failed > 2 && zone.failed * 100 >= all * UNHEALTHY_PERCENT;
        match disrupted {
            false => Pace::Normal,
            true if all > LARGE => Pace::Slow,
            true => Pace::Stopped,
        }
    }

    /// Takes the turns in some zones back and gives their failed nodes.
    fn begin_anew(&mut self, is_concerned: impl Fn(&String) -> bool) -> Vec<String> {
        for (_, zone) in self.zones.iter_mut().filter(|(name, _)| is_concerned(name)) {
            zone.next_turn = None;
        }
        let failed = self.nodes.iter_mut().filter(|(_, m)| !m.ready && is_concerned(&m.zone));
        let mut names: Vec<String> = failed
            .map(|(name, member)| {
                member.turn = None;
                name.clone()
            })
            .collect();
        names.sort();
        names
    }
}

fn zone_of(node: &Node) -> String {
    let label = |name| node.metadata.labels.as_ref().and_then(|labels| labels.get(name));
    match (label(REGION), label(ZONE)) {
        (None, None) => String::new(),
        (region, zone) => {
            let text = |label: Option<&String>| label.cloned().unwrap_or_default();
            format!("{}:\0:{}", text(region), text(zone))
        }
    }
}

fn is_counted(node: &Node) -> bool {
    !node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(EXCLUDED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(zone: &str, ready: bool) -> Node {
        let status = if ready { "True" } else { "Unknown" };
        serde_json::from_value(json!({
            "metadata": {"labels": {ZONE: zone}},
            "status": {"conditions": [{"type": "Ready", "status": status}]}
        }))
        .unwrap()
    }

    /// Zones with so many nodes that are ready and that are not, named by zone and number.
    fn zones(zones: &[(&str, usize, usize)]) -> Zones {
        let made = Zones::default();
        for (zone, ready, failed) in zones {
            for number in 0..ready + failed {
                made.set(&format!("{zone}{number}"), Some(&node(zone, number >= *failed)));
            }
        }
        made
    }

    async fn settle() {
        tokio::time::advance(SETTLE).await;
    }

    #[tokio::test(start_paused = true)]
    async fn failed_nodes_of_a_zone_take_turns() {
        let zones = zones(&[("a", 5, 2)]);
        settle().await;
        assert_eq!(zones.ask("a0"), Verdict::Go);
        assert_eq!(zones.ask("a1"), Verdict::Wait(INTERVAL));
        assert_eq!(zones.ask("a0"), Verdict::Go);
        tokio::time::advance(INTERVAL).await;
        assert_eq!(zones.ask("a1"), Verdict::Go);
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_zone_of_which_most_has_failed_is_left_alone() {
        let zones = zones(&[("a", 2, 3), ("b", 1, 0)]);
        settle().await;
        assert_eq!(zones.ask("a0"), Verdict::Stop);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_zone_of_which_most_has_failed_is_slow() {
        let zones = zones(&[("a", 20, 40)]);
        settle().await;
        assert_eq!(zones.ask("a0"), Verdict::Go);
        assert_eq!(zones.ask("a1"), Verdict::Wait(SECONDARY_INTERVAL));
    }

    #[tokio::test(start_paused = true)]
    async fn a_zone_that_has_failed_as_a_whole_gives_its_pods_to_the_others() {
        let zones = zones(&[("a", 0, 3), ("b", 1, 0)]);
        settle().await;
        assert_eq!(zones.ask("a0"), Verdict::Go);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_driven_away_when_all_nodes_have_failed() {
        let zones = zones(&[("a", 1, 1), ("b", 0, 1)]);
        let last = zones.set("a1", Some(&node("a", false)));
        assert_eq!(last.look_at, ["a0", "a1", "b0"]);
        assert_eq!(zones.ask("a0"), Verdict::Undo);
        let back = zones.set("a1", Some(&node("a", true)));
        assert!(back.start_over);
        assert_eq!(back.look_at, ["a0", "b0"]);
    }
}
