use serde_json::Value;

use super::{ORDER_PREFIX, Object};
use crate::{ApiError, Reason};

/// Why a strategic merge patch does not apply, in upstream's words.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Problem {
    #[error("invalid patch format of primitive list")]
    PrimitiveList,
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    #[error("invalid patch format of setElementOrder list")]
    ElementOrder,
    #[error("lists of lists are not supported")]
    ListOfLists,
    #[error("list element types are not identical: {}", go(&Value::Array(.0.clone())))]
    MixedList(Vec<Value>),
    #[error("merging lists cannot yet be specified in the patch")]
    MergeList,
    #[error("cannot merge lists without merge key for {0}")]
    NoKeyDeclared(String),
    #[error("map: {} does not contain declared merge key: {key}", go_map(item))]
    NoKey { item: Object, key: String },
    #[error("unknown patch type: {} in map: {}", go(.0), go_map(.1))]
    PatchType(Value, Object),
    #[error("expected a {expected}, but received a {received}")]
    WrongType { expected: &'static str, received: &'static str },
    #[error("unable to find api field in struct {ty} for the json field {field:?}")]
    UnknownField { ty: String, field: String },
    #[error(
        "The order in patch list:\n{}\n doesn't match {ORDER_PREFIX} list:\n{}\n",
        go(&Value::Array(patch.clone())),
        go(&Value::Array(order.clone()))
    )]
    Order { patch: Vec<Value>, order: Vec<Value> },
}

const MAP: &str = "map[string]interface {}";
const LIST: &str = "[]interface {}";

impl Problem {
    pub(super) fn not_an_object(received: &Value) -> Self {
        Self::WrongType { expected: MAP, received: go_type(received) }
    }

    pub(super) fn not_a_list(received: &Value) -> Self {
        Self::WrongType { expected: LIST, received: go_type(received) }
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        let reason = match problem {
            Problem::PrimitiveList | Problem::RetainKeys | Problem::ElementOrder => {
                Reason::BadRequest
            }
            // Upstream answers most of these with 500, as if it were at fault.
            _ => Reason::Invalid,
        };
        Self::new(reason, problem.to_string())
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => LIST,
        Value::Object(_) => MAP,
    }
}

/// A value as Go prints it.
fn go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(go).collect::<Vec<_>>().join(" "))
        }
        Value::Object(object) => go_map(object),
        other => other.to_string(),
    }
}

fn go_map(object: &Object) -> String {
    let mut fields: Vec<_> =
        object.iter().map(|(name, value)| format!("{name}:{}", go(value))).collect();
    fields.sort_unstable();
    format!("map[{}]", fields.join(" "))
}
