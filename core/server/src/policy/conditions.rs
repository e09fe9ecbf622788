use k8s_openapi::api::admissionregistration::v1::MatchCondition;
use pinnace_api::expressions::{Expression, Val, load, names_of_request};

use super::context::{COMPILATION, Evaluation};

/// Conditions that a request must meet.
pub(crate) struct Conditions(Vec<Condition>);

/// An expression as it is written, and as it is evaluated if it compiles.
pub(super) struct Condition {
    pub(super) text: String,
    pub(super) expression: Result<Expression, String>,
}

impl Condition {
    /// A condition that was accepted when it was written, with the names that it may use.
    pub(super) fn new(text: &str, variables: &[&str], composed: &[&str]) -> Self {
        Self { text: text.to_owned(), expression: load(text, variables, composed) }
    }

    /// What it yields.
    ///
    /// # Errors
    /// What is wrong, in upstream's words.
    pub(super) fn evaluate<'a>(&self, with: &Evaluation<'a>) -> Result<Val<'a>, String> {
        let expression = self.expression.as_ref();
        let expression = expression.map_err(|why| format!("{COMPILATION}{why}"))?;
        with.evaluate(expression).map_err(|fault| match with.is_exhausted() {
            true => "validation failed due to running out of cost budget, no further validation \
                     rules will be run"
                .to_owned(),
            false => format!("expression '{}' resulted in error: {fault}", self.text),
        })
    }
}

impl Conditions {
    pub(crate) fn of(conditions: Option<&[MatchCondition]>, params: bool) -> Self {
        let variables = names_of_request(params, true);
        let each = conditions.unwrap_or_default().iter();
        Self(each.map(|one| Condition::new(&one.expression, &variables, &[])).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a request meets them all. One that it plainly does not meet decides, whatever is
    /// wrong with others.
    ///
    /// # Errors
    /// What is wrong with those that cannot be told.
    pub(crate) fn are_met(&self, with: &Evaluation<'_>) -> Result<bool, String> {
        let mut wrong = Vec::new();
        for condition in &self.0 {
            match condition.evaluate(with) {
                Ok(Val::Bool(true)) => {}
                Ok(_) => return Ok(false),
                Err(why) => wrong.push(why),
            }
        }
        match wrong.is_empty() {
            true => Ok(true),
            false if wrong.len() == 1 => Err(wrong.concat()),
            false => Err(format!("[{}]", wrong.join(", "))),
        }
    }
}
