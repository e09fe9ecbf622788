//! Images: finding, importing, pulling and unpacking them.

mod archive;
mod content;
mod import;
mod lease;
mod manifest;
mod pull;
mod reference;
mod unpack;

use std::collections::HashMap;
use std::sync::Arc;

use containerd_client::services::v1::PluginsRequest;
use containerd_client::services::v1::{
    CreateImageRequest, DeleteImageRequest, GetImageRequest, Image as ImageRecord,
    ListImagesRequest, UpdateImageRequest,
};
use containerd_client::tonic::Code;
use containerd_client::types::Descriptor as Target;
use oci_spec::image::{Descriptor, ImageConfiguration};
use parking_lot::Mutex;
use pinnace_env::Env;
use prost_types::FieldMask;

use self::content::Content;
use self::lease::Lease;
use self::manifest::{Document, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES};
use super::connection::{Connection, gone_is_fine, leased};
use crate::{Error, Image, RegistryAuth, Result};

/// Parsed images kept in memory; they are small, and the set starts over when it is full.
const MAX_CACHED: usize = 512;
/// An index may lead to an index, but not for ever.
const MAX_INDEX_DEPTH: usize = 3;

/// containerd's images as this crate sees them.
pub(super) struct Images {
    connection: Connection,
    env: Env,
    snapshotter: String,
    /// By the digest that an image's name leads to: what never changes is read once.
    parsed: Mutex<HashMap<String, Arc<ParsedImage>>>,
}

/// All there is to know about an image that is present.
#[derive(Debug)]
pub(super) struct ParsedImage {
    /// The digest its names lead to: an index or a manifest.
    pub(super) target: String,
    /// Digest of its configuration: its identity.
    pub(super) id: String,
    /// How it wants to be run.
    pub(super) config: ImageConfiguration,
    /// Its layers, lowest first.
    pub(super) layers: Vec<Descriptor>,
    /// The snapshot that holds the first layers, for each number of them.
    pub(super) chain: Vec<String>,
    /// Bytes of its compressed content.
    pub(super) size: u64,
}

impl ParsedImage {
    /// The snapshot that holds all layers; empty for an image without layers.
    pub(super) fn snapshot(&self) -> &str {
        self.chain.last().map_or("", String::as_str)
    }
}

impl Images {
    pub(super) fn new(connection: Connection, env: Env, snapshotter: String) -> Self {
        Self { connection, env, snapshotter, parsed: Mutex::default() }
    }

    /// The image a reference names and the name it is stored under, when it is present.
    pub(super) async fn find(&self, reference: &str) -> Result<Option<(String, Arc<ParsedImage>)>> {
        if reference::is_image_id(reference) {
            let mut all = self.all().await?.into_iter();
            return Ok(all.find(|(_, image)| image.id == reference));
        }
        let name = reference::parse(reference)?;
        let record = match self.record(&name.whole()).await? {
            Some(record) => record,
            None => match name.digest() {
                Some(digest) => match self.record_of_digest(&name.whole(), digest).await? {
                    Some(record) => record,
                    None => return Ok(None),
                },
                None => return Ok(None),
            },
        };
        let Some(target) = record.target else { return Ok(None) };
        let image = self.parsed(&target.digest).await?;
        Ok(image.map(|image| (record.name, image)))
    }

    /// As [`crate::Runtime::image`].
    pub(super) async fn image(&self, reference: &str) -> Result<Option<Image>> {
        let Some((_, image)) = self.find(reference).await? else { return Ok(None) };
        let all = self.list().await?;
        Ok(all.into_iter().find(|candidate| candidate.id == image.id))
    }

    /// As [`crate::Runtime::list_images`].
    pub(super) async fn list(&self) -> Result<Vec<Image>> {
        let mut images: Vec<Image> = Vec::new();
        for (name, parsed) in self.all().await? {
            let known = images.iter().position(|image| image.id == parsed.id);
            let at = known.unwrap_or_else(|| {
                let (id, size) = (parsed.id.clone(), parsed.size);
                images.push(Image { id, tags: Vec::new(), digests: Vec::new(), size });
                images.len() - 1
            });
            let image = &mut images[at];
            let digest = format!("{}@{}", reference::repository(&name), parsed.target);
            if !image.digests.contains(&digest) {
                image.digests.push(digest);
            }
            if !name.contains('@') {
                image.tags.push(name);
            }
        }
        Ok(images)
    }

    /// As [`crate::Runtime::remove_image`].
    pub(super) async fn remove(&self, id: &str) -> Result<()> {
        for (name, image) in self.all().await? {
            if image.id != id {
                continue;
            }
            let request =
                DeleteImageRequest { name: name.clone(), sync: true, ..Default::default() };
            let removed = self.connection.images().delete(self.connection.request(request)).await;
            gone_is_fine(removed)
                .map_err(|status| self.connection.error(format!("remove {name}"), &status))?;
        }
        Ok(())
    }

    /// As [`crate::Runtime::image_directory`].
    pub(super) async fn directory(&self) -> Result<Option<std::path::PathBuf>> {
        let request = PluginsRequest { filters: vec![format!("id=={}", self.snapshotter)] };
        let answer =
            self.connection.introspection().plugins(self.connection.request(request)).await;
        let answer = answer.map_err(|status| self.connection.error("ask for plugins", &status))?;
        let plugins = answer.into_inner().plugins;
        Ok(plugins.iter().find_map(|plugin| plugin.exports.get("root")).map(Into::into))
    }

    /// As [`crate::Runtime::import_image`].
    pub(super) async fn import(&self, path: &std::path::Path) -> Result<Vec<Image>> {
        let lease = Lease::take(&self.connection, &self.env).await?;
        let outcome = import::import(self, lease.id(), path).await;
        let released = lease.release().await;
        let images = outcome?;
        released?;
        self.as_images(images).await
    }

    /// As [`crate::Runtime::pull_image`].
    pub(super) async fn pull(&self, reference: &str, auth: Option<&RegistryAuth>) -> Result<Image> {
        let name = reference::parse(reference)?;
        let lease = Lease::take(&self.connection, &self.env).await?;
        let outcome = pull::pull(self, lease.id(), &name, auth).await;
        let released = lease.release().await;
        let image = outcome?;
        released?;
        let mut images = self.as_images(vec![image]).await?;
        images.pop().ok_or_else(|| Error::ImageNotFound {
            reference: reference.to_owned(),
            message: "it was removed while it was pulled".into(),
        })
    }

    /// Makes the snapshots of an image whose content is present.
    pub(super) async fn unpack(&self, reference: &str, image: &ParsedImage) -> Result<()> {
        let lease = Lease::take(&self.connection, &self.env).await?;
        let outcome = unpack::unpack(self, lease.id(), reference, image).await;
        let released = lease.release().await;
        outcome.and(released)
    }

    /// Unpacks what a descriptor leads to, whose content is in the store, and names it.
    async fn finish(&self, lease: &str, name: &str, target: &Descriptor) -> Result<()> {
        let digest = target.digest().to_string();
        let missing = || Error::InvalidImage {
            reference: name.to_owned(),
            message: format!("content of {digest} is missing"),
        };
        let image = self.parsed(&digest).await?.ok_or_else(missing)?;
        unpack::unpack(self, lease, name, &image).await?;
        self.name(lease, name, target).await
    }

    /// Lets a name lead to a descriptor, whatever it led to before.
    async fn name(&self, lease: &str, name: &str, target: &Descriptor) -> Result<()> {
        let record = ImageRecord {
            name: name.to_owned(),
            target: Some(Target {
                media_type: target.media_type().to_string(),
                digest: target.digest().to_string(),
                size: i64::try_from(target.size()).unwrap_or(i64::MAX),
                annotations: HashMap::new(),
            }),
            ..ImageRecord::default()
        };
        let create = CreateImageRequest { image: Some(record.clone()), source_date_epoch: None };
        let create = leased(self.connection.request(create), lease);
        match self.connection.images().create(create).await {
            Ok(_) => return Ok(()),
            Err(status) if status.code() == Code::AlreadyExists => {}
            Err(status) => return Err(self.connection.error(format!("name {name}"), &status)),
        }
        let update = UpdateImageRequest {
            image: Some(record),
            update_mask: Some(FieldMask { paths: vec!["target".into()] }),
            source_date_epoch: None,
        };
        let update = leased(self.connection.request(update), lease);
        let result = self.connection.images().update(update).await;
        result.map_err(|status| self.connection.error(format!("name {name}"), &status))?;
        Ok(())
    }

    async fn as_images(&self, names: Vec<String>) -> Result<Vec<Image>> {
        let all = self.list().await?;
        let named = |image: &Image| {
            names.iter().any(|name| image.tags.contains(name) || image.digests.contains(name))
        };
        Ok(all.into_iter().filter(named).collect())
    }

    async fn all(&self) -> Result<Vec<(String, Arc<ParsedImage>)>> {
        let mut found = Vec::new();
        for record in self.records(Vec::new()).await? {
            let Some(target) = record.target else { continue };
            match self.parsed(&target.digest).await {
                Ok(Some(image)) => found.push((record.name, image)),
                Ok(None) => {}
                Err(Error::InvalidImage { message, .. }) => {
                    tracing::warn!(image = record.name, message, "image is not usable");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    async fn record(&self, name: &str) -> Result<Option<ImageRecord>> {
        let request = self.connection.request(GetImageRequest { name: name.to_owned() });
        match self.connection.images().get(request).await {
            Ok(answer) => Ok(answer.into_inner().image),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(self.connection.error(format!("look for image {name}"), &status)),
        }
    }

    /// An image of the same repository that leads to the digest, whatever its tag.
    async fn record_of_digest(&self, name: &str, digest: &str) -> Result<Option<ImageRecord>> {
        let records = self.records(vec![format!("target.digest=={digest}")]).await?;
        let repository = reference::repository(name);
        Ok(records.into_iter().find(|record| reference::repository(&record.name) == repository))
    }

    async fn records(&self, filters: Vec<String>) -> Result<Vec<ImageRecord>> {
        let request = self.connection.request(ListImagesRequest { filters });
        let answer = self.connection.images().list(request).await;
        let answer = answer.map_err(|status| self.connection.error("list images", &status))?;
        Ok(answer.into_inner().images)
    }

    /// Reads and checks an image's documents; `None` when some are not in the store.
    async fn parsed(&self, target: &str) -> Result<Option<Arc<ParsedImage>>> {
        if let Some(image) = self.parsed.lock().get(target) {
            return Ok(Some(image.clone()));
        }
        let Some(image) = self.parse(target).await? else { return Ok(None) };
        let image = Arc::new(image);
        let mut parsed = self.parsed.lock();
        if parsed.len() >= MAX_CACHED {
            parsed.clear();
        }
        parsed.insert(target.to_owned(), image.clone());
        Ok(Some(image))
    }

    async fn parse(&self, target: &str) -> Result<Option<ParsedImage>> {
        let wrong = |message| Error::InvalidImage { reference: target.to_owned(), message };
        let mut digest = target.to_owned();
        let mut size = 0;
        for _ in 0..MAX_INDEX_DEPTH {
            let data = content::read(&self.connection, &digest, MAX_MANIFEST_BYTES).await?;
            let Some(data) = data else { return Ok(None) };
            size += data.len() as u64;
            let manifest = match Document::parse(&data).map_err(wrong)? {
                Document::Index(index) => {
                    digest =
                        manifest::for_this_machine(&index).map_err(wrong)?.digest().to_string();
                    continue;
                }
                Document::Image(manifest) => manifest,
            };
            let id = manifest.config().digest().to_string();
            let data = content::read(&self.connection, &id, MAX_CONFIG_BYTES).await?;
            let Some(data) = data else { return Ok(None) };
            let config = manifest::parse_config(&data, &manifest).map_err(wrong)?;
            size += manifest.config().size();
            size += manifest.layers().iter().map(Descriptor::size).sum::<u64>();
            let chain = manifest::chain_ids(config.rootfs().diff_ids());
            let layers = manifest.layers().clone();
            return Ok(Some(ParsedImage {
                target: target.to_owned(),
                id,
                config,
                layers,
                chain,
                size,
            }));
        }
        Err(wrong("too many indexes lead to each other".into()))
    }

    fn content<'a>(&'a self, lease: &'a str) -> Content<'a> {
        Content { connection: &self.connection, env: &self.env, lease }
    }
}
