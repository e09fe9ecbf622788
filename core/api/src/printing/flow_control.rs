//! Flows of requests and their priorities.

use jiff::Timestamp;
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use serde_json::Value;

use super::age::age;
use super::text::NONE;
use super::typed::{Entry, TypedPrinter};
use super::{AGE, Column, NAME, cells};

const FLOW_SCHEMA: &[Column] = &[
    NAME,
    Column::text("PriorityLevel", "Priority level of the requests that match"),
    Column::text("MatchingPrecedence", "Which schema is tried first; lower comes first"),
    Column::text("DistinguisherMethod", "How the requests are told apart into flows"),
    AGE,
    Column::text("MissingPL", "Whether the priority level does not exist"),
];

const PRIORITY_LEVEL: &[Column] = &[
    NAME,
    Column::text("Type", "Whether the requests of the level are limited"),
    Column::text("NominalConcurrencyShares", "Share of the server that the level gets"),
    Column::text("Queues", "How many queues the level has"),
    Column::text("HandSize", "Queues that each flow may be put into"),
    Column::text("QueueLengthLimit", "Most requests that wait in a queue"),
    AGE,
];

pub(super) fn printers() -> Vec<Entry> {
    vec![
        Entry::of(TypedPrinter {
            columns: FLOW_SCHEMA,
            cells: flow_schema,
            completed: |_| None,
            order: Some(|a, b| order(a).cmp(&order(b))),
        }),
        Entry::new(PRIORITY_LEVEL, priority_level),
    ]
}

fn order(schema: &FlowSchema) -> (i32, Option<&str>) {
    (precedence(schema), schema.metadata.name.as_deref())
}

fn precedence(schema: &FlowSchema) -> i32 {
    schema.spec.as_ref().and_then(|spec| spec.matching_precedence).unwrap_or(0)
}

fn flow_schema(schema: &FlowSchema, now: Timestamp) -> Vec<Value> {
    let spec = schema.spec.as_ref();
    let method = spec.and_then(|spec| spec.distinguisher_method.as_ref());
    let conditions = schema.status.as_ref().and_then(|status| status.conditions.as_ref());
    let dangling =
        conditions.into_iter().flatten().find(|one| one.type_.as_deref() == Some("Dangling"));
    cells![
        schema.metadata.name.as_deref(),
        spec.map_or("", |spec| &spec.priority_level_configuration.name),
        precedence(schema),
        method.map_or(NONE, |method| &method.type_),
        age(&schema.metadata, now),
        dangling.map_or("?", |one| one.status.as_deref().unwrap_or_default()),
    ]
}

fn priority_level(level: &PriorityLevelConfiguration, now: Timestamp) -> Vec<Value> {
    let spec = level.spec.as_ref();
    let limited = spec.and_then(|spec| spec.limited.as_ref());
    let response = limited.and_then(|limited| limited.limit_response.as_ref());
    let queuing = response.and_then(|response| response.queuing.as_ref());
    let or_none = |is_there: bool, number: Option<i32>| match is_there {
        true => Value::from(number.unwrap_or(0)),
        false => Value::from(NONE),
    };
    cells![
        level.metadata.name.as_deref(),
        spec.map_or("", |spec| &spec.type_),
        or_none(limited.is_some(), limited.and_then(|one| one.nominal_concurrency_shares)),
        or_none(queuing.is_some(), queuing.and_then(|queuing| queuing.queues)),
        or_none(queuing.is_some(), queuing.and_then(|queuing| queuing.hand_size)),
        or_none(queuing.is_some(), queuing.and_then(|queuing| queuing.queue_length_limit)),
        age(&level.metadata, now),
    ]
}
