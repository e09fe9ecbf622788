//! The host says how the scheduler decides.

use std::collections::BTreeSet;

use pinnace::k8s_openapi::api::core::v1::Pod;
use pinnace::{Engine, Env, Error, ListOptions, Runtime};
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
