use super::*;

fn world() -> Simulated {
    Simulated::new(SimulatedConfig::new(Env::simulated(1)))
}

fn pod(id: &str, script: &str) -> PodConfig {
    let annotations = BTreeMap::from([(SIMULATE_ANNOTATION.to_owned(), script.to_owned())]);
    PodConfig { id: id.into(), annotations, ..PodConfig::default() }
}

fn container(image: &str) -> ContainerConfig {
    ContainerConfig { name: "c".into(), image: image.into(), ..ContainerConfig::default() }
}

async fn start(runtime: &Simulated, pod: &PodConfig) -> Result<ContainerId> {
    let id = runtime.create_pod(pod).await?.id;
    let container = runtime.create_container(&id, &container("web:1")).await?;
    runtime.start_container(&container).await.map(|()| container)
}

async fn phase(runtime: &Simulated, id: &ContainerId) -> ContainerPhase {
    runtime.container(id).await.unwrap().unwrap().phase
}

async fn exit(runtime: &Simulated, id: &ContainerId) -> (i32, &'static str, Duration) {
    let ContainerPhase::Exited(exit) = phase(runtime, id).await else { panic!("still runs") };
    let lasted = exit.finished_at.duration_since(exit.started_at);
    (exit.code, exit.reason, lasted.unsigned_abs())
}

#[tokio::test(start_paused = true)]
async fn by_default_a_container_runs_until_it_is_stopped() {
    let runtime = world();
    let mut events = runtime.events();
    let id = start(&runtime, &pod("p", "")).await.unwrap();
    assert_eq!(start(&runtime, &pod("p", "")).await.unwrap(), id, "once more changes nothing");
    tokio::time::sleep(Duration::from_secs(86_400)).await;
    assert!(matches!(phase(&runtime, &id).await, ContainerPhase::Running { pid: 0, .. }));
    runtime.stop_container(&id, Duration::from_secs(30)).await.unwrap();
    assert_eq!(exit(&runtime, &id).await, (0, "Completed", Duration::from_secs(86_400)));
    assert!(matches!(events.try_recv(), Ok(RuntimeEvent::Started { .. })));
    assert!(matches!(events.try_recv(), Ok(RuntimeEvent::Exited { .. })));
    assert!(events.try_recv().is_err());
    runtime.remove_pod(&PodId("p".into())).await.unwrap();
    assert_eq!((runtime.pod_count(), runtime.container(&id).await.unwrap()), (0, None));
}

#[tokio::test(start_paused = true)]
async fn scripts_say_when_and_how_a_container_ends() {
    for (script, code, reason) in [
        ("run=30s", 0, "Completed"),
        ("run=30s,exit=3", 3, "Error"),
        ("run=30s,oom", 137, "OOMKilled"),
        ("start-delay=9s,run=30s,exit=3", 3, "Error"),
    ] {
        let runtime = world();
        let id = start(&runtime, &pod("p", script)).await.unwrap();
        tokio::time::sleep(Duration::from_secs(29)).await;
        assert!(matches!(phase(&runtime, &id).await, ContainerPhase::Running { .. }), "{script}");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(exit(&runtime, &id).await, (code, reason, Duration::from_secs(30)), "{script}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_container_obeys_or_is_killed_at_the_end_of_its_grace() {
    for (script, code, took) in [
        ("", 0, 0),
        ("stop-delay=2s,stop-exit=143", 143, 2),
        ("stop-delay=20s", 137, 10),
        ("ignore-term", 137, 10),
        ("ignore-term,run=4s", 0, 4),
    ] {
        let runtime = world();
        let id = start(&runtime, &pod("p", script)).await.unwrap();
        let before = tokio::time::Instant::now();
        runtime.stop_container(&id, Duration::from_secs(10)).await.unwrap();
        assert_eq!(before.elapsed().as_secs(), took, "{script}");
        assert_eq!(exit(&runtime, &id).await.0, code, "{script}");
    }
}

#[tokio::test(start_paused = true)]
async fn images_and_starts_fail_by_script() {
    let runtime = world();
    runtime.set_image_script("gone:1", "pull-error=no such repository".parse().unwrap());
    assert_eq!(runtime.image("gone:1").await.unwrap(), None);
    let pulled = runtime.pull_image("gone:1", None).await;
    assert!(
        matches!(pulled, Err(Error::ImageNotFound { message, .. }) if message == "no such repository")
    );

    runtime.set_image_script("big:1", "pull-delay=5s".parse().unwrap());
    assert_eq!(runtime.image("big:1").await.unwrap(), None);
    runtime.pull_image("big:1", None).await.unwrap();
    assert!(runtime.image("big:1").await.unwrap().is_some());
    assert!(runtime.image("any:1").await.unwrap().is_some());

    let failed = start(&runtime, &pod("p", "start-error=no such file")).await;
    assert!(matches!(failed, Err(Error::Start { message, .. }) if message == "no such file"));
    let unreadable = start(&runtime, &pod("q", "rum=1s")).await;
    assert!(matches!(unreadable, Err(Error::InvalidConfig(m)) if m.contains("rum=1s")));
}

#[tokio::test(start_paused = true)]
async fn tests_kill_containers_and_fail_the_runtime() {
    let runtime = world();
    let other = runtime.node("other");
    let id = start(&runtime, &pod("p", "")).await.unwrap();
    start(&other, &pod("q", "")).await.unwrap();
    assert_eq!((runtime.running().len(), runtime.pod_count()), (2, 2));
    assert_eq!(other.list_pods().await.unwrap().len(), 1, "a node sees its own pods");
    assert!(other.kill(&id) && !other.kill(&id));
    assert_eq!(exit(&runtime, &id).await.0, 137);

    let mut events = runtime.events();
    runtime.fail("gone fishing");
    assert!(matches!(runtime.check().await, Err(Error::Unavailable { .. })));
    other.check().await.unwrap();
    runtime.recover();
    runtime.check().await.unwrap();
    assert!(matches!(events.try_recv(), Ok(RuntimeEvent::Lost { .. })));
    assert_eq!(events.try_recv(), Ok(RuntimeEvent::Recovered));
}

#[tokio::test(start_paused = true)]
async fn chance_is_the_same_for_the_same_seed() {
    let crashes = || async {
        let runtime = world();
        let mut ids = Vec::new();
        for n in 0..50 {
            ids.push(start(&runtime, &pod(&n.to_string(), "crash=0.3")).await.unwrap());
        }
        tokio::time::sleep(Duration::from_secs(61)).await;
        let running: Vec<_> = runtime.running().into_iter().map(|container| container.id).collect();
        ids.iter().map(|id| running.contains(id)).collect::<Vec<_>>()
    };
    let first = crashes().await;
    assert_eq!(first, crashes().await);
    let survivors = first.iter().filter(|runs| **runs).count();
    assert!((20..50).contains(&survivors), "{survivors}");
}

#[tokio::test(start_paused = true)]
async fn what_a_script_prints_is_in_the_log() {
    let home = tempfile::tempdir().unwrap();
    let runtime = world();
    let config = PodConfig {
        log_directory: home.path().to_owned(),
        ..pod("p", "log=tick,log=tock,log-every=1s,run=2500ms")
    };
    let id = start(&runtime, &config).await.unwrap();
    tokio::time::sleep(Duration::from_secs(9)).await;
    let log = std::fs::read_to_string(runtime.container(&id).await.unwrap().unwrap().log_path);
    assert_eq!(
        log.unwrap(),
        "2030-01-01T00:00:00.000000000Z stdout F tick\n\
         2030-01-01T00:00:01.000000000Z stdout F tock\n\
         2030-01-01T00:00:02.000000000Z stdout F tick\n"
    );
}

#[tokio::test(start_paused = true)]
async fn commands_and_connections_answer_by_script() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let runtime = world();
    let id = start(&runtime, &pod("p", "exec-out=hello,exec-exit=3,exec-delay=2s,listen=80"))
        .await
        .unwrap();
    let streams = Streams { stdin: true, stdout: true, stderr: true, tty: false };
    let before = tokio::time::Instant::now();
    let mut session = runtime.exec(&id, &["sh".to_owned()], streams).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"typed").await.unwrap();
    drop(stdin);
    let mut out = String::new();
    session.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    assert_eq!((out.as_str(), session.exit.await.unwrap()), ("hello\ntyped", 3));
    assert_eq!(before.elapsed().as_secs(), 2);

    let mut connection = runtime.connect(&PodId("p".into()), 80).await.unwrap();
    connection.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");
    let refused = runtime.connect(&PodId("p".into()), 81).await.unwrap_err();
    assert!(matches!(refused, Error::Connect { port: 81, .. }));

    let session = runtime.attach(&id, streams).await.unwrap();
    runtime.exit(&id, 9);
    assert_eq!(session.exit.await.unwrap(), 9);
    assert!(matches!(runtime.exec(&id, &[], streams).await, Err(Error::NotRunning(_))));
}

#[tokio::test(start_paused = true)]
async fn containers_use_what_their_script_says_or_else_what_they_asked_for() {
    let check = async |script: &str, resources: Resources, cpu_seconds: u64, memory: u64| {
        let runtime = world();
        let id = runtime.create_pod(&pod("p", script)).await.unwrap().id;
        let config = ContainerConfig { resources, ..container("web:1") };
        let container = runtime.create_container(&id, &config).await.unwrap();
        runtime.start_container(&container).await.unwrap();
        tokio::time::sleep(Duration::from_secs(100)).await;
        let missing = PodId("none".into());
        let stats = runtime.stats(&[missing, id.clone()], false).await.unwrap();
        let [stats] = &stats[..] else { panic!("one pod of two is there: {stats:?}") };
        let used = (stats.usage.cpu, stats.usage.working_set_bytes);
        assert_eq!(used, (Duration::from_secs(cpu_seconds), memory), "{script}");
        assert_eq!((&stats.pod, &stats.containers[0].id), (&id, &container));
        runtime.stop_container(&container, Duration::ZERO).await.unwrap();
        assert!(runtime.stats(&[id], false).await.unwrap()[0].containers.is_empty());
    };
    let requests =
        Resources { cpu_request_millis: 250, memory_request_bytes: 5, ..Resources::default() };
    let limits = Resources { cpu_limit_millis: 500, memory_limit_bytes: 7, ..Resources::default() };
    check("cpu=2,memory=64Mi", requests.clone(), 200, 64 << 20).await;
    check("cpu=20m", requests.clone(), 2, 5).await;
    check("", requests, 25, 5).await;
    check("", limits, 50, 7).await;
}

#[tokio::test(start_paused = true)]
async fn what_an_image_uses_can_change_while_it_runs() {
    let (runtime, id) = (world(), PodId("p".into()));
    start(&runtime, &pod("p", "")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(10)).await;
    runtime.set_image_usage("web:1", 500, 9);
    runtime.set_image_usage("other", 1, 1);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let stats = runtime.stats(std::slice::from_ref(&id), false).await.unwrap();
    let used = stats[0].containers[0].usage;
    assert_eq!(used.cpu, Duration::from_millis(10 + 5000), "what was used stays used");
    assert_eq!((used.cpu_nano_cores, used.working_set_bytes), (Some(500_000_000), 9));
}
