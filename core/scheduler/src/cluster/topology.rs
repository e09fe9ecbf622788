use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::NodeIndex;

/// A label key that nodes are grouped by, such as `topology.kubernetes.io/zone`, by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopologyKey(u32);

/// The nodes that share a value of a [`TopologyKey`], by number: smaller than
/// [`Topology::domains`] of the key. The number of a domain without nodes is given to a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(u32);

impl Domain {
    /// What a node is in that has no such label.
    pub const NONE: Self = Self(u32::MAX);

    /// The number; of [`Domain::NONE`], one that is larger than any other.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which nodes belong together, for every label key that somebody asked for. A label is compared
/// as text once, when the node changes; from then on domains are numbers.
#[derive(Debug, Default)]
pub struct Topology {
    keys: Vec<Key>,
    by_name: HashMap<Arc<str>, TopologyKey, ahash::RandomState>,
}

#[derive(Debug)]
struct Key {
    name: Arc<str>,
    /// One per node.
    domain_of: Vec<Domain>,
    by_value: HashMap<Arc<str>, Domain, ahash::RandomState>,
    /// One per domain: the value, and how many nodes have it.
    values: Vec<(Arc<str>, usize)>,
    free: Vec<Domain>,
}

impl Topology {
    /// The number of a key that has one.
    pub fn find(&self, name: &str) -> Option<TopologyKey> {
        self.by_name.get(name).copied()
    }

    /// A key's name.
    pub fn name(&self, key: TopologyKey) -> &str {
        &self.keys[key.0 as usize].name
    }

    /// The domain of each node, by its number; [`Domain::NONE`] without the label.
    pub fn domain_of(&self, key: TopologyKey) -> &[Domain] {
        &self.keys[key.0 as usize].domain_of
    }

    /// One more than the largest number of a domain.
    pub fn domains(&self, key: TopologyKey) -> usize {
        self.keys[key.0 as usize].values.len()
    }

    /// The value that the nodes of a domain share.
    pub fn value(&self, key: TopologyKey, domain: Domain) -> Option<&str> {
        self.keys[key.0 as usize].values.get(domain.index()).map(|(value, _)| &**value)
    }

    /// The number of a key, and whether it is new: then nodes must be told by
    /// [`Topology::set`].
    pub(super) fn intern(&mut self, name: &str) -> (TopologyKey, bool) {
        if let Some(known) = self.find(name) {
            return (known, false);
        }
        let key = TopologyKey(u32::try_from(self.keys.len()).unwrap_or(u32::MAX));
        let name: Arc<str> = name.into();
        self.keys.push(Key {
            name: name.clone(),
            domain_of: Vec::new(),
            by_value: HashMap::default(),
            values: Vec::new(),
            free: Vec::new(),
        });
        self.by_name.insert(name, key);
        (key, true)
    }

    /// Takes in the labels of a node; `None` when it has gone.
    pub(super) fn set(&mut self, node: NodeIndex, labels: Option<&BTreeMap<String, String>>) {
        for key in &mut self.keys {
            key.set(node, labels.and_then(|labels| labels.get(&*key.name)).map(String::as_str));
        }
    }
}

impl Key {
    fn set(&mut self, node: NodeIndex, value: Option<&str>) {
        if self.domain_of.len() <= node.index() {
            self.domain_of.resize(node.index() + 1, Domain::NONE);
        }
        let old = self.domain_of[node.index()];
        if self.values.get(old.index()).map(|(known, _)| &**known) == value {
            return;
        }
        if let Some((gone, nodes)) = self.values.get_mut(old.index()) {
            *nodes -= 1;
            if *nodes == 0 {
                self.by_value.remove(gone);
                self.free.push(old);
            }
        }
        self.domain_of[node.index()] = match value {
            None => Domain::NONE,
            Some(value) => self.join(value),
        };
    }

    fn join(&mut self, value: &str) -> Domain {
        if let Some(known) = self.by_value.get(value) {
            self.values[known.index()].1 += 1;
            return *known;
        }
        let text: Arc<str> = value.into();
        let domain = match self.free.pop() {
            Some(free) => {
                self.values[free.index()] = (text.clone(), 1);
                free
            }
            None => {
                self.values.push((text.clone(), 1));
                Domain(u32::try_from(self.values.len() - 1).unwrap_or(u32::MAX))
            }
        };
        self.by_value.insert(text, domain);
        domain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_of_one_value_share_a_domain_and_numbers_are_used_again() {
        let mut topology = Topology::default();
        let (zone, _) = topology.intern("zone");
        let set = |topology: &mut Topology, node: u32, value: Option<&str>| {
            let labels = value.map(|value| [("zone".to_owned(), value.to_owned())].into());
            topology.set(NodeIndex(node), labels.as_ref());
        };
        set(&mut topology, 0, Some("a"));
        set(&mut topology, 2, Some("a"));
        set(&mut topology, 1, Some("b"));
        assert_eq!(topology.domain_of(zone), [Domain(0), Domain(1), Domain(0)]);
        set(&mut topology, 1, None);
        set(&mut topology, 0, Some("c"));
        assert_eq!(topology.domain_of(zone), [Domain(1), Domain::NONE, Domain(0)]);
        assert_eq!((topology.domains(zone), topology.value(zone, Domain(1))), (2, Some("c")));
    }
}
