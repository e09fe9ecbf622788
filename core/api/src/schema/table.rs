//! Reads a table of types. A line that begins at the margin begins a struct: its name, `atomic`
//! if it is one value for server-side apply, and `=group/version/kind` for each kind that it is
//! the type of. Each line below it that is indented is a field: name, type, and then `merge=key`,
//! `merge`, `replace`, `retainKeys`, `default=value` as they apply.
//!
//! Types are `s`tring, `i`nteger, `n`umber, `b`oolean, b`y`tes, `t`ime, `q`uantity, int-or-string
//! `x`, `?` for any, `o`paque; `@Name` for a struct and `~@Name` for the same when it is atomic
//! elsewhere; `[T` for a list that is one value, `[*T` for a set, `[(key,key)T` for a list with
//! keys, each with a `!` behind the bracket when that is declared; `{T` for a map, `{!T` for a map
//! that is one value.

use std::collections::HashMap;

use super::{
    Field, ListKind, ListType, Name, ObjectType, PatchStrategy, Scalar, Schema, SchemaBuilder,
    Type, TypeId,
};

/// Reads a table. It is part of the program and tested with it: what does not fit is taken as any.
pub(super) fn read(text: &'static str) -> Schema {
    let mut reader = Reader::default();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let mut words = line.split(' ');
        let id = reader.structure(words.next().unwrap_or_default());
        let mut atomic = false;
        for word in words {
            match word.strip_prefix('=').map(|kind| kind.split('/').collect::<Vec<_>>()).as_deref()
            {
                Some(&[group, version, kind]) => reader.builder.kind(group, version, kind, id),
                _ => atomic = word == "atomic",
            }
        }
        let mut fields = Vec::new();
        while let Some(field) = lines.next_if(|line| line.starts_with(' ')) {
            fields.push(reader.field(field.trim_start()));
        }
        let object = Type::Object(ObjectType::of_fields(fields).atomic(atomic));
        reader.builder.define(id, object);
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    builder: SchemaBuilder,
    structures: HashMap<&'static str, TypeId, ahash::RandomState>,
    /// Types by how they are written, each made once.
    written: HashMap<&'static str, TypeId, ahash::RandomState>,
    /// Structs that are atomic elsewhere: the copy, and what it copies.
    granular: Vec<(TypeId, TypeId)>,
}

impl Reader {
    fn structure(&mut self, name: &'static str) -> TypeId {
        *self.structures.entry(name).or_insert_with(|| self.builder.declare(name))
    }

    fn field(&mut self, line: &'static str) -> Field {
        let mut words = line.split(' ');
        let name = words.next().unwrap_or_default();
        let mut field = Field::new(name, self.ty(words.next().unwrap_or_default()));
        let PatchStrategy { merge, replace, retain_keys, merge_key } = &mut field.patch;
        for word in words {
            match word.split_once('=').unwrap_or((word, "")) {
                ("merge", key) => {
                    *merge = true;
                    *merge_key = (!key.is_empty()).then_some(Name::Borrowed(key));
                }
                ("retainKeys", _) => *retain_keys = true,
                ("replace", _) => *replace = true,
                ("default", value) => field.default = serde_json::from_str(value).ok(),
                _ => {}
            }
        }
        field
    }

    fn ty(&mut self, text: &'static str) -> TypeId {
        if let Some(name) = text.strip_prefix('@') {
            return self.structure(name);
        }
        if let Some(id) = self.written.get(text) {
            return *id;
        }
        let id = match text.split_at_checked(1) {
            Some(("~", rest)) => {
                let original = self.ty(rest);
                let copy = self.builder.declare(rest.trim_start_matches('@'));
                self.granular.push((copy, original));
                copy
            }
            Some(("[", rest)) => {
                let declared = rest.starts_with('!');
                let (kind, item) = list(rest.trim_start_matches('!'));
                let item = self.ty(item);
                self.builder.add(Type::List(ListType { item, kind, declared }))
            }
            Some(("{", rest)) => {
                let values = self.ty(rest.trim_start_matches('!'));
                let object = ObjectType::of_values(values).atomic(rest.starts_with('!'));
                self.builder.add(Type::Object(object))
            }
            _ => self.builder.add(simple(text)),
        };
        self.written.insert(text, id);
        id
    }

    fn finish(mut self) -> Schema {
        for (copy, original) in self.granular {
            if let Type::Object(object) = self.builder.get(original) {
                let object = object.clone().atomic(false);
                self.builder.define(copy, Type::Object(object));
            }
        }
        self.builder.build()
    }
}

fn list(text: &'static str) -> (ListKind, &'static str) {
    if let Some(item) = text.strip_prefix('*') {
        return (ListKind::Set, item);
    }
    match text.strip_prefix('(').and_then(|text| text.split_once(')')) {
        Some((keys, item)) => (ListKind::Map(keys.split(',').map(Name::Borrowed).collect()), item),
        None => (ListKind::Atomic, text),
    }
}

fn simple(text: &str) -> Type {
    Type::Scalar(match text {
        "s" => Scalar::String,
        "i" => Scalar::Integer,
        "n" => Scalar::Number,
        "b" => Scalar::Boolean,
        "y" => Scalar::Bytes,
        "t" => Scalar::Time,
        "q" => Scalar::Quantity,
        "x" => Scalar::IntOrString,
        "o" => return Type::Opaque,
        _ => return Type::Any,
    })
}
