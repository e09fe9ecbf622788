//! Defaulting and validation of the built-in kinds, a file each.

pub mod names;
mod config_map;

use crate::Resource;

/// Every built-in kind, in the order in which discovery shows them.
pub fn all() -> Vec<Resource> {
    vec![
        Resource::builtin("configmap", config_map::ConfigMapStrategy).short(&["cm"]),
    ]
}
