//! Kernel objects that Tokio waits for.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Lets Tokio watch a descriptor that becomes readable: an inotify instance, a pidfd.
#[expect(unsafe_code, reason = "registering a descriptor with Tokio is unsafe")]
pub(crate) fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor moves into the AsyncFd and is neither replaced nor closed before it.
    unsafe { AsyncFd::register(descriptor) }.map_err(Into::into)
}
