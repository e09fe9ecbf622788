use std::path::Path;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Volume};
use pinnace_api::quantity::Quantity;
use pinnace_client::summary::{
    ContainerUse, CpuUse, FsUse, InterfaceUse, MemoryUse, NetworkUse, PodRef, PodUse, ProcessUse,
    VolumeUse,
};
use pinnace_runtime::{ContainerStats, InterfaceStats, Usage, Written};

use super::rates::Rates;
use super::{Measured, disk};
use crate::pod::record;
use crate::{logs, volumes};

/// What the usual interface is called where there are several.
const USUAL_INTERFACE: &str = "eth0";

/// What a pod uses, by what its runtime says.
pub(super) fn of(measured: &Measured, rates: &Rates) -> PodUse {
    let Measured { pod, stats } = measured;
    let container = |one: &ContainerStats| {
        let limit = memory_limit(pod, &one.name);
        ContainerUse {
            name: one.name.clone(),
            start_time: one.started_at,
            cpu: Some(cpu(&one.usage, rates, &one.id.0, one.started_at, stats.at)),
            memory: Some(memory(&one.usage, limit, stats.at)),
            rootfs: one.written.map(|written| used(written, stats.at)),
            logs: None,
        }
    };
    let containers: Vec<_> = stats.containers.iter().map(container).collect();
    let written = stats.containers.iter().filter_map(|one| one.written);
    let written = written.reduce(plus).map(|written| used(written, stats.at));
    PodUse {
        pod_ref: reference(pod),
        start_time: stats.started_at,
        containers,
        cpu: Some(cpu(&stats.usage, rates, &stats.pod.0, stats.started_at, stats.at)),
        memory: Some(memory(&stats.usage, pod_memory_limit(pod), stats.at)),
        network: network(&stats.interfaces, stats.at),
        volumes: Vec::new(),
        ephemeral_storage: written,
        processes: Some(ProcessUse { count: stats.usage.pids }),
    }
}

/// Adds what a pod has on this machine's disks. Blocks.
pub(super) fn add_disk(
    pod: &mut PodUse,
    measured: &Measured,
    state: &Path,
    logs: &Path,
    now: Timestamp,
) {
    let Measured { pod: object, stats } = measured;
    let file_system = disk::file_system(state, now);
    let within = |written: Written| FsUse {
        used_bytes: Some(written.bytes),
        inodes_used: Some(written.inodes),
        ..file_system
    };
    let mut whole = Written::default();
    let logs = logs::pod_directory(logs, object);
    for (shown, one) in pod.containers.iter_mut().zip(&stats.containers) {
        let written = disk::used(&logs.join(&one.name));
        shown.logs = Some(within(written));
        shown.rootfs = one.written.map(within);
        whole = plus(whole, plus(written, one.written.unwrap_or_default()));
    }
    let root = volumes::pod_directory(state, object.object().uid()).join("volumes");
    for volume in record::spec_of(object).volumes.iter().flatten() {
        let Some(path) = place(volume).map(|place| root.join(place).join(&volume.name)) else {
            continue;
        };
        let written = disk::used(&path);
        if !in_memory(volume) {
            whole = plus(whole, written);
        }
        let fs = FsUse {
            used_bytes: Some(written.bytes),
            inodes_used: Some(written.inodes),
            ..disk::file_system(&path, now)
        };
        let name = volume.name.clone();
        pod.volumes.push(VolumeUse { fs, name, pvc_ref: None, health: None });
    }
    pod.ephemeral_storage = Some(within(whole));
}

/// Where the content of a volume is that the agent makes itself.
fn place(volume: &Volume) -> Option<&'static str> {
    let places = [
        (volume.empty_dir.is_some(), "kubernetes.io~empty-dir"),
        (volume.config_map.is_some(), "kubernetes.io~configmap"),
        (volume.secret.is_some(), "kubernetes.io~secret"),
        (volume.downward_api.is_some(), "kubernetes.io~downward-api"),
        (volume.projected.is_some(), "kubernetes.io~projected"),
    ];
    places.into_iter().find_map(|(is, place)| is.then_some(place))
}

fn in_memory(volume: &Volume) -> bool {
    let medium = volume.empty_dir.as_ref().and_then(|source| source.medium.as_deref());
    medium.is_some_and(|medium| !medium.is_empty())
}

pub(super) fn cpu(
    usage: &Usage,
    rates: &Rates,
    who: &str,
    since: Timestamp,
    now: Timestamp,
) -> CpuUse {
    let rate = rates.read(who, usage, since, now);
    CpuUse {
        time: now,
        usage_nano_cores: rate.map(|rate| rate.nano_cores),
        usage_core_nano_seconds: Some(u64::try_from(usage.cpu.as_nanos()).unwrap_or(u64::MAX)),
        window: rate.map(|rate| rate.window).unwrap_or_default(),
    }
}

fn memory(usage: &Usage, limit: Option<u64>, now: Timestamp) -> MemoryUse {
    MemoryUse {
        time: now,
        available_bytes: limit.map(|limit| limit.saturating_sub(usage.working_set_bytes)),
        usage_bytes: Some(usage.memory_bytes),
        working_set_bytes: Some(usage.working_set_bytes),
        rss_bytes: Some(usage.rss_bytes),
        page_faults: Some(usage.page_faults),
        major_page_faults: Some(usage.major_page_faults),
    }
}

pub(super) fn network(interfaces: &[InterfaceStats], now: Timestamp) -> Option<NetworkUse> {
    let shown = |one: &InterfaceStats| InterfaceUse {
        name: one.name.clone(),
        rx_bytes: one.received_bytes,
        rx_errors: one.receive_errors,
        tx_bytes: one.sent_bytes,
        tx_errors: one.send_errors,
    };
    let interfaces: Vec<InterfaceUse> = interfaces.iter().map(shown).collect();
    let usual = interfaces.iter().find(|one| one.name == USUAL_INTERFACE).or(interfaces.first());
    let usual = Some(usual?.clone());
    Some(NetworkUse { time: now, usual, interfaces })
}

fn used(written: Written, now: Timestamp) -> FsUse {
    FsUse { used_bytes: Some(written.bytes), inodes_used: Some(written.inodes), ..FsUse::at(now) }
}

fn plus(a: Written, b: Written) -> Written {
    Written { bytes: a.bytes.saturating_add(b.bytes), inodes: a.inodes.saturating_add(b.inodes) }
}

fn reference(pod: &Pod) -> PodRef {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let meta = &pod.metadata;
    PodRef { name: text(&meta.name), namespace: text(&meta.namespace), uid: text(&meta.uid) }
}

fn memory_limit(pod: &Pod, container: &str) -> Option<u64> {
    let spec = pod.spec.as_ref()?;
    let mut all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    limit_of(all.find(|one| one.name == container)?)
}

/// The memory limit of a pod as a whole: its own, or that of all its containers.
fn pod_memory_limit(pod: &Pod) -> Option<u64> {
    let spec = pod.spec.as_ref()?;
    let own = spec.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    if let Some(limit) = own.and_then(|limits| bytes(&limits.get("memory")?.0)) {
        return Some(limit);
    }
    let limits = spec.containers.iter().map(limit_of);
    limits.sum()
}

fn limit_of(container: &Container) -> Option<u64> {
    let limits = container.resources.as_ref()?.limits.as_ref()?;
    bytes(&limits.get("memory")?.0)
}

fn bytes(text: &str) -> Option<u64> {
    u64::try_from(Quantity::parse(text).ok()?.value()).ok().filter(|bytes| *bytes > 0)
}
