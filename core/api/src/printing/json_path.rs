//! Kubernetes' dialect of JSONPath, put into the words of RFC 9535.
//!
//! They differ in names: Kubernetes lets one hold dashes and, behind a backslash, dots
//! (`.metadata.annotations.example\.com/note`), and leaves out the `$` in front.

use jsonpath_rust::parser::model::JpQuery;
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use serde_json::Value;

/// Longest path, in bytes.
const PATH_MAX: usize = 4096;
/// Deepest nesting of brackets.
const DEPTH_MAX: usize = 16;

/// A path into a document.
pub(super) struct JsonPath(JpQuery);

impl JsonPath {
    /// Reads a path, with or without braces around it; `None` for one that is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > PATH_MAX {
            return None;
        }
        let mut out = "$".to_owned();
        let rest = steps(text.strip_prefix('$').unwrap_or(text), &mut out, 0)?;
        if !rest.trim().is_empty() {
            return None;
        }
        parse_json_path(&out).ok().map(Self)
    }

    /// The first value that the path leads to.
    pub(super) fn first<'a>(&self, document: &'a Value) -> Option<&'a Value> {
        js_path_process(&self.0, document).ok()?.into_iter().next().map(|found| found.val())
    }
}

/// Rewrites steps (`.name`, `..name`, `[…]`) and gives back what stands behind them.
fn steps<'a>(mut text: &'a str, out: &mut String, depth: usize) -> Option<&'a str> {
    if depth > DEPTH_MAX {
        return None;
    }
    loop {
        if let Some(rest) = text.strip_prefix('.') {
            let (dots, rest) = match rest.strip_prefix('.') {
                Some(rest) => ("..", rest),
                None => ("", rest),
            };
            out.push_str(dots);
            text = if rest.starts_with('[') { rest } else { name(rest, out)? };
        } else if let Some(rest) = text.strip_prefix('[') {
            out.push('[');
            text = bracket(rest, out, depth + 1)?;
        } else {
            return Some(text);
        }
    }
}

fn name<'a>(text: &'a str, out: &mut String) -> Option<&'a str> {
    if let Some(rest) = text.strip_prefix('*') {
        out.push_str("[*]");
        return Some(rest);
    }
    let mut name = String::new();
    let mut chars = text.char_indices();
    let mut end = text.len();
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => name.push(chars.next()?.1),
            '.' | '[' | ']' | ')' | '(' | '=' | '!' | '<' | '>' | '&' | '|' | ',' | ' ' => {
                end = at;
                break;
            }
            char => name.push(char),
        }
    }
    if name.is_empty() {
        return None;
    }
    out.push('[');
    out.push_str(&Value::from(name).to_string());
    out.push(']');
    text.get(end..)
}

/// Rewrites what stands in brackets, paths within filters included.
fn bracket<'a>(mut text: &'a str, out: &mut String, depth: usize) -> Option<&'a str> {
    loop {
        let char = text.chars().next()?;
        out.push(char);
        let rest = &text[char.len_utf8()..];
        text = match char {
            ']' => return Some(rest),
            '\'' | '"' => quoted(rest, char, out)?,
            '@' | '$' => steps(rest, out, depth)?,
            _ => rest,
        };
    }
}

fn quoted<'a>(text: &'a str, quote: char, out: &mut String) -> Option<&'a str> {
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        out.push(char);
        if char == '\\' {
            out.push(chars.next()?.1);
        } else if char == quote {
            return text.get(at + char.len_utf8()..);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_are_read_as_kubernetes_writes_them() {
        let document = json!({
            "metadata": {"annotations": {"example.com/note": "hello"}},
            "spec": {"replica-count": 3, "list": [{"name": "a"}, {"name": "b", "x": [7, 8]}]},
            "status": {"conditions": [
                {"type": "Synced", "status": "False"}, {"type": "Ready", "status": "True"}
            ]},
        });
        for (path, expected) in [
            (".spec.replica-count", json!(3)),
            (r".metadata.annotations.example\.com/note", json!("hello")),
            (".metadata.annotations['example.com/note']", json!("hello")),
            (".status.conditions[?(@.type==\"Ready\")].status", json!("True")),
            (".status.conditions[?(@.type == 'Synced')].status", json!("False")),
            (".spec.list[1].name", json!("b")),
            (".spec.list[-1].x[0]", json!(7)),
            (".spec.list[*].name", json!("a")),
            ("$.spec.list[0:1].name", json!("a")),
            ("..x[1]", json!(8)),
        ] {
            let found = JsonPath::parse(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(found.first(&document), Some(&expected), "{path}");
        }
        assert_eq!(JsonPath::parse(".spec.none.at").unwrap().first(&document), None);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        let deep = format!(".a{}", "[?(@.a".repeat(100));
        for path in ["spec", ".", ".a[", ".a[?(@.b==\"]", ".a]", "", &deep] {
            assert!(JsonPath::parse(path).is_none() || path.is_empty(), "{path}");
        }
    }
}
