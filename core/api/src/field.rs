//! Paths to fields and what is wrong there: the causes of an `Invalid` status.
//!
//! A [`Path`] lives on the stack and is rendered only when there is something to say, so checking
//! a valid object allocates nothing.

use std::fmt;

/// A path to a field, `spec.containers[0].name`, as a chain of borrowed steps.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

impl<'a> Path<'a> {
    /// A path of one field.
    pub const fn root(field: &'a str) -> Self {
        Self { parent: None, step: Step::Field(field) }
    }

    /// A field below this one.
    pub const fn child(&'a self, field: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Field(field) }
    }

    /// An item of a list.
    pub const fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }

    /// A value of a map.
    pub const fn key(&'a self, key: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Key(key) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            fmt::Display::fmt(parent, f)?;
        }
        match self.step {
            Step::Field(field) if self.parent.is_some() => write!(f, ".{field}"),
            Step::Field(field) => f.write_str(field),
            Step::Index(index) => write!(f, "[{index}]"),
            Step::Key(key) => write!(f, "[{key}]"),
        }
    }
}

/// What kind of thing is wrong with a field, as `status.details.causes[].reason` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// `FieldValueNotFound`
    NotFound,
    /// `FieldValueRequired`
    Required,
    /// `FieldValueDuplicate`
    Duplicate,
    /// `FieldValueInvalid`
    Invalid,
    /// `FieldValueNotSupported`
    NotSupported,
    /// `FieldValueForbidden`
    Forbidden,
    /// `FieldValueTooLong`
    TooLong,
    /// `FieldValueTooMany`
    TooMany,
    /// `FieldValueTypeInvalid`
    TypeInvalid,
    /// `InternalError`
    Internal,
}

impl ErrorKind {
    /// The machine-readable reason.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }
}

/// One thing that is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The path as text.
    pub field: String,
    /// What kind of thing.
    pub kind: ErrorKind,
    /// The sentence without the field: `Required value: must name a port`.
    pub body: String,
}

/// `field: body`, as upstream words it.
impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body)
    }
}

/// Collects what is wrong with an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ErrorList(Vec<FieldError>);

impl ErrorList {
    /// How many errors are kept; the rest would only be noise.
    pub const MAX: usize = 512;

    fn push(&mut self, path: &Path<'_>, kind: ErrorKind, body: String) {
        if self.0.len() < Self::MAX {
            self.0.push(FieldError { field: path.to_string(), kind, body });
        }
    }

    /// A value is missing.
    pub fn required(&mut self, path: &Path<'_>, detail: &str) {
        self.push(path, ErrorKind::Required, with_detail("Required value", detail));
    }

    /// A value is not acceptable; `value` is shown quoted if it is text.
    pub fn invalid(&mut self, path: &Path<'_>, value: impl Shown, detail: &str) {
        let body = with_detail(&format!("Invalid value: {}", value.shown()), detail);
        self.push(path, ErrorKind::Invalid, body);
    }

    /// Values do not go together; none is shown, for none is wrong by itself.
    pub fn inconsistent(&mut self, path: &Path<'_>, detail: &str) {
        self.push(path, ErrorKind::Invalid, with_detail("Invalid value", detail));
    }

    /// A value is none of those that are known, which are listed as they are given.
    pub fn not_supported(&mut self, path: &Path<'_>, value: impl Shown, supported: &[&str]) {
        let names: Vec<_> = supported.iter().map(|name| format!("{name:?}")).collect();
        let body =
            format!("Unsupported value: {}: supported values: {}", value.shown(), names.join(", "));
        self.push(path, ErrorKind::NotSupported, body);
    }

    /// A value is there twice.
    pub fn duplicate(&mut self, path: &Path<'_>, value: impl Shown) {
        self.push(path, ErrorKind::Duplicate, format!("Duplicate value: {}", value.shown()));
    }

    /// A value refers to something that is not there.
    pub fn not_found(&mut self, path: &Path<'_>, value: impl Shown) {
        self.push(path, ErrorKind::NotFound, format!("Not found: {}", value.shown()));
    }

    /// A value may not be set, or not changed.
    pub fn forbidden(&mut self, path: &Path<'_>, detail: &str) {
        self.push(path, ErrorKind::Forbidden, with_detail("Forbidden", detail));
    }

    /// A value is longer than `max` bytes.
    pub fn too_long(&mut self, path: &Path<'_>, max: usize) {
        let body = format!("Too long: may not be more than {max} bytes");
        self.push(path, ErrorKind::TooLong, body);
    }

    /// A list has more than `max` items.
    pub fn too_many(&mut self, path: &Path<'_>, actual: usize, max: usize) {
        let items = if max == 1 { "item" } else { "items" };
        let body = format!("Too many: {actual}: must have at most {max} {items}");
        self.push(path, ErrorKind::TooMany, body);
    }

    /// Takes what another list has, behind what is there.
    pub fn append(&mut self, other: Self) {
        let room = Self::MAX - self.0.len();
        self.0.extend(other.0.into_iter().take(room));
    }

    /// Puts the errors in the order of their texts.
    pub fn sort(&mut self) {
        self.0.sort_by_cached_key(ToString::to_string);
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The errors.
    pub fn iter(&self) -> std::slice::Iter<'_, FieldError> {
        self.0.iter()
    }
}

impl IntoIterator for ErrorList {
    type Item = FieldError;
    type IntoIter = std::vec::IntoIter<FieldError>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// How a value appears in a message: text in quotes, everything else bare.
pub trait Shown {
    /// The value as it appears.
    fn shown(&self) -> String;
}

impl Shown for &str {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

impl Shown for &String {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

impl Shown for String {
    fn shown(&self) -> String {
        format!("{self:?}")
    }
}

macro_rules! shown_bare {
    ($($type:ty),*) => {$(
        impl Shown for $type {
            fn shown(&self) -> String { self.to_string() }
        }
    )*};
}
shown_bare!(i32, i64, u32, u64, usize, bool, f64);

/// A value shown as it is given, for anything that has a text form of its own.
pub struct Bare<T>(pub T);

impl<T: fmt::Display> Shown for Bare<T> {
    fn shown(&self) -> String {
        self.0.to_string()
    }
}

fn with_detail(body: &str, detail: &str) -> String {
    if detail.is_empty() { body.to_owned() } else { format!("{body}: {detail}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_upstream_words_them() {
        let mut errors = ErrorList::default();
        let spec = Path::root("spec");
        let containers = spec.child("containers");
        let first = containers.index(0);
        errors.required(&first.child("name"), "");
        errors.invalid(&first.child("ports"), 70000, "must be between 1 and 65535, inclusive");
        errors.not_supported(&spec.child("restartPolicy"), "Maybe", &["Always", "Never"]);
        let text: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            text,
            [
                "spec.containers[0].name: Required value",
                "spec.containers[0].ports: Invalid value: 70000: must be between 1 and 65535, inclusive",
                "spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \"Never\"",
            ]
        );
    }
}
