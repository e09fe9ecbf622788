//! What functions and operators take and yield, as `library.txt` says.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use super::types::Ty;

/// One way to call a function.
#[derive(Debug)]
pub(super) struct Overload {
    /// Whether the first argument is what it is called on.
    pub(super) member: bool,
    pub(super) arguments: Vec<Ty<'static>>,
    pub(super) result: Ty<'static>,
    /// How many open types stand in it, numbered from 0.
    pub(super) open: u32,
}

type Library = HashMap<&'static str, Vec<Arc<Overload>>, ahash::RandomState>;

/// The ways to call a function; none where there is no function of that name.
pub(super) fn overloads(name: &str) -> &'static [Arc<Overload>] {
    library().get(name).map_or(&[], Vec::as_slice)
}

fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let mut library = Library::default();
        for line in include_str!("library.txt").lines() {
            let Some((names, ways)) = line.split_once(": ") else { continue };
            let ways: Vec<_> = ways.split(" | ").map(|way| Arc::new(overload(way))).collect();
            for name in names.split(' ') {
                library.entry(name).or_default().extend(ways.iter().cloned());
            }
        }
        library
    })
}

/// The type that a name stands for.
pub(super) fn named(name: &str) -> Option<Ty<'static>> {
    const OWN: [&str; 11] = [
        "kubernetes.NamedFormat",
        "kubernetes.Quantity",
        "kubernetes.Semver",
        "kubernetes.URL",
        "kubernetes.authorization.Authorizer",
        "kubernetes.authorization.Decision",
        "kubernetes.authorization.GroupCheck",
        "kubernetes.authorization.PathCheck",
        "kubernetes.authorization.ResourceCheck",
        "net.CIDR",
        "net.IP",
    ];
    Some(match name {
        "bool" => Ty::Bool,
        "bytes" => Ty::Bytes,
        "double" => Ty::Double,
        "dyn" => Ty::Dyn,
        "int" => Ty::Int,
        "null_type" => Ty::Null,
        "string" => Ty::Text,
        "uint" => Ty::Uint,
        "duration" | "google.protobuf.Duration" => Ty::Duration,
        "timestamp" | "google.protobuf.Timestamp" => Ty::Time,
        "list" => Ty::list(Ty::Dyn),
        "map" => Ty::map(Ty::Dyn, Ty::Dyn),
        "optional_type" => Ty::optional(Ty::Dyn),
        "type" => Ty::of_type(Ty::Dyn),
        other => return OWN.into_iter().find(|own| *own == other).map(Ty::Own),
    })
}

/// The type that a name stands for where it stands by itself in an expression.
pub(super) fn type_named(name: &str) -> Option<Ty<'static>> {
    match name {
        "duration" | "timestamp" | "dyn" => None,
        name => named(name),
    }
}

/// The type that a text spells.
pub(in super::super) fn read(text: &'static str) -> Ty<'static> {
    Reader { rest: text, open: 0 }.ty()
}

fn overload(text: &'static str) -> Overload {
    let mut reader = Reader { rest: text, open: 0 };
    let receiver = (!text.starts_with('(')).then(|| reader.ty());
    if receiver.is_some() {
        reader.skip(".");
    }
    let mut arguments: Vec<_> = receiver.into_iter().collect();
    let member = !arguments.is_empty();
    reader.skip("(");
    while !reader.skip(")") {
        arguments.push(reader.ty());
        reader.skip(", ");
    }
    reader.skip(" ");
    let result = reader.ty();
    Overload { member, arguments, result, open: reader.open }
}

struct Reader {
    rest: &'static str,
    open: u32,
}

impl Reader {
    fn skip(&mut self, what: &str) -> bool {
        let after = self.rest.strip_prefix(what);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn ty(&mut self) -> Ty<'static> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
        let end = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
        // The point before the brackets of a member's arguments is none of the name.
        let name = self.rest[..end].trim_end_matches('.');
        self.rest = &self.rest[name.len()..];
        match name {
            "A" | "B" => {
                let number = u32::from(name == "B");
                self.open = self.open.max(number + 1);
                Ty::Open(number)
            }
            "list" | "optional_type" | "type" if self.skip("(") => {
                let of = self.ty();
                self.skip(")");
                match name {
                    "list" => Ty::list(of),
                    "type" => Ty::of_type(of),
                    _ => Ty::optional(of),
                }
            }
            "map" if self.skip("(") => {
                let keys = self.ty();
                self.skip(", ");
                let values = self.ty();
                self.skip(")");
                Ty::Map(Arc::new((keys, values)))
            }
            name => named(name).unwrap_or(Ty::Wrong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::functions;
    use super::*;

    fn shown(way: &Overload) -> String {
        let arguments: Vec<_> = way.arguments.iter().map(ToString::to_string).collect();
        format!("{} ({}) {} {}", way.member, arguments.join(", "), way.result, way.open)
    }

    #[test]
    fn a_line_says_how_a_function_is_called() {
        let rows = [
            ("(A, map(A, B)) bool", "false (_var0, map(_var0, _var1)) bool 2"),
            ("net.CIDR.(net.IP) bool", "true (net.CIDR, net.IP) bool 0"),
            ("list(A).() list(A)", "true (list(_var0)) list(_var0) 1"),
            ("() optional_type(A)", "false () optional_type(_var0) 1"),
        ];
        for (line, expected) in rows {
            assert_eq!(shown(&overload(line)), expected, "{line}");
        }
    }

    #[test]
    fn what_may_be_called_can_be_evaluated() {
        for (name, ways) in library() {
            for way in ways {
                let all = way.arguments.iter().chain([&way.result]);
                assert!(!all.clone().any(|ty| ty.to_string().contains('!')), "{name}: {way:?}");
                let is_operator = name.contains(['_', '@']);
                let found = match way.member {
                    true => functions::member(name).is_some() || functions::of_opaque(name),
                    false => functions::global(name).is_some(),
                };
                assert!(is_operator || found, "{name}");
            }
        }
    }
}
