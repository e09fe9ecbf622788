//! The pages of a kubelet.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use pinnace_client::nodes::Document;
use pinnace_client::summary::{ClaimRef, ContainerUse, PodUse, Summary, VolumeUse};
use serde_json::json;

use super::{Detail, milliseconds, summary};
use crate::agent::Shared;
use crate::eviction::Threshold;
use crate::host::Host;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const FIGURES: &str = "text/plain; version=0.0.4; charset=utf-8";
const NANOS: f64 = 1e9;

/// What a kubelet answers to a GET of a path with its query.
///
/// # Errors
/// Those of the runtime.
pub(crate) async fn document(
    shared: &Arc<Shared>,
    host: &Arc<Host>,
    path: &str,
) -> pinnace_runtime::Result<Option<Document>> {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let found = match path.strip_suffix('/').unwrap_or(path) {
        "/healthz" | "/healthz/ping" | "/healthz/log" | "/healthz/syncloop" => {
            Document { media_type: TEXT.into(), body: "ok".to_owned() }
        }
        "/pods" => json_page(&pods(shared, host)),
        "/configz" => json_page(&json!({"kubeletconfig": configuration(host)})),
        "/stats/summary" => {
            let asked = |pair: &str| pair == "only_cpu_and_memory=true";
            let detail = if query.split('&').any(asked) { Detail::Quick } else { Detail::Full };
            let found = summary(shared, host, detail).await?;
            json_page(&serde_json::to_value(found).unwrap_or_default())
        }
        "/metrics" => {
            let volumes = volume_figures(&summary(shared, host, Detail::Full).await?);
            let body = own_figures(shared, host) + &volumes;
            Document { media_type: FIGURES.into(), body }
        }
        "/metrics/resource" => {
            let body = match summary(shared, host, Detail::Quick).await {
                Ok(summary) => resource_figures(&summary),
                Err(error) => {
                    tracing::warn!(node = %host.name, %error, "nothing measured");
                    scrape_error(1)
                }
            };
            Document { media_type: FIGURES.into(), body }
        }
        "/metrics/cadvisor" => {
            let body = container_figures(&summary(shared, host, Detail::Of(|_| true)).await?);
            Document { media_type: FIGURES.into(), body }
        }
        _ => return Ok(None),
    };
    Ok(Some(found))
}

fn json_page(value: &serde_json::Value) -> Document {
    Document { media_type: JSON.into(), body: value.to_string() }
}

fn pods(shared: &Arc<Shared>, host: &Arc<Host>) -> serde_json::Value {
    let slots = shared.slots_of(&host.runtime);
    let mut pods: Vec<_> =
        slots.iter().filter(|slot| Arc::ptr_eq(&slot.host, host)).map(|slot| slot.pod()).collect();
    pods.sort_by_cached_key(pinnace_api::Object::key);
    let items: Vec<_> = pods.iter().filter_map(|pod| pod.to_value().ok()).collect();
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
}

/// The settings of this agent, in the words of `KubeletConfiguration`.
fn configuration(host: &Host) -> serde_json::Value {
    let thresholds = host.eviction.iter().flat_map(|eviction| &eviction.thresholds);
    let (hard, soft): (Vec<_>, Vec<_>) = thresholds.partition(|one| one.is_hard());
    let shown = |all: &[&Threshold]| -> serde_json::Map<String, serde_json::Value> {
        let amount =
            |one: &&Threshold| (one.signal.name().to_owned(), one.amount.to_string().into());
        all.iter().map(amount).collect()
    };
    let mut settings = json!({
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "maxPods": host.capacity.pods,
        "nodeStatusReportFrequency": "5m0s",
        "nodeLeaseDurationSeconds": 40,
        "serializeImagePulls": false,
        "evictionHard": shown(&hard),
        "evictionSoft": shown(&soft),
    });
    if let Some(images) = &host.image_collection {
        settings["imageGCHighThresholdPercent"] = images.high_percent.into();
        settings["imageGCLowThresholdPercent"] = images.low_percent.into();
    }
    if let Some(pods) = &host.static_pods {
        settings["staticPodPath"] = pods.directory.to_string_lossy().into();
    }
    settings
}

/// Figures in Prometheus' text format.
#[derive(Default)]
struct Figures(String);

impl Figures {
    fn of(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        write: impl FnOnce(&mut dyn FnMut(&[(&str, &str)], f64, Option<i64>)),
    ) {
        let text = &mut self.0;
        let mut begun = false;
        write(&mut |labels, value, at| {
            if !std::mem::replace(&mut begun, true) {
                let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            }
            text.push_str(name);
            if !labels.is_empty() {
                let labels: Vec<_> =
                    labels.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
                let _ = write!(text, "{{{}}}", labels.join(","));
            }
            let _ = write!(text, " {value}");
            if let Some(at) = at {
                let _ = write!(text, " {at}");
            }
            text.push('\n');
        });
    }
}

/// `/metrics`: what the agent knows of itself.
fn own_figures(shared: &Arc<Shared>, host: &Arc<Host>) -> String {
    let slots = shared.slots_of(&host.runtime);
    let pods: Vec<_> = slots
        .iter()
        .filter(|slot| Arc::ptr_eq(&slot.host, host))
        .filter_map(|slot| slot.pod().typed::<Pod>().ok())
        .collect();
    let state = |container: &ContainerStatus| {
        let state = container.state.as_ref();
        match state {
            Some(state) if state.running.is_some() => "running",
            Some(state) if state.terminated.is_some() => "exited",
            _ => "created",
        }
    };
    let statuses = pods.iter().filter_map(|pod| pod.status.as_ref());
    let containers = statuses.flat_map(|status| status.container_statuses.iter().flatten());
    let containers: Vec<&str> = containers.map(state).collect();
    let running = pods.iter().filter(|pod| {
        pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running")
    });
    let mut figures = Figures::default();
    let help = "[ALPHA] The node's name. The count is always 1.";
    let node = [("node", &*host.name)];
    figures.of("kubelet_node_name", "gauge", help, |one| one(&node, 1.0, None));
    let help = "[BETA] Number of pods that have a running pod sandbox";
    let count = running.count() as f64;
    figures.of("kubelet_running_pods", "gauge", help, |one| one(&[], count, None));
    let help = "[BETA] Number of containers currently running";
    figures.of("kubelet_running_containers", "gauge", help, |one| {
        for state in ["created", "exited", "running"] {
            let count = containers.iter().filter(|known| **known == state).count();
            if count > 0 {
                one(&[("container_state", state)], count as f64, None);
            }
        }
    });
    figures.0
}

fn scrape_error(errors: u8) -> String {
    let mut figures = Figures::default();
    let help = "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise";
    figures.of("resource_scrape_error", "gauge", help, |one| one(&[], errors.into(), None));
    figures.0
}

/// `/metrics/resource`.
fn resource_figures(summary: &Summary) -> String {
    let mut figures = Figures::default();
    let containers = || each_container(summary);
    figures.of(
        "container_cpu_usage_seconds_total",
        "counter",
        "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
        |one| {
            for (pod, container) in containers() {
                if let Some((value, at)) = seconds(container.cpu) {
                    one(&labels(container, pod), value, at);
                }
            }
        },
    );
    figures.of(
        "container_memory_working_set_bytes",
        "gauge",
        "[STABLE] Current working set of the container in bytes",
        |one| {
            for (pod, container) in containers() {
                if let Some((value, at)) = working_set(container.memory) {
                    one(&labels(container, pod), value, at);
                }
            }
        },
    );
    figures.of(
        "container_start_time_seconds",
        "gauge",
        "[STABLE] Start time of the container since unix epoch in seconds",
        |one| {
            for (pod, container) in containers() {
                let at = container.start_time.as_nanosecond() as f64 / NANOS;
                one(&labels(container, pod), at, None);
            }
        },
    );
    let help = "[STABLE] Cumulative cpu time consumed by the node in core-seconds";
    figures.of("node_cpu_usage_seconds_total", "counter", help, |one| {
        if let Some((value, at)) = seconds(summary.node.cpu) {
            one(&[], value, at);
        }
    });
    let help = "[STABLE] Current working set of the node in bytes";
    figures.of("node_memory_working_set_bytes", "gauge", help, |one| {
        if let Some((value, at)) = working_set(summary.node.memory) {
            one(&[], value, at);
        }
    });
    let help = "[STABLE] Cumulative cpu time consumed by the pod in core-seconds";
    figures.of("pod_cpu_usage_seconds_total", "counter", help, |one| {
        for pod in &summary.pods {
            if let Some((value, at)) = seconds(pod.cpu) {
                one(&pod_labels(pod), value, at);
            }
        }
    });
    let help = "[STABLE] Current working set of the pod in bytes";
    figures.of("pod_memory_working_set_bytes", "gauge", help, |one| {
        for pod in &summary.pods {
            if let Some((value, at)) = working_set(pod.memory) {
                one(&pod_labels(pod), value, at);
            }
        }
    });
    figures.0 + &scrape_error(0)
}

/// `/metrics/cadvisor`, as far as it is known here.
fn container_figures(summary: &Summary) -> String {
    type Of = fn(&ContainerUse) -> Option<(f64, Option<i64>)>;
    let each: [(&str, &str, &str, Of); 5] = [
        (
            "container_cpu_usage_seconds_total",
            "counter",
            "Cumulative cpu time consumed in seconds.",
            |one| seconds(one.cpu),
        ),
        (
            "container_memory_usage_bytes",
            "gauge",
            "Current memory usage in bytes, including all memory regardless of when it was accessed",
            |one| Some((one.memory?.usage_bytes? as f64, Some(milliseconds(one.memory?.time)))),
        ),
        ("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", |one| {
            working_set(one.memory)
        }),
        ("container_memory_rss", "gauge", "Size of RSS in bytes.", |one| {
            Some((one.memory?.rss_bytes? as f64, Some(milliseconds(one.memory?.time))))
        }),
        (
            "container_fs_usage_bytes",
            "gauge",
            "Number of bytes that are consumed by the container on this filesystem.",
            |one| Some((one.rootfs?.used_bytes? as f64, Some(milliseconds(one.rootfs?.time)))),
        ),
    ];
    let mut figures = Figures::default();
    for (name, kind, help, of) in each {
        figures.of(name, kind, help, |one| {
            for (pod, container) in each_container(summary) {
                if let Some((value, at)) = of(container) {
                    one(&labels(container, pod), value, at);
                }
            }
        });
    }
    type OfInterface = fn(&pinnace_client::summary::InterfaceUse) -> u64;
    let each: [(&str, &str, OfInterface); 4] = [
        ("container_network_receive_bytes_total", "Cumulative count of bytes received", |one| {
            one.rx_bytes
        }),
        (
            "container_network_receive_errors_total",
            "Cumulative count of errors encountered while receiving",
            |one| one.rx_errors,
        ),
        (
            "container_network_transmit_bytes_total",
            "Cumulative count of bytes transmitted",
            |one| one.tx_bytes,
        ),
        (
            "container_network_transmit_errors_total",
            "Cumulative count of errors encountered while transmitting",
            |one| one.tx_errors,
        ),
    ];
    for (name, help, of) in each {
        figures.of(name, "counter", help, |one| {
            for pod in &summary.pods {
                for interface in pod.network.iter().flat_map(|network| &network.interfaces) {
                    let [namespace, pod_name] = pod_labels(pod);
                    let labels = [("interface", &*interface.name), namespace, pod_name];
                    let at = pod.network.as_ref().map(|network| milliseconds(network.time));
                    one(&labels, of(interface) as f64, at);
                }
            }
        });
    }
    figures.0
}

/// `/metrics`, as far as it is about volumes of claims: each once, whoever has it.
fn volume_figures(summary: &Summary) -> String {
    let volumes = summary.pods.iter().flat_map(|pod| &pod.volumes);
    let claimed = volumes.filter_map(|volume| Some((volume.pvc_ref.as_ref()?, volume)));
    let claims: BTreeMap<&ClaimRef, &VolumeUse> = claimed.collect();
    type Of = fn(&VolumeUse) -> Option<u64>;
    let each: [(&str, &str, Of); 7] = [
        ("capacity_bytes", "Capacity in bytes of the volume", |one| one.fs.capacity_bytes),
        ("available_bytes", "Number of available bytes in the volume", |one| {
            one.fs.available_bytes
        }),
        ("used_bytes", "Number of used bytes in the volume", |one| one.fs.used_bytes),
        ("inodes", "Maximum number of inodes in the volume", |one| one.fs.inodes),
        ("inodes_free", "Number of free inodes in the volume", |one| one.fs.inodes_free),
        ("inodes_used", "Number of used inodes in the volume", |one| one.fs.inodes_used),
        (
            "health_status_abnormal",
            "Abnormal volume health status. The count is either 1 or 0. 1 indicates the volume is \
             unhealthy, 0 indicates volume is healthy",
            |one| one.health.map(|health| health.abnormal.into()),
        ),
    ];
    let mut figures = Figures::default();
    for (name, help, of) in each {
        let (name, help) = (format!("kubelet_volume_stats_{name}"), format!("[ALPHA] {help}"));
        figures.of(&name, "gauge", &help, |one| {
            for (claim, volume) in &claims {
                let labels =
                    [("namespace", &*claim.namespace), ("persistentvolumeclaim", &*claim.name)];
                if let Some(value) = of(volume) {
                    one(&labels, value as f64, None);
                }
            }
        });
    }
    figures.0
}

fn each_container(summary: &Summary) -> impl Iterator<Item = (&PodUse, &ContainerUse)> {
    summary.pods.iter().flat_map(|pod| pod.containers.iter().map(move |one| (pod, one)))
}

fn labels<'a>(container: &'a ContainerUse, pod: &'a PodUse) -> [(&'static str, &'a str); 3] {
    let [namespace, name] = pod_labels(pod);
    [("container", &container.name), namespace, name]
}

fn pod_labels(pod: &PodUse) -> [(&'static str, &str); 2] {
    [("namespace", &pod.pod_ref.namespace), ("pod", &pod.pod_ref.name)]
}

fn seconds(cpu: Option<pinnace_client::summary::CpuUse>) -> Option<(f64, Option<i64>)> {
    let cpu = cpu?;
    Some((cpu.usage_core_nano_seconds? as f64 / NANOS, Some(milliseconds(cpu.time))))
}

fn working_set(memory: Option<pinnace_client::summary::MemoryUse>) -> Option<(f64, Option<i64>)> {
    let memory = memory?;
    Some((memory.working_set_bytes? as f64, Some(milliseconds(memory.time))))
}
