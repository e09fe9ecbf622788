use super::*;
use crate::{Mount, Resources, Security};

fn files() -> PodFiles {
    PodFiles {
        hosts: "/p/hosts".into(),
        hostname: "/p/hostname".into(),
        resolv_conf: "/p/resolv.conf".into(),
        shm: "/p/shm".into(),
    }
}

fn made(pod: &PodConfig, config: &ContainerConfig, image: serde_json::Value) -> serde_json::Value {
    let image = serde_json::json!({
        "architecture": "amd64", "os": "linux", "config": image,
        "rootfs": {"type": "layers", "diff_ids": []},
    });
    let image: ImageConfiguration = serde_json::from_value(image).unwrap();
    let pinned = Namespaces {
        network: Some("/p/ns/net".into()),
        ipc: Some("/p/ns/ipc".into()),
        uts: Some("/p/ns/uts".into()),
    };
    let spec = build(&Inputs {
        pod,
        files: &files(),
        namespaces: &pinned,
        pid_namespace: None,
        cgroup_path: "/pods/pod1/c".into(),
        cgroup_version: Version::V1,
        lowest_oom_score: 0,
        config,
        image: &image,
        user: User { uid: 7, gid: 8, groups: vec![8, 9] },
    });
    serde_json::to_value(spec.unwrap()).unwrap()
}

fn arguments(command: &[&str], args: &[&str]) -> serde_json::Value {
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let config =
        ContainerConfig { command: owned(command), args: owned(args), ..Default::default() };
    let image = serde_json::json!({"Entrypoint": ["entry"], "Cmd": ["cmd"]});
    made(&PodConfig::default(), &config, image)["process"]["args"].clone()
}

#[test]
fn command_and_args_replace_the_images_as_kubernetes_has_it() {
    assert_eq!(arguments(&[], &[]), serde_json::json!(["entry", "cmd"]));
    assert_eq!(arguments(&[], &["a"]), serde_json::json!(["entry", "a"]));
    assert_eq!(arguments(&["c"], &[]), serde_json::json!(["c"]));
    assert_eq!(arguments(&["c"], &["a"]), serde_json::json!(["c", "a"]));
}

#[test]
fn the_environment_of_the_pod_wins_over_the_images() {
    let config = ContainerConfig {
        command: vec!["c".into()],
        env: vec![("A".into(), "mine".into()), ("B".into(), "x=y".into())],
        ..ContainerConfig::default()
    };
    let pod = PodConfig { hostname: "h".into(), ..PodConfig::default() };
    let image = serde_json::json!({"Env": ["PATH=/x", "A=theirs"], "WorkingDir": "/srv"});
    let spec = made(&pod, &config, image);
    let expected = serde_json::json!(["PATH=/x", "HOSTNAME=h", "A=mine", "B=x=y"]);
    assert_eq!(spec["process"]["env"], expected);
    assert_eq!(spec["process"]["cwd"], "/srv");
    assert_eq!(spec["process"]["user"]["additionalGids"], serde_json::json!([8, 9]));
}

#[test]
fn a_container_joins_the_pods_namespaces_and_has_its_own_processes() {
    let config = ContainerConfig { command: vec!["c".into()], ..ContainerConfig::default() };
    let pod = PodConfig { id: "uid".into(), ..PodConfig::default() };
    let spec = made(&pod, &config, serde_json::json!({}));
    let expected = serde_json::json!([
        {"type": "mount"},
        {"type": "network", "path": "/p/ns/net"},
        {"type": "ipc", "path": "/p/ns/ipc"},
        {"type": "uts", "path": "/p/ns/uts"},
        {"type": "pid"},
    ]);
    assert_eq!(spec["linux"]["namespaces"], expected);
    assert_eq!(spec["annotations"]["io.containerd.runc.v2.group"], "uid");
    assert_eq!(spec["linux"]["cgroupsPath"], "/pods/pod1/c");
    assert!(spec["linux"]["maskedPaths"].as_array().unwrap().len() > 5);
}

#[test]
fn a_privileged_container_sees_the_machine() {
    let security = Security { privileged: true, ..Security::default() };
    let config =
        ContainerConfig { command: vec!["c".into()], security, ..ContainerConfig::default() };
    let spec = made(&PodConfig::default(), &config, serde_json::json!({}));
    assert!(spec["linux"].get("maskedPaths").is_none());
    assert_eq!(spec["linux"]["resources"]["devices"][0]["allow"], true);
    let devices = spec["linux"]["devices"].as_array().unwrap();
    assert!(devices.iter().any(|device| device["path"] == "/dev/null"));
}

#[test]
fn volumes_come_after_what_they_lie_in_and_replace_the_pods_files() {
    let volume = |target: &str, propagation| Mount {
        host_path: "/v".into(),
        container_path: target.into(),
        read_only: true,
        recursive_read_only: false,
        propagation,
    };
    let config = ContainerConfig {
        command: vec!["c".into()],
        mounts: vec![
            volume("/data/inner", Propagation::None),
            volume("/data", Propagation::HostToContainer),
            volume("/etc/hosts", Propagation::None),
        ],
        resources: Resources { oom_score_adj: 7, ..Resources::default() },
        ..ContainerConfig::default()
    };
    let spec = made(&PodConfig::default(), &config, serde_json::json!({}));
    let mounts = spec["mounts"].as_array().unwrap();
    let place = |target: &str| mounts.iter().position(|m| m["destination"] == target).unwrap();
    assert!(place("/data") < place("/data/inner"));
    assert_eq!(mounts.iter().filter(|m| m["destination"] == "/etc/hosts").count(), 1);
    let options = serde_json::json!(["rbind", "rslave", "ro"]);
    assert_eq!(mounts[place("/data")]["options"], options);
    assert_eq!(spec["linux"]["rootfsPropagation"], "rslave");
    assert_eq!(spec["process"]["oomScoreAdj"], 7);
}

#[test]
fn no_score_is_below_what_containerd_may_give() {
    let config = ContainerConfig {
        command: vec!["c".into()],
        resources: Resources { oom_score_adj: -997, ..Resources::default() },
        ..ContainerConfig::default()
    };
    let spec = made(&PodConfig::default(), &config, serde_json::json!({}));
    assert_eq!(spec["process"]["oomScoreAdj"], 0);
}
