//! Kinds that are served in a version in which they are not stored.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say so and end")]

use std::borrow::Cow;

use futures::StreamExt as _;
use k8s_openapi::api::autoscaling::{v1, v2};
use k8s_openapi::api::core::v1::{Event, Namespace};
use k8s_openapi::api::events::v1 as events;
use pinnace_api::patch::Patch;
use pinnace_api::selector::FieldSelector;
use pinnace_api::{Catalog, Conversion, Key, Kind, Resource, Result, Strategy};
use pinnace_client::{Api, Client, DeleteOptions, ListOptions, WatchEvent, WriteOptions};
use pinnace_env::Env;
use pinnace_server::{Server, User};
use pinnace_store::Store;
use serde_json::{Value, json};

async fn client() -> Client {
    let catalog = Catalog::builtin();
    let server = Server::builder(Store::memory(), catalog, Env::simulated(1)).build();
    let client = server.client(User::host());
    let namespace = from(json!({"metadata": {"name": "default"}}));
    client.of::<Namespace>().unwrap().create(namespace).await.unwrap();
    client
}

fn from<K: Kind>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

fn key(name: &str) -> Key {
    Key::new("default", name)
}

type Old = Api<v1::HorizontalPodAutoscaler>;
type New = Api<v2::HorizontalPodAutoscaler>;

fn apis(client: &Client) -> (Old, New) {
    (client.of().unwrap(), client.of().unwrap())
}

fn autoscaler(share: i32) -> v1::HorizontalPodAutoscaler {
    from(json!({
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {
            "maxReplicas": 5,
            "scaleTargetRef": {"kind": "Deployment", "name": "web"},
            "targetCPUUtilizationPercentage": share,
        }
    }))
}

fn share(autoscaler: &v2::HorizontalPodAutoscaler) -> i32 {
    let metric = &autoscaler.spec.metrics.as_ref().unwrap()[0];
    metric.resource.as_ref().unwrap().target.average_utilization.unwrap()
}

fn options(manager: &str) -> WriteOptions {
    WriteOptions { field_manager: Some(manager.to_owned()), ..Default::default() }
}

#[tokio::test]
async fn what_is_written_in_one_version_is_read_in_the_other() {
    let client = client().await;
    let (old, new) = apis(&client);
    let created = old.create(autoscaler(50)).await.unwrap();
    assert_eq!(created.spec.min_replicas, Some(1), "defaulted as it is stored");
    let stored = new.get(&key("web")).await.unwrap();
    assert_eq!(share(&stored), 50);
    assert_eq!(stored.metadata.uid, created.metadata.uid);
    assert_eq!(stored.metadata.resource_version, created.metadata.resource_version);

    let mut changed = old.get(&key("web")).await.unwrap().to_owned();
    changed.spec.target_cpu_utilization_percentage = Some(60);
    let changed = old.update(changed).await.unwrap();
    assert_eq!(changed.spec.target_cpu_utilization_percentage, Some(60));
    assert_eq!(changed.metadata.generation, Some(2));
    assert_eq!(share(&new.get(&key("web")).await.unwrap()), 60);

    let gone = old.delete(&key("web"), DeleteOptions::default()).await.unwrap();
    assert_eq!(gone.spec.target_cpu_utilization_percentage, Some(60));
    assert!(new.get(&key("web")).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn a_patch_is_a_patch_of_the_version_that_the_client_sees() {
    let client = client().await;
    let (old, new) = apis(&client);
    old.create(autoscaler(50)).await.unwrap();
    let patch = Patch::Merge(json!({"spec": {"targetCPUUtilizationPercentage": 70}}));
    let patched = old.patch(&key("web"), patch).await.unwrap();
    assert_eq!(patched.spec.target_cpu_utilization_percentage, Some(70));
    let stored = new.get(&key("web")).await.unwrap();
    assert_eq!((share(&stored), stored.metadata.generation), (70, Some(2)));
}

#[tokio::test]
async fn invalid_objects_are_refused_in_every_version() {
    let client = client().await;
    let refused = apis(&client).0.create(autoscaler(0)).await.unwrap_err();
    assert!(
        refused.message().ends_with(
            "is invalid: spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: \
             must be greater than 0"
        ),
        "{refused}"
    );
}

#[tokio::test]
async fn lists_and_watches_show_the_version_that_is_asked_for() {
    let client = client().await;
    let (old, new) = apis(&client);
    let everything = ListOptions::default();
    let before = new.list(Some("default"), everything.clone()).await.unwrap();
    let from_here =
        ListOptions { resource_version: Some(before.revision), ..ListOptions::default() };
    let resource = client.catalog().of::<v1::HorizontalPodAutoscaler>().unwrap();
    let mut events = client.resource(resource).watch(Some("default"), from_here).await.unwrap();
    old.create(autoscaler(50)).await.unwrap();
    let WatchEvent::Added(added) = events.next().await.unwrap().unwrap() else { panic!() };
    let listed = old.list(Some("default"), everything).await.unwrap().items.remove(0);
    assert_eq!(added.get::<v1::HorizontalPodAutoscaler>().unwrap(), &*listed);
    assert_eq!(listed.spec.target_cpu_utilization_percentage, Some(50));
}

#[tokio::test]
async fn fields_are_owned_in_the_version_in_which_they_were_written() {
    let client = client().await;
    let (old, _) = apis(&client);
    old.create(autoscaler(50)).await.unwrap();
    let apply = |share: i32| {
        let mut value = serde_json::to_value(autoscaler(share)).unwrap();
        value["spec"]["maxReplicas"] = json!(9);
        Patch::Apply(value)
    };
    let mut forced = options("mine");
    forced.force = true;
    let applied = old.dynamic().patch(&key("web"), apply(55), forced).await.unwrap();
    let book = applied.managed_fields();
    let mine = book.iter().find(|entry| entry.manager.as_deref() == Some("mine")).unwrap();
    assert_eq!(mine.api_version.as_deref(), Some("autoscaling/v1"));
    let fields = &mine.fields_v1.as_ref().unwrap().0;
    assert!(fields["f:spec"].get("f:targetCPUUtilizationPercentage").is_some(), "{fields}");
    assert!(fields["f:spec"].get("f:metrics").is_none(), "{fields}");

    let yours = options("yours");
    let conflict = old.dynamic().patch(&key("web"), apply(56), yours).await.unwrap_err();
    assert!(conflict.message().contains(".spec.targetCPUUtilizationPercentage"), "{conflict}");
}

/// Events of the core group, as far as the test needs them.
struct Events;

impl Strategy for Events {
    type Kind = Event;

    fn field<'a>(&self, event: &'a Event, path: &str) -> Option<Cow<'a, str>> {
        let kind = event.involved_object.kind.as_deref().unwrap_or_default();
        (path == "involvedObject.kind").then_some(Cow::Borrowed(kind))
    }
}

struct Renamed;

impl Conversion for Renamed {
    type Served = events::Event;
    type Stored = Event;

    fn to_stored(&self, served: events::Event) -> Result<Event> {
        Ok(Event {
            metadata: served.metadata,
            involved_object: served.regarding.unwrap_or_default(),
            message: served.note,
            ..Default::default()
        })
    }

    fn to_served(&self, stored: &Event) -> Result<events::Event> {
        Ok(events::Event {
            metadata: stored.metadata.clone(),
            regarding: Some(stored.involved_object.clone()),
            note: stored.message.clone(),
            ..Default::default()
        })
    }

    fn stored_field<'a>(&self, field: &'a str) -> &'a str {
        if field == "regarding.kind" { "involvedObject.kind" } else { field }
    }
}

#[tokio::test]
async fn a_kind_may_be_stored_as_that_of_another_group() {
    let client = client().await;
    let served = Resource::converted("event", Events, Renamed).fields(&["regarding.kind"]);
    client.catalog().register(served);
    let api = client.of::<events::Event>().unwrap();
    for kind in ["Pod", "Node"] {
        let event = json!({
            "metadata": {"name": kind.to_lowercase(), "namespace": "default"},
            "regarding": {"kind": kind, "namespace": "default"}, "note": "hello",
        });
        api.create(from(event)).await.unwrap();
    }
    let stored = client.of::<Event>().unwrap().get(&key("pod")).await.unwrap();
    assert_eq!(stored.message.as_deref(), Some("hello"));
    let pods = ListOptions {
        fields: Some(FieldSelector::parse("regarding.kind=Pod").unwrap()),
        ..ListOptions::default()
    };
    let pods = api.list(Some("default"), pods).await.unwrap().items;
    assert_eq!(pods.iter().map(|event| event.object().name()).collect::<Vec<_>>(), ["pod"]);
}
