//! Events of both groups: they are the same objects under different names of fields.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{self, EventSource, ObjectReference};
use k8s_openapi::api::events::v1 as events;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use serde_json::Value;

use super::age::{micro_since, since};
use super::typed::Entry;
use super::{Column, NAME, cells};

const EVENT: &[Column] = &[
    Column::text("Last Seen", "Time since it last happened"),
    Column::text("Type", "Whether it is normal or a warning"),
    Column::text("Reason", "Why it happened, in a word"),
    Column::text("Object", "What it happened to"),
    Column::text("Subobject", "Part of the object that it happened to").wide(),
    Column::text("Source", "Who tells of it").wide(),
    Column::text("Message", "What happened"),
    Column::text("First Seen", "Time since it first happened").wide(),
    Column::text("Count", "How often it happened").wide(),
    NAME.wide(),
];

pub(super) fn printers() -> Vec<Entry> {
    vec![Entry::new(EVENT, core_event), Entry::new(EVENT, event)]
}

fn core_event(event: &v1::Event, now: Timestamp) -> Vec<Value> {
    let series = event.series.as_ref();
    Happening {
        meta: &event.metadata,
        about: Some(&event.involved_object),
        kind: event.type_.as_deref(),
        reason: event.reason.as_deref(),
        message: event.message.as_deref(),
        source: event.source.as_ref(),
        controller: event.reporting_component.as_deref(),
        instance: event.reporting_instance.as_deref(),
        first: event.first_timestamp.as_ref(),
        last: event.last_timestamp.as_ref(),
        at: event.event_time.as_ref(),
        count: event.count,
        series: series.map(|one| (one.last_observed_time.as_ref(), one.count.unwrap_or(0))),
    }
    .cells(now)
}

fn event(event: &events::Event, now: Timestamp) -> Vec<Value> {
    Happening {
        meta: &event.metadata,
        about: event.regarding.as_ref(),
        kind: event.type_.as_deref(),
        reason: event.reason.as_deref(),
        message: event.note.as_deref(),
        source: event.deprecated_source.as_ref(),
        controller: event.reporting_controller.as_deref(),
        instance: event.reporting_instance.as_deref(),
        first: event.deprecated_first_timestamp.as_ref(),
        last: event.deprecated_last_timestamp.as_ref(),
        at: event.event_time.as_ref(),
        count: event.deprecated_count,
        series: event.series.as_ref().map(|one| (Some(&one.last_observed_time), one.count)),
    }
    .cells(now)
}

struct Happening<'a> {
    meta: &'a ObjectMeta,
    about: Option<&'a ObjectReference>,
    kind: Option<&'a str>,
    reason: Option<&'a str>,
    message: Option<&'a str>,
    source: Option<&'a EventSource>,
    controller: Option<&'a str>,
    instance: Option<&'a str>,
    first: Option<&'a Time>,
    last: Option<&'a Time>,
    at: Option<&'a MicroTime>,
    count: Option<i32>,
    series: Option<(Option<&'a MicroTime>, i32)>,
}

impl Happening<'_> {
    fn cells(self, now: Timestamp) -> Vec<Value> {
        let first = match self.first {
            Some(first) => since(Some(first), now),
            None => micro_since(self.at, now),
        };
        let (last, count) = match (self.series, self.last) {
            (Some((last, count)), _) => (micro_since(last, now), count),
            (None, Some(last)) => (since(Some(last), now), self.single_count()),
            (None, None) => (first.clone(), self.single_count()),
        };
        let part = self.about.and_then(|about| about.field_path.as_deref());
        cells![
            last,
            self.kind.unwrap_or_default(),
            self.reason.unwrap_or_default(),
            self.target(),
            part.unwrap_or_default(),
            self.teller(),
            self.message.unwrap_or_default().trim(),
            first,
            count,
            self.meta.name.as_deref(),
        ]
    }

    /// Events of the newer kind that happened once carry no count.
    fn single_count(&self) -> i32 {
        self.count.filter(|count| *count != 0).unwrap_or(1)
    }

    fn target(&self) -> String {
        let Some(about) = self.about else { return String::new() };
        let kind = about.kind.as_deref().unwrap_or_default().to_lowercase();
        match about.name.as_deref() {
            None | Some("") => kind,
            Some(name) => format!("{kind}/{name}"),
        }
    }

    fn teller(&self) -> String {
        let first = |a: Option<&str>, b: Option<&str>| {
            a.filter(|text| !text.is_empty()).or(b).unwrap_or_default().to_owned()
        };
        let who = first(self.source.and_then(|one| one.component.as_deref()), self.controller);
        let place = first(self.source.and_then(|one| one.host.as_deref()), self.instance);
        if place.is_empty() { who } else { format!("{who}, {place}") }
    }
}
