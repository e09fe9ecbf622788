//! Kinds whose versions are converted by a webhook.

use std::time::Duration;

use pinnace_api::custom::{ConversionWebhook, Desired};
use pinnace_api::{ApiError, Draft, DynamicObject, Object, Reason, Resource, Result};
use pinnace_client::{List, ListOptions};
use pinnace_store::Event;
use serde_json::Value;

use crate::Server;
use crate::extension::ExtensionConfig;
use crate::list_token::ListToken;
use crate::read::Filter;

/// How long a webhook may take for a conversion.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Most objects that a webhook is sent at once.
const MAX_AT_ONCE: usize = 500;

impl Server {
    /// What is stored, in the version of the request. Of kinds that no webhook converts it is what
    /// it was.
    ///
    /// # Errors
    /// `InternalError` when the webhook does not convert it.
    pub(crate) async fn loaded(&self, resource: &Resource, object: Object) -> Result<Object> {
        let Some(webhook) = resource.conversion_webhook() else { return Ok(object) };
        let api_version = resource.api_version();
        let from = object.get::<DynamicObject>()?.api_version.clone();
        if from == api_version {
            return Ok(object);
        }
        let to = Desired { api_version: &api_version, list: false };
        let mut converted = self.convert(webhook, vec![object.to_value()?], &from, to).await?;
        let converted = converted.pop().unwrap_or_default();
        let taken = webhook.object(&object, converted, 0, to, &*resource.strategy);
        taken.map_err(wrong)
    }

    /// As [`Server::loaded`], for many at once.
    pub(crate) async fn loaded_all(
        &self,
        resource: &Resource,
        mut objects: Vec<Object>,
    ) -> Result<Vec<Object>> {
        let Some(webhook) = resource.conversion_webhook() else { return Ok(objects) };
        let api_version = resource.api_version();
        let to = Desired { api_version: &api_version, list: true };
        let mut others = Vec::new();
        for (index, object) in objects.iter().enumerate() {
            if object.get::<DynamicObject>()?.api_version != api_version {
                others.push(index);
            }
        }
        for indexes in others.chunks(MAX_AT_ONCE) {
            let values = indexes.iter().map(|index| objects[*index].to_value());
            let values = values.collect::<Result<Vec<_>>>()?;
            let converted = self.convert(webhook, values, &webhook.stored, to).await?;
            for (place, (index, value)) in indexes.iter().zip(converted).enumerate() {
                let taken = webhook.object(&objects[*index], value, place, to, &*resource.strategy);
                objects[*index] = taken.map_err(wrong)?;
            }
        }
        Ok(objects)
    }

    /// As [`Server::select`]; where a selector is about fields that only the version of the request
    /// has, what is stored is converted before it is looked at.
    pub(crate) async fn selected(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<List<Object>> {
        if !selects_converted(resource, options) {
            return self.select(resource, namespace, options);
        }
        let filter = Filter::new(resource, namespace, options)?;
        let all = ListOptions { fields: None, limit: None, ..options.clone() };
        let mut list = self.select(resource, namespace, &all)?;
        let mut items = self.loaded_all(resource, list.items).await?;
        items.retain(|object| filter.matches(resource, object));
        let limit = options.limit.and_then(|limit| usize::try_from(limit).ok());
        if let Some(limit) = limit.filter(|limit| (1..items.len()).contains(limit)) {
            items.truncate(limit);
            let last = items.last().map(Object::key);
            let token = last.map(|last| ListToken::new(Some(list.revision), &last).encode());
            list.continue_token = token;
        }
        list.items = items;
        Ok(list)
    }

    /// An event with its objects in the version of the request.
    pub(crate) async fn loaded_event(&self, resource: &Resource, event: &Event) -> Result<Event> {
        let previous = match event.previous.clone() {
            None => None,
            Some(previous) => Some(self.loaded(resource, previous).await?),
        };
        let object = self.loaded(resource, event.object.clone()).await?;
        Ok(Event { object, previous, key: event.key.clone(), ..*event })
    }

    /// What is about to be stored, in the version that is stored.
    ///
    /// # Errors
    /// As [`Server::loaded`].
    pub(crate) async fn to_storage(&self, resource: &Resource, draft: Draft) -> Result<Draft> {
        let Some(webhook) = resource.conversion_webhook() else { return Ok(draft) };
        self.converted(webhook, draft, &webhook.stored).await
    }

    /// A draft in another version of its kind.
    pub(crate) async fn converted(
        &self,
        webhook: &ConversionWebhook,
        draft: Draft,
        api_version: &str,
    ) -> Result<Draft> {
        let from = draft.api_version().to_owned();
        if from == api_version {
            return Ok(draft);
        }
        let to = Desired { api_version, list: false };
        let mut converted = self.convert(webhook, vec![draft.to_value()?], &from, to).await?;
        webhook.draft(draft, converted.pop().unwrap_or_default(), to).map_err(wrong)
    }

    async fn convert(
        &self,
        webhook: &ConversionWebhook,
        objects: Vec<Value>,
        from: &str,
        to: Desired<'_>,
    ) -> Result<Vec<Value>> {
        let uid = self.env().random().uid();
        let config = ExtensionConfig::of_conversion(&webhook.client);
        let review = webhook.review(&uid, &objects, to).map_err(wrong)?;
        let answer = self.call_extension(&config, &review, TIMEOUT, false).await;
        let answer = answer.map_err(|why| wrong(webhook.failed(from, to, &why)))?;
        webhook.converted(answer, &uid, objects.len(), from, to).map_err(wrong)
    }
}

/// What callers are told, who can do nothing about it.
fn wrong(why: String) -> ApiError {
    ApiError::new(Reason::InternalError, why)
}

/// Whether a selector is about fields that an object may only have in the version of the request.
pub(crate) fn selects_converted(resource: &Resource, options: &ListOptions) -> bool {
    let fields = options.fields.as_ref();
    resource.conversion_webhook().is_some()
        && fields.is_some_and(|fields| {
            fields.requirements().iter().any(|one| !one.field.starts_with("metadata."))
        })
}
