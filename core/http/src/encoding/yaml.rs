//! Writes YAML. Only one of its forms is needed: block style, keys in order, and text in JSON's
//! quotes, which are YAML's too, unless it can be nothing but text in any version of YAML.

use std::fmt::Write as _;

use serde_json::Value;

/// A value as a YAML document.
pub(crate) fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => write_map(&mut out, map, 0),
        Value::Array(list) if !list.is_empty() => write_list(&mut out, list, 0),
        scalar => {
            write_scalar(&mut out, scalar);
            out.push('\n');
        }
    }
    out
}

fn write_map(out: &mut String, map: &serde_json::Map<String, Value>, indent: usize) {
    for (index, (key, value)) in map.iter().enumerate() {
        // The first key of a map in a list stands behind the dash.
        if index > 0 || !out.ends_with("- ") {
            pad(out, indent);
        }
        write_text(out, key);
        out.push(':');
        match value {
            Value::Object(map) if !map.is_empty() => {
                out.push('\n');
                write_map(out, map, indent + 2);
            }
            // As upstream has it, lists are not indented below their key.
            Value::Array(list) if !list.is_empty() => {
                out.push('\n');
                write_list(out, list, indent);
            }
            scalar => {
                out.push(' ');
                write_scalar(out, scalar);
                out.push('\n');
            }
        }
    }
}

fn write_list(out: &mut String, list: &[Value], indent: usize) {
    for (index, value) in list.iter().enumerate() {
        if index > 0 || !out.ends_with("- ") {
            pad(out, indent);
        }
        out.push_str("- ");
        match value {
            Value::Object(map) if !map.is_empty() => write_map(out, map, indent + 2),
            Value::Array(list) if !list.is_empty() => write_list(out, list, indent + 2),
            scalar => {
                write_scalar(out, scalar);
                out.push('\n');
            }
        }
    }
}

fn write_scalar(out: &mut String, value: &Value) {
    match value {
        Value::String(text) => write_text(out, text),
        // What is left are numbers, `true`, `false`, `null`, `{}` and `[]`.
        other => push(out, other),
    }
}

fn write_text(out: &mut String, text: &str) {
    if is_plain(text) {
        out.push_str(text);
    } else {
        push(out, &Value::from(text));
    }
}

fn push(out: &mut String, json: &Value) {
    // A string takes all.
    let _ = write!(out, "{json}");
}

/// Whether a text is taken for the same text without quotes, by readers of YAML 1.1 and 1.2.
fn is_plain(text: &str) -> bool {
    let starts = text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic());
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    starts
        && text.bytes().all(inner)
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "null"
        )
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn it_reads_back_as_what_it_was() {
        let value = json!({
            "kind": "Pod", "empty": {}, "none": null, "list": [], "text": "a: b\n'\"", "y": "no",
            "spec": {"containers": [{"name": "a", "args": ["x", "1", "-", ""], "n": 1.5}],
                "nested": [[1, 2], [{"a": [true]}]], "1": "0777", "12:30": "12:30:45"},
        });
        let text = to_string(&value);
        assert_eq!(pinnace_api::manifest::read(text.as_bytes()).unwrap(), [value], "{text}");
    }

    #[test]
    fn it_looks_as_people_know_it() {
        let text = to_string(&json!({"a": [{"b": 1, "c": ["d"]}], "e": "f g"}));
        assert_eq!(text, "a:\n- b: 1\n  c:\n  - d\ne: \"f g\"\n");
    }
}
