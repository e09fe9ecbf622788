//! Who may ask how much of the API at once.

mod flow_schema;
mod priority_level;

pub(super) use flow_schema::FlowSchemaStrategy;
pub(super) use priority_level::PriorityLevelConfigurationStrategy;
