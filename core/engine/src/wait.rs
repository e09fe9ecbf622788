use std::time::Duration;

use pinnace_api::{ApiError, Object};
use serde_json::Value;

use crate::reference::Reference;
use crate::{Engine, Error, Result};

/// What to wait for.
#[derive(Clone, Debug, PartialEq)]
enum Goal {
    /// The object exists.
    Create,
    /// The object does not exist.
    Delete,
    /// A condition of its status has a value.
    Condition { type_: String, status: String },
    /// A field has a value, or any value.
    Field { path: Vec<String>, value: Option<String> },
}

impl Goal {
    /// Reads what kubectl's `wait --for` takes; a bare word is the name of a condition.
    fn parse(text: &str) -> Result<Self, ApiError> {
        let unreadable = || {
            ApiError::bad_request(format!(
                "cannot wait for {text:?}: expected create, delete, a condition such as Available \
                 or condition=Ready=False, or jsonpath={{.status.phase}}=Running"
            ))
        };
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            let rest = rest.trim_start_matches('\'');
            let (path, value) =
                rest.strip_prefix('{').and_then(|r| r.split_once('}')).ok_or_else(unreadable)?;
            let path: Vec<_> =
                path.split('.').filter(|s| !s.is_empty()).map(str::to_owned).collect();
            let value = value.trim_start_matches('\'').strip_prefix('=').map(str::to_owned);
            return if path.is_empty() {
                Err(unreadable())
            } else {
                Ok(Self::Field { path, value })
            };
        }
        match text.to_ascii_lowercase().as_str() {
            "delete" | "deleted" => return Ok(Self::Delete),
            "create" | "created" => return Ok(Self::Create),
            _ => {}
        }
        let text_ = text.strip_prefix("condition=").unwrap_or(text);
        let (type_, status) = text_.split_once('=').unwrap_or((text_, "True"));
        if type_.is_empty()
            || !type_.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        {
            return Err(unreadable());
        }
        Ok(Self::Condition { type_: type_.to_owned(), status: status.to_owned() })
    }

    fn is_reached(&self, object: Option<&Object>) -> Result<bool, ApiError> {
        let Some(object) = object else { return Ok(*self == Self::Delete) };
        Ok(match self {
            Self::Create => true,
            Self::Delete => false,
            Self::Condition { type_, status } => {
                let value = object.to_value()?;
                // A condition that speaks of an older version of the object says nothing of this.
                let seen = value["status"]["observedGeneration"].as_i64();
                if seen.is_some_and(|seen| object.meta().generation.is_some_and(|g| seen < g)) {
                    return Ok(false);
                }
                conditions(&value).any(|condition| {
                    condition["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case(type_))
                        && condition["status"]
                            .as_str()
                            .is_some_and(|s| s.eq_ignore_ascii_case(status))
                })
            }
            Self::Field { path, value } => {
                let root = object.to_value()?;
                let found = path.iter().try_fold(&root, |at, step| match at {
                    Value::Array(items) => items.get(step.parse::<usize>().ok()?),
                    other => other.get(step),
                });
                match (found, value) {
                    (None, _) => false,
                    (Some(_), None) => true,
                    (Some(Value::String(found)), Some(value)) => found == value,
                    (Some(found), Some(value)) => found.to_string().as_str() == value,
                }
            }
        })
    }
}

fn conditions(object: &Value) -> impl Iterator<Item = &Value> {
    object["status"]["conditions"].as_array().into_iter().flatten()
}

/// What an object says of itself, for the message of a wait that ends in vain.
fn describe(object: Option<&Object>) -> String {
    let Some(object) = object else { return "the object does not exist".to_owned() };
    let Ok(value) = object.to_value() else { return String::new() };
    let mut said: Vec<String> = conditions(&value)
        .map(|condition| {
            let text = |name: &str| condition[name].as_str().unwrap_or_default().to_owned();
            let message = text("message");
            let colon = if message.is_empty() { "" } else { ": " };
            format!("{}={}{colon}{message}", text("type"), text("status"))
        })
        .collect();
    if let Some(phase) = value["status"]["phase"].as_str() {
        said.insert(0, format!("phase {phase}"));
    }
    said.join("; ")
}

impl Engine {
    /// Waits until an object is as wanted: `Available` or any other condition of its status, also
    /// in the form `condition=Ready=False`; `create`; `delete`; or a field's value, as
    /// `jsonpath={.status.phase}=Running`. Returns at once if it is so already. An object that does
    /// not exist yet is waited for.
    ///
    /// # Errors
    /// [`Error::Timeout`] with what the object said of itself last; `BadRequest` for a goal that
    /// cannot be read.
    pub async fn wait(&self, object: &str, goal: &str, timeout: Duration) -> Result<()> {
        let reference = self.reference(object)?;
        let parsed = Goal::parse(goal)?;
        let mut seen = None;
        let waited = self.wait_for(&reference, &parsed, &mut seen);
        match tokio::time::timeout(timeout, waited).await {
            Ok(done) => done,
            Err(_) => Err(Error::Timeout {
                what: format!("{goal} of {object}"),
                after: timeout,
                seen: describe(seen.as_ref()),
            }),
        }
    }

    async fn wait_for(
        &self,
        reference: &Reference,
        goal: &Goal,
        seen: &mut Option<Object>,
    ) -> Result<()> {
        let Reference { resource, key } = reference;
        let look = |object: Option<&Object>| {
            *seen = object.cloned();
            if goal.is_reached(object)? {
                return Ok(Some(()));
            }
            if self.parts().is_ended() { Err(Error::Closed) } else { Ok(None) }
        };
        self.client().resource(resource.clone()).follow(key, look).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, object: Value, reached: bool) {
        let codec = pinnace_api::Codec::of::<pinnace_api::DynamicObject>();
        let object = pinnace_api::Draft::from_value(codec, object).unwrap().freeze();
        assert_eq!(
            Goal::parse(text).unwrap().is_reached(Some(&object)).unwrap(),
            reached,
            "{text}"
        );
    }

    #[test]
    fn goals_are_read_as_kubectl_reads_them() {
        let object = serde_json::json!({
            "metadata": {"generation": 2},
            "status": {"phase": "Running", "observedGeneration": 2, "list": [{"n": 1}],
                "conditions": [{"type": "Ready", "status": "True"}]}
        });
        for (text, reached) in [
            ("Ready", true),
            ("condition=ready", true),
            ("condition=Ready=False", false),
            ("Available", false),
            ("delete", false),
            ("create", true),
            ("jsonpath={.status.phase}=Running", true),
            ("jsonpath={.status.phase}=Pending", false),
            ("jsonpath={.status.list.0.n}=1", true),
            ("jsonpath={.status.other}", false),
        ] {
            check(text, object.clone(), reached);
        }
        for text in ["", "a b", "jsonpath=.x", "condition="] {
            assert!(Goal::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_condition_of_an_older_generation_does_not_count() {
        check(
            "Ready",
            serde_json::json!({"metadata": {"generation": 3}, "status": {"observedGeneration": 2,
                "conditions": [{"type": "Ready", "status": "True"}]}}),
            false,
        );
    }
}
