use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use pinnace_runtime::{ContainerConfig, Device, PodConfig, Runtime as _, RuntimeHandler};

use crate::world::{World, script};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_carried_out_by_its_handler() {
    let Some(mut world) = World::new().await else { return };
    // As runc, but it leaves a trace.
    let (trace, wrapper) = (world.containerd.path("trace"), world.containerd.path("my-runc"));
    let text = format!("#!/bin/sh\necho used >> {}\nexec runc \"$@\"\n", trace.display());
    std::fs::write(&wrapper, text).unwrap();
    std::fs::set_permissions(&wrapper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let handler = RuntimeHandler {
        runtime_type: "io.containerd.runc.v2".into(),
        binary: wrapper.display().to_string(),
    };
    world.handlers.insert("mine".into(), handler);
    world.restart_runtime().await;

    let config = PodConfig { runtime_handler: "none".into(), ..world.pod("p0") };
    let refused = world.runtime().create_pod(&config).await.unwrap_err().to_string();
    assert!(refused.contains("no runtime for \"none\" is configured"), "{refused}");

    let usual = world.make_pod("p1").await;
    assert_eq!(world.output(&usual, script("main", "echo usual")).await.1, "usual\n");
    assert!(!trace.exists());
    let config = PodConfig { runtime_handler: "mine".into(), ..world.pod("p2") };
    let own = world.runtime().create_pod(&config).await.unwrap().id;
    assert_eq!(world.output(&own, script("main", "echo own")).await.1, "own\n");
    assert!(trace.exists(), "the other program was used");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_has_the_devices_that_it_was_given() {
    let Some(world) = World::new().await else { return };
    let disk = PathBuf::from("/dev/loop0");
    if !disk.exists() {
        eprintln!("skipped: there is no /dev/loop0");
        return;
    }
    let device = |read_only| Device {
        host_path: disk.clone(),
        container_path: "/dev/disk".into(),
        read_only,
    };
    let look = "test -b /dev/disk && echo block; \
                (: < /dev/disk) 2>/dev/null && echo read; (: >> /dev/disk) 2>/dev/null && echo write";
    let pod = world.make_pod("p1").await;
    for (name, read_only, expected) in
        [("rw", false, "block\nread\nwrite\n"), ("ro", true, "block\nread\n")]
    {
        let config = ContainerConfig { devices: vec![device(read_only)], ..script(name, look) };
        assert_eq!(world.output(&pod, config).await.1, expected);
    }
    let file = Device { host_path: "/etc/hostname".into(), ..device(false) };
    let config = ContainerConfig { devices: vec![file], ..script("file", look) };
    let refused = world.runtime().create_container(&pod, &config).await.unwrap_err().to_string();
    assert!(refused.contains("/etc/hostname is no device"), "{refused}");
}
