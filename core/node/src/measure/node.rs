use std::fs;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pinnace_client::summary::{
    CpuUse, FsUse, MemoryUse, NodeUse, PodUse, ProcessLimits, RuntimeUse,
};
use pinnace_runtime::{Usage, interfaces};

use super::pods::{cpu, network};
use super::{Images, disk, figures};
use crate::host::Host;

/// What a simulated node uses: what its pods do.
pub(super) fn simulated(
    host: &Host,
    pods: &[PodUse],
    images: Option<&Images>,
    now: Timestamp,
) -> NodeUse {
    let sum = |of: &dyn Fn(&PodUse) -> Option<u64>| {
        pods.iter().filter_map(of).fold(0u64, u64::saturating_add)
    };
    let of_cpu = |field: fn(&CpuUse) -> Option<u64>| sum(&|pod| field(pod.cpu.as_ref()?));
    let window = pods.iter().filter_map(|pod| Some(pod.cpu.as_ref()?.window)).max();
    let memory = sum(&|pod| pod.memory.as_ref()?.working_set_bytes);
    let written = sum(&|pod| pod.ephemeral_storage.as_ref()?.used_bytes);
    let written = written.saturating_add(images.map_or(0, |images| images.bytes));
    let capacity = |amount: i64| u64::try_from(amount).unwrap_or(0);
    let fs = FsUse {
        capacity_bytes: Some(capacity(host.capacity.storage_bytes)),
        available_bytes: Some(capacity(host.capacity.storage_bytes).saturating_sub(written)),
        used_bytes: Some(written),
        ..FsUse::at(now)
    };
    NodeUse {
        node_name: host.name.to_string(),
        start_time: None,
        cpu: Some(CpuUse {
            time: now,
            usage_nano_cores: Some(of_cpu(|cpu| cpu.usage_nano_cores)),
            usage_core_nano_seconds: Some(of_cpu(|cpu| cpu.usage_core_nano_seconds)),
            window: window.unwrap_or(Duration::from_secs(10)),
        }),
        memory: Some(MemoryUse {
            time: now,
            available_bytes: Some(capacity(host.capacity.memory_bytes).saturating_sub(memory)),
            usage_bytes: Some(memory),
            working_set_bytes: Some(memory),
            rss_bytes: Some(memory),
            page_faults: None,
            major_page_faults: None,
        }),
        network: None,
        fs: Some(fs),
        runtime: Some(RuntimeUse { image_fs: Some(fs), container_fs: Some(fs) }),
        rlimit: None,
    }
}

/// What this machine uses. Blocks.
pub(super) fn of_this_machine(host: &Host, state: &Path, images: &Path, now: Timestamp) -> NodeUse {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let up = read("/proc/uptime");
    let up = up.split('.').next().and_then(|seconds| seconds.parse().ok());
    let started = up.map(|up| now.checked_sub(SignedDuration::from_secs(up)).unwrap_or(now));
    let usage = Usage { cpu: figures::cpu_time(&read("/proc/stat")), ..Usage::default() };
    let memory = figures::memory(&read("/proc/meminfo"));
    let fs = disk::file_system(state, now);
    let limits = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
    let max = limits.iter().filter_map(|path| read(path).trim().parse::<i64>().ok()).min();
    let current = figures::processes(&read("/proc/loadavg"));
    NodeUse {
        node_name: host.name.to_string(),
        start_time: started,
        cpu: Some(cpu(&usage, &host.rates, "", started.unwrap_or(now), now)),
        memory: memory.map(|memory| MemoryUse {
            time: now,
            available_bytes: Some(memory.available()),
            usage_bytes: Some(memory.total.saturating_sub(memory.free)),
            working_set_bytes: Some(memory.working_set()),
            rss_bytes: Some(memory.anonymous),
            page_faults: None,
            major_page_faults: None,
        }),
        network: network(&interfaces(&read("/proc/net/dev")), now),
        fs: Some(fs),
        runtime: {
            let fs = disk::file_system(images, now);
            Some(RuntimeUse { image_fs: Some(fs), container_fs: Some(fs) })
        },
        rlimit: max.zip(current).map(|(max, current)| ProcessLimits { time: now, max, current }),
    }
}
