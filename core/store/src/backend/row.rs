use std::sync::Arc;

use bytes::Bytes;
use pinnace_api::Key;

use super::Record;

/// Separates table, namespace and name in a row's key; none of them contains it.
const SEPARATOR: u8 = 0;

/// Bytes of the revision, little-endian, which a row's value begins with; the JSON form follows.
const REVISION_BYTES: usize = 8;

/// The key a record is stored under: table, namespace and name, so that rows lie in the order of
/// lists.
fn encode_key(record: &Record, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(record.table.as_bytes());
    out.push(SEPARATOR);
    out.extend_from_slice(record.key.namespace().as_bytes());
    out.push(SEPARATOR);
    out.extend_from_slice(record.key.name().as_bytes());
}

/// A row of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row<'b> {
    pub(super) key: &'b [u8],
    /// `None` to remove it.
    pub(super) value: Option<&'b [u8]>,
    pub(super) revision: u64,
}

/// A batch as one run of bytes: for each record the lengths of key and JSON form, the key, and the
/// value. A length of 0 stands for a removal.
pub(super) fn encode_batch(batch: &[Record]) -> Vec<u8> {
    let (mut out, mut key) = (Vec::new(), Vec::new());
    for record in batch {
        let json = record.json.as_deref().unwrap_or_default();
        encode_key(record, &mut key);
        out.extend_from_slice(&(key.len() as u32).to_le_bytes());
        out.extend_from_slice(&(json.len() as u32).to_le_bytes());
        out.extend_from_slice(&key);
        out.extend_from_slice(&record.revision.to_le_bytes());
        out.extend_from_slice(json);
    }
    out
}

/// The rows of an encoded batch, in order; `None` when it is none.
pub(super) fn decode_batch(mut bytes: &[u8]) -> Option<Vec<Row<'_>>> {
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        let key_length = split_length(&mut bytes)?;
        let json_length = split_length(&mut bytes)?;
        let (key, rest) = bytes.split_at_checked(key_length)?;
        let (value, rest) = rest.split_at_checked(REVISION_BYTES.checked_add(json_length)?)?;
        let revision = u64::from_le_bytes(*value.first_chunk()?);
        rows.push(Row { key, value: (json_length > 0).then_some(value), revision });
        bytes = rest;
    }
    Some(rows)
}

fn split_length(bytes: &mut &[u8]) -> Option<usize> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    *bytes = rest;
    usize::try_from(u32::from_le_bytes(*length)).ok()
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

    fn record(name: &str, json: Option<&'static [u8]>) -> Record {
        Record {
            table: "pods".into(),
            key: Key::new("a", name),
            revision: 7,
            json: json.map(Bytes::from_static),
        }
    }

    #[test]
    fn a_batch_reads_back_as_its_records() {
        let batch = [record("b", Some(b"{}")), record("c", None)];
        let bytes = encode_batch(&batch);
        let rows = decode_batch(&bytes).unwrap();
        let stored = Decoder::default().decode(rows[0].key, rows[0].value.unwrap());
        assert_eq!(stored.as_ref(), Some(&batch[0]));
        assert_eq!(rows[1], Row { key: b"pods\0a\0c", value: None, revision: 7 });
        for cut in 1..bytes.len() {
            assert!(decode_batch(&bytes[..cut]).is_none_or(|rows| rows.len() == 1), "{cut}");
        }
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
