//! JSON to messages, in one pass over the text and without a tree between.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::table::{MessageId, Shape, Table, Target};

/// Appends the body of a message.
pub(super) fn body(out: &mut Vec<u8>, message: MessageId, json: &[u8]) -> serde_json::Result<()> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    Body { out, message }.deserialize(&mut reader)?;
    reader.end()
}

/// Begins a message or a text of a length that is not known yet; gives back where it begins.
pub(super) fn open(out: &mut Vec<u8>, number: u32) -> usize {
    encode_key(number, WireType::LengthDelimited, out);
    out.push(0);
    out.len()
}

/// Writes the length of what was begun. Most are short enough for the byte that was left free.
pub(super) fn close(out: &mut Vec<u8>, start: usize) {
    let length = out.len() - start;
    if let (Ok(length @ 0..0x80), Some(byte)) = (u8::try_from(length), out.get_mut(start - 1)) {
        *byte = length;
        return;
    }
    let mut prefix = Vec::with_capacity(10);
    encode_varint(length as u64, &mut prefix);
    out.splice(start - 1..start, prefix);
}

pub(super) fn string(out: &mut Vec<u8>, number: u32, text: &str) {
    bytes(out, number, text.as_bytes());
}

pub(super) fn bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn int(out: &mut Vec<u8>, number: u32, value: i64) {
    encode_key(number, WireType::Varint, out);
    encode_varint(value.cast_unsigned(), out);
}

/// The fields of a message.
struct Body<'a> {
    out: &'a mut Vec<u8>,
    message: MessageId,
}

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(target) = map.next_key_seed(Name(self.message))? {
            let Some(target) = target else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            // A message that comes in pieces is put together by its reader, so that the fields of
            // an inlined one may come in any order.
            let before = self.out.len();
            let starts: Vec<usize> =
                target.outer.iter().map(|number| open(self.out, *number)).collect();
            let inner = self.out.len();
            let place =
                Place { out: self.out, number: target.number, shape: target.shape, in_list: false };
            map.next_value_seed(place)?;
            if self.out.len() == inner {
                self.out.truncate(before);
            } else {
                starts.into_iter().rev().for_each(|start| close(self.out, start));
            }
        }
        Ok(())
    }
}

/// Looks a name up as it is read.
struct Name(MessageId);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<&'static Target>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<&'static Target>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Table::builtin().target(self.0, name))
    }
}

/// One field, to be filled with the value that comes next.
struct Place<'a> {
    out: &'a mut Vec<u8>,
    number: u32,
    shape: Shape,
    in_list: bool,
}

impl Place<'_> {
    fn wrong<E: Error>(&self, what: &str) -> E {
        E::custom(format!("{what} where {:?} is wanted", self.shape))
    }

    fn raw<E: Error>(self, value: &Value) -> Result<(), E> {
        // Nothing is a value of its own in a list, and as good as absent elsewhere.
        if value.is_null() {
            if self.in_list {
                bytes(self.out, self.number, &[]);
            }
            return Ok(());
        }
        let start = open(self.out, self.number);
        let text = open(self.out, 1);
        serde_json::to_writer(&mut *self.out, value).map_err(E::custom)?;
        close(self.out, text);
        close(self.out, start);
        Ok(())
    }

    fn time<E: Error>(self, text: &str) -> Result<(), E> {
        let time: Timestamp = text.parse().map_err(E::custom)?;
        // Times of whole seconds are rounded down, also before 1970.
        let (mut seconds, mut nanos) = (time.as_second(), time.subsec_nanosecond());
        if nanos < 0 {
            seconds -= 1;
            nanos += 1_000_000_000;
        }
        let start = open(self.out, self.number);
        int(self.out, 1, seconds);
        if self.shape == Shape::MicroTime {
            int(self.out, 2, (nanos / 1000 * 1000).into());
        }
        close(self.out, start);
        Ok(())
    }

    fn quantity(self, text: &str) {
        let start = open(self.out, self.number);
        string(self.out, 1, text);
        close(self.out, start);
    }

    fn number<E: Error>(self, value: i64) -> Result<(), E> {
        match self.shape {
            Shape::Int => int(self.out, self.number, value),
            Shape::Double => return self.visit_f64(value as f64),
            Shape::Quantity => self.quantity(&value.to_string()),
            Shape::IntOrString => {
                let start = open(self.out, self.number);
                int(self.out, 1, 0);
                int(self.out, 2, value);
                close(self.out, start);
            }
            _ => return Err(self.wrong("a number")),
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        if self.shape == Shape::Raw {
            let value: Value = serde::Deserialize::deserialize(reader)?;
            return self.raw(&value);
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shape)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        match self.shape {
            Shape::Bool => int(self.out, self.number, value.into()),
            Shape::SchemaOrBool => {
                let start = open(self.out, self.number);
                int(self.out, 1, value.into());
                close(self.out, start);
            }
            _ => return Err(self.wrong("a boolean")),
        }
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.number(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        match (i64::try_from(value), self.shape) {
            (Ok(value), _) => self.number(value),
            (Err(_), Shape::Int) => self.number(value.cast_signed()),
            (Err(_), Shape::Quantity) => {
                self.quantity(&value.to_string());
                Ok(())
            }
            (Err(_), _) => self.visit_f64(value as f64),
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match self.shape {
            Shape::Double => {
                encode_key(self.number, WireType::SixtyFourBit, self.out);
                self.out.extend_from_slice(&value.to_le_bytes());
            }
            Shape::Quantity => self.quantity(&value.to_string()),
            _ => return Err(self.wrong("a fraction")),
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.shape {
            Shape::String => string(self.out, self.number, text),
            Shape::Time | Shape::MicroTime => return self.time(text),
            Shape::Quantity => self.quantity(text),
            Shape::Bytes => {
                let decoded = STANDARD.decode(text).map_err(E::custom)?;
                bytes(self.out, self.number, &decoded);
            }
            Shape::IntOrString => {
                let start = open(self.out, self.number);
                int(self.out, 1, 1);
                string(self.out, 3, text);
                close(self.out, start);
            }
            _ => return Err(self.wrong("a text")),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let schema = Shape::Message(Table::builtin().schema());
        // The message around the list, if there is one, then number and shape of the items.
        let (start, number, shape) = match self.shape {
            Shape::List(item) => (None, self.number, Table::builtin().shape(item)),
            Shape::Strings => (Some(open(self.out, self.number)), 1, Shape::String),
            Shape::SchemaOrArray => (Some(open(self.out, self.number)), 2, schema),
            Shape::SchemaOrStrings => (Some(open(self.out, self.number)), 2, Shape::String),
            _ => return Err(self.wrong("a list")),
        };
        while list
            .next_element_seed(Place { out: self.out, number, shape, in_list: true })?
            .is_some()
        {}
        if let Some(start) = start {
            close(self.out, start);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let value = match self.shape {
            Shape::Map(value) => Table::builtin().shape(value),
            _ => return self.message(map),
        };
        loop {
            let before = self.out.len();
            let start = open(self.out, self.number);
            let key = Place { out: self.out, number: 1, shape: Shape::String, in_list: false };
            if map.next_key_seed(key)?.is_none() {
                self.out.truncate(before);
                return Ok(());
            }
            map.next_value_seed(Place { out: self.out, number: 2, shape: value, in_list: true })?;
            close(self.out, start);
        }
    }
}

impl Place<'_> {
    fn message<'de, A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let schema = Table::builtin().schema();
        let (message, wrapped) = match self.shape {
            Shape::Message(message) => (message, None),
            Shape::SchemaOrBool => (schema, Some(2)),
            Shape::SchemaOrArray | Shape::SchemaOrStrings => (schema, Some(1)),
            _ => return Err(self.wrong("an object")),
        };
        let start = open(self.out, self.number);
        if self.shape == Shape::SchemaOrBool {
            int(self.out, 1, 1);
        }
        let inner = wrapped.map(|number| open(self.out, number));
        Body { out: self.out, message }.visit_map(map)?;
        if let Some(inner) = inner {
            close(self.out, inner);
        }
        close(self.out, start);
        Ok(())
    }
}
