//! Images that no container needs are removed when the disk they are on fills up, or when they have
//! not been used for long: those first that were used least lately.

mod records;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use pinnace_api::Object;
use pinnace_client::EventType;
use pinnace_runtime::Image;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::agent::Shared;
use crate::host::Host;
use crate::measure::{self, Detail};
use crate::pod::record;
use records::{Record, Records};

/// When a node removes images, as upstream's `KubeletConfiguration` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageCollection {
    /// In hundredths, how full the disk may get before images are removed:
    /// `imageGCHighThresholdPercent`.
    pub high_percent: u8,
    /// In hundredths, how full it is to be afterwards: `imageGCLowThresholdPercent`.
    pub low_percent: u8,
    /// How old an image is at least when it is removed: `imageMinimumGCAge`.
    pub min_age: Duration,
    /// After what time without use an image is removed in any case: `imageMaximumGCAge`. Never
    /// when zero.
    pub max_age: Duration,
    /// How often the node looks.
    pub interval: Duration,
}

impl Default for ImageCollection {
    /// Upstream's: from 85 % down to 80 %, nothing younger than two minutes.
    fn default() -> Self {
        Self {
            high_percent: 85,
            low_percent: 80,
            min_age: Duration::from_secs(120),
            max_age: Duration::ZERO,
            interval: Duration::from_secs(300),
        }
    }
}

/// What a node knows of its images.
#[derive(Default)]
pub(crate) struct Collector(Mutex<Records>);

/// Removes images of the nodes of an agent that are told to, as long as it is polled.
pub(crate) async fn run(shared: &Arc<Shared>, mut synced: watch::Receiver<bool>) {
    // The sender lives as long as the agent runs.
    let _ = synced.wait_for(|synced| *synced).await;
    let collected = shared.hosts.values().filter_map(|host| {
        let config = host.image_collection.clone()?;
        Some(async move { collect(shared, host, &config).await })
    });
    futures::future::join_all(collected).await;
}

async fn collect(shared: &Arc<Shared>, host: &Arc<Host>, config: &ImageCollection) {
    let begun = Instant::now();
    let mut failed = false;
    let mut ticks = tokio::time::interval(config.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match once(shared, host, config, begun).await {
            Ok(()) => failed = false,
            Err(error) => {
                tracing::warn!(node = %host.name, error, "images not removed");
                // The first time the disk may not have been looked at yet.
                if std::mem::replace(&mut failed, true) {
                    node_event(host, "ImageGCFailed", &error);
                }
            }
        }
    }
}

async fn once(
    shared: &Arc<Shared>,
    host: &Arc<Host>,
    config: &ImageCollection,
    begun: Instant,
) -> Result<(), String> {
    let now = Instant::now();
    let (images, used) = found(shared, host).await.map_err(|error| error.to_string())?;
    let unused = host.images.0.lock().note(&images, &used, now);
    let mut left = Vec::new();
    for record in unused {
        let old = !config.max_age.is_zero()
            && now.duration_since(begun) > config.max_age
            && now.duration_since(record.last_used) > config.max_age;
        if old {
            remove(host, &record).await?;
        } else {
            left.push(record);
        }
    }
    let summary = measure::summary(shared, host, Detail::Of(|_| false)).await;
    let summary = summary.map_err(|error| error.to_string())?;
    let fs = summary.node.runtime.and_then(|runtime| runtime.image_fs);
    let Some((capacity, available)) =
        fs.and_then(|fs| Some((fs.capacity_bytes?, fs.available_bytes?)))
    else {
        return Ok(());
    };
    if capacity == 0 {
        let message = "invalid capacity 0 on image filesystem";
        node_event(host, "InvalidDiskCapacity", message);
        return Err(message.to_owned());
    }
    let available = available.min(capacity);
    let percent = |part: u64| u128::from(part) * 100 / u128::from(capacity);
    let full = 100 - percent(available);
    if full < u128::from(config.high_percent) {
        return Ok(());
    }
    let keep = u128::from(capacity) * u128::from(100 - config.low_percent.min(100)) / 100;
    let wanted = u64::try_from(keep).unwrap_or(u64::MAX).saturating_sub(available);
    let freed = free(host, left, wanted, config.min_age, now).await?;
    if freed < wanted {
        let message = format!(
            "Insufficient free disk space on the node's image filesystem ({full}% of {} used). \
             Failed to free sufficient space by deleting unused images (freed {freed} bytes). \
             Investigate disk usage, as it could be used by active images, logs, volumes, or other \
             data.",
            size(capacity)
        );
        node_event(host, "FreeDiskSpaceFailed", &message);
        return Err(message);
    }
    Ok(())
}

/// Removes all images that no container needs, for the node lacks disk.
pub(crate) async fn remove_unused(shared: &Arc<Shared>, host: &Arc<Host>) {
    let now = Instant::now();
    let removed = async {
        let (images, used) = found(shared, host).await.map_err(|error| error.to_string())?;
        let unused = host.images.0.lock().note(&images, &used, now);
        let min_age = host
            .image_collection
            .as_ref()
            .map_or_else(|| ImageCollection::default().min_age, |config| config.min_age);
        free(host, unused, u64::MAX, min_age, now).await
    };
    if let Err(error) = removed.await {
        tracing::warn!(node = %host.name, error, "images not removed");
    }
}

/// Removes images until enough is free, and says how much that has freed.
async fn free(
    host: &Host,
    unused: Vec<Record>,
    wanted: u64,
    min_age: Duration,
    now: Instant,
) -> Result<u64, String> {
    let mut freed = 0u64;
    for record in unused {
        if freed >= wanted {
            break;
        }
        // One that was just pulled is about to be used.
        if now.duration_since(record.first_seen) >= min_age {
            remove(host, &record).await?;
            freed = freed.saturating_add(record.size);
        }
    }
    Ok(freed)
}

async fn remove(host: &Host, record: &Record) -> Result<(), String> {
    tracing::info!(node = %host.name, image = record.id, size = record.size, "removing image");
    let removed = host.runtime.runtime.remove_image(&record.id).await;
    removed.map_err(|error| error.to_string())?;
    host.images.0.lock().forget(&record.id);
    Ok(())
}

/// The images that there are, and those that are in use: by containers, or as volumes.
async fn found(
    shared: &Arc<Shared>,
    host: &Arc<Host>,
) -> pinnace_runtime::Result<(Vec<Image>, HashSet<String>)> {
    let runtime = &host.runtime.runtime;
    let images = runtime.list_images().await?;
    let pods = runtime.list_pods().await?;
    let containers = pods.iter().flat_map(|pod| &pod.containers);
    let mut used: HashSet<String> = containers.map(|one| one.image_id.clone()).collect();
    for slot in shared.slots_of(&host.runtime) {
        let Ok(pod) = slot.pod().typed::<Pod>() else { continue };
        let volumes = record::spec_of(&pod).volumes.iter().flatten();
        let references = volumes.filter_map(|volume| volume.image.as_ref()?.reference.as_deref());
        for reference in references {
            let names = |image: &&Image| {
                let named = |name: &String| {
                    name == reference
                        || name.strip_suffix(reference).is_some_and(|rest| rest.ends_with('/'))
                };
                image.tags.iter().chain(&image.digests).any(named)
            };
            used.extend(images.iter().filter(names).map(|image| image.id.clone()));
        }
    }
    Ok((images, used))
}

/// A size as upstream shows it.
fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < units.len() {
        amount /= 1024.0;
        unit += 1;
    }
    format!("{amount:.1} {}", units[unit])
}

fn node_event(host: &Host, reason: &str, message: &str) {
    let about = Node {
        metadata: ObjectMeta {
            name: Some(host.name.to_string()),
            uid: Some(host.name.to_string()),
            ..ObjectMeta::default()
        },
        ..Node::default()
    };
    host.recorder.record(&Object::new(about), EventType::Warning, reason, message);
}
