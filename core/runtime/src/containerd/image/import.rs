use std::collections::HashMap;
use std::path::Path;

use oci_spec::image::{Descriptor, ImageManifestBuilder, MediaType};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::archive::Archive;
use super::content::Blob;
use super::manifest::{self, Document, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, blob, finish, sha256};
use super::{Images, MAX_INDEX_DEPTH, reference};
use crate::{Error, Result};

/// Images one archive may hold.
const MAX_IMAGES: usize = 1000;
/// What containerd and Docker write for the whole name of an image.
const NAME_ANNOTATION: &str = "io.containerd.image.name";
/// What the OCI layout has for it; often a tag alone.
const REF_NAME_ANNOTATION: &str = "org.opencontainers.image.ref.name";

/// Puts every image of an archive into containerd, and gives their names.
///
/// OCI layouts are taken as they are; what only `docker save` of old wrote is given a manifest.
pub(super) async fn import(images: &Images, lease: &str, path: &Path) -> Result<Vec<String>> {
    let shown = path.display().to_string();
    let wrong = |message| Error::InvalidImage { reference: shown.clone(), message };
    let owned = path.to_owned();
    let archive = blocking(move || Archive::open(&owned)).await.map_err(wrong)?;
    let import = Import { images, lease, archive, path, shown: shown.clone() };
    if let Some(index) = import.read("index.json", MAX_MANIFEST_BYTES).await? {
        return import.layout(&index).await;
    }
    if let Some(list) = import.read("manifest.json", MAX_MANIFEST_BYTES).await? {
        return import.docker_archive(&list).await;
    }
    Err(wrong("neither index.json nor manifest.json is in it".into()))
}

/// Files are read where blocking does no harm.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.to_string()))
}

struct Import<'a> {
    images: &'a Images,
    lease: &'a str,
    archive: Archive,
    path: &'a Path,
    shown: String,
}

impl Import<'_> {
    async fn layout(&self, index: &[u8]) -> Result<Vec<String>> {
        let Document::Index(index) = Document::parse(index).map_err(|m| self.wrong(m))? else {
            return Err(self.wrong("index.json is not an index".into()));
        };
        if index.manifests().len() > MAX_IMAGES {
            return Err(self.wrong(format!("an archive may hold {MAX_IMAGES} images at most")));
        }
        let mut names = Vec::new();
        for entry in index.manifests() {
            let name = self.name(entry)?;
            self.tree(entry).await?;
            self.images.finish(self.lease, &name, entry).await?;
            names.push(name);
        }
        Ok(names)
    }

    /// Stores a descriptor's document and what of it this machine needs.
    async fn tree(&self, root: &Descriptor) -> Result<()> {
        let mut descriptor = root.clone();
        for _ in 0..MAX_INDEX_DEPTH {
            let data = self.blob_bytes(&descriptor, MAX_MANIFEST_BYTES).await?;
            let document = Document::parse(&data).map_err(|message| self.wrong(message))?;
            let next = match &document {
                Document::Index(index) => {
                    let chosen = manifest::for_this_machine(index).map_err(|m| self.wrong(m))?;
                    Some(chosen.clone())
                }
                Document::Image(image) => {
                    self.blob_bytes(image.config(), MAX_CONFIG_BYTES).await?;
                    for part in image.layers().iter().chain([image.config()]) {
                        self.copy(part).await?;
                    }
                    None
                }
            };
            let written = self
                .images
                .content(self.lease)
                .write_bytes(&blob(&descriptor), document.gc_labels(), data)
                .await;
            written.map_err(|error| error.into_error(&self.shown, |m| self.wrong(m)))?;
            match next {
                Some(chosen) => descriptor = chosen,
                None => return Ok(()),
            }
        }
        Err(self.wrong("too many indexes lead to each other".into()))
    }

    /// A small blob whose digest has been checked.
    async fn blob_bytes(&self, descriptor: &Descriptor, limit: usize) -> Result<Vec<u8>> {
        let expected = blob(descriptor);
        let name = blob_path(&expected.digest);
        let missing = || self.wrong(format!("{name} is missing"));
        let data = self.read(&name, limit).await?.ok_or_else(missing)?;
        let digest = sha256(&data);
        if digest != expected.digest || data.len() as u64 != expected.size {
            return Err(self.wrong(format!(
                "{name} has digest {digest} and {} bytes, expected {} bytes",
                data.len(),
                expected.size
            )));
        }
        Ok(data)
    }

    async fn copy(&self, descriptor: &Descriptor) -> Result<()> {
        let expected = blob(descriptor);
        self.copy_file(&blob_path(&expected.digest), &expected).await
    }

    async fn copy_file(&self, name: &str, expected: &Blob) -> Result<()> {
        let opened = self.archive.file(name).map_err(|message| self.wrong(message))?;
        let opened = opened.ok_or_else(|| self.wrong(format!("{name} is missing")))?;
        let content = self.images.content(self.lease);
        let written = content.write(expected, HashMap::new(), opened.stream()).await;
        written.map_err(|error| error.into_error(&self.shown, |message| self.wrong(message)))
    }

    /// The name an index gives an image. A tag alone belongs to an image named as the archive.
    fn name(&self, entry: &Descriptor) -> Result<String> {
        let annotations = entry.annotations().as_ref();
        let annotation = |key: &str| annotations.and_then(|all| all.get(key)).map(String::as_str);
        let given = match (annotation(NAME_ANNOTATION), annotation(REF_NAME_ANNOTATION)) {
            (Some(name), _) => name.to_owned(),
            (None, Some(name)) if name.contains([':', '/']) => name.to_owned(),
            (None, Some(tag)) => format!("{}:{tag}", self.stem()),
            (None, None) => self.stem(),
        };
        Ok(reference::parse(&given)?.whole())
    }

    fn stem(&self) -> String {
        let name = match self.archive {
            Archive::Directory(_) => self.path.file_name(),
            Archive::Tar { .. } => self.path.file_stem(),
        };
        name.unwrap_or_default().to_string_lossy().to_lowercase()
    }

    async fn docker_archive(&self, list: &[u8]) -> Result<Vec<String>> {
        let entries: Vec<DockerImage> = serde_json::from_slice(list)
            .map_err(|error| self.wrong(format!("malformed manifest.json: {error}")))?;
        if entries.len() > MAX_IMAGES {
            return Err(self.wrong(format!("an archive may hold {MAX_IMAGES} images at most")));
        }
        let mut names = Vec::new();
        for entry in entries {
            let target = self.docker_image(&entry).await?;
            let mut tags = entry.repo_tags.unwrap_or_default();
            if tags.is_empty() {
                tags.push(self.stem());
            }
            for tag in tags {
                let name = reference::parse(&tag)?.whole();
                self.images.finish(self.lease, &name, &target).await?;
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Stores an image whose archive has no manifest, with one made for it.
    async fn docker_image(&self, entry: &DockerImage) -> Result<Descriptor> {
        let missing = |name: &str| self.wrong(format!("{name} is missing"));
        let config = self.read(&entry.config, MAX_CONFIG_BYTES).await?;
        let config = config.ok_or_else(|| missing(&entry.config))?;
        let mut layers = Vec::new();
        for layer in &entry.layers {
            let expected = self.measure(layer).await?;
            self.copy_file(layer, &expected).await?;
            layers.push(described(MediaType::ImageLayer, &expected).map_err(|m| self.wrong(m))?);
        }
        let content = self.images.content(self.lease);
        let store = async |data: Vec<u8>, kind, labels| {
            let blob = Blob { digest: sha256(&data), size: data.len() as u64 };
            let written = content.write_bytes(&blob, labels, data).await;
            written.map_err(|error| error.into_error(&self.shown, |m| self.wrong(m)))?;
            described(kind, &blob).map_err(|message| self.wrong(message))
        };
        let config = store(config, MediaType::ImageConfig, HashMap::new()).await?;
        let manifest = ImageManifestBuilder::default()
            .schema_version(2_u32)
            .media_type(MediaType::ImageManifest)
            .config(config)
            .layers(layers)
            .build()
            .map_err(|error| self.wrong(error.to_string()))?;
        let data = serde_json::to_vec(&manifest).map_err(|error| self.wrong(error.to_string()))?;
        let labels = Document::Image(Box::new(manifest)).gc_labels();
        store(data, MediaType::ImageManifest, labels).await
    }

    /// Digest and size of a file that nothing describes.
    async fn measure(&self, name: &str) -> Result<Blob> {
        let opened = self.archive.file(name).map_err(|message| self.wrong(message))?;
        let opened = opened.ok_or_else(|| self.wrong(format!("{name} is missing")))?;
        let size = opened.size;
        let mut hasher = Sha256::new();
        let mut stream = std::pin::pin!(opened.stream());
        while let Some(part) = futures::StreamExt::next(&mut stream).await {
            hasher.update(&part.map_err(|message| self.wrong(message))?);
        }
        Ok(Blob { digest: finish(hasher), size })
    }

    async fn read(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        let (archive, name) = (self.archive.clone(), name.to_owned());
        let read = blocking(move || archive.read(&name, limit)).await;
        read.map_err(|message| self.wrong(message))
    }

    fn wrong(&self, message: String) -> Error {
        Error::InvalidImage { reference: self.shown.clone(), message }
    }
}

fn described(kind: MediaType, blob: &Blob) -> Result<Descriptor, String> {
    let digest: oci_spec::image::Digest =
        blob.digest.parse().map_err(|error: oci_spec::OciSpecError| error.to_string())?;
    Ok(Descriptor::new(kind, blob.size, digest))
}

fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replacen(':', "/", 1))
}

/// One image of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}
