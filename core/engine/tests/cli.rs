//! The program `pinnace` as somebody at a terminal uses it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{ChildStdout, Command};

const PATIENCE: Duration = Duration::from_secs(30);

fn pinnace(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pinnace"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Reads lines until one contains the text, and gives all that were read.
async fn until(output: &mut Lines<BufReader<ChildStdout>>, text: &str) -> Vec<String> {
    let mut read = Vec::new();
    let found = async {
        while let Some(line) = output.next_line().await.unwrap() {
            read.push(line);
            if read.last().unwrap().contains(text) {
                return;
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, found).await;
    assert!(ended.is_ok() && read.iter().any(|line| line.contains(text)), "{text:?} in {read:?}");
    read
}

#[tokio::test]
async fn run_applies_shows_progress_and_ends_on_ctrl_c() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/manifests/web.yaml");
    let run = ["run", "-f", manifest, "--runtime", "simulated", "--nodes", "3"];
    let mut child = pinnace(&run).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines = until(&mut output, "Running 1/1").await;
    assert_eq!(lines[0], "runtime: simulated (it was asked for)");
    assert!(lines.iter().any(|line| line == "deployment.apps/web created"), "{lines:?}");
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    until(&mut output, "stopping").await;
    assert!(child.wait().await.unwrap().success());
}

#[tokio::test]
async fn what_is_wrong_is_said_in_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let broken = directory.path().join("broken.yaml");
    std::fs::write(&broken, "a: b: c\n").unwrap();
    let broken = broken.to_str().unwrap();
    for (arguments, said) in [
        (&["run", "-f", "/nowhere.yaml"][..], "error: /nowhere.yaml: No such file or directory"),
        (&["run", "-f", broken, "--runtime", "simulated"], "line 1"),
        (&["run", "-f", broken, "--runtime", "docker"], "unknown runtime \"docker\""),
    ] {
        let output = pinnace(arguments).output().await.unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(error.contains(said), "{arguments:?} said {error:?}");
    }
}

/// What kubectl prints, or `None` on a machine without it.
async fn kubectl(kubeconfig: &std::path::Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("kubectl");
    command.env("KUBECONFIG", kubeconfig).env("HOME", kubeconfig.parent().unwrap());
    let run = command.args(arguments).kill_on_drop(true).output();
    let output = match tokio::time::timeout(PATIENCE, run).await.unwrap() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        output => output.unwrap(),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {arguments:?}: {said}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[tokio::test]
async fn up_serves_kubectl() {
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    let up = ["up", "--listen", "127.0.0.1:0", "--runtime", "simulated", "--kubeconfig"];
    let up = [&up[..], &[kubeconfig.to_str().unwrap()]].concat();
    let mut child = pinnace(&up).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    until(&mut output, "export KUBECONFIG=").await;
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/manifests/web.yaml");
    for (arguments, printed) in [
        (&["apply", "-f", manifest][..], "deployment.apps/web created"),
        (&["rollout", "status", "deployment/web"], "successfully rolled out"),
        (&["get", "deployments"], "NAME   READY   UP-TO-DATE   AVAILABLE   AGE\nweb    "),
        (&["get", "pods", "-o", "yaml"], "phase: Running"),
        (&["scale", "deployment/web", "--replicas=1"], "deployment.apps/web scaled"),
        (&["delete", "deployment", "web"], "deployment.apps \"web\" deleted"),
        (&["get", "services"], "kubernetes   ClusterIP"),
    ] {
        let Some(text) = kubectl(&kubeconfig, arguments).await else {
            return eprintln!("there is no kubectl here: nothing is shown");
        };
        assert!(text.contains(printed), "{arguments:?}: {text}");
    }
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert!(child.wait().await.unwrap().success());
}

/// A pod of this spec, as explained to somebody at a terminal.
async fn explained(kubeconfig: &std::path::Path, manifest: &str, more: &[&str]) -> String {
    let file = kubeconfig.with_file_name("pod.yaml");
    std::fs::write(&file, manifest).unwrap();
    let kubeconfig = ["--kubeconfig", kubeconfig.to_str().unwrap()];
    let explain = ["explain", "-f", file.to_str().unwrap()];
    let output = pinnace(&[&explain[..], &kubeconfig[..], more].concat()).output();
    let output = tokio::time::timeout(PATIENCE, output).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn pods_are_explained_that_are_there_and_that_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    let up = [
        "up",
        "--listen",
        "127.0.0.1:0",
        "--runtime",
        "simulated",
        "--nodes",
        "3",
        "--rebalance",
        "--kubeconfig",
    ];
    let up = [&up[..], &[kubeconfig.to_str().unwrap()]].concat();
    let mut child = pinnace(&up).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    until(&mut output, "export KUBECONFIG=").await;
    let container = "containers: [{name: c, image: 'i:1'}]";
    let pod = |rest: &str| {
        format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: what-if}}, spec: {{{rest}{container}}}}}"
        )
    };
    let text = explained(&kubeconfig, &pod(""), &[]).await;
    assert!(
        text.starts_with("pod default/what-if, scheduled by default-scheduler\n\nbest: "),
        "{text}"
    );
    assert!(text.contains("runner-up: ") && text.contains("  NodeResourcesFit "), "{text}");
    let text =
        explained(&kubeconfig, &pod("nodeSelector: {disk: ssd}, "), &["-n", "kube-system"]).await;
    for expected in [
        "pod kube-system/what-if",
        "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
        ": NodeAffinity: node(s) didn't match Pod's node affinity/selector",
        "what would have to change, the least first:",
        ": select the node",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/manifests/web.yaml");
    let manifest = std::fs::read_to_string(manifest).unwrap();
    let json = explained(&kubeconfig, &manifest, &["-o", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["fitting"].as_array().unwrap().len(), 3);
    let missing = ["explain", "nobody", "--kubeconfig", kubeconfig.to_str().unwrap()];
    let missing = pinnace(&missing).output().await.unwrap();
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(said.contains("pods \"nobody\" not found"), "{said}");
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    assert!(child.wait().await.unwrap().success());
}
