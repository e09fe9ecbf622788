use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Binding, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_client::Api;

use crate::Result;
use crate::framework::{Answer, Bind, Bound, CycleState, Events, Handle, Plugin, Refusal};
use crate::pod::PodInfo;

/// Binds pods through the `binding` subresource.
#[derive(Clone, Debug)]
pub struct DefaultBinder {
    pods: Api<Pod>,
}

impl DefaultBinder {
    /// The plugin's name.
    pub const NAME: &'static str = "DefaultBinder";

    /// A binder that writes through the client of a scheduler.
    ///
    /// # Errors
    /// When the API does not serve pods.
    pub fn new(handle: &Handle) -> Result<Self> {
        Ok(Self { pods: handle.client().of()? })
    }
}

impl Plugin for DefaultBinder {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn events(&self) -> Events {
        Events::NONE
    }

    fn as_bind(&self) -> Option<&dyn Bind> {
        Some(self)
    }
}

#[async_trait]
impl Bind for DefaultBinder {
    async fn bind(&self, pod: &PodInfo, node: &str, _: &CycleState) -> Answer<Bound> {
        let binding = Binding {
            metadata: ObjectMeta {
                namespace: Some(pod.key().namespace().to_owned()),
                name: Some(pod.key().name().to_owned()),
                uid: Some(pod.uid().to_string()),
                ..Default::default()
            },
            target: ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..Default::default()
            },
        };
        match self.pods.bind(pod.key(), binding).await {
            Ok(_) => Ok(Bound::Done),
            Err(error) => Err(Refusal::error(error)),
        }
    }
}
