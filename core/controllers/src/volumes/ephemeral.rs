//! Volumes that live as long as their pod: a claim is made for each.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimTemplate, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::{Key, Object, Result, Typed, volumes};
use pinnace_client::{Api, EventType, Lister, Recorder};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;
use crate::claim::controller_reference;

/// The controller.
pub(super) fn controller(context: &Context) -> Result<Controller> {
    let pods = context.informers.of::<Pod>()?;
    let claims = context.informers.of::<PersistentVolumeClaim>()?;
    let reconciler = Ephemeral {
        pods: pods.clone(),
        claims: claims.clone(),
        api: context.client().of()?,
        recorder: context.recorder.component("ephemeral_volume"),
    };
    Ok(Controller::new(reconciler, &context.env)
        .maps(pods.informer(), |delta, queue| {
            if delta.old.is_none()
                && let Some(pod) = delta.new.as_ref().filter(|pod| has_any(pod))
            {
                queue.add(pod.key());
            }
        })
        .maps(claims.informer(), |delta, queue| {
            // One that somebody deletes is made anew.
            if let (Some(old), None) = (&delta.old, &delta.new)
                && let Some(owner) = old.controller().filter(|owner| owner.kind == "Pod")
            {
                queue.add(Key::new(old.namespace(), owner.name.as_str()));
            }
        }))
}

fn has_any(pod: &Object) -> bool {
    pod.get::<Pod>().is_ok_and(|pod| volumes::claims_of(pod).any(|(_, made)| made))
}

struct Ephemeral {
    pods: Lister<Pod>,
    claims: Lister<PersistentVolumeClaim>,
    api: Api<PersistentVolumeClaim>,
    recorder: Recorder,
}

#[async_trait]
impl Reconciler for Ephemeral {
    fn name(&self) -> &str {
        "ephemeral-volume"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let pod = self.pods.get(key).filter(|pod| !pod.object().is_deleting());
        let Some(pod) = pod else { return Ok(Action::Done) };
        let specs = pod.spec.as_ref().and_then(|spec| spec.volumes.clone()).unwrap_or_default();
        let mut failure = None;
        for volume in &specs {
            let source = volume.ephemeral.as_ref();
            let template = source.and_then(|source| source.volume_claim_template.as_ref());
            let (Some(template), Some((name, _))) = (template, volumes::claim_of(&pod, volume))
            else {
                continue;
            };
            if let Err(why) = self.make(&pod, &name, template).await {
                let message = format!("ephemeral volume {}: {why}", volume.name);
                self.recorder.record(pod.object(), EventType::Warning, "FailedBinding", message);
                failure = Some(why);
            }
        }
        failure.map_or(Ok(Action::Done), |why| Err(why.into()))
    }
}

impl Ephemeral {
    async fn make(
        &self,
        pod: &Typed<Pod>,
        name: &str,
        template: &PersistentVolumeClaimTemplate,
    ) -> std::result::Result<(), String> {
        let namespace = pod.object().namespace();
        if let Some(there) = self.claims.get(&Key::new(namespace, name)) {
            if volumes::is_made_for(&there, pod) {
                return Ok(());
            }
            return Err(format!(
                "PVC {namespace}/{name} was not created for pod {namespace}/{} (pod is not owner)",
                pod.object().name()
            ));
        }
        let meta = template.metadata.clone().unwrap_or_default();
        let claim = PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some(namespace.to_owned()),
                labels: meta.labels,
                annotations: meta.annotations,
                owner_references: Some(vec![controller_reference("v1", "Pod", &pod.metadata)]),
                ..ObjectMeta::default()
            },
            spec: Some(template.spec.clone()),
            status: None,
        };
        match self.api.create(claim).await {
            Ok(_) => Ok(()),
            // The cache is behind, or the namespace goes.
            Err(error) if error.is_already_exists() => Ok(()),
            Err(error) => Err(format!("create PVC {name}: {error}")),
        }
    }
}
