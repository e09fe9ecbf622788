use k8s_openapi::api::core::v1::Pod;
use pinnace_api::{Key, Typed};
use pinnace_scheduler::Explanation;

use crate::{Engine, Error, Result};

impl Engine {
    /// Why a pod is where it is, or nowhere: what every plugin of the scheduler says about every
    /// node now, and what would have to change. `pod` is a name in the handle's namespace.
    ///
    /// # Errors
    /// `NotFound`; [`Error::Scheduler`] when no profile of the scheduler is for the pod.
    pub async fn explain(&self, pod: &str) -> Result<Explanation> {
        self.check_open()?;
        let pod = self.client().of::<Pod>()?.get(&Key::new(self.namespace(), pod)).await?;
        self.explain_pod(pod).await
    }

    /// The same for a pod that need not exist: what would become of it.
    ///
    /// # Errors
    /// [`Error::Scheduler`] when no profile of the scheduler is for the pod.
    pub async fn explain_what_if(&self, mut pod: Pod) -> Result<Explanation> {
        self.check_open()?;
        pod.metadata.namespace.get_or_insert_with(|| self.namespace().to_owned());
        self.explain_pod(Typed::new(pod)).await
    }

    async fn explain_pod(&self, pod: Typed<Pod>) -> Result<Explanation> {
        let explainer = self.parts().explainer.get().ok_or(Error::Closed)?;
        explainer.explain(pod).await.map_err(|error| Error::Scheduler(error.to_string()))
    }
}
