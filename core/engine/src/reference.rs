use std::sync::Arc;

use pinnace_api::{ApiError, Catalog, Key, Resource};

use crate::Result;

/// An object by the names that kubectl takes: `deployments/web`, `deploy/web`, `deployment.apps/web`.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    pub(crate) resource: Arc<Resource>,
    pub(crate) key: Key,
}

impl Reference {
    pub(crate) fn parse(catalog: &Catalog, text: &str, namespace: &str) -> Result<Self> {
        let (kind, name) = text
            .split_once('/')
            .filter(|(kind, name)| !kind.is_empty() && !name.is_empty() && !name.contains('/'))
            .ok_or_else(|| {
                ApiError::bad_request(format!(
                    "{text:?} names no object: expected kind/name, such as deployments/web"
                ))
            })?;
        let resource = catalog.resolve(kind)?;
        let key =
            if resource.is_namespaced() { Key::new(namespace, name) } else { Key::cluster(name) };
        Ok(Self { resource, key })
    }
}
