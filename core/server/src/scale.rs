use k8s_openapi::api::autoscaling::v1::{Scale, ScaleSpec, ScaleStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::field::{ErrorList, Path};
use pinnace_api::patch::Patch;
use pinnace_api::selector::Selector;
use pinnace_api::{ApiError, Codec, Draft, Object, PodsOf, Resource, Result};
use pinnace_client::{Target, WriteOptions};

use crate::patching::{apply_patch, scale_type};
use crate::{Server, User};

/// The `scale` subresource of an object.
pub(crate) fn scale_of(resource: &Resource, object: &Object) -> Result<Scale> {
    let view = resource
        .strategy
        .scale(object)
        .ok_or_else(|| ApiError::not_found(resource, object.name()))?;
    let selector = match view.selector {
        Some(PodsOf::Labels(labels)) => Some(Selector::from_label_selector(&labels)?.to_string()),
        Some(PodsOf::Text(text)) => Some(text),
        None => None,
    };
    Ok(Scale {
        metadata: ObjectMeta {
            name: object.meta().name.clone(),
            namespace: object.meta().namespace.clone(),
            uid: object.meta().uid.clone(),
            resource_version: object.meta().resource_version.clone(),
            creation_timestamp: object.meta().creation_timestamp.clone(),
            ..Default::default()
        },
        spec: Some(ScaleSpec { replicas: Some(view.replicas) }),
        status: Some(ScaleStatus { replicas: view.status_replicas, selector }),
    })
}

impl Server {
    pub(crate) async fn update_scale(
        &self,
        user: &User,
        target: Target,
        draft: Draft,
        options: WriteOptions,
    ) -> Result<Object> {
        let scale = draft
            .get::<Scale>()
            .ok_or_else(|| ApiError::bad_request("the body must be an autoscaling/v1 Scale"))?
            .clone();
        self.write_scale(user, target, options, |_| Ok(scale.clone())).await
    }

    pub(crate) async fn patch_scale(
        &self,
        user: &User,
        target: Target,
        patch: &Patch,
        options: WriteOptions,
    ) -> Result<Object> {
        self.write_scale(user, target, options, |current| {
            let current = Draft::new(current).to_value()?;
            let patched = Draft::from_value(
                Codec::of::<Scale>(),
                apply_patch(scale_type(), true, patch, current)?,
            )?;
            patched.get().cloned().ok_or_else(|| ApiError::internal("a patched Scale is none"))
        })
        .await
    }

    async fn write_scale(
        &self,
        user: &User,
        target: Target,
        options: WriteOptions,
        mut change: impl FnMut(Scale) -> Result<Scale>,
    ) -> Result<Object> {
        let resource = target.resource.clone();
        let whole = Target::new(resource.clone(), target.key.clone());
        let written = self
            .rewrite(&whole, &options, |old| {
                let wanted = change(scale_of(&resource, old)?)?;
                check(&resource, &wanted)?;
                let mut new = old.draft()?;
                new.meta_mut().resource_version = wanted.metadata.resource_version.clone();
                let replicas = wanted.spec.and_then(|spec| spec.replicas).unwrap_or(0);
                resource.strategy.set_replicas(&mut new, replicas);
                let mut new = self.finish_update(user, &whole, new, old)?;
                self.own_changed(user, &target, &mut new, old, None, &options)?;
                Ok(new)
            })
            .await?;
        Ok(Object::new(scale_of(&resource, &written)?))
    }
}

fn check(resource: &Resource, scale: &Scale) -> Result<()> {
    let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    if replicas >= 0 {
        return Ok(());
    }
    let mut errors = ErrorList::default();
    let spec = Path::root("spec");
    errors.invalid(&spec.child("replicas"), replicas, "must be greater than or equal to 0");
    let name = scale.metadata.name.as_deref().unwrap_or_default();
    Err(ApiError::invalid(resource, name, &errors))
}
