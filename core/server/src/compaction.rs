//! Old states are forgotten, so that a list that takes its time does not show the past for ever.

use std::time::Duration;

use crate::Server;

/// How often, as upstream has its etcd do.
const INTERVAL: Duration = Duration::from_secs(5 * 60);

impl Server {
    /// Has the store forget, every five minutes, the states before that of five minutes ago: lists at
    /// such a revision, and pages that follow one, are answered 410 then. Never ends.
    pub async fn compact(self) {
        let mut until = self.store().revision();
        loop {
            tokio::time::sleep(INTERVAL).await;
            self.store().compact(until);
            until = self.store().revision();
        }
    }
}
