use std::collections::HashMap;

use oci_spec::image::{Arch, Descriptor, ImageConfiguration, ImageIndex, ImageManifest, Os};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::content::Blob;

/// Bytes a manifest or index may have; registries refuse larger ones.
pub(super) const MAX_MANIFEST_BYTES: usize = 4 << 20;
/// Bytes an image's configuration may have.
pub(super) const MAX_CONFIG_BYTES: usize = 8 << 20;
/// Layers an image may have; overlayfs stops far below.
const MAX_LAYERS: usize = 500;

/// What a manifest's digest leads to.
#[derive(Debug)]
pub(super) enum Document {
    /// A choice between platforms, or an archive's list of images.
    Index(Box<ImageIndex>),
    /// One image.
    Image(Box<ImageManifest>),
}

impl Document {
    pub(super) fn parse(data: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Shape {
            #[serde(default)]
            manifests: Option<serde::de::IgnoredAny>,
        }
        let wrong = |error: serde_json::Error| format!("malformed manifest: {error}");
        let shape: Shape = serde_json::from_slice(data).map_err(wrong)?;
        if shape.manifests.is_some() {
            return Ok(Self::Index(serde_json::from_slice(data).map_err(wrong)?));
        }
        let manifest: ImageManifest = serde_json::from_slice(data).map_err(wrong)?;
        if manifest.layers().len() > MAX_LAYERS {
            return Err(format!("an image may have {MAX_LAYERS} layers at most"));
        }
        Ok(Self::Image(Box::new(manifest)))
    }

    /// The labels that keep what this document names from being collected.
    pub(super) fn gc_labels(&self) -> HashMap<String, String> {
        let reference = |name: String, descriptor: &Descriptor| {
            (format!("containerd.io/gc.ref.content.{name}"), descriptor.digest().to_string())
        };
        match self {
            Self::Index(index) => {
                let entries = index.manifests().iter().enumerate();
                entries.map(|(i, entry)| reference(format!("m.{i}"), entry)).collect()
            }
            Self::Image(manifest) => {
                let layers = manifest.layers().iter().enumerate();
                let layers = layers.map(|(i, layer)| reference(format!("l.{i}"), layer));
                layers.chain([reference("config".into(), manifest.config())]).collect()
            }
        }
    }
}

/// The entry of an index that this machine runs.
pub(super) fn for_this_machine(index: &ImageIndex) -> Result<&Descriptor, String> {
    let entries = index.manifests();
    let architecture = architecture();
    let fits = |entry: &&Descriptor| {
        entry.platform().as_ref().is_some_and(|platform| {
            *platform.os() == Os::Linux && *platform.architecture() == architecture
        })
    };
    if let Some(entry) = entries.iter().find(fits) {
        return Ok(entry);
    }
    match entries.as_slice() {
        [only] if only.platform().is_none() => Ok(only),
        _ => Err(format!("no match for platform in manifest: linux/{architecture} not found")),
    }
}

fn architecture() -> Arch {
    match std::env::consts::ARCH {
        "x86_64" => Arch::Amd64,
        "x86" => Arch::i386,
        "aarch64" => Arch::ARM64,
        "arm" => Arch::ARM,
        "riscv64" => Arch::RISCV64,
        "powerpc64" => Arch::PowerPC64le,
        "s390x" => Arch::s390x,
        other => Arch::Other(other.to_owned()),
    }
}

/// An image's configuration, checked against its manifest.
pub(super) fn parse_config(
    data: &[u8],
    manifest: &ImageManifest,
) -> Result<ImageConfiguration, String> {
    let config: ImageConfiguration = serde_json::from_slice(data)
        .map_err(|error| format!("malformed image configuration: {error}"))?;
    let (layers, diffs) = (manifest.layers().len(), config.rootfs().diff_ids().len());
    if layers != diffs {
        return Err(format!("mismatched image rootfs and manifest layers: {layers} and {diffs}"));
    }
    Ok(config)
}

/// The name of the snapshot that holds the first layers of an image, for each number of them.
pub(super) fn chain_ids(diff_ids: &[String]) -> Vec<String> {
    let mut chain: Vec<String> = Vec::with_capacity(diff_ids.len());
    for diff in diff_ids {
        let id = match chain.last() {
            None => diff.clone(),
            Some(parent) => sha256(format!("{parent} {diff}").as_bytes()),
        };
        chain.push(id);
    }
    chain
}

/// `sha256:` and the digest of `data`.
pub(super) fn sha256(data: &[u8]) -> String {
    finish(Sha256::new_with_prefix(data))
}

/// `sha256:` and what a hasher has seen.
pub(super) fn finish(hasher: Sha256) -> String {
    let mut text = String::from("sha256:");
    for byte in hasher.finalize() {
        use std::fmt::Write;
        let _ = write!(text, "{byte:02x}");
    }
    text
}

pub(super) fn blob(descriptor: &Descriptor) -> Blob {
    Blob { digest: descriptor.digest().to_string(), size: descriptor.size() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_hash_parent_and_layer() {
        let diffs = [sha256(b"a"), sha256(b"b")];
        let chain = chain_ids(&diffs);
        assert_eq!(chain[0], diffs[0]);
        assert_eq!(chain[1], sha256(format!("{} {}", diffs[0], diffs[1]).as_bytes()));
    }

    #[test]
    fn an_index_gives_this_machines_image_or_says_what_is_missing() {
        let entry = |arch: &str| {
            serde_json::json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": sha256(arch.as_bytes()), "size": 1,
                "platform": {"os": "linux", "architecture": arch},
            })
        };
        let parse = |entries: Vec<serde_json::Value>| {
            let text = serde_json::json!({"schemaVersion": 2, "manifests": entries}).to_string();
            match Document::parse(text.as_bytes()).unwrap() {
                Document::Index(index) => index,
                Document::Image(_) => panic!("taken for an image"),
            }
        };
        let mine = architecture().to_string();
        let index = parse(vec![entry("mips64le"), entry(&mine)]);
        let chosen = for_this_machine(&index).unwrap();
        assert_eq!(chosen.digest().to_string(), sha256(mine.as_bytes()));
        let error = for_this_machine(&parse(vec![entry("mips64le")])).unwrap_err();
        assert!(error.contains(&mine), "{error}");
    }

    #[test]
    fn malformed_manifests_are_refused() {
        for bad in ["", "[]", "{", r#"{"layers": 1}"#, r#"{"manifests": 1}"#] {
            assert!(Document::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
