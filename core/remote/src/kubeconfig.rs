use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pinnace_api::manifest;
use serde_json::Value;

use crate::{Error, Result};

/// The current context of a kubeconfig.
///
/// See <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>. Users who log in by a program
/// (`exec`, `auth-provider`) or by a password are not known.
#[derive(Clone)]
pub struct Kubeconfig {
    /// The URL of the API, without a slash at its end.
    pub server: String,
    /// Whose certificates are believed, in PEM; those that the machine trusts when not set.
    pub authority: Option<String>,
    /// Whether any certificate is believed.
    pub insecure: bool,
    /// What the user proves who they are with.
    pub identity: Option<Identity>,
    /// The user's token.
    pub token: Option<String>,
    /// The namespace of the context.
    pub namespace: Option<String>,
}

/// A certificate and its key, both in PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate, and those that lead to its authority.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Kubeconfig {
    /// Reads a file. Files that it names are looked for beside it.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Kubeconfig`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|source| Error::Io { path: path.to_owned(), source })?;
        let directory = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, directory).map_err(|error| error.of_file(path))
    }

    /// Reads a text in YAML or JSON. Files that it names are looked for in `directory`.
    ///
    /// # Errors
    /// As [`Kubeconfig::read`].
    pub fn parse(text: &str, directory: &Path) -> Result<Self> {
        let config = manifest::read_one(text.as_bytes());
        let config = config.map_err(|error| Error::kubeconfig(error.to_string()))?;
        Document { config: &config, directory: directory.to_owned() }.open()
    }
}

impl fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kubeconfig({})", self.server)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

struct Document<'a> {
    config: &'a Value,
    directory: PathBuf,
}

impl Document<'_> {
    fn open(&self) -> Result<Kubeconfig> {
        let missing = Error::kubeconfig;
        let current = text(self.config, "current-context")
            .ok_or_else(|| missing("there is no current-context"))?;
        let context = self.named("contexts", "context", current)?;
        let of = |field| text(context, field).unwrap_or_default();
        let cluster = self.named("clusters", "cluster", of("cluster"))?;
        let user = self.named("users", "user", of("user"))?;
        let server = text(cluster, "server").ok_or_else(|| missing("the cluster has no server"))?;
        let pair = (self.data(user, "client-certificate")?, self.data(user, "client-key")?);
        let identity = match pair {
            (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
            _ => None,
        };
        let mut token = text(user, "token").map(str::to_owned);
        if let (None, Some(file)) = (&token, text(user, "tokenFile")) {
            token = Some(self.file(file)?.trim().to_owned());
        }
        if identity.is_none() && token.is_none() && user.get("exec").is_some() {
            return Err(missing("users with exec are not supported"));
        }
        Ok(Kubeconfig {
            server: server.trim_end_matches('/').to_owned(),
            authority: self.data(cluster, "certificate-authority")?,
            insecure: cluster.get("insecure-skip-tls-verify").and_then(Value::as_bool)
                == Some(true),
            identity,
            token,
            namespace: text(context, "namespace").map(str::to_owned),
        })
    }

    fn named(&self, list: &str, field: &str, name: &str) -> Result<&Value> {
        let entries = self.config.get(list).and_then(Value::as_array);
        let mut entries = entries.into_iter().flatten();
        let found = entries.find(|entry| text(entry, "name") == Some(name));
        let found = found.and_then(|entry| entry.get(field));
        found.ok_or_else(|| Error::kubeconfig(format!("no {field} {name:?}")))
    }

    /// What stands in a field in base64, or in the file that another names.
    fn data(&self, entry: &Value, field: &str) -> Result<Option<String>> {
        if let Some(data) = text(entry, &format!("{field}-data")) {
            let wrong = |why: String| Error::kubeconfig(format!("{field}-data: {why}"));
            let data = STANDARD.decode(data).map_err(|error| wrong(error.to_string()))?;
            return String::from_utf8(data).map(Some).map_err(|error| wrong(error.to_string()));
        }
        text(entry, field).map(|file| self.file(file)).transpose()
    }

    fn file(&self, name: &str) -> Result<String> {
        let path = self.directory.join(name);
        std::fs::read_to_string(&path).map_err(|source| Error::Io { path, source })
    }
}

fn text<'a>(entry: &'a Value, field: &str) -> Option<&'a str> {
    entry.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r"
apiVersion: v1
kind: Config
current-context: a
contexts: [{name: a, context: {cluster: c, user: u, namespace: shop}}]
clusters: [{name: c, cluster: {server: 'https://10.0.0.1:6443/', certificate-authority: ca.crt}}]
users: [{name: u, user: {client-certificate-data: Y2VydA==, client-key-data: a2V5}}]
";

    #[test]
    fn the_current_context_says_where_and_who() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.crt"), "authority").unwrap();
        let path = directory.path().join("config");
        std::fs::write(&path, CONFIG).unwrap();
        let read = Kubeconfig::read(&path).unwrap();
        assert_eq!(read.server, "https://10.0.0.1:6443");
        assert_eq!(read.authority.as_deref(), Some("authority"));
        let identity = read.identity.unwrap();
        assert_eq!((&*identity.certificate, &*identity.key), ("cert", "key"));
        assert_eq!((read.token, read.namespace.as_deref()), (None, Some("shop")));
        assert!(!read.insecure);
    }

    #[test]
    fn what_is_missing_is_said() {
        let none = Path::new("/nowhere");
        let check = |from: &str, to: &str, expected: &str| {
            let error = Kubeconfig::parse(&CONFIG.replace(from, to), none).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check("current-context: a", "x: y", "there is no current-context");
        check("current-context: a", "current-context: b", "no context \"b\"");
        check("cluster: c", "cluster: d", "no cluster \"d\"");
        let exec = "{name: u, user: {exec: {command: login}}}";
        let user = "{name: u, user: {client-certificate-data: Y2VydA==, client-key-data: a2V5}}";
        check(user, exec, "users with exec are not supported");
        let gone = "/nowhere/ca.crt: No such file or directory (os error 2)";
        check("shop", "shop", gone);
        let error = Kubeconfig::parse("[", none).unwrap_err();
        assert!(matches!(error, Error::Kubeconfig { .. }), "{error}");
    }
}
