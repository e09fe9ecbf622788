//! How long a pod takes from nothing to running, beside `ctr run -d` for the same image on the
//! same containerd. The two take turns, so that whatever else the machine does hits both.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on ends")]

use std::process::Command;
use std::time::Duration;

use pinnace_env::{Env, Stopwatch};
use pinnace_runtime::cgroup::Cgroups;
use pinnace_runtime::{ContainerConfig, Containerd, ContainerdConfig, PodConfig, Runtime};
use pinnace_test_harness::{BusyboxImage, PrivateContainerd, why_no_containers};

const NAMESPACE: &str = "pinnace-bench";
const IMAGE: &str = "docker.io/library/busybox:bench";
const ROUNDS: usize = 15;

fn main() {
    if let Some(reason) = why_no_containers() {
        eprintln!("skipped: {reason}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let containerd = PrivateContainerd::start().unwrap();
    runtime.block_on(measure(&containerd));
    drop(containerd);
    Cgroups::detect(NAMESPACE).unwrap().all().remove().unwrap();
}

async fn measure(containerd: &PrivateContainerd) {
    let config = ContainerdConfig::new(NAMESPACE, containerd.path("pinnace"), Env::system());
    let runtime = Containerd::connect(containerd.socket(), config).await.unwrap();
    let archive = containerd.path("busybox.tar");
    BusyboxImage::new(IMAGE).write_archive(&archive).unwrap();
    runtime.import_image(&archive).await.unwrap();

    let (mut ours, mut theirs, mut removals) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let watch = Stopwatch::start();
        let id = start_pod(&runtime, containerd, round).await;
        ours.push(watch.elapsed());
        let watch = Stopwatch::start();
        ctr_run(containerd, round);
        theirs.push(watch.elapsed());
        let watch = Stopwatch::start();
        runtime.remove_pod(&id).await.unwrap();
        removals.push(watch.elapsed());
    }
    let (ours, theirs) = (median(ours), median(theirs));
    report("runtime/containerd/pod to running", ours, "ms", None);
    report("runtime/containerd/ctr run -d", theirs, "ms", None);
    report("runtime/containerd/pod to running over ctr run -d", ours / theirs, "ratio", Some(1.5));
    report("runtime/containerd/pod removed", median(removals), "ms", None);
    runtime.shutdown().await;
}

async fn start_pod(
    runtime: &Containerd,
    containerd: &PrivateContainerd,
    round: usize,
) -> pinnace_runtime::PodId {
    let pod = PodConfig {
        id: format!("pod-{round}"),
        name: "pod".into(),
        namespace: "default".into(),
        hostname: "pod".into(),
        log_directory: containerd.path("logs"),
        ..PodConfig::default()
    };
    let id = runtime.create_pod(&pod).await.unwrap().id;
    let config = ContainerConfig {
        name: "main".into(),
        image: IMAGE.into(),
        command: vec!["/bin/sleep".into(), "600".into()],
        ..ContainerConfig::default()
    };
    let container = runtime.create_container(&id, &config).await.unwrap();
    runtime.start_container(&container).await.unwrap();
    id
}

fn ctr_run(containerd: &PrivateContainerd, round: usize) {
    let status = Command::new("ctr")
        .arg("--address")
        .arg(containerd.socket())
        .args(["--namespace", NAMESPACE, "run", "-d", "--null-io", IMAGE])
        .arg(format!("ctr-{round}"))
        .args(["/bin/sleep", "600"])
        .status();
    assert!(status.unwrap().success());
}

/// In milliseconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e3
}

/// Prints a figure as a line of JSON. The target is a bound from above.
fn report(name: &str, value: f64, unit: &str, target: Option<f64>) {
    let (target, met) = match target {
        Some(target) => (target.to_string(), (value <= target).to_string()),
        None => ("null".to_owned(), "null".to_owned()),
    };
    println!(
        r#"{{"name": "{name}", "value": {value:.3}, "unit": "{unit}", "target": {target}, "met": {met}}}"#
    );
}
