//! Types of expressions, and how they fit together.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Deepest that types stand within each other; what is deeper is anything.
const DEPTH_MAX: usize = 64;

/// A type.
#[derive(Clone, Debug)]
pub enum Ty<'a> {
    /// Whatever it is shows when it is evaluated.
    Dyn,
    /// Something is wrong with it, which has been said.
    Wrong,
    /// `null`.
    Null,
    /// `bool`.
    Bool,
    /// `int`.
    Int,
    /// `uint`.
    Uint,
    /// `double`.
    Double,
    /// `string`.
    Text,
    /// `bytes`.
    Bytes,
    /// `google.protobuf.Timestamp`.
    Time,
    /// `google.protobuf.Duration`.
    Duration,
    /// A type itself.
    Type(Arc<Ty<'a>>),
    /// A list of items of a type.
    List(Arc<Ty<'a>>),
    /// A map of keys and values.
    Map(Arc<(Ty<'a>, Ty<'a>)>),
    /// What may be there.
    Optional(Arc<Ty<'a>>),
    /// What only its own functions know.
    Own(&'static str),
    /// An object with fields.
    Object(Arc<dyn Fields<'a> + 'a>),
    /// What follows from how it is used.
    Open(u32),
}

/// The fields of a type of objects.
pub trait Fields<'a>: fmt::Debug + Send + Sync {
    /// The name of the type.
    fn name(&self) -> &str;

    /// The type of a field, which is named as expressions name it.
    fn field(&self, name: &str) -> Option<Ty<'a>>;
}

impl<'a> Ty<'a> {
    /// A list of items of a type.
    pub fn list(items: Self) -> Self {
        Self::List(items.within())
    }

    /// A map of texts to values of a type.
    pub fn texts_to(values: Self) -> Self {
        Self::map(Self::Text, values)
    }

    /// A map. Keys are simple values: so types are chains, and never grow like trees.
    pub(super) fn map(keys: Self, values: Self) -> Self {
        let keys = if keys.is_plain() { keys } else { Self::Dyn };
        let values = if values.depth() < DEPTH_MAX { values } else { Self::Dyn };
        Self::Map(Arc::new((keys, values)))
    }

    /// What may be there.
    pub fn optional(of: Self) -> Self {
        Self::Optional(of.within())
    }

    /// A type itself.
    pub(super) fn of_type(of: Self) -> Self {
        Self::Type(of.within())
    }

    fn within(self) -> Arc<Self> {
        Arc::new(if self.depth() < DEPTH_MAX { self } else { Self::Dyn })
    }

    fn depth(&self) -> usize {
        let (mut depth, mut here) = (0, self);
        loop {
            here = match here {
                Self::Type(of) | Self::List(of) | Self::Optional(of) => of,
                Self::Map(of) => &of.1,
                _ => return depth,
            };
            depth += 1;
        }
    }

    /// An object.
    pub fn object(fields: impl Fields<'a> + 'a) -> Self {
        Self::Object(Arc::new(fields))
    }

    /// What remains of it where a policy's variable has it: objects are anything.
    #[must_use]
    pub fn of_variable(&self) -> Self {
        match self {
            Self::List(of) => Self::list(of.of_variable()),
            Self::Map(of) => Self::map(of.0.of_variable(), of.1.of_variable()),
            Self::Object(_) | Self::Own(_) | Self::Type(_) | Self::Optional(_) => Self::Dyn,
            other => other.clone(),
        }
    }

    pub(super) fn is_unsure(&self) -> bool {
        matches!(self, Self::Dyn | Self::Wrong)
    }

    /// Whether two types are the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Type(one), Self::Type(other))
            | (Self::List(one), Self::List(other))
            | (Self::Optional(one), Self::Optional(other)) => one.is(other),
            (Self::Map(one), Self::Map(other)) => one.0.is(&other.0) && one.1.is(&other.1),
            (Self::Own(one), Self::Own(other)) => one == other,
            (Self::Object(one), Self::Object(other)) => one.name() == other.name(),
            (Self::Open(one), Self::Open(other)) => one == other,
            _ => self.is_plain() && std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    fn is_plain(&self) -> bool {
        !matches!(
            self,
            Self::Type(_)
                | Self::List(_)
                | Self::Map(_)
                | Self::Optional(_)
                | Self::Own(_)
                | Self::Object(_)
                | Self::Open(_)
        )
    }

    /// Whether `null` is one of its values.
    fn takes_null(&self) -> bool {
        matches!(
            self,
            Self::Null
                | Self::Time
                | Self::Duration
                | Self::Own(_)
                | Self::Object(_)
                | Self::Optional(_)
        )
    }

    /// Whether it says no more than another type.
    fn says_no_more_than(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn | Self::Open(_), _) => true,
            (_, Self::Dyn | Self::Open(_)) => false,
            (Self::Type(_), Self::Type(_)) => true,
            (Self::List(one), Self::List(other)) | (Self::Optional(one), Self::Optional(other)) => {
                one.says_no_more_than(other)
            }
            (Self::Map(one), Self::Map(other)) => {
                one.0.says_no_more_than(&other.0) && one.1.says_no_more_than(&other.1)
            }
            _ => self.is(other),
        }
    }

    /// Whether an open type stands in it.
    fn mentions(&self, number: u32, known: &Known<'a>) -> bool {
        match self {
            Self::Open(own) => {
                *own == number
                    || known.found.get(own).is_some_and(|found| found.mentions(number, known))
            }
            Self::Type(of) | Self::List(of) | Self::Optional(of) => of.mentions(number, known),
            Self::Map(of) => of.0.mentions(number, known) || of.1.mentions(number, known),
            _ => false,
        }
    }

    /// A type of the library for one use of it: its open types are numbered from `first`.
    pub(in super::super) fn instance<'b>(&self, first: u32) -> Ty<'b> {
        match self {
            Self::Dyn => Ty::Dyn,
            // The library has no objects.
            Self::Wrong | Self::Object(_) => Ty::Wrong,
            Self::Null => Ty::Null,
            Self::Bool => Ty::Bool,
            Self::Int => Ty::Int,
            Self::Uint => Ty::Uint,
            Self::Double => Ty::Double,
            Self::Text => Ty::Text,
            Self::Bytes => Ty::Bytes,
            Self::Time => Ty::Time,
            Self::Duration => Ty::Duration,
            Self::Type(of) => Ty::of_type(of.instance(first)),
            Self::List(of) => Ty::list(of.instance(first)),
            // Here keys may be open.
            Self::Map(of) => Ty::Map(Arc::new((of.0.instance(first), of.1.instance(first)))),
            Self::Optional(of) => Ty::optional(of.instance(first)),
            Self::Own(name) => Ty::Own(name),
            Self::Open(number) => Ty::Open(first + number),
        }
    }

    /// It with parts changed.
    pub(super) fn with(&self, part: &mut dyn FnMut(u32) -> Ty<'a>) -> Self {
        match self {
            Self::Open(number) => part(*number),
            Self::Type(of) => Self::of_type(of.with(part)),
            Self::List(of) => Self::list(of.with(part)),
            Self::Optional(of) => Self::optional(of.with(part)),
            Self::Map(of) => Self::map(of.0.with(part), of.1.with(part)),
            other => other.clone(),
        }
    }
}

impl fmt::Display for Ty<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dyn => "dyn",
            Self::Wrong => "!error!",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::Text => "string",
            Self::Bytes => "bytes",
            Self::Time => "timestamp",
            Self::Duration => "duration",
            Self::Own(name) => name,
            Self::Object(fields) => fields.name(),
            Self::Type(of) => return write!(f, "type({of})"),
            Self::List(of) => return write!(f, "list({of})"),
            Self::Optional(of) => return write!(f, "optional_type({of})"),
            Self::Map(of) => return write!(f, "map({}, {})", of.0, of.1),
            Self::Open(number) => return write!(f, "_var{number}"),
        })
    }
}

/// What has become known of open types.
#[derive(Debug, Default)]
pub(super) struct Known<'a> {
    found: HashMap<u32, Ty<'a>, ahash::RandomState>,
    /// What was known before the last tries.
    before: Vec<(u32, Option<Ty<'a>>)>,
}

impl<'a> Known<'a> {
    /// A type with what is known of its parts; what is not known is anything if asked so.
    pub(super) fn fill(&self, ty: &Ty<'a>, to_any: bool) -> Ty<'a> {
        ty.with(&mut |number| match self.found.get(&number) {
            Some(found) => self.fill(found, to_any),
            None if to_any => Ty::Dyn,
            None => Ty::Open(number),
        })
    }

    /// Whether values of one type may stand where the other is asked for. What follows for open
    /// types is noted if so.
    pub(super) fn fits(&mut self, one: &Ty<'a>, other: &Ty<'a>) -> bool {
        self.all_fit(&[(one, other)])
    }

    pub(super) fn all_fit(&mut self, pairs: &[(&Ty<'a>, &Ty<'a>)]) -> bool {
        self.before.clear();
        let fit = pairs.iter().all(|(one, other)| self.try_fit(one, other));
        if !fit {
            while let Some((number, before)) = self.before.pop() {
                match before {
                    Some(before) => self.found.insert(number, before),
                    None => self.found.remove(&number),
                };
            }
        }
        fit
    }

    fn note(&mut self, number: u32, ty: &Ty<'a>) {
        // Whatever stands for keys is settled by this.
        let settled = ty.with(&mut Ty::Open);
        let before = self.found.insert(number, settled);
        self.before.push((number, before));
    }

    fn try_fit(&mut self, one: &Ty<'a>, other: &Ty<'a>) -> bool {
        if let Ty::Open(number) = other {
            match self.stands_for(one, *number) {
                (true, _) => return true,
                (false, true) => return false,
                _ => {}
            }
        }
        if let Ty::Open(number) = one {
            return self.stands_for(other, *number).0;
        }
        match (one, other) {
            _ if one.is_unsure() || other.is_unsure() => true,
            (Ty::Null, ty) | (ty, Ty::Null) => ty.takes_null(),
            (Ty::Type(_), Ty::Type(_)) => true,
            (Ty::List(one), Ty::List(other)) | (Ty::Optional(one), Ty::Optional(other)) => {
                self.try_fit(one, other)
            }
            (Ty::Map(one), Ty::Map(other)) => {
                self.try_fit(&one.0, &other.0) && self.try_fit(&one.1, &other.1)
            }
            _ => one.is(other),
        }
    }

    /// Whether an open type may be a type, and whether it was known what it is.
    fn stands_for(&mut self, ty: &Ty<'a>, number: u32) -> (bool, bool) {
        if matches!(ty, Ty::Open(own) if *own == number) {
            return (true, true);
        }
        if let Some(known) = self.found.get(&number).cloned() {
            if !self.try_fit(ty, &known) {
                return (false, true);
            }
            let wider = most_general(ty, &known);
            if !wider.mentions(number, self) {
                self.note(number, &wider);
            }
            return (true, true);
        }
        if ty.mentions(number, self) {
            return (false, false);
        }
        self.note(number, ty);
        (true, false)
    }
}

/// The one of two types that fit together that says less.
pub(super) fn most_general<'a>(one: &Ty<'a>, other: &Ty<'a>) -> Ty<'a> {
    if one.says_no_more_than(other) { one.clone() } else { other.clone() }
}
