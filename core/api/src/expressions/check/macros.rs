//! Macros: those that the parser takes apart, and those that it leaves as calls.

use cel::IdedExpr;
use cel::common::ast::{ComprehensionExpr, Expr};

use super::Checker;
use super::types::Ty;

impl<'a> Checker<'_, 'a> {
    fn within<T>(
        &mut self,
        names: impl IntoIterator<Item = (String, Ty<'a>)>,
        visit: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let before = self.locals.len();
        self.locals.extend(names);
        let found = visit(self);
        self.locals.truncate(before);
        found
    }

    /// The keys and the values of what a macro goes through; lists have numbers as keys.
    fn range(&mut self, id: u64, range: &Ty<'a>) -> (bool, Ty<'a>, Ty<'a>) {
        match self.known.fill(range, false) {
            Ty::List(of) => (true, Ty::Int, Ty::clone(&of)),
            Ty::Map(of) => (false, of.0.clone(), of.1.clone()),
            open @ Ty::Open(_) => {
                self.known.fits(&Ty::Dyn, &open);
                (false, Ty::Dyn, Ty::Dyn)
            }
            Ty::Dyn | Ty::Wrong => (false, Ty::Dyn, Ty::Dyn),
            other => {
                let why = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be \
                     list, map, or dynamic)"
                );
                self.complain(id, why);
                (false, Ty::Wrong, Ty::Wrong)
            }
        }
    }

    pub(super) fn fold(&mut self, one: &ComprehensionExpr) -> Ty<'a> {
        let range = self.visit(&one.iter_range);
        let (is_list, keys, values) = self.range(one.iter_range.id, &range);
        let made = self.visit(&one.accu_init);
        let element = if is_list { values } else { keys };
        let accumulates = [(one.accu_var.clone(), made.clone())];
        let found = self.within(accumulates, |checker| {
            checker.within([(one.iter_var.clone(), element)], |checker| {
                let condition = checker.visit(&one.loop_cond);
                checker.expect(one.loop_cond.id, &Ty::Bool, &condition);
                let step = checker.visit(&one.loop_step);
                checker.expect(one.loop_step.id, &made, &step);
            });
            checker.visit(&one.result)
        });
        self.known.fill(&found, false)
    }

    /// A macro that the parser leaves as a call; `None` for what is none.
    pub(super) fn each(
        &mut self,
        id: u64,
        name: &str,
        target: &IdedExpr,
        arguments: &[IdedExpr],
    ) -> Option<Ty<'a>> {
        let declares = match (name, arguments.len()) {
            ("all" | "exists" | "existsOne" | "exists_one", 3) => 2,
            ("transformList" | "transformMap" | "transformMapEntry", 3 | 4) => 2,
            ("optMap" | "optFlatMap" | "sortBy" | "existsOne", 2) => 1,
            _ => return None,
        };
        let (declared, rest) = arguments.split_at(declares);
        let mut names = Vec::with_capacity(declares);
        for one in declared {
            match &one.expr {
                Expr::Ident(name) => names.push(name.clone()),
                _ => {
                    let why = "argument must be a simple name".to_owned();
                    return Some(self.complain(one.id, why));
                }
            }
        }
        let range = self.visit(target);
        if name.starts_with("opt") {
            return Some(self.optional(id, name, &range, names, rest));
        }
        let (is_list, keys, values) = self.range(target.id, &range);
        let types = match (declares, is_list) {
            (2, _) => vec![keys.clone(), values.clone()],
            (_, true) => vec![values.clone()],
            (_, false) => vec![keys.clone()],
        };
        let found = self.within(names.into_iter().zip(types), |checker| {
            if let [filter, _] = rest {
                let found = checker.visit(filter);
                checker.expect(filter.id, &Ty::Bool, &found);
            }
            let body = rest.last()?;
            Some((body.id, checker.visit(body)))
        });
        let (at, body) = found?;
        Some(match name {
            "transformList" => Ty::list(body),
            "transformMap" => Ty::map(keys, body),
            "transformMapEntry" => {
                let wanted = Ty::map(Ty::Dyn, self.open());
                self.expect(at, &wanted, &body);
                self.known.fill(&body, false)
            }
            "sortBy" => Ty::list(if is_list { values } else { keys }),
            _ => {
                self.expect(at, &Ty::Bool, &body);
                Ty::Bool
            }
        })
    }

    fn optional(
        &mut self,
        id: u64,
        name: &str,
        target: &Ty<'a>,
        names: Vec<String>,
        rest: &[IdedExpr],
    ) -> Ty<'a> {
        // It is asked whether it has a value.
        let asked = self.resolve(id, "hasValue", std::slice::from_ref(target), true);
        let of = match self.known.fill(target, false) {
            Ty::Optional(of) => Ty::clone(&of),
            _ if matches!(asked, Ty::Wrong) => Ty::Wrong,
            _ => Ty::Dyn,
        };
        let [body] = rest else { return Ty::Wrong };
        let made = self.within(names.into_iter().map(|name| (name, of.clone())), |checker| {
            checker.visit(body)
        });
        if name == "optMap" {
            return Ty::optional(made);
        }
        let wanted = Ty::optional(self.open());
        self.expect(body.id, &wanted, &made);
        self.known.fill(&wanted, false)
    }
}
