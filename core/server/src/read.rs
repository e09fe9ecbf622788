use std::borrow::Cow;
use std::sync::Arc;

use pinnace_api::selector::FieldSelector;
use pinnace_api::{ApiError, Key, Object, Resource, Result};
use pinnace_client::{List, ListOptions, Subresource, Target, VersionMatch};
use pinnace_store::{Snapshot, StoreError};

use crate::create::storage_error;
use crate::list_token::ListToken;
use crate::scale::scale_of;
use crate::{Server, User};

impl Server {
    pub(crate) async fn get(&self, user: &User, target: &Target) -> Result<Object> {
        let resource = &*target.resource;
        let (namespace, name) = (target.key.namespace(), target.key.name());
        self.authorize(user, "get", resource, target.subresource, namespace, name)?;
        Self::check_scope(resource, &target.key)?;
        Self::check_part(resource, name, target.subresource, "get")?;
        let found = self.snapshot().get(resource.table(), &target.key).cloned();
        let object = found.ok_or_else(|| ApiError::not_found(resource, name))?;
        match target.subresource {
            Some(Subresource::Scale) => {
                let object = self.loaded(resource, object).await?;
                Ok(Object::new(scale_of(resource, &object)?))
            }
            None
            | Some(
                Subresource::Status
                | Subresource::EphemeralContainers
                | Subresource::Resize
                | Subresource::Approval,
            ) => Ok(object),
            Some(_) => Err(ApiError::method_not_supported(resource, "get")),
        }
    }

    /// The objects that a list gives, without asking who may see them.
    pub(crate) fn select(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<List<Object>> {
        let filter = Filter::new(resource, namespace, options)?;
        let token = options.continue_token.as_deref().map(ListToken::decode).transpose()?;
        let snapshot = self.snapshot_for(options, token.as_ref())?;
        let revision = snapshot.revision();
        let table = resource.table();
        let limit = options.limit.filter(|limit| *limit > 0);
        let limit = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));

        // A selector that names one object needs no walk.
        if let Some(key) = filter.only_key(resource) {
            let found = snapshot.get(table, &key).filter(|object| filter.matches(resource, object));
            let items = found.cloned().into_iter().collect();
            return Ok(List { items, revision, continue_token: None, remaining: None });
        }
        let all: Box<dyn Iterator<Item = &Object>> = match (&token, namespace) {
            (Some(token), _) => Box::new(snapshot.iter_after(table, namespace, &token.last())),
            (None, Some(namespace)) => Box::new(snapshot.iter_namespace(table, namespace)),
            (None, None) => Box::new(snapshot.iter(table)),
        };
        // The walk keeps to the namespace already.
        let mut matching = all.filter(|object| filter.selects(resource, object));
        let items: Vec<Object> = matching.by_ref().take(limit).cloned().collect();
        let mut list = List { items, revision, continue_token: None, remaining: None };
        if list.items.len() == limit
            && let Some(last) = list.items.last()
        {
            let remaining = matching.count() as u64;
            if remaining > 0 {
                list.continue_token = Some(ListToken::new(Some(revision), &last.key()).encode());
                // With a selector the count would promise what upstream does not give.
                list.remaining = filter.is_everything().then_some(remaining);
            }
        }
        Ok(list)
    }

    fn snapshot_for(&self, options: &ListOptions, token: Option<&ListToken>) -> Result<Snapshot> {
        let exact = match (token, options.resource_version, options.version_match) {
            (Some(_), Some(version), _) if version > 0 => {
                return Err(ApiError::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            (Some(token), ..) => token.revision,
            (None, Some(version), Some(VersionMatch::Exact)) => Some(version),
            (None, Some(version), None) if version > 0 && options.limit.is_some() => Some(version),
            (None, Some(version), _) if version > self.store().revision() => {
                return Err(storage_error(&StoreError::Future {
                    requested: version,
                    current: self.store().revision(),
                }));
            }
            _ => None,
        };
        match exact {
            Some(revision) => {
                self.store().snapshot_at(revision).map_err(|error| match (&error, token) {
                    (StoreError::Expired { .. }, Some(token)) => {
                        ApiError::expired_list(ListToken::new(None, &token.last()).encode())
                    }
                    (StoreError::Expired { .. }, None) => {
                        ApiError::expired("The resourceVersion for the provided list is too old.")
                    }
                    _ => storage_error(&error),
                })
            }
            None => Ok(self.snapshot()),
        }
    }
}

/// Checks that a kind has a verb.
pub(crate) fn check_verb(resource: &Resource, verb: &str) -> Result<()> {
    if resource.verbs.0.contains(&verb) {
        return Ok(());
    }
    Err(ApiError::method_not_supported(resource, verb))
}

/// What of a kind a list or watch is about.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    namespace: Option<Arc<str>>,
    labels: Option<pinnace_api::selector::Selector>,
    fields: Option<FieldSelector>,
}

impl Filter {
    pub(crate) fn new(
        resource: &Resource,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<Self> {
        if let Some(fields) = &options.fields {
            fields.validate_for(resource)?;
        }
        Ok(Self {
            namespace: namespace.map(Arc::from),
            labels: options.labels.clone(),
            fields: options.fields.clone(),
        })
    }

    pub(crate) fn matches(&self, resource: &Resource, object: &Object) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| namespace == object.namespace())
            && self.selects(resource, object)
    }

    /// Whether the selectors match, wherever the object is.
    fn selects(&self, resource: &Resource, object: &Object) -> bool {
        self.labels.as_ref().is_none_or(|labels| labels.matches(object.labels()))
            && self.fields.as_ref().is_none_or(|fields| {
                fields.matches(|path| match path {
                    "metadata.name" => Some(Cow::Borrowed(object.name())),
                    "metadata.namespace" => Some(Cow::Borrowed(object.namespace())),
                    path => resource.field(object, path),
                })
            })
    }

    fn only_key(&self, resource: &Resource) -> Option<Key> {
        let fields = self.fields.as_ref()?;
        let name = fields.requires("metadata.name")?;
        if !resource.is_namespaced() {
            return Some(Key::cluster(name));
        }
        let namespace = self.namespace.as_deref();
        let namespace = namespace.or_else(|| fields.requires("metadata.namespace"))?;
        Some(Key::new(namespace, name))
    }

    fn is_everything(&self) -> bool {
        self.labels.is_none() && self.fields.is_none()
    }
}
