//! A scheduler over an API in memory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::future::Future;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Binding, Event, Namespace, Node, Pod, PodCondition, Taint};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::api::scheduling::v1::PriorityClass;
use pinnace_api::{Catalog, Key, Kind, manifest};
use pinnace_client::{Api, Client, DeleteOptions, Informers, ListOptions, Recorder};
use pinnace_env::Env;
use pinnace_scheduler::{Scheduler, SchedulerConfig};
use pinnace_server::{Server, User};
use pinnace_store::Store;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest that something is waited for, in virtual time.
const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) struct Cluster {
    pub(crate) explainer: pinnace_scheduler::Explainer,
    pods: Api<Pod>,
    nodes: Api<Node>,
    events: Api<Event>,
    informers: Informers,
    recorder: Recorder,
    stop: CancellationToken,
    scheduler: JoinHandle<()>,
}

pub(crate) async fn start() -> Cluster {
    start_with(SchedulerConfig::default()).await
}

pub(crate) async fn start_with(config: SchedulerConfig) -> Cluster {
    let env = Env::simulated(1);
    let server = Server::builder(Store::memory(), Catalog::builtin(), env.clone()).build();
    let client: Client = server.client(User::host());
    let default = Namespace {
        metadata: serde_json::from_value(serde_json::json!({"name": "default"})).unwrap(),
        ..Default::default()
    };
    client.of::<Namespace>().unwrap().create(default).await.unwrap();
    let informers = Informers::new(client.clone());
    let recorder = Recorder::new(&client, &env, "test").unwrap();
    let scheduler = Scheduler::new(&informers, recorder.clone(), env, config).unwrap();
    let (explainer, stop) = (scheduler.explainer(), CancellationToken::new());
    Cluster {
        pods: client.of().unwrap(),
        nodes: client.of().unwrap(),
        events: client.of().unwrap(),
        informers,
        recorder,
        explainer,
        scheduler: tokio::spawn(scheduler.run(stop.clone())),
        stop,
    }
}

impl Cluster {
    /// Makes a node that has these resources.
    pub(crate) async fn node(&self, name: &str, allocatable: &str) {
        let node: Node = read(&format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n\
             status: {{capacity: {{{allocatable}}}, allocatable: {{{allocatable}}}}}\n"
        ));
        let status = node.status.clone();
        self.nodes.create(node).await.unwrap();
        let key = Key::cluster(name);
        let set = self.nodes.modify_status(&key, |node| {
            let changes = node.status != status;
            node.status.clone_from(&status);
            changes
        });
        set.await.unwrap();
        // As the controller of nodes does with one that is ready.
        let free = self.nodes.modify(&key, |node| {
            node.spec.take();
            true
        });
        free.await.unwrap();
    }

    pub(crate) async fn taint(&self, node: &str, key: &str) {
        let taint =
            Taint { key: key.to_owned(), effect: "NoSchedule".to_owned(), ..Default::default() };
        let key = Key::cluster(node);
        let add = self.nodes.modify(&key, |node| {
            node.spec.get_or_insert_default().taints = Some(vec![taint.clone()]);
            true
        });
        add.await.unwrap();
    }

    pub(crate) async fn delete_node(&self, name: &str) {
        self.nodes.delete(&Key::cluster(name), DeleteOptions::default()).await.unwrap();
    }

    /// Makes a pod of this spec.
    pub(crate) async fn pod(&self, name: &str, spec: &str) {
        let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
        let pod: Pod = read(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default}}\nspec:\n{spec}"
        ));
        self.pods.create(pod).await.unwrap();
    }

    /// Makes a pod of this spec with more metadata.
    pub(crate) async fn pod_with(&self, name: &str, more: serde_json::Value, spec: &str) {
        let mut metadata = more;
        metadata["name"] = name.into();
        metadata["namespace"] = "default".into();
        let pod: Pod =
            read(&format!("apiVersion: v1\nkind: Pod\nmetadata: {metadata}\nspec:\n  {spec}\n"));
        self.pods.create(pod).await.unwrap();
    }

    /// Makes a priority class.
    pub(crate) async fn priority(&self, name: &str, value: i32, policy: &str) {
        let class: PriorityClass = read(&format!(
            "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {{name: {name}}}\n\
             value: {value}\npreemptionPolicy: {policy}\n"
        ));
        self.informers.client().of::<PriorityClass>().unwrap().create(class).await.unwrap();
    }

    /// Deletes a pod for good that is on its way out, as its node does.
    pub(crate) async fn gone(&self, name: &str) {
        let _ = wait(&format!("{name} is being deleted"), || async {
            let pod = self.pods.get(&key(name)).await.unwrap();
            pod.object().is_deleting().then_some(())
        })
        .await;
        self.delete(name).await;
    }

    /// `status.nominatedNodeName` of a pod, once it has some.
    pub(crate) async fn nominated(&self, name: &str) -> String {
        wait(&format!("{name} is nominated"), || async {
            let pod = self.pods.get(&key(name)).await.unwrap();
            pod.status.as_ref()?.nominated_node_name.clone()
        })
        .await
    }

    /// A condition of a pod, once it has it.
    pub(crate) async fn has_condition(&self, name: &str, of: &str) -> PodCondition {
        wait(&format!("{name} has the condition {of}"), || async {
            let pod = self.pods.get(&key(name)).await.unwrap();
            let conditions = pod.status.clone().unwrap_or_default().conditions.unwrap_or_default();
            conditions.into_iter().find(|one| one.type_ == of)
        })
        .await
    }

    pub(crate) async fn open_gates(&self, name: &str) {
        let key = key(name);
        let open = self.pods.modify(&key, |pod| {
            pod.spec.get_or_insert_default().scheduling_gates = None;
            true
        });
        open.await.unwrap();
    }

    /// Binds a pod to a node, as another scheduler does.
    pub(crate) async fn bind(&self, name: &str, node: &str) {
        let binding: Binding = read(&format!(
            "apiVersion: v1\nkind: Binding\nmetadata: {{name: {name}, namespace: default}}\n\
             target: {{kind: Node, name: {node}}}\n"
        ));
        self.pods.bind(&key(name), binding).await.unwrap();
    }

    /// Deletes a pod without grace.
    pub(crate) async fn delete(&self, name: &str) {
        let now = DeleteOptions { grace_period_seconds: Some(0), ..Default::default() };
        self.pods.delete(&key(name), now).await.unwrap();
    }

    pub(crate) async fn get(&self, name: &str) -> pinnace_api::Typed<Pod> {
        self.pods.get(&key(name)).await.unwrap()
    }

    pub(crate) async fn node_of(&self, name: &str) -> Option<String> {
        self.pods.get(&key(name)).await.unwrap().spec.as_ref()?.node_name.clone()
    }

    /// Waits until a pod has a node.
    pub(crate) async fn bound(&self, name: &str) -> String {
        wait(&format!("{name} has a node"), || self.node_of(name)).await
    }

    /// Waits until a pod's condition `PodScheduled` is as asked for.
    pub(crate) async fn condition(
        &self,
        name: &str,
        holds: impl Fn(&PodCondition) -> bool,
    ) -> PodCondition {
        wait(&format!("{name} has the condition"), || async {
            let pod = self.pods.get(&key(name)).await.unwrap();
            let conditions = pod.status.clone().unwrap_or_default().conditions.unwrap_or_default();
            conditions.into_iter().find(|one| one.type_ == "PodScheduled" && holds(one))
        })
        .await
    }

    /// Waits for an event of a reason.
    pub(crate) async fn event(&self, reason: &str) -> Event {
        wait(&format!("there is an event {reason}"), || async {
            let events = self.events.list(None, ListOptions::default()).await.unwrap();
            let found = events.items.iter().find(|one| one.reason.as_deref() == Some(reason));
            found.map(|event| event.to_owned())
        })
        .await
    }

    /// Sets a label of a node.
    pub(crate) async fn label(&self, node: &str, key: &str, value: &str) {
        let name = Key::cluster(node);
        let set = self.nodes.modify(&name, |node| {
            let labels = node.metadata.labels.get_or_insert_default();
            labels.insert(key.to_owned(), value.to_owned());
            true
        });
        set.await.unwrap();
    }

    /// What else reads and writes beside the scheduler.
    pub(crate) fn shared(&self) -> (&Informers, &Recorder) {
        (&self.informers, &self.recorder)
    }

    /// Waits until a pod is on its way out, or gone.
    pub(crate) async fn gone_or_going(&self, name: &str) {
        wait(&format!("{name} goes"), || async {
            let pod = self.pods.find(&key(name)).await.unwrap();
            pod.is_none_or(|pod| pod.object().is_deleting()).then_some(())
        })
        .await;
    }

    /// How many pods are on their way out.
    pub(crate) async fn going(&self) -> usize {
        let pods = self.pods.list(None, ListOptions::default()).await.unwrap().items;
        pods.iter().filter(|pod| pod.object().is_deleting()).count()
    }

    /// Has all pods run and be ready.
    pub(crate) async fn running(&self) {
        for pod in self.pods.list(None, ListOptions::default()).await.unwrap().items {
            let ready = PodCondition {
                type_: "Ready".to_owned(),
                status: "True".to_owned(),
                ..Default::default()
            };
            let name = pod.object().key();
            let run = self.pods.modify_status(&name, |pod| {
                let status = pod.status.get_or_insert_default();
                status.phase = Some("Running".to_owned());
                status.conditions = Some(vec![ready.clone()]);
                true
            });
            run.await.unwrap();
        }
    }

    /// Makes a disruption budget of the pods labelled `app: NAME` that lets none go.
    pub(crate) async fn budget(&self, app: &str) {
        let budget: PodDisruptionBudget = read(&format!(
            "apiVersion: policy/v1\nkind: PodDisruptionBudget\n\
             metadata: {{name: {app}, namespace: default}}\n\
             spec: {{maxUnavailable: 0, selector: {{matchLabels: {{app: {app}}}}}}}\n"
        ));
        let budgets = self.informers.client().of::<PodDisruptionBudget>().unwrap();
        budgets.create(budget).await.unwrap();
        let name = key(app);
        let looked_at = budgets.modify_status(&name, |budget| {
            budget.status.get_or_insert_default().observed_generation = budget.metadata.generation;
            true
        });
        looked_at.await.unwrap();
    }

    /// Lets virtual time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.scheduler.await.unwrap();
        self.recorder.shutdown().await;
        self.informers.shutdown().await;
    }
}

fn key(name: &str) -> Key {
    Key::new("default", name)
}

fn read<K: Kind>(text: &str) -> K {
    let [object] = &manifest::read(text.as_bytes()).unwrap()[..] else { panic!("{text}") };
    serde_json::from_value(object.clone()).unwrap()
}

/// Looks every virtual millisecond until there is something, or the deadline is over.
async fn wait<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("never: {what}"))
}
