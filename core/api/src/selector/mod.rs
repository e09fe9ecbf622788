//! Label selectors (`app=web,tier in (a,b),!x`) and field selectors
//! (`metadata.name=x,spec.nodeName!=y`): grammar, messages and canonical form as upstream's.

mod field;
mod label;
mod label_text;
mod node;
mod parse;

pub use field::{FieldRequirement, FieldSelector};
pub use label::{Operator, Requirement, Selector};
pub use node::NodeTerm;
