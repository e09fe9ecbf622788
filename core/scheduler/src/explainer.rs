use k8s_openapi::api::core::v1::Pod;
use pinnace_api::Typed;
use pinnace_client::Informers;
use pinnace_env::Env;
use tokio::sync::{mpsc, oneshot};

use crate::decision::{Explanation, explain};
use crate::framework::{Handle, Profile};
use crate::pod::PodClasses;
use crate::sources::Sources;
use crate::{DEFAULT_SCHEDULER, Error, Result, SchedulerConfig};

/// How many questions wait at most for the scheduler to have time.
const QUESTIONS: usize = 64;

/// Asks a running scheduler why it decides as it does. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Explainer(mpsc::Sender<Question>);

/// What a scheduler of this configuration would decide about a pod in the cluster as the caches have
/// it, and why: for who has no scheduler that runs, or the cluster of another one. Waits until the
/// caches have been filled. Extenders are not asked.
///
/// # Errors
/// As [`Explainer::explain`], and when the configuration makes no sense.
pub async fn explain_pod(
    informers: &Informers,
    env: &Env,
    config: &SchedulerConfig,
    pod: Typed<Pod>,
) -> Result<Explanation> {
    let (profiles, _) = config.build(&Handle::new(informers, env))?;
    let sources = Sources::new(informers)?;
    sources.synced().await;
    let mut cluster = sources.cluster().await;
    let profile = profile_of(&profiles, &pod)?;
    let mut unplaced = pod.to_owned();
    let lifted = cluster.lift(pod.object().uid());
    if let Some(spec) = unplaced.spec.as_mut().filter(|_| lifted.is_some()) {
        spec.node_name = None;
    }
    let mut classes = PodClasses::default();
    let pod = classes.read(&mut cluster, profile, &Typed::new(unplaced));
    explain(&cluster, profile, &pod)
        .map_err(|refusal| Error::Undecided { message: refusal.to_string() })
}

/// The profile that is for a pod.
///
/// # Errors
/// [`Error::UnknownScheduler`] when none is.
pub(crate) fn profile_of<'a>(profiles: &'a [Profile], pod: &Pod) -> Result<&'a Profile> {
    let name = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.as_deref());
    let name = name.filter(|name| !name.is_empty()).unwrap_or(DEFAULT_SCHEDULER);
    let unknown = || Error::UnknownScheduler { scheduler_name: name.to_owned() };
    profiles.iter().find(|profile| profile.name() == name).ok_or_else(unknown)
}

/// A pod, and where the answer goes.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) pod: Typed<Pod>,
    pub(crate) answer: oneshot::Sender<Result<Explanation>>,
}

impl Explainer {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Question>) {
        let (sender, receiver) = mpsc::channel(QUESTIONS);
        (Self(sender), receiver)
    }

    /// What the scheduler would decide about a pod now, and why: for each node what every plugin
    /// says. The pod need not exist; one that has a node already is looked at as if it had none yet.
    ///
    /// # Errors
    /// [`Error::UnknownScheduler`] when no profile schedules it, [`Error::Undecided`] when a plugin
    /// cannot tell, [`Error::Stopped`] when the scheduler does not run any more.
    pub async fn explain(&self, pod: Typed<Pod>) -> Result<Explanation> {
        let (answer, answered) = oneshot::channel();
        self.0.send(Question { pod, answer }).await.map_err(|_| Error::Stopped)?;
        answered.await.map_err(|_| Error::Stopped)?
    }
}
