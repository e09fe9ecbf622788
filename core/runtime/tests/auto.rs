//! What is taken where a containerd answers.
#![cfg(all(target_os = "linux", feature = "containerd"))]

use pinnace_env::Env;
use pinnace_runtime::auto::{AutoConfig, auto};
use pinnace_test_harness::{PrivateContainerd, why_no_containers};

#[tokio::test]
async fn a_containerd_that_answers_is_taken() {
    if let Some(why) = why_no_containers() {
        println!("skipped: {why}");
        return;
    }
    let containerd = PrivateContainerd::start().unwrap();
    let mut config =
        AutoConfig::new("pinnace-test-auto", containerd.path("state-of-auto"), Env::system());
    config.socket = containerd.socket();
    let chosen = auto(config).await.unwrap();
    assert_eq!(chosen.runtime.name(), "containerd");
    assert!(chosen.reason.starts_with("containerd://"), "{}", chosen.reason);
    chosen.runtime.shutdown().await;
}
