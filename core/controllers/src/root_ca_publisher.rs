//! The certificate by which the API is known, in every namespace.
//!
//! A namespace is made with it; the controller gives it back when it is lost or changed.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use pinnace_api::belongings::{CERTIFICATES, certificates, mend_certificates};
use pinnace_api::{Key, Result};
use pinnace_client::{Api, Lister};
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;
use crate::service_account::{lives, unless_late, with_lost};

/// The controller; none where there is no authority.
pub(crate) fn controller(context: &Context) -> Result<Option<Controller>> {
    let Some(authority) = &context.credentials.authority else { return Ok(None) };
    let namespaces = context.informers.of::<Namespace>()?;
    let maps = context.informers.of::<ConfigMap>()?;
    let reconciler = Publisher {
        namespaces: namespaces.clone(),
        maps: maps.clone(),
        api: context.client().of()?,
        pem: authority.certificate().into(),
    };
    let controller = Controller::new(reconciler, &context.env).watches(namespaces.informer());
    Ok(Some(with_lost(controller, maps.informer(), CERTIFICATES)))
}

struct Publisher {
    namespaces: Lister<Namespace>,
    maps: Lister<ConfigMap>,
    api: Api<ConfigMap>,
    pem: Arc<str>,
}

#[async_trait]
impl Reconciler for Publisher {
    fn name(&self) -> &str {
        "root-ca-certificate-publisher"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        if !lives(&self.namespaces, key) {
            return Ok(Action::Done);
        }
        let Some(map) = self.maps.get(&Key::new(key.name(), CERTIFICATES)) else {
            unless_late(self.api.create(certificates(key.name(), &self.pem)).await)?;
            return Ok(Action::Done);
        };
        let mut map = ConfigMap::clone(&map);
        if mend_certificates(&mut map, &self.pem) {
            self.api.update(map).await?;
        }
        Ok(Action::Done)
    }
}
