use std::borrow::Cow;
use std::sync::Arc;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionVersion;
use serde_json::{Map, Value};

use super::{Form, paths};
use crate::DynamicObject;
use crate::field::{ErrorList, Path};
use crate::kinds::metadata::keep_for_status;
use crate::kinds::next_generation;
use crate::strategy::{PodsOf, ScaleView, Strategy};
use crate::structural::About;

const STATUS: &str = "status";

/// How objects of a version of a custom kind are handled.
pub(super) struct CustomStrategy {
    form: Arc<Form>,
    has_status: bool,
    scale: Option<ScalePaths>,
    /// Fields that selectors may name, with the way to each.
    fields: Box<[(String, Steps)]>,
    warning: Option<String>,
}

type Steps = Box<[Box<str>]>;

struct ScalePaths {
    replicas: Steps,
    status_replicas: Steps,
    selector: Option<Steps>,
}

impl CustomStrategy {
    pub(super) fn new(version: &CustomResourceDefinitionVersion, form: Arc<Form>) -> Self {
        let parts = version.subresources.as_ref();
        let scale = parts.and_then(|parts| parts.scale.as_ref()).map(|scale| ScalePaths {
            replicas: paths::steps(&scale.spec_replicas_path),
            status_replicas: paths::steps(&scale.status_replicas_path),
            selector: scale.label_selector_path.as_deref().map(paths::steps),
        });
        let fields = version.selectable_fields.iter().flatten();
        let fields = fields
            .map(|field| (paths::name(&field.json_path), paths::steps(&field.json_path)))
            .collect();
        let has_status = parts.is_some_and(|parts| parts.status.is_some());
        let warning = (version.deprecated == Some(true))
            .then(|| version.deprecation_warning.clone().unwrap_or_default());
        Self { form, has_status, scale, fields, warning }
    }

    fn check(&self, new: &DynamicObject, old: Option<&DynamicObject>, errors: &mut ErrorList) {
        let root = self.form.root();
        root.check_root(&new.data, old.map(|old| &old.data), errors);
        if let Some(meta) = root.field("metadata")
            && let Ok(value) = serde_json::to_value(&new.metadata)
        {
            meta.check(&value, None, &Path::root("metadata"), errors);
        }
        root.check_rules(new, old, About::Changed, errors);
    }

    /// Whether what is asked for has changed, and not only what has come of it.
    fn has_changed(&self, new: &DynamicObject, old: &DynamicObject) -> bool {
        if !self.has_status {
            return new.data != old.data;
        }
        fn asked(fields: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
            fields.iter().filter(|(name, _)| *name != STATUS)
        }
        !asked(&new.data).eq(asked(&old.data))
    }
}

impl Strategy for CustomStrategy {
    type Kind = DynamicObject;

    fn default(&self, object: &mut DynamicObject) {
        let root = self.form.root();
        root.prune_root(&mut object.data);
        root.default_root(&mut object.data);
    }

    fn prepare_for_create(&self, object: &mut DynamicObject) {
        object.metadata.generation = Some(1);
        if self.has_status {
            object.data.remove(STATUS);
        }
    }

    fn validate(&self, object: &DynamicObject, errors: &mut ErrorList) {
        self.check(object, None, errors);
    }

    fn prepare_for_update(&self, new: &mut DynamicObject, old: &DynamicObject) {
        if self.has_status {
            match old.data.get(STATUS) {
                Some(status) => new.data.insert(STATUS.to_owned(), status.clone()),
                None => new.data.remove(STATUS),
            };
        }
        let changed = self.has_changed(new, old);
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn validate_update(&self, new: &DynamicObject, old: &DynamicObject, errors: &mut ErrorList) {
        self.check(new, Some(old), errors);
    }

    fn prepare_for_status_update(&self, new: &mut DynamicObject, old: &DynamicObject) {
        keep_for_status(&mut new.metadata, &old.metadata);
        let status = new.data.remove(STATUS);
        new.data.clone_from(&old.data);
        match status {
            Some(status) => new.data.insert(STATUS.to_owned(), status),
            None => new.data.remove(STATUS),
        };
    }

    fn validate_status_update(
        &self,
        new: &DynamicObject,
        old: &DynamicObject,
        errors: &mut ErrorList,
    ) {
        self.check(new, Some(old), errors);
    }

    fn field<'a>(&self, object: &'a DynamicObject, path: &str) -> Option<Cow<'a, str>> {
        let (_, steps) = self.fields.iter().find(|(name, _)| name == path)?;
        // One that is not there is selected as if it were empty.
        let found = paths::get(&object.data, steps).and_then(paths::text);
        Some(found.unwrap_or_default())
    }

    fn warnings(&self, new: &DynamicObject, old: Option<&DynamicObject>) -> Vec<String> {
        let deprecated = self.warning.iter().map(|warning| match warning.is_empty() {
            true => format!("{} {} is deprecated", new.api_version, new.kind),
            false => warning.clone(),
        });
        let mut let_be = ErrorList::default();
        if old.is_some() {
            self.form.root().check_rules(new, old, About::Unchanged, &mut let_be);
        }
        deprecated.chain(let_be.iter().map(ToString::to_string)).collect()
    }

    fn scale(&self, object: &DynamicObject) -> Option<ScaleView> {
        let scale = self.scale.as_ref()?;
        let number = |path: &Steps| {
            let found = paths::get(&object.data, path).and_then(Value::as_i64).unwrap_or(0);
            i32::try_from(found).unwrap_or(i32::MAX)
        };
        let selector = scale.selector.as_ref();
        let selector = selector.and_then(|path| paths::get(&object.data, path)?.as_str());
        Some(ScaleView {
            replicas: number(&scale.replicas),
            status_replicas: number(&scale.status_replicas),
            selector: selector.map(|text| PodsOf::Text(text.to_owned())),
        })
    }

    fn set_replicas(&self, object: &mut DynamicObject, replicas: i32) {
        if let Some(scale) = &self.scale {
            paths::set(&mut object.data, &scale.replicas, replicas.into());
        }
    }
}
