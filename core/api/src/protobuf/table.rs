//! Reads the table of messages, which `go run . table ../../../core/api/src/schema/builtin.txt` in
//! `tests/peers/protobuf` writes. A line that begins at the margin begins a message: its name, and
//! `=group/version/kind` for each kind that it is the message of. Each line below it that is
//! indented is a field: number, name in JSON, type, and `z` when JSON leaves it out at zero. A
//! field named `*` is a message whose fields stand among those around it in JSON.
//!
//! Types are `s`tring, whole number `i`, `b`oolean, `d`ouble, b`y`tes, `t`ime, microtime `u`,
//! `q`uantity, int-or-string `x`, `r`aw JSON, `w` for a list of texts wrapped in a message, `B`,
//! `A` and `S` for a JSON schema or a boolean, a list of schemas or a list of texts; `@Name` for a
//! message, `[T` for a list, `{T` for a map.

use std::collections::HashMap;
use std::sync::OnceLock;

/// Options and errors belong to every group and are described once, here.
const EVERY_GROUP: (&str, &str) = ("meta.k8s.io", "v1");
const LIST_META: &str = "meta.v1.ListMeta";
const SCHEMA: &str = "apiextensions.v1.JSONSchemaProps";

/// A message within the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageId(u32);

/// A type within the table, for what lists and maps hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ShapeId(u32);

/// How a value looks on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    String,
    Int,
    Bool,
    Double,
    Bytes,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// JSON as bytes, in a message.
    Raw,
    /// A list of texts, in a message.
    Strings,
    SchemaOrBool,
    SchemaOrArray,
    SchemaOrStrings,
    Message(MessageId),
    List(ShapeId),
    Map(ShapeId),
}

/// A field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    /// Whether JSON leaves it out at zero.
    pub(super) drop_zero: bool,
    /// Whether its own fields stand among those around it in JSON.
    pub(super) inline: bool,
}

/// Where a name in JSON leads.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The inlined messages that it lies in, outermost first.
    pub(super) outer: Vec<u32>,
    pub(super) number: u32,
    pub(super) shape: Shape,
}

#[derive(Default)]
struct Message {
    /// By number.
    fields: Vec<Field>,
    /// By name in JSON, inlined fields included.
    names: Vec<(&'static str, Target)>,
}

/// All messages.
pub(super) struct Table {
    messages: Vec<Message>,
    shapes: Vec<Shape>,
    kinds: HashMap<(&'static str, &'static str, &'static str), MessageId, ahash::RandomState>,
    schema: MessageId,
    list_meta: MessageId,
}

impl Table {
    pub(super) fn builtin() -> &'static Self {
        static BUILTIN: OnceLock<Table> = OnceLock::new();
        BUILTIN.get_or_init(|| Reader::default().read(include_str!("fields.txt")))
    }

    /// The message of a kind.
    pub(super) fn message_of(&self, api_version: &str, kind: &str) -> Option<MessageId> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let (every, first) = EVERY_GROUP;
        let of = |group, version| self.kinds.get(&(group, version, kind)).copied();
        of(group, version).or_else(|| of(every, first))
    }

    /// The message of a JSON schema.
    pub(super) fn schema(&self) -> MessageId {
        self.schema
    }

    /// The message of a list's metadata.
    pub(super) fn list_meta(&self) -> MessageId {
        self.list_meta
    }

    pub(super) fn shape(&self, id: ShapeId) -> Shape {
        self.shapes.get(id.0 as usize).copied().unwrap_or(Shape::Raw)
    }

    /// The field of a number.
    pub(super) fn field(&self, message: MessageId, number: u32) -> Option<&Field> {
        let fields = &self.messages.get(message.0 as usize)?.fields;
        fields
            .binary_search_by_key(&number, |field| field.number)
            .ok()
            .and_then(|at| fields.get(at))
    }

    /// Where a name in JSON leads.
    pub(super) fn target(&self, message: MessageId, name: &str) -> Option<&Target> {
        let names = &self.messages.get(message.0 as usize)?.names;
        let at = names.binary_search_by(|(other, _)| (*other).cmp(name)).ok()?;
        names.get(at).map(|(_, target)| target)
    }

    #[cfg(test)]
    pub(super) fn kinds(&self) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        self.kinds.keys().copied()
    }
}

#[derive(Default)]
struct Reader {
    messages: Vec<Message>,
    shapes: Vec<Shape>,
    ids: HashMap<&'static str, MessageId, ahash::RandomState>,
    kinds: HashMap<(&'static str, &'static str, &'static str), MessageId, ahash::RandomState>,
}

impl Reader {
    /// The table is part of the program and tested with it: what does not fit is passed over.
    fn read(mut self, text: &'static str) -> Table {
        let mut current = MessageId(0);
        for line in text.lines() {
            match line.strip_prefix(' ') {
                None => current = self.head(line),
                Some(line) => {
                    if let Some(field) = self.field(line)
                        && let Some(message) = self.messages.get_mut(current.0 as usize)
                    {
                        message.fields.push(field);
                    }
                }
            }
        }
        let names: Vec<_> = (0..self.messages.len()).map(|at| self.names(at, &[])).collect();
        for (message, mut names) in self.messages.iter_mut().zip(names) {
            message.fields.sort_by_key(|field| field.number);
            names.sort_by_key(|(name, _)| *name);
            message.names = names;
        }
        let (schema, list_meta) = (self.message(SCHEMA), self.message(LIST_META));
        Table { messages: self.messages, shapes: self.shapes, kinds: self.kinds, schema, list_meta }
    }

    fn head(&mut self, line: &'static str) -> MessageId {
        let mut words = line.split(' ');
        let id = self.message(words.next().unwrap_or_default());
        for kind in words.filter_map(|word| word.strip_prefix('=')) {
            let mut parts = kind.split('/');
            if let (Some(group), Some(version), Some(kind)) =
                (parts.next(), parts.next(), parts.next())
            {
                self.kinds.insert((group, version, kind), id);
            }
        }
        id
    }

    fn message(&mut self, name: &'static str) -> MessageId {
        *self.ids.entry(name).or_insert_with(|| {
            self.messages.push(Message::default());
            MessageId(u32::try_from(self.messages.len() - 1).unwrap_or(u32::MAX))
        })
    }

    fn field(&mut self, line: &'static str) -> Option<Field> {
        let mut words = line.split(' ');
        let number = words.next()?.parse().ok()?;
        let name = words.next()?;
        let shape = self.shape(words.next()?)?;
        Some(Field {
            number,
            name,
            shape,
            drop_zero: words.next() == Some("z"),
            inline: name == "*",
        })
    }

    fn shape(&mut self, text: &'static str) -> Option<Shape> {
        let (first, rest) = text.split_at_checked(1)?;
        Some(match first {
            "s" => Shape::String,
            "i" => Shape::Int,
            "b" => Shape::Bool,
            "d" => Shape::Double,
            "y" => Shape::Bytes,
            "t" => Shape::Time,
            "u" => Shape::MicroTime,
            "q" => Shape::Quantity,
            "x" => Shape::IntOrString,
            "r" => Shape::Raw,
            "w" => Shape::Strings,
            "B" => Shape::SchemaOrBool,
            "A" => Shape::SchemaOrArray,
            "S" => Shape::SchemaOrStrings,
            "@" => Shape::Message(self.message(rest)),
            "[" => Shape::List(self.held(rest)?),
            "{" => Shape::Map(self.held(rest)?),
            _ => return None,
        })
    }

    fn held(&mut self, text: &'static str) -> Option<ShapeId> {
        let shape = self.shape(text)?;
        self.shapes.push(shape);
        u32::try_from(self.shapes.len() - 1).ok().map(ShapeId)
    }

    fn names(&self, message: usize, outer: &[u32]) -> Vec<(&'static str, Target)> {
        let mut names = Vec::new();
        for field in self.messages.get(message).iter().flat_map(|message| &message.fields) {
            match field.shape {
                Shape::Message(inner) if field.inline => {
                    let outer = [outer, &[field.number]].concat();
                    names.extend(self.names(inner.0 as usize, &outer));
                }
                shape => {
                    let (outer, number) = (outer.to_vec(), field.number);
                    names.push((field.name, Target { outer, number, shape }));
                }
            }
        }
        names
    }
}
