//! containerd's events: how this process learns what happens to its containers.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use containerd_client::events::{TaskExit, TaskOom, TaskStart};
use containerd_client::services::v1::{
    GetRequest, ListTasksRequest, PublishRequest, SubscribeRequest,
};
use containerd_client::tonic::{Code, Status, Streaming};
use containerd_client::types::Envelope;
use containerd_client::types::v1::{Process, Status as TaskStatus};
use jiff::Timestamp;
use prost::Message;
use prost_types::Any;
use tokio::sync::watch;

use super::Core;
use super::containers::Container;
use crate::{ContainerId, ContainerPhase, Result, RuntimeEvent};

/// The first pause before another attempt to reach containerd, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a subscription may take to show that it works.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause between two attempts to hear oneself.
const GREETING_PAUSE: Duration = Duration::from_millis(20);
/// How long a shim may take to repeat what it could not tell while containerd was away. It tries
/// after 1, 2, 3, 4 and 5 seconds.
const LATE_EXIT: Duration = Duration::from_secs(6);

/// A topic of our own, by which a new subscription shows that it has begun.
const GREETING_TOPIC: &str = "/pinnace/subscribed";

impl Core {
    /// Follows containerd's events until the end, across its restarts.
    pub(super) async fn follow(self: Arc<Self>, ready: watch::Sender<bool>) {
        let mut pause = FIRST_PAUSE;
        let mut late = Duration::ZERO;
        loop {
            match self.subscribe().await {
                Ok(stream) => match self.resynchronize(late).await {
                    Ok(()) => {
                        pause = FIRST_PAUSE;
                        if ready.send_replace(true) {
                            self.emit(RuntimeEvent::Recovered);
                        }
                        let status = self.listen(stream).await;
                        let error = self.connection.unavailable(&status);
                        tracing::warn!(%error, "containerd is lost");
                        self.emit(RuntimeEvent::Lost { message: error.to_string() });
                        late = LATE_EXIT;
                    }
                    Err(error) => tracing::debug!(%error, "containerd is not usable yet"),
                },
                Err(status) => {
                    tracing::debug!(message = status.message(), "containerd does not answer yet");
                }
            }
            tokio::time::sleep(self.env.random().jitter(pause, 0.2)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Subscribes and makes sure that the subscription has begun. containerd says nothing before
    /// the first event, so this publishes one and waits until it comes back.
    async fn subscribe(&self) -> Result<Streaming<Envelope>, Status> {
        let namespace = self.connection.namespace();
        let filters = vec![
            format!("namespace==\"{namespace}\",topic~=\"^/tasks/(start|exit|oom)$\""),
            format!("namespace==\"{namespace}\",topic==\"{GREETING_TOPIC}\""),
        ];
        let request = self.connection.stream_request(SubscribeRequest { filters });
        let mut events = self.connection.event_service();
        let subscribed = async {
            let mut stream = events.subscribe(request).await?.into_inner();
            stream.message().await?.ok_or_else(ended)?;
            Ok::<_, Status>(stream)
        };
        let greeted = async {
            tokio::select! {
                stream = subscribed => stream,
                status = self.greet() => Err(status),
            }
        };
        tokio::time::timeout(SUBSCRIBE_TIMEOUT, greeted)
            .await
            .unwrap_or_else(|_| Err(Status::unavailable("no event came back")))
    }

    /// Publishes until it fails or nobody waits any more.
    async fn greet(&self) -> Status {
        loop {
            let greeting = PublishRequest {
                topic: GREETING_TOPIC.into(),
                event: Some(Any {
                    type_url: "containerd.events.TaskOOM".into(),
                    value: TaskOom::default().encode_to_vec(),
                }),
            };
            let request = self.connection.request(greeting);
            if let Err(status) = self.connection.event_service().publish(request).await {
                return status;
            }
            tokio::time::sleep(GREETING_PAUSE).await;
        }
    }

    /// Handles events until the stream breaks, and says how it did.
    async fn listen(self: &Arc<Self>, mut stream: Streaming<Envelope>) -> Status {
        loop {
            match stream.message().await {
                Ok(Some(envelope)) => self.handle(&envelope).await,
                Ok(None) => return ended(),
                Err(status) => return status,
            }
        }
    }

    async fn handle(self: &Arc<Self>, envelope: &Envelope) {
        let value = envelope.event.as_ref().map_or(&[][..], |event| &event.value);
        let known = |id: String| self.table.container(&ContainerId(id));
        match envelope.topic.as_str() {
            "/tasks/start" => {
                let Ok(event) = TaskStart::decode(value) else { return };
                if let Some(container) = known(event.container_id) {
                    self.started(&container, event.pid).await;
                }
            }
            "/tasks/exit" => {
                let Ok(event) = TaskExit::decode(value) else { return };
                // Other processes of the container have ids of their own.
                if event.id != event.container_id {
                    return;
                }
                if let Some(container) = known(event.container_id) {
                    let finished_at = timestamp(event.exited_at).unwrap_or_else(|| self.env.now());
                    self.exited(&container, event.exit_status, finished_at).await;
                }
            }
            "/tasks/oom" => {
                let Ok(event) = TaskOom::decode(value) else { return };
                if let Some(container) = known(event.container_id) {
                    container.out_of_memory.store(true, Ordering::Relaxed);
                }
            }
            _ => {}
        }
    }

    /// Brings what this process believes in line with what containerd has: events may have been
    /// missed. How a container ended whose task is gone may still be told within `late`.
    async fn resynchronize(self: &Arc<Self>, late: Duration) -> Result<()> {
        let request = self.connection.request(ListTasksRequest::default());
        let tasks = self.connection.tasks().list(request).await;
        let tasks = tasks.map_err(|status| self.connection.error("list tasks", &status))?;
        let tasks: HashMap<String, Process> =
            tasks.into_inner().tasks.into_iter().map(|task| (task.id.clone(), task)).collect();
        for container in self.table.containers() {
            let task = tasks.get(&container.id.0);
            self.compare(&container, task, late).await?;
        }
        Ok(())
    }

    async fn compare(
        self: &Arc<Self>,
        container: &Arc<Container>,
        task: Option<&Process>,
        late: Duration,
    ) -> Result<()> {
        let phase = container.phase.borrow().clone();
        let status = task.map(Process::status);
        match (phase, status) {
            // It may have started after the list was made, so look again.
            (ContainerPhase::Running { .. }, None) if self.task(&container.id).await?.is_none() => {
                self.vanished_after(container, late).await;
            }
            (ContainerPhase::Exited(_), Some(TaskStatus::Stopped)) => {
                self.clean_up_later(container)
            }
            (_, Some(TaskStatus::Stopped)) => {
                let Some(task) = task else { return Ok(()) };
                let finished_at = timestamp(task.exited_at).unwrap_or_else(|| self.env.now());
                self.exited(container, task.exit_status, finished_at).await;
            }
            (ContainerPhase::Created, Some(TaskStatus::Running)) => {
                if let Some(task) = task {
                    self.started(container, task.pid).await;
                }
            }
            (ContainerPhase::Running { started_at, pid: 0 }, Some(TaskStatus::Running)) => {
                let pid = task.map_or(0, |task| task.pid);
                container.phase.send_replace(ContainerPhase::Running { started_at, pid });
            }
            _ => {}
        }
        Ok(())
    }

    /// Gives a container up whose task is gone. Since 1.7 containerd deletes tasks that ended while
    /// it was away, and how they did is known from their shim alone.
    async fn vanished_after(self: &Arc<Self>, container: &Arc<Container>, late: Duration) {
        if late.is_zero() {
            return self.vanished(container).await;
        }
        let (core, container) = (self.clone(), container.clone());
        self.tasks.spawn(async move {
            let mut phase = container.phase.subscribe();
            let told = phase.wait_for(|phase| matches!(phase, ContainerPhase::Exited(_)));
            let told = tokio::time::timeout(late, told).await.is_ok();
            if !told {
                core.vanished(&container).await;
            }
        });
    }

    async fn task(&self, id: &ContainerId) -> Result<Option<Process>> {
        let request = GetRequest { container_id: id.0.clone(), exec_id: String::new() };
        match self.connection.tasks().get(self.connection.request(request)).await {
            Ok(answer) => Ok(answer.into_inner().process),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(self.connection.error("look for a task", &status)),
        }
    }
}

fn ended() -> Status {
    Status::unavailable("the event stream ended")
}

/// A moment as containerd writes it.
pub(super) fn timestamp(moment: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    let moment = moment?;
    Timestamp::new(moment.seconds, moment.nanos).ok().filter(|moment| moment.as_second() > 0)
}
