use std::path::Path;

use pinnace_server::authentication::SigningKey;

use super::files;
use crate::{Error, Result};

/// Where the key is, as upstream's tools name it.
const FILE: &str = "sa.key";

/// The key that signs the tokens of service accounts, kept in `directory`; made there, readable by
/// its owner alone, if there is none yet. Without a directory it lives as long as this value.
///
/// # Errors
/// [`Error::Io`] and [`Error::Certificate`].
pub fn signing_key(directory: Option<&Path>) -> Result<SigningKey> {
    let kept = match directory {
        Some(directory) => files::read_secret(directory, FILE)?,
        None => None,
    };
    if let Some(pem) = kept {
        return SigningKey::from_pem(&pem).map_err(Error::certificate);
    }
    let key = SigningKey::generate().map_err(Error::certificate)?;
    if let Some(directory) = directory {
        files::write_secret(directory, FILE, key.pem())?;
    }
    Ok(key)
}
