use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

/// A resource by number: an index into the columns of a [`Cluster`](super::Cluster).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource(u32);

impl Resource {
    /// `cpu`, in thousandths of a core.
    pub const CPU: Self = Self(0);
    /// `memory`, in bytes.
    pub const MEMORY: Self = Self(1);
    /// `ephemeral-storage`, in bytes.
    pub const EPHEMERAL_STORAGE: Self = Self(2);

    /// The number.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// Whether it is neither CPU nor memory nor ephemeral storage: extended resources, huge pages
    /// and volume attachments.
    pub fn is_scalar(self) -> bool {
        self > Self::EPHEMERAL_STORAGE
    }
}

/// The names of the resources that nodes offer and pods ask for, each with its number.
#[derive(Debug)]
pub struct ResourceNames {
    names: Vec<Arc<str>>,
    by_name: HashMap<Arc<str>, Resource, ahash::RandomState>,
}

impl Default for ResourceNames {
    fn default() -> Self {
        let mut new = Self { names: Vec::new(), by_name: HashMap::default() };
        for name in ["cpu", "memory", "ephemeral-storage"] {
            new.intern(name);
        }
        new
    }
}

impl ResourceNames {
    /// The number of a resource that is scheduled by, `None` for others such as `pods`.
    pub fn accept(&mut self, name: &str) -> Option<Resource> {
        match self.by_name.get(name) {
            Some(known) => Some(*known),
            None => is_scalar_name(name).then(|| self.intern(name)),
        }
    }

    /// The number of a resource that has one.
    pub fn get(&self, name: &str) -> Option<Resource> {
        self.by_name.get(name).copied()
    }

    /// The name of a resource.
    pub fn name(&self, resource: Resource) -> &str {
        &self.names[resource.index()]
    }

    /// All names, with their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Resource)> {
        (0..).map(Resource).zip(&self.names).map(|(resource, name)| (&**name, resource))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Never: some resources are always known.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    fn intern(&mut self, name: &str) -> Resource {
        let resource = Resource(u32::try_from(self.names.len()).unwrap_or(u32::MAX));
        let name: Arc<str> = name.into();
        self.names.push(name.clone());
        self.by_name.insert(name, resource);
        resource
    }
}

/// Whether pods are scheduled by a resource that is not one of the three every node has.
fn is_scalar_name(name: &str) -> bool {
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    let extended = !native && !name.starts_with("requests.");
    extended
        || name.starts_with("hugepages-")
        || name.contains("kubernetes.io/")
        || name.starts_with("attachable-volumes-")
}

/// Amounts of resources, each at most once, ordered by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Amounts(SmallVec<[(Resource, i64); 3]>);

impl Amounts {
    /// The amount of one resource, 0 when it is not there.
    pub fn get(&self, resource: Resource) -> i64 {
        self.0.iter().find(|(one, _)| *one == resource).map_or(0, |(_, amount)| *amount)
    }

    /// Sets the amount of one resource.
    pub fn set(&mut self, resource: Resource, amount: i64) {
        match self.0.binary_search_by_key(&resource, |(one, _)| *one) {
            Ok(found) => self.0[found].1 = amount,
            Err(place) => self.0.insert(place, (resource, amount)),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Resource, i64)> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_pods_are_scheduled_by_gets_a_number() {
        let mut names = ResourceNames::default();
        for name in ["cpu", "nvidia.com/gpu", "hugepages-2Mi", "attachable-volumes-x"] {
            assert!(names.accept(name).is_some(), "{name}");
        }
        for name in ["pods", "storage", "requests.nvidia.com/gpu"] {
            assert_eq!(names.accept(name), None, "{name}");
        }
        assert_eq!(names.accept("nvidia.com/gpu"), names.get("nvidia.com/gpu"));
    }
}
