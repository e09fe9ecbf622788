//! Rules in CEL that a schema has for its values (`x-kubernetes-validations`).

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, ValidationRule,
};
use serde_json::{Map, Value};

use super::{Node, lists};
use crate::DynamicObject;
use crate::expressions::{Budget, Expression, Fault, Val, escaped, load};
use crate::field::{Bare, ErrorKind, ErrorList, Path};
use crate::kinds::check::Json;

/// What a rule may refer to.
pub(crate) const VARIABLES: [&str; 2] = ["self", "oldSelf"];
/// Most bytes of a message that an expression makes.
const MESSAGE_MAX: usize = 5 * 1024;
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";
const NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid; \
                           correct the existing errors to complete validation";

/// A rule.
#[derive(Debug)]
pub(super) struct Rule {
    /// `None` for one that does not compile, which no definition is accepted with.
    rule: Option<Expression>,
    /// The rule as it is written, or what it says instead.
    shown: Box<str>,
    has_message: bool,
    message: Option<Expression>,
    reason: Box<str>,
    field: Box<str>,
    /// Whether there need not be an earlier value.
    old_optional: bool,
}

impl Rule {
    fn of(rule: &ValidationRule) -> Self {
        // The definition was refused if they do not compile.
        let loaded = |text: &str| load(text, &VARIABLES, &[]).ok();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let message = text(&rule.message);
        let expression = text(&rule.message_expression);
        let has_message = !message.is_empty();
        let shown = if has_message { message.trim() } else { rule.rule.trim() };
        Self {
            rule: loaded(&rule.rule),
            shown: shown.into(),
            has_message,
            message: Some(expression)
                .filter(|text| !text.is_empty())
                .and_then(|text| loaded(&text)),
            reason: rule.reason.as_deref().unwrap_or_default().into(),
            field: text(&rule.field_path).trim_start_matches('.').into(),
            old_optional: rule.optional_old_self == Some(true),
        }
    }

    fn uses_old(&self) -> bool {
        self.rule.as_ref().is_some_and(|rule| rule.uses("oldSelf"))
    }
}

pub(super) fn of(schema: &JSONSchemaProps) -> Box<[Rule]> {
    schema.x_kubernetes_validations.iter().flatten().map(Rule::of).collect()
}

/// What rules are to say: what is wrong, or what is wrong and was so before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// What has changed, and all that looks at what was before.
    Changed,
    /// What is as it was: it is let be, but not in silence.
    Unchanged,
}

impl Node {
    /// Checks an object by the rules of its schema, unless something is wrong with it already that
    /// rules may stumble over.
    pub(crate) fn check_rules(
        &self,
        new: &DynamicObject,
        old: Option<&DynamicObject>,
        about: About,
        errors: &mut ErrorList,
    ) {
        if !self.ruled {
            return;
        }
        let blocks = |kind: ErrorKind, body: &str| {
            matches!(kind, ErrorKind::Required | ErrorKind::TooLong | ErrorKind::TooMany)
                || body.contains(" in body must be of type ")
        };
        if errors.iter().any(|error| blocks(error.kind, &error.body)) {
            errors.invalid(&Path::root("<nil>"), Bare("null"), NOT_CHECKED);
            return;
        }
        let mut walk = Walk { about, budget: Budget::new(Budget::OF_ALL), errors };
        // When the budget is out, that has been said.
        let _ = walk.root(self, new, old);
    }
}

/// The budget is out.
struct Ended;

struct Walk<'e> {
    about: About,
    budget: Budget,
    errors: &'e mut ErrorList,
}

impl Walk<'_> {
    fn root(
        &mut self,
        node: &Node,
        new: &DynamicObject,
        old: Option<&DynamicObject>,
    ) -> Result<(), Ended> {
        let parts = |object: &DynamicObject| {
            let name = |name: &Option<String>| name.clone().map(Value::from);
            let meta = [
                ("name", name(&object.metadata.name)),
                ("generateName", name(&object.metadata.generate_name)),
            ];
            let meta = meta.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
            [
                ("apiVersion", Value::from(object.api_version.clone())),
                ("kind", Value::from(object.kind.clone())),
                ("metadata", Value::Object(meta.collect())),
            ]
        };
        if !node.rules.is_empty() {
            let own = parts(new);
            let old_own = old.map(parts);
            let names: Vec<String> = new.data.keys().map(|name| escaped(name)).collect();
            let old_names: Vec<String> =
                old.iter().flat_map(|old| old.data.keys()).map(|name| escaped(name)).collect();
            let this = whole(node, &new.data, &own, &names);
            let before = match (old, &old_own) {
                (Some(old), Some(own)) => Some(whole(node, &old.data, own, &old_names)),
                _ => None,
            };
            let same = old.is_some_and(|old| old.data == new.data);
            let path = Path::root("<nil>");
            self.rules(node, &this, before, same, None, &path)?;
        }
        let old = old.map(|old| &old.data);
        for (name, value, node) in node.known_fields(&new.data) {
            let before = old.and_then(|old| old.get(name));
            self.value(node, value, before, &Path::root(name))?;
        }
        Ok(())
    }

    fn value(
        &mut self,
        node: &Node,
        value: &Value,
        old: Option<&Value>,
        path: &Path<'_>,
    ) -> Result<(), Ended> {
        if value.is_null() || !node.ruled {
            return Ok(());
        }
        if !node.rules.is_empty() {
            let this = Val::with(value, Some(node));
            let before = old.map(|old| Val::with(old, Some(node)));
            self.rules(node, &this, before, old == Some(value), Some(value), path)?;
        }
        match value {
            Value::Object(fields) => {
                let old = old.and_then(Value::as_object);
                for (name, value, inner) in node.known_fields(fields) {
                    let before = old.and_then(|old| old.get(name));
                    let is_field = node.field(name).is_some();
                    let at = if is_field { path.child(name) } else { path.key(name) };
                    self.value(inner, value, before, &at)?;
                }
            }
            Value::Array(items) => {
                let Some(of_items) = &node.items else { return Ok(()) };
                let old = old.and_then(Value::as_array);
                for (index, item) in items.iter().enumerate() {
                    let before = old.and_then(|old| lists::counterpart(&node.list, old, item));
                    self.value(of_items, item, before, &path.index(index))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn rules<'a>(
        &mut self,
        node: &Node,
        this: &Val<'a>,
        before: Option<Val<'a>>,
        same: bool,
        value: Option<&Value>,
        path: &Path<'_>,
    ) -> Result<(), Ended> {
        for rule in &node.rules {
            let uses_old = rule.uses_old();
            let ratchets = same && !uses_old;
            if ratchets != (self.about == About::Unchanged) {
                continue;
            }
            let old = match &before {
                Some(before) if rule.old_optional => {
                    Val::Optional(Some(std::sync::Arc::new(before.clone())))
                }
                Some(before) => before.clone(),
                None if rule.old_optional => Val::Optional(None),
                None if uses_old => continue,
                None => Val::Null,
            };
            let Some(expression) = &rule.rule else {
                let why = format!("rule compile error: {}", rule.shown);
                self.errors.invalid(path, &*node.kind, &why);
                continue;
            };
            let variables = [this.clone(), old];
            let (before, limit) = (self.budget.left(), Budget::new(Budget::OF_ONE));
            let outcome = expression.evaluate(&variables, &limit);
            let spent = Budget::OF_ONE - limit.left();
            if before < spent || self.budget.take(spent).is_err() {
                self.errors.invalid(path, &*node.kind, OUT_OF_BUDGET);
                return Err(Ended);
            }
            match outcome {
                Ok(Val::Bool(true)) => {}
                Ok(_) => self.broken(node, rule, &variables, value, path)?,
                Err(Fault::Cost) => {
                    let why = format!(
                        "'{}': no further validation rules will be run due to call cost exceeds \
                         limit for rule: {}",
                        Fault::Cost,
                        rule.shown
                    );
                    self.errors.invalid(path, &*node.kind, &why);
                    return Err(Ended);
                }
                Err(fault) if fault == Fault::no_such_overload() => {
                    let why = format!(
                        "'{fault}': call arguments did not match a supported operator, function \
                         or macro signature for rule: {}",
                        rule.shown
                    );
                    self.errors.invalid(path, &*node.kind, &why);
                }
                Err(fault) => {
                    let why = format!("{fault} evaluating rule: {}", rule.shown);
                    self.errors.invalid(path, &*node.kind, &why);
                }
            }
        }
        Ok(())
    }

    fn broken(
        &mut self,
        node: &Node,
        rule: &Rule,
        variables: &[Val<'_>; 2],
        value: Option<&Value>,
        path: &Path<'_>,
    ) -> Result<(), Ended> {
        let below = match value {
            Some(_) => path.child(&rule.field),
            None => Path::root(&rule.field),
        };
        let at = if rule.field.is_empty() { path } else { &below };
        let made = match &rule.message {
            Some(message) => {
                let made = message.evaluate(variables, &self.budget);
                if made.as_ref().err() == Some(&Fault::Cost) {
                    let why = "messageExpression evaluation failed due to running out of cost \
                               budget, no further validation rules will be run";
                    self.errors.invalid(at, &*node.kind, why);
                    return Err(Ended);
                }
                made.ok().and_then(message_of)
            }
            None => None,
        };
        let detail = made.unwrap_or_else(|| match rule.has_message {
            true => rule.shown.to_string(),
            false => format!("failed rule: {}", rule.shown),
        });
        let simple = value.filter(|value| !value.is_object() && !value.is_array());
        match (&*rule.reason, simple) {
            ("FieldValueForbidden", _) => self.errors.forbidden(at, &detail),
            ("FieldValueRequired", _) => self.errors.required(at, &detail),
            ("FieldValueDuplicate", Some(value)) => self.errors.duplicate(at, Json(value)),
            ("FieldValueDuplicate", None) => self.errors.duplicate(at, Bare("")),
            (_, Some(value)) => self.errors.invalid(at, Json(value), &detail),
            (_, None) => self.errors.inconsistent(at, &detail),
        }
        Ok(())
    }
}

/// A message that is fit to be shown.
fn message_of(made: Val<'_>) -> Option<String> {
    let Val::Text(text) = made else { return None };
    let text = text.trim();
    let fits = !text.is_empty() && text.len() <= MESSAGE_MAX && !text.contains('\n');
    fits.then(|| text.to_owned())
}

/// An object with all that it has.
fn whole<'a>(
    node: &'a Node,
    data: &'a Map<String, Value>,
    own: &'a [(&'static str, Value)],
    names: &'a [String],
) -> Val<'a> {
    let of_own = own.iter().map(|(name, value)| (*name, Val::of(value)));
    let of_data = data.iter().zip(names).map(|((name, value), escaped)| {
        (escaped.as_str(), Val::with(value, node.field(name).or(node.values.as_deref())))
    });
    Val::object(of_own.chain(of_data))
}
