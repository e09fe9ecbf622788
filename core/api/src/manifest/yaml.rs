//! Builds JSON from the events of the YAML parser. Nothing here recurses, and what anchors and
//! aliases may add is bounded.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

use super::{MAX_ALIASED_BYTES, MAX_DEPTH, MAX_VALUES, Problem, scalar};

pub(super) const NO_OBJECT: &str = "a document must be an object";

/// About what a value costs besides its text.
const VALUE_BYTES: usize = 16;

/// How many keys that are there twice are told.
const MAX_REPEATED: usize = 100;

/// The documents of a text that have content; all are objects, whose keys are there once.
pub(super) fn documents(text: &str) -> Result<Vec<Value>, Problem> {
    build(text, Builder::default()).map(|builder| builder.documents)
}

/// As [`documents`], where keys may be there twice, with what is to be said of these.
pub(super) fn tolerant(text: &str) -> Result<(Vec<Value>, Vec<String>), Problem> {
    let builder = Builder { tolerant: true, ..Builder::default() };
    build(text, builder).map(|builder| (builder.documents, builder.repeated))
}

fn build(text: &str, mut builder: Builder) -> Result<Builder, Problem> {
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| {
            Problem::new(error.marker().line(), error.marker().col() + 1, error.info())
        })?;
        builder.tell_repeated(span.start.line());
        builder
            .take(event)
            .map_err(|what| Problem::new(span.start.line(), span.start.col() + 1, what))?;
    }
    Ok(builder)
}

#[derive(Default)]
struct Builder {
    documents: Vec<Value>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    aliased: usize,
    values: usize,
    /// Whether keys may be there twice.
    tolerant: bool,
    /// A key that is there for the second time, until its value begins: that is the line to tell.
    again: Option<String>,
    repeated: Vec<String>,
}

/// A list or map that has not ended.
struct Open {
    content: Content,
    anchor: usize,
    size: usize,
    depth: usize,
}

enum Content {
    List(Vec<Value>),
    Map { map: Map<String, Value>, key: Option<Key>, merged: HashSet<String> },
}

enum Key {
    Name(String),
    /// `<<`: the value's fields become fields of this map.
    Merge,
}

/// A value with what it weighs.
#[derive(Clone)]
struct Node {
    value: Value,
    size: usize,
    depth: usize,
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::SequenceStart(_, anchor, _) => self.start(Content::List(Vec::new()), anchor),
            Event::MappingStart(_, anchor, _) => {
                let merged = HashSet::new();
                self.start(Content::Map { map: Map::new(), key: None, merged }, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Scalar(text, style, anchor, tag) => {
                let quoted = style != ScalarStyle::Plain;
                if !quoted && tag.is_none() && text == "<<" && self.awaits_key() {
                    return self.key(Key::Merge);
                }
                let value = scalar::resolve(&text, quoted, tag.as_deref())?;
                let node = Node { value, size: VALUE_BYTES + text.len(), depth: 0 };
                self.node(node, anchor)
            }
            Event::Alias(anchor) => {
                let node = self.anchors.get(&anchor).ok_or("an anchor's value contains itself")?;
                let node = node.clone();
                self.count_aliased(node.size)?;
                self.node(node, 0)
            }
            Event::DocumentEnd => {
                self.anchors.clear();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn start(&mut self, content: Content, anchor: usize) -> Result<(), String> {
        if self.awaits_key() {
            return Err("a list or a map cannot be a key".to_owned());
        }
        if self.open.is_empty() && matches!(content, Content::List(_)) {
            return Err(NO_OBJECT.to_owned());
        }
        self.open.push(Open { content, anchor, size: VALUE_BYTES, depth: 1 });
        self.check_depth(0)
    }

    fn end(&mut self) -> Result<(), String> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.content {
            Content::List(items) => Value::Array(items),
            Content::Map { map, .. } => Value::Object(map),
        };
        self.node(Node { value, size: open.size, depth: open.depth }, open.anchor)
    }

    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: Content::Map { key: None, .. }, .. }))
    }

    fn key(&mut self, new: Key) -> Result<(), String> {
        let Some(Open { content: Content::Map { map, key, merged }, size, .. }) =
            self.open.last_mut()
        else {
            return Ok(());
        };
        if let Key::Name(name) = &new {
            *size += name.len();
            if map.contains_key(name) && !merged.contains(name) {
                if !self.tolerant {
                    return Err(format!("key {name:?} already set in map"));
                }
                self.again = Some(name.clone());
            }
        }
        *key = Some(new);
        Ok(())
    }

    fn tell_repeated(&mut self, line: usize) {
        if let Some(name) = self.again.take()
            && self.repeated.len() < MAX_REPEATED
        {
            self.repeated.push(format!("line {line}: key {name:?} already set in map"));
        }
    }

    /// A value is complete: a key, a value of a map, an item of a list or a whole document.
    fn node(&mut self, node: Node, anchor: usize) -> Result<(), String> {
        if anchor != 0 {
            self.count_aliased(node.size)?;
            self.anchors.insert(anchor, node.clone());
        }
        if self.awaits_key() {
            return self.key(Key::Name(scalar::key(node.value)?));
        }
        self.check_depth(node.depth)?;
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(format!("document holds more than {MAX_VALUES} values"));
        }
        let Some(open) = self.open.last_mut() else { return self.document(node.value) };
        open.size += node.size;
        open.depth = open.depth.max(node.depth + 1);
        match &mut open.content {
            Content::List(items) => items.push(node.value),
            Content::Map { map, key, merged } => match key.take() {
                Some(Key::Name(name)) => {
                    map.insert(name, node.value);
                }
                _ => merge(map, merged, node.value)?,
            },
        }
        Ok(())
    }

    fn document(&mut self, value: Value) -> Result<(), String> {
        match value {
            Value::Null => Ok(()),
            Value::Object(_) => {
                self.documents.push(value);
                Ok(())
            }
            _ => Err(NO_OBJECT.to_owned()),
        }
    }

    fn check_depth(&self, below: usize) -> Result<(), String> {
        if self.open.len() + below > MAX_DEPTH {
            return Err(format!("nested more than {MAX_DEPTH} levels deep"));
        }
        Ok(())
    }

    fn count_aliased(&mut self, size: usize) -> Result<(), String> {
        self.aliased += size;
        if self.aliased > MAX_ALIASED_BYTES {
            return Err("document contains excessive aliasing".to_owned());
        }
        Ok(())
    }
}

/// Sets the fields of a map, or of the first of several that has them, in `map`.
fn merge(
    map: &mut Map<String, Value>,
    merged: &mut HashSet<String>,
    value: Value,
) -> Result<(), String> {
    let maps = match value {
        Value::Array(maps) => maps,
        one => vec![one],
    };
    for one in maps.into_iter().rev() {
        let Value::Object(one) = one else {
            return Err("map merge requires map or sequence of maps as the value".to_owned());
        };
        for (name, value) in one {
            merged.insert(name.clone());
            map.insert(name, value);
        }
    }
    Ok(())
}
