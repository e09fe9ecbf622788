//! The types of expressions: whether what an expression does fits what it does it with.
//!
//! A type is worked out for each part, from the types of variables ([`Declared`]) upwards; what is
//! not known is [`Ty::Dyn`], which fits everything. Nothing of it stays once an expression is
//! compiled.

mod aggregates;
mod calls;
pub(super) mod library;
mod literals;
mod macros;
mod types;

use cel::IdedExpr;
use cel::common::ast::{Expr, LiteralValue, SelectExpr};

use types::Known;
pub use types::{Fields, Ty};

use super::{Declared, Scope};

/// What is wrong with the parts of an expression, by their numbers.
pub(super) type Complaints = Vec<(u64, String)>;

/// The type of an expression.
///
/// # Errors
/// The parts that do not fit.
pub(super) fn check<'a>(root: &IdedExpr, scope: Scope<'_, 'a>) -> Result<Ty<'a>, Complaints> {
    let mut checker = Checker {
        scope,
        locals: Vec::new(),
        known: Known::default(),
        opened: 0,
        alike: Vec::new(),
        formats: false,
        found: Vec::new(),
    };
    let ty = checker.visit(root);
    if checker.found.is_empty() {
        checker.compare();
        literals::check(root, &mut checker.found);
    }
    match checker.found.is_empty() {
        true => Ok(checker.known.fill(&ty, true)),
        false => Err(checker.found),
    }
}

struct Checker<'s, 'a> {
    scope: Scope<'s, 'a>,
    /// Variables that macros have declared around here.
    locals: Vec<(String, Ty<'a>)>,
    known: Known<'a>,
    /// How many open types there are.
    opened: u32,
    /// Parts of lists and maps that must be of one type, by their numbers.
    alike: Vec<Vec<(u64, Ty<'a>)>>,
    /// Whether this is a list of what is formatted, which may be of any types.
    formats: bool,
    found: Complaints,
}

impl<'s, 'a> Checker<'s, 'a> {
    fn complain(&mut self, id: u64, why: String) -> Ty<'a> {
        self.found.push((id, why));
        Ty::Wrong
    }

    fn undeclared(&mut self, id: u64, name: &str) -> Ty<'a> {
        self.complain(id, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn open(&mut self) -> Ty<'a> {
        self.opened += 1;
        Ty::Open(self.opened)
    }

    /// Says that something must be of a type, if it is not.
    fn expect(&mut self, id: u64, wanted: &Ty<'a>, found: &Ty<'a>) -> bool {
        let fits = self.known.fits(wanted, found);
        if !fits {
            let found = self.known.fill(found, false);
            self.complain(id, format!("expected type '{wanted}' but found '{found}'"));
        }
        fits
    }

    fn visit(&mut self, node: &IdedExpr) -> Ty<'a> {
        let formats = std::mem::take(&mut self.formats);
        match &node.expr {
            Expr::Literal(value) => of_literal(value),
            Expr::Ident(name) => match self.named(name) {
                Some(ty) => ty,
                None => self.undeclared(node.id, name.strip_prefix('.').unwrap_or(name)),
            },
            Expr::Select(select) => self.select(node, select),
            Expr::Call(call) => self.call(node.id, call),
            Expr::List(list) => self.list(list, formats),
            Expr::Map(map) => self.map(map, formats),
            Expr::Struct(one) => self.object(node.id, one),
            Expr::Comprehension(one) => self.fold(one),
            Expr::Unspecified => Ty::Wrong,
        }
    }

    /// The type of what a name stands for.
    fn named(&self, name: &str) -> Option<Ty<'a>> {
        let name = name.strip_prefix('.').unwrap_or(name);
        if let Some((_, ty)) = self.locals.iter().rev().find(|(local, _)| local == name) {
            return Some(ty.clone());
        }
        if let Some(declared) = self.scope.variables.iter().find(|one| *one.name == *name) {
            return Some(declared.ty.clone());
        }
        library::type_named(name).map(|ty| Ty::of_type(ty.instance(0)))
    }

    fn is_local(&self, name: &str) -> bool {
        self.locals.iter().any(|(local, _)| local == name)
    }

    fn select(&mut self, node: &IdedExpr, select: &SelectExpr) -> Ty<'a> {
        if let Some(ty) = spelled(node).and_then(|name| self.named(&name)) {
            return ty;
        }
        let found = match self.composed(&select.operand) {
            Some(composed) => match composed.iter().find(|one| *one.name == *select.field) {
                Some(one) => one.ty.clone(),
                None => self.undefined(node.id, &select.field),
            },
            None => {
                let of = self.visit(&select.operand);
                self.field(node.id, &of, &select.field, false)
            }
        };
        if select.test { Ty::Bool } else { found }
    }

    /// What has been declared before, if this is the variable that has it.
    fn composed(&self, node: &IdedExpr) -> Option<&'s [Declared<'s, 'a>]> {
        match &node.expr {
            Expr::Ident(name) if *name == super::COMPOSED && !self.is_local(name) => {
                self.scope.composed
            }
            _ => None,
        }
    }

    fn undefined(&mut self, id: u64, field: &str) -> Ty<'a> {
        self.complain(id, format!("undefined field '{field}'"))
    }

    /// The type of a field of something.
    fn field(&mut self, id: u64, of: &Ty<'a>, name: &str, optional: bool) -> Ty<'a> {
        let of = self.known.fill(of, false);
        let (of, optional) = match of {
            Ty::Optional(of) => (Ty::clone(&of), true),
            of => (of, optional),
        };
        let found = match &of {
            Ty::Map(of) => of.1.clone(),
            Ty::Object(of) => match of.field(name) {
                Some(found) => found,
                None => self.undefined(id, name),
            },
            // The authorizer's one field.
            Ty::Own("kubernetes.authorization.Authorizer") if name == "requestResource" => {
                Ty::Own("kubernetes.authorization.ResourceCheck")
            }
            Ty::Open(_) => {
                self.known.fits(&Ty::Dyn, &of);
                Ty::Dyn
            }
            Ty::Dyn | Ty::Wrong => Ty::Dyn,
            other => self.complain(id, format!("type '{other}' does not support field selection")),
        };
        if optional { Ty::optional(found) } else { found }
    }
}

fn of_literal<'a>(value: &LiteralValue) -> Ty<'a> {
    match value {
        LiteralValue::Boolean(_) => Ty::Bool,
        LiteralValue::Bytes(_) => Ty::Bytes,
        LiteralValue::Double(_) => Ty::Double,
        LiteralValue::Int(_) => Ty::Int,
        LiteralValue::Null => Ty::Null,
        LiteralValue::String(_) => Ty::Text,
        LiteralValue::UInt(_) => Ty::Uint,
    }
}

/// The name with points in it that an expression may be.
fn spelled(node: &IdedExpr) -> Option<String> {
    match &node.expr {
        Expr::Ident(name) => Some(name.clone()),
        Expr::Select(select) if !select.test => {
            let mut name = spelled(&select.operand)?;
            name.push('.');
            name.push_str(&select.field);
            Some(name)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
