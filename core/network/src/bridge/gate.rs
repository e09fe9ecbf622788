use std::{collections::HashSet, pin::pin, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Lets one operation per pod through at a time.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    busy: Mutex<HashSet<String>>,
    left: Notify,
}

/// The right to work on a pod, which moves with the work and ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Pass {
    gate: Arc<Gate>,
    pod_uid: String,
}

impl Gate {
    pub(crate) async fn enter(self: &Arc<Self>, pod_uid: &str) -> Pass {
        self.wait_until(|busy| busy.insert(pod_uid.to_owned())).await;
        Pass { gate: self.clone(), pod_uid: pod_uid.to_owned() }
    }

    /// Waits until no pod is being worked on.
    pub(crate) async fn idle(&self) {
        self.wait_until(|busy| busy.is_empty()).await;
    }

    async fn wait_until(&self, mut condition: impl FnMut(&mut HashSet<String>) -> bool) {
        loop {
            let mut left = pin!(self.left.notified());
            left.as_mut().enable();
            if condition(&mut self.busy.lock()) {
                return;
            }
            left.await;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.busy.lock().remove(&self.pod_uid);
        self.gate.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_pod_waits_and_another_does_not() {
        let gate = Arc::new(Gate::default());
        let first = gate.enter("a").await;
        let _other = gate.enter("b").await;
        let mut second = pin!(gate.enter("a"));
        let soon = Duration::from_secs(1);
        assert!(tokio::time::timeout(soon, second.as_mut()).await.is_err());
        drop(first);
        assert!(tokio::time::timeout(soon, second).await.is_ok());
    }
}
