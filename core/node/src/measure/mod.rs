//! What nodes, pods and containers use: upstream's `Summary`, and the pages that a kubelet makes
//! of it.

mod claims;
#[cfg(target_os = "linux")]
pub(crate) mod disk;
#[cfg(not(target_os = "linux"))]
#[path = "disk_elsewhere.rs"]
pub(crate) mod disk;
mod documents;
mod figures;
mod node;
mod pods;
mod rates;

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use pinnace_api::Typed;
use pinnace_client::summary::Summary;
use pinnace_runtime::PodStats;

pub(crate) use documents::document;
pub(crate) use rates::Rates;

use crate::agent::Shared;
use crate::host::Host;

/// A pod, and what its runtime says that it uses.
pub(crate) struct Measured {
    pub(crate) pod: Typed<Pod>,
    pub(crate) stats: PodStats,
}

/// How much is counted.
#[derive(Clone, Copy)]
pub(crate) enum Detail {
    /// CPU and memory, which cost nothing to look at.
    Quick,
    /// And what is on disks of the pods of which this says so.
    Of(fn(&Pod) -> bool),
    /// Everything, volumes of claims included, for which drivers are asked.
    Full,
}

impl Detail {
    fn has(self, pod: &Pod) -> bool {
        match self {
            Self::Quick => false,
            Self::Of(of) => of(pod),
            Self::Full => true,
        }
    }

    fn is_quick(self) -> bool {
        matches!(self, Self::Quick)
    }
}

/// What a node and its pods use.
///
/// # Errors
/// Those of the runtime.
pub(crate) async fn summary(
    shared: &Arc<Shared>,
    host: &Arc<Host>,
    detail: Detail,
) -> pinnace_runtime::Result<Summary> {
    let measured = measured(shared, host, detail).await?;
    let pods: Vec<_> = measured.iter().map(|one| pods::of(one, &host.rates)).collect();
    host.rates.forget_all_but(&measured);
    let images = if detail.is_quick() { None } else { images_of(host).await };
    let now = shared.env.now();
    let mut summary = Summary { node: node::simulated(host, &pods, images.as_ref(), now), pods };
    let Some(state) = shared.machine.state().map(std::path::Path::to_owned) else {
        if detail.is_quick() {
            leave_cpu_and_memory(&mut summary);
        }
        return Ok(summary);
    };
    let claims = match detail {
        Detail::Full => claims::find(shared, &measured).await,
        _ => claims::Claims::default(),
    };
    let (host, logs, now) = (host.clone(), shared.logs.clone(), shared.env.now());
    let work = move || {
        let images = images.and_then(|images| images.directory).unwrap_or_else(|| state.clone());
        summary.node = node::of_this_machine(&host, &state, &images, now);
        if detail.is_quick() {
            leave_cpu_and_memory(&mut summary);
            return summary;
        }
        for (pod, one) in summary.pods.iter_mut().zip(&measured) {
            if detail.has(&one.pod) {
                pods::add_disk(pod, one, &state, &logs, now);
            }
            claims.add(pod, &one.pod, now);
        }
        summary
    };
    let done = shared.tasks.spawn_blocking(work).await;
    done.map_err(|error| pinnace_runtime::Error::Other {
        operation: "measure the node".into(),
        message: error.to_string(),
    })
}

/// What is known of the images of a node.
struct Images {
    /// Where they are, on this machine.
    directory: Option<std::path::PathBuf>,
    bytes: u64,
}

/// `None` when the runtime does not say.
async fn images_of(host: &Host) -> Option<Images> {
    let runtime = &host.runtime.runtime;
    let directory = runtime.image_directory().await.ok()?;
    // On a machine the file system knows better.
    let images = if runtime.simulates() { runtime.list_images().await.ok()? } else { Vec::new() };
    Some(Images { directory, bytes: images.iter().map(|image| image.size).sum() })
}

/// The pods of a node that the runtime has, in order, and what they use.
async fn measured(
    shared: &Arc<Shared>,
    host: &Arc<Host>,
    detail: Detail,
) -> pinnace_runtime::Result<Vec<Measured>> {
    let mut pods: Vec<Typed<Pod>> = shared
        .slots_of(&host.runtime)
        .iter()
        .filter(|slot| Arc::ptr_eq(&slot.host, host))
        .filter_map(|slot| slot.pod().typed().ok())
        .collect();
    pods.sort_by_cached_key(|pod| pod.object().key());
    let ids: Vec<_> =
        pods.iter().map(|pod| pinnace_runtime::PodId(pod.object().uid().to_owned())).collect();
    let written = pods.iter().any(|pod| detail.has(pod));
    let mut stats = host.runtime.runtime.stats(&ids, written).await?.into_iter().peekable();
    // Both are in one order, and some pods are not there yet or no more.
    let both = pods.into_iter().filter_map(|pod| {
        let stats = stats.next_if(|stats| stats.pod.0 == pod.object().uid())?;
        Some(Measured { pod, stats })
    });
    Ok(both.collect())
}

fn leave_cpu_and_memory(summary: &mut Summary) {
    let node = &mut summary.node;
    (node.network, node.fs, node.runtime, node.rlimit) = (None, None, None, None);
    for pod in &mut summary.pods {
        (pod.network, pod.ephemeral_storage, pod.processes) = (None, None, None);
        pod.volumes.clear();
        for container in &mut pod.containers {
            (container.rootfs, container.logs) = (None, None);
        }
    }
}

/// The time of a figure, for whoever writes it in milliseconds.
fn milliseconds(time: Timestamp) -> i64 {
    time.as_millisecond()
}
