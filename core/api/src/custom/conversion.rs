use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion;

use super::Form;
use crate::{AnyConversion, Draft, DynamicObject, Object, Result, conversion};

/// How a version of a custom kind is read from what is stored: with the defaults that the schema
/// has come to have since, and under its own name.
pub(super) struct Read {
    served: String,
    stored: String,
    /// The schemas that have defaults, of the stored version and of this one.
    defaults: Vec<Arc<Form>>,
}

impl Read {
    pub(super) fn new(
        group: &str,
        served: &CustomResourceDefinitionVersion,
        stored: &CustomResourceDefinitionVersion,
        form: &Arc<Form>,
        stored_form: &Arc<Form>,
    ) -> Self {
        let mut defaults = vec![stored_form.clone()];
        if !served.storage {
            defaults.push(form.clone());
        }
        defaults.retain(|form| form.has_defaults());
        Self {
            served: format!("{group}/{}", served.name),
            stored: format!("{group}/{}", stored.name),
            defaults,
        }
    }

    /// For a version into which a webhook converts: it is only put in order.
    pub(super) fn outside(
        group: &str,
        served: &CustomResourceDefinitionVersion,
        form: &Arc<Form>,
    ) -> Self {
        let name = format!("{group}/{}", served.name);
        let defaults = Some(form.clone()).filter(|form| form.has_defaults());
        Self { served: name.clone(), stored: name, defaults: defaults.into_iter().collect() }
    }

    /// Whether what is read differs from what is stored.
    pub(super) fn does_something(&self) -> bool {
        self.served != self.stored || !self.defaults.is_empty()
    }

    fn is_same(&self, object: &DynamicObject) -> bool {
        object.api_version == self.served
            && !self.defaults.iter().any(|form| form.root().lacks_defaults(&object.data))
    }

    fn read(&self, stored: &DynamicObject) -> DynamicObject {
        let mut read = stored.clone();
        read.api_version.clone_from(&self.served);
        for form in &self.defaults {
            form.root().default_root(&mut read.data);
        }
        read
    }
}

impl AnyConversion for Read {
    fn to_stored(&self, draft: Draft) -> Result<Draft> {
        draft.try_map(|mut object: DynamicObject| {
            object.api_version.clone_from(&self.stored);
            Ok(object)
        })
    }

    fn draft_to_served(&self, draft: &Draft) -> Result<Draft> {
        let stored = draft.get().ok_or_else(conversion::mismatch::<DynamicObject>)?;
        Ok(Draft::new(self.read(stored)))
    }

    fn to_served(&self, object: &Object) -> Result<Object> {
        if self.is_same(object.get::<DynamicObject>()?) {
            return Ok(object.clone());
        }
        object.view(|stored: &DynamicObject| Ok(self.read(stored)))
    }

    fn stored_field<'a>(&self, field: &'a str) -> &'a str {
        field
    }
}
