//! Server-side apply, and the book of who owns which field.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::patch::{self, FieldManager};
use pinnace_api::{ApiError, Draft, Object, Reason, Resource, Result};
use pinnace_client::{Subresource, Target, WriteOptions};
use serde_json::Value;

use crate::patching::type_of;
use crate::server::WRITE_ATTEMPTS;
use crate::{Server, User};

/// What a write through the object itself does not change, where status is a subresource.
const NOT_STATUS: &[&[&str]] = &[&["status"]];
/// What a write of the status does not change.
const ONLY_STATUS: &[&[&str]] = &[&["spec"]];

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
            let found = self.snapshot().get(resource.name(), &target.key).is_some();
            let done = if found {
                self.rewrite(&target, &options, |old| {
                    let new = self.merged(user, &target, Some(old), applied, &options)?;
                    Self::check_unmoved(resource, &new, old)?;
                    self.finish_update(user, &target, new, old)
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
                self.create_applied(user, target.clone(), new, options.clone()).await
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

    /// The object after the apply, with the book of its fields, not defaulted yet.
    fn merged(
        &self,
        user: &User,
        target: &Target,
        old: Option<&Object>,
        applied: &Value,
        options: &WriteOptions,
    ) -> Result<Draft> {
        let resource = &*target.resource;
        let kind = type_of(resource).ok_or_else(|| {
            ApiError::new(Reason::UnsupportedMediaType, "this kind cannot be applied")
        })?;
        let api_version = resource.api_version();
        let by = self.manager(user, resource, &api_version, target.subresource, options);
        let live = match old {
            Some(old) => without_book(old.to_value()?),
            None => Value::Object(serde_json::Map::new()),
        };
        let book = old.and_then(|old| old.meta().managed_fields.as_deref()).unwrap_or_default();
        let (object, book) = patch::apply(kind, &live, applied, book, &by, options.force)?;
        let mut new = Draft::from_value(resource.codec, object)?;
        resource.strategy.default(&mut new);
        new.meta_mut().managed_fields = Some(book).filter(|book| !book.is_empty());
        Ok(new)
    }

    /// Notes in the book of an object that has one who has changed what. An object that nothing
    /// was ever applied to has no book: it would cost every write and tell nobody anything.
    pub(crate) fn track(
        &self,
        user: &User,
        target: &Target,
        new: &mut Draft,
        old: &Object,
        options: &WriteOptions,
    ) -> Result<()> {
        let resource = &*target.resource;
        let Some(book) = old.meta().managed_fields.as_deref().filter(|book| !book.is_empty())
        else {
            return Ok(());
        };
        let Some(kind) = type_of(resource) else { return Ok(()) };
        let api_version = resource.api_version();
        let by = self.manager(user, resource, &api_version, target.subresource, options);
        let sent = new.meta_mut().managed_fields.take();
        let value = without_book(new.to_value()?);
        let live = without_book(old.to_value()?);
        let live = Some((&live, book));
        let book = patch::track_update(kind, live, &value, sent.as_deref(), &by);
        new.meta_mut().managed_fields = Some(book).filter(|book| !book.is_empty());
        Ok(())
    }

    fn manager<'a>(
        &self,
        user: &'a User,
        resource: &Resource,
        api_version: &'a str,
        subresource: Option<Subresource>,
        options: &'a WriteOptions,
    ) -> FieldManager<'a> {
        FieldManager {
            name: options.field_manager.as_deref().unwrap_or(&user.name),
            api_version,
            subresource: subresource.map_or("", Subresource::as_str),
            time: Time(self.env().clock().now_seconds()),
            reset_fields: match subresource {
                None if resource.subresources.status => NOT_STATUS,
                Some(Subresource::Status) => ONLY_STATUS,
                _ => &[],
            },
        }
    }
}

fn without_book(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    object
}
