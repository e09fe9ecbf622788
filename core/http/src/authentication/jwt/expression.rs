use std::collections::HashMap;

use cel::{Context, Program, Value as CelValue};
use serde_json::Value;

/// An expression in CEL over one variable.
pub(super) struct Expression {
    program: Program,
    text: String,
    variable: &'static str,
}

/// What an expression gave that should be a text or a list of texts.
pub(super) enum Texts {
    One(String),
    Many(Vec<String>),
}

impl Expression {
    /// # Errors
    /// Why the text is no expression.
    pub(super) fn compile(text: &str, variable: &'static str) -> Result<Self, String> {
        let program = Program::compile(text).map_err(|error| format!("{text:?}: {error}"))?;
        Ok(Self { program, text: text.to_owned(), variable })
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn evaluate(&self, value: &CelValue) -> Result<CelValue, String> {
        let mut context = Context::default();
        context.add_variable_from_value(self.variable, value.clone());
        self.program.execute(&context).map_err(|error| error.to_string())
    }

    /// # Errors
    /// Why it cannot be said.
    pub(super) fn holds(&self, value: &CelValue) -> Result<bool, String> {
        match self.evaluate(value)? {
            CelValue::Bool(holds) => Ok(holds),
            _ => Err("expression must return a boolean".to_owned()),
        }
    }

    /// # Errors
    /// Why there is no text.
    pub(super) fn texts(&self, value: &CelValue) -> Result<Texts, String> {
        let one = |value: &CelValue| match value {
            CelValue::String(text) => Ok(text.to_string()),
            _ => Err("expression must return a string or a list of strings".to_owned()),
        };
        match self.evaluate(value)? {
            CelValue::List(all) => all.iter().map(one).collect::<Result<_, _>>().map(Texts::Many),
            CelValue::Null => Ok(Texts::Many(Vec::new())),
            value => one(&value).map(Texts::One),
        }
    }
}

/// A value of JSON as expressions see it: whole numbers are all of one type.
pub(super) fn cel_value(value: &Value) -> CelValue {
    match value {
        Value::Null => CelValue::Null,
        Value::Bool(value) => CelValue::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => CelValue::Int(whole),
            None => CelValue::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => CelValue::from(text.as_str()),
        Value::Array(all) => CelValue::from(all.iter().map(cel_value).collect::<Vec<_>>()),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), cel_value(value)));
            CelValue::from(fields.collect::<HashMap<String, CelValue>>())
        }
    }
}
