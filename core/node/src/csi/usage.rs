//! How full the volumes of drivers are, and how they are otherwise. Drivers are asked when somebody
//! wants to know, at most once a minute per volume, and nobody waits long for one that hangs.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jiff::Timestamp;
use parking_lot::Mutex;
use pinnace_client::EventType;
use pinnace_client::summary::{FsUse, VolumeHealth};
use tokio::time::Instant;

use super::in_use::Of;
use super::protocol::{
    self, BYTES, CALL_TIMEOUT, GET_VOLUME_STATS, INODES, Stats, StatsRequest, VOLUME_CONDITION,
};
use super::state::Published;
use crate::agent::Shared;

/// How long an answer is good, as upstream measures volumes.
const FRESH: Duration = Duration::from_secs(60);
/// How long one who wants to know waits for all drivers; what comes later is for the next.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many questions about volumes one driver is asked at once.
pub(super) const QUESTIONS_AT_ONCE: usize = 8;

/// What drivers have said.
#[derive(Default)]
pub(super) struct Known(Mutex<HashMap<Of, Answer>>);

#[derive(Default)]
struct Answer {
    /// When the driver was asked last.
    asked: Option<Instant>,
    is_asked: bool,
    usage: Option<Usage>,
}

/// How full a volume is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) fs: FsUse,
    pub(crate) health: Option<VolumeHealth>,
}

impl Known {
    /// Those of the volumes that are to be asked about; others are forgotten.
    fn begin(&self, volumes: Vec<(Of, Published)>) -> Vec<(Of, Published)> {
        let now = Instant::now();
        let mut known = self.0.lock();
        known.retain(|of, _| volumes.iter().any(|(one, _)| one == of));
        let mut due = volumes;
        due.retain(|(of, _)| {
            let answer = known.entry(of.clone()).or_default();
            let is_due =
                !answer.is_asked && answer.asked.is_none_or(|at| now.duration_since(at) >= FRESH);
            if is_due {
                (answer.asked, answer.is_asked) = (Some(now), true);
            }
            is_due
        });
        due
    }

    fn end(&self, of: &Of, usage: Option<Usage>) {
        if let Some(answer) = self.0.lock().get_mut(of) {
            (answer.is_asked, answer.usage) = (false, usage);
        }
    }
}

/// How full the volumes are that drivers have mounted, by the uid of the pod and what it calls them.
pub(crate) async fn of_all(shared: &Arc<Shared>) -> HashMap<(String, String), Usage> {
    let volumes = shared.csi.in_use.all_mounted();
    if volumes.is_empty() {
        return HashMap::new();
    }
    let questions = shared.csi.usage.begin(volumes.clone()).into_iter().map(|(of, published)| {
        let work = measure(shared.clone(), of, published);
        shared.tasks.spawn(shared.stop.clone().run_until_cancelled_owned(work))
    });
    let questions: Vec<_> = questions.collect();
    if tokio::time::timeout(PATIENCE, join_all(questions)).await.is_err() {
        tracing::debug!("a CSI driver takes long to say how full a volume is");
    }
    let known = shared.csi.usage.0.lock();
    let usage = |(of, published): (Of, Published)| {
        let usage = known.get(&of)?.usage?;
        Some(((of.0, published.volume), usage))
    };
    volumes.into_iter().filter_map(usage).collect()
}

async fn measure(shared: Arc<Shared>, of: Of, published: Published) {
    let usage = match ask(&shared, &of, &published).await {
        Ok(usage) => usage,
        Err(error) => {
            tracing::debug!(volume = of.1, error, "volume not measured");
            None
        }
    };
    shared.csi.usage.end(&of, usage);
}

/// Asks the driver; nothing when it cannot say.
async fn ask(
    shared: &Arc<Shared>,
    of: &Of,
    published: &Published,
) -> Result<Option<Usage>, String> {
    let driver = shared.csi.driver(&published.driver_name)?;
    let capabilities = driver.capabilities().await?;
    if !capabilities.have(GET_VOLUME_STATS) {
        return Ok(None);
    }
    let Ok(_question) = driver.questions.acquire().await else { return Ok(None) };
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let request = StatsRequest {
        volume_id: published.volume_handle.clone(),
        volume_path: path(&published.target_path),
        staging_target_path: path(&published.staging_path),
    };
    let method = "/csi.v1.Node/NodeGetVolumeStats";
    let stats: Stats = protocol::call(&driver.endpoint, method, request, CALL_TIMEOUT).await?;
    let tells_condition = capabilities.have(VOLUME_CONDITION);
    if stats.usage.is_empty() && !tells_condition {
        return Err("failed to get usage from response. usage is nil".to_owned());
    }
    let condition = stats.condition.clone().unwrap_or_default();
    if tells_condition
        && condition.abnormal
        && let Some(slot) = shared.slot(&of.0)
    {
        let message = format!("Volume {}: {}", published.volume, condition.message);
        let (kind, reason) = (EventType::Warning, "VolumeConditionAbnormal");
        slot.host.recorder.record(&slot.pod(), kind, reason, message);
    }
    Ok(Some(Usage {
        fs: figures(&stats, shared.env.now()),
        health: tells_condition.then_some(VolumeHealth { abnormal: condition.abnormal }),
    }))
}

/// What a driver does not say is 0, as upstream.
fn figures(stats: &Stats, now: Timestamp) -> FsUse {
    let of = |unit: i32| {
        let found = stats.usage.iter().rev().find(|usage| usage.unit == unit);
        let whole = |of: fn(&protocol::Usage) -> i64| {
            Some(found.and_then(|usage| u64::try_from(of(usage)).ok()).unwrap_or(0))
        };
        (whole(|usage| usage.available), whole(|usage| usage.total), whole(|usage| usage.used))
    };
    let (available_bytes, capacity_bytes, used_bytes) = of(BYTES);
    let (inodes_free, inodes, inodes_used) = of(INODES);
    FsUse {
        time: now,
        available_bytes,
        capacity_bytes,
        used_bytes,
        inodes_free,
        inodes,
        inodes_used,
    }
}
