use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_client::Api;
use pinnace_env::Env;
use tokio::task::JoinSet;

use crate::framework::Nomination;
use crate::pod::PodInfo;

/// How many conditions are written at once.
const WRITES_AT_ONCE: usize = 16;

/// Why a pod was not scheduled, for its condition `PodScheduled`.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) pod: Arc<PodInfo>,
    /// Reason and message of the condition; `None` leaves it alone.
    pub(crate) condition: Option<(&'static str, String)>,
    pub(crate) nomination: Nomination,
}

impl Report {
    /// Brings a pod's status up to date; `false` when it says all that already, or when the pod is
    /// another one or has a node by now.
    fn apply(&self, pod: &mut Pod, now: Time) -> bool {
        let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        if bound || pod.metadata.uid.as_deref() != Some(self.pod.uid()) {
            return false;
        }
        let generation = pod.metadata.generation;
        let status = pod.status.get_or_insert_default();
        let nominated = match &self.nomination {
            Nomination::Keep => status.nominated_node_name.clone(),
            Nomination::Clear => None,
            Nomination::To(node) => Some(node.clone()),
        };
        let renominated = status.nominated_node_name != nominated;
        status.nominated_node_name = nominated;
        let Some((reason, message)) = &self.condition else { return renominated };
        let conditions = status.conditions.get_or_insert_default();
        let known = conditions.iter_mut().find(|one| one.type_ == "PodScheduled");
        let same_status = known.as_ref().is_some_and(|one| one.status == "False");
        let condition = PodCondition {
            type_: "PodScheduled".to_owned(),
            status: "False".to_owned(),
            reason: Some((*reason).to_owned()),
            message: Some(message.clone()),
            observed_generation: generation,
            last_transition_time: match &known {
                Some(known) if same_status => known.last_transition_time.clone(),
                _ => Some(now),
            },
            last_probe_time: None,
        };
        match known {
            Some(known) if *known == condition => return renominated,
            Some(known) => *known = condition,
            None => conditions.push(condition),
        }
        true
    }

    /// Whether the pod as it was last seen says all that already.
    fn is_known(&self) -> bool {
        let mut pod = self.pod.pod().to_owned();
        !self.apply(&mut pod, Time(jiff::Timestamp::UNIX_EPOCH))
    }
}

/// Writes conditions in the background: a few at once, of each pod the newest, one after another.
pub(crate) struct Reports {
    api: Api<Pod>,
    env: Env,
    waiting: HashMap<Arc<str>, Report>,
    order: VecDeque<Arc<str>>,
    writing: HashSet<Arc<str>>,
    writes: JoinSet<Arc<str>>,
}

impl Reports {
    pub(crate) fn new(api: Api<Pod>, env: Env) -> Self {
        Self {
            api,
            env,
            waiting: HashMap::new(),
            order: VecDeque::new(),
            writing: HashSet::new(),
            writes: JoinSet::new(),
        }
    }

    pub(crate) fn add(&mut self, report: Report) {
        let uid = report.pod.uid().clone();
        if report.is_known() && !self.waiting.contains_key(&uid) && !self.writing.contains(&uid) {
            return;
        }
        if self.waiting.insert(uid.clone(), report).is_none() && !self.writing.contains(&uid) {
            self.order.push_back(uid);
        }
        self.start();
    }

    /// Forgets what has not been written about a pod yet.
    pub(crate) fn drop_pod(&mut self, uid: &str) {
        self.waiting.remove(uid);
    }

    /// Waits until a write has ended; never when there is none.
    pub(crate) async fn ended(&mut self) {
        match self.writes.join_next().await {
            None => std::future::pending().await,
            Some(Ok(uid)) => {
                self.writing.remove(&uid);
                if self.waiting.contains_key(&uid) {
                    self.order.push_back(uid);
                }
                self.start();
            }
            Some(Err(error)) => {
                tracing::error!(%error, "the write of a pod's condition did not end");
                if self.writes.is_empty() {
                    self.writing.clear();
                }
            }
        }
    }

    /// Waits for what is being written and gives the rest up.
    pub(crate) async fn finish(&mut self) {
        self.waiting.clear();
        while self.writes.join_next().await.is_some() {}
    }

    /// Gives everything up.
    pub(crate) async fn abort(&mut self) {
        self.waiting.clear();
        self.writes.shutdown().await;
    }

    fn start(&mut self) {
        while self.writes.len() < WRITES_AT_ONCE {
            let Some(uid) = self.order.pop_front() else { return };
            let Some(report) = self.waiting.remove(&uid) else { continue };
            self.writing.insert(uid.clone());
            let (api, env) = (self.api.clone(), self.env.clone());
            self.writes.spawn(async move {
                write(&api, &env, &report).await;
                uid
            });
        }
    }
}

async fn write(api: &Api<Pod>, env: &Env, report: &Report) {
    let key = report.pod.key();
    let now = || Time(env.clock().now_seconds());
    match api.modify_status(key, |pod| report.apply(pod, now())).await {
        Ok(_) => {}
        Err(error) if error.is_not_found() => {}
        Err(error) => tracing::warn!(pod = %key, %error, "cannot write why a pod is not scheduled"),
    }
}
