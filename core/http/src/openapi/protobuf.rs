//! OpenAPI v2 as clients in Go read it: the message `openapi.v2.Document` of gnostic
//! (<https://github.com/google/gnostic-models/blob/main/openapiv2/OpenAPIv2.proto>), made from the
//! document in JSON. What has no place in a message is left out.

mod messages;
#[cfg(test)]
mod tests;

use prost::encoding;
use serde_json::{Map, Value};

use crate::encoding::yaml;
use messages::{Message, Shape};

/// The document as a message.
pub(super) fn encode(document: &Value) -> Vec<u8> {
    document.as_object().map(|document| body(&messages::DOCUMENT, document)).unwrap_or_default()
}

fn body(message: &Message, object: &Map<String, Value>) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, (name, shape)) in (1..).zip(message.0.iter().copied().flatten()) {
        let entries = |takes: &dyn Fn(&str) -> bool, of, out: &mut Vec<u8>| {
            for (name, value) in object.iter().filter(|(name, _)| takes(name)) {
                bytes(number, &entry(name, of, value), out);
            }
        };
        match shape {
            Shape::Extensions => entries(&is_extension, &Shape::Any, &mut out),
            Shape::Others(of) => entries(&|name| !is_extension(name), of, &mut out),
            Shape::Entries(of) => entries(&|_| true, of, &mut out),
            Shape::Each(of) => {
                for value in object.get(*name).and_then(Value::as_array).into_iter().flatten() {
                    field(number, of, value, true, &mut out);
                }
            }
            shape => {
                if let Some(value) = object.get(*name) {
                    field(number, shape, value, false, &mut out);
                }
            }
        }
    }
    out
}

fn is_extension(name: &str) -> bool {
    name.starts_with("x-")
}

/// A pair of a name and a value.
fn entry(name: &str, of: &Shape, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(1, name.as_bytes(), &mut out);
    field(2, of, value, false, &mut out);
    out
}

/// Appends a value; what readers take an absent one for only `always`.
fn field(number: u32, shape: &Shape, value: &Value, always: bool, out: &mut Vec<u8>) {
    match shape {
        Shape::Text => {
            if let Some(text) = value.as_str().filter(|text| always || !text.is_empty()) {
                bytes(number, text.as_bytes(), out);
            }
        }
        Shape::Flag => {
            if let Some(flag) = value.as_bool().filter(|flag| always || *flag) {
                encoding::bool::encode(number, &flag, out);
            }
        }
        Shape::Whole => {
            if let Some(whole) = value.as_i64().filter(|whole| *whole != 0) {
                encoding::int64::encode(number, &whole, out);
            }
        }
        Shape::Fraction => {
            if let Some(fraction) = value.as_f64().filter(|fraction| *fraction != 0.0) {
                encoding::double::encode(number, &fraction, out);
            }
        }
        Shape::Any => {
            let mut any = Vec::new();
            bytes(2, yaml::to_string(value).as_bytes(), &mut any);
            bytes(number, &any, out);
        }
        Shape::Texts => {
            let list = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            let mut texts = Vec::new();
            list.iter().for_each(|text| field(1, &Shape::Text, text, true, &mut texts));
            bytes(number, &texts, out);
        }
        Shape::Message(message) => {
            if let Some(object) = value.as_object() {
                bytes(number, &body(message, object), out);
            }
        }
        Shape::OneOf(choose, fields) => {
            let mut inner = Vec::new();
            if let Some((number, shape)) = (1..).zip(*fields).nth(choose(value)) {
                field(number, shape, value, true, &mut inner);
            }
            bytes(number, &inner, out);
        }
        // They are of several fields, which `body` writes.
        Shape::Each(_) | Shape::Entries(_) | Shape::Extensions | Shape::Others(_) => {}
    }
}

fn bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encoding::encode_key(number, encoding::WireType::LengthDelimited, out);
    encoding::encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
