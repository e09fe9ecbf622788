use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::label_text::{key_problem, value_problem};
use super::parse;
use crate::{ApiError, Result};

/// A label selector: all of its requirements must hold. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    /// `None` matches nothing: what a missing selector means in a workload.
    requirements: Option<Arc<[Requirement]>>,
}

impl Selector {
    /// Reads `app=web,tier in (a,b),!x,n>5`.
    ///
    /// # Errors
    /// `BadRequest` in upstream's words.
    pub fn parse(text: &str) -> Result<Self> {
        parse::selector(text).map(Self::of).map_err(ApiError::bad_request)
    }

    /// The selector that matches all objects.
    pub fn everything() -> Self {
        Self::of(Vec::new())
    }

    /// The selector that matches no object.
    pub fn nothing() -> Self {
        Self { requirements: None }
    }

    /// The selector of a `LabelSelector` in an object. An empty one matches everything.
    ///
    /// # Errors
    /// `BadRequest` in upstream's words.
    pub fn from_label_selector(selector: &LabelSelector) -> Result<Self> {
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            requirements.push(Requirement::checked(key, Operator::Equals, vec![value.clone()])?);
        }
        for expression in selector.match_expressions.iter().flatten() {
            let operator = match &expression.operator[..] {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    let message = format!("{other:?} is not a valid label selector operator");
                    return Err(ApiError::bad_request(message));
                }
            };
            let values = expression.values.clone().unwrap_or_default();
            requirements.push(Requirement::checked(&expression.key, operator, values)?);
        }
        Ok(Self::of(requirements))
    }

    /// The selector that asks for exactly these labels, which are taken to be valid.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        let equals = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: vec![value.clone()],
        };
        Self::of(labels.iter().map(equals).collect())
    }

    /// The selector of what both select.
    pub fn and(&self, other: &Self) -> Self {
        match (&self.requirements, &other.requirements) {
            (Some(mine), Some(theirs)) => Self::of(mine.iter().chain(&**theirs).cloned().collect()),
            _ => Self::nothing(),
        }
    }

    fn of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self { requirements: Some(requirements.into()) }
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        match &self.requirements {
            None => false,
            Some(requirements) => requirements.iter().all(|one| one.matches(labels)),
        }
    }

    /// The requirements, ordered by key; none for a selector that matches nothing.
    pub fn requirements(&self) -> &[Requirement] {
        self.requirements.as_deref().unwrap_or_default()
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        self.requirements.as_deref().is_some_and(<[_]>::is_empty)
    }

    /// Whether no object is ever selected.
    pub fn is_nothing(&self) -> bool {
        self.requirements.is_none()
    }

    /// The one value that this selector asks of `key`, for use with an index.
    pub fn requires(&self, key: &str) -> Option<&str> {
        let one = self.requirements().iter().find(|one| one.key == key)?;
        match (one.operator, &one.values[..]) {
            (Operator::Equals | Operator::DoubleEquals | Operator::In, [value]) => Some(value),
            _ => None,
        }
    }
}

impl Default for Selector {
    fn default() -> Self {
        Self::everything()
    }
}

/// The canonical form: ordered by key, values ordered, no spaces that are not needed.
impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements().iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            fmt::Display::fmt(requirement, f)?;
        }
        Ok(())
    }
}

/// How a requirement relates a label to its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `key=value`
    Equals,
    /// `key==value`, the same as [`Operator::Equals`].
    DoubleEquals,
    /// `key!=value`; holds without the label.
    NotEquals,
    /// `key in (a,b)`
    In,
    /// `key notin (a,b)`; holds without the label.
    NotIn,
    /// `key`
    Exists,
    /// `!key`
    DoesNotExist,
    /// `key>5`, both as integers.
    GreaterThan,
    /// `key<5`, both as integers.
    LessThan,
}

/// One part of a [`Selector`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

impl Requirement {
    /// A requirement, checked as upstream does.
    ///
    /// # Errors
    /// `BadRequest` when key, operator and values don't go together.
    pub fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self> {
        Self::checked(key, operator, values)
    }

    fn checked(key: &str, operator: Operator, values: Vec<String>) -> Result<Self> {
        Self::try_new(key, operator, values).map_err(ApiError::bad_request)
    }

    pub(super) fn try_new(
        key: &str,
        operator: Operator,
        values: Vec<String>,
    ) -> Result<Self, String> {
        let mut problems = Vec::new();
        if let Some(problem) = key_problem(key) {
            problems.push(format!("key: Invalid value: {key:?}: {problem}"));
        }
        if let Some(problem) = count_problem(operator, values.len()) {
            // An empty list is null in Go, and so in upstream's message.
            let shown = Some(&values).filter(|values| !values.is_empty());
            let shown = serde_json::json!(shown);
            problems.push(format!("values: Invalid value: {shown}: {problem}"));
        }
        if matches!(operator, Operator::GreaterThan | Operator::LessThan) {
            for (index, value) in values.iter().enumerate() {
                if integer(value).is_none() {
                    problems.push(format!(
                        "values[{index}]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the \
                         value must be an integer"
                    ));
                }
            }
        }
        for (index, value) in values.iter().enumerate() {
            if let Some(problem) = value_problem(value) {
                problems
                    .push(format!("values[{index}][{key}]: Invalid value: {value:?}: {problem}"));
            }
        }
        match &problems[..] {
            [] => Ok(Self { key: key.to_owned(), operator, values }),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }

    /// The label's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The operator.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The values, as they were given.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Whether labels satisfy it.
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        let label = labels.and_then(|labels| labels.get(&self.key));
        match self.operator {
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::Equals | Operator::DoubleEquals | Operator::In => {
                label.is_some_and(|label| self.values.contains(label))
            }
            Operator::NotEquals | Operator::NotIn => {
                label.is_none_or(|label| !self.values.contains(label))
            }
            Operator::GreaterThan => self.ordered(label, |label, value| label > value),
            Operator::LessThan => self.ordered(label, |label, value| label < value),
        }
    }

    fn ordered(&self, label: Option<&String>, holds: impl Fn(i64, i64) -> bool) -> bool {
        let label = label.and_then(|label| integer(label));
        let value = self.values.first().and_then(|value| integer(value));
        label.zip(value).is_some_and(|(label, value)| holds(label, value))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let mut values: Vec<&str> = self.values.iter().map(String::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        match self.operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

fn count_problem(operator: Operator, values: usize) -> Option<&'static str> {
    match operator {
        Operator::In | Operator::NotIn if values == 0 => {
            Some("for 'in', 'notin' operators, values set can't be empty")
        }
        Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values != 1 => {
            Some("exact-match compatibility requires one single value")
        }
        Operator::Exists | Operator::DoesNotExist if values != 0 => {
            Some("values set must be empty for exists and does not exist")
        }
        Operator::GreaterThan | Operator::LessThan if values != 1 => {
            Some("for 'Gt', 'Lt' operators, exactly one value is required")
        }
        _ => None,
    }
}

fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    #[test]
    fn every_operator_selects_as_upstream_does() {
        let set = labels(&[("app", "web"), ("n", "6"), ("empty", "")]);
        let selects = |text: &str| Selector::parse(text).unwrap().matches(Some(&set));
        for text in [
            "",
            "app=web",
            "app==web",
            "app!=db",
            "x!=1",
            "app in (web,db)",
            "app notin (db)",
            "x notin (a)",
            "app",
            "!x",
            "n>5",
            "n<7",
            "empty=",
            "empty in ()",
            "app=web,n>5,!x",
        ] {
            assert!(selects(text), "{text}");
        }
        for text in [
            "app=db",
            "app!=web",
            "app in (a,b)",
            "app notin (web)",
            "x",
            "!app",
            "n>6",
            "n<6",
            "app>1",
            "x>1",
            "app=",
            "app=web,x",
        ] {
            assert!(!selects(text), "{text}");
        }
    }

    #[test]
    fn missing_labels_are_no_labels() {
        assert!(Selector::parse("!a").unwrap().matches(None));
        assert!(!Selector::parse("a").unwrap().matches(None));
        assert!(Selector::everything().matches(None));
        assert!(!Selector::nothing().matches(None));
    }

    #[test]
    fn the_selector_of_a_workload_is_read() {
        let selector: LabelSelector = serde_json::from_value(serde_json::json!({
            "matchLabels": {"b": "1"},
            "matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}],
        }))
        .unwrap();
        let selector = Selector::from_label_selector(&selector).unwrap();
        assert_eq!(selector.to_string(), "a in (x,y),b=1");
        assert_eq!(selector.requires("b"), Some("1"));
        assert_eq!(selector.requires("a"), None);
        let everything = Selector::from_label_selector(&LabelSelector::default()).unwrap();
        assert!(everything.is_everything());
    }

    #[test]
    fn a_selector_that_makes_no_sense_is_refused_as_upstream_words_it() {
        let check = |selector: serde_json::Value, message: &str| {
            let selector: LabelSelector = serde_json::from_value(selector).unwrap();
            let error = Selector::from_label_selector(&selector).unwrap_err();
            assert_eq!(error.message(), message);
        };
        check(
            serde_json::json!({"matchExpressions": [{"key": "a", "operator": "Is"}]}),
            "\"Is\" is not a valid label selector operator",
        );
        check(
            serde_json::json!({"matchExpressions":
                [{"key": "a", "operator": "Exists", "values": ["x"]}]}),
            "values: Invalid value: [\"x\"]: values set must be empty for exists and does not exist",
        );
    }
}
