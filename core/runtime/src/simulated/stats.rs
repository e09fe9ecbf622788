//! What simulated containers use: what their scripts say, else what they asked for.

use std::time::Duration;

use jiff::Timestamp;

use super::Script;
use super::node::State;
use crate::{ContainerPhase, ContainerStats, PodId, PodStats, Resources, Usage};

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
            let since = Duration::try_from(now.duration_since(started_at)).unwrap_or_default();
            Some(ContainerStats {
                usage: usage(&script, &state.config.resources, since),
                id: state.id,
                name: state.config.name,
                started_at,
                written: None,
            })
        });
        let containers: Vec<ContainerStats> = running.collect();
        let mut whole = Usage::default();
        for Usage { cpu, memory_bytes, pids, .. } in containers.iter().map(|one| one.usage) {
            whole.cpu += cpu;
            whole.memory_bytes = whole.memory_bytes.saturating_add(memory_bytes);
            whole.pids += pids;
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

fn usage(script: &Script, resources: &Resources, since: Duration) -> Usage {
    let or = |amounts: [u64; 3]| amounts.into_iter().find(|amount| *amount > 0).unwrap_or(0);
    let Resources { cpu_request_millis, cpu_limit_millis, .. } = *resources;
    let Resources { memory_request_bytes, memory_limit_bytes, .. } = *resources;
    let millis = script.cpu_millis;
    let millis = millis.unwrap_or_else(|| or([cpu_request_millis, cpu_limit_millis, CPU_MILLIS]));
    let memory = script.memory_bytes;
    let memory =
        memory.unwrap_or_else(|| or([memory_request_bytes, memory_limit_bytes, MEMORY_BYTES]));
    let nanos = since.as_nanos().saturating_mul(u128::from(millis)) / 1000;
    Usage {
        cpu: Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)),
        memory_bytes: memory,
        working_set_bytes: memory,
        rss_bytes: memory,
        pids: 1,
        ..Usage::default()
    }
}
