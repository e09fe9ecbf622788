use std::time::Duration;

use pinnace_env::Stopwatch;
use pinnace_runtime::{ContainerConfig, ContainerPhase, Error, PodId, Runtime, RuntimeEvent};
use rustix::process::Signal;

use crate::world::{World, exited, lives, pid, sh, signal, until};

#[tokio::test]
async fn a_container_runs_prints_and_ends_with_its_code() {
    let world = World::new().await;
    let mut events = world.runtime.events();
    let config = ContainerConfig {
        args: vec!["zero".into(), "a b".into(), "$(no)".into()],
        env: vec![("GREETING".into(), "hello".into())],
        working_dir: "/usr".into(),
        ..sh(r#"echo "$GREETING $1 $2"; pwd >&2; printf end; exit 7"#)
    };
    let container = world.start("p", &config).await.unwrap();
    let exit = exited(&world.runtime, &container).await;
    assert_eq!((exit.code, exit.reason), (7, "Error"));
    assert!(exit.finished_at >= exit.started_at);
    let mut lines: Vec<_> = world.log(&container).await.lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["/usr", "end", "hello a b $(no)"]);
    assert!(matches!(events.try_recv(), Ok(RuntimeEvent::Started { .. })));
    assert!(matches!(events.recv().await, Ok(RuntimeEvent::Exited { .. })));

    let again = world.runtime.start_container(&container).await;
    assert!(matches!(again, Err(Error::Start { .. })), "a container runs once");
    world.runtime.start_container(&container).await.unwrap_err();
    assert_eq!(
        world.runtime.create_container(&PodId("p".into()), &config).await.unwrap(),
        container
    );
    world.end().await;
}

#[tokio::test]
async fn the_environment_is_the_containers_and_not_the_hosts() {
    let world = World::new().await;
    let config = ContainerConfig {
        env: ["UID=7", "SHLVL=9", "discovery.type=x y", "my-var="]
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        command: vec!["env".into()],
        ..sh("")
    };
    let (_, log) = world.run(&ContainerConfig { command: vec!["env".into()], ..sh("") }).await;
    let mut names: Vec<_> = log.lines().map(|line| line.split('=').next().unwrap()).collect();
    names.sort_unstable();
    names.retain(|name| *name != "_");
    assert_eq!(names, ["HOME", "HOSTNAME", "PATH"]);
    let (_, log) = world.run(&config).await;
    for line in ["UID=7", "SHLVL=9", "discovery.type=x y", "my-var="] {
        assert!(log.lines().any(|found| found == line), "{line} is not in {log}");
    }
    world.end().await;
}

#[tokio::test]
async fn what_cannot_be_executed_is_said_in_the_usual_words() {
    let world = World::new().await;
    let with = |name: &str, command: &str, working_dir: &str| ContainerConfig {
        name: name.into(),
        command: vec![command.into()],
        working_dir: working_dir.into(),
        ..ContainerConfig::default()
    };
    for (name, command, directory, expected) in [
        ("a", "foo", "", r#"exec: "foo": executable file not found in $PATH"#),
        ("b", "/no/foo", "", r#"exec: "/no/foo": stat /no/foo: no such file or directory"#),
        ("c", "/etc/passwd", "", r#"exec: "/etc/passwd": permission denied"#),
        ("d", "/usr", "", r#"exec: "/usr": is a directory"#),
        ("e", "true", "/no/where", r#"chdir to cwd ("/no/where"): no such file or directory"#),
    ] {
        let config = with(name, command, directory);
        let Err(Error::Start { message, container }) = world.start("p", &config).await else {
            panic!("{command} was started")
        };
        assert_eq!(message, expected);
        let id = pinnace_runtime::ContainerId(container);
        let exit = exited(&world.runtime, &id).await;
        assert_eq!((exit.code, exit.reason, exit.message), (128, "StartError", message));
    }
    let none = ContainerConfig { name: "f".into(), ..ContainerConfig::default() };
    let none = world.start("p", &none).await;
    assert!(matches!(none, Err(Error::InvalidConfig(_))));
    world.end().await;
}

#[tokio::test]
async fn stopping_asks_the_whole_group_and_then_kills_it() {
    let world = World::new().await;
    let obeys =
        world.start("p", &sh("trap 'echo bye; exit 3' TERM; sleep 1000 & wait")).await.unwrap();
    world.runtime.stop_container(&obeys, Duration::from_secs(30)).await.unwrap();
    // The signal may come before the trap is set.
    assert!(matches!(exited(&world.runtime, &obeys).await.code, 3 | 143));

    let script = "trap '' TERM; echo ready; while :; do sleep 1000; done";
    let ignores = ContainerConfig { name: "d".into(), ..sh(script) };
    let ignores = world.start("p", &ignores).await.unwrap();
    until(async || world.log(&ignores).await == "ready\n").await;
    let before = Stopwatch::start();
    world.runtime.stop_container(&ignores, Duration::from_millis(100)).await.unwrap();
    assert!(before.elapsed() >= Duration::from_millis(100));
    let exit = exited(&world.runtime, &ignores).await;
    assert_eq!((exit.code, exit.reason), (137, "Error"));
    world.runtime.stop_container(&ignores, Duration::ZERO).await.unwrap();
    world.end().await;
}

#[tokio::test]
async fn other_stop_signals_are_sent_as_they_are_named() {
    let world = World::new().await;
    for (name, number) in [("SIGINT", 2), ("SIGUSR1", 10), ("SIGRTMIN+3", 37)] {
        let script = format!("trap 'exit 5' {number}; echo ready; while :; do sleep 0.01; done");
        let config = ContainerConfig { stop_signal: name.into(), attempt: number, ..sh(&script) };
        let container = world.start("p", &config).await.unwrap();
        until(async || world.log(&container).await == "ready\n").await;
        world.runtime.stop_container(&container, Duration::from_secs(30)).await.unwrap();
        assert_eq!(exited(&world.runtime, &container).await.code, 5, "{name}");
        world.runtime.remove_container(&container).await.unwrap();
    }
    world.end().await;
}

#[tokio::test]
async fn a_container_takes_its_children_with_it() {
    let world = World::new().await;
    let script = "sleep 1000 & echo $!; echo $$; sleep 1000";
    let container = world.start("p", &sh(script)).await.unwrap();
    until(async || world.log(&container).await.lines().count() == 2).await;
    let pids: Vec<u32> =
        world.log(&container).await.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(pids[1], pid(&world.runtime, &container).await);
    signal(pids[1], Signal::KILL);
    let exit = exited(&world.runtime, &container).await;
    assert_eq!((exit.code, exit.reason), (137, "Error"));
    until(async || !lives(pids[0])).await;
    world.end().await;
}

#[tokio::test]
async fn a_container_whose_supervisor_is_killed_ends() {
    let world = World::new().await;
    let container = world.start("p", &sh("exec sleep 1000")).await.unwrap();
    let pid = pid(&world.runtime, &container).await;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent = stat[stat.rfind(')').unwrap()..].split(' ').nth(2).unwrap().parse().unwrap();
    assert_ne!(parent, std::process::id());
    signal(parent, Signal::KILL);
    assert_eq!(exited(&world.runtime, &container).await.code, 137);
    until(async || !lives(pid)).await;
    world.end().await;
}

#[tokio::test]
async fn the_log_is_complete_when_the_end_is_known() {
    let world = World::new().await;
    let (exit, log) = world.run(&sh("seq 1 20000")).await;
    assert_eq!((exit.code, exit.reason), (0, "Completed"));
    assert_eq!(log.lines().count(), 20_000);
    assert!(log.ends_with("\n20000\n"));
    world.end().await;
}

#[tokio::test]
async fn a_container_has_no_descriptors_of_the_host() {
    let world = World::new().await;
    // What a careless host leaves open: a descriptor without close-on-exec.
    let leaked = rustix::io::dup(std::fs::File::open("/etc/passwd").unwrap()).unwrap();
    let (_, log) = world.run(&sh("ls /proc/$$/fd")).await;
    drop(leaked);
    assert_eq!(log.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2"]);
    world.end().await;
}

#[tokio::test]
async fn removing_a_pod_kills_what_runs_in_it() {
    let world = World::new().await;
    let container = world.start("p", &sh("trap '' TERM; sleep 1000; sleep 1000")).await.unwrap();
    let pid = pid(&world.runtime, &container).await;
    let pod = PodId("p".into());
    world.runtime.remove_pod(&pod).await.unwrap();
    world.runtime.remove_pod(&pod).await.unwrap();
    assert!(!lives(pid));
    assert_eq!(world.runtime.container(&container).await.unwrap(), None);
    assert!(world.home.path().join("logs/p/c/0.log").exists(), "the log stays");
    let missing = world.runtime.create_container(&pod, &sh("")).await;
    assert!(matches!(missing, Err(Error::PodNotFound(_))));
    world.end().await;
}

#[tokio::test]
async fn two_runtimes_cannot_share_a_directory() {
    let world = World::new().await;
    let config = pinnace_runtime::ProcessConfig::new(
        "other",
        world.home.path().join("state"),
        pinnace_env::Env::system(),
    );
    let second = pinnace_runtime::Process::open(config).await;
    assert!(matches!(second, Err(Error::Unavailable { .. })));
    world.end().await;
}

#[tokio::test]
async fn names_that_are_no_names_are_refused() {
    let world = World::new().await;
    for id in ["", "..", "a/b", "."] {
        let pod = pinnace_runtime::PodConfig { id: id.into(), ..world.pod("p") };
        assert!(
            matches!(world.runtime.create_pod(&pod).await, Err(Error::InvalidConfig(_))),
            "{id}"
        );
        world.runtime.remove_pod(&PodId(id.into())).await.unwrap();
    }
    world.runtime.create_pod(&world.pod("p")).await.unwrap();
    let config = ContainerConfig { name: "../c".into(), ..sh("") };
    let refused = world.runtime.create_container(&PodId("p".into()), &config).await;
    assert!(matches!(refused, Err(Error::InvalidConfig(_))));
    let created = world.runtime.create_container(&PodId("p".into()), &sh("")).await.unwrap();
    let state = world.runtime.container(&created).await.unwrap().unwrap();
    assert_eq!(state.phase, ContainerPhase::Created);
    world.end().await;
}

#[tokio::test]
async fn what_processes_use_is_read_from_their_cgroup() {
    let Some(world) = World::of_root().await else { return };
    let container = world.start("p", &sh("while :; do :; done")).await.unwrap();
    let pods = [PodId("p".into()), PodId("none".into())];
    let used = async || world.runtime.stats(&pods, true).await.unwrap();
    let busy = async {
        while used().await[0].containers[0].usage.cpu < Duration::from_millis(20) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), busy).await.expect("it uses CPU time");
    let stats = used().await;
    assert_eq!(stats.len(), 1);
    let one = &stats[0].containers[0];
    assert_eq!((&one.id, one.written), (&container, None));
    assert!(one.usage.working_set_bytes > 0 && one.usage.pids > 0, "{one:?}");
    assert!(stats[0].usage.cpu >= one.usage.cpu && stats[0].usage.memory_bytes > 0);
    world.end().await;
}
