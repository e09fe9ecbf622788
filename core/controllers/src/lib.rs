//! The built-in controllers, a file or folder each.
//!
//! Each is a [`Reconciler`](pinnace_reconcile::Reconciler): it reads from shared caches, writes
//! through the client, and knows no other controller. What upstream does with counted
//! *expectations* is done here by waiting: after a write a controller remembers the revision, and
//! before the next look at the same key it waits until its cache has seen it.

mod api_registration;
mod api_services;
mod bootstrap_signer;
mod certificate_signing;
mod claim;
mod clusterrole_aggregation;
mod condition;
mod context;
mod custom_resources;
mod daemon_set;
mod deployment;
mod disruption;
mod endpoints;
mod garbage_collector;
mod history;
mod job;
mod labelled;
mod namespace;
mod node_lifecycle;
mod node_ttl;
mod pod_control;
mod pod_gc;
mod pod_ranges;
mod pods;
mod policy_status;
mod replicaset;
mod resource_claims;
mod resource_quota;
mod root_ca_publisher;
mod service_account;
mod service_ranges;
mod stale_disruption;
mod stateful_set;
mod taint_eviction;
mod taints;
mod template_hash;
mod token_cleaner;
mod volumes;
mod written;

pub use context::{
    CertificateAuthority, CertificateRequest, Context, Credentials, ExtensionServers, SecretTokens,
};
pub use custom_resources::restore as restore_custom_kinds;
use garbage_collector::GarbageCollector;
use pinnace_reconcile::Controller;
pub use pod_ranges::POD_RANGE_WANTED;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
pub use volumes::{DEFAULT_CLASS, LOCAL_PATH, default_storage_class};

/// Every built-in controller, ready to run.
#[derive(Debug)]
pub struct Controllers {
    controllers: Vec<Controller>,
    garbage_collector: GarbageCollector,
}

impl Controllers {
    /// The controllers over shared informers.
    ///
    /// # Errors
    /// `NotFound` when the API does not serve a kind that a controller needs.
    pub fn new(context: &Context) -> pinnace_api::Result<Self> {
        let mut controllers = vec![
            deployment::controller(context)?,
            replicaset::controller(context)?,
            replicaset::replication_controller(context)?,
            daemon_set::controller(context)?,
            stateful_set::controller(context)?,
            namespace::controller(context)?,
            node_lifecycle::controller(context)?,
            taint_eviction::controller(context)?,
            pod_gc::controller(context)?,
            disruption::controller(context)?,
            stale_disruption::controller(context)?,
            endpoints::controller(context)?,
            endpoints::mirroring_controller(context)?,
            node_ttl::controller(context)?,
            pod_ranges::controller(context)?,
            service_ranges::controller(context)?,
            custom_resources::controller(context)?,
            job::controller(context)?,
            job::cron_controller(context)?,
            job::ttl_controller(context)?,
            service_account::controller(context)?,
            resource_quota::controller(context)?,
            bootstrap_signer::controller(context)?,
            token_cleaner::controller(context)?,
        ];
        controllers.extend(clusterrole_aggregation::controller(context)?);
        controllers.extend(api_services::controller(context)?);
        controllers.extend(api_registration::controller(context)?);
        controllers.extend(policy_status::controller(context)?);
        controllers.extend(root_ca_publisher::controller(context)?);
        controllers.extend(service_account::tokens(context)?);
        controllers.extend(certificate_signing::controllers(context)?);
        controllers.extend(volumes::controllers(context)?);
        controllers.extend(resource_claims::controllers(context)?);
        Ok(Self { controllers, garbage_collector: GarbageCollector::new(context)? })
    }

    /// Runs them until stopped, and waits until all have ended.
    pub async fn run(self, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        for controller in self.controllers {
            tasks.spawn(controller.run(stop.clone()));
        }
        tasks.spawn(self.garbage_collector.run(stop));
        tasks.close();
        tasks.wait().await;
    }
}
