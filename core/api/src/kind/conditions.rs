//! Kinds with general conditions, `metav1.Condition`, whose times clients in Go write as `null` where
//! there is none. The type always has a time, so it has Go's zero time then, which is nowhere else.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Result, Value};

/// The time that is none.
const ZERO: &str = "0001-01-01T00:00:00Z";
const TIME: &str = "lastTransitionTime";

/// Whether a time is none.
pub(crate) fn is_none(time: &Time) -> bool {
    time.0.to_string() == ZERO
}

pub(super) fn from_value<K: DeserializeOwned>(mut value: Value) -> Result<K> {
    each_time(&mut value, |time| {
        if time.is_null() {
            *time = ZERO.into();
        }
    });
    serde_json::from_value(value)
}

pub(super) fn from_slice<K: DeserializeOwned>(json: &[u8]) -> Result<K> {
    // Times are seldom left out: only then a tree is made.
    serde_json::from_slice(json).or_else(|error| match serde_json::from_slice(json) {
        Ok(value) => from_value(value),
        Err(_) => Err(error),
    })
}

pub(super) fn to_value(object: &impl Serialize) -> Result<Value> {
    let mut value = serde_json::to_value(object)?;
    each_time(&mut value, |time| {
        if time == ZERO {
            *time = Value::Null;
        }
    });
    Ok(value)
}

pub(super) fn write(object: &impl Serialize, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    serde_json::to_writer(&mut *out, object)?;
    if memchr::memmem::find(&out[start..], ZERO.as_bytes()).is_some() {
        out.truncate(start);
        serde_json::to_writer(out, &to_value(object)?)?;
    }
    Ok(())
}

/// Visits when each condition changed, `null` where that is not said.
fn each_time(object: &mut Value, visit: impl Fn(&mut Value)) {
    let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) else { return };
    let times = |conditions: &mut Value| {
        let conditions = conditions.as_array_mut().into_iter().flatten();
        for condition in conditions.filter_map(Value::as_object_mut) {
            visit(condition.entry(TIME).or_insert(Value::Null));
        }
    };
    status.get_mut("conditions").into_iter().for_each(&times);
    // Of resource claims.
    let devices = status.get_mut("devices").and_then(Value::as_array_mut);
    devices.into_iter().flatten().filter_map(|one| one.get_mut("conditions")).for_each(&times);
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use k8s_openapi::api::resource::v1::ResourceClaim;
    use serde_json::{Value, json};

    use crate::{Codec, Draft, Kind};

    /// What is read and written again, as text and as a tree.
    #[track_caller]
    fn check<K: Kind>(status: Value, expected: Value) {
        let drafts = [
            Draft::from_json(Codec::of::<K>(), json!({"status": status}).to_string().as_bytes()),
            Draft::from_value(Codec::of::<K>(), json!({"status": status})),
        ];
        for draft in drafts.map(Result::unwrap) {
            assert_eq!(draft.to_value().unwrap()["status"], expected);
            let text: Value = serde_json::from_slice(&draft.to_json().unwrap()).unwrap();
            assert_eq!(text["status"], expected);
        }
    }

    #[test]
    fn a_condition_may_say_nothing_of_when_it_changed() {
        let condition = |time: Value| json!({"type": "A", "status": "True", "reason": "B", "message": "", "lastTransitionTime": time});
        let bare = json!({"type": "A", "status": "True", "reason": "B", "message": ""});
        let all = |one: Value, two: Value| json!({"conditions": [one, two]});
        let time = json!("2020-01-01T00:00:00Z");
        let none = || condition(Value::Null);
        check::<Service>(
            all(none(), condition(time.clone())),
            json!({"conditions": [none(), condition(time)]}),
        );
        check::<Service>(all(bare.clone(), none()), json!({"conditions": [none(), none()]}));
        let device = |condition: Value| json!({"devices": [{"driver": "d", "pool": "p", "device": "x", "conditions": [condition]}]});
        check::<ResourceClaim>(device(bare), device(none()));
    }
}
