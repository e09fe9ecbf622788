//! Texts that an expression has as they are, and that something must be made of.

use cel::IdedExpr;
use cel::common::ast::{EntryExpr, Expr, LiteralValue};

use super::super::functions::{strings, times};
use super::Complaints;

/// Looks for patterns, times and durations that are none.
pub(super) fn check(node: &IdedExpr, found: &mut Complaints) {
    let mut each = |node: &IdedExpr| check(node, found);
    match &node.expr {
        Expr::Call(call) => {
            call.target.iter().for_each(|target| each(target));
            call.args.iter().for_each(each);
            let text = match (call.func_name.as_str(), &call.args[..]) {
                ("matches", [.., last]) | ("duration" | "timestamp", [last]) => last,
                _ => return,
            };
            if let Expr::Literal(LiteralValue::String(literal)) = &text.expr
                && !is_right(&call.func_name, literal.inner())
            {
                found.push((text.id, format!("invalid {} argument", call.func_name)));
            }
        }
        Expr::Select(select) => each(&select.operand),
        Expr::List(list) => list.elements.iter().for_each(each),
        Expr::Map(map) => map.entries.iter().for_each(|entry| entries(&entry.expr, found)),
        Expr::Struct(one) => one.entries.iter().for_each(|entry| entries(&entry.expr, found)),
        Expr::Comprehension(one) => {
            [&one.iter_range, &one.accu_init, &one.loop_cond, &one.loop_step, &one.result]
                .into_iter()
                .for_each(each);
        }
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => {}
    }
}

fn entries(entry: &EntryExpr, found: &mut Complaints) {
    match entry {
        EntryExpr::StructField(field) => check(&field.value, found),
        EntryExpr::MapEntry(entry) => {
            check(&entry.key, found);
            check(&entry.value, found);
        }
    }
}

fn is_right(function: &str, text: &str) -> bool {
    match function {
        "matches" => strings::is_pattern(text),
        "duration" => times::parse(text).is_some(),
        _ => text.parse::<jiff::Timestamp>().is_ok(),
    }
}
