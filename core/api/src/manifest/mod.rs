//! Manifests: files with any number of objects, as YAML or JSON.
//!
//! YAML is read as Kubernetes' tools read it, which is YAML 1.1 in what a plain word means: `yes`,
//! `on` and `y` are true, `0777` is octal. Every error tells line and column.

mod scalar;
mod yaml;

use serde_json::Value;

use crate::{ApiError, Reason, Result};

/// How large a manifest may be, in bytes; as large as upstream lets a request be.
pub const MAX_BYTES: usize = 3 * 1024 * 1024;
/// How deep lists and maps may be nested in a document.
pub const MAX_DEPTH: usize = crate::patch::MAX_DEPTH;
/// How many values documents may hold: two bytes of text become a tree node in memory.
pub const MAX_VALUES: usize = 512 * 1024;
/// How much aliases may add to a manifest, about in bytes.
pub const MAX_ALIASED_BYTES: usize = 3 * 1024 * 1024;

/// Reads the objects of a manifest: of a stream of JSON objects or of YAML documents. Documents
/// without content are passed over; objects of `kind: List` stand for their items.
///
/// # Errors
/// `BadRequest` with line and column: `error parsing manifest: line 7, column 3: …`;
/// `RequestEntityTooLarge` when it is larger than [`MAX_BYTES`].
pub fn read(manifest: &[u8]) -> Result<Vec<Value>> {
    let text = text_of(manifest)?;
    let mut objects = Vec::new();
    for document in documents(text)? {
        flatten(document, &mut objects);
    }
    Ok(objects)
}

fn text_of(manifest: &[u8]) -> Result<&str> {
    if manifest.len() > MAX_BYTES {
        let message = format!("Request entity is too large: limit is {MAX_BYTES}");
        return Err(ApiError::new(Reason::RequestEntityTooLarge, message));
    }
    match std::str::from_utf8(manifest) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => {
            let (before, _) = manifest.split_at(error.valid_up_to());
            Err(ApiError::from(Problem::at_end_of(before, "the text is not UTF-8")))
        }
    }
}

/// Reads the one object of a request's body, as YAML or JSON. Lists are not taken apart.
///
/// # Errors
/// As [`read`]; also when there is none or more than one.
pub fn read_one(document: &[u8]) -> Result<Value> {
    only(documents(text_of(document)?)?)
}

/// Reads the one object of a request's body as YAML, which JSON is, too. Of keys that are there twice
/// the last one counts, and each is told: `line 5: key "c" already set in map`.
///
/// # Errors
/// Those of [`read_one`], in upstream's words for this: `yaml: line 7: …`.
pub fn read_body(document: &[u8]) -> Result<(Value, Vec<String>)> {
    let (documents, repeated) = yaml::tolerant(text_of(document)?).map_err(|problem| {
        let Problem { line, what, .. } = problem;
        ApiError::bad_request(format!("yaml: line {line}: {what}"))
    })?;
    Ok((only(documents)?, repeated))
}

fn only(mut documents: Vec<Value>) -> Result<Value> {
    match (documents.pop(), documents.is_empty()) {
        (Some(document), true) => Ok(document),
        (None, _) => Err(ApiError::bad_request("the body holds no object")),
        (Some(_), false) => Err(ApiError::bad_request("the body holds more than one object")),
    }
}

fn documents(text: &str) -> Result<Vec<Value>, Problem> {
    if !text.trim_start().starts_with('{') {
        return yaml::documents(text);
    }
    // What begins like JSON may still be a YAML flow mapping.
    json(text).or_else(|problem| yaml::documents(text).map_err(|_| problem))
}

fn json(text: &str) -> Result<Vec<Value>, Problem> {
    let mut documents = Vec::new();
    for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        match document {
            Ok(document @ Value::Object(_)) => documents.push(document),
            Ok(_) => return Err(Problem::at_end_of(text.as_bytes(), yaml::NO_OBJECT)),
            Err(error) => {
                let what = error.to_string();
                let what = what.split(" at line ").next().unwrap_or_default();
                return Err(Problem::new(error.line(), error.column(), what));
            }
        }
    }
    Ok(documents)
}

/// Takes lists apart. Items of a `PodList` may leave out that they are pods.
fn flatten(mut document: Value, objects: &mut Vec<Value>) {
    let text = |document: &Value, name: &str| document[name].as_str().unwrap_or("").to_owned();
    let (api_version, kind) = (text(&document, "apiVersion"), text(&document, "kind"));
    let items = match document.get_mut("items") {
        Some(Value::Array(items)) if kind.ends_with("List") => std::mem::take(items),
        _ => return objects.push(document),
    };
    let item_kind = kind.trim_end_matches("List");
    for mut item in items {
        if let Value::Object(item) = &mut item
            && !item_kind.is_empty()
            && !item.contains_key("kind")
        {
            item.insert("kind".into(), item_kind.into());
            item.entry("apiVersion").or_insert_with(|| api_version.clone().into());
        }
        flatten(item, objects);
    }
}

/// What is wrong with a manifest, and where.
#[derive(Debug, thiserror::Error)]
#[error("error parsing manifest: line {line}, column {column}: {what}")]
struct Problem {
    line: usize,
    column: usize,
    what: String,
}

impl Problem {
    fn new(line: usize, column: usize, what: impl Into<String>) -> Self {
        Self { line, column, what: what.into() }
    }

    fn at_end_of(before: &[u8], what: &str) -> Self {
        let lines = before.iter().filter(|byte| **byte == b'\n').count();
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count();
        Self::new(lines + 1, column + 1, what)
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self::bad_request(problem.to_string())
    }
}

#[cfg(test)]
mod tests;
