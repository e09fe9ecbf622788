//! What simulated containers use: what their scripts say, else what they asked for.

use std::time::Duration;

use jiff::Timestamp;

use super::Script;
use super::node::State;
use crate::{ContainerPhase, ContainerStats, PodId, PodStats, Resources, Usage, Written};

/// What a container uses of which nothing is said.
const CPU_MILLIS: u64 = 1;
const MEMORY_BYTES: u64 = 1 << 20;

impl State {
    /// What a pod uses, if there is one.
    pub(super) fn stats(&self, id: &PodId, now: Timestamp) -> Option<PodStats> {
        let pod = self.pod(id)?;
        let running = pod.containers.into_iter().filter_map(|state| {
            let ContainerPhase::Running { started_at, .. } = state.phase else { return None };
            let script = self.script(&state.id)?;
            let spent =
                self.spent(&state.id).unwrap_or(Spent { cpu: Duration::ZERO, at: started_at });
            Some(ContainerStats {
                usage: usage(&script, &state.config.resources, spent, now),
                id: state.id,
                name: state.config.name,
                started_at,
                written: script.disk_bytes.map(|bytes| Written { bytes, inodes: 1 }),
            })
        });
        let containers: Vec<ContainerStats> = running.collect();
        let mut whole = Usage { cpu_nano_cores: Some(0), ..Usage::default() };
        for one in containers.iter().map(|one| one.usage) {
            whole.cpu = whole.cpu.saturating_add(one.cpu);
            whole.cpu_nano_cores = whole
                .cpu_nano_cores
                .zip(one.cpu_nano_cores)
                .map(|(all, one)| all.saturating_add(one));
            whole.memory_bytes = whole.memory_bytes.saturating_add(one.memory_bytes);
            whole.pids += one.pids;
        }
        whole.working_set_bytes = whole.memory_bytes;
        whole.rss_bytes = whole.memory_bytes;
        Some(PodStats {
            pod: id.clone(),
            at: now,
            started_at: pod.sandbox.created_at,
            usage: whole,
            interfaces: Vec::new(),
            containers,
        })
    }
}

/// The CPU time that a container had used at some moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    pub(super) cpu: Duration,
    pub(super) at: Timestamp,
}

/// What a container uses that has a script and resources.
pub(super) fn usage(script: &Script, resources: &Resources, spent: Spent, now: Timestamp) -> Usage {
    let or = |amounts: [u64; 3]| amounts.into_iter().find(|amount| *amount > 0).unwrap_or(0);
    let Resources { cpu_request_millis, cpu_limit_millis, .. } = *resources;
    let Resources { memory_request_bytes, memory_limit_bytes, .. } = *resources;
    let millis = script.cpu_millis;
    let millis = millis.unwrap_or_else(|| or([cpu_request_millis, cpu_limit_millis, CPU_MILLIS]));
    let memory = script.memory_bytes;
    let memory =
        memory.unwrap_or_else(|| or([memory_request_bytes, memory_limit_bytes, MEMORY_BYTES]));
    let since = Duration::try_from(now.duration_since(spent.at)).unwrap_or_default();
    let nanos = since.as_nanos().saturating_mul(u128::from(millis)) / 1000;
    let nanos = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
    Usage {
        cpu: spent.cpu.saturating_add(nanos),
        cpu_nano_cores: Some(millis.saturating_mul(1_000_000)),
        memory_bytes: memory,
        working_set_bytes: memory,
        rss_bytes: memory,
        pids: 1,
        ..Usage::default()
    }
}
