use std::collections::VecDeque;

use super::NodeIndex;

/// Fewest changes that are remembered; beyond that, as many as there are nodes.
const REMEMBERED: usize = 1024;

/// Which nodes changed and in what order, so that whoever keeps something per node can bring it
/// up to date without looking at the others.
#[derive(Debug, Default)]
pub(crate) struct ChangeLog {
    first: u64,
    changes: VecDeque<Change>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) node: NodeIndex,
    /// The Node object itself, rather than only what its pods take.
    pub(crate) object: bool,
}

impl ChangeLog {
    pub(crate) fn push(&mut self, change: Change, nodes: usize) {
        if self.changes.len() >= nodes.max(REMEMBERED) {
            self.changes.pop_front();
            self.first += 1;
        }
        self.changes.push_back(change);
    }

    /// Where the log ends now.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    /// What came after a position; `None` when some of that is forgotten.
    pub(crate) fn since(&self, position: u64) -> Option<impl Iterator<Item = Change> + '_> {
        let skip = position.checked_sub(self.first)?;
        let skip = usize::try_from(skip).ok()?;
        Some(self.changes.range(skip.min(self.changes.len())..).copied())
    }
}
