//! What all kinds with a pod template share: defaults and validation of a `PodSpec`, split by
//! concern.

pub(super) mod defaults;
mod volume_defaults;
