use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Shared, device::kernel, gate::Pass, ports, start_thread};
use crate::{Error, netlink::RouteSocket};

/// Cables that wait to be removed. While the kernel is busy with some, others gather, and go
/// together next.
pub(crate) struct Removals {
    /// A socket apart, so that removing, which is slow, doesn't keep attaching waiting.
    socket: Mutex<RouteSocket>,
    waiting: Mutex<Waiting>,
}

/// Holds a pod at most once, as each has a pass.
#[derive(Default)]
struct Waiting {
    removals: Vec<Removal>,
    at_work: bool,
}

/// A pod that is to be detached.
struct Removal {
    pod_uid: String,
    cable: String,
    pass: Pass,
    done: oneshot::Sender<Result<(), Error>>,
}

impl Removals {
    pub(crate) fn new(socket: RouteSocket) -> Self {
        Self { socket: Mutex::new(socket), waiting: Mutex::default() }
    }

    /// Removes these cables at once, on this thread.
    pub(crate) fn remove_now(&self, shared: &Shared, cables: &[String]) -> Result<(), Error> {
        let socket = &mut *self.socket.lock();
        ports::remove_all(socket, &shared.bridge, cables);
        cables.iter().try_for_each(|cable| {
            ports::ensure_removed(socket, cable).map_err(kernel("remove", cable))
        })
    }
}

/// Detaches a pod and says when it is done.
pub(crate) fn enqueue(
    shared: &Arc<Shared>,
    pod_uid: &str,
    pass: Pass,
) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
    let (done, answer) = oneshot::channel();
    let cable = ports::cable_name(&shared.bridge, pod_uid);
    let removal = Removal { pod_uid: pod_uid.to_owned(), cable, pass, done };
    let mut waiting = shared.removals.waiting.lock();
    if !waiting.at_work {
        let shared = shared.clone();
        start_thread(move || work(&shared))?;
        waiting.at_work = true;
    }
    waiting.removals.push(removal);
    Ok(answer)
}

fn work(shared: &Shared) {
    let _reset = ResetOnPanic(&shared.removals);
    loop {
        let batch = {
            let mut waiting = shared.removals.waiting.lock();
            if waiting.removals.is_empty() {
                waiting.at_work = false;
                return;
            }
            std::mem::take(&mut waiting.removals)
        };
        remove(shared, batch);
    }
}

fn remove(shared: &Shared, batch: Vec<Removal>) {
    let socket = &mut *shared.removals.socket.lock();
    let cables: Vec<_> = batch.iter().map(|removal| removal.cable.clone()).collect();
    ports::remove_all(socket, &shared.bridge, &cables);
    for Removal { pod_uid, cable, pass, done } in batch {
        let removed = ports::ensure_removed(socket, &cable).map_err(kernel("remove", &cable));
        if removed.is_ok() {
            shared.forget(&pod_uid);
        }
        drop(pass);
        // Nobody may be waiting any more; the pod is detached all the same.
        let _ = done.send(removed);
    }
}

/// A thread that ends by a defect must not leave later removals waiting for it.
struct ResetOnPanic<'a>(&'a Removals);

impl Drop for ResetOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let stranded = std::mem::take(&mut *self.0.waiting.lock());
            drop(stranded);
        }
    }
}
