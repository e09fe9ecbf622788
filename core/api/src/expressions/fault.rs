//! Why an expression has no result, and how much it may cost.

use std::cell::Cell;
use std::fmt;

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
}

impl Budget {
    /// What one expression may cost.
    pub const OF_ONE: u64 = 1_000_000;
    /// What all rules for one object may cost together.
    pub const OF_ALL: u64 = 10_000_000;

    /// A budget.
    pub fn new(limit: u64) -> Self {
        Self { left: Cell::new(limit) }
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

    /// Takes what it costs to look at a text or a list of a size.
    pub(crate) fn traverse(&self, size: u64) -> Result<(), Fault> {
        self.take(size.div_ceil(10).max(1))
    }
}
