use cel::IdedExpr;
use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, operators};

/// What an expression must evaluate to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yields {
    /// Whatever it likes.
    Anything,
    /// True or false.
    Bool,
    /// True or false, in a schema's rule.
    RuleBool,
    /// A text.
    Text,
    /// A text, in a schema's rule.
    RuleText,
    /// A text or nothing.
    TextOrNull,
    /// An object to apply.
    Object,
    /// A list of changes.
    Patches,
}

impl Yields {
    /// Refuses what is plainly something else.
    pub(super) fn check(self, root: &IdedExpr) -> Result<(), String> {
        let Some(found) = type_of(root) else { return Ok(()) };
        let (fits, why): (bool, &str) = match self {
            Self::Anything => return Ok(()),
            Self::Bool => (found == Type::Bool, "must evaluate to bool"),
            Self::RuleBool => (found == Type::Bool, "cel expression must evaluate to a bool"),
            Self::Text => (found == Type::Text, "must evaluate to string"),
            Self::RuleText => (found == Type::Text, "messageExpression must evaluate to a string"),
            Self::TextOrNull => (
                matches!(found, Type::Text | Type::Null),
                "must evaluate to one of [string null_type]",
            ),
            Self::Object => (found == Type::Struct, "must evaluate to Object"),
            Self::Patches => (found == Type::List, "must evaluate to list(JSONPatch)"),
        };
        if fits { Ok(()) } else { Err(why.to_owned()) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Bool,
    Bytes,
    List,
    Map,
    Null,
    Number,
    Struct,
    Text,
}

/// The type of an expression, as far as it shows in its form.
fn type_of(node: &IdedExpr) -> Option<Type> {
    match &node.expr {
        Expr::Literal(value) => Some(match value {
            LiteralValue::Boolean(_) => Type::Bool,
            LiteralValue::Bytes(_) => Type::Bytes,
            LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => Type::Number,
            LiteralValue::Null => Type::Null,
            LiteralValue::String(_) => Type::Text,
        }),
        Expr::List(_) => Some(Type::List),
        Expr::Map(_) => Some(Type::Map),
        Expr::Struct(_) => Some(Type::Struct),
        Expr::Select(select) => select.test.then_some(Type::Bool),
        Expr::Call(call) => of_call(call),
        Expr::Comprehension(one) => of_comprehension(one),
        Expr::Ident(_) | Expr::Unspecified => None,
    }
}

fn of_call(call: &CallExpr) -> Option<Type> {
    match (call.func_name.as_str(), call.target.is_some()) {
        (
            operators::LOGICAL_AND
            | operators::LOGICAL_OR
            | operators::LOGICAL_NOT
            | operators::EQUALS
            | operators::NOT_EQUALS
            | operators::GREATER
            | operators::GREATER_EQUALS
            | operators::LESS
            | operators::LESS_EQUALS
            | operators::IN,
            _,
        ) => Some(Type::Bool),
        (operators::CONDITIONAL, _) => {
            let branches: Vec<_> = call.args.iter().skip(1).map(type_of).collect();
            match branches[..] {
                [Some(one), Some(other)] if one == other => Some(one),
                _ => None,
            }
        }
        // Either side tells: nothing is added to something of another type.
        (operators::ADD, _) => call
            .args
            .iter()
            .filter_map(type_of)
            .find(|found| matches!(found, Type::Text | Type::List | Type::Bytes)),
        ("startsWith" | "endsWith" | "matches", true)
        | ("bool" | "isQuantity" | "isURL", false) => Some(Type::Bool),
        ("size", _) | ("int" | "uint" | "double", false) => Some(Type::Number),
        ("string", false) => Some(Type::Text),
        _ => None,
    }
}

/// Macros fold a list into something that begins as what it will be.
fn of_comprehension(one: &ComprehensionExpr) -> Option<Type> {
    match &one.result.expr {
        Expr::Ident(name) if *name == one.accu_var => type_of(&one.accu_init),
        _ => type_of(&one.result),
    }
}
