use std::time::Duration;

use futures::StreamExt as _;
use pinnace_env::Stopwatch;
use pinnace_runtime::cgroup::Cgroup;
use pinnace_runtime::logs::{LogLimits, LogLine, LogOptions, read_logs};
use pinnace_runtime::{
    ContainerConfig, ContainerPhase, Error, PodConfig, PodId, QosClass, Resources, Runtime,
    RuntimeEvent,
};

use crate::world::{World, next, script, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_and_tells_its_exit_code_and_log() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let mut events = world.runtime().events();
    let config = script("main", "echo out; echo err >&2; printf unended; exit 3");
    let id = world.runtime().create_container(&pod, &config).await.unwrap();
    assert_eq!(world.phase(&id).await, ContainerPhase::Created);
    assert_eq!(world.runtime().create_container(&pod, &config).await.unwrap(), id);

    world.runtime().start_container(&id).await.unwrap();
    let started = RuntimeEvent::Started { pod: pod.clone(), container: id.clone() };
    let exited = RuntimeEvent::Exited { pod: pod.clone(), container: id.clone() };
    assert_eq!(next(&mut events).await, started);
    assert_eq!(next(&mut events).await, exited);
    let exit = world.exit(&id).await;
    assert_eq!((exit.code, exit.reason), (3, "Error"));
    assert!(exit.started_at <= exit.finished_at);

    let log = world.log_path(&pod, "main");
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    until("the whole log", || read().ends_with("stdout P unended\n")).await;
    let text = read();
    assert!(text.contains(" stdout F out\n") && text.contains(" stderr F err\n"), "{text}");
    for line in text.lines() {
        line.split(' ').next().unwrap().parse::<jiff::Timestamp>().unwrap();
    }
    world.runtime().remove_container(&id).await.unwrap();
    assert_eq!(world.runtime().container(&id).await.unwrap(), None);
    assert!(log.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_asks_first_and_kills_after_the_grace() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let polite = script("polite", "trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done");
    let deaf = script("deaf", "trap '' TERM; echo ready; while :; do sleep 0.01; done");
    let signalled = ContainerConfig {
        stop_signal: "SIGUSR1".into(),
        ..script("signalled", "trap 'exit 7' USR1; echo ready; while :; do sleep 0.01; done")
    };
    for (config, grace, code) in [
        (polite, Duration::from_secs(30), 0),
        (deaf, Duration::from_millis(200), 137),
        (signalled, Duration::from_secs(30), 7),
    ] {
        let id = world.start(&pod, &config).await;
        let log = world.log_path(&pod, &config.name);
        until("ready", || std::fs::read_to_string(&log).unwrap_or_default().contains("ready"))
            .await;
        let watch = Stopwatch::start();
        world.runtime().stop_container(&id, grace).await.unwrap();
        assert!(watch.elapsed() < Duration::from_secs(10), "{}", config.name);
        match world.phase(&id).await {
            ContainerPhase::Exited(exit) => assert_eq!(exit.code, code, "{}", config.name),
            phase => panic!("{} is {phase:?}", config.name),
        }
        world.runtime().stop_container(&id, grace).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_shows_as_128_and_its_number() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    for (name, signal, code) in [("term", "TERM", 143), ("kill", "KILL", 137)] {
        // The first process of a PID namespace ignores what it has no handler for, so its child
        // takes the signal and the shell passes its status on.
        let config = script(name, &format!("sleep 60 & kill -{signal} $!; wait $!; exit $?"));
        let (exit, _) = world.output(&pod, config).await;
        assert_eq!((exit.code, exit.reason), (code, "Error"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn using_too_much_memory_is_told_apart_from_failing() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let config = ContainerConfig {
        resources: Resources { memory_limit_bytes: 16 << 20, ..Resources::default() },
        ..script("greedy", "x=a; while :; do x=$x$x; done")
    };
    let id = world.start(&pod, &config).await;
    let exit = world.exit(&id).await;
    assert_eq!((exit.code, exit.reason), (137, "OOMKilled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_does_not_exist_is_said_as_containerd_says_it() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let config = ContainerConfig { command: vec!["nonsense".into()], ..script("main", "") };
    let id = world.runtime().create_container(&pod, &config).await.unwrap();
    let error = world.runtime().start_container(&id).await.unwrap_err();
    let Error::Start { message, .. } = &error else { panic!("{error}") };
    assert!(message.starts_with("failed to create containerd task: "), "{message}");
    assert!(
        message.contains("exec: \"nonsense\": executable file not found in $PATH"),
        "{message}"
    );
    match world.phase(&id).await {
        ContainerPhase::Exited(exit) => assert_eq!((exit.code, exit.reason), (128, "StartError")),
        phase => panic!("{phase:?}"),
    }
    // The pod is none the worse for it.
    assert_eq!(world.output(&pod, script("next", "echo fine")).await.1, "fine\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_has_its_own_error() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let config = ContainerConfig { image: "busybox:none".into(), ..script("main", "") };
    let error = world.runtime().create_container(&pod, &config).await.unwrap_err();
    assert!(matches!(error, Error::ImageNotFound { .. }), "{error}");
    let other = pinnace_runtime::PodId("none".into());
    let error = world.runtime().create_container(&other, &script("main", "")).await.unwrap_err();
    assert!(matches!(error, Error::PodNotFound(_)), "{error}");
    let nobody = pinnace_runtime::ContainerId("none".into());
    let error = world.runtime().start_container(&nobody).await.unwrap_err();
    assert!(matches!(error, Error::ContainerNotFound(_)), "{error}");
    world.runtime().remove_container(&nobody).await.unwrap();
    world.runtime().remove_pod(&other).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_containers_of_a_pod_share_one_shim() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    world.start(&pod, &script("a", "sleep 60")).await;
    world.start(&pod, &script("b", "sleep 60")).await;
    let shims = world.containerd.processes().into_iter().filter(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/comm"))
            .is_ok_and(|c| c.starts_with("containerd-shim"))
    });
    assert_eq!(shims.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_made_again_and_again() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    for attempt in 0..10 {
        let config = ContainerConfig { attempt, ..script("main", "echo $HOSTNAME") };
        let (exit, output) = world.output(&pod, config).await;
        assert_eq!((exit.code, exit.reason, output.as_str()), (0, "Completed", "pod\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_pod_leaves_nothing() {
    let Some(world) = World::new().await else { return };
    let config = PodConfig {
        qos_class: QosClass::Burstable,
        resources: Resources { memory_limit_bytes: 256 << 20, ..Resources::default() },
        ..world.pod("p1")
    };
    let sandbox = world.runtime().create_pod(&config).await.unwrap();
    let again = world.runtime().create_pod(&config).await.unwrap();
    assert_eq!(sandbox, again);
    let network = sandbox.network_namespace.unwrap();
    assert!(network.exists());
    let ended = world.start(&sandbox.id, &script("ended", "true")).await;
    world.exit(&ended).await;
    world.start(&sandbox.id, &script("running", "sleep 60 & sleep 60")).await;
    let unstarted = script("unstarted", "true");
    world.runtime().create_container(&sandbox.id, &unstarted).await.unwrap();
    let cgroup = world.cgroups().pod("p1", QosClass::Burstable);
    assert!(cgroup.exists());
    let shims = world.containerd.shim_sockets();
    assert!(!shims.is_empty());

    world.runtime().remove_pod(&sandbox.id).await.unwrap();
    assert_eq!(world.runtime().list_pods().await.unwrap(), []);
    assert_eq!(world.containerd.mounts(), [] as [std::path::PathBuf; 0]);
    assert!(!cgroup.exists());
    // Also where this crate puts nothing itself, but runc does.
    for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap() {
        let below = hierarchy.unwrap().path().join(cgroup.oci_path().trim_start_matches('/'));
        assert!(!below.exists(), "{}", below.display());
    }
    assert!(!world.containerd.path("pinnace/pods/p1").exists());
    until("no process", || world.containerd.processes().is_empty()).await;
    assert!(shims.iter().all(|socket| !socket.exists()));
    assert_eq!(world.ctr(&["containers", "list", "-q"]), "");
    assert_eq!(world.ctr(&["tasks", "list", "-q"]), "");
    let snapshots = world.ctr(&["snapshots", "list"]);
    assert!(!snapshots.contains("Active"), "{snapshots}");
    world.runtime().remove_pod(&sandbox.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runtime_that_is_disposed_of_leaves_no_image_no_namespace_and_no_cgroup() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    world.output(&pod, script("ended", "true")).await;
    world.runtime().remove_pod(&pod).await.unwrap();
    assert!(world.cgroups().all().exists());
    world.runtime().dispose().await.unwrap();
    assert!(!world.cgroups().all().exists());
    assert_eq!(world.ctr(&["namespaces", "list", "-q"]), "");
    assert_eq!(world.ctr(&["content", "list", "-q"]), "");
    assert_eq!(world.ctr(&["snapshots", "list"]).lines().count(), 1, "only the heading");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_change_while_a_container_runs() {
    let Some(world) = World::new().await else { return };
    let limit = |megabytes: u64| Resources {
        cpu_limit_millis: megabytes * 10,
        memory_limit_bytes: megabytes << 20,
        ..Resources::default()
    };
    let pod = PodConfig { resources: limit(64), ..world.pod("p1") };
    let pod = world.runtime().create_pod(&pod).await.unwrap().id;
    let config = ContainerConfig { resources: limit(64), ..script("c", "sleep 60") };
    let id = world.start(&pod, &config).await;
    let cgroup = world.cgroups().pod("p1", QosClass::BestEffort);
    let found = |cgroup: &Cgroup| {
        let files = cgroup.directories().into_iter().flat_map(|directory| {
            ["memory.limit_in_bytes", "memory.max"].map(|file| directory.join(file))
        });
        let mut texts = files.filter_map(|file| std::fs::read_to_string(file).ok());
        texts.next().unwrap().trim().parse::<u64>().unwrap() >> 20
    };
    // The kernel takes no pod's limit below that of its container.
    for (wide, megabytes) in [(128, 128), (128, 32)] {
        let (wide, narrow) = (limit(wide), limit(megabytes));
        world.runtime().update_pod(&pod, &wide).await.unwrap();
        world.runtime().update_container(&id, &narrow).await.unwrap();
        world.runtime().update_pod(&pod, &narrow).await.unwrap();
        assert_eq!([found(&cgroup), found(&cgroup.child(&id.0))], [megabytes; 2]);
    }
    let missing = world.runtime().update_pod(&PodId("other".into()), &limit(1)).await;
    assert!(matches!(missing, Err(Error::PodNotFound(_))), "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_process_namespace_shows_the_others() {
    let Some(world) = World::new().await else { return };
    let config = PodConfig { share_process_namespace: true, ..world.pod("p1") };
    let pod = world.runtime().create_pod(&config).await.unwrap().id;
    world.start(&pod, &script("first", "exec sleep 61")).await;
    let (_, output) = world.output(&pod, script("second", "ps")).await;
    assert!(output.contains("sleep 61"), "{output}");
    let apart = world.make_pod("p2").await;
    world.start(&apart, &script("first", "exec sleep 62")).await;
    let (_, output) = world.output(&apart, script("second", "ps")).await;
    assert!(!output.contains("sleep 62"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pod_uses_is_told_down_to_what_its_containers_have_written() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let work = "i=0; while [ $i -lt 20000 ]; do echo 0123456789 >> /data; i=$((i+1)); done; \
        echo ready; while :; do sleep 1; done";
    let id = world.start(&pod, &script("main", work)).await;
    let log = world.log_path(&pod, "main");
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    until("the work is done", || read().contains("ready")).await;
    let stats = world.runtime().stats(std::slice::from_ref(&pod), true).await.unwrap();
    assert_eq!((stats.len(), &stats[0].pod), (1, &pod));
    let main = &stats[0].containers[0];
    assert_eq!((&main.id, &*main.name), (&id, "main"));
    assert!(main.usage.cpu > Duration::ZERO && main.usage.working_set_bytes > 0, "{main:?}");
    assert!(main.written.unwrap().bytes >= 220_000, "{main:?}");
    assert!(stats[0].usage.cpu >= main.usage.cpu && stats[0].usage.pids >= main.usage.pids);
    let quick = world.runtime().stats(std::slice::from_ref(&pod), false).await.unwrap();
    assert_eq!(quick[0].containers[0].written, None);
    world.runtime().remove_pod(&pod).await.unwrap();
    assert!(world.runtime().stats(&[pod], true).await.unwrap().is_empty());
}

/// The host dies and comes back in the middle of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_output_fills_only_so_much_and_its_end_is_whole() {
    let Some(mut world) = World::new().await else { return };
    let limits = LogLimits { max_bytes: 1 << 20, max_files: 3 };
    let config = PodConfig { log_limits: limits, ..world.pod("p1") };
    let pod = world.runtime().create_pod(&config).await.unwrap().id;
    let flood = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); echo $i; done";
    let id = world.start(&pod, &script("main", flood)).await;
    let log = world.log_path(&pod, "main");
    let (end, ended) = tokio::sync::watch::channel(false);
    let options = LogOptions { follow: Some(ended), ..LogOptions::default() };
    let last_followed = tokio::spawn(read_logs(&log, options).fold(0, async |last, line| {
        let now = number(&line.unwrap());
        assert!(now > last, "{now} after {last}");
        now
    }));
    until("a second file", || log.with_file_name("0.log.1").exists()).await;
    world.restart_runtime().await;
    world.exit(&id).await;
    world.runtime().remove_container(&id).await.unwrap();
    end.send(true).unwrap();
    assert_eq!(last_followed.await.unwrap(), 200_000);

    let kept: Vec<u64> =
        read_logs(&log, LogOptions::default()).map(|line| number(&line.unwrap())).collect().await;
    assert!(
        kept.len() > 20_000 && kept.iter().rev().copied().eq((1..=200_000).rev().take(kept.len()))
    );
    let sizes: Vec<u64> = std::fs::read_dir(log.parent().unwrap())
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    assert!(sizes.len() == 3 && sizes.iter().all(|size| *size <= limits.max_bytes), "{sizes:?}");
}

fn number(line: &LogLine) -> u64 {
    std::str::from_utf8(&line.text).unwrap().trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_bomb_harms_only_its_own_pod() {
    let Some(world) = World::new().await else { return };
    let limit = 50;
    let config = PodConfig {
        resources: Resources { pids_limit: limit, ..Resources::default() },
        ..world.pod("bomb")
    };
    let bomb = world.runtime().create_pod(&config).await.unwrap().id;
    let neighbour = world.make_pod("neighbour").await;
    let text = "while :; do (while :; do sleep 600 & done) 2>/dev/null; done";
    let id = world.start(&bomb, &script("main", text)).await;
    let group = world.cgroups().pod("bomb", QosClass::BestEffort);
    until("all that it may have", || group.usage().unwrap().pids >= limit - 1).await;
    assert_eq!(world.output(&neighbour, script("main", "(echo fine)")).await.1, "fine\n");
    assert!(group.usage().unwrap().pids <= limit);
    world.runtime().stop_container(&id, Duration::ZERO).await.unwrap();
    assert_eq!(group.usage().unwrap().pids, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn burstable_pods_weigh_together_what_they_have_asked_for() {
    let Some(mut world) = World::new().await else { return };
    let directories = world.cgroups().all().directories();
    let weight = || {
        let files = directories.iter().map(|directory| directory.join("kubepods/burstable"));
        let mut files = files.flat_map(|one| [one.join("cpu.shares"), one.join("cpu.weight")]);
        files.find_map(|file| std::fs::read_to_string(file).ok()).unwrap()
    };
    let asking = |millis| Resources { cpu_request_millis: millis, ..Resources::default() };
    let burstable = |uid: &str, millis| PodConfig {
        qos_class: QosClass::Burstable,
        resources: asking(millis),
        ..world.pod(uid)
    };
    let all = [burstable("p1", 1000), burstable("p2", 3000), burstable("p3", 4000)];
    world.runtime().create_pod(&all[0]).await.unwrap();
    let one = weight();
    world.runtime().create_pod(&all[1]).await.unwrap();
    let four = weight();
    assert_ne!(one, four);
    world.restart_runtime().await;
    world.runtime().create_pod(&all[2]).await.unwrap();
    let eight = weight();
    world.runtime().remove_pod(&PodId("p3".into())).await.unwrap();
    assert_eq!(weight(), four);
    world.runtime().update_pod(&PodId("p2".into()), &asking(7000)).await.unwrap();
    assert_eq!(weight(), eight);
}
