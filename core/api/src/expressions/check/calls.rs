//! Which way to call a function or an operator is meant.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, StructExpr, operators};

use super::types::Ty;
use super::{Checker, library, spelled};

impl<'a> Checker<'_, 'a> {
    pub(super) fn call(&mut self, id: u64, call: &CallExpr) -> Ty<'a> {
        let name = call.func_name.as_str();
        let Some(target) = &call.target else {
            if name == operators::OPT_SELECT {
                return self.optional_field(id, &call.args);
            }
            let arguments = self.all(&call.args);
            return match name {
                operators::LOGICAL_AND | operators::LOGICAL_OR => {
                    self.logical(&call.args, &arguments)
                }
                _ => self.resolve(id, name, &arguments, false),
            };
        };
        // The first part of the name of a function looks like what it is called on.
        if let Some(space) = spelled(target) {
            let name = format!("{space}.{name}");
            if self.named(&space).is_none() && !library::overloads(&name).is_empty() {
                let arguments = self.all(&call.args);
                return self.resolve(id, &name, &arguments, false);
            }
        }
        if let Some(found) = self.each(id, name, target, &call.args) {
            return found;
        }
        let all = std::iter::once(&**target).chain(&call.args);
        let arguments: Vec<_> = all
            .map(|one| {
                self.formats = name == "format";
                self.visit(one)
            })
            .collect();
        self.resolve(id, name, &arguments, true)
    }

    fn all(&mut self, nodes: &[IdedExpr]) -> Vec<Ty<'a>> {
        nodes.iter().map(|node| self.visit(node)).collect()
    }

    fn logical(&mut self, nodes: &[IdedExpr], types: &[Ty<'a>]) -> Ty<'a> {
        let mut fit = true;
        for (node, ty) in nodes.iter().zip(types) {
            fit &= self.expect(node.id, &Ty::Bool, ty);
        }
        if fit { Ty::Bool } else { Ty::Wrong }
    }

    fn optional_field(&mut self, id: u64, arguments: &[IdedExpr]) -> Ty<'a> {
        let [of, name] = arguments else { return Ty::Wrong };
        let of = self.visit(of);
        match &name.expr {
            Expr::Literal(LiteralValue::String(name)) => self.field(id, &of, name.inner(), true),
            _ => self.complain(id, "unsupported optional field selection".to_owned()),
        }
    }

    /// What a function yields with arguments of these types.
    pub(super) fn resolve(
        &mut self,
        id: u64,
        name: &str,
        arguments: &[Ty<'a>],
        member: bool,
    ) -> Ty<'a> {
        let ways = library::overloads(name);
        if ways.is_empty() {
            return self.undeclared(id, name);
        }
        let mut result: Option<Ty<'a>> = None;
        for way in ways {
            if way.member != member || way.arguments.len() != arguments.len() {
                continue;
            }
            let first = self.opened + 1;
            self.opened += way.open;
            let fresh = |ty: &Ty<'static>| ty.instance(first);
            let wanted: Vec<Ty<'a>> = way.arguments.iter().map(fresh).collect();
            let pairs: Vec<_> = arguments.iter().zip(&wanted).collect();
            if !self.known.all_fit(&pairs) {
                continue;
            }
            let made = self.known.fill(&fresh(&way.result), false);
            result = Some(match result {
                Some(before) if !before.is(&made) => Ty::Dyn,
                _ => made,
            });
        }
        result.unwrap_or_else(|| {
            let shown = self.shown(arguments, member);
            let why = format!("found no matching overload for '{name}' applied to '{shown}'");
            self.complain(id, why)
        })
    }

    /// Arguments as complaints show them.
    fn shown(&self, arguments: &[Ty<'a>], member: bool) -> String {
        let each = arguments.iter().map(|ty| self.known.fill(ty, true).to_string());
        let mut each: Vec<String> = each.collect();
        let target = if member && !each.is_empty() { each.remove(0) + "." } else { String::new() };
        format!("{target}({})", each.join(", "))
    }

    /// An object of a type that is named.
    pub(super) fn object(&mut self, id: u64, one: &StructExpr) -> Ty<'a> {
        let found = self.scope.objects.and_then(|objects| objects(&one.type_name));
        let ty = match (found, self.named(&one.type_name)) {
            (Some(ty), _) => ty,
            (None, Some(Ty::Type(of))) => {
                self.complain(id, format!("'{of}' is not a message type"))
            }
            (None, Some(_)) => self.complain(id, format!("'{}' is not a type", one.type_name)),
            (None, None) => self.undeclared(id, &one.type_name),
        };
        for entry in &one.entries {
            let EntryExpr::StructField(field) = &entry.expr else { continue };
            let value = self.visit(&field.value);
            let value = self.unwrapped(field.value.id, value, field.optional);
            let Ty::Object(of) = &ty else { continue };
            let Some(wanted) = of.field(&field.field) else {
                self.undefined(entry.id, &field.field);
                continue;
            };
            if !self.known.fits(&wanted, &value) {
                let value = self.known.fill(&value, false);
                let why = format!(
                    "expected type of field '{}' is '{wanted}' but provided type is '{value}'",
                    field.field
                );
                self.complain(entry.id, why);
            }
        }
        ty
    }
}
