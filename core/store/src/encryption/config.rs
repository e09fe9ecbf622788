use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use pinnace_api::manifest;
use serde::Deserialize;

use super::EncryptionError;

const VERSION: &str = "apiserver.config.k8s.io/v1";
const KIND: &str = "EncryptionConfiguration";
/// The name of a key that is given without one, as upstream's documentation calls the first.
const ONLY_KEY: &str = "key1";
/// Lengths of keys in bytes: AES with 128, 192 and 256 bits.
const LENGTHS: [usize; 2] = [16, 32];
/// Most keys of a provider.
const MAX_KEYS: usize = 64;

/// `EncryptionConfiguration` of `apiserver.config.k8s.io`: which objects are kept encrypted, and
/// by which keys. The first provider that is named for a kind writes, all of them read.
///
/// See <https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/>.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EncryptionConfiguration {
    api_version: String,
    kind: String,
    /// Rules; the first that names a kind is the one for it.
    pub resources: Vec<ResourceConfiguration>,
}

/// How objects of some kinds are kept.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ResourceConfiguration {
    /// Plural names, with the group behind a point where there is one; `*.apps` for all of a
    /// group, `*.` for all of the core group, `*.*` for all.
    pub resources: Vec<String>,
    /// What reads them, the first of which writes.
    pub providers: Vec<ProviderConfiguration>,
}

/// A way to keep objects.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderConfiguration {
    /// Encrypted with AES in Galois/Counter Mode.
    AesGcm(KeysConfiguration),
    /// As they are.
    Identity(IdentityConfiguration),
}

/// Nothing to say about what is kept as it is.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityConfiguration {}

/// Keys, the first of which writes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeysConfiguration {
    /// The keys.
    pub keys: Vec<KeyConfiguration>,
}

/// A key.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyConfiguration {
    /// Its name, which stands before what it has written.
    pub name: String,
    /// 16 or 32 bytes, in base64.
    pub secret: String,
}

impl fmt::Debug for KeyConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyConfiguration({})", self.name)
    }
}

impl EncryptionConfiguration {
    /// A configuration in YAML or JSON, as upstream's `--encryption-provider-config` takes it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(text: &str) -> Result<Self, EncryptionError> {
        let value = manifest::read_one(text.as_bytes());
        let value = value.map_err(|error| EncryptionError::Config(error.to_string()))?;
        let read: Self = serde_json::from_value(value)
            .map_err(|error| EncryptionError::Config(error.to_string()))?;
        if read.kind != KIND || read.api_version != VERSION {
            let (version, kind) = (&read.api_version, &read.kind);
            let why = format!("expected {KIND} of {VERSION}, not {kind} of {version}");
            return Err(EncryptionError::Config(why));
        }
        read.validate()?;
        Ok(read)
    }

    /// Secrets are encrypted by a key of 32 bytes; what is there unencrypted is still read.
    pub fn secrets(key: &[u8; 32]) -> Self {
        let key =
            KeyConfiguration { name: ONLY_KEY.to_owned(), secret: BASE64_STANDARD.encode(key) };
        Self {
            resources: vec![ResourceConfiguration {
                resources: vec!["secrets".to_owned()],
                providers: vec![
                    ProviderConfiguration::AesGcm(KeysConfiguration { keys: vec![key] }),
                    ProviderConfiguration::Identity(IdentityConfiguration {}),
                ],
            }],
            ..Self::default()
        }
    }

    /// # Errors
    /// What is wrong, and where.
    pub(super) fn validate(&self) -> Result<(), EncryptionError> {
        let wrong = |at: String, why: &str| Err(EncryptionError::Config(format!("{at}: {why}")));
        if self.resources.is_empty() {
            return wrong("resources".to_owned(), "at least one must be given");
        }
        for (index, one) in self.resources.iter().enumerate() {
            let at = format!("resources[{index}]");
            if one.resources.is_empty() {
                return wrong(format!("{at}.resources"), "at least one must be given");
            }
            if one.providers.is_empty() {
                return wrong(format!("{at}.providers"), "at least one must be given");
            }
            for (index, provider) in one.providers.iter().enumerate() {
                if let ProviderConfiguration::AesGcm(keys) = provider {
                    keys.validate(&format!("{at}.providers[{index}].aesgcm.keys"))?;
                }
            }
        }
        Ok(())
    }
}

impl KeysConfiguration {
    fn validate(&self, at: &str) -> Result<(), EncryptionError> {
        let wrong = |why: String| Err(EncryptionError::Config(format!("{at}{why}")));
        if self.keys.is_empty() || self.keys.len() > MAX_KEYS {
            return wrong(format!(": between 1 and {MAX_KEYS} must be given"));
        }
        for (index, key) in self.keys.iter().enumerate() {
            if key.name.is_empty() || key.name.contains(':') {
                return wrong(format!("[{index}].name: must be given, and without a colon"));
            }
            if self.keys[..index].iter().any(|other| other.name == key.name) {
                return wrong(format!("[{index}].name: {} is there twice", key.name));
            }
            key.bytes().map_err(|why| EncryptionError::Config(format!("{at}[{index}]{why}")))?;
        }
        Ok(())
    }
}

impl KeyConfiguration {
    pub(super) fn bytes(&self) -> Result<Vec<u8>, String> {
        let bytes = BASE64_STANDARD.decode(self.secret.trim());
        let bytes = bytes.map_err(|_| ".secret: must be in base64".to_owned())?;
        if LENGTHS.contains(&bytes.len()) {
            return Ok(bytes);
        }
        let (expected, length) = (LENGTHS, bytes.len());
        Err(format!(".secret: is {length} bytes long, expected one of {expected:?}"))
    }
}
