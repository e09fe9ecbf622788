//! Structural schemas: what a CustomResourceDefinition says of its objects, in a form that is small
//! and quick to walk.
//!
//! A [`Node`] is made once of a version's `openAPIV3Schema`. It prunes ([`prune`]), fills in
//! defaults ([`defaults`]), checks values ([`check`]) and says how apply merges ([`types`]).

mod check;
mod defaults;
pub(crate) mod formats;
mod lists;
mod prune;
mod rules;
mod types;

use std::sync::OnceLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;
use serde_json::Value;

pub(crate) use rules::{About, VARIABLES};
pub(crate) use types::schema_of;

/// What every object has, whatever its schema says.
pub(crate) const OF_OBJECTS: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// A part of a schema.
#[derive(Debug, Default)]
pub struct Node {
    /// `type`, empty for any.
    pub(crate) kind: Box<str>,
    pub(crate) nullable: bool,
    /// Whether unknown fields stay.
    pub(crate) preserves: bool,
    /// Whether it is an object with `apiVersion`, `kind` and `metadata` of its own.
    pub(crate) embeds: bool,
    pub(crate) int_or_string: bool,
    /// Whether keys that are no fields may have any value.
    pub(crate) any_values: bool,
    /// Whether a map is one value for server-side apply.
    pub(crate) atomic_map: bool,
    /// Ordered by name.
    fields: Box<[(Box<str>, Node)]>,
    /// The values of keys that are no fields.
    pub(crate) values: Option<Box<Node>>,
    pub(crate) items: Option<Box<Node>>,
    pub(crate) default: Option<Box<Value>>,
    pub(crate) list: ListType,
    limits: Option<Box<Limits>>,
    rules: Box<[rules::Rule]>,
    /// Whether there are rules here or within.
    ruled: bool,
}

/// How a list is merged.
#[derive(Debug, Default, PartialEq)]
pub(crate) enum ListType {
    /// Nothing is said.
    #[default]
    Unsaid,
    Atomic,
    Set,
    Map(Box<[Box<str>]>),
}

/// What a value must keep to, beyond its type.
#[derive(Debug, Default)]
struct Limits {
    choices: Vec<Value>,
    format: Box<str>,
    pattern: Option<Pattern>,
    min_length: Option<i64>,
    max_length: Option<i64>,
    minimum: Option<(f64, bool)>,
    maximum: Option<(f64, bool)>,
    multiple_of: Option<f64>,
    min_items: Option<i64>,
    max_items: Option<i64>,
    unique_items: bool,
    min_properties: Option<i64>,
    max_properties: Option<i64>,
    required: Box<[Box<str>]>,
    all_of: Box<[Node]>,
    any_of: Box<[Node]>,
    one_of: Box<[Node]>,
    not: Option<Box<Node>>,
}

/// What a text must match. Compiled when first needed: a compiled pattern is a hundred times its
/// text, and of most definitions few patterns are ever asked.
#[derive(Debug)]
struct Pattern {
    text: Box<str>,
    compiled: OnceLock<Option<Regex>>,
}

impl Pattern {
    fn new(text: &str) -> Self {
        Self { text: text.into(), compiled: OnceLock::new() }
    }

    /// The definition was refused if its pattern is none, so what does not compile bounds nothing.
    fn fits(&self, value: &str) -> bool {
        let compiled = self.compiled.get_or_init(|| Regex::new(&self.text).ok());
        compiled.as_ref().is_none_or(|regex| regex.is_match(value))
    }
}

impl Node {
    /// A schema in its small form.
    pub(crate) fn of(schema: &JSONSchemaProps) -> Self {
        let mut node = Self::shape_of(schema);
        node.add_rules(schema);
        node
    }

    /// Compiles the rules of a schema and of those within it.
    fn add_rules(&mut self, schema: &JSONSchemaProps) {
        self.rules = rules::of(schema);
        self.ruled = !self.rules.is_empty();
        for (name, field) in &mut self.fields {
            if let Some(schema) = schema.properties.as_ref().and_then(|all| all.get(&**name)) {
                field.add_rules(schema);
                self.ruled |= field.ruled;
            }
        }
        if let (Some(values), Some(JSONSchemaPropsOrBool::Schema(schema))) =
            (&mut self.values, &schema.additional_properties)
        {
            values.add_rules(schema);
            self.ruled |= values.ruled;
        }
        if let (Some(items), Some(JSONSchemaPropsOrArray::Schema(schema))) =
            (&mut self.items, &schema.items)
        {
            items.add_rules(schema);
            self.ruled |= items.ruled;
        }
    }

    /// A schema without its rules.
    pub(crate) fn shape_of(schema: &JSONSchemaProps) -> Self {
        let is = |field: Option<bool>| field == Some(true);
        let text = |field: &Option<String>| field.as_deref().unwrap_or_default().into();
        let fields = schema.properties.iter().flatten();
        let (values, any_values) = match &schema.additional_properties {
            Some(JSONSchemaPropsOrBool::Schema(values)) => (Some(Self::shape_of(values)), false),
            Some(JSONSchemaPropsOrBool::Bool(any)) => (None, *any),
            None => (None, false),
        };
        let items = match &schema.items {
            Some(JSONSchemaPropsOrArray::Schema(items)) => Some(Box::new(Self::shape_of(items))),
            _ => None,
        };
        Self {
            kind: text(&schema.type_),
            nullable: is(schema.nullable),
            preserves: is(schema.x_kubernetes_preserve_unknown_fields),
            embeds: is(schema.x_kubernetes_embedded_resource),
            int_or_string: is(schema.x_kubernetes_int_or_string),
            any_values,
            atomic_map: schema.x_kubernetes_map_type.as_deref() == Some("atomic"),
            fields: fields
                .map(|(name, field)| (name.as_str().into(), Self::shape_of(field)))
                .collect(),
            values: values.map(Box::new),
            items,
            default: schema.default.as_ref().map(|default| Box::new(default.0.clone())),
            list: ListType::of(schema),
            limits: Limits::of(schema).map(Box::new),
            rules: Box::default(),
            ruled: false,
        }
    }

    /// The schemas of what may stand within a value.
    fn within(&self) -> impl Iterator<Item = &Self> {
        let fields = self.fields.iter().map(|(_, node)| node);
        fields.chain(self.values.as_deref()).chain(self.items.as_deref())
    }

    /// A schema that knows nothing and lets everything stay.
    pub(crate) fn open() -> Self {
        Self { preserves: true, ..Self::default() }
    }

    /// The schema of a field that is declared.
    pub(crate) fn field(&self, name: &str) -> Option<&Self> {
        let at = self.fields.binary_search_by(|(field, _)| (**field).cmp(name)).ok()?;
        self.fields.get(at).map(|(_, node)| node)
    }

    /// The format of a text or a number.
    pub(crate) fn format(&self) -> &str {
        self.limits.as_ref().map_or("", |limits| &limits.format)
    }

    /// Most characters of a text.
    pub(crate) fn max_length(&self) -> Option<u64> {
        self.bound(|limits| limits.max_length)
    }

    /// Most items of a list.
    pub(crate) fn max_items(&self) -> Option<u64> {
        self.bound(|limits| limits.max_items)
    }

    /// Most entries of a map.
    pub(crate) fn max_properties(&self) -> Option<u64> {
        self.bound(|limits| limits.max_properties)
    }

    /// The length of the longest text that may be chosen, if there is a choice.
    pub(crate) fn longest_choice(&self) -> Option<u64> {
        self.bound(|limits| {
            let lengths = limits.choices.iter().filter_map(Value::as_str).map(str::len);
            lengths.max().and_then(|length| i64::try_from(length).ok())
        })
    }

    fn bound(&self, bound: impl FnOnce(&Limits) -> Option<i64>) -> Option<u64> {
        self.limits.as_deref().and_then(bound).and_then(|bound| u64::try_from(bound).ok())
    }

    /// How many fields are declared.
    pub(crate) fn field_count(&self) -> u64 {
        u64::try_from(self.fields.len()).unwrap_or(u64::MAX)
    }

    /// The declared fields, ordered by name.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.fields.iter().map(|(name, node)| (&**name, node))
    }

    /// Whether a value or one within it has a default.
    pub(crate) fn has_defaults(&self) -> bool {
        self.default.is_some() || self.within().any(Self::has_defaults)
    }
}

impl ListType {
    fn of(schema: &JSONSchemaProps) -> Self {
        match schema.x_kubernetes_list_type.as_deref() {
            Some("set") => Self::Set,
            Some("map") => {
                let keys = schema.x_kubernetes_list_map_keys.iter().flatten();
                Self::Map(keys.map(|key| key.as_str().into()).collect())
            }
            Some("atomic") => Self::Atomic,
            _ => Self::Unsaid,
        }
    }
}

impl Limits {
    fn of(schema: &JSONSchemaProps) -> Option<Self> {
        let each =
            |all: &Option<Vec<JSONSchemaProps>>| all.iter().flatten().map(Node::shape_of).collect();
        let bound = |bound: Option<f64>, strict: Option<bool>| {
            bound.map(|bound| (bound, strict == Some(true)))
        };
        let pattern = schema.pattern.as_deref().filter(|pattern| !pattern.is_empty());
        let limits = Self {
            choices: schema.enum_.iter().flatten().map(|choice| choice.0.clone()).collect(),
            format: schema.format.as_deref().unwrap_or_default().into(),
            pattern: pattern.map(Pattern::new),
            min_length: schema.min_length,
            max_length: schema.max_length,
            minimum: bound(schema.minimum, schema.exclusive_minimum),
            maximum: bound(schema.maximum, schema.exclusive_maximum),
            multiple_of: schema.multiple_of.filter(|factor| *factor != 0.0),
            min_items: schema.min_items,
            max_items: schema.max_items,
            unique_items: schema.unique_items == Some(true),
            min_properties: schema.min_properties,
            max_properties: schema.max_properties,
            required: schema.required.iter().flatten().map(|name| name.as_str().into()).collect(),
            all_of: each(&schema.all_of),
            any_of: each(&schema.any_of),
            one_of: each(&schema.one_of),
            not: schema.not.as_ref().map(|not| Box::new(Node::shape_of(not))),
        };
        let says = !limits.choices.is_empty()
            || !limits.format.is_empty()
            || limits.pattern.is_some()
            || limits.min_length.is_some()
            || limits.max_length.is_some()
            || limits.minimum.is_some()
            || limits.maximum.is_some()
            || limits.multiple_of.is_some()
            || limits.min_items.is_some()
            || limits.max_items.is_some()
            || limits.unique_items
            || limits.min_properties.is_some()
            || limits.max_properties.is_some()
            || !limits.required.is_empty()
            || !limits.all_of.is_empty()
            || !limits.any_of.is_empty()
            || !limits.one_of.is_empty()
            || limits.not.is_some();
        says.then_some(limits)
    }
}

#[cfg(test)]
mod tests;
