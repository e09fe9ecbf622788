//! What can be said of a value whose type is known: which fields it sets, whether it fits its
//! type, and what is left of it without some fields.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::element::PathElement;
use super::field_set::FieldSet;
use crate::schema::{ListKind, ListType, Scalar, Type, TypeRef};

/// How a value is taken apart.
pub(super) enum Form<'a> {
    /// Not at all: it is set, owned and replaced as a whole.
    Leaf,
    /// By its keys.
    Map,
    /// By its items.
    List(&'a ListType, TypeRef<'a>),
}

impl<'a> Form<'a> {
    /// How `value` is taken apart as a value of type `ty`.
    pub(super) fn of(ty: TypeRef<'a>, value: &Value) -> Self {
        match ty.shape() {
            Type::Scalar(_) | Type::Opaque => Self::Leaf,
            Type::Object(object) if object.is_atomic() => Self::Leaf,
            Type::Object(_) => Self::Map,
            Type::List(list) => match (&list.kind, ty.item()) {
                (ListKind::Atomic, _) | (_, None) => Self::Leaf,
                (_, Some(item)) => Self::List(list, item),
            },
            Type::Any if value.is_object() || value.is_null() => Self::Map,
            Type::Any => Self::Leaf,
        }
    }
}

/// The fields that a value sets. The value must be valid.
pub(super) fn field_set(ty: TypeRef<'_>, value: &Value) -> FieldSet {
    owned(ty, value).1
}

/// Whether setting a value means owning the path of the value itself, and what it sets below.
fn owned(ty: TypeRef<'_>, value: &Value) -> (bool, FieldSet) {
    let mut below = FieldSet::default();
    match (Form::of(ty, value), value) {
        (Form::Leaf, _) => return (true, below),
        (Form::Map, Value::Object(object)) => {
            for (name, value) in object {
                let Some(field) = ty.field(name) else { continue };
                let (itself, set) = owned(field, value);
                let whole = value.is_null()
                    || value.as_object().is_some_and(Map::is_empty)
                    || ty.declared(name).is_none();
                below.insert_tree(PathElement::field(name), itself || whole, set);
            }
        }
        (Form::List(list, item_type), Value::Array(items)) => {
            let mut found: BTreeMap<PathElement, Vec<&Value>> = BTreeMap::new();
            for item in items {
                if let Ok(element) = PathElement::of_item(list, item_type, item) {
                    found.entry(element).or_default().push(item);
                }
            }
            for (element, items) in found {
                let set = match items[..] {
                    [item] => owned(item_type, item).1,
                    _ => FieldSet::default(),
                };
                below.insert_tree(element, true, set);
            }
        }
        _ => {}
    }
    (false, below)
}

/// A value without some fields and items. What had something and has nothing left becomes null.
pub(super) fn without(ty: TypeRef<'_>, value: &Value, gone: &FieldSet) -> Value {
    match (Form::of(ty, value), value) {
        (Form::Map, Value::Object(object)) => {
            let mut left = Map::new();
            for (name, value) in object {
                let element = PathElement::field(name);
                if gone.has(&element) {
                    continue;
                }
                let value = match (gone.below(&element), ty.field(name)) {
                    (Some(gone), Some(field)) => without(field, value, gone),
                    _ => value.clone(),
                };
                left.insert(name.clone(), value);
            }
            if left.is_empty() { Value::Null } else { Value::Object(left) }
        }
        (Form::List(list, item_type), Value::Array(items)) => {
            let mut left = Vec::new();
            for item in items {
                let element = PathElement::of_item(list, item_type, item).ok();
                if element.as_ref().is_some_and(|element| gone.has(element)) {
                    continue;
                }
                left.push(match element.and_then(|element| gone.below(&element)) {
                    Some(gone) => without(item_type, item, gone),
                    None => item.clone(),
                });
            }
            if left.is_empty() { Value::Null } else { Value::Array(left) }
        }
        (Form::Leaf, Value::Object(_) | Value::Array(_)) => Value::Null,
        _ => value.clone(),
    }
}

/// What does not fit the type of a value, in upstream's words. Items of lists that are told apart
/// by keys may be there twice where that is allowed.
pub(super) fn check(ty: TypeRef<'_>, value: &Value, duplicates: bool) -> Result<(), String> {
    let mut checker = Checker { duplicates, path: Vec::new(), problems: Vec::new() };
    checker.check(ty, value);
    match &checker.problems[..] {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("errors:\n  {}", many.join("\n  "))),
    }
}

/// How many problems are told; the rest would only be noise.
const MAX_PROBLEMS: usize = 100;

struct Checker {
    duplicates: bool,
    path: Vec<PathElement>,
    problems: Vec<String>,
}

impl Checker {
    fn say(&mut self, problem: impl AsRef<str>) {
        if self.problems.len() < MAX_PROBLEMS {
            let path = super::element::shown(&self.path);
            self.problems.push(format!("{path}: {}", problem.as_ref()));
        }
    }

    fn below(&mut self, element: PathElement, ty: TypeRef<'_>, value: &Value) {
        self.path.push(element);
        self.check(ty, value);
        self.path.pop();
    }

    fn check(&mut self, ty: TypeRef<'_>, value: &Value) {
        match (ty.shape(), value) {
            (Type::Any | Type::Opaque, _) | (_, Value::Null) => {}
            (Type::Scalar(scalar), value) => {
                if let Some(problem) = scalar_problem(*scalar, value) {
                    self.say(problem);
                }
            }
            (Type::Object(_), Value::Object(object)) => {
                for (name, value) in object {
                    match ty.field(name) {
                        Some(field) => self.below(PathElement::field(name), field, value),
                        None => {
                            self.path.push(PathElement::field(name));
                            self.say("field not declared in schema");
                            self.path.pop();
                        }
                    }
                }
            }
            (Type::List(list), Value::Array(items)) => self.items(ty, list, items),
            (Type::Object(_), other) => self.say(format!("expected map, got &{{{other}}}")),
            (Type::List(_), other) => self.say(format!("expected list, got &{{{other}}}")),
        }
    }

    fn items(&mut self, ty: TypeRef<'_>, list: &ListType, items: &[Value]) {
        let Some(item_type) = ty.item() else { return };
        let mut seen = std::collections::BTreeSet::new();
        for (index, item) in items.iter().enumerate() {
            let element = if list.kind == ListKind::Atomic {
                PathElement::Index(index as i64)
            } else {
                match PathElement::of_item(list, item_type, item) {
                    Ok(element) => element,
                    Err(problem) => return self.say(format!("element {index}: {problem}")),
                }
            };
            if !self.duplicates && !seen.insert(element.clone()) {
                self.say(format!("duplicate entries for key {element}"));
            }
            self.below(element, item_type, item);
        }
    }
}

fn scalar_problem(scalar: Scalar, value: &Value) -> Option<String> {
    let fits = match scalar {
        Scalar::Integer | Scalar::Number => value.is_number(),
        Scalar::String | Scalar::Bytes => value.is_string(),
        Scalar::Boolean => value.is_boolean(),
        Scalar::Time | Scalar::Quantity | Scalar::IntOrString => {
            !value.is_object() && !value.is_array()
        }
    };
    (!fits).then(|| match scalar {
        Scalar::Integer | Scalar::Number => {
            format!("expected numeric (int or float), got {}", go_type(value))
        }
        Scalar::String | Scalar::Bytes => format!("expected string, got &{{{value}}}"),
        Scalar::Boolean => format!("expected boolean, got &{{{value}}}"),
        _ => format!("expected any scalar, got &{{{value}}}"),
    })
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
