//! Whatever a rollout is asked for, and whatever fails on the way: what is available never drops
//! below what is allowed, and there are never more pods than the surge allows.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use pinnace_client::{ListOptions, WatchEvent};
use proptest::prelude::*;
use serde_json::json;

use crate::harness::{Cluster, condition};

/// A number of pods, or a share of all.
#[derive(Clone, Copy, Debug)]
enum Amount {
    Number(i32),
    Percent(i32),
}

impl Amount {
    fn json(self) -> serde_json::Value {
        match self {
            Self::Number(number) => json!(number),
            Self::Percent(percent) => json!(format!("{percent}%")),
        }
    }

    fn of(self, all: i32, up: bool) -> i32 {
        match self {
            Self::Number(number) => number,
            Self::Percent(percent) if up => (percent * all + 99) / 100,
            Self::Percent(percent) => percent * all / 100,
        }
    }

    fn is_zero(self) -> bool {
        matches!(self, Self::Number(0) | Self::Percent(0))
    }
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![(0..4).prop_map(Amount::Number), (0..=100).prop_map(Amount::Percent)]
}

#[derive(Clone, Debug)]
struct Rollout {
    replicas: i32,
    surge: Amount,
    unavailable: Amount,
    /// Of three new pods, how many never become ready.
    failing: u32,
    /// After how many seconds another rollout comes between.
    again: Option<usize>,
}

fn rollout() -> impl Strategy<Value = Rollout> {
    let parts = (1..10, amount(), amount(), 0..3_u32, proptest::option::of(1..6_usize));
    parts
        .prop_filter("one of both must be something", |(_, surge, unavailable, ..)| {
            !surge.is_zero() || !unavailable.is_zero()
        })
        .prop_map(|(replicas, surge, unavailable, failing, again)| Rollout {
            replicas,
            surge,
            unavailable,
            failing,
            again,
        })
}

fn image(pod: &Pod) -> &str {
    pod.spec.as_ref().unwrap().containers[0].image.as_deref().unwrap()
}

async fn set_image(cluster: &Cluster, image: &str) {
    cluster
        .edit::<Deployment>("default/web", |web| {
            let template = &mut web.spec.as_mut().unwrap().template;
            template.spec.as_mut().unwrap().containers[0].image = Some(image.to_owned());
        })
        .await;
}

async fn check(rollout: Rollout) -> Result<(), TestCaseError> {
    let cluster = Cluster::start().await;
    cluster.node("n1").await;
    let Rollout { replicas, surge, unavailable, failing, again } = rollout;
    cluster
        .make::<Deployment>(json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {
                "maxSurge": surge.json(), "maxUnavailable": unavailable.json()}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "one"}]}}}}))
        .await;
    for _ in 0..3 {
        cluster.beat(&["n1"], 1).await;
        cluster.run_pods("n1", |_| false).await;
    }
    let from = cluster.api::<Pod>().list(None, ListOptions::default()).await.unwrap();
    let mut events = cluster
        .api::<Pod>()
        .watch(None, ListOptions::default().after(from.revision))
        .await
        .unwrap();
    let mut pods: BTreeMap<_, _> =
        from.items.into_iter().map(|pod| (pod.object().key(), pod)).collect();
    let broken = |pod: &Pod| {
        let name = pod.metadata.name.as_deref().unwrap();
        image(pod) != "one" && name.bytes().map(u32::from).sum::<u32>() % 3 < failing
    };
    set_image(&cluster, "two").await;
    for second in 0..40 {
        if again == Some(second) {
            set_image(&cluster, "three").await;
        }
        cluster.beat(&["n1"], 1).await;
        cluster.run_pods("n1", broken).await;
    }
    let most = replicas + surge.of(replicas, true);
    let mut may_miss = unavailable.of(replicas, false);
    if may_miss == 0 && surge.of(replicas, true) == 0 {
        may_miss = 1;
    }
    cluster.pass(1).await;
    while let Some(Some(event)) = futures::FutureExt::now_or_never(events.next()) {
        match event.unwrap() {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                pods.insert(pod.key(), pod.typed().unwrap());
            }
            WatchEvent::Deleted(pod) => _ = pods.remove(&pod.key()),
            WatchEvent::Bookmark(..) => {}
        }
        let there = pods.values().filter(|pod| !pod.object().is_deleting());
        let (mut count, mut available) = (0, 0);
        for pod in there {
            count += 1;
            available += i32::from(condition(&**pod, "Ready").starts_with("True"));
        }
        prop_assert!(count <= most, "{count} pods, at most {most}");
        prop_assert!(available >= replicas - may_miss, "{available} available of {replicas}");
    }
    if failing == 0 {
        let last = if again.is_some() { "three" } else { "two" };
        prop_assert!(pods.values().all(|pod| image(pod) == last), "it does not end");
        prop_assert_eq!(pods.len(), usize::try_from(replicas).unwrap());
    }
    cluster.stop().await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn a_rollout_keeps_its_promises(rollout in rollout()) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        runtime.block_on(check(rollout))?;
    }
}
