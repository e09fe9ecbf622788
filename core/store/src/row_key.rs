use std::cmp::Ordering;
use std::sync::Arc;

use pinnace_api::Key;

/// Bytes kept in the key itself. Namespace and name are rarely longer together, and 48 bytes hold
/// this with what tells the two forms apart.
const INLINE_BYTES: usize = 46;

/// Between namespace and name; sorts before all that either may contain.
const SEPARATOR: u8 = 0;

/// A [`Key`] as tables order by it: one run of bytes, mostly without a pointer to follow.
///
/// A persistent map copies keys with every node it changes and compares dozens per look-up. With
/// the text inline the first is a copy of memory rather than of reference counts, and the second
/// does not miss the cache.
#[derive(Clone)]
pub(crate) enum RowKey {
    Inline { length: u8, bytes: [u8; INLINE_BYTES] },
    Shared(Arc<[u8]>),
}

impl RowKey {
    pub(crate) fn new(key: &Key) -> Self {
        Self::of(key.namespace(), key.name())
    }

    /// Not after any key of a namespace, and a prefix of them all.
    pub(crate) fn start_of(namespace: &str) -> Self {
        Self::of(namespace, "")
    }

    fn of(namespace: &str, name: &str) -> Self {
        let (namespace, name) = (namespace.as_bytes(), name.as_bytes());
        let length = namespace.len() + 1 + name.len();
        if length > INLINE_BYTES {
            return Self::Shared([namespace, &[SEPARATOR], name].concat().into());
        }
        let mut bytes = [SEPARATOR; INLINE_BYTES];
        bytes[..namespace.len()].copy_from_slice(namespace);
        bytes[namespace.len() + 1..length].copy_from_slice(name);
        Self::Inline { length: length as u8, bytes }
    }

    pub(crate) fn starts_with(&self, prefix: &Self) -> bool {
        self.as_bytes().starts_with(prefix.as_bytes())
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Ord for RowKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl PartialOrd for RowKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for RowKey {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for RowKey {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_ordered_as_keys_are() {
        let long = "x".repeat(60);
        let mut keys = Vec::new();
        for namespace in ["", "a", "a-b", "ab", "b", &long] {
            for name in ["a", "a.b", "a-b", "b", &long] {
                keys.push(Key::new(namespace, name));
            }
        }
        for a in &keys {
            for b in &keys {
                assert_eq!(RowKey::new(a).cmp(&RowKey::new(b)), a.cmp(b), "{a} and {b}");
                let within = RowKey::new(a).starts_with(&RowKey::start_of(b.namespace()));
                assert_eq!(within, a.namespace() == b.namespace(), "{a} within {b}");
            }
        }
    }

    #[test]
    fn a_row_key_takes_48_bytes() {
        assert_eq!(size_of::<RowKey>(), 48);
    }
}
