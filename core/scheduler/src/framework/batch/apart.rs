use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use pinnace_api::Typed;

use super::{BatchNodes, BatchPlugin};
use crate::framework::{Answer, Refusal};

/// A plugin on a thread of its own, which ends with the plugin.
pub(super) struct Apart {
    name: String,
    limit: Duration,
    line: Mutex<Line>,
}

struct Line {
    /// `None` where there is no thread, or no longer.
    questions: Option<SyncSender<(Typed<Pod>, BatchNodes)>>,
    answers: Receiver<Answer<Vec<f64>>>,
    /// Whether an answer is due that nobody waits for any more.
    late: bool,
    thread: Option<JoinHandle<()>>,
}

impl Apart {
    pub(super) fn new(plugin: Arc<impl BatchPlugin>, limit: Duration) -> Self {
        let name = plugin.name().to_owned();
        let (questions, asked) = sync_channel::<(Typed<Pod>, BatchNodes)>(1);
        let (answer, answers) = sync_channel(1);
        let thread = std::thread::Builder::new().name(format!("plugin {name}"));
        let started = thread.spawn(move || {
            for (pod, nodes) in asked {
                if answer.send(judge(&*plugin, &pod, &nodes)).is_err() {
                    return;
                }
            }
        });
        let thread = started.inspect_err(|error| {
            tracing::error!(plugin = name, %error, "no thread for a plugin");
        });
        let thread = thread.ok();
        let questions = thread.is_some().then_some(questions);
        Self { name, limit, line: Mutex::new(Line { questions, answers, late: false, thread }) }
    }

    pub(super) fn ask(&self, pod: Typed<Pod>, nodes: BatchNodes) -> Answer<Vec<f64>> {
        let line = &mut *self.line.lock();
        if line.late && line.answers.try_recv().is_err() {
            return Err(self.says_nothing());
        }
        line.late = false;
        let sent = line.questions.as_ref().is_some_and(|line| line.send((pod, nodes)).is_ok());
        if !sent {
            return Err(Refusal::Error(format!("plugin {:?} has no thread", self.name)));
        }
        match line.answers.recv_timeout(self.limit) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => {
                line.late = true;
                Err(self.says_nothing())
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(Refusal::Error(format!("the thread of plugin {:?} has ended", self.name)))
            }
        }
    }

    fn says_nothing(&self) -> Refusal {
        let limit = self.limit;
        Refusal::Error(format!("plugin {:?} has not answered within {limit:?}", self.name))
    }
}

impl Drop for Apart {
    /// Waits for the thread, unless it is one that does not answer.
    fn drop(&mut self) {
        let line = self.line.get_mut();
        line.questions = None;
        if let Some(thread) = line.thread.take().filter(|_| !line.late) {
            // It catches what it runs, so it has not panicked.
            let _ = thread.join();
        }
    }
}

fn judge(plugin: &impl BatchPlugin, pod: &Pod, nodes: &BatchNodes) -> Answer<Vec<f64>> {
    let mut scores = vec![0.0; nodes.len()];
    let judged = catch_unwind(AssertUnwindSafe(|| plugin.judge(pod, nodes, &mut scores)));
    match judged {
        Ok(answer) => answer.map(|()| scores),
        Err(_) => Err(Refusal::Error(format!("plugin {:?} panicked", plugin.name()))),
    }
}
