use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::{ApiError, Resource, Result};

/// A field selector: all of its requirements must hold. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldSelector(Arc<[FieldRequirement]>);

/// One part of a [`FieldSelector`]: a field has, or has not, a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FieldRequirement {
    /// Path of the field, `metadata.name`.
    pub field: String,
    /// Whether it must have the value; otherwise it must not.
    pub equals: bool,
    /// The value, without escapes.
    pub value: String,
}

impl FieldSelector {
    /// Reads `metadata.name=x,spec.nodeName!=y`. In values `\`, `,` and `=` are written with a
    /// backslash before them.
    ///
    /// # Errors
    /// `BadRequest` in upstream's words.
    pub fn parse(text: &str) -> Result<Self> {
        let mut terms = split_terms(text);
        terms.sort_unstable();
        let mut requirements = Vec::new();
        for term in terms.into_iter().filter(|term| !term.is_empty()) {
            let Some((field, equals, value)) = split_term(term) else {
                return Err(ApiError::bad_request(format!(
                    "invalid selector: '{text}'; can't understand '{term}'"
                )));
            };
            let value = unescape(value)?;
            if !(field.is_empty() && value.is_empty()) {
                requirements.push(FieldRequirement { field: field.to_owned(), equals, value });
            }
        }
        // One order whichever way the terms were written, so that equal selectors are equal.
        requirements.sort_unstable();
        Ok(Self(requirements.into()))
    }

    /// The selector that matches all objects.
    pub fn everything() -> Self {
        Self(Arc::new([]))
    }

    /// The selector that asks one field for one value.
    pub fn equals(field: &str, value: &str) -> Self {
        let (field, value) = (field.to_owned(), value.to_owned());
        Self(Arc::new([FieldRequirement { field, equals: true, value }]))
    }

    /// Whether an object is selected; `value` gives its fields. A missing field is empty.
    pub fn matches<'a>(&self, value: impl Fn(&str) -> Option<Cow<'a, str>>) -> bool {
        self.0.iter().all(|one| {
            let found = value(&one.field);
            (found.as_deref().unwrap_or_default() == one.value) == one.equals
        })
    }

    /// The value that this selector asks of `field`, for use with an index.
    pub fn requires(&self, field: &str) -> Option<&str> {
        let one = self.0.iter().find(|one| one.equals && one.field == field)?;
        Some(&one.value)
    }

    /// The requirements.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.0
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that every field is one that selectors may name.
    ///
    /// # Errors
    /// `BadRequest` naming the first that is not.
    pub fn validate(&self, known: impl Fn(&str) -> bool) -> Result<()> {
        match self.unknown(known) {
            None => Ok(()),
            Some(field) => {
                Err(ApiError::bad_request(format!("field label not supported: {field}")))
            }
        }
    }

    /// Checks that every field is one by which `resource` can be selected.
    ///
    /// # Errors
    /// `BadRequest` naming the first that is not; upstream words it differently for kinds that
    /// have no selectable fields of their own.
    pub fn validate_for(&self, resource: &Resource) -> Result<()> {
        let own = &resource.selectable_fields;
        let usual = own.is_empty() && !resource.is_custom();
        let Some(field) = self.unknown(|field| match field {
            "metadata.name" => true,
            "metadata.namespace" => usual || resource.is_namespaced(),
            field => own.iter().any(|one| one == field),
        }) else {
            return Ok(());
        };
        Err(ApiError::bad_request(match &*resource.kind {
            _ if usual => format!(
                "{field:?} is not a known field selector: only \"metadata.name\", \
                 \"metadata.namespace\""
            ),
            "Job" if !resource.is_custom() => {
                format!("field label {field:?} not supported for Job")
            }
            "ResourceSlice" if !resource.is_custom() => {
                let of = format!("{}, Kind=ResourceSlice", resource.api_version());
                format!("field label not supported for {of}: {field}")
            }
            _ => format!("field label not supported: {field}"),
        }))
    }

    fn unknown(&self, known: impl Fn(&str) -> bool) -> Option<&str> {
        self.0.iter().map(|one| &one.field[..]).find(|field| !known(field))
    }
}

impl FromIterator<FieldRequirement> for FieldSelector {
    fn from_iter<I: IntoIterator<Item = FieldRequirement>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

impl Default for FieldSelector {
    fn default() -> Self {
        Self::everything()
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, FieldRequirement { field, equals, value }) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let operator = if *equals { "=" } else { "!=" };
            write!(f, "{comma}{field}{operator}")?;
            for char in value.chars() {
                if matches!(char, '\\' | ',' | '=') {
                    f.write_str("\\")?;
                }
                write!(f, "{char}")?;
            }
        }
        Ok(())
    }
}

fn split_terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let at = term.bytes().enumerate().find_map(|(at, byte)| {
        (byte == b'=' || term.as_bytes()[at..].starts_with(b"!=")).then_some(at)
    })?;
    let (field, rest) = term.split_at(at);
    match rest.strip_prefix("!=") {
        Some(value) => Some((field, false, value)),
        None => {
            rest.strip_prefix("==").or(rest.strip_prefix('=')).map(|value| (field, true, value))
        }
    }
}

fn unescape(text: &str) -> Result<String> {
    let refuse =
        |what: String| Err(ApiError::bad_request(format!("invalid field selector: {what}")));
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next() {
                Some(char @ ('\\' | ',' | '=')) => value.push(char),
                Some(char) => return refuse(format!("invalid escape sequence: \\{char}")),
                None => return refuse("invalid escape sequence: \\".to_owned()),
            },
            // Upstream prints the character's number.
            ',' | '=' => return refuse(format!("unescaped character in value: {}", char as u32)),
            _ => value.push(char),
        }
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(field: &str) -> Option<Cow<'static, str>> {
        match field {
            "metadata.name" => Some("a,b=c\\d".into()),
            "spec.nodeName" => Some("n1".into()),
            _ => None,
        }
    }

    #[test]
    fn the_canonical_form_has_one_order() {
        let selector = FieldSelector::parse("=u,e=.p,==u,=d").unwrap();
        assert_eq!(selector.to_string(), "=d,=u,=u,e=.p");
        assert_eq!(FieldSelector::parse(&selector.to_string()).unwrap(), selector);
    }

    #[test]
    fn fields_are_compared_for_equality() {
        let selects = |text: &str| FieldSelector::parse(text).unwrap().matches(fields);
        assert!(selects(""));
        assert!(selects("spec.nodeName=n1,spec.nodeName!=n2"));
        assert!(selects("spec.nodeName==n1"));
        assert!(selects("status.phase=,status.phase!=x"));
        assert!(!selects("spec.nodeName!=n1"));
        assert!(!selects("spec.nodeName=n1,status.phase=Running"));
        assert!(selects(r"metadata.name=a\,b\=c\\d"));
    }

    #[test]
    fn it_prints_what_it_reads() {
        for text in ["", r"a=x\,y,b!=\\\=", "a=", "metadata.name=x"] {
            assert_eq!(FieldSelector::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(FieldSelector::parse("b=1,,a==2,=").unwrap().to_string(), "a=2,b=1");
    }

    #[test]
    fn an_exact_value_can_be_asked_for() {
        let selector = FieldSelector::parse("a!=1,spec.nodeName=n").unwrap();
        assert_eq!(selector.requires("spec.nodeName"), Some("n"));
        assert_eq!(selector.requires("a"), None);
    }

    #[test]
    fn what_is_no_selector_is_refused_in_upstream_words() {
        for (text, message) in [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
            ("a=\\", r"invalid field selector: invalid escape sequence: \"),
            ("a=b=c", "invalid field selector: unescaped character in value: 61"),
        ] {
            let error = FieldSelector::parse(text).unwrap_err();
            assert_eq!((error.code(), error.message()), (400, message));
        }
    }

    #[test]
    fn fields_nobody_can_select_by_are_refused() {
        let selector = FieldSelector::parse("spec.foo=1").unwrap();
        let error = selector.validate(|field| field == "metadata.name").unwrap_err();
        assert_eq!(error.message(), "field label not supported: spec.foo");
        let catalog = crate::Catalog::builtin();
        let config_maps = catalog.of::<k8s_openapi::api::core::v1::ConfigMap>().unwrap();
        let error = selector.validate_for(&config_maps).unwrap_err();
        assert_eq!(
            error.message(),
            "\"spec.foo\" is not a known field selector: only \"metadata.name\", \
             \"metadata.namespace\""
        );
        FieldSelector::parse("metadata.name=x").unwrap().validate_for(&config_maps).unwrap();
        for (group, plural, text, expected) in [
            ("batch", "jobs", "spec.foo=1", "field label \"spec.foo\" not supported for Job"),
            ("", "nodes", "metadata.namespace=a", "field label not supported: metadata.namespace"),
            ("", "services", "spec.foo=1", "field label not supported: spec.foo"),
            (
                "resource.k8s.io",
                "resourceslices",
                "spec.foo=1",
                "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: spec.foo",
            ),
        ] {
            let resource = catalog.by_path(group, "v1", plural).unwrap();
            let refused = FieldSelector::parse(text).unwrap().validate_for(&resource).unwrap_err();
            assert_eq!(refused.message(), expected);
        }
    }
}
