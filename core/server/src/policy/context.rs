use std::cell::RefCell;
use std::sync::Arc;

use pinnace_api::expressions::{Budget, Expression, Fault, Outcome, Val, Variables};
use pinnace_api::{Draft, Key, Resource, Result};
use serde_json::Value;

use super::authorizer;
use crate::Server;
use crate::webhooks::request;
use crate::write::Write;

/// What conditions of one webhook or policy may cost.
pub(crate) const OF_CONDITIONS: u64 = Budget::OF_ALL / 4;

/// What stands before why an expression cannot be evaluated at all.
pub(super) const COMPILATION: &str = "compilation error: ";

/// What expressions see of a write.
pub(crate) struct Seen {
    object: Value,
    old: Value,
    request: Value,
    namespace: Value,
}

impl Seen {
    /// What is written.
    pub(super) fn object(&self) -> &Value {
        &self.object
    }
}

impl Server {
    /// What expressions see of a write in a version.
    ///
    /// # Errors
    /// What writing it down says.
    pub(crate) async fn seen(
        &self,
        write: &Write<'_>,
        version: &Arc<Resource>,
        new: Option<&Draft>,
    ) -> Result<Seen> {
        let object = self.shown_draft(write, version, new).await?;
        let old = self.shown_object(write, version, write.old).await?;
        let request = request(write, version, &object)?;
        let namespace = match write.key.namespace() {
            "" => None,
            name => self.snapshot().get("namespaces", &Key::cluster(name)).cloned(),
        };
        let namespace = namespace.map(|found| found.to_value()).transpose()?.unwrap_or_default();
        Ok(Seen { object, old, request, namespace })
    }
}

/// The evaluation of expressions about one write, which share what they compute.
pub(crate) struct Evaluation<'a> {
    values: Vec<Val<'a>>,
    composed: &'a [Expression],
    /// The values of those that have been asked for.
    made: RefCell<Vec<Option<Outcome<'a>>>>,
    budget: &'a Budget,
}

impl<'a> Evaluation<'a> {
    /// An evaluation, with params where expressions have them.
    pub(crate) fn new(
        server: &Server,
        write: &Write<'_>,
        seen: &'a Seen,
        params: Option<&'a Value>,
        composed: &'a [Expression],
        budget: &'a Budget,
    ) -> Self {
        let mut values: Vec<Val<'a>> =
            [&seen.object, &seen.old, &seen.request, &seen.namespace].map(Val::of).into();
        values.extend(params.map(Val::of));
        values.push(authorizer::of(server, write));
        let made = RefCell::new(composed.iter().map(|_| None).collect());
        Self { values, composed, made, budget }
    }

    /// What an expression yields.
    ///
    /// # Errors
    /// What is wrong with a value, or that it costs too much.
    pub(super) fn evaluate(&self, expression: &Expression) -> Outcome<'a> {
        let limit = self.budget.left().min(Budget::OF_ONE);
        let one = Budget::new(limit);
        let outcome = expression.evaluate(self, &one);
        self.budget.take(limit - one.left())?;
        outcome
    }

    /// Upstream's name of why something could not be evaluated.
    pub(super) fn error_type(&self, why: &str) -> &'static str {
        match why {
            _ if self.is_exhausted() => "out_of_budget",
            why if why.starts_with(COMPILATION) => "compile_error",
            _ => "invalid_error",
        }
    }

    /// Whether nothing more may be evaluated.
    pub(super) fn is_exhausted(&self) -> bool {
        self.budget.left() == 0
    }
}

impl<'a> Variables<'a> for Evaluation<'a> {
    fn get(&self, number: usize) -> Outcome<'a> {
        if let Some(value) = self.values.get(number) {
            return Ok(value.clone());
        }
        let none = || Fault::new("no such attribute(s)");
        let at = number - self.values.len();
        let expression = self.composed.get(at).ok_or_else(none)?;
        if let Some(Some(made)) = self.made.borrow().get(at) {
            return made.clone();
        }
        let outcome = self.evaluate(expression);
        if let Some(place) = self.made.borrow_mut().get_mut(at) {
            *place = Some(outcome.clone());
        }
        outcome
    }
}
