use std::collections::HashMap;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth as ClientAuth;
use oci_client::{Client, Reference, RegistryOperation};
use oci_spec::image::{Descriptor, MediaType};

use super::content::Blob;
use super::manifest::{self, Document, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, blob, sha256};
use super::{Images, MAX_INDEX_DEPTH, reference};
use crate::{Error, RegistryAuth, Result};

/// Blobs of an image that are fetched at once.
const FETCHES_AT_ONCE: usize = 3;
/// How long a registry may stay silent.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a registry may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// Fetches an image into containerd's store and gives the name it can be found under.
pub(super) async fn pull(
    images: &Images,
    lease: &str,
    name: &Reference,
    auth: Option<&RegistryAuth>,
) -> Result<String> {
    let auth = match auth {
        None => ClientAuth::Anonymous,
        Some(RegistryAuth::Basic { username, password }) => {
            ClientAuth::Basic(username.clone(), password.clone())
        }
        Some(RegistryAuth::Bearer(token)) => ClientAuth::Bearer(token.clone()),
    };
    let pull = Pull { images, lease, name, client: client(name)?, auth, shown: name.whole() };
    let target = pull.fetch().await?;
    images.finish(lease, &pull.shown, &target).await?;
    Ok(pull.shown)
}

fn client(name: &Reference) -> Result<Client> {
    let registry = name.resolve_registry();
    let mut config = ClientConfig {
        read_timeout: Some(READ_TIMEOUT),
        connect_timeout: Some(CONNECT_TIMEOUT),
        user_agent: concat!("pinnace/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    if reference::is_loopback(registry) {
        config.protocol = ClientProtocol::HttpsExcept(vec![registry.to_owned()]);
        // A proxy that is never used takes the place of the one in the environment, which has no
        // way to this machine's loopback.
        config.http_proxy = Some(format!("http://{registry}"));
        config.no_proxy = Some("*".into());
    }
    Client::try_from(config)
        .map_err(|error| Error::Pull { reference: name.whole(), message: error.to_string() })
}

struct Pull<'a> {
    images: &'a Images,
    lease: &'a str,
    name: &'a Reference,
    client: Client,
    auth: ClientAuth,
    shown: String,
}

impl Pull<'_> {
    async fn fetch(&self) -> Result<Descriptor> {
        let authenticated = self.client.auth(self.name, &self.auth, RegistryOperation::Pull).await;
        authenticated.map_err(|error| self.failed(error))?;
        let (data, document) = self.document(self.name).await?;
        let root = self.described(&document, &data)?;
        self.check_asked_digest(&root)?;
        self.store(&root, &document, data).await?;
        let mut next = self.next(&document)?;
        for _ in 1..MAX_INDEX_DEPTH {
            let Some(chosen) = next else { break };
            let digest = chosen.digest().to_string();
            let (data, document) = self.document(&self.name.clone_with_digest(digest)).await?;
            self.store(&chosen, &document, data).await?;
            next = self.next(&document)?;
            if let Document::Image(manifest) = &document {
                self.parts(manifest).await?;
            }
        }
        if next.is_some() {
            return Err(self.invalid("too many indexes lead to each other"));
        }
        if let Document::Image(manifest) = &document {
            self.parts(manifest).await?;
        }
        Ok(root)
    }

    fn next(&self, document: &Document) -> Result<Option<Descriptor>> {
        match document {
            Document::Image(_) => Ok(None),
            Document::Index(index) => {
                // As containerd words it when an image has nothing for the machine.
                let chosen = manifest::for_this_machine(index).map_err(|message| {
                    Error::ImageNotFound { reference: self.shown.clone(), message }
                })?;
                Ok(Some(chosen.clone()))
            }
        }
    }

    async fn document(&self, name: &Reference) -> Result<(Vec<u8>, Document)> {
        let answer = self.client.pull_manifest_raw(name, &self.auth, &ACCEPTED).await;
        let (data, _) = answer.map_err(|error| self.failed(error))?;
        if data.len() > MAX_MANIFEST_BYTES {
            return Err(
                self.invalid(format!("its manifest has more than {MAX_MANIFEST_BYTES} bytes"))
            );
        }
        let document = Document::parse(&data).map_err(|message| self.invalid(message))?;
        Ok((data.to_vec(), document))
    }

    /// A descriptor of what the registry sent, by what it is rather than by what it says.
    fn described(&self, document: &Document, data: &[u8]) -> Result<Descriptor> {
        let kind = match document {
            Document::Index(index) => index.media_type().clone().unwrap_or(MediaType::ImageIndex),
            Document::Image(image) => {
                image.media_type().clone().unwrap_or(MediaType::ImageManifest)
            }
        };
        let digest: oci_spec::image::Digest = sha256(data)
            .parse()
            .map_err(|error: oci_spec::OciSpecError| self.invalid(error.to_string()))?;
        Ok(Descriptor::new(kind, data.len() as u64, digest))
    }

    fn check_asked_digest(&self, root: &Descriptor) -> Result<()> {
        match self.name.digest() {
            Some(asked) if asked != root.digest().to_string() => {
                Err(self.invalid(format!("the registry sent {} for {asked}", root.digest())))
            }
            _ => Ok(()),
        }
    }

    async fn store(
        &self,
        descriptor: &Descriptor,
        document: &Document,
        data: Vec<u8>,
    ) -> Result<()> {
        let content = self.images.content(self.lease);
        let written = content.write_bytes(&blob(descriptor), document.gc_labels(), data).await;
        written.map_err(|error| error.into_error(&self.shown, |message| self.broken(message)))
    }

    /// Fetches configuration and layers, those that the store does not have.
    async fn parts(&self, manifest: &oci_spec::image::ImageManifest) -> Result<()> {
        if manifest.config().size() > MAX_CONFIG_BYTES as u64 {
            return Err(
                self.invalid(format!("its configuration has more than {MAX_CONFIG_BYTES} bytes"))
            );
        }
        let mut parts: Vec<Blob> = manifest.layers().iter().map(blob).collect();
        parts.push(blob(manifest.config()));
        let fetches = parts.into_iter().map(|part| self.part(part));
        stream::iter(fetches).buffer_unordered(FETCHES_AT_ONCE).try_collect::<Vec<()>>().await?;
        Ok(())
    }

    async fn part(&self, part: Blob) -> Result<()> {
        let content = self.images.content(self.lease);
        // Asked for only when the store does not have the blob.
        let source = stream::once(async {
            let fetched = self.client.pull_blob_stream(self.name, part.digest.as_str()).await;
            fetched.map(|parts| parts.map_err(|error| chain(&error))).map_err(|error| chain(&error))
        });
        let written = content.write(&part, HashMap::new(), source.try_flatten()).await;
        written.map_err(|error| error.into_error(&self.shown, |message| self.broken(message)))
    }

    fn failed(&self, error: OciDistributionError) -> Error {
        let not_found = match &error {
            OciDistributionError::ImageManifestNotFoundError(_) => true,
            OciDistributionError::RegistryError { envelope, .. } => {
                envelope.errors.iter().any(|e| {
                    matches!(
                        e.code,
                        OciErrorCode::ManifestUnknown
                            | OciErrorCode::NameUnknown
                            | OciErrorCode::NotFound
                    )
                })
            }
            OciDistributionError::ServerError { code, .. } => *code == 404,
            _ => false,
        };
        let reference = self.shown.clone();
        let message = chain(&error);
        if not_found {
            Error::ImageNotFound { reference, message }
        } else {
            Error::Pull { reference, message }
        }
    }

    fn broken(&self, message: String) -> Error {
        Error::Pull { reference: self.shown.clone(), message }
    }

    fn invalid(&self, message: impl Into<String>) -> Error {
        Error::InvalidImage { reference: self.shown.clone(), message: message.into() }
    }
}

/// An error with its causes: HTTP libraries hide what happened behind "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
