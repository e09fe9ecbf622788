use async_trait::async_trait;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use pinnace_api::Catalog;
use pinnace_controllers::ExtensionServers;

use super::other_server::{Flunders, GROUP};

/// An annotation with why a server does not pass.
pub(crate) const BROKEN: &str = "test/broken";

/// Finds every server well, but for those that are said to be broken.
#[derive(Debug)]
pub(super) struct Servers(pub(super) Catalog);

#[async_trait]
impl ExtensionServers for Servers {
    async fn check(&self, service: &APIService) -> Result<(), String> {
        let annotations = service.metadata.annotations.as_ref();
        if let Some(why) = annotations.and_then(|all| all.get(BROKEN)) {
            return Err(why.clone());
        }
        if service.spec.as_ref().and_then(|spec| spec.group.as_deref()) == Some(GROUP) {
            Flunders::describe(&self.0);
        }
        Ok(())
    }

    fn knows(&self, name: &str) -> bool {
        let of = |group: &str, version: &str| name == format!("{version}.{group}");
        self.0.all().iter().any(|kind| kind.is_elsewhere() && of(&kind.group, &kind.version))
    }

    fn forget(&self, name: &str) {
        if let Some((version, group)) = name.split_once('.') {
            self.0.serve_elsewhere(group, version, Vec::new());
        }
    }
}
