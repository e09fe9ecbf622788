use k8s_openapi::api::admissionregistration::v1::ParamRef;
use pinnace_api::selector::Selector;
use pinnace_api::{ApiError, Key, Object, Resource};
use serde_json::Value;

use super::compiled::{Binding, Policy};
use crate::Server;
use crate::write::Write;

/// What a policy is evaluated with.
pub(super) enum Params {
    /// It has none.
    None,
    /// Each of these in turn.
    Each(Vec<Value>),
}

impl Server {
    /// The params with which a binding has a policy evaluated.
    ///
    /// # Errors
    /// Why that cannot be told, or that there must be some and are none.
    pub(super) async fn params_of(
        &self,
        policy: &Policy,
        binding: &Binding,
        write: &Write<'_>,
    ) -> Result<Params, String> {
        let Some(kind) = &policy.params else { return Ok(Params::None) };
        let (api_version, kind) =
            (kind.api_version.as_deref().unwrap_or(""), kind.kind.as_deref().unwrap_or(""));
        let Some(wanted) = &binding.param else { return Ok(Params::Each(vec![Value::Null])) };
        let resource = self.catalog().by_kind(api_version, kind).map_err(|_| {
            format!("failed to find resource referenced by paramKind: '{api_version}, Kind={kind}'")
        })?;
        let namespace = match (resource.is_namespaced(), wanted.namespace.as_deref()) {
            (true, Some(namespace)) if !namespace.is_empty() => namespace,
            (true, _) if write.key.namespace().is_empty() => {
                return Err("cannot use namespaced paramRef in policy binding that matches \
                            cluster-scoped resources"
                    .to_owned());
            }
            (true, _) => write.key.namespace(),
            (false, Some(namespace)) if !namespace.is_empty() => {
                return Err("paramRef.namespace must not be provided for a cluster-scoped \
                            `paramKind`"
                    .to_owned());
            }
            (false, _) => "",
        };
        let snapshot = self.snapshot();
        let table = resource.table();
        let mut found = Vec::new();
        match selector_of(wanted)? {
            Some(selector) => {
                let all = snapshot.iter(table).filter(|object| {
                    object.namespace() == namespace && selector.matches(object.labels())
                });
                found.extend(all.cloned());
            }
            None => {
                let name = wanted.name.as_deref().unwrap_or_default();
                found.extend(snapshot.get(table, &Key::new(namespace, name)).cloned());
            }
        }
        if found.is_empty() && wanted.parameter_not_found_action.as_deref() == Some("Deny") {
            return Err(
                "no params found for policy binding with `Deny` parameterNotFoundAction".to_owned()
            );
        }
        let mut values = Vec::with_capacity(found.len());
        for object in found {
            let shown = self.shown(&resource, object).await;
            values.push(shown.map_err(|error| error.message().to_owned())?);
        }
        Ok(Params::Each(values))
    }
}

impl Server {
    /// An object of the store in a version of its kind, whoever converts it.
    async fn shown(&self, version: &Resource, object: Object) -> Result<Value, ApiError> {
        version.to_served(self.loaded(version, object).await?)?.to_value()
    }
}

fn selector_of(wanted: &ParamRef) -> Result<Option<Selector>, String> {
    let selector = wanted.selector.as_ref().map(Selector::from_label_selector).transpose();
    selector.map_err(|error| error.to_string())
}
