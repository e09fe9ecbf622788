use pinnace_api::expressions::{
    Budget, Declared, Expression as Compiled, Scope, Val, Yields, compile, variables_of_claims,
    variables_of_user,
};
use serde_json::Value;

/// An expression in CEL over the claims of a token, or over the user that they stand for.
pub(super) struct Expression {
    compiled: Compiled,
    text: String,
}

/// What an expression gave that should be a text or a list of texts.
pub(super) enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Expression {
    /// What claims are made into.
    ///
    /// # Errors
    /// Why the text is no such expression.
    pub(super) fn of_claims(text: &str) -> Result<Self, String> {
        Self::compile(text, &variables_of_claims(), Yields::Anything)
    }

    /// What claims must be.
    ///
    /// # Errors
    /// As [`Expression::of_claims`].
    pub(super) fn rule_of_claims(text: &str) -> Result<Self, String> {
        Self::compile(text, &variables_of_claims(), Yields::Bool)
    }

    /// What a user must be.
    ///
    /// # Errors
    /// As [`Expression::of_claims`].
    pub(super) fn rule_of_user(text: &str) -> Result<Self, String> {
        Self::compile(text, &variables_of_user(), Yields::Bool)
    }

    fn compile<'a>(
        text: &str,
        variables: &[Declared<'_, 'a>],
        yields: Yields,
    ) -> Result<Self, String> {
        let scope = Scope { variables, ..Scope::default() };
        let (compiled, _) = compile(text, scope, yields)?;
        Ok(Self { compiled, text: text.to_owned() })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it looks at a field, as `variable.field`.
    pub(super) fn selects(&self, field: &str) -> bool {
        self.compiled.selects(field)
    }

    fn evaluate(&self, value: &Value) -> Result<Value, String> {
        let budget = Budget::new(Budget::OF_ONE);
        let found = self.compiled.evaluate(&[Val::of(value)], &budget);
        found.and_then(|found| found.to_json()).map_err(|fault| fault.to_string())
    }

    /// # Errors
    /// Why it cannot be said.
    pub(super) fn holds(&self, value: &Value) -> Result<bool, String> {
        match self.evaluate(value)? {
            Value::Bool(holds) => Ok(holds),
            _ => Err("expression must return a boolean".to_owned()),
        }
    }

    /// # Errors
    /// Why there is no text.
    pub(super) fn texts(&self, value: &Value) -> Result<Texts, String> {
        let one = |value: Value| match value {
            Value::String(text) => Ok(text),
            _ => Err("expression must return a string or a list of strings".to_owned()),
        };
        match self.evaluate(value)? {
            Value::Array(all) => {
                all.into_iter().map(one).collect::<Result<_, _>>().map(Texts::Many)
            }
            Value::Null => Ok(Texts::Many(Vec::new())),
            value => one(value).map(Texts::One),
        }
    }
}
