//! Namespace lifecycle: a namespace that is deleted goes when all that it holds is gone.

mod conditions;
mod content;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::APIService;
use pinnace_api::{Catalog, Key, Resource, Result, Typed};
use pinnace_client::{Api, Informers, Lister};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Queue, Reconciler};

use crate::Context;
use crate::context::ExtensionServers;
use conditions::Findings;
use content::Waiting;

/// The finalizer that this controller answers for.
const FINALIZER: &str = "kubernetes";

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let namespaces = context.informers.of::<Namespace>()?;
    let catalog = context.client().catalog();
    let reconciler = Arc::new(Namespaces {
        namespaces: namespaces.clone(),
        api: context.client().of()?,
        informers: context.informers.clone(),
        pods: catalog.of::<Pod>()?,
        env: context.env.clone(),
        servers: context.servers.clone(),
        services: context.informers.of::<APIService>().ok(),
        waiting: Waiting::default(),
        queue: OnceLock::new(),
    });
    let mut controller = Controller::shared(reconciler.clone(), &context.env);
    if let Some(services) = &reconciler.services {
        // What holds namespaces up may be a server that is away.
        let all = namespaces.clone();
        controller = controller.maps(services.informer(), move |_, queue| {
            let going = all.list(None).into_iter().filter(|one| one.object().is_deleting());
            going.for_each(|namespace| queue.add(namespace.object().key()));
        });
    }
    let _ = reconciler.queue.set(controller.queue().clone());
    Ok(controller.maps(namespaces.informer(), |delta, queue| {
        if let Some(namespace) = delta.new.as_ref().filter(|namespace| namespace.is_deleting()) {
            queue.add(namespace.key());
        }
    }))
}

struct Namespaces {
    namespaces: Lister<Namespace>,
    api: Api<Namespace>,
    informers: Informers,
    pods: Arc<Resource>,
    env: Env,
    /// Who knows what other servers have, and the objects that name these.
    servers: Option<Arc<dyn ExtensionServers>>,
    services: Option<Lister<APIService>>,
    waiting: Waiting,
    /// Where the deletion of content brings its namespace back.
    queue: OnceLock<Queue>,
}

#[async_trait]
impl Reconciler for Namespaces {
    fn name(&self) -> &str {
        "namespace"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let namespace = self.namespaces.get(key).filter(|found| found.object().is_deleting());
        let Some(namespace) = namespace.filter(|found| finalizers(found).any(|f| f == FINALIZER))
        else {
            self.waiting.remove(key.name());
            return Ok(Action::Done);
        };
        if let Some(queue) = self.queue.get() {
            self.waiting.watch(key.name(), &self.kinds(), &self.informers, queue);
        }
        let findings = self.clear(&namespace).await;
        if !self.write_status(&namespace, &findings).await? {
            return Ok(Action::Done);
        }
        if let Some((_, why)) = findings.discovery() {
            return Err(why.into());
        }
        if !findings.errors.is_empty() {
            return Err(findings.errors.join(", ").into());
        }
        if !findings.remaining.is_empty() {
            // What goes brings the namespace back; this is for a deletion that nobody told of.
            let wait = Duration::from_secs(findings.estimate / 2 + 1);
            return Ok(Action::RequeueAfter(wait));
        }
        self.finalize(&namespace).await?;
        self.waiting.remove(key.name());
        Ok(Action::Done)
    }
}

fn finalizers(namespace: &Namespace) -> impl Iterator<Item = &str> {
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_ref());
    finalizers.into_iter().flatten().map(String::as_str)
}

impl Namespaces {
    fn catalog(&self) -> &Catalog {
        self.informers.client().catalog()
    }

    /// The kinds that a namespace may hold, each in one version.
    fn kinds(&self) -> Vec<Arc<Resource>> {
        let catalog = self.catalog();
        let preferred = |kind: &Arc<Resource>| {
            catalog.by_name(kind.name()).is_some_and(|preferred| Arc::ptr_eq(&preferred, kind))
        };
        let deletable = |kind: &Arc<Resource>| {
            kind.is_namespaced()
                // What is another kind's too goes with that.
                && kind.table() == kind.name()
                && ["list", "delete"].iter().all(|verb| kind.verbs.0.contains(verb))
        };
        catalog.all().into_iter().filter(|kind| deletable(kind) && preferred(kind)).collect()
    }

    /// The versions of groups that other servers serve that are away: a namespace may hold objects of
    /// theirs.
    fn undiscovered(&self) -> Vec<String> {
        let (Some(servers), Some(services)) = (&self.servers, &self.services) else {
            return Vec::new();
        };
        let is_away = |service: &APIService| {
            let conditions = service.status.iter().flat_map(|status| status.conditions.iter());
            let mut conditions = conditions.flatten();
            let is = conditions.any(|one| one.type_ == "Available" && one.status == "True");
            !is || !servers.knows(service.metadata.name.as_deref().unwrap_or_default())
        };
        let version = |service: Typed<APIService>| {
            let spec = service.spec.as_ref().filter(|spec| spec.service.is_some())?;
            let (group, version) = (spec.group.as_deref()?, spec.version.as_deref()?);
            is_away(&service).then(|| format!("{group}/{version}"))
        };
        let mut found: Vec<_> = services.list(None).into_iter().filter_map(version).collect();
        found.sort();
        found
    }

    /// Deletes what the namespace holds: pods first, and all else only when no pod is left that
    /// may need it.
    async fn clear(&self, namespace: &Namespace) -> Findings {
        let mut findings = Findings { undiscovered: self.undiscovered(), ..Findings::default() };
        self.clear_kind(&self.pods, namespace, &mut findings).await;
        if findings.remaining.is_empty() && findings.errors.is_empty() {
            for kind in self.kinds() {
                let of = format!("{}/{}", kind.group, kind.version);
                let is_away = kind.is_elsewhere() && findings.undiscovered.contains(&of);
                if kind.name() != self.pods.name() && !is_away {
                    self.clear_kind(&kind, namespace, &mut findings).await;
                }
            }
        }
        findings
    }

    /// Writes what was found into the conditions. Says whether the namespace is still there.
    async fn write_status(&self, namespace: &Typed<Namespace>, found: &Findings) -> Result<bool> {
        let now = self.env.clock().now_seconds();
        let uid = namespace.object().uid();
        let key = namespace.object().key();
        let written = self.api.modify_status(&key, |namespace| {
            if namespace.metadata.uid.as_deref() != Some(uid) {
                return false;
            }
            let status = namespace.status.get_or_insert_default();
            let terminating = status.phase.as_deref() == Some("Terminating");
            status.phase = Some("Terminating".to_owned());
            let changed = found.write(&mut status.conditions, now);
            changed || !terminating
        });
        match written.await {
            Ok(written) => Ok(written.object().uid() == uid),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn finalize(&self, namespace: &Typed<Namespace>) -> Result<()> {
        let uid = namespace.object().uid();
        let key = namespace.object().key();
        let finalized = self.api.finalize(&key, |namespace| {
            let held = finalizers(namespace).any(|finalizer| finalizer == FINALIZER);
            if let Some(spec) = &mut namespace.spec {
                spec.finalizers.get_or_insert_default().retain(|one| one != FINALIZER);
            }
            held && namespace.metadata.uid.as_deref() == Some(uid)
        });
        match finalized.await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}
