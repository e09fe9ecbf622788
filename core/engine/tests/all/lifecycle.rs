use std::time::Duration;

use pinnace::{Engine, Env, Error, ListOptions, Runtime};
use serde_json::json;

use crate::support::{LONG, deployment, engine, list, rolled_out};

#[tokio::test(start_paused = true)]
async fn engines_side_by_side_share_nothing() {
    let (one, _) = engine(1).await;
    let (two, _) = engine(2).await;
    one.apply(&deployment("web", 1, json!({}))).await.unwrap();
    rolled_out(&one, "deploy/web").await;
    assert!(list(&two, "pods").await.is_empty());
    one.shutdown().await.unwrap();
    two.apply(&deployment("web", 2, json!({}))).await.unwrap();
    rolled_out(&two, "deploy/web").await;
    two.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_closed_engine_says_so_and_may_be_closed_again() {
    let (engine, _) = engine(1).await;
    engine.shutdown().await.unwrap();
    engine.shutdown().await.unwrap();
    assert!(matches!(engine.get("pods/a").await, Err(Error::Closed)));
    assert!(matches!(engine.list("pods", ListOptions::default()).await, Err(Error::Closed)));
    assert!(matches!(engine.apply("{}").await, Err(Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_client_of_a_user_has_only_that_users_rights() {
    let (engine, _) = engine(1).await;
    let list = async |groups: &[&str]| {
        let groups = groups.iter().map(|group| (*group).to_owned());
        let pods = engine.as_user("ann", groups).named("pods").unwrap();
        pods.list(Some("default"), ListOptions::default()).await
    };
    let refused = list(&["staff"]).await.unwrap_err();
    let expected = "pods is forbidden: User \"ann\" cannot list resource \"pods\" in API group \
        \"\" in the namespace \"default\"";
    assert_eq!(refused.message(), expected);
    list(&["system:masters"]).await.unwrap();
    engine.shutdown().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_ends_in_vain_tells_what_was_seen() {
    let (engine, world) = engine(1).await;
    world.set_image_script("web:1", "start-delay=1h".parse().unwrap());
    engine.apply(&deployment("web", 1, json!({}))).await.unwrap();
    let error = engine.wait("deploy/web", "Available", Duration::from_secs(5)).await.unwrap_err();
    assert_eq!(error.reason(), "Timeout");
    assert!(error.to_string().contains("Deployment does not have minimum availability"), "{error}");
}

#[test]
fn the_blocking_engine_needs_no_runtime_and_ends_with_its_handle() {
    let engine = Engine::builder().runtime(Runtime::simulated()).start_blocking().unwrap();
    engine.apply(&deployment("web", 2, json!({}))).unwrap();
    engine.wait("deploy/web", "Available", LONG).unwrap();
    engine.scale("deploy/web", 1).unwrap();
    drop(engine);
}

/// What happens, told without names that chance has made: the same for the same seed.
async fn history(seed: u64) -> Vec<String> {
    let env = Env::simulated(seed);
    let builder = Engine::builder().runtime(Runtime::simulated()).nodes(3).env(env);
    let engine = builder.start().await.unwrap();
    engine.apply(&deployment("web", 5, json!({}))).await.unwrap();
    rolled_out(&engine, "deploy/web").await;
    engine.scale("deploy/web", 2).await.unwrap();
    rolled_out(&engine, "deploy/web").await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let mut lines = Vec::new();
    for kind in ["pods", "rs", "deploy", "events"] {
        for object in list(&engine, kind).await {
            lines.push(format!("{} {:?}", object.key(), object.to_value().unwrap()));
        }
    }
    engine.shutdown().await.unwrap();
    lines
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let run = |seed| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().start_paused(true).build().unwrap().block_on(history(seed))
    };
    let (first, second) = (run(3), run(3));
    assert_eq!(first.len(), second.len());
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(first, second);
    }
    assert_ne!(first, run(4));
}
