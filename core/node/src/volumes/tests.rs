use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::{Value, json};

use std::fs;

use pinnace_runtime::{Features, Mount, Propagation};

use super::*;
use crate::config::Capacity;

struct World {
    state: tempfile::TempDir,
    found: Sources,
    allocatable: Capacity,
}

impl World {
    fn new() -> Self {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {"name": "secret"}, "data": {"token": "aHVudGVyMg=="}
        }))
        .unwrap();
        let found = Sources::default().with_config_map(map("one")).with_secret(secret);
        let state = tempfile::tempdir().unwrap();
        Self { state, found, allocatable: Capacity::default() }
    }

    fn pod(volumes: Value, mounts: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1", "labels": {"app": "web"}},
            "spec": {
                "volumes": volumes,
                "containers": [{"name": "c", "volumeMounts": mounts}]
            }
        }))
        .unwrap()
    }

    fn prepare(&self, pod: &Pod) -> Result<Prepared, String> {
        let around = Surroundings { host_ips: &[], pod_ips: &[], allocatable: &self.allocatable };
        prepare(self.state.path(), pod, &self.found, &around).map_err(|error| error.message)
    }

    fn mounts(&self, pod: &Pod) -> Result<Vec<Mount>, String> {
        let prepared = self.prepare(pod)?;
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let features = Features { recursive_read_only: true };
        mounts(self.state.path(), pod, container, &prepared, features, &|name| {
            (name == "NAME").then(|| "expanded".to_owned())
        })
    }
}

impl Drop for World {
    fn drop(&mut self) {
        remove(self.state.path(), "u-1").unwrap();
        assert!(!pod_directory(self.state.path(), "u-1").exists());
    }
}

fn map(value: &str) -> ConfigMap {
    let data = json!({"metadata": {"name": "map"}, "data": {"a": value, "b": "two"}});
    serde_json::from_value(data).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_config_map_is_shown_through_one_link_and_replaced_at_once() {
    let mut world = World::new();
    let pod = World::pod(json!([{"name": "v", "configMap": {"name": "map"}}]), json!([]));
    let path = world.prepare(&pod).unwrap()["v"].clone();
    assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "one");
    assert_eq!(mode(&path.join("a")), 0o644);
    let version = fs::read_link(path.join("..data")).unwrap();
    assert_eq!(fs::read_link(path.join("a")).unwrap(), Path::new("..data/a"));

    world.prepare(&pod).unwrap();
    assert_eq!(fs::read_link(path.join("..data")).unwrap(), version, "nothing has changed");

    let reader = fs::File::open(path.join("..data/a")).unwrap();
    let mut changed = map("three");
    changed.data.as_mut().unwrap().remove("b");
    world.found = Sources::default().with_config_map(changed);
    world.prepare(&pod).unwrap();
    assert_eq!(fs::read_to_string(path.join("a")).unwrap(), "three");
    assert!(!path.join("b").exists());
    assert_ne!(fs::read_link(path.join("..data")).unwrap(), version);
    assert_eq!(std::io::read_to_string(reader).unwrap(), "one", "who has opened it still reads it");
    assert_eq!(fs::read_dir(&path).unwrap().count(), 3, "a, ..data and its version");
}

#[test]
fn items_choose_paths_and_modes() {
    let world = World::new();
    let projected = json!([{"name": "v", "projected": {"sources": [
        {"secret": {"name": "secret", "items": [{"key": "token", "path": "deep/token", "mode": 0o400}]}},
        {"configMap": {"name": "none", "optional": true}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}
    ]}}]);
    let path = world.prepare(&World::pod(projected, json!([]))).unwrap()["v"].clone();
    assert_eq!(fs::read_to_string(path.join("deep/token")).unwrap(), "hunter2");
    assert_eq!(mode(&path.join("deep/token")), 0o400);
    assert_eq!(fs::read_to_string(path.join("labels")).unwrap(), "app=\"web\"");
}

#[test]
fn what_is_missing_is_said() {
    let world = World::new();
    let check = |volume: Value, expected: &str| {
        let got = world.prepare(&World::pod(json!([volume]), json!([]))).unwrap_err();
        assert_eq!(got, format!("MountVolume.SetUp failed for volume \"v\" : {expected}"));
    };
    check(json!({"name": "v", "configMap": {"name": "none"}}), "configmap \"none\" not found");
    check(json!({"name": "v", "secret": {"secretName": "none"}}), "secret \"none\" not found");
    check(
        json!({"name": "v", "configMap": {"name": "map", "items": [{"key": "z", "path": "z"}]}}),
        "configmap references non-existent config key: z",
    );
    check(
        json!({"name": "v", "configMap": {"name": "map", "items": [{"key": "a", "path": "../a"}]}}),
        "invalid path \"../a\": must stay within the volume",
    );
    check(
        json!({"name": "v", "hostPath": {"path": "/dev/null", "type": "Directory"}}),
        "hostPath type check failed: /dev/null is not a directory",
    );
    let nfs: Volume =
        serde_json::from_value(json!({"name": "v", "nfs": {"path": "/", "server": "s"}})).unwrap();
    let why = "volumes of type nfs are not supported by this node agent";
    assert_eq!(supported(&nfs), Err(MountError::new("v", why)));
}

#[test]
fn host_paths_are_made_as_their_type_says() {
    let world = World::new();
    let place = tempfile::tempdir().unwrap();
    for (name, kind, is_directory) in
        [("d", "DirectoryOrCreate", true), ("f", "FileOrCreate", false), ("n", "", true)]
    {
        let path = place.path().join(name);
        let volume = json!([{"name": "v", "hostPath": {"path": path, "type": kind}}]);
        let pod = World::pod(volume, json!([]));
        assert_eq!(world.prepare(&pod).unwrap()["v"], path);
        assert_eq!(path.is_dir(), is_directory, "{kind}");
        world.prepare(&pod).unwrap();
    }
}

#[test]
fn an_empty_dir_keeps_its_content() {
    let world = World::new();
    let mut pod = World::pod(json!([{"name": "v", "emptyDir": {}}]), json!([]));
    let path = world.prepare(&pod).unwrap()["v"].clone();
    assert_eq!(mode(&path), 0o777);
    fs::write(path.join("kept"), b"x").unwrap();
    let group = i64::from(fs::metadata(&path).unwrap().gid());
    pod.spec.as_mut().unwrap().security_context.get_or_insert_default().fs_group = Some(group);
    world.prepare(&pod).unwrap();
    assert!(path.join("kept").exists());
    assert_eq!(mode(&path), 0o2777);
}

#[test]
fn an_empty_dir_in_memory_is_a_tmpfs_or_says_what_it_needs() {
    let world = World::new();
    let volume = json!([{"name": "v", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]);
    let pod = World::pod(volume, json!([]));
    match world.prepare(&pod) {
        Ok(prepared) => {
            let device = |path: &Path| fs::metadata(path).unwrap().dev();
            assert_ne!(device(&prepared["v"]), device(world.state.path()));
            assert!(fs::write(prepared["v"].join("large"), vec![0; 2 << 20]).is_err());
            world.prepare(&pod).unwrap();
        }
        Err(message) => assert!(message.contains("CAP_SYS_ADMIN"), "{message}"),
    }
}

#[test]
fn sub_paths_stay_within_their_volume() {
    let world = World::new();
    let volume = json!([{"name": "v", "emptyDir": {}}]);
    let mount = |sub_path: &str| {
        let mounts = json!([{"name": "v", "mountPath": "/data", "subPath": sub_path}]);
        world.mounts(&World::pod(volume.clone(), mounts)).map(|mounts| mounts[0].clone())
    };
    let root = world.prepare(&World::pod(volume.clone(), json!([]))).unwrap()["v"].clone();
    fs::create_dir(root.join("real")).unwrap();
    fs::write(root.join("real/file"), b"inside").unwrap();
    symlink("real", root.join("link")).unwrap();
    symlink("/etc", root.join("absolute")).unwrap();
    symlink("../../../../../../..", root.join("up")).unwrap();

    let found = mount("link").unwrap();
    assert_eq!(fs::read_to_string(found.host_path.join("file")).unwrap(), "inside");
    assert_eq!(fs::read_to_string(mount("real/file").unwrap().host_path).unwrap(), "inside");
    assert!(mount("new/deep").unwrap().host_path.is_dir());
    assert!(root.join("new/deep").is_dir());
    for escape in ["absolute", "up/etc", "../x", "/etc"] {
        let error = mount(escape).unwrap_err();
        assert!(error.contains("subPath"), "{escape}: {error}");
    }
}

#[test]
fn what_comes_from_the_api_is_mounted_for_reading() {
    let world = World::new();
    let volumes = json!([
        {"name": "v", "configMap": {"name": "map"}}, {"name": "w", "emptyDir": {}}
    ]);
    let mounts = json!([
        {"name": "v", "mountPath": "/v"},
        {"name": "w", "mountPath": "w", "mountPropagation": "HostToContainer"},
        {"name": "w", "mountPath": "/x", "subPathExpr": "$(NAME)"}
    ]);
    let got = world.mounts(&World::pod(volumes.clone(), mounts)).unwrap();
    let shown: Vec<_> = got
        .iter()
        .map(|mount| (mount.container_path.to_str().unwrap(), mount.read_only, mount.propagation))
        .collect();
    assert_eq!(
        shown,
        [
            ("/v", true, Propagation::None),
            ("/w", false, Propagation::HostToContainer),
            ("/x", false, Propagation::None)
        ]
    );
    let missing = json!([{"name": "w", "mountPath": "/x", "subPathExpr": "$(GONE)"}]);
    assert!(world.mounts(&World::pod(volumes, missing)).unwrap_err().contains("GONE"));
}

#[test]
fn tokens_of_service_accounts_are_projected() {
    let mut world = World::new();
    let pod = World::pod(
        json!([{"name": "v", "projected": {"sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}},
            {"serviceAccountToken": {"path": "vault/token", "audience": "vault"}}
        ]}}]),
        json!([]),
    );
    let wanted = crate::pod::tokens::wanted(&pod);
    let audiences: Vec<_> =
        wanted.iter().map(|wanted| (wanted.audience.as_str(), wanted.seconds)).collect();
    assert_eq!(audiences, [("", 600), ("vault", 3600)]);
    assert!(world.prepare(&pod).unwrap_err().contains("the token is not there yet"));
    let tokens = wanted.into_iter().map(|wanted| {
        let text = format!("for {}", wanted.audience);
        let until = tokio::time::Instant::now();
        crate::pod::tokens::Token { wanted, text, until, ends: jiff::Timestamp::MAX }
    });
    world.found = std::mem::take(&mut world.found).with_tokens(tokens.collect());
    let at = world.prepare(&pod).unwrap()["v"].clone();
    assert_eq!(fs::read_to_string(at.join("token")).unwrap(), "for ");
    assert_eq!(fs::read_to_string(at.join("vault/token")).unwrap(), "for vault");
}

#[test]
fn claims_show_the_volumes_of_this_machine_that_they_are_bound_to() {
    let mut world = World::new();
    let disk = tempfile::tempdir().unwrap();
    let volume = |spec: Value| {
        serde_json::from_value(json!({"metadata": {"name": "pv"}, "spec": spec})).unwrap()
    };
    let local = volume(json!({"local": {"path": disk.path()}}));
    let remote = volume(json!({"nfs": {"path": "/", "server": "s"}}));
    let sources = std::mem::take(&mut world.found);
    world.found = sources.with_claim("data", local).with_claim("far", remote);
    let pod = |claim: &str, read_only: bool| {
        let source = json!({"claimName": claim, "readOnly": read_only});
        World::pod(
            json!([{"name": "v", "persistentVolumeClaim": source}]),
            json!([{"name": "v", "mountPath": "/data"}]),
        )
    };
    for read_only in [false, true] {
        let mounts = world.mounts(&pod("data", read_only)).unwrap();
        assert_eq!((mounts[0].host_path.as_path(), mounts[0].read_only), (disk.path(), read_only));
    }
    let refused = world.mounts(&pod("far", false)).unwrap_err();
    assert!(refused.contains("cannot mount"), "{refused}");
    let missing = world.mounts(&pod("none", false)).unwrap_err();
    assert!(missing.contains("persistentvolumeclaim \"none\" not found"), "{missing}");
}

#[test]
fn claims_without_a_file_system_are_devices() {
    let mut world = World::new();
    let volume = |path: &str| {
        let spec = json!({"volumeMode": "Block", "local": {"path": path}});
        serde_json::from_value(json!({"metadata": {"name": "pv"}, "spec": spec})).unwrap()
    };
    let sources = std::mem::take(&mut world.found);
    world.found =
        sources.with_claim("disk", volume("/dev/loop0")).with_claim("none", volume("/dev/null"));
    let pod = |claim: &str| -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u-1"},
            "spec": {
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}],
                "containers": [{
                    "name": "c", "volumeDevices": [{"name": "v", "devicePath": "/dev/xvda"}]
                }]
            }
        }))
        .unwrap()
    };
    let refused = world.prepare(&pod("none")).unwrap_err();
    assert!(refused.contains("path \"/dev/null\" is not a block device"), "{refused}");
    if std::path::Path::new("/dev/loop0").exists() {
        let pod = pod("disk");
        let prepared = world.prepare(&pod).unwrap();
        let container = &pod.spec.as_ref().unwrap().containers[0];
        let [device] = &devices(&pod, container, &prepared).unwrap()[..] else { panic!("one") };
        let paths = [&device.host_path, &device.container_path].map(|path| path.to_str().unwrap());
        assert_eq!((paths, device.read_only), (["/dev/loop0", "/dev/xvda"], false));
    }
}
