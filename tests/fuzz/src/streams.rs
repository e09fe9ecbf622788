//! Protocols of streams that are read here and not by a library.

use tokio::runtime::Builder;

/// What a client says in SPDY: the connection ends, in whatever way, and nothing waits for ever.
pub(crate) fn spdy(data: &[u8]) {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(pinnace_http::fuzzing::speak_spdy(data));
}
