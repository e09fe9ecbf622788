use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use bytes::Bytes;

use super::{EncryptionError, KeyConfiguration};

/// What every encrypted value begins with.
pub(super) const PREFIX: &[u8] = b"k8s:enc:";
const SCHEME: &str = "aesgcm:v1";
const AES_128_BYTES: usize = 16;

/// A key with its name.
pub(super) struct Key {
    name: String,
    /// What stands before what it has encrypted.
    prefix: String,
    key: RandomizedNonceKey,
}

impl Key {
    pub(super) fn new(config: &KeyConfiguration) -> Result<Self, EncryptionError> {
        let wrong = |why: &str| EncryptionError::Config(format!("key {}{why}", config.name));
        let bytes = config.bytes().map_err(|why| wrong(&why))?;
        let algorithm = if bytes.len() == AES_128_BYTES { &AES_128_GCM } else { &AES_256_GCM };
        let key = RandomizedNonceKey::new(algorithm, &bytes);
        Ok(Self {
            key: key.map_err(|_| wrong(" cannot be used"))?,
            prefix: format!("k8s:enc:{SCHEME}:{}:", config.name),
            name: config.name.clone(),
        })
    }

    pub(super) fn has_sealed(&self, kept: &[u8]) -> bool {
        kept.starts_with(self.prefix.as_bytes())
    }

    pub(super) fn seal(&self, object: &str, json: &[u8]) -> Result<Bytes, EncryptionError> {
        let mut sealed = json.to_vec();
        let nonce = self.key.seal_in_place_append_tag(Aad::from(object.as_bytes()), &mut sealed);
        let nonce = nonce.map_err(|_| EncryptionError::Seal { object: object.to_owned() })?;
        let parts = [self.prefix.as_bytes(), nonce.as_ref(), &sealed];
        Ok(parts.concat().into())
    }

    pub(super) fn open(&self, object: &str, kept: &[u8]) -> Result<Bytes, EncryptionError> {
        let failed =
            || EncryptionError::WrongKey { object: object.to_owned(), key: self.name.clone() };
        let sealed = kept.get(self.prefix.len()..).unwrap_or_default();
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(failed)?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let aad = Aad::from(object.as_bytes());
        let length = match self.key.open_in_place(nonce, aad, &mut opened) {
            Ok(json) => json.len(),
            Err(_) => return Err(failed()),
        };
        opened.truncate(length);
        Ok(opened.into())
    }
}

/// By whom a value is encrypted that none of the keys has encrypted.
pub(super) fn unknown(object: String, kept: &[u8]) -> EncryptionError {
    let text = kept.get(PREFIX.len()..).unwrap_or_default();
    let mut parts = text.splitn(4, |byte| *byte == b':');
    let mut part = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (kind, version, key) = (part(), part(), part());
    EncryptionError::NoKey { object, scheme: format!("{kind}:{version}"), key }
}
