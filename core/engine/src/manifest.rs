use pinnace_api::patch::Patch;
use pinnace_api::{Draft, Key, Object, Resource, manifest};
use pinnace_client::WriteOptions;
use serde_json::Value;

use crate::{Engine, Error, Result};

/// Who manages what [`Engine::apply`] sets.
const FIELD_MANAGER: &str = "pinnace";

/// What [`Engine::apply`] has done with one object.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The object as it is now.
    pub object: Object,
    /// What has changed.
    pub change: Change,
    /// Its kind and name, as `deployment.apps/web`.
    pub name: String,
}

/// See [`Applied`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Created,
    /// It was there and is different now.
    Configured,
    /// It was there and is the same.
    Unchanged,
}

impl Change {
    /// The word that kubectl prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

impl Engine {
    /// Makes the objects of a manifest, or changes those that exist to what it says. The manifest
    /// is YAML with any number of documents, or JSON. Objects without a namespace go to this
    /// handle's.
    ///
    /// Fields that the manifest no longer names and that nobody else has set are taken away, as
    /// server-side apply does; fields that others set meanwhile are taken over.
    ///
    /// # Errors
    /// [`Error::Manifest`] with line and column when the text cannot be read, and then nothing has
    /// been done; [`Error::Object`] for the first object that is refused, with those before it
    /// applied.
    pub async fn apply(&self, manifest: &str) -> Result<Vec<Applied>> {
        self.check_open()?;
        let documents = manifest::read(manifest.as_bytes())
            .map_err(|error| Error::Manifest(error.to_string()))?;
        let mut known = Vec::with_capacity(documents.len());
        for document in documents {
            known.push(self.identify(document)?);
        }
        let mut applied = Vec::with_capacity(known.len());
        for (resource, key, document) in known {
            applied.push(self.apply_one(&resource, &key, document).await?);
        }
        Ok(applied)
    }

    /// Deletes the objects that a manifest names, in the opposite order; those that are gone
    /// already are passed over.
    ///
    /// # Errors
    /// As [`Engine::apply`].
    pub async fn delete_manifest(&self, manifest: &str) -> Result<()> {
        self.check_open()?;
        let documents = manifest::read(manifest.as_bytes())
            .map_err(|error| Error::Manifest(error.to_string()))?;
        for document in documents.into_iter().rev() {
            let (resource, key, _) = self.identify(document)?;
            let api = self.client().resource(resource.clone());
            match api.delete(&key, Default::default()).await {
                Ok(_) => {}
                Err(error) if error.is_not_found() => {}
                Err(source) => return Err(Error::Object { object: name(&resource, &key), source }),
            }
        }
        Ok(())
    }

    /// Finds kind and key of a document, and gives it the namespace that it leaves out.
    fn identify(&self, mut document: Value) -> Result<(std::sync::Arc<Resource>, Key, Value)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let api_version = text(&document["apiVersion"]);
        let kind = text(&document["kind"]);
        let object = text(&document["metadata"]["name"]);
        if api_version.is_empty() || kind.is_empty() {
            let missing = if kind.is_empty() { "kind" } else { "apiVersion" };
            return Err(Error::Manifest(format!(
                "error parsing manifest: Object {missing:?} is missing in {object:?}"
            )));
        }
        let resource = self.client().catalog().by_kind(&api_version, &kind)?;
        if object.is_empty() {
            return Err(Error::Manifest(format!(
                "error parsing manifest: a {kind} has no metadata.name"
            )));
        }
        let mut namespace = text(&document["metadata"]["namespace"]);
        if !resource.is_namespaced() {
            namespace.clear();
        } else if namespace.is_empty() {
            namespace = self.namespace().to_owned();
            document["metadata"]["namespace"] = Value::String(namespace.clone());
        }
        Ok((resource, Key::new(namespace, object), document))
    }

    async fn apply_one(
        &self,
        resource: &std::sync::Arc<Resource>,
        key: &Key,
        document: Value,
    ) -> Result<Applied> {
        let api = self.client().resource(resource.clone());
        let name = name(resource, key);
        let refused = |source| Error::Object { object: name.clone(), source };
        let before = api.find(key).await.map_err(refused)?;
        // What does not fit the kind is refused before anything is merged.
        Draft::from_value(resource.codec, document.clone()).map_err(refused)?;
        let options = WriteOptions {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            force: true,
            ..WriteOptions::default()
        };
        let object = api.patch(key, Patch::Apply(document), options).await.map_err(refused)?;
        let change = match before {
            None => Change::Created,
            Some(before) if before.revision() == object.revision() => Change::Unchanged,
            Some(_) => Change::Configured,
        };
        Ok(Applied { object, change, name })
    }
}

/// `deployment.apps/web`.
fn name(resource: &Resource, key: &Key) -> String {
    let group = if resource.group.is_empty() { "" } else { "." };
    format!("{}{group}{}/{}", resource.singular, resource.group, key.name())
}
