use crate::cluster::{Cluster, Domain, NodeIndex, TallyKey, TopologyKey};

/// How many pods there are in each domain of a topology, kept up to date node by node: a tally of
/// the cluster, summed up. A node that was left out does not count, nor does its domain.
#[derive(Debug, Default)]
pub(super) struct DomainCounts {
    /// Per node, what it has contributed.
    parts: Vec<(Domain, u32)>,
    /// Per domain, how many pods and how many nodes.
    domains: Vec<(i64, u32)>,
}

impl DomainCounts {
    /// How many pods a domain has; 0 for [`Domain::NONE`].
    pub(super) fn get(&self, domain: Domain) -> i64 {
        self.domains.get(domain.index()).map_or(0, |(pods, _)| *pods)
    }

    /// As [`DomainCounts::get`], by number.
    pub(super) fn at(&self, domain: usize) -> i64 {
        self.domains.get(domain).map_or(0, |(pods, _)| *pods)
    }

    /// The counts of the domains that have nodes.
    pub(super) fn present(&self) -> impl Iterator<Item = i64> + '_ {
        self.domains.iter().filter(|(_, nodes)| *nodes > 0).map(|(pods, _)| *pods)
    }

    /// How many numbers it holds.
    pub(super) fn cells(&self) -> usize {
        self.parts.len() + 2 * self.domains.len()
    }

    pub(super) fn clear(&mut self) {
        self.parts.clear();
        self.domains.clear();
    }

    /// Takes in how a node is now; `counts` says whether it counts.
    pub(super) fn set(
        &mut self,
        cluster: &Cluster,
        key: TopologyKey,
        tally: &TallyKey,
        node: NodeIndex,
        counts: bool,
    ) {
        let domains = cluster.topology().domain_of(key);
        let domain = domains.get(node.index()).copied().filter(|_| counts).unwrap_or(Domain::NONE);
        if self.parts.len() <= node.index() {
            self.parts.resize(node.index() + 1, (Domain::NONE, 0));
        }
        let (old, had) = self.parts[node.index()];
        let pods = cluster.tallied(tally).get(node.index()).copied().unwrap_or(0);
        self.parts[node.index()] = (domain, pods);
        if let Some((sum, nodes)) = self.domains.get_mut(old.index()) {
            *sum -= i64::from(had);
            *nodes -= 1;
        }
        if domain == Domain::NONE {
            return;
        }
        if self.domains.len() <= domain.index() {
            self.domains.resize(domain.index() + 1, (0, 0));
        }
        let (sum, nodes) = &mut self.domains[domain.index()];
        *sum += i64::from(pods);
        *nodes += 1;
    }

    /// Takes in how many pods a node has now, whose labels and taints are as they were.
    pub(super) fn set_pods(&mut self, cluster: &Cluster, tally: &TallyKey, node: NodeIndex) {
        let Some((domain, had)) = self.parts.get_mut(node.index()) else { return };
        let pods = cluster.tallied(tally).get(node.index()).copied().unwrap_or(0);
        if let Some((sum, _)) = self.domains.get_mut(domain.index()) {
            *sum += i64::from(pods) - i64::from(*had);
        }
        *had = pods;
    }
}

/// What a plugin keeps for pods that are alike, brought up to date by the changes of the cluster.
pub(super) trait View {
    /// Up to which change it knows the cluster.
    fn position(&mut self) -> &mut u64;
    /// Forgets all nodes.
    fn clear(&mut self);
    /// Looks at a node, whose object has changed or only its pods.
    fn look(&mut self, cluster: &Cluster, node: NodeIndex, object: bool);
    /// How many numbers it holds.
    fn cells(&self) -> usize;
    /// When it was last used.
    fn used(&mut self) -> &mut u64;
}

/// Catches up with the cluster: looks at the nodes that changed, or at all.
pub(super) fn refresh(view: &mut impl View, cluster: &Cluster) {
    let (position, end) = (*view.position(), cluster.log().end());
    if position == end {
        return;
    }
    match cluster.log().since(position) {
        Some(changes) if position < end => {
            for change in changes {
                view.look(cluster, change.node, change.object);
            }
        }
        _ => {
            view.clear();
            for node in cluster.indexes() {
                view.look(cluster, node, true);
            }
        }
    }
    *view.position() = end;
}

/// The views of a plugin, the oldest of which are forgotten when they hold too much.
#[derive(Debug)]
pub(super) struct Views<K, V> {
    views: std::collections::HashMap<K, V, ahash::RandomState>,
    uses: u64,
    cells: usize,
}

/// How many numbers the views of one plugin hold at most: about 64 MB of them.
const MAX_CELLS: usize = 8_000_000;

impl<K, V> Default for Views<K, V> {
    fn default() -> Self {
        Self { views: std::collections::HashMap::default(), uses: 0, cells: 0 }
    }
}

impl<K: Eq + std::hash::Hash + Clone, V: View> Views<K, V> {
    /// The view of this key, up to date.
    pub(super) fn get(&mut self, key: &K, cluster: &Cluster, make: impl FnOnce() -> V) -> &mut V {
        self.uses += 1;
        if !self.views.contains_key(key) {
            self.make_room();
        }
        let (uses, cells) = (self.uses, &mut self.cells);
        let view = self.views.entry(key.clone()).or_insert_with(|| {
            let mut view = make();
            *view.position() = u64::MAX;
            refresh(&mut view, cluster);
            *cells += view.cells();
            view
        });
        *view.used() = uses;
        refresh(view, cluster);
        view
    }

    fn make_room(&mut self) {
        if self.cells <= MAX_CELLS {
            return;
        }
        let mut ages: Vec<(u64, K)> =
            self.views.iter_mut().map(|(key, view)| (*view.used(), key.clone())).collect();
        ages.sort_unstable_by_key(|(used, _)| *used);
        // Half of them at once, so that it seldom has to be done.
        for (_, key) in ages.into_iter().take(self.views.len().div_ceil(2)) {
            self.views.remove(&key);
        }
        self.cells = self.views.values().map(V::cells).sum();
    }
}
