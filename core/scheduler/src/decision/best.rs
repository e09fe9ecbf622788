/// The score of a node that is out of the question.
pub(super) const OUT: i64 = i64::MIN;

/// Which nodes score highest, kept up to date node by node: a tree whose inner nodes hold the
/// highest score below them and how many nodes have it. A change and a pick each take as many
/// steps as the tree is high.
#[derive(Debug, Default)]
pub(super) struct Best {
    /// Leaves begin at `half`; 1 is the root and the children of `n` are `2n` and `2n + 1`.
    tree: Vec<Top>,
    half: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Top {
    score: i64,
    nodes: u32,
}

impl Top {
    const NONE: Self = Self { score: OUT, nodes: 0 };

    fn leaf(score: i64) -> Self {
        if score == OUT { Self::NONE } else { Self { score, nodes: 1 } }
    }

    fn of(left: Self, right: Self) -> Self {
        match left.score.cmp(&right.score) {
            std::cmp::Ordering::Greater => left,
            std::cmp::Ordering::Less => right,
            std::cmp::Ordering::Equal => {
                Self { score: left.score, nodes: left.nodes + right.nodes }
            }
        }
    }
}

impl Best {
    /// Starts anew with the scores of all nodes.
    pub(super) fn fill(&mut self, scores: impl ExactSizeIterator<Item = i64>) {
        self.half = scores.len().next_power_of_two();
        self.tree.clear();
        self.tree.resize(2 * self.half, Top::NONE);
        for (leaf, score) in self.tree[self.half..].iter_mut().zip(scores) {
            *leaf = Top::leaf(score);
        }
        for inner in (1..self.half).rev() {
            self.tree[inner] = Top::of(self.tree[2 * inner], self.tree[2 * inner + 1]);
        }
    }

    /// How many nodes it has room for.
    pub(super) fn capacity(&self) -> usize {
        self.half
    }

    /// Changes the score of one node.
    pub(super) fn set(&mut self, node: usize, score: i64) {
        let mut place = self.half + node;
        self.tree[place] = Top::leaf(score);
        while place > 1 {
            place /= 2;
            let top = Top::of(self.tree[2 * place], self.tree[2 * place + 1]);
            if top == self.tree[place] {
                break;
            }
            self.tree[place] = top;
        }
    }

    /// How many nodes share the highest score.
    pub(super) fn ties(&self) -> u32 {
        self.tree.get(1).map_or(0, |top| top.nodes)
    }

    /// One of the nodes that share the highest score, counted in the order of their numbers.
    pub(super) fn nth(&self, mut which: u32) -> usize {
        let mut place = 1;
        let best = self.tree[1].score;
        while place < self.half {
            place *= 2;
            let left = self.tree[place];
            if left.score != best {
                place += 1;
            } else if which >= left.nodes {
                which -= left.nodes;
                place += 1;
            }
        }
        place - self.half
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_score_is_found_and_its_ties_are_counted_in_order() {
        let mut best = Best::default();
        best.fill([3, OUT, 7, 7, 1, 7].into_iter());
        assert_eq!(best.ties(), 3);
        assert_eq!((0..3).map(|which| best.nth(which)).collect::<Vec<_>>(), [2, 3, 5]);
        best.set(3, OUT);
        assert_eq!((best.ties(), best.nth(0), best.nth(1)), (2, 2, 5));
        best.set(1, 8);
        assert_eq!((best.ties(), best.nth(0)), (1, 1));
        for node in 0..6 {
            best.set(node, OUT);
        }
        assert_eq!(best.ties(), 0);
    }
}
