//! The cluster that a command is about.

use std::path::{Path, PathBuf};

/// The kubeconfig of a command: the one that is named, else `$KUBECONFIG`, else `kubeconfig` here.
pub(crate) fn kubeconfig(named: Option<&Path>) -> PathBuf {
    let named = named.map(Path::to_owned);
    let named = named.or_else(|| std::env::var_os("KUBECONFIG").map(Into::into));
    named.unwrap_or_else(|| "kubeconfig".into())
}
