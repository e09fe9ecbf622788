//! What expressions work with: numbers, texts, and objects that stay where they are.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::fault::{Fault, Outcome};
use crate::structural::{ListType, Node};

/// A value. Objects and lists of JSON are only looked at, through the schema they have.
#[derive(Clone, Debug)]
pub enum Val<'a> {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A whole number that is not negative.
    Uint(u64),
    /// A number.
    Double(f64),
    /// A text.
    Text(Text<'a>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A point in time.
    Time(Timestamp),
    /// A length of time.
    Duration(SignedDuration),
    /// A list that an expression has made.
    List(Arc<Vec<Val<'a>>>),
    /// A map that an expression has made, or an object put together from parts.
    Map(Arc<BTreeMap<MapKey, Val<'a>>>),
    /// An object or a list, as it was written.
    Json(&'a Value, Option<&'a Node>),
    /// What may be there.
    Optional(Option<Arc<Val<'a>>>),
    /// A type.
    Type(&'static str),
    /// What only its own functions know.
    Opaque(Arc<dyn Opaque + 'a>),
}

/// A text, of the object or of an expression's own.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// It stands in an object.
    Borrowed(&'a str),
    /// It was made.
    Shared(Arc<str>),
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

/// The key of a map. A number is the same key whatever its type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MapKey {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A text.
    Text(Arc<str>),
}

/// A value with functions of its own.
pub trait Opaque: Debug + Send + Sync {
    /// The name of its type.
    fn type_name(&self) -> &'static str;

    /// Calls a function on it; `None` where it has none of that name.
    fn call<'a>(&self, function: &str, arguments: &[Val<'a>]) -> Option<Outcome<'a>>;

    /// What it has under a name.
    fn field<'a>(&self, _name: &str) -> Option<Val<'a>> {
        None
    }

    /// How it compares with another of its type.
    fn compare(&self, _other: &dyn Opaque) -> Option<Ordering> {
        None
    }

    /// By what it is compared and shown.
    fn key(&self) -> String;
}

impl<'a> Val<'a> {
    /// A text that is made.
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::Text(Text::Shared(text.into()))
    }

    /// A list that is made.
    pub fn list(items: Vec<Self>) -> Self {
        Self::List(Arc::new(items))
    }

    /// An object of parts.
    pub fn object(parts: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        let parts = parts.into_iter().map(|(name, part)| (MapKey::Text(name.into()), part));
        Self::Map(Arc::new(parts.collect()))
    }

    /// A value of an object that nothing is known of.
    pub fn of(value: &'a Value) -> Self {
        Self::with(value, None)
    }

    /// A value of an object, through its schema.
    pub(crate) fn with(value: &'a Value, schema: Option<&'a Node>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => {
                let is_double = schema.is_some_and(|node| &*node.kind == "number");
                match (number.as_i64(), number.as_u64(), number.as_f64()) {
                    (_, _, Some(number)) if is_double => Self::Double(number),
                    (Some(whole), ..) => Self::Int(whole),
                    (_, Some(whole), _) => Self::Uint(whole),
                    (_, _, Some(number)) if schema.is_some_and(|node| &*node.kind == "integer") => {
                        #[expect(clippy::cast_possible_truncation, reason = "it is saturated")]
                        let whole = number as i64;
                        Self::Int(whole)
                    }
                    (_, _, Some(number)) => Self::Double(number),
                    _ => Self::Null,
                }
            }
            Value::String(text) => schema
                .and_then(|node| of_format(node.format(), text))
                .unwrap_or(Self::Text(Text::Borrowed(text))),
            Value::Array(_) | Value::Object(_) => Self::Json(value, schema),
        }
    }

    /// The name of its type.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Time(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::List(_) | Self::Json(Value::Array(_), _) => "list",
            Self::Map(_) | Self::Json(..) => "map",
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Opaque(own) => own.type_name(),
        }
    }

    /// How many elements a list or a map has.
    pub(crate) fn count(&self) -> Option<usize> {
        Some(match self {
            Self::List(items) => items.len(),
            Self::Map(map) => map.len(),
            Self::Json(Value::Array(items), _) => items.len(),
            Self::Json(Value::Object(map), _) => map.len(),
            _ => return None,
        })
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self, Self::List(_) | Self::Json(Value::Array(_), _))
    }

    fn is_map(&self) -> bool {
        matches!(self, Self::Map(_) | Self::Json(Value::Object(_), _))
    }

    /// An element of a list.
    pub(crate) fn item(&self, at: usize) -> Option<Self> {
        match self {
            Self::List(items) => items.get(at).cloned(),
            Self::Json(Value::Array(items), schema) => {
                let items_schema = schema.and_then(|node| node.items.as_deref());
                Some(Self::with(items.get(at)?, items_schema))
            }
            _ => None,
        }
    }

    /// The elements of a list.
    pub(crate) fn items(&self) -> impl Iterator<Item = Self> + '_ {
        let count = if self.is_list() { self.count().unwrap_or(0) } else { 0 };
        (0..count).filter_map(|at| self.item(at))
    }

    /// The keys of a map, in order.
    pub(crate) fn keys(&self) -> Vec<Self> {
        match self {
            Self::Map(map) => map.keys().map(MapKey::to_val).collect(),
            Self::Json(Value::Object(map), _) => {
                map.keys().map(|key| Self::Text(Text::Borrowed(key))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// What a map has under a key.
    pub(crate) fn entry(&self, key: &Val<'_>) -> Option<Self> {
        match (self, key) {
            (Self::Json(Value::Object(map), schema), Val::Text(key)) => {
                let schema = schema.and_then(|node| child(node, key));
                Some(Self::with(map.get(&**key)?, schema))
            }
            (Self::Map(map), key) => map.get(&MapKey::of(key)?).cloned(),
            _ => None,
        }
    }

    /// What an object has under a name, which stands in an expression as `name`.
    pub(crate) fn field(&self, name: &str, unescaped: &str) -> Option<Self> {
        if let Self::Opaque(own) = self {
            return own.field(name);
        }
        let name = match self {
            Self::Json(_, Some(node)) if node.fields().next().is_some() => unescaped,
            _ => name,
        };
        self.entry(&Val::Text(Text::Borrowed(name)))
    }

    /// Whether two values are the same, numbers whatever their type.
    pub(crate) fn equals(&self, other: &Val<'_>) -> bool {
        if let (Some(left), Some(right)) = (self.number(), other.number()) {
            return left.compare(right) == Some(Ordering::Equal);
        }
        match (self, other) {
            (Self::Null, Val::Null) => true,
            (Self::Bool(left), Val::Bool(right)) => left == right,
            (Self::Text(left), Val::Text(right)) => **left == **right,
            (Self::Bytes(left), Val::Bytes(right)) => left == right,
            (Self::Time(left), Val::Time(right)) => left == right,
            (Self::Duration(left), Val::Duration(right)) => left == right,
            (Self::Type(left), Val::Type(right)) => left == right,
            (Self::Optional(left), Val::Optional(right)) => match (left, right) {
                (Some(left), Some(right)) => left.equals(right),
                (None, None) => true,
                _ => false,
            },
            (Self::Opaque(left), Val::Opaque(right)) => {
                left.type_name() == right.type_name()
                    && match left.compare(&**right) {
                        Some(order) => order == Ordering::Equal,
                        None => left.key() == right.key(),
                    }
            }
            _ if self.is_list() && other.is_list() => self.same_list(other),
            _ if self.is_map() && other.is_map() => {
                self.count() == other.count()
                    && self.keys().iter().all(|key| match (self.entry(key), other.entry(key)) {
                        (Some(left), Some(right)) => left.equals(&right),
                        _ => false,
                    })
            }
            _ => false,
        }
    }

    /// Sets and lists with keys are the same in whatever order.
    fn same_list(&self, other: &Val<'_>) -> bool {
        if self.count() != other.count() {
            return false;
        }
        match self.list_type() {
            ListType::Set => self.items().all(|one| other.items().any(|other| one.equals(&other))),
            ListType::Map(keys) => self.items().all(|one| {
                other.items().any(|other| same_keys(keys, &one, &other) && one.equals(&other))
            }),
            _ => self.items().zip(other.items()).all(|(left, right)| left.equals(&right)),
        }
    }

    pub(crate) fn list_type(&self) -> &ListType {
        match self {
            Self::Json(_, Some(node)) => &node.list,
            _ => &ListType::Unsaid,
        }
    }

    pub(crate) fn number(&self) -> Option<Number> {
        Some(match self {
            Self::Int(number) => Number::Whole(i128::from(*number)),
            Self::Uint(number) => Number::Whole(i128::from(*number)),
            Self::Double(number) => Number::Double(*number),
            _ => return None,
        })
    }

    /// Which of two comes first, if they have an order.
    pub(crate) fn order(&self, other: &Val<'_>) -> Result<Option<Ordering>, Fault> {
        if let (Some(left), Some(right)) = (self.number(), other.number()) {
            return Ok(left.compare(right));
        }
        Ok(Some(match (self, other) {
            (Self::Bool(left), Val::Bool(right)) => left.cmp(right),
            (Self::Text(left), Val::Text(right)) => (**left).cmp(&**right),
            (Self::Bytes(left), Val::Bytes(right)) => left.cmp(right),
            (Self::Time(left), Val::Time(right)) => left.cmp(right),
            (Self::Duration(left), Val::Duration(right)) => left.cmp(right),
            _ => return Err(Fault::no_such_overload()),
        }))
    }

    /// How large it is, in characters or elements, for what it costs.
    pub(crate) fn size(&self) -> u64 {
        let size = match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
            _ => self.count().unwrap_or(1),
        };
        u64::try_from(size).unwrap_or(u64::MAX)
    }

    /// It as JSON.
    ///
    /// # Errors
    /// What has no form in JSON.
    pub fn to_json(&self) -> Result<Value, Fault> {
        Ok(match self {
            Self::Null => Value::Null,
            Self::Bool(value) => (*value).into(),
            Self::Int(number) => (*number).into(),
            Self::Uint(number) => (*number).into(),
            Self::Double(number) => (*number).into(),
            Self::Text(text) => (**text).into(),
            Self::Bytes(bytes) => {
                use base64::Engine as _;
                base64::engine::general_purpose::STANDARD.encode(bytes).into()
            }
            Self::Time(time) => time.to_string().into(),
            Self::Duration(duration) => super::functions::times::show(*duration).into(),
            Self::Json(value, _) => (*value).clone(),
            Self::List(items) => {
                Value::Array(items.iter().map(Self::to_json).collect::<Result<_, _>>()?)
            }
            Self::Map(map) => {
                let each = map.iter().map(|(key, value)| Ok((key.show(), value.to_json()?)));
                Value::Object(each.collect::<Result<_, Fault>>()?)
            }
            Self::Optional(Some(value)) => value.to_json()?,
            Self::Optional(None) => Value::Null,
            Self::Type(name) => (*name).into(),
            Self::Opaque(own) => own.key().into(),
        })
    }
}

fn same_keys(keys: &[Box<str>], one: &Val<'_>, other: &Val<'_>) -> bool {
    keys.iter().all(|key| match (one.field(key, key), other.field(key, key)) {
        (Some(left), Some(right)) => left.equals(&right),
        (None, None) => true,
        _ => false,
    })
}

/// The schema of what an object has under a name.
fn child<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    node.field(name).or(node.values.as_deref())
}

fn of_format<'a>(format: &str, text: &str) -> Option<Val<'a>> {
    match format {
        "date-time" => text.parse().ok().map(Val::Time),
        "date" => {
            let date = text.parse::<jiff::civil::Date>().ok()?;
            let at = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
            Some(Val::Time(at.timestamp()))
        }
        "duration" => super::functions::times::parse(text).map(Val::Duration),
        "byte" => {
            use base64::Engine as _;
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
            Some(Val::Bytes(bytes.into()))
        }
        _ => None,
    }
}

impl MapKey {
    /// A value as a key, if it can be one.
    pub(crate) fn of(value: &Val<'_>) -> Option<Self> {
        Some(match value {
            Val::Bool(value) => Self::Bool(*value),
            Val::Int(number) => Self::Int(i128::from(*number)),
            Val::Uint(number) => Self::Int(i128::from(*number)),
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and small")]
            Val::Double(number) if number.fract() == 0.0 && number.abs() < 1e18 => {
                Self::Int(*number as i128)
            }
            Val::Text(text) => Self::Text(Arc::from(&**text)),
            _ => return None,
        })
    }

    fn to_val<'a>(&self) -> Val<'a> {
        match self {
            Self::Bool(value) => Val::Bool(*value),
            Self::Int(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => Val::Int(number),
                (_, Ok(number)) => Val::Uint(number),
                _ => Val::Null,
            },
            Self::Text(text) => Val::text(text.clone()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Int(number) => number.to_string(),
            Self::Text(text) => text.to_string(),
        }
    }
}

/// A number of either sort.
#[derive(Clone, Copy)]
pub(crate) enum Number {
    Whole(i128),
    Double(f64),
}

impl Number {
    pub(crate) fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(left), Self::Whole(right)) => Some(left.cmp(&right)),
            (Self::Double(left), Self::Double(right)) => left.partial_cmp(&right),
            (Self::Whole(left), Self::Double(right)) => beside(left, right),
            (Self::Double(left), Self::Whole(right)) => beside(right, left).map(Ordering::reverse),
        }
    }
}

/// Compares a whole number with another one exactly.
fn beside(whole: i128, number: f64) -> Option<Ordering> {
    if number.is_nan() {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "it is saturated")]
    let floor = number.floor() as i128;
    Some(match whole.cmp(&floor) {
        Ordering::Equal if number.fract() != 0.0 => Ordering::Less,
        order => order,
    })
}
