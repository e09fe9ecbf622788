use k8s_openapi::api::scheduling::v1::PriorityClass;
use pinnace_api::Key;
use pinnace_client::{Delta, Informer, Informers, Lister};

use crate::Result;
use crate::cluster::Cluster;
use crate::inbox::Watched;
use crate::scheduler::watched;
use crate::scheduling::{is_assigned, live_pod, note};

/// After how many objects other tasks get their turn.
const YIELD_EVERY: usize = 512;

/// The caches that a cluster is read from by who does not follow it.
pub(crate) struct Sources {
    watched: Vec<(Watched, Informer)>,
    classes: Option<Lister<PriorityClass>>,
}

impl Sources {
    pub(crate) fn new(informers: &Informers) -> Result<Self> {
        Ok(Self { watched: watched(informers)?, classes: informers.of().ok() })
    }

    pub(crate) async fn synced(&self) {
        let classes = self.classes.iter().map(Lister::informer);
        for informer in self.watched.iter().map(|(_, informer)| informer).chain(classes) {
            informer.synced().await;
        }
    }

    /// The value of a priority class.
    pub(crate) fn priority(&self, class: &str) -> Option<i32> {
        self.classes.as_ref()?.get(&Key::cluster(class))?.value
    }

    /// The cluster as the caches have it: nodes, pods on them, and what judgements depend on.
    pub(crate) async fn cluster(&self) -> Cluster {
        let mut cluster = Cluster::new();
        let mut seen = 0;
        for (kind, informer) in &self.watched {
            if matches!(kind, Watched::Storage(_)) {
                continue;
            }
            for object in informer.list(None) {
                match kind {
                    Watched::Node => {
                        if let Ok(node) = object.typed() {
                            cluster.set_node(&node);
                        }
                    }
                    Watched::Pod => {
                        if let Some(pod) = live_pod(object).filter(|pod| is_assigned(pod)) {
                            cluster.set_pod(&pod);
                        }
                    }
                    other => note(&mut cluster, *other, &Delta { old: None, new: Some(object) }),
                }
                seen += 1;
                if seen % YIELD_EVERY == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
        cluster
    }
}
