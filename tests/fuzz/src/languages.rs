//! The small languages of the API.

use pinnace_api::quantity::Quantity;
use pinnace_api::schedule::Schedule;
use pinnace_api::selector::{FieldSelector, Selector};

/// Selectors of labels and of fields: their canonical form means the same.
pub(crate) fn selector(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(selector) = Selector::parse(text) {
        let canonical = selector.to_string();
        let again = Selector::parse(&canonical).expect("the canonical form can be read");
        assert_eq!(again.to_string(), canonical);
        selector.matches(None);
    }
    if let Ok(selector) = FieldSelector::parse(text) {
        let canonical = selector.to_string();
        let again = FieldSelector::parse(&canonical).expect("the canonical form can be read");
        assert_eq!(again.to_string(), canonical);
    }
}

/// Quantities: their canonical form is the same amount.
pub(crate) fn quantity(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(quantity) = Quantity::parse(text) else { return };
    let canonical = quantity.to_string();
    let again = Quantity::parse(&canonical).expect("the canonical form can be read");
    assert_eq!(again.to_string(), canonical);
    assert_eq!(again.cmp(&quantity), std::cmp::Ordering::Equal, "{text}");
    quantity.checked_add(again);
    quantity.checked_sub(again);
    quantity.value();
    quantity.millis();
}

/// Schedules of CronJobs: what comes next comes later.
pub(crate) fn schedule(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(schedule) = Schedule::parse(text) else { return };
    let start = jiff::Timestamp::from_second(1_700_000_000).unwrap();
    if let Some(next) = schedule.next(start, start) {
        assert!(next > start, "{text}");
    }
}
