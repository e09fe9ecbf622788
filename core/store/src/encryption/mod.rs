//! Encryption at rest: what a back end is given to keep is encrypted on its way there, kind by
//! kind, and decrypted when it is loaded.
//!
//! The form is upstream's: `k8s:enc:aesgcm:v1:<name of the key>:`, a nonce, and what AES in
//! Galois/Counter Mode has made of the JSON form; it is bound to its table, namespace and name, so
//! that what is copied from one object to another does not open.

mod config;
mod keys;

pub use config::{
    EncryptionConfiguration, IdentityConfiguration, KeyConfiguration, KeysConfiguration,
    ProviderConfiguration, ResourceConfiguration,
};
use keys::{Key, PREFIX};

use crate::backend::Record;
use bytes::Bytes;

/// Why something cannot be encrypted or decrypted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncryptionError {
    /// The configuration cannot be.
    #[error("encryption configuration: {0}")]
    Config(String),
    /// An object is encrypted by a key that the configuration does not have for its kind.
    #[error(
        "{object} is encrypted by the key {key:?} ({scheme}), which the encryption configuration \
         does not have for it"
    )]
    NoKey {
        /// Table, namespace and name.
        object: String,
        /// How it is encrypted, such as `aesgcm:v1`.
        scheme: String,
        /// The name of the key.
        key: String,
    },
    /// A key of the right name does not open an object: it is another key, or the data was changed.
    #[error(
        "{object}: the key {key:?} is not the one it was encrypted by, or its data was changed"
    )]
    WrongKey {
        /// Table, namespace and name.
        object: String,
        /// The name of the key.
        key: String,
    },
    /// An object is not encrypted, and its kind may not be read like that.
    #[error("{object} is not encrypted, and the encryption configuration does not allow that")]
    Plain {
        /// Table, namespace and name.
        object: String,
    },
    /// The machine gives no randomness.
    #[error("{object} cannot be encrypted")]
    Seal {
        /// Table, namespace and name.
        object: String,
    },
}

/// Encrypts and decrypts records as a configuration says.
pub(crate) struct Encryption {
    rules: Vec<Rule>,
}

struct Rule {
    resources: Vec<String>,
    keys: Vec<Key>,
    /// Whether what is not encrypted may be read.
    plain: bool,
    /// Whether new objects are not encrypted, though old ones may be.
    writes_plain: bool,
}

/// What was read, and whether it is not as it would be written now.
pub(crate) struct Opened {
    pub(crate) json: Bytes,
    pub(crate) stale: bool,
}

impl Encryption {
    /// # Errors
    /// [`EncryptionError::Config`].
    pub(crate) fn new(config: &EncryptionConfiguration) -> Result<Self, EncryptionError> {
        config.validate()?;
        let rules = config.resources.iter().map(Rule::new).collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    /// Encrypts nothing, and says so of what is encrypted.
    pub(crate) fn none() -> Self {
        Self { rules: Vec::new() }
    }

    fn rule(&self, table: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.is_for(table))
    }

    /// What is to be kept of a record.
    pub(crate) fn seal(&self, record: &Record) -> Result<Option<Bytes>, EncryptionError> {
        let Some(json) = &record.json else { return Ok(None) };
        let rule = self.rule(&record.table).filter(|rule| !rule.writes_plain);
        match rule.and_then(|rule| rule.keys.first()) {
            None => Ok(Some(json.clone())),
            Some(key) => key.seal(&bound_to(record), json).map(Some),
        }
    }

    /// What a record holds that was kept.
    pub(crate) fn open(&self, record: &Record, kept: &Bytes) -> Result<Opened, EncryptionError> {
        let rule = self.rule(&record.table);
        let object = || bound_to(record);
        if !kept.starts_with(PREFIX) {
            return match rule {
                Some(rule) if !rule.plain => Err(EncryptionError::Plain { object: object() }),
                rule => Ok(Opened {
                    json: kept.clone(),
                    stale: rule.is_some_and(|rule| !rule.writes_plain),
                }),
            };
        }
        let keys = rule.map_or(&[][..], |rule| &rule.keys);
        let by = keys.iter().position(|key| key.has_sealed(kept));
        let Some(at) = by else { return Err(keys::unknown(object(), kept)) };
        let stale = at > 0 || rule.is_some_and(|rule| rule.writes_plain);
        Ok(Opened { json: keys[at].open(&object(), kept)?, stale })
    }
}

impl Rule {
    fn new(one: &ResourceConfiguration) -> Result<Self, EncryptionError> {
        let mut rule = Self {
            resources: one.resources.clone(),
            keys: Vec::new(),
            plain: false,
            writes_plain: matches!(one.providers[..], [ProviderConfiguration::Identity(_), ..]),
        };
        for provider in &one.providers {
            match provider {
                ProviderConfiguration::Identity(_) => rule.plain = true,
                ProviderConfiguration::AesGcm(keys) => {
                    for key in &keys.keys {
                        rule.keys.push(Key::new(key)?);
                    }
                }
            }
        }
        Ok(rule)
    }

    fn is_for(&self, table: &str) -> bool {
        let (_, group) = table.split_once('.').unwrap_or((table, ""));
        self.resources.iter().any(|one| match one.strip_prefix("*.") {
            Some("*") => true,
            Some(all) => all == group,
            None => one == table,
        })
    }
}

/// What names a record, and what its encrypted form is bound to.
fn bound_to(record: &Record) -> String {
    let (table, namespace, name) = (&record.table, record.key.namespace(), record.key.name());
    if namespace.is_empty() {
        format!("{table}/{name}")
    } else {
        format!("{table}/{namespace}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(table: &str, name: &str) -> Record {
        Record {
            table: table.into(),
            key: pinnace_api::Key::new("a", name),
            revision: 1,
            json: Some(Bytes::from_static(b"{}")),
        }
    }

    #[test]
    fn what_is_copied_to_another_object_does_not_open() {
        let encryption = Encryption::new(&EncryptionConfiguration::secrets(&[7; 32])).unwrap();
        let (one, other) = (record("secrets", "one"), record("secrets", "other"));
        let kept = encryption.seal(&one).unwrap().unwrap();
        assert_ne!(Some(&kept), encryption.seal(&one).unwrap().as_ref(), "a nonce is used once");
        assert_eq!(&encryption.open(&one, &kept).unwrap().json[..], b"{}");
        let error = encryption.open(&other, &kept).map(|_| ()).unwrap_err();
        assert!(matches!(error, EncryptionError::WrongKey { .. }), "{error}");
    }

    #[test]
    fn rules_name_kinds_groups_or_everything() {
        let check = |resource: &str, table: &str, expected: bool| {
            let rule = Rule {
                resources: vec![resource.to_owned()],
                keys: Vec::new(),
                plain: true,
                writes_plain: false,
            };
            assert_eq!(rule.is_for(table), expected, "{resource} {table}");
        };
        check("secrets", "secrets", true);
        check("secrets", "configmaps", false);
        check("deployments.apps", "deployments.apps", true);
        check("*.apps", "deployments.apps", true);
        check("*.apps", "secrets", false);
        check("*.", "secrets", true);
        check("*.", "deployments.apps", false);
        check("*.*", "deployments.apps", true);
    }
}
