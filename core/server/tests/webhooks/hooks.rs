//! Functions of the host.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pinnace_server::{AdmissionHook, Ruling};
use serde_json::{Value, json};

use crate::support::{World, check_error};

async fn ruled(
    hook: impl Fn(Value) -> Result<Ruling, String> + Clone + Send + Sync + 'static,
    mutates: bool,
) -> World {
    let asked = move |request| std::future::ready(hook(request));
    let hook = match mutates {
        true => AdmissionHook::mutating("test", asked),
        false => AdmissionHook::validating("test", asked),
    };
    World::with(|builder| builder.hook(hook.resources(["configmaps"]))).await
}

#[tokio::test]
async fn a_function_refuses_changes_or_fails() {
    let refuses = ruled(|_| Ok(Ruling::Refuse("no".to_owned())), false).await;
    check_error(refuses.config_map().await, 403, "configmaps \"m\" is forbidden: no");
    let changes = |mut request: Value| {
        let by = request["userInfo"]["username"].clone();
        request["object"]["data"]["by"] = by;
        Ok(Ruling::Change(request["object"].take()))
    };
    let made = ruled(changes, true).await.config_map().await.unwrap();
    assert_eq!(made["data"], json!({"a": "1", "by": "jane"}));
    let failed = "failed calling admission function \"test\": only a mutating function may change \
                  the object";
    let error = ruled(changes, false).await.config_map().await.unwrap_err();
    assert_eq!((error.code(), error.message().ends_with(failed)), (500, true), "{error}");
    let broken = ruled(|_| Err("broken".to_owned()), true).await;
    assert_eq!(broken.config_map().await.unwrap_err().code(), 500);
}

#[tokio::test]
async fn a_function_is_asked_about_its_kinds_only() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let world = ruled(
        move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(Ruling::Allow)
        },
        false,
    )
    .await;
    world.create("secret", json!({"metadata": {"name": "s"}})).await.unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 0);
    world.config_map().await.unwrap();
    world.delete("configmap", "m").await.unwrap();
    assert_eq!(count.load(Ordering::Relaxed), 2);
}
