use k8s_openapi::api::core::v1::Pod;
use pinnace_api::Typed;
use tokio::sync::{mpsc, oneshot};

use crate::decision::Explanation;
use crate::{Error, Result};

/// How many questions wait at most for the scheduler to have time.
const QUESTIONS: usize = 64;

/// Asks a running scheduler why it decides as it does. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Explainer(mpsc::Sender<Question>);

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
