use super::Ty;

/// What an expression must evaluate to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yields {
    /// Whatever it likes.
    Anything,
    /// True or false.
    Bool,
    /// True or false, or what shows when it is evaluated.
    BoolOrUnknown,
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
    /// Refuses what is of another type.
    pub(super) fn check(self, found: &Ty<'_>) -> Result<(), String> {
        let is = |name: &str, found: &Ty<'_>| matches!(found, Ty::Object(of) if of.name() == name);
        let (fits, why): (bool, &str) = match (self, found) {
            (Self::Anything, _) => return Ok(()),
            (Self::Bool, found) => (matches!(found, Ty::Bool), "must evaluate to bool"),
            (Self::BoolOrUnknown, Ty::Bool | Ty::Dyn) => return Ok(()),
            (Self::BoolOrUnknown, found) => {
                return Err(format!("must evaluate to bool or the unknown type, not {found}"));
            }
            (Self::RuleBool, found) => {
                (matches!(found, Ty::Bool), "cel expression must evaluate to a bool")
            }
            (Self::Text, found) => (matches!(found, Ty::Text), "must evaluate to string"),
            (Self::RuleText, found) => {
                (matches!(found, Ty::Text), "messageExpression must evaluate to a string")
            }
            (Self::TextOrNull, found) => {
                (matches!(found, Ty::Text | Ty::Null), "must evaluate to one of [string null_type]")
            }
            (Self::Object, found) => (is("Object", found), "must evaluate to Object"),
            (Self::Patches, found) => (
                matches!(found, Ty::List(of) if is("JSONPatch", of)),
                "must evaluate to list(JSONPatch)",
            ),
        };
        if fits { Ok(()) } else { Err(why.to_owned()) }
    }
}
