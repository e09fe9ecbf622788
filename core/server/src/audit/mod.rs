//! Notes who has done what: requests over HTTP and calls within the process alike, by a policy, to
//! a file or to whatever the host wants.
//!
//! See <https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/>.

mod event;
mod file;
mod policy;
mod request;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

pub use event::{AuditEvent, AuditReference, AuthenticationMetadata};
pub use file::AuditFile;
pub use policy::{
    AuditAttributes, AuditLevel, AuditPolicy, AuditPolicyError, AuditRule, AuditStage,
    GroupResources,
};
pub use request::{AuditOrigin, AuditedRequest};

use crate::{Server, User};

/// Events that wait to be written; what comes when so many wait is counted and lost, for a disk
/// that is full or slow must not stop the API.
const QUEUED_EVENTS: usize = 10_000;
/// How long what has been written may wait to be flushed while nothing comes.
const FLUSH_AFTER: Duration = Duration::from_millis(200);

/// Where events go. One thread calls it, which may block.
pub trait AuditSink: Send + Sync + 'static {
    /// Takes an event.
    ///
    /// # Errors
    /// It is reported, and the event is counted as lost.
    fn write(&self, event: &AuditEvent) -> io::Result<()>;

    /// Called when nothing more is there at the moment.
    ///
    /// # Errors
    /// It is reported.
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Notes requests. Cheap to clone; clones share.
#[derive(Clone)]
pub struct Auditor(Arc<Inner>);

struct Inner {
    policy: AuditPolicy,
    queue: Mutex<Option<SyncSender<AuditEvent>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    lost: Arc<AtomicU64>,
}

impl Auditor {
    /// Notes what a policy says.
    ///
    /// # Errors
    /// When there can be no thread that writes.
    pub fn new(policy: AuditPolicy, sink: Arc<dyn AuditSink>) -> io::Result<Self> {
        let (queue, events) = sync_channel(QUEUED_EVENTS);
        let lost = Arc::new(AtomicU64::new(0));
        let count = lost.clone();
        let writer = std::thread::Builder::new()
            .name("pinnace-audit".to_owned())
            .spawn(move || write(&events, &*sink, &count))?;
        let (queue, writer) = (Mutex::new(Some(queue)), Mutex::new(Some(writer)));
        Ok(Self(Arc::new(Inner { policy, queue, writer, lost })))
    }

    /// How many events could not be written.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Waits until everything is written; what comes later is lost.
    pub fn close(&self) {
        drop(self.0.queue.lock().take());
        let writer = self.0.writer.lock().take();
        if let Some(Err(_)) = writer.map(JoinHandle::join) {
            tracing::error!("the writer of audit events has panicked");
        }
    }

    fn policy(&self) -> &AuditPolicy {
        &self.0.policy
    }

    fn note(&self, event: AuditEvent) {
        let sent = match &*self.0.queue.lock() {
            Some(queue) => queue.try_send(event),
            None => Err(TrySendError::Disconnected(event)),
        };
        if sent.is_err() && self.0.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!("an audit event is lost: too many wait, or nobody writes any more");
        }
    }
}

fn write(events: &Receiver<AuditEvent>, sink: &dyn AuditSink, lost: &AtomicU64) {
    let mut flushed = true;
    let report = |result: io::Result<()>| {
        if let Err(error) = result {
            lost.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "audit events cannot be written");
        }
    };
    loop {
        match events.recv_timeout(FLUSH_AFTER) {
            Ok(event) => {
                report(sink.write(&event));
                flushed = false;
            }
            Err(RecvTimeoutError::Timeout) if flushed => {
                // Nothing to flush, so nothing to wake for.
                let Ok(event) = events.recv() else { break };
                report(sink.write(&event));
                flushed = false;
            }
            Err(RecvTimeoutError::Timeout) => {
                report(sink.flush());
                flushed = true;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    report(sink.flush());
}

impl fmt::Debug for Auditor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auditor")
    }
}

impl Server {
    /// Begins to note a request of a caller who is known, or of one who is not; `None` where it is
    /// not to be noted. Whoever begins it must see to its end.
    pub fn audit(
        &self,
        user: Option<&User>,
        asked: &AuditAttributes<'_>,
        origin: impl FnOnce() -> AuditOrigin,
    ) -> Option<Arc<AuditedRequest>> {
        let auditor = self.auditor()?;
        AuditedRequest::begin(auditor, self.env(), user, asked, origin())
    }
}
