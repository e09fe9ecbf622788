//! The scheduler: a framework of plugins that picks a node for each pod.
