use async_trait::async_trait;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use pinnace_controllers::ExtensionServers;

/// An annotation with why a server does not pass.
pub(crate) const BROKEN: &str = "test/broken";

/// Finds every server well, but for those that are said to be broken.
#[derive(Debug)]
pub(super) struct Servers;

#[async_trait]
impl ExtensionServers for Servers {
    async fn check(&self, service: &APIService) -> Result<(), String> {
        let annotations = service.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(BROKEN)).map_or(Ok(()), |why| Err(why.clone()))
    }
}
