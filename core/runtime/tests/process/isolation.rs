//! What only root may do.

use std::path::Path;
use std::time::Duration;

use pinnace_runtime::{
    ContainerConfig, Error, Mount, PodConfig, PodId, Propagation, Resources, Runtime, Security,
};

use crate::world::{World, exited, pid, sh, until};

fn mount(from: &Path, to: &str, read_only: bool) -> Mount {
    Mount {
        host_path: from.into(),
        container_path: to.into(),
        read_only,
        recursive_read_only: false,
        propagation: Propagation::None,
    }
}

#[tokio::test]
async fn pods_have_a_network_and_a_host_name_of_their_own() {
    let Some(world) = World::of_root().await else { return };
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let script = "hostname; readlink /proc/self/ns/net; grep -c . /proc/net/dev; sleep 1000";
    let mut networks = Vec::new();
    for name in ["web-0", "web-1"] {
        let container = world.start(name, &sh(script)).await.unwrap();
        until(async || world.log(&container).await.lines().count() == 3).await;
        let log = world.log(&container).await;
        let lines: Vec<_> = log.lines().collect();
        // Two lines of headings and the loopback device.
        assert_eq!((lines[0], lines[2]), (name, "3"));
        networks.push(lines[1].to_owned());
    }
    assert_ne!(networks[0], networks[1]);
    assert!(!networks.contains(&own.to_string_lossy().into_owned()));

    let host = PodConfig { host_network: true, ..world.pod("host") };
    assert_eq!(world.runtime.create_pod(&host).await.unwrap().network_namespace, None);
    world.end().await;
}

#[tokio::test]
async fn volumes_appear_in_their_place_and_leave_the_machine_alone() {
    let Some(world) = World::of_root().await else { return };
    let volume = world.home.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("file"), "content\n").unwrap();
    let message = world.home.path().join("message");
    let places = ["/pinnace-test-root/deep/data", "/etc/pinnace-test/data", "/opt"];
    let mut mounts: Vec<_> = places.iter().map(|place| mount(&volume, place, false)).collect();
    mounts.push(mount(&volume, "/mnt", true));
    mounts.push(mount(&volume.join("file"), "/etc/pinnace-test/file", false));
    mounts.push(mount(&volume.join("file"), "/opt/file", true));
    let script = format!(
        "cat {}/file; cat /etc/pinnace-test/file /etc/hostname >/dev/null && echo both; \
         echo new >/opt/new; echo no 2>/dev/null >/mnt/no || echo refused; \
         echo no 2>/dev/null >/opt/file || echo refused; \
         echo done >/dev/termination-log; ls /usr/bin/env /dev/null; echo x >/dev/null && echo dev",
        places.join("/file ")
    );
    let config = ContainerConfig {
        mounts,
        termination_message: message.clone(),
        termination_message_path: "/dev/termination-log".into(),
        ..sh(&script)
    };
    let (exit, log) = world.run(&config).await;
    assert_eq!(exit.code, 0, "{log}");
    let expected =
        "content\ncontent\ncontent\nboth\nrefused\nrefused\n/dev/null\n/usr/bin/env\ndev\n";
    assert_eq!(log, expected);
    assert_eq!(std::fs::read_to_string(volume.join("new")).unwrap(), "new\n");
    assert_eq!(std::fs::read_to_string(message).unwrap(), "done\n");
    for place in ["/pinnace-test-root", "/etc/pinnace-test", "/dev/termination-log"] {
        assert!(!Path::new(place).exists(), "{place} was made on the machine");
    }
    world.end().await;
}

#[tokio::test]
async fn a_read_only_root_refuses_writes_but_not_those_to_volumes() {
    let Some(world) = World::of_root().await else { return };
    let volume = world.home.path().join("volume");
    std::fs::create_dir(&volume).unwrap();
    let config = ContainerConfig {
        mounts: vec![mount(&volume, "/pinnace-test-data", false)],
        security: Security { read_only_root: true, ..Security::default() },
        ..sh(
            "touch /tmp/pinnace-no || echo refused; touch /pinnace-test-data/yes && echo written; : >/dev/null && echo dev",
        )
    };
    let (_, log) = world.run(&config).await;
    let mut lines: Vec<_> = log.lines().filter(|line| !line.starts_with("touch")).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["dev", "refused", "written"]);
    assert!(volume.join("yes").exists());
    world.end().await;
}

#[tokio::test]
async fn mounts_that_make_no_sense_are_refused() {
    let world = World::new().await;
    let pod = world.runtime.create_pod(&world.pod("p")).await.unwrap().id;
    let both = Mount {
        recursive_read_only: false,
        propagation: Propagation::Bidirectional,
        ..mount(Path::new("/opt"), "/mnt", false)
    };
    for wrong in
        [mount(Path::new("/opt"), "data", false), mount(Path::new("/opt"), "/a/../b", false), both]
    {
        let config = ContainerConfig { mounts: vec![wrong], ..sh("") };
        let refused = world.runtime.create_container(&pod, &config).await;
        assert!(matches!(refused, Err(Error::InvalidConfig(_))));
    }
    let missing =
        ContainerConfig { mounts: vec![mount(Path::new("/no/such"), "/mnt", false)], ..sh("") };
    assert!(world.start("p", &missing).await.is_err());
    world.end().await;
}

#[tokio::test]
async fn containers_run_as_whom_they_ask_for() {
    let Some(world) = World::of_root().await else { return };
    let dumpable = rustix::process::dumpable_behavior().unwrap();
    let security = Security {
        user: Some(12345),
        group: Some(23456),
        supplemental_groups: vec![34567],
        no_new_privileges: true,
        ..Security::default()
    };
    let script = "id -u; id -g; id -G; grep -E 'NoNewPrivs|CapEff' /proc/self/status; echo $HOME";
    let (_, log) = world.run(&ContainerConfig { security, ..sh(script) }).await;
    assert_eq!(log, "12345\n23456\n23456 34567\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n/\n");
    assert_eq!(rustix::process::getuid().as_raw(), 0, "the host stays who it is");
    assert_eq!(rustix::process::dumpable_behavior().unwrap(), dumpable);

    let security = Security {
        drop_capabilities: vec!["ALL".into()],
        add_capabilities: vec!["NET_BIND_SERVICE".into()],
        ..Security::default()
    };
    let (_, log) =
        world.run(&ContainerConfig { security, ..sh("grep CapEff /proc/self/status") }).await;
    assert_eq!(log, "CapEff:\t0000000000000400\n");

    let security = Security { run_as_non_root: true, ..Security::default() };
    let refused = world.start("p", &ContainerConfig { security, ..sh("") }).await;
    assert!(matches!(refused, Err(Error::InvalidConfig(_))));
    world.end().await;
}

#[tokio::test]
async fn a_container_that_takes_too_much_memory_is_killed_for_that() {
    let Some(world) = World::of_root().await else { return };
    let resources = Resources { memory_limit_bytes: 32 << 20, ..Resources::default() };
    let script = "x=$(head -c 100000000 /dev/zero | tr '\\0' x); echo survived";
    let (exit, log) = world.run(&ContainerConfig { resources, ..sh(script) }).await;
    assert_eq!((exit.code, exit.reason, &*log), (137, "OOMKilled", ""));
    world.end().await;
}

#[tokio::test]
async fn a_running_container_is_given_more_memory() {
    let Some(world) = World::of_root().await else { return };
    let given = world.home.path().join("given");
    let script = format!(
        "until [ -e {} ]; do sleep 0.01; done; \
         x=$(head -c 40000000 /dev/zero | tr '\\0' x); echo survived",
        given.display()
    );
    let limit = |bytes| Resources { memory_limit_bytes: bytes, ..Resources::default() };
    let config = ContainerConfig { resources: limit(32 << 20), ..sh(&script) };
    let container = world.start("p", &config).await.unwrap();
    world.runtime.update_pod(&PodId("p".into()), &limit(1 << 30)).await.unwrap();
    world.runtime.update_container(&container, &limit(512 << 20)).await.unwrap();
    std::fs::write(given, "").unwrap();
    let exit = exited(&world.runtime, &container).await;
    assert_eq!((exit.code, &*world.log(&container).await), (0, "survived\n"));
    let ended = world.runtime.update_container(&container, &limit(1 << 20)).await;
    assert!(matches!(ended, Err(Error::NotRunning(_))), "{ended:?}");
    world.end().await;
}

#[tokio::test]
async fn what_leaves_the_process_group_is_killed_with_the_container() {
    let Some(world) = World::of_root().await else { return };
    let script = "setsid -f sh -c 'echo $$; exec sleep 1000'; sleep 1000";
    let container = world.start("p", &sh(script)).await.unwrap();
    until(async || world.log(&container).await.ends_with('\n')).await;
    let daemon: u32 = world.log(&container).await.trim().parse().unwrap();
    assert!(crate::world::lives(daemon));
    world.runtime.stop_container(&container, Duration::from_secs(30)).await.unwrap();
    exited(&world.runtime, &container).await;
    until(async || !crate::world::lives(daemon)).await;
    world.end().await;
}

#[tokio::test]
async fn pods_have_hosts_and_name_servers_of_their_own() {
    let Some(world) = World::of_root().await else { return };
    let pod = PodConfig {
        resolv_conf: "nameserver 10.0.0.10\n".into(),
        hosts: "127.0.0.1\tlocalhost\n".into(),
        ..world.pod("p")
    };
    world.runtime.create_pod(&pod).await.unwrap();
    let (_, log) = world.run(&sh("cat /etc/resolv.conf /etc/hosts")).await;
    assert_eq!(log, "nameserver 10.0.0.10\n127.0.0.1\tlocalhost\n");
    world.end().await;
}

#[tokio::test]
async fn a_container_does_not_keep_other_pods_namespaces_alive() {
    let Some(world) = World::of_root().await else { return };
    world.runtime.create_pod(&world.pod("other")).await.unwrap();
    let volume = vec![mount(world.home.path(), "/pinnace-test-data", false)];
    let container = world.start("p", &ContainerConfig { mounts: volume, ..sh("sleep 1000") }).await;
    let pid = pid(&world.runtime, &container.unwrap()).await;
    let own = world.home.path().to_string_lossy().into_owned();
    let pinned = || {
        let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
        assert!(mounts.contains(" /pinnace-test-data "), "{mounts}");
        mounts.lines().filter(|line| line.contains(&own) && line.contains(" nsfs ")).count()
    };
    assert_eq!(pinned(), 0);
    world.runtime.create_pod(&world.pod("later")).await.unwrap();
    assert_eq!(pinned(), 0);
    world.runtime.remove_pod(&PodId("later".into())).await.unwrap();
    assert_eq!(pinned(), 0);
    world.end().await;
}

#[tokio::test]
async fn what_is_mounted_below_a_volume_is_read_only_when_asked() {
    let Some(world) = World::of_root().await else { return };
    let volume = world.home.path().join("volume");
    let below = volume.join("below");
    std::fs::create_dir_all(&below).unwrap();
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount("test", &below, "tmpfs", flags, None).unwrap();
    let script = "for d in /mnt /opt; do (touch $d/below/x) 2>/dev/null && echo $d; done; true";
    let mounts = [("/mnt", true), ("/opt", false)]
        .map(|(place, deep)| Mount { recursive_read_only: deep, ..mount(&volume, place, true) });
    let config = ContainerConfig { mounts: mounts.to_vec(), ..sh(script) };
    let container = world.start("p1", &config).await.unwrap();
    exited(&world.runtime, &container).await;
    let log = world.log(&container).await;
    rustix::mount::unmount(&below, rustix::mount::UnmountFlags::DETACH).unwrap();
    assert_eq!(log, "/opt\n");
    world.end().await;
}
