use std::borrow::Cow;

use k8s_openapi::api::core::v1::Event;

use crate::Strategy;

/// Events.
pub(super) struct EventStrategy;

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
