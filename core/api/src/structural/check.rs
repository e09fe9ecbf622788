//! Values against schemas, as upstream's OpenAPI validator words what it finds.

use serde_json::{Map, Value};

use super::{Limits, Node, OF_OBJECTS, formats, lists};
use crate::field::{ErrorList, Path};
use crate::kinds::check::Json;

impl Node {
    /// Checks a value; `old` is what it was before. What has not changed is not complained of:
    /// the schema may have become stricter since.
    pub(crate) fn check(
        &self,
        value: &Value,
        old: Option<&Value>,
        path: &Path<'_>,
        errors: &mut ErrorList,
    ) {
        if (value.is_null() && self.nullable) || old == Some(value) {
            return;
        }
        if !self.is_of_type(value) {
            let wanted = if self.int_or_string { "integer,string" } else { &self.kind };
            let found = name_of(value);
            let why = format!("{path} in body must be of type {wanted}: {found:?}");
            return errors.invalid(path, found, &why);
        }
        match value {
            Value::Array(all) => {
                self.check_list(all, old.and_then(Value::as_array), path, errors);
            }
            Value::Object(fields) => {
                let old = old.and_then(Value::as_object);
                for (name, value, node) in self.known_fields(fields) {
                    // Keys of maps stand in brackets.
                    let is_field = self.field(name).is_some();
                    let at = if is_field { path.child(name) } else { path.key(name) };
                    node.check(value, old.and_then(|old| old.get(name)), &at, errors);
                }
                if self.embeds {
                    check_embedded(fields, path, errors);
                }
            }
            _ => {}
        }
        if let Some(limits) = &self.limits {
            limits.check(value, path, errors);
        }
    }

    /// Checks an object as a whole: `fields` is what it has beside `apiVersion`, `kind` and
    /// `metadata`.
    pub(crate) fn check_root(
        &self,
        fields: &Map<String, Value>,
        old: Option<&Map<String, Value>>,
        errors: &mut ErrorList,
    ) {
        for (name, value, node) in self.known_fields(fields) {
            node.check(value, old.and_then(|old| old.get(name)), &Path::root(name), errors);
        }
        if let Some(limits) = self.limits.as_ref().filter(|_| old != Some(fields)) {
            limits.check_root(fields, errors);
        }
    }

    /// The fields that the schema says something of.
    pub(super) fn known_fields<'a>(
        &'a self,
        fields: &'a Map<String, Value>,
    ) -> impl Iterator<Item = (&'a String, &'a Value, &'a Self)> {
        fields.iter().filter_map(|(name, value)| {
            Some((name, value, self.field(name).or(self.values.as_deref())?))
        })
    }

    fn check_list(
        &self,
        all: &[Value],
        old: Option<&Vec<Value>>,
        path: &Path<'_>,
        errors: &mut ErrorList,
    ) {
        if let Some(items) = &self.items {
            for (index, item) in all.iter().enumerate() {
                // Only items that have keys can be found again.
                let before = old.and_then(|old| lists::counterpart(&self.list, old, item));
                items.check(item, before, &path.index(index), errors);
            }
        }
        lists::check(&self.list, self.items.as_deref(), all, path, errors);
    }

    fn is_of_type(&self, value: &Value) -> bool {
        if self.int_or_string {
            return value.is_string() || is_whole(value);
        }
        match &*self.kind {
            "array" => value.is_array(),
            "boolean" => value.is_boolean(),
            "integer" => is_whole(value),
            "number" => value.is_number(),
            "object" => value.is_object(),
            "string" => value.is_string(),
            _ => true,
        }
    }
}

impl Limits {
    fn check(&self, value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
        if !self.choices.is_empty() && !self.choices.iter().any(|choice| same(choice, value)) {
            let shown: Vec<String> = self.choices.iter().map(shown).collect();
            let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
            errors.not_supported(path, Json(value), &shown);
        }
        match value {
            Value::String(value) => self.check_text(value, path, errors),
            Value::Number(_) => self.check_number(value, path, errors),
            Value::Array(list) => self.check_length(list, path, errors),
            Value::Object(fields) => {
                let shown = path.to_string();
                self.check_size(fields, path, &shown, errors);
                for name in self.required.iter().filter(|name| !fields.contains_key(&***name)) {
                    errors.required(&path.child(name), "");
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
        self.check_combined(value, path, errors);
    }

    fn check_root(&self, fields: &Map<String, Value>, errors: &mut ErrorList) {
        // Upstream has no path for the whole.
        let path = Path::root("<nil>");
        self.check_size(fields, &path, "", errors);
        for name in self.required.iter().map(|name| &**name) {
            if !OF_OBJECTS.contains(&name) && !fields.contains_key(name) {
                errors.required(&Path::root(name), "");
            }
        }
        if !self.all_of.is_empty()
            || !self.any_of.is_empty()
            || !self.one_of.is_empty()
            || self.not.is_some()
        {
            self.check_combined(&Value::Object(fields.clone()), &path, errors);
        }
    }

    fn check_text(&self, value: &str, path: &Path<'_>, errors: &mut ErrorList) {
        let length = i64::try_from(value.chars().count()).unwrap_or(i64::MAX);
        if let Some(max) = self.max_length.filter(|max| length > *max) {
            errors.too_long(path, usize::try_from(max).unwrap_or(0));
        }
        if let Some(min) = self.min_length.filter(|min| length < *min) {
            let why = format!("{path} in body should be at least {min} chars long");
            errors.invalid(path, value, &why);
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !pattern.fits(value)) {
            let text = &pattern.text;
            errors.invalid(path, value, &format!("{path} in body should match '{text}'"));
        }
        if !formats::fits(&self.format, value) {
            let format = &self.format;
            let why = format!("{path} in body must be of type {format}: {value:?}");
            errors.invalid(path, value, &why);
        }
    }

    fn check_number(&self, value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
        let Some(number) = value.as_f64() else { return };
        if let Some((max, strict)) = self.maximum
            && (number > max || (strict && number >= max))
        {
            let how = if strict { "less than" } else { "less than or equal to" };
            errors.invalid(path, Json(value), &format!("{path} in body should be {how} {max}"));
        }
        if let Some((min, strict)) = self.minimum
            && (number < min || (strict && number <= min))
        {
            let how = if strict { "greater than" } else { "greater than or equal to" };
            errors.invalid(path, Json(value), &format!("{path} in body should be {how} {min}"));
        }
        if let Some(factor) = self.multiple_of.filter(|factor| (number / factor).fract() != 0.0) {
            let why = format!("{path} in body should be a multiple of {factor}");
            errors.invalid(path, Json(value), &why);
        }
        if !formats::holds(&self.format, value) {
            let format = &self.format;
            let why = format!("{path} in body must be of type {format}: {value}");
            errors.invalid(path, Json(value), &why);
        }
    }

    fn check_length(&self, all: &[Value], path: &Path<'_>, errors: &mut ErrorList) {
        let length = i64::try_from(all.len()).unwrap_or(i64::MAX);
        if let Some(max) = self.max_items.filter(|max| length > *max) {
            errors.too_many(path, all.len(), usize::try_from(max).unwrap_or(0));
        }
        if let Some(min) = self.min_items.filter(|min| length < *min) {
            let why = format!("{path} in body should have at least {min} items");
            errors.invalid(path, length, &why);
        }
        if self.unique_items && lists::has_twice(all) {
            let why = format!("{path} in body shouldn't contain duplicates");
            errors.invalid(path, length, &why);
        }
    }

    fn check_size(
        &self,
        fields: &Map<String, Value>,
        path: &Path<'_>,
        shown: &str,
        errors: &mut ErrorList,
    ) {
        let length = i64::try_from(fields.len()).unwrap_or(i64::MAX);
        if let Some(max) = self.max_properties.filter(|max| length > *max) {
            errors.too_many(path, fields.len(), usize::try_from(max).unwrap_or(0));
        }
        if let Some(min) = self.min_properties.filter(|min| length < *min) {
            let why = format!("{shown} in body should have at least {min} properties");
            errors.invalid(path, length, why.trim_start());
        }
    }

    fn check_combined(&self, value: &Value, path: &Path<'_>, errors: &mut ErrorList) {
        let fits = |node: &Node| {
            let mut found = ErrorList::default();
            node.check(value, None, path, &mut found);
            found.is_empty()
        };
        for node in &self.all_of {
            node.check(value, None, path, errors);
        }
        // As upstream names it: without a path for the whole.
        let name = path.to_string();
        let name = if name == "<nil>" { "" } else { &name };
        if !self.any_of.is_empty() && !self.any_of.iter().any(fits) {
            errors.invalid(
                path,
                "",
                &format!("{name:?} must validate at least one schema (anyOf)"),
            );
        }
        let valid = self.one_of.iter().filter(|node| fits(node)).count();
        if !self.one_of.is_empty() && valid != 1 {
            let found = match valid {
                0 => "Found none valid".to_owned(),
                many => format!("Found {many} valid alternatives"),
            };
            let why = format!("{name:?} must validate one and only one schema (oneOf). {found}");
            errors.invalid(path, "", &why);
        }
        if self.not.as_ref().is_some_and(|not| fits(not)) {
            errors.invalid(path, "", &format!("{name:?} must not validate the schema (not)"));
        }
    }
}

fn check_embedded(fields: &Map<String, Value>, path: &Path<'_>, errors: &mut ErrorList) {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    for name in ["apiVersion", "kind"] {
        if text(name).is_empty() {
            errors.required(&path.child(name), "must not be empty");
        }
    }
    if let Some(meta) = fields.get("metadata").filter(|meta| !meta.is_object()) {
        let at = path.child("metadata");
        errors.invalid(&at, Json(meta), "must be an object");
    }
}

fn is_whole(value: &Value) -> bool {
    value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if is_whole(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Whether two values are the same, numbers by what they are and not by how they are written.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
