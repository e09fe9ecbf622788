use k8s_openapi::api::autoscaling::v1::{Scale, ScaleSpec, ScaleStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::field::{ErrorList, Path};
use pinnace_api::patch::Patch;
use pinnace_api::selector::Selector;
use pinnace_api::{ApiError, Codec, Draft, Object, PodsOf, Resource, Result};
use pinnace_client::{Target, WriteOptions};
use serde_json::{Value, json};

use crate::patching::{apply_patch, check_patched, scale_type};
use crate::update::validate_changed;
use crate::write::Write;
use crate::{Operation, Server, User};

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
        if let Patch::Apply(applied) = patch {
            return self.apply_scale(user, target, applied, options).await;
        }
        let checks = options.clone();
        self.write_scale(user, target, options, |current| {
            let current = Draft::new(current).to_value()?;
            let patched = apply_patch(scale_type(), true, patch, current)?;
            check_patched(scale_type(), patch, &patched, &checks)?;
            let patched = Draft::from_value(Codec::of::<Scale>(), patched)?;
            patched.get().cloned().ok_or_else(|| ApiError::internal("a patched Scale is none"))
        })
        .await
    }

    /// Applies a Scale. As upstream, the book is kept where the replicas are: who has them by a scale
    /// and who has them by the object itself stand in each other's way.
    async fn apply_scale(
        &self,
        user: &User,
        target: Target,
        applied: &Value,
        options: WriteOptions,
    ) -> Result<Object> {
        let resource = &*target.resource;
        let applied = Draft::from_value(Codec::of::<Scale>(), applied.clone())?;
        let none = || ApiError::bad_request("the body must be an autoscaling/v1 Scale");
        let applied = applied.get::<Scale>().cloned().ok_or_else(none)?;
        let replicas = applied.spec.as_ref().and_then(|spec| spec.replicas);
        let whole = &Target::new(target.resource.clone(), target.key.clone());
        let (server, target, options, applied) = (self, &target, &options, &applied);
        let written = self
            .rewrite(whole, options, |old| async move {
                let part = replicas_alone(resource, &old, replicas)?;
                let (_, ownership) = server.applied(user, target, Some(&old), &part, options)?;
                let mut wanted = scale_of(resource, &old)?;
                wanted.metadata.resource_version = applied.metadata.resource_version.clone();
                if let Some(replicas) = replicas {
                    wanted.spec = Some(ScaleSpec { replicas: Some(replicas) });
                }
                let mut new = server.scaled(user, target, wanted, &old, options).await?;
                new.set_ownership(ownership);
                Ok(new)
            })
            .await?;
        Ok(Object::new(scale_of(resource, &written)?))
    }

    async fn write_scale(
        &self,
        user: &User,
        target: Target,
        options: WriteOptions,
        mut change: impl FnMut(Scale) -> Result<Scale> + Send,
    ) -> Result<Object> {
        let whole = &Target::new(target.resource.clone(), target.key.clone());
        let (server, target, options) = (self, &target, &options);
        let resource = &*target.resource;
        let written = self
            .rewrite(whole, options, |old| {
                let wanted = scale_of(resource, &old).and_then(&mut change);
                async move {
                    let mut new = server.scaled(user, target, wanted?, &old, options).await?;
                    server.own_changed(user, target, &mut new, &old, None, options)?;
                    Ok(new)
                }
            })
            .await?;
        Ok(Object::new(scale_of(resource, &written)?))
    }

    /// An object with its replicas set. Those who are asked about it outside are asked about the
    /// scale, and not about the object.
    async fn scaled(
        &self,
        user: &User,
        target: &Target,
        wanted: Scale,
        old: &Object,
        options: &WriteOptions,
    ) -> Result<Draft> {
        let resource = &*target.resource;
        let before = Object::new(scale_of(resource, old)?);
        let write = Write::to(user, Operation::Update, target, Some(&before), options);
        let mut wanted = Draft::new(wanted);
        self.mutate(&write, Some(&mut wanted), |_| Ok(())).await?;
        let (replicas, version) = {
            let none = || ApiError::internal("a Scale is none any more");
            let scale = wanted.get::<Scale>().ok_or_else(none)?;
            check(scale)?;
            let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
            (replicas, scale.metadata.resource_version.clone())
        };
        let mut new = old.draft()?;
        new.meta_mut().resource_version = version;
        resource.strategy.set_replicas(&mut new, replicas);
        let whole = Target::new(target.resource.clone(), target.key.clone());
        self.check_expected(&whole, &new, old)?;
        self.admit_changed(user, &whole, &mut new, old)?;
        validate_changed(&whole, &new, old, ErrorList::default())?;
        self.review_final(&write, Some(&mut wanted)).await?;
        Ok(new)
    }
}

/// An object that says how many replicas there are to be, and nothing else.
fn replicas_alone(resource: &Resource, old: &Object, replicas: Option<i32>) -> Result<Value> {
    let mut part = json!({
        "apiVersion": resource.api_version(), "kind": resource.kind,
        "metadata": {"name": old.name()},
    });
    if resource.is_namespaced() {
        part["metadata"]["namespace"] = old.namespace().into();
    }
    let Some(replicas) = replicas else { return Ok(part) };
    if !resource.is_custom() {
        part["spec"]["replicas"] = replicas.into();
        return Ok(part);
    }
    let mut draft = Draft::from_value(resource.codec, part)?;
    resource.strategy.set_replicas(&mut draft, replicas);
    draft.to_value()
}

fn check(scale: &Scale) -> Result<()> {
    let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    if replicas >= 0 {
        return Ok(());
    }
    let mut errors = ErrorList::default();
    let spec = Path::root("spec");
    errors.invalid(&spec.child("replicas"), replicas, "must be greater than or equal to 0");
    let name = scale.metadata.name.as_deref().unwrap_or_default();
    Err(ApiError::invalid_kind("autoscaling", "Scale", name, &errors))
}
