use std::sync::Arc;

use bytes::Bytes;
use pinnace_api::Key;

use super::Record;

/// Separates table, namespace and name in a row's key; none of them contains it.
const SEPARATOR: u8 = 0;

/// Bytes of the revision, before the JSON form.
const REVISION_BYTES: usize = 8;

/// The key a record is stored under: table, namespace and name, so that rows lie in the order of
/// lists.
pub(super) fn encode_key(record: &Record, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(record.table.as_bytes());
    out.push(SEPARATOR);
    out.extend_from_slice(record.key.namespace().as_bytes());
    out.push(SEPARATOR);
    out.extend_from_slice(record.key.name().as_bytes());
}

/// The value a record is stored as: the revision, little-endian, and the JSON form.
pub(super) fn encode_value(revision: u64, json: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(&revision.to_le_bytes());
    out.extend_from_slice(json);
}

/// Reads rows back, sharing the names of tables and namespaces among rows that follow each other.
#[derive(Default)]
pub(super) struct Decoder {
    table: Option<Arc<str>>,
    namespace: Option<Arc<str>>,
}

impl Decoder {
    /// The record of a row; `None` when it is none.
    pub(super) fn decode(&mut self, key: &[u8], value: &[u8]) -> Option<Record> {
        let mut parts = std::str::from_utf8(key).ok()?.split(char::from(SEPARATOR));
        let (table, namespace, name) = (parts.next()?, parts.next()?, parts.next()?);
        let (revision, json) = value.split_first_chunk::<REVISION_BYTES>()?;
        if parts.next().is_some() {
            return None;
        }
        Some(Record {
            table: shared(&mut self.table, table),
            key: Key::new(shared(&mut self.namespace, namespace), name),
            revision: u64::from_le_bytes(*revision),
            json: Some(Bytes::copy_from_slice(json)),
        })
    }
}

fn shared(last: &mut Option<Arc<str>>, text: &str) -> Arc<str> {
    match last {
        Some(last) if **last == *text => last.clone(),
        _ => last.insert(text.into()).clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_back_as_its_record() {
        let record = Record {
            table: "pods".into(),
            key: Key::cluster("a"),
            revision: 7,
            json: Some(Bytes::from_static(b"{}")),
        };
        let (mut key, mut value) = (Vec::new(), Vec::new());
        encode_key(&record, &mut key);
        encode_value(record.revision, b"{}", &mut value);
        assert_eq!(Decoder::default().decode(&key, &value), Some(record));
    }

    #[test]
    fn what_is_no_row_is_told_apart() {
        let value = [0; 10];
        for key in [&b"pods"[..], b"pods\0a", b"pods\0a\0b\0c", b"\xff\0a\0b"] {
            assert_eq!(Decoder::default().decode(key, &value), None);
        }
        assert_eq!(Decoder::default().decode(b"pods\0a\0b", &[0; 7]), None);
    }
}
