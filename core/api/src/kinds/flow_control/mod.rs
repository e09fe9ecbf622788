//! Who may ask how much of the API at once.

mod flow_schema;
mod priority_level;

pub(super) use flow_schema::FlowSchemaStrategy;
pub(super) use priority_level::PriorityLevelConfigurationStrategy;

use crate::field::{ErrorList, Path};

/// Checks the types of conditions: each is there, once.
fn validate_conditions<'a>(types: impl Iterator<Item = &'a str>, errors: &mut ErrorList) {
    let status = Path::root("status");
    let path = status.child("conditions");
    let mut seen: Vec<&str> = Vec::new();
    for (index, kind) in types.enumerate() {
        let at = path.index(index);
        if seen.contains(&kind) {
            errors.duplicate(&at.child("type"), kind);
        }
        if kind.is_empty() {
            errors.required(&at.child("type"), "must not be empty");
        }
        seen.push(kind);
    }
}
