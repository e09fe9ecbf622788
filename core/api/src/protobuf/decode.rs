//! Messages to JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Buf as _;
use jiff::Timestamp;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use serde_json::{Map, Value};

use super::table::{Field, MessageId, Shape, Table};

/// Largest message that is read, in bytes: upstream's limit for a request.
pub const SIZE_MAX: usize = 3 * 1024 * 1024;
/// Deepest nesting of messages.
const DEPTH_MAX: usize = 96;
/// Most values in a message: a byte or two on the wire become a tree node in memory.
const VALUES_MAX: usize = 512 * 1024;

/// What is wrong with a message.
#[derive(Debug, thiserror::Error)]
pub(super) enum DecodeError {
    /// It is no protobuf.
    #[error(transparent)]
    Wire(#[from] prost::DecodeError),
    /// A length reaches beyond the end.
    #[error("unexpected end of message")]
    End,
    /// A field is encoded in a way that does not fit its type.
    #[error("field {0} has the wrong wire type")]
    WireType(u32),
    /// A text is not UTF-8.
    #[error("text is not UTF-8")]
    Text,
    /// A time is beyond the years 1 to 9999.
    #[error("time is out of range")]
    Time,
    /// JSON within the message is none.
    #[error("embedded JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A bound was reached.
    #[error("message is nested too deeply or holds too much")]
    Bound,
}

type Result<T> = std::result::Result<T, DecodeError>;

/// The JSON form of a message's body.
pub(super) fn body(bytes: &[u8], message: MessageId) -> Result<Map<String, Value>> {
    let mut out = Map::new();
    Decoder { left: VALUES_MAX }.fields(bytes, message, &mut out, 0)?;
    Ok(out)
}

/// A field as it stands on the wire.
#[derive(Clone, Copy)]
pub(super) enum Wire<'a> {
    /// A number.
    Varint(u64),
    /// Eight bytes.
    Fixed(u64),
    /// A text, bytes or a message.
    Bytes(&'a [u8]),
}

/// Calls back for each field of a message; groups and fields of four bytes, which Kubernetes has
/// none of, are skipped.
pub(super) fn each<'a>(
    mut rest: &'a [u8],
    mut visit: impl FnMut(u32, Wire<'a>) -> Result<()>,
) -> Result<()> {
    while !rest.is_empty() {
        let (number, wire) = decode_key(&mut rest)?;
        let value = match wire {
            WireType::Varint => Wire::Varint(decode_varint(&mut rest)?),
            WireType::SixtyFourBit => {
                Wire::Fixed(rest.try_get_u64_le().map_err(|_| DecodeError::End)?)
            }
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut rest)?).unwrap_or(usize::MAX);
                let (bytes, after) = rest.split_at_checked(length).ok_or(DecodeError::End)?;
                rest = after;
                Wire::Bytes(bytes)
            }
            other => {
                skip_field(other, number, &mut rest, DecodeContext::default())?;
                continue;
            }
        };
        visit(number, value)?;
    }
    Ok(())
}

struct Decoder {
    left: usize,
}

impl Decoder {
    fn fields(
        &mut self,
        bytes: &[u8],
        message: MessageId,
        out: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(DecodeError::Bound);
        }
        each(bytes, |number, wire| match Table::builtin().field(message, number) {
            Some(field) => self.field(field, wire, out, depth),
            None => Ok(()),
        })
    }

    fn field(
        &mut self,
        field: &Field,
        wire: Wire<'_>,
        out: &mut Map<String, Value>,
        depth: usize,
    ) -> Result<()> {
        self.left = self.left.checked_sub(1).ok_or(DecodeError::Bound)?;
        let number = field.number;
        match field.shape {
            Shape::Message(message) if field.inline => {
                self.fields(length(wire, number)?, message, out, depth + 1)
            }
            // A message may come in pieces.
            Shape::Message(message) => {
                let bytes = length(wire, number)?;
                let inner = match object(out, field.name) {
                    Some(inner) => inner,
                    None => return Ok(()),
                };
                self.fields(bytes, message, inner, depth + 1)?;
                if field.drop_zero && inner.is_empty() {
                    out.remove(field.name);
                }
                Ok(())
            }
            Shape::List(item) => {
                let shape = Table::builtin().shape(item);
                let value = self.value(shape, wire, number, depth)?.unwrap_or(Value::Null);
                let list = out.entry(field.name).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(value);
                }
                Ok(())
            }
            Shape::Map(value) => {
                let shape = Table::builtin().shape(value);
                let (key, value) = self.entry(length(wire, number)?, shape, depth)?;
                if let Some(map) = object(out, field.name) {
                    map.insert(key, value);
                }
                Ok(())
            }
            shape => {
                match self.value(shape, wire, number, depth)? {
                    Some(value) if !(field.drop_zero && is_zero(&value)) => {
                        out.insert(field.name.to_owned(), value);
                    }
                    // The last value counts, also when it says nothing.
                    _ => {
                        out.remove(field.name);
                    }
                }
                Ok(())
            }
        }
    }

    /// A value that is not merged with one before; `None` for one that JSON leaves out.
    fn value(
        &mut self,
        shape: Shape,
        wire: Wire<'_>,
        number: u32,
        depth: usize,
    ) -> Result<Option<Value>> {
        let value = match (shape, wire) {
            (Shape::Int, Wire::Varint(value)) => Value::from(value.cast_signed()),
            (Shape::Bool, Wire::Varint(value)) => Value::from(value != 0),
            (Shape::Double, Wire::Fixed(bits)) => Value::from(f64::from_bits(bits)),
            (Shape::String, Wire::Bytes(bytes)) => Value::from(text(bytes)?),
            (Shape::Bytes, Wire::Bytes(bytes)) => Value::from(STANDARD.encode(bytes)),
            (Shape::Time | Shape::MicroTime, Wire::Bytes(bytes)) => {
                return time(bytes, shape == Shape::MicroTime);
            }
            (Shape::Quantity, Wire::Bytes(bytes)) => {
                let mut amount = "0";
                each(bytes, |number, wire| match (number, wire) {
                    (1, Wire::Bytes(b"")) => Ok(()),
                    (1, Wire::Bytes(bytes)) => text(bytes).map(|text| amount = text),
                    _ => Ok(()),
                })?;
                Value::from(amount)
            }
            (Shape::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes)?,
            (Shape::Raw, Wire::Bytes(bytes)) => return raw(bytes),
            (Shape::Strings, Wire::Bytes(bytes)) => Value::Array(self.strings(bytes, 1)?),
            (Shape::Message(message), Wire::Bytes(bytes)) => {
                let mut inner = Map::new();
                self.fields(bytes, message, &mut inner, depth + 1)?;
                Value::Object(inner)
            }
            (
                Shape::SchemaOrBool | Shape::SchemaOrArray | Shape::SchemaOrStrings,
                Wire::Bytes(bytes),
            ) => self.schema_or(shape, bytes, depth)?,
            _ => return Err(DecodeError::WireType(number)),
        };
        Ok(Some(value))
    }

    fn strings(&mut self, bytes: &[u8], wanted: u32) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        each(bytes, |number, wire| {
            if number == wanted {
                self.left = self.left.checked_sub(1).ok_or(DecodeError::Bound)?;
                all.push(Value::from(text(length(wire, number)?)?));
            }
            Ok(())
        })?;
        Ok(all)
    }

    fn entry(&mut self, bytes: &[u8], shape: Shape, depth: usize) -> Result<(String, Value)> {
        let (mut key, mut value) = ("", None);
        each(bytes, |number, wire| {
            match number {
                1 => key = text(length(wire, number)?)?,
                2 => value = self.value(shape, wire, number, depth)?,
                _ => {}
            }
            Ok(())
        })?;
        Ok((key.to_owned(), value.unwrap_or_else(|| zero(shape))))
    }

    fn schema_or(&mut self, shape: Shape, bytes: &[u8], depth: usize) -> Result<Value> {
        let schema_number = if shape == Shape::SchemaOrBool { 2 } else { 1 };
        let schema = Shape::Message(Table::builtin().schema());
        let mut found = None;
        let mut allows = false;
        let mut list = Vec::new();
        each(bytes, |number, wire| {
            if number == schema_number {
                found = self.value(schema, wire, number, depth + 1)?;
            } else if let (Shape::SchemaOrBool, 1, Wire::Varint(value)) = (shape, number, wire) {
                allows = value != 0;
            } else if number == 2 {
                self.left = self.left.checked_sub(1).ok_or(DecodeError::Bound)?;
                let item = if shape == Shape::SchemaOrArray { schema } else { Shape::String };
                list.extend(self.value(item, wire, number, depth + 1)?);
            }
            Ok(())
        })?;
        Ok(match found {
            Some(schema) => schema,
            None if shape == Shape::SchemaOrBool => Value::Bool(allows),
            None => Value::Array(list),
        })
    }
}

fn object<'a>(out: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Map<String, Value>> {
    out.entry(name).or_insert_with(|| Value::Object(Map::new())).as_object_mut()
}

fn length(wire: Wire<'_>, number: u32) -> Result<&[u8]> {
    match wire {
        Wire::Bytes(bytes) => Ok(bytes),
        _ => Err(DecodeError::WireType(number)),
    }
}

pub(super) fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::Text)
}

/// No bytes at all are no time.
fn time(bytes: &[u8], micros: bool) -> Result<Option<Value>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (mut seconds, mut nanos) = (0, 0);
    each(bytes, |number, wire| {
        match (number, wire) {
            (1, Wire::Varint(value)) => seconds = value.cast_signed(),
            (2, Wire::Varint(value)) => nanos = value.cast_signed(),
            _ => {}
        }
        Ok(())
    })?;
    let nanos = if micros { i32::try_from(nanos).map_err(|_| DecodeError::Time)? } else { 0 };
    let time = Timestamp::new(seconds, nanos).map_err(|_| DecodeError::Time)?;
    let format = if micros { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(Some(Value::from(time.strftime(format).to_string())))
}

fn int_or_string(bytes: &[u8]) -> Result<Value> {
    let (mut is_text, mut number, mut written) = (false, 0_i64, "");
    each(bytes, |field, wire| {
        match (field, wire) {
            (1, Wire::Varint(value)) => is_text = value != 0,
            (2, Wire::Varint(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(bytes)) => written = text(bytes)?,
            _ => {}
        }
        Ok(())
    })?;
    Ok(if is_text { Value::from(written) } else { Value::from(number) })
}

fn raw(bytes: &[u8]) -> Result<Option<Value>> {
    let mut content: &[u8] = &[];
    each(bytes, |number, wire| {
        if let (1, Wire::Bytes(bytes)) = (number, wire) {
            content = bytes;
        }
        Ok(())
    })?;
    if content.is_empty() { Ok(None) } else { Ok(Some(serde_json::from_slice(content)?)) }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        _ => false,
    }
}

fn zero(shape: Shape) -> Value {
    match shape {
        Shape::String | Shape::Bytes => Value::from(""),
        Shape::Int | Shape::Double | Shape::IntOrString => Value::from(0),
        Shape::Bool | Shape::SchemaOrBool => Value::from(false),
        Shape::Quantity => Value::from("0"),
        Shape::Strings | Shape::List(_) | Shape::SchemaOrArray | Shape::SchemaOrStrings => {
            Value::Array(Vec::new())
        }
        Shape::Message(_) | Shape::Map(_) => Value::Object(Map::new()),
        Shape::Raw | Shape::Time | Shape::MicroTime => Value::Null,
    }
}
