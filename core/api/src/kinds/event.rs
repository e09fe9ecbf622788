use std::borrow::Cow;

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::check::{IMMUTABLE, Json, complain, text};
use super::names::rules;
use crate::Strategy;
use crate::field::{ErrorList, Path};

/// Most bytes of reason, action and reporting instance.
const WORD_MAX: usize = 128;
/// Most bytes of the message.
const MESSAGE_MAX: usize = 1024;

/// Events, as the core group has them.
pub(super) struct EventStrategy;

/// The same, as `events.k8s.io` has them: with `eventTime`, and settled once they are told.
pub(super) struct StrictEventStrategy;

/// The fields that selectors of events may name.
pub(super) const FIELDS: &[&str] = &[
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
];

impl Strategy for EventStrategy {
    type Kind = Event;

    fn validate(&self, event: &Event, errors: &mut ErrorList) {
        validate(event, "reportingComponent", errors);
    }

    /// Events are named after whatever they are about, so all that can stand in a path will do.
    fn validate_name(&self, name: &str) -> Result<(), String> {
        match name {
            "." | ".." => Err(format!("may not be '{name}'")),
            _ => match name.chars().find(|one| matches!(one, '/' | '%')) {
                Some(one) => Err(format!("may not contain '{one}'")),
                None => Ok(()),
            },
        }
    }

    fn field<'a>(&self, event: &'a Event, path: &str) -> Option<Cow<'a, str>> {
        let about = &event.involved_object;
        let source = event.source.as_ref().and_then(|source| source.component.as_deref());
        let text = match path {
            "involvedObject.kind" => about.kind.as_deref(),
            "involvedObject.namespace" => about.namespace.as_deref(),
            "involvedObject.name" => about.name.as_deref(),
            "involvedObject.uid" => about.uid.as_deref(),
            "involvedObject.apiVersion" => about.api_version.as_deref(),
            "involvedObject.resourceVersion" => about.resource_version.as_deref(),
            "involvedObject.fieldPath" => about.field_path.as_deref(),
            "reason" => event.reason.as_deref(),
            "reportingComponent" => event.reporting_component.as_deref(),
            "source" => source
                .filter(|component| !component.is_empty())
                .or(event.reporting_component.as_deref()),
            "type" => event.type_.as_deref(),
            _ => return None,
        };
        Some(Cow::Borrowed(text.unwrap_or_default()))
    }
}

impl Strategy for StrictEventStrategy {
    type Kind = Event;

    fn validate(&self, event: &Event, errors: &mut ErrorList) {
        validate(event, "reportingController", errors);
        validate_series(event, errors);
        if event.event_time.is_none() {
            errors.required(&Path::root("eventTime"), "");
        }
        let kind = text(&event.type_);
        if !matches!(kind, "Normal" | "Warning") {
            errors.invalid(&Path::root("type"), "", &format!("has invalid value: {kind}"));
        }
        let source = event.source.as_ref();
        let source = source.map(|source| [text(&source.component), text(&source.host)]);
        for (field, is_set) in [
            ("firstTimestamp", event.first_timestamp.is_some()),
            ("lastTimestamp", event.last_timestamp.is_some()),
            ("count", event.count.unwrap_or(0) != 0),
            ("source", source.is_some_and(|source| source != ["", ""])),
        ] {
            if is_set {
                errors.invalid(&Path::root(field), "", "needs to be unset");
            }
        }
    }

    fn validate_update(&self, new: &Event, old: &Event, errors: &mut ErrorList) {
        validate(new, "reportingController", errors);
        if new.series != old.series {
            validate_series(new, errors);
        }
        let micros = |time: &Option<MicroTime>| time.as_ref().map(|time| time.0.as_microsecond());
        if micros(&new.event_time) != micros(&old.event_time) {
            errors.invalid(&Path::root("eventTime"), Json(&new.event_time), IMMUTABLE);
        }
        macro_rules! settled {
            ($($name:literal $field:ident),* $(,)?) => {
                $(if new.$field != old.$field {
                    errors.invalid(&Path::root($name), Json(&new.$field), IMMUTABLE);
                })*
            };
        }
        settled!(
            "involvedObject" involved_object,
            "reason" reason,
            "message" message,
            "source" source,
            "firstTimestamp" first_timestamp,
            "lastTimestamp" last_timestamp,
            "count" count,
            "type" type_,
            "action" action,
            "related" related,
            "reportingController" reporting_component,
            "reportingInstance" reporting_instance,
        );
    }

    fn field<'a>(&self, event: &'a Event, path: &str) -> Option<Cow<'a, str>> {
        EventStrategy.field(event, path)
    }
}

/// What holds of events in both groups; they name the controller differently.
fn validate(event: &Event, controller: &str, errors: &mut ErrorList) {
    let namespace = text(&event.metadata.namespace);
    match event.event_time {
        None => validate_old(event, namespace, errors),
        Some(_) => validate_new(event, namespace, controller, errors),
    }
    let path = Path::root("namespace");
    complain(errors, &path, namespace, rules::dns_subdomain(namespace));
}

fn validate_series(event: &Event, errors: &mut ErrorList) {
    let Some(series) = &event.series else { return };
    let path = Path::root("series");
    if series.count.unwrap_or(0) < 2 {
        errors.invalid(&path.child("count"), "", "should be at least 2");
    }
    if series.last_observed_time.is_none() {
        errors.required(&path.child("lastObservedTime"), "");
    }
}

const NOT_HERE: &str = "does not match event.namespace";

/// An event as it has always been: it is where its object is, or in the default namespace.
fn validate_old(event: &Event, namespace: &str, errors: &mut ErrorList) {
    let about = text(&event.involved_object.namespace);
    let fits =
        if about.is_empty() { matches!(namespace, "" | "default") } else { namespace == about };
    if !fits {
        let path = Path::root("involvedObject");
        errors.invalid(&path.child("namespace"), about, NOT_HERE);
    }
}

/// An event with `eventTime`, which must say who saw what.
fn validate_new(event: &Event, namespace: &str, controller: &str, errors: &mut ErrorList) {
    let about = text(&event.involved_object.namespace);
    if about.is_empty() && !matches!(namespace, "default" | "kube-system") {
        let path = Path::root("involvedObject");
        errors.invalid(&path.child("namespace"), about, NOT_HERE);
    }
    let path = Path::root(controller);
    let controller = text(&event.reporting_component);
    if controller.is_empty() {
        errors.required(&path, "");
    }
    complain(errors, &path, controller, rules::qualified_name(controller));
    let words = [
        ("reportingInstance", text(&event.reporting_instance), WORD_MAX, true),
        ("action", text(&event.action), WORD_MAX, true),
        ("reason", text(&event.reason), WORD_MAX, true),
        ("message", text(&event.message), MESSAGE_MAX, false),
    ];
    for (field, value, max, required) in words {
        let path = Path::root(field);
        if required && value.is_empty() {
            errors.required(&path, "");
        }
        if value.len() > max {
            errors.invalid(&path, "", &format!("can have at most {max} characters"));
        }
    }
}
