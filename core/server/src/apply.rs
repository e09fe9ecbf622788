//! Server-side apply.

use pinnace_api::patch;
use pinnace_api::{ApiError, Draft, Object, Ownership, Reason, Result};
use pinnace_client::{Target, WriteOptions};
use serde_json::Value;

use crate::server::WRITE_ATTEMPTS;
use crate::{Server, User};

impl Server {
    pub(crate) async fn apply(
        &self,
        user: &User,
        target: Target,
        applied: &Value,
        options: WriteOptions,
    ) -> Result<Object> {
        if options.field_manager.as_deref().unwrap_or_default().is_empty() {
            return Err(ApiError::bad_request(
                "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is \
                 required for apply patch",
            ));
        }
        let resource = &*target.resource;
        for _ in 0..WRITE_ATTEMPTS {
            let found = self.snapshot().get(resource.table(), &target.key).is_some();
            let done = if found {
                let (server, target, options) = (self, &target, &options);
                self.rewrite(target, options, |old| async move {
                    let new = server.merged(user, target, Some(&old), applied, options)?;
                    Self::check_unmoved(&new, &old)?;
                    server.finish_update(user, "patch", target, new, &old, options).await
                })
                .await
            } else if target.subresource.is_some() {
                return Err(ApiError::not_found(resource, target.key.name()));
            } else {
                let new = self.merged(user, &target, None, applied, &options)?;
                let named = new.meta().name.as_deref().unwrap_or_default();
                if named != target.key.name() {
                    return Err(ApiError::bad_request(format!(
                        "the name of the object ({named}) does not match the name on the URL ({})",
                        target.key.name()
                    )));
                }
                let (namespace, name) = (target.key.namespace(), target.key.name());
                self.authorize(user, "create", resource, None, namespace, name)?;
                self.create_owned(user, target.clone(), new, options.clone()).await
            };
            match done {
                // Somebody has created or deleted it since we looked.
                Err(error) if !found && error.is_already_exists() => {}
                Err(error) if found && error.is_not_found() => {}
                done => return done,
            }
        }
        Err(ApiError::modified(resource, target.key.name()))
    }

    /// The object after the apply, accepted, with the book of its fields.
    fn merged(
        &self,
        user: &User,
        target: &Target,
        old: Option<&Object>,
        applied: &Value,
        options: &WriteOptions,
    ) -> Result<Draft> {
        let resource = &*target.resource;
        let (object, ownership) = self.applied(user, target, old, applied, options)?;
        let mut new = Self::accept(resource, Draft::from_value(resource.codec, object)?)?;
        new.set_ownership(ownership);
        Ok(new)
    }

    /// What an apply makes of an object, and who owns its fields then.
    pub(crate) fn applied(
        &self,
        user: &User,
        target: &Target,
        old: Option<&Object>,
        applied: &Value,
        options: &WriteOptions,
    ) -> Result<(Value, Ownership)> {
        let resource = &*target.resource;
        let kind = resource.kind_type().ok_or_else(|| {
            ApiError::new(Reason::UnsupportedMediaType, "this kind cannot be applied")
        })?;
        let writer = self.writer(user, resource, kind.clone(), target.subresource, options);
        let live = match old {
            Some(old) => resource.to_served(old.clone())?.to_unmanaged_value()?,
            None => Value::Object(serde_json::Map::new()),
        };
        let book = old.map(Object::managed_fields).unwrap_or_default();
        let by = writer.manager();
        let (object, book) = patch::apply(kind.get(), &live, applied, book, &by, options.force)?;
        Ok((object, Ownership::known(book)))
    }
}
