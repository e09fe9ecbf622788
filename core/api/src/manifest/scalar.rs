//! What a YAML scalar means, as the YAML library of Kubernetes' tools decides it.

use granit_parser::Tag;
use serde_json::Value;

/// The value of a scalar; what is wrong with it if it is none.
pub(super) fn resolve(text: &str, quoted: bool, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return if quoted { Ok(text.into()) } else { plain(text) };
    };
    let core = match (tag.handle(), tag.suffix()) {
        ("tag:yaml.org,2002:", name) => name,
        ("", name) => name.strip_prefix("tag:yaml.org,2002:").unwrap_or(""),
        _ => "",
    };
    let value = match core {
        "bool" | "int" | "float" | "null" => plain(text)?,
        "binary" => return binary(text),
        // Also for tags nobody knows.
        _ => return Ok(text.into()),
    };
    let fits = match core {
        "bool" => value.is_boolean(),
        "int" => value.is_i64() || value.is_u64(),
        "float" => value.is_number(),
        _ => value.is_null(),
    };
    if fits { Ok(value) } else { Err(format!("cannot decode `{text}` as a !!{core}")) }
}

/// A scalar as a key of a map, which is text in JSON.
pub(super) fn key(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        Value::Null => Err("null cannot be a key".to_owned()),
        Value::Array(_) | Value::Object(_) => Err("a list or a map cannot be a key".to_owned()),
    }
}

fn plain(text: &str) -> Result<Value, String> {
    Ok(match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            true.into()
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            false.into()
        }
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF"
        | "-.inf" | "-.Inf" | "-.INF" => {
            return Err(format!("`{text}` is a number that JSON does not have"));
        }
        _ => number(text).unwrap_or_else(|| text.into()),
    })
}

fn number(text: &str) -> Option<Value> {
    match text.as_bytes().first()? {
        b'.' => float(text),
        b'0'..=b'9' | b'+' | b'-' => {
            let plain = text.replace('_', "");
            integer(&plain).or_else(|| float(&plain))
        }
        _ => None,
    }
}

fn integer(text: &str) -> Option<Value> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (base, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, &digits[2..]),
        Some("0o" | "0O") => (8, &digits[2..]),
        Some("0b" | "0B") => (2, &digits[2..]),
        Some(_) if digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let number = i128::from(u64::from_str_radix(digits, base).ok()?);
    let number = if negative { -number } else { number };
    i64::try_from(number).map(Value::from).or_else(|_| u64::try_from(number).map(Value::from)).ok()
}

/// A decimal number. Whole ones become integers, as they are in the JSON that upstream makes.
fn float(text: &str) -> Option<Value> {
    let looks_like_one = text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    let number: f64 = text.parse().ok().filter(|_| looks_like_one)?;
    if !number.is_finite() {
        return None;
    }
    const WHOLE_BELOW: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() < WHOLE_BELOW {
        return Some(Value::from(number as i64));
    }
    serde_json::Number::from_f64(number).map(Value::Number)
}

fn binary(text: &str) -> Result<Value, String> {
    let compact: String = text.split_ascii_whitespace().collect();
    let bytes: k8s_openapi::ByteString = serde_json::from_value(compact.into())
        .map_err(|_| "!!binary value contains invalid base64 data".to_owned())?;
    String::from_utf8(bytes.0).map(Value::from).map_err(|_| "!!binary value is no text".to_owned())
}
