use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use pinnace_api::Typed;
use pinnace_api::patch::Patch;
use pinnace_node::Capacity;
use pinnace_runtime::Runtime as _;
use serde_json::{Value, json};

use crate::world::{World, condition, container, key, phase, state};

fn pod(policy: &Value) -> Value {
    let resources = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "64Mi"}});
    json!({"containers": [
        {"name": "c", "image": "i", "resources": resources, "resizePolicy": policy}]})
}

async fn world() -> World {
    let mut world = World::new().await;
    let capacity = Capacity { cpu_millis: 4000, ..Capacity::default() };
    let node = pinnace_node::NodeConfig { capacity, ..world.node("n1") };
    world.start_agent(vec![node]);
    world
}

async fn ask(world: &World, resources: Value) -> Typed<Pod> {
    let patch = json!({"spec": {"containers": [{"name": "c", "resources": resources}]}});
    world.pods().resize(&key("p"), Patch::StrategicMerge(patch)).await.unwrap()
}

/// What is asked for, granted and enacted of the container's CPU.
fn cpu(pod: &Pod) -> [String; 3] {
    let spec = pod.spec.as_ref().unwrap().containers[0].resources.as_ref();
    let status = container(pod, "c").unwrap();
    let lists = [
        spec.and_then(|spec| spec.requests.as_ref()),
        status.allocated_resources.as_ref(),
        status.resources.as_ref().and_then(|resources| resources.requests.as_ref()),
    ];
    lists.map(|list| {
        list.and_then(|list| list.get("cpu")).map_or(String::new(), |cpu| cpu.0.clone())
    })
}

fn is_settled(pod: &Pod) -> bool {
    let [asked, granted, enacted] = cpu(pod);
    let open = ["PodResizePending", "PodResizeInProgress"].map(|name| condition(pod, name));
    asked == granted && granted == enacted && open.concat().is_empty()
}

#[tokio::test(start_paused = true)]
async fn a_running_container_gets_other_limits_without_a_restart() {
    let world = world().await;
    world.pod(pod(&json!([]))).await;
    world.until_phase("Running").await;
    ask(&world, json!({"requests": {"cpu": "1500m"}, "limits": {"cpu": "3"}})).await;
    let pod = world.until("it is resized", |pod| cpu(pod)[0] == "1500m" && is_settled(pod)).await;
    assert_eq!(container(&pod, "c").unwrap().restart_count, 0);
    let seen = |pod: &Pod| pod.status.as_ref().and_then(|status| status.observed_generation);
    assert_eq!(seen(&pod), Some(2));
    let versions = world.versions().await;
    let before = versions.iter().filter(|pod| seen(pod) == Some(2) && cpu(pod)[2] != "1500m");
    let told = |pod: &Typed<Pod>| !condition(pod, "PodResizeInProgress").is_empty();
    assert!(before.into_iter().all(told), "nobody may take it for done before it has begun");
    let pods = world.runtime.list_pods().await.unwrap();
    let limits = [&pods[0].config.resources, &pods[0].containers[0].config.resources];
    assert_eq!(limits.map(|of| (of.cpu_request_millis, of.cpu_limit_millis)), [(1500, 3000); 2]);
    let told = world.events().await;
    for (reason, begin) in [("ResizeStarted", "started"), ("ResizeCompleted", "completed")] {
        let message = format!(
            "Pod resize {begin}: {{\"containers\":[{{\"name\":\"c\",\"resources\":{{\"limits\":\
             {{\"cpu\":\"3\",\"memory\":\"64Mi\"}},\"requests\":{{\"cpu\":\"1500m\",\
             \"memory\":\"64Mi\"}}}}}}],\"generation\":2}}"
        );
        assert!(told.contains(&(reason.to_owned(), message)), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_that_wants_it_is_restarted_for_new_limits() {
    let world = world().await;
    world.pod(pod(&json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]))).await;
    world.until_phase("Running").await;
    ask(&world, json!({"limits": {"cpu": "3"}})).await;
    let pod = world
        .until("it runs again", |pod| {
            state(pod, "c") == "running"
                && container(pod, "c").unwrap().restart_count == 1
                && is_settled(pod)
        })
        .await;
    assert_eq!(phase(&pod), "Running");
    let message = "Container c resize requires restart".to_owned();
    assert!(world.events().await.contains(&("Killing".to_owned(), message)));
}

#[tokio::test(start_paused = true)]
async fn a_node_without_room_refuses_now_or_for_good_and_keeps_what_was_granted() {
    let mut world = world().await;
    world.pod(pod(&json!([]))).await;
    world.until_phase("Running").await;
    world
        .create::<Pod>(json!({
            "metadata": {"name": "other", "namespace": "default"},
            "spec": {"nodeName": "n1", "containers": [
                {"name": "c", "image": "i", "resources": {"requests": {"cpu": "2"}}}]}
        }))
        .await;
    let pending = |pod: &Pod| condition(pod, "PodResizePending");
    ask(&world, json!({"requests": {"cpu": "5"}, "limits": {"cpu": "6"}})).await;
    let never = "True/Infeasible/Node didn't have enough capacity: cpu, requested: 5000, \
                 capacity: 4000";
    world.until("it says never", |pod| pending(pod) == never).await;
    ask(&world, json!({"requests": {"cpu": "3"}, "limits": {"cpu": "5"}})).await;
    let full = "True/Deferred/Node didn't have enough resource: cpu, requested: 3000, used: 2000, \
                capacity: 4000";
    let pod = world.until("it says not now", |pod| pending(pod) == full).await;
    assert_eq!(cpu(&pod), ["3", "1", "1"]);

    // An agent that comes after knows of it.
    world.stop_agent().await;
    let capacity = Capacity { cpu_millis: 4000, ..Capacity::default() };
    let node = pinnace_node::NodeConfig { capacity, ..world.node("n1") };
    world.start_agent(vec![node]);
    world.pods().delete(&key("other"), pinnace_client::DeleteOptions::default()).await.unwrap();
    world.until("there is room", |pod| cpu(pod)[0] == "3" && is_settled(pod)).await;
}

#[tokio::test(start_paused = true)]
async fn a_pod_as_a_whole_gets_other_limits() {
    let world = world().await;
    let whole = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "64Mi"}});
    world.pod(json!({"resources": whole, "containers": [{"name": "c", "image": "i"}]})).await;
    let pod = world.until_phase("Running").await;
    let shown = |pod: &Pod| {
        let status = pod.status.as_ref().unwrap();
        let requests = |list: Option<&BTreeMap<String, Quantity>>| {
            list.and_then(|list| list.get("cpu")).map_or(String::new(), |cpu| cpu.0.clone())
        };
        let enacted = status.resources.as_ref().and_then(|own| own.requests.as_ref());
        [requests(status.allocated_resources.as_ref()), requests(enacted)]
    };
    assert_eq!(shown(&pod), ["1", "1"]);
    let resize = async |cpu: &str| {
        let whole = json!({"requests": {"cpu": cpu}, "limits": {"cpu": "9"}});
        let patch = json!({"spec": {"resources": whole}});
        world.pods().resize(&key("p"), Patch::StrategicMerge(patch)).await.unwrap();
    };
    resize("3").await;
    let settled = |pod: &Pod| condition(pod, "PodResizeInProgress").is_empty();
    let pod = world.until("it is resized", |pod| shown(pod) == ["3", "3"] && settled(pod)).await;
    assert_eq!(container(&pod, "c").unwrap().restart_count, 0);
    let limits = world.runtime.list_pods().await.unwrap()[0].config.resources.clone();
    assert_eq!((limits.cpu_request_millis, limits.cpu_limit_millis), (3000, 9000));
    resize("5").await;
    let never = "True/Infeasible/Node didn't have enough capacity: cpu, requested: 5000, \
                 capacity: 4000";
    let refused = |pod: &Pod| condition(pod, "PodResizePending") == never;
    let pod = world.until("it says never", refused).await;
    assert_eq!(shown(&pod), ["3", "3"], "it keeps what was granted");
}
