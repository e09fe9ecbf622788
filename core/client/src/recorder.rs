use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use pinnace_api::{Key, Object};
use pinnace_env::Env;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Api, Client};

/// How many events may wait to be written; beyond that new ones are dropped.
const QUEUE: usize = 16_384;
/// How long an event waits for more: what it tells of goes first, for a thousand pods that start
/// are three thousand events.
const PATIENCE: Duration = Duration::from_millis(100);
/// How many different events are remembered for grouping; the memory starts anew beyond that.
const REMEMBERED: usize = 4096;
/// Similar events within [`GROUPING_WINDOW`] before they are combined into one.
const GROUPING_AFTER: usize = 10;
const GROUPING_WINDOW: Duration = Duration::from_secs(600);
/// Events that one source may record of one object at once, and how often one more is allowed.
const BURST: f64 = 25.0;
const REFILL_PER_SECOND: f64 = 1.0 / 300.0;
/// Longest message, in bytes, as the API accepts it.
const MAX_MESSAGE: usize = 1024;

/// The type of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// Things go as they should.
    Normal,
    /// Something to look at.
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Records Kubernetes Events about objects: in the background, repeated ones counted, similar ones
/// combined, and those of a noisy object limited, by the same rules as upstream. Recording never
/// waits and never fails its caller. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    component: Arc<str>,
    host: Arc<str>,
    env: Env,
    queue: mpsc::Sender<Recorded>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct Recorded {
    about: ObjectReference,
    source: EventSource,
    kind: EventType,
    reason: String,
    message: String,
    at: Timestamp,
}

impl Recorder {
    /// A recorder that writes through `client` for a component such as `deployment-controller`.
    ///
    /// # Errors
    /// `NotFound` when the API does not serve Events.
    pub fn new(client: &Client, env: &Env, component: &str) -> pinnace_api::Result<Self> {
        let (queue, receiver) = mpsc::channel(QUEUE);
        let writer = Writer {
            api: client.of::<Event>()?,
            env: env.clone(),
            known: HashMap::default(),
            groups: HashMap::default(),
            limits: HashMap::default(),
        };
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(writer.run(receiver, stop.clone()));
        Ok(Self {
            component: component.into(),
            host: "".into(),
            env: env.clone(),
            queue,
            stop,
            tasks,
        })
    }

    /// The same queue and limits, for another component.
    pub fn component(&self, component: &str) -> Self {
        Self { component: component.into(), ..self.clone() }
    }

    /// The same, for a component on a node.
    pub fn on_host(&self, component: &str, host: &str) -> Self {
        Self { component: component.into(), host: host.into(), ..self.clone() }
    }

    /// Records that something happened to an object.
    pub fn record(
        &self,
        about: &Object,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        self.record_at(about, None, kind, reason, message);
    }

    /// Records that something happened to a part of an object, such as
    /// `spec.containers{web}`.
    pub fn record_at(
        &self,
        about: &Object,
        field_path: Option<String>,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let about = ObjectReference {
            api_version: about.api_version().ok().map(str::to_owned),
            kind: about.kind().ok().map(str::to_owned),
            namespace: Some(about.namespace().to_owned()).filter(|namespace| !namespace.is_empty()),
            name: Some(about.name().to_owned()),
            uid: Some(about.uid().to_owned()),
            resource_version: about.meta().resource_version.clone(),
            field_path,
        };
        let mut message = message.into();
        if message.len() > MAX_MESSAGE {
            let end = (0..=MAX_MESSAGE).rev().find(|end| message.is_char_boundary(*end));
            message.truncate(end.unwrap_or(0));
        }
        let recorded = Recorded {
            about,
            source: EventSource {
                component: Some(self.component.to_string()),
                host: Some(self.host.to_string()).filter(|host| !host.is_empty()),
            },
            kind,
            reason: reason.to_owned(),
            message,
            at: self.env.clock().now_seconds(),
        };
        if self.queue.try_send(recorded).is_err() {
            tracing::debug!(component = %self.component, reason, "event dropped: queue is full");
        }
    }

    /// Writes what is waiting, then stops. What is recorded later is dropped.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorder({})", self.component)
    }
}

/// Source and object: what limits count by.
type Origin = (String, String, String);
/// And what was said: reason, type, message.
type Said = (Origin, String, EventType, String);

struct Writer {
    api: Api<Event>,
    env: Env,
    known: HashMap<Said, Key, ahash::RandomState>,
    groups: HashMap<(Origin, String, EventType), Group, ahash::RandomState>,
    limits: HashMap<Origin, (f64, Timestamp), ahash::RandomState>,
}

struct Group {
    messages: HashSet<String>,
    last: Timestamp,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Recorded>, stop: CancellationToken) {
        while let Some(Some(recorded)) = stop.run_until_cancelled(queue.recv()).await {
            stop.run_until_cancelled(tokio::time::sleep(PATIENCE)).await;
            self.write(recorded).await;
            while let Ok(recorded) = queue.try_recv() {
                self.write(recorded).await;
                // Writes within the process never wait, and others want their turn.
                tokio::task::consume_budget().await;
            }
        }
        queue.close();
        while let Ok(recorded) = queue.try_recv() {
            self.write(recorded).await;
        }
    }

    async fn write(&mut self, mut recorded: Recorded) {
        let origin: Origin = (
            recorded.source.component.clone().unwrap_or_default(),
            recorded.about.uid.clone().unwrap_or_default(),
            recorded.about.field_path.clone().unwrap_or_default(),
        );
        if !self.allowed(&origin, recorded.at) {
            return;
        }
        let combined = self.combine(&origin, &recorded);
        let said = if combined {
            recorded.message = format!("(combined from similar events): {}", recorded.message);
            (origin, recorded.reason.clone(), recorded.kind, String::new())
        } else {
            (origin, recorded.reason.clone(), recorded.kind, recorded.message.clone())
        };
        if let Some(key) = self.known.get(&said) {
            let at = Time(recorded.at);
            let message = recorded.message.clone();
            let counted = self.api.modify(key, |event| {
                event.count = Some(event.count.unwrap_or(1).saturating_add(1));
                event.last_timestamp = Some(at.clone());
                event.message = Some(message.clone());
                true
            });
            match counted.await {
                Ok(_) => return,
                // It has expired or was deleted: record it as new.
                Err(error) if error.is_not_found() => {}
                Err(error) => return tracing::debug!(%error, "event not counted"),
            }
        }
        let event = new_event(&self.env, recorded);
        match self.api.create(event).await {
            Ok(event) => {
                if self.known.len() >= REMEMBERED {
                    self.known.clear();
                }
                self.known.insert(said, event.object().key());
            }
            // The namespace is going: nobody will read it.
            Err(error) => tracing::debug!(%error, "event not recorded"),
        }
    }

    fn allowed(&mut self, origin: &Origin, now: Timestamp) -> bool {
        if self.limits.len() >= REMEMBERED {
            self.limits.clear();
        }
        let (tokens, last) = self.limits.entry(origin.clone()).or_insert((BURST, now));
        let elapsed = now.duration_since(*last).as_secs_f64().max(0.0);
        *tokens = (*tokens + elapsed * REFILL_PER_SECOND).min(BURST);
        *last = now;
        let allowed = *tokens >= 1.0;
        if allowed {
            *tokens -= 1.0;
        }
        allowed
    }

    fn combine(&mut self, origin: &Origin, recorded: &Recorded) -> bool {
        if self.groups.len() >= REMEMBERED {
            self.groups.clear();
        }
        let key = (origin.clone(), recorded.reason.clone(), recorded.kind);
        let group = self
            .groups
            .entry(key)
            .or_insert_with(|| Group { messages: HashSet::new(), last: recorded.at });
        let age = recorded.at.duration_since(group.last).as_secs_f64();
        if age > GROUPING_WINDOW.as_secs_f64() {
            group.messages.clear();
        }
        group.last = recorded.at;
        if group.messages.len() < GROUPING_AFTER {
            group.messages.insert(recorded.message.clone());
        }
        group.messages.len() >= GROUPING_AFTER
    }
}

fn new_event(env: &Env, recorded: Recorded) -> Event {
    let namespace = recorded.about.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let name = recorded.about.name.as_deref().unwrap_or_default();
    Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", env.random().next_u64())),
            namespace: Some(namespace),
            ..Default::default()
        },
        reporting_component: recorded.source.component.clone(),
        reporting_instance: recorded.source.host.clone(),
        involved_object: recorded.about,
        source: Some(recorded.source),
        type_: Some(recorded.kind.as_str().to_owned()),
        reason: Some(recorded.reason),
        message: Some(recorded.message),
        first_timestamp: Some(Time(recorded.at)),
        last_timestamp: Some(Time(recorded.at)),
        count: Some(1),
        ..Default::default()
    }
}
