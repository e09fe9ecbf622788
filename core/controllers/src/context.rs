use pinnace_client::{Client, Informers, Recorder};
use pinnace_env::Env;

/// What every controller is made from.
#[derive(Clone, Debug)]
pub struct Context {
    /// Caches, shared by all.
    pub informers: Informers,
    /// Where Events go.
    pub recorder: Recorder,
    /// Time and chance.
    pub env: Env,
}

impl Context {
    /// The client to write through.
    pub fn client(&self) -> &Client {
        self.informers.client()
    }
}
