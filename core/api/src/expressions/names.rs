use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr};

use super::Scope;

/// Names that stand for types, and the heads of names of functions with a dot in them.
const ALWAYS: [&str; 24] = [
    "bool",
    "bytes",
    "double",
    "int",
    "list",
    "map",
    "null_type",
    "string",
    "type",
    "uint",
    "google",
    "optional",
    "optional_type",
    "sets",
    "math",
    "strings",
    "lists",
    "format",
    "ip",
    "cidr",
    "quantity",
    "semver",
    "jsonpatch",
    "net",
];
/// Functions that are called without an object.
const FUNCTIONS: [&str; 21] = [
    "bool",
    "bytes",
    "cidr",
    "double",
    "duration",
    "dyn",
    "int",
    "ip",
    "isCIDR",
    "isIP",
    "isQuantity",
    "isSemver",
    "isURL",
    "matches",
    "quantity",
    "semver",
    "size",
    "string",
    "timestamp",
    "type",
    "uint",
];
/// `url` is apart because it is also a name that people give.
const URL: &str = "url";
/// Macros that declare variables: all their arguments but the last.
const DECLARING: [&str; 12] = [
    "all",
    "exists",
    "existsOne",
    "exists_one",
    "filter",
    "map",
    "optFlatMap",
    "optMap",
    "sortBy",
    "transformList",
    "transformMap",
    "transformMapEntry",
];

/// The parts of an expression that refer to nothing, with what there is to say of each.
pub(super) fn unknown(root: &IdedExpr, scope: Scope<'_>) -> Vec<(u64, String)> {
    let mut walk = Walk { scope, local: Vec::new(), found: Vec::new() };
    walk.visit(root);
    walk.found
}

struct Walk<'a> {
    scope: Scope<'a>,
    /// Variables that macros have declared around here.
    local: Vec<String>,
    found: Vec<(u64, String)>,
}

impl Walk<'_> {
    fn visit(&mut self, node: &IdedExpr) {
        match &node.expr {
            Expr::Ident(name) => self.name(node.id, name),
            Expr::Call(call) => self.call(node.id, call),
            Expr::Select(select) => {
                self.visit(&select.operand);
                self.composed(node.id, &select.operand, &select.field);
                self.field(node.id, &select.operand, &select.field);
            }
            Expr::List(list) => list.elements.iter().for_each(|one| self.visit(one)),
            Expr::Map(map) => self.entries(map.entries.iter().map(|entry| &entry.expr)),
            Expr::Struct(one) => self.entries(one.entries.iter().map(|entry| &entry.expr)),
            Expr::Comprehension(one) => {
                self.visit(&one.iter_range);
                self.visit(&one.accu_init);
                let names = [Some(&one.iter_var), one.iter_var2.as_ref(), Some(&one.accu_var)];
                let names: Vec<_> = names.into_iter().flatten().cloned().collect();
                self.within(names, |walk| {
                    [&one.loop_cond, &one.loop_step, &one.result]
                        .into_iter()
                        .for_each(|part| walk.visit(part));
                });
            }
            Expr::Literal(_) | Expr::Unspecified => {}
        }
    }

    fn name(&mut self, id: u64, name: &str) {
        let name = name.strip_prefix('.').unwrap_or(name);
        let known = self.local.iter().any(|local| local == name)
            || self.scope.variables.contains(&name)
            || (name == "variables" && self.scope.composed.is_some())
            || ALWAYS.contains(&name);
        if !known {
            self.undeclared(id, name);
        }
    }

    fn undeclared(&mut self, id: u64, name: &str) {
        self.found.push((id, format!("undeclared reference to '{name}' (in container '')")));
    }

    fn call(&mut self, id: u64, call: &CallExpr) {
        let name = call.func_name.as_str();
        let Some(target) = &call.target else {
            let is_word = name.starts_with(|first: char| first.is_ascii_alphabetic());
            if is_word && !FUNCTIONS.contains(&name) && name != URL {
                self.undeclared(id, name);
            }
            return call.args.iter().for_each(|argument| self.visit(argument));
        };
        self.visit(target);
        match call.args.split_last() {
            Some((last, declared)) if DECLARING.contains(&name) => {
                let names = declared.iter().filter_map(|one| match &one.expr {
                    Expr::Ident(name) => Some(name.clone()),
                    _ => None,
                });
                self.within(names.collect(), |walk| walk.visit(last));
            }
            _ => call.args.iter().for_each(|argument| self.visit(argument)),
        }
    }

    /// `variables.name` must be one of those that stand before.
    fn composed(&mut self, id: u64, operand: &IdedExpr, field: &str) {
        let of_variables = matches!(&operand.expr, Expr::Ident(name) if name == "variables");
        let hidden = self.local.iter().any(|local| local == "variables");
        if let Some(composed) = self.scope.composed
            && of_variables
            && !hidden
            && !composed.contains(&field)
        {
            self.found.push((id, format!("undefined field '{field}'")));
        }
    }

    /// A field of a variable must be there.
    fn field(&mut self, id: u64, operand: &IdedExpr, field: &str) {
        let Some(has) = self.scope.has else { return };
        let mut way = vec![field];
        let mut node = operand;
        let root = loop {
            match &node.expr {
                Expr::Select(select) if !select.test => {
                    way.push(&select.field);
                    node = &select.operand;
                }
                Expr::Ident(name) => break name,
                _ => return,
            }
        };
        way.reverse();
        let of_variable = self.scope.variables.contains(&root.as_str())
            && !self.local.iter().any(|local| local == root);
        if of_variable && !has(&way) {
            self.found.push((id, format!("undefined field '{field}'")));
        }
    }

    fn entries<'e>(&mut self, entries: impl Iterator<Item = &'e EntryExpr>) {
        for entry in entries {
            match entry {
                EntryExpr::StructField(field) => self.visit(&field.value),
                EntryExpr::MapEntry(entry) => {
                    self.visit(&entry.key);
                    self.visit(&entry.value);
                }
            }
        }
    }

    fn within(&mut self, names: Vec<String>, visit: impl FnOnce(&mut Self)) {
        let outer = self.local.len();
        self.local.extend(names);
        visit(self);
        self.local.truncate(outer);
    }
}
