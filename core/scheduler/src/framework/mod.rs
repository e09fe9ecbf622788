//! What plugins are and how they are put together.

mod batch;
mod event;
mod guard;
mod handle;
mod obstacle;
mod plugin;
mod profile;
mod refusal;
mod registry;
mod state;

pub use batch::{BatchNodes, BatchPlugin, batched, batched_within};
pub use event::{ClusterEvent, Events, Hint};
pub(crate) use event::{node_changes, pod_changes};
pub use guard::MAX_BINDING_TIME;
pub use handle::Handle;
pub(crate) use handle::Waited;
pub use obstacle::Obstacle;
pub use plugin::{
    Bind, Bound, Candidate, Concern, Cycle, Filter, MAX_PERMIT_WAIT, MAX_SCORE, Nomination,
    Normalization, Permit, Permitted, Plugin, PostBind, PostFilter, PostFiltered, PreBind,
    PreEnqueue, PreFilter, PreFiltered, Prepared, QueueSort, Reserve, Scope, Score, Verdict,
};
pub(crate) use profile::Fresh;
pub use profile::{MAX_PLUGINS, PluginIndex, PluginSet, Profile};
pub use refusal::{Answer, Reasons, Refusal};
pub use registry::{PluginFactory, Registry};
pub use state::CycleState;
