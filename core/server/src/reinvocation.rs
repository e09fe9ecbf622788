//! Which of those that change a write see it again: all that want to and were asked before another
//! changed something, once.

use std::collections::HashSet;
use std::hash::Hash;

use pinnace_api::{Draft, Result};
use serde_json::Value;

/// How often those that change a write have been asked about it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Never: all are asked.
    First,
    /// Once: only those are asked to which something has happened since.
    Second,
}

/// Those of one sort that have been asked.
#[derive(Debug)]
pub(crate) struct Asked<K> {
    /// Those that want to be asked again once another has changed something.
    before: HashSet<K>,
    /// Those that are to be.
    again: HashSet<K>,
    /// What they have made of it.
    last: Option<Value>,
}

impl<K> Default for Asked<K> {
    fn default() -> Self {
        Self { before: HashSet::new(), again: HashSet::new(), last: None }
    }
}

impl<K: Eq + Hash> Asked<K> {
    /// Begins a pass: whatever others have changed since the last one is a change.
    ///
    /// # Errors
    /// What writing the draft down says.
    pub(crate) fn begin(&mut self, pass: Pass, draft: Option<&Draft>) -> Result<()> {
        if pass == Pass::Second
            && !self.before.is_empty()
            && draft.map(Draft::to_value).transpose()? != self.last
        {
            self.note_change();
        }
        Ok(())
    }

    /// Ends a pass.
    ///
    /// # Errors
    /// What writing the draft down says.
    pub(crate) fn end(&mut self, draft: Option<&Draft>) -> Result<()> {
        if !self.before.is_empty() {
            self.last = draft.map(Draft::to_value).transpose()?;
        }
        Ok(())
    }

    /// Whether one is asked in a pass.
    pub(crate) fn is_due(&self, pass: Pass, one: &K) -> bool {
        pass == Pass::First || self.again.contains(one)
    }

    /// Has all that have seen another state be asked again, if they want to.
    pub(crate) fn note_change(&mut self) {
        self.again.extend(self.before.drain());
    }

    /// Notes one that wants to be asked again.
    pub(crate) fn note(&mut self, one: K) {
        self.before.insert(one);
    }
}
