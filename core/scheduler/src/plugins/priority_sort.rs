use crate::framework::{Events, Plugin, QueueSort};
use crate::queue::QueuedPod;

/// Tries pods of higher priority first, and of the same priority those that wait longer.
#[derive(Clone, Copy, Debug)]
pub struct PrioritySort;

impl PrioritySort {
    /// The plugin's name.
    pub const NAME: &'static str = "PrioritySort";
}

impl Plugin for PrioritySort {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn events(&self) -> Events {
        Events::NONE
    }

    fn as_queue_sort(&self) -> Option<&dyn QueueSort> {
        Some(self)
    }
}

impl QueueSort for PrioritySort {
    fn less(&self, first: &QueuedPod, second: &QueuedPod) -> bool {
        let (one, other) = (first.pod().priority(), second.pod().priority());
        one > other || (one == other && first.since() < second.since())
    }
}
