//! Why an expression has no result, and how much it may cost.

use std::cell::{Cell, RefCell};
use std::fmt;

use regex::Regex;

use super::value::Val;

/// What an expression yields.
pub type Outcome<'a> = Result<Val<'a>, Fault>;

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It would cost more than it may.
    Cost,
    /// Something is wrong with a value.
    Value(String),
}

impl Fault {
    /// Something is wrong with a value.
    pub fn new(why: impl Into<String>) -> Self {
        Self::Value(why.into())
    }

    /// No function takes values of these types.
    pub fn no_such_overload() -> Self {
        Self::new("no such overload")
    }

    pub(crate) fn no_such_key(key: impl fmt::Display) -> Self {
        Self::new(format!("no such key: {key}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cost => f.write_str("operation cancelled: actual cost limit exceeded"),
            Self::Value(why) => f.write_str(why),
        }
    }
}

/// What evaluation may still cost, in upstream's units: one for each step, and more for what looks
/// at much.
#[derive(Debug)]
pub struct Budget {
    left: Cell<u64>,
    /// Patterns that have been compiled, the last ones; and how many there were.
    patterns: RefCell<Vec<(Box<str>, Regex)>>,
    compiled: Cell<usize>,
}

/// How many patterns are kept, and are compiled for nothing.
const PATTERNS: usize = 8;
/// What each further one costs: upstream asks nothing for it, but compiling takes long.
const PATTERN_COST: u64 = 2000;

impl Budget {
    /// What one expression may cost.
    pub const OF_ONE: u64 = 1_000_000;
    /// What all rules for one object may cost together.
    pub const OF_ALL: u64 = 10_000_000;

    /// A budget.
    pub fn new(limit: u64) -> Self {
        Self { left: Cell::new(limit), patterns: RefCell::default(), compiled: Cell::new(0) }
    }

    /// What is left.
    pub fn left(&self) -> u64 {
        self.left.get()
    }

    /// Takes what something costs.
    ///
    /// # Errors
    /// [`Fault::Cost`] if there is not as much left, and then nothing is left.
    pub fn take(&self, cost: u64) -> Result<(), Fault> {
        let left = self.left.get().checked_sub(cost);
        self.left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or(Fault::Cost)
    }

    /// A pattern, compiled once as long as it is among the last ones.
    pub(super) fn pattern(
        &self,
        text: &str,
        compile: impl FnOnce(&str) -> Result<Regex, Fault>,
    ) -> Result<Regex, Fault> {
        let mut kept = self.patterns.borrow_mut();
        if let Some((_, found)) = kept.iter().find(|(known, _)| **known == *text) {
            return Ok(found.clone());
        }
        if self.compiled.get() >= PATTERNS {
            self.take(PATTERN_COST)?;
        }
        self.compiled.set(self.compiled.get() + 1);
        let made = compile(text)?;
        if kept.len() >= PATTERNS {
            kept.remove(0);
        }
        kept.push((text.into(), made.clone()));
        Ok(made)
    }

    /// Takes what it costs to look at a text or a list of a size.
    pub(crate) fn traverse(&self, size: u64) -> Result<(), Fault> {
        self.take(size.div_ceil(10).max(1))
    }
}
