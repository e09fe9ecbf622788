//! The host says how the scheduler decides.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pinnace::k8s_openapi::api::core::v1::Pod;
use pinnace::scheduler::{Answer, BatchNodes, BatchPlugin, Rebalancing};
use pinnace::{Engine, Env, Error, ListOptions, Patch, Runtime};
use serde_json::json;

use crate::support::{LONG, deployment};

const PACKS: &str = "
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- schedulerName: packs
  plugins:
    multiPoint: {disabled: [{name: PodTopologySpread}, {name: NodeResourcesBalancedAllocation}]}
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: MostAllocated, resources: [{name: cpu, weight: 1}]}}
";

#[tokio::test(start_paused = true)]
async fn a_profile_of_the_host_packs_pods() {
    let builder = Engine::builder().runtime(Runtime::simulated()).nodes(3).env(Env::simulated(1));
    let engine = builder.scheduler_configuration(PACKS).unwrap().start().await.unwrap();
    let container = json!({"name": "web", "image": "web:1",
        "resources": {"requests": {"cpu": "2"}}});
    let template = json!({"template": {"spec": {"schedulerName": "packs",
        "containers": [container]}}});
    engine.apply(&deployment("web", 6, template)).await.unwrap();
    engine.wait("deployments/web", "Available", LONG).await.unwrap();
    let pods = engine.client().of::<Pod>().unwrap();
    let pods = pods.list(None, ListOptions::default()).await.unwrap().items;
    let nodes: BTreeSet<_> =
        pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.clone()).collect();
    assert_eq!((pods.len(), nodes.len()), (6, 1));
    engine.shutdown().await.unwrap();
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_with_all_that_is_wrong() {
    let text = PACKS.replace("MostAllocated", "MostOfAll").replace("weight: 1", "weight: 101");
    let refused = Engine::builder().scheduler_configuration(&text).unwrap_err();
    assert!(matches!(&refused, Error::Scheduler(_)), "{refused:?}");
    let said = refused.to_string();
    assert!(said.contains("MostOfAll") && said.contains("101"), "{said}");
    assert!(Engine::builder().scheduler_configuration("a: b: c").is_err());
}

/// Lets pods onto the last node alone.
struct OnlyLast;

impl BatchPlugin for OnlyLast {
    fn name(&self) -> &str {
        "OnlyLast"
    }
    fn judge(&self, _: &Pod, nodes: &BatchNodes, scores: &mut [f64]) -> Answer {
        let last = nodes.names().max().map(str::to_owned);
        for (name, score) in nodes.names().zip(scores) {
            *score = if Some(name) == last.as_deref() { 50.0 } else { -1.0 };
        }
        Ok(())
    }
    fn reason(&self) -> String {
        "node(s) are not the last".to_owned()
    }
}

async fn counts(engine: &Engine) -> BTreeMap<String, usize> {
    let pods = engine.client().of::<Pod>().unwrap();
    let pods = pods.list(Some("default"), ListOptions::default()).await.unwrap().items;
    let mut counts = BTreeMap::new();
    for pod in pods.iter().filter(|pod| !pod.object().is_deleting()) {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone());
        *counts.entry(node.unwrap_or_default()).or_default() += 1;
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn a_plugin_of_the_host_says_where_pods_go() {
    let builder = Engine::builder().runtime(Runtime::simulated()).nodes(3).env(Env::simulated(1));
    let builder = builder.scheduler_plugin(OnlyLast, 1, Duration::from_secs(30));
    let engine = builder.start().await.unwrap();
    engine.apply(&deployment("web", 5, json!({}))).await.unwrap();
    engine.wait("deployments/web", "Available", LONG).await.unwrap();
    assert_eq!(counts(&engine).await.into_values().collect::<Vec<_>>(), [5]);
    engine.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn pods_move_to_a_node_that_comes_back() {
    let builder = Engine::builder().runtime(Runtime::simulated()).nodes(2).env(Env::simulated(1));
    let every = Duration::from_secs(600);
    let builder = builder.rebalancing(Rebalancing::default().every(every));
    let engine = builder.start().await.unwrap();
    let nodes = engine.list("nodes", ListOptions::default()).await.unwrap().items;
    let away = format!("nodes/{}", nodes[0].name());
    let cordon = |cordon: bool| Patch::Merge(json!({"spec": {"unschedulable": cordon}}));
    engine.patch(&away, cordon(true)).await.unwrap();
    engine.apply(&deployment("web", 6, json!({}))).await.unwrap();
    engine.wait("deployments/web", "Available", LONG).await.unwrap();
    assert_eq!(counts(&engine).await.into_values().collect::<Vec<_>>(), [6]);
    engine.patch(&away, cordon(false)).await.unwrap();
    tokio::time::sleep(every + Duration::from_secs(60)).await;
    assert_eq!(counts(&engine).await.into_values().collect::<Vec<_>>(), [3, 3]);
    engine.shutdown().await.unwrap();
}

#[test]
fn a_policy_that_makes_no_sense_is_refused() {
    let policy = "{apiVersion: descheduler/v1alpha2, kind: DeschedulerPolicy, x: 1}";
    let refused = Engine::builder().descheduler_policy(policy).unwrap_err().to_string();
    assert!(refused.contains("unknown field `x`"), "{refused}");
}
