//! Events as `events.k8s.io/v1` shows them. They are stored as those of the core group, and every
//! field of one has its place in the other.

use jiff::Timestamp;
use k8s_openapi::api::{core::v1 as core, events::v1 as events};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use crate::{Conversion, Result};

/// What a field selector may name.
pub(super) const FIELDS: &[&str] = &[
    "regarding.kind",
    "regarding.namespace",
    "regarding.name",
    "regarding.uid",
    "regarding.apiVersion",
    "regarding.resourceVersion",
    "regarding.fieldPath",
    "reason",
    "reportingController",
    "type",
];

/// Between `events.k8s.io/v1` and the core group.
pub(super) struct Events;

impl Conversion for Events {
    type Served = events::Event;
    type Stored = core::Event;

    fn to_stored(&self, served: events::Event) -> Result<core::Event> {
        Ok(core::Event {
            action: served.action,
            count: served.deprecated_count,
            event_time: served.event_time,
            first_timestamp: served.deprecated_first_timestamp,
            involved_object: served.regarding.unwrap_or_default(),
            last_timestamp: served.deprecated_last_timestamp,
            message: served.note,
            metadata: served.metadata,
            reason: served.reason,
            related: served.related,
            reporting_component: served.reporting_controller,
            reporting_instance: served.reporting_instance,
            series: served.series.map(|series| core::EventSeries {
                count: Some(series.count),
                last_observed_time: Some(series.last_observed_time)
                    .filter(|time| time.0 != Timestamp::UNIX_EPOCH),
            }),
            source: served.deprecated_source,
            type_: served.type_,
        })
    }

    fn to_served(&self, stored: &core::Event) -> Result<events::Event> {
        let stored = stored.clone();
        let regarding = stored.involved_object;
        Ok(events::Event {
            action: stored.action,
            deprecated_count: stored.count,
            deprecated_first_timestamp: stored.first_timestamp,
            deprecated_last_timestamp: stored.last_timestamp,
            deprecated_source: stored.source,
            event_time: stored.event_time,
            metadata: stored.metadata,
            note: stored.message,
            reason: stored.reason,
            regarding: Some(regarding).filter(|regarding| *regarding != Default::default()),
            related: stored.related,
            reporting_controller: stored.reporting_component,
            reporting_instance: stored.reporting_instance,
            series: stored.series.map(|series| events::EventSeries {
                count: series.count.unwrap_or(0),
                // The beginning of time stands for none, which this form has no way to say.
                last_observed_time: series
                    .last_observed_time
                    .unwrap_or(MicroTime(Timestamp::UNIX_EPOCH)),
            }),
            type_: stored.type_,
        })
    }

    fn stored_field<'a>(&self, field: &'a str) -> &'a str {
        match field {
            "regarding.kind" => "involvedObject.kind",
            "regarding.namespace" => "involvedObject.namespace",
            "regarding.name" => "involvedObject.name",
            "regarding.uid" => "involvedObject.uid",
            "regarding.apiVersion" => "involvedObject.apiVersion",
            "regarding.resourceVersion" => "involvedObject.resourceVersion",
            "regarding.fieldPath" => "involvedObject.fieldPath",
            "reportingController" => "reportingComponent",
            other => other,
        }
    }
}
