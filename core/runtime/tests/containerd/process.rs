use pinnace_runtime::{
    ContainerConfig, Error, Features, Mount, PodConfig, Propagation, Resources, Runtime, Seccomp,
    Security,
};

use crate::world::{World, script};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_gets_the_environment_and_place_it_asks_for() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let config = ContainerConfig {
        env: vec![("A".into(), "one two".into()), ("A".into(), "three".into())],
        working_dir: "/made/here".into(),
        ..script("main", "echo $A $HOSTNAME $PATH; pwd; hostname")
    };
    let (_, output) = world.output(&pod, config).await;
    assert_eq!(output, "three pod /bin\n/made/here\npod\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_numbers_or_names_of_the_image() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let run = async |name: &str, security: Security| {
        let config = ContainerConfig { security, ..script(name, "id -u; id -g; id -G") };
        world.output(&pod, config).await.1.replace('\n', " ")
    };
    assert_eq!(run("root", Security::default()).await, "0 0 0 10 ");
    let web = Security {
        user: Some(33),
        supplemental_groups: vec![77],
        run_as_non_root: true,
        ..Security::default()
    };
    assert_eq!(run("web", web).await, "33 34 34 40 77 ");
    let other = Security { user: Some(1000), group: Some(2000), ..Security::default() };
    assert_eq!(run("other", other).await, "1000 2000 2000 ");

    let security = Security { run_as_non_root: true, ..Security::default() };
    let config = ContainerConfig { security, ..script("refused", "true") };
    let error = world.runtime().create_container(&pod, &config).await.unwrap_err();
    let expected = "container has runAsNonRoot and image will run as root";
    assert!(error.to_string().contains(expected), "{error}");
    assert!(matches!(error, Error::InvalidConfig(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn privileges_are_those_of_the_security_context() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let show = "grep -E 'CapEff|NoNewPrivs' /proc/self/status | tr '\\t\\n' '  '; \
                touch /x 2>/dev/null && echo writable; \
                test -e /dev/kmsg && echo devices; \
                mount | grep -q 'proc on /proc/sys ' && echo masked; true";
    let run = async |name: &str, security: Security| {
        let config = ContainerConfig { security, ..script(name, show) };
        world.output(&pod, config).await.1
    };
    let plain = run("plain", Security::default()).await;
    assert!(plain.contains("CapEff: 00000000a80425fb"), "{plain}");
    assert!(plain.contains("NoNewPrivs: 0"), "{plain}");
    assert!(plain.ends_with("writable\nmasked\n"), "{plain}");
    let tight = Security {
        drop_capabilities: vec!["ALL".into()],
        add_capabilities: vec!["NET_BIND_SERVICE".into()],
        read_only_root: true,
        no_new_privileges: true,
        ..Security::default()
    };
    let tight = run("tight", tight).await;
    assert!(tight.contains("CapEff: 0000000000000400"), "{tight}");
    assert!(tight.contains("NoNewPrivs: 1"), "{tight}");
    assert!(!tight.contains("writable"), "{tight}");
    let privileged = Security { privileged: true, ..Security::default() };
    let privileged = run("privileged", privileged).await;
    assert!(privileged.ends_with("writable\ndevices\n"), "{privileged}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_dies_last_starts_whatever_containerd_may() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let resources = Resources { oom_score_adj: -997, ..Resources::default() };
    let config = ContainerConfig { resources, ..script("last", "cat /proc/self/oom_score_adj") };
    let given: i32 = world.output(&pod, config).await.1.trim().parse().unwrap();
    // Who may not lower it, as in many containers, gives its own.
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap();
    assert!(given == -997 || given == own.trim().parse::<i32>().unwrap(), "{given}");
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_and_the_termination_message_reach_the_machine() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let (volume, message) = (world.containerd.path("volume"), world.containerd.path("message"));
    std::fs::create_dir(&volume).unwrap();
    std::fs::write(volume.join("in"), "given\n").unwrap();
    std::fs::write(&message, "").unwrap();
    let mount = |target: &str, read_only| Mount {
        host_path: volume.clone(),
        container_path: target.into(),
        read_only,
        recursive_read_only: false,
        propagation: Propagation::None,
    };
    let text = "cat /data/in; echo back > /data/out; echo no > /fixed/x || echo refused; \
                echo last words > /dev/termination-log; df -k /dev/shm | tail -1 | tr -s ' '";
    let config = ContainerConfig {
        mounts: vec![mount("/data", false), mount("/fixed", true)],
        termination_message: message.clone(),
        termination_message_path: "/dev/termination-log".into(),
        ..script("main", text)
    };
    let (_, output) = world.output(&pod, config).await;
    // What goes to the error output may come before.
    assert!(output.contains("given\n"), "{output}");
    assert!(output.contains("refused\n") && output.contains("65536"), "{output}");
    assert_eq!(std::fs::read_to_string(volume.join("out")).unwrap(), "back\n");
    assert_eq!(std::fs::read_to_string(&message).unwrap(), "last words\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_files_and_kernel_parameters_are_its_own() {
    let Some(world) = World::new().await else { return };
    let config = PodConfig {
        hostname: "web-0".into(),
        domain: "web.default.svc.cluster.local".into(),
        resolv_conf: "nameserver 10.0.0.10\n".into(),
        sysctls: [("net.ipv4.ip_unprivileged_port_start".to_owned(), "7".to_owned())].into(),
        ..world.pod("p1")
    };
    let pod = world.runtime().create_pod(&config).await.unwrap();
    let namespace = pod.network_namespace.unwrap();
    let ip = |arguments: &[&str]| {
        let net = format!("--net={}", namespace.display());
        let status =
            std::process::Command::new("nsenter").arg(net).arg("ip").args(arguments).status();
        assert!(status.unwrap().success());
    };
    ip(&["address", "add", "10.88.0.7/32", "dev", "lo"]);
    let text = "cat /etc/hostname /etc/resolv.conf; tail -1 /etc/hosts; \
                cat /proc/sys/net/ipv4/ip_unprivileged_port_start";
    let (_, output) = world.output(&pod.id, script("main", text)).await;
    let line = "10.88.0.7\tweb-0.web.default.svc.cluster.local\tweb-0";
    assert_eq!(output, format!("web-0\nnameserver 10.0.0.10\n{line}\n7\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_may_use_the_machines_namespaces() {
    let Some(world) = World::new().await else { return };
    let config =
        PodConfig { host_network: true, host_pid: true, host_ipc: true, ..world.pod("p1") };
    let pod = world.runtime().create_pod(&config).await.unwrap();
    assert_eq!(pod.network_namespace, None);
    let show = "for n in net pid ipc uts mnt; do ls -l /proc/self/ns/$n; done | tr -s ' '";
    let (_, output) = world.output(&pod.id, script("main", show)).await;
    for (name, shared) in
        [("net", true), ("pid", true), ("ipc", true), ("uts", true), ("mnt", false)]
    {
        let link = std::fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_eq!(output.contains(link.to_str().unwrap()), shared, "{name}: {output}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_has_one_stream() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let config = ContainerConfig {
        tty: true,
        ..script("main", "test -t 1 && echo terminal $TERM; echo more >&2")
    };
    let (_, output) = world.output(&pod, config).await;
    assert_eq!(output.replace('\r', ""), "terminal xterm\nmore\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn standard_input_stays_open_when_asked_for() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let (_, output) = world.output(&pod, script("closed", "cat; echo ended")).await;
    assert_eq!(output, "ended\n");
    let open = ContainerConfig { stdin: true, ..script("open", "echo begun; cat; echo ended") };
    let id = world.start(&pod, &open).await;
    let log = world.log_path(&pod, "open");
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    crate::world::until("begun", || read().contains("begun")).await;
    world.runtime().remove_container(&id).await.unwrap();
    assert!(!read().contains("ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_seccomp_profile_filters_and_leaves_programs_running() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let run = async |name: &str, seccomp: Seccomp| {
        let security =
            Security { seccomp, add_capabilities: vec!["SYS_TIME".into()], ..Security::default() };
        let show = "grep -w Seccomp /proc/self/status; \
                    mkdir /d && mount -t tmpfs t /d 2>&1 | grep -o 'not permitted'; echo done";
        world.output(&pod, ContainerConfig { security, ..script(name, show) }).await.1
    };
    assert!(run("open", Seccomp::Unconfined).await.starts_with("Seccomp:\t0\n"));
    let filtered = run("filtered", Seccomp::RuntimeDefault).await;
    assert!(filtered.starts_with("Seccomp:\t2\n") && filtered.ends_with("done\n"), "{filtered}");
}

/// A file system below a directory that is shown to containers.
struct Below(std::path::PathBuf);

impl Below {
    fn new(volume: &std::path::Path) -> Self {
        let place = volume.join("below");
        std::fs::create_dir_all(&place).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("test", &place, "tmpfs", flags, None).unwrap();
        Self(place)
    }
}

impl Drop for Below {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_read_only_as_deep_as_asked() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let volume = world.containerd.path("volume");
    let _below = Below::new(&volume);
    let run = async |name: &str, recursive_read_only| {
        let mount = Mount {
            host_path: volume.clone(),
            container_path: "/data".into(),
            read_only: true,
            recursive_read_only,
            propagation: Propagation::None,
        };
        let text = "for d in /data /data/below; do (touch $d/x) 2>/dev/null && echo $d; done; true";
        world.output(&pod, ContainerConfig { mounts: vec![mount], ..script(name, text) }).await.1
    };
    assert_eq!(run("flat", false).await, "/data/below\n");
    if world.runtime().features("").await.recursive_read_only {
        assert_eq!(run("deep", true).await, "");
    }
    assert_eq!(world.runtime().features("none").await, Features::default());
}
