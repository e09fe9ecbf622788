//! Drivers that want it are told again and again that a volume is to be published, with tokens that
//! are good still: `requiresRepublish`.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use pinnace_client::EventType;
use tokio::time::Instant;

use super::in_use::Of;
use super::publish::{self, Order};
use super::{RETRY_FIRST, RETRY_MAX, text};
use crate::agent::Shared;
use crate::volumes::MountError;

/// How often: upstream looks at a pod anew after a minute, and up to half as long again.
const EVERY: Duration = Duration::from_secs(60);
const SPREAD: f64 = 0.5;

/// When a volume that is mounted now is due.
pub(super) fn next(shared: &Shared) -> Instant {
    Instant::now() + shared.env.random().jitter(EVERY, SPREAD)
}

/// Tells drivers, as long as it is polled.
pub(crate) async fn run(shared: &Arc<Shared>) {
    loop {
        shared.csi.in_use.until_due().await;
        for of in shared.csi.in_use.take_due(|| next(shared)) {
            let (stop, work) = (shared.stop.clone(), republish(shared.clone(), of));
            // A driver that does not answer keeps no other waiting.
            shared.tasks.spawn(stop.run_until_cancelled_owned(work));
        }
    }
}

async fn republish(shared: Arc<Shared>, of: Of) {
    let mut delay = RETRY_FIRST;
    while let Err(why) = try_republish(&shared, &of).await {
        if let Some(slot) = shared.slot(&of.0) {
            let error = MountError::new(&of.1, why);
            let recorder = &slot.host.recorder;
            recorder.record(&slot.pod(), EventType::Warning, error.reason, error.message);
        }
        if delay >= EVERY {
            // It is due again by itself.
            return;
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(RETRY_MAX);
    }
}

async fn try_republish(shared: &Arc<Shared>, of: &Of) -> Result<(), String> {
    let Some((published, mounted)) = shared.csi.in_use.get(of) else { return Ok(()) };
    let driver = publish::driver_spec(shared, &published.driver_name).await?;
    let (Some(root), Some(slot)) = (shared.machine.state(), shared.slot(&of.0)) else {
        return Ok(());
    };
    let lock = shared.csi.lock(&published.target_path);
    let Ok(_held) = lock.try_lock() else {
        // It is being worked at already, by a driver that hangs perhaps.
        return Ok(());
    };
    let object = slot.pod();
    let is_there = shared.csi.in_use.get(of).is_some() && !object.is_deleting();
    if driver.requires_republish != Some(true) || !is_there {
        return Ok(());
    }
    let pod = object.get::<Pod>().map_err(text)?;
    let mut order = Order::make(shared, root, pod, &mounted.claimed).await?;
    order.find_attachment(&slot.host.name).await?;
    order.publish(mounted.tokens).await?;
    order.note_mounted();
    Ok(())
}
