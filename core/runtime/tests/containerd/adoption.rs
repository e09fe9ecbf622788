use std::time::Duration;

use pinnace_runtime::{ContainerConfig, ContainerPhase, Error, Runtime, RuntimeEvent};

use crate::world::{World, next, script, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_new_process_finds_what_runs_and_what_ended() {
    let Some(mut world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let empty = world.make_pod("p2").await;
    let ticking = "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done";
    let running = world.start(&pod, &script("running", ticking)).await;
    let known = world.start(&pod, &script("known", "exit 4")).await;
    world.exit(&known).await;
    let go = world.containerd.path("go");
    std::fs::create_dir(&go).unwrap();
    let mut later = script("later", "while ! test -e /go/now; do sleep 0.01; done; exit 5");
    later.mounts = vec![pinnace_runtime::Mount {
        host_path: go.clone(),
        container_path: "/go".into(),
        read_only: true,
        recursive_read_only: false,
        propagation: pinnace_runtime::Propagation::None,
    }];
    let later = world.start(&pod, &later).await;
    let created = script("created", "true");
    let created = world.runtime().create_container(&pod, &created).await.unwrap();
    let before = world.phase(&running).await;
    let later_pid = match world.phase(&later).await {
        ContainerPhase::Running { pid, .. } => pid,
        phase => panic!("{phase:?}"),
    };

    world.drop_runtime();
    std::fs::write(go.join("now"), "").unwrap();
    until("the end of a process", || {
        std::fs::read_to_string(format!("/proc/{later_pid}/stat")).is_err()
    })
    .await;
    world.restart_runtime().await;

    let mut pods = world.runtime().list_pods().await.unwrap();
    pods.sort_by(|a, b| a.config.id.cmp(&b.config.id));
    assert_eq!(pods.iter().map(|p| &p.sandbox.id).collect::<Vec<_>>(), [&pod, &empty]);
    assert!(pods[0].sandbox.network_namespace.as_ref().unwrap().exists());
    let names: Vec<&str> = pods[0].containers.iter().map(|c| c.config.name.as_str()).collect();
    assert_eq!(names, ["running", "known", "later", "created"]);
    assert_eq!(world.phase(&running).await, before);
    assert_eq!(world.phase(&created).await, ContainerPhase::Created);
    assert_eq!(world.exit(&known).await.code, 4);
    assert_eq!(world.exit(&later).await.code, 5);

    // The log goes on where it was, without a gap or a repetition.
    let log = world.log_path(&pod, "running");
    let numbers = || -> Vec<u64> {
        let text = std::fs::read_to_string(&log).unwrap();
        text.lines().filter_map(|line| line.rsplit(' ').next()?.parse().ok()).collect()
    };
    let so_far = numbers().len();
    until("more lines", || numbers().len() > so_far + 5).await;
    let numbers = numbers();
    assert!(numbers.iter().enumerate().all(|(i, n)| i as u64 == *n), "{numbers:?}");

    world.runtime().start_container(&created).await.unwrap();
    assert_eq!(world.exit(&created).await.code, 0);
    world.runtime().stop_container(&running, Duration::ZERO).await.unwrap();
    for pod in [pod, empty] {
        world.runtime().remove_pod(&pod).await.unwrap();
    }
    assert_eq!(world.runtime().list_pods().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_outlive_containerd_and_are_known_again() {
    let Some(mut world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let running = world.start(&pod, &script("running", "sleep 60")).await;
    let go = world.containerd.path("go");
    std::fs::create_dir(&go).unwrap();
    let mut ending = script("ending", "while ! test -e /go/now; do sleep 0.01; done; exit 6");
    ending.mounts = vec![pinnace_runtime::Mount {
        host_path: go.clone(),
        container_path: "/go".into(),
        read_only: true,
        recursive_read_only: false,
        propagation: pinnace_runtime::Propagation::None,
    }];
    let ending = world.start(&pod, &ending).await;
    let before = world.phase(&running).await;
    let mut events = world.runtime().events();

    world.containerd.kill();
    loop {
        if let RuntimeEvent::Lost { .. } = next(&mut events).await {
            break;
        }
    }
    let error = world.runtime().check().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    let error = world.runtime().import_image(&world.containerd.path("busybox.tar")).await;
    assert!(matches!(error, Err(Error::Unavailable { .. })), "{error:?}");
    std::fs::write(go.join("now"), "").unwrap();

    world.containerd.run().unwrap();
    while next(&mut events).await != RuntimeEvent::Recovered {}
    world.runtime().check().await.unwrap();
    assert_eq!(world.phase(&running).await, before);
    assert_eq!(world.exit(&ending).await.code, 6);
    assert_eq!(world.output(&pod, script("new", "echo again")).await.1, "again\n");
    world.runtime().remove_pod(&pod).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_containerd_that_is_not_there_is_an_error() {
    let Some(mut world) = World::without_image().await else { return };
    world.drop_runtime();
    world.containerd.kill();
    let error = world.connect().await.err().expect("an error");
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_killed_behind_the_runtimes_back_is_noticed_at_once() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let id = world.start(&pod, &script("main", "sleep 60")).await;
    let ContainerPhase::Running { pid, .. } = world.phase(&id).await else { panic!() };
    let mut events = world.runtime().events();
    let process = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(process, rustix::process::Signal::KILL).unwrap();
    while !matches!(next(&mut events).await, RuntimeEvent::Exited { .. }) {}
    assert_eq!(world.exit(&id).await.code, 137);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_network_is_lost_is_made_anew_without_its_containers() {
    use std::os::unix::fs::MetadataExt as _;
    let Some(mut world) = World::new().await else { return };
    let sandbox = world.runtime().create_pod(&world.pod("p1")).await.unwrap();
    let namespace = sandbox.network_namespace.clone().unwrap();
    let of_pin = || std::fs::metadata(&namespace).unwrap().ino();
    let pod = sandbox.id;
    // Held open, or the kernel may give its number to the next.
    let lost = std::fs::File::open(&namespace).unwrap();
    let old = world.start(&pod, &script("main", "sleep 600")).await;
    let before = of_pin();
    rustix::mount::unmount(&namespace, rustix::mount::UnmountFlags::DETACH).unwrap();

    let more = script("more", "true");
    let error = world.runtime().create_container(&pod, &more).await.unwrap_err();
    assert!(matches!(error, Error::PodNotFound(_)), "{error}");
    world.restart_runtime().await;
    let found = world.runtime().list_pods().await.unwrap().remove(0);
    assert!(!found.whole && matches!(found.containers[0].phase, ContainerPhase::Running { .. }));

    world.runtime().create_pod(&world.pod("p1")).await.unwrap();
    assert_ne!(of_pin(), before);
    drop(lost);
    assert_eq!(world.runtime().container(&old).await.unwrap(), None);
    assert!(world.runtime().list_pods().await.unwrap()[0].whole);
    let again = ContainerConfig { attempt: 1, ..script("main", "readlink /proc/self/ns/net") };
    assert_eq!(world.output(&pod, again).await.1, format!("net:[{}]\n", of_pin()));
}
