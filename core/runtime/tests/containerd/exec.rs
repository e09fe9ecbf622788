use pinnace_runtime::{ContainerConfig, Error, Runtime, Session, Streams, TerminalSize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{DEADLINE, World, script};

const ALL: Streams = Streams { stdin: true, stdout: true, stderr: true, tty: false };
const OUTPUT: Streams = Streams { stdin: false, stdout: true, stderr: true, tty: false };

fn words(command: &str) -> Vec<String> {
    ["/bin/sh", "-c", command].map(str::to_owned).to_vec()
}

/// What a session prints, and its exit code.
async fn finish(session: Session) -> (String, String, i32) {
    let (mut out, mut err) = (String::new(), String::new());
    let Session { stdin, stdout, stderr, exit, .. } = session;
    let (mut stdout, mut stderr) = (stdout.unwrap(), stderr);
    let all = async {
        stdout.read_to_string(&mut out).await.unwrap();
        if let Some(stderr) = &mut stderr {
            stderr.read_to_string(&mut err).await.unwrap();
        }
        exit.await.unwrap()
    };
    let code = tokio::time::timeout(DEADLINE, all).await.expect("it ends");
    drop(stdin);
    (out, err, code)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_in_a_container_with_their_streams_and_end_with_their_code() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let config = ContainerConfig {
        env: vec![("WORD".into(), "hello".into())],
        ..script("main", "sleep 1000")
    };
    let id = world.start(&pod, &config).await;
    let runtime = world.runtime();

    let session = runtime.exec(&id, &words("echo $WORD; echo no >&2; exit 3"), OUTPUT).await;
    assert_eq!(finish(session.unwrap()).await, ("hello\n".into(), "no\n".into(), 3));

    let mut session = runtime.exec(&id, &words("cat; echo end"), ALL).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"some input\n").await.unwrap();
    stdin.shutdown().await.unwrap();
    assert_eq!(finish(session).await.0, "some input\nend\n");

    let missing = runtime.exec(&id, &["/no/such".to_owned()], OUTPUT).await.unwrap_err();
    assert!(
        matches!(&missing, Error::Execute { message } if message.contains("/no/such")),
        "{missing}"
    );

    // Whoever lets go of a command ends it.
    let marker = "sleep 4242";
    let session = runtime.exec(&id, &words(marker), OUTPUT).await.unwrap();
    drop(session);
    let gone = async {
        loop {
            let list = runtime.exec(&id, &words("ps"), OUTPUT).await.unwrap();
            if !finish(list).await.0.contains(marker) {
                return;
            }
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("it is killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_has_a_size() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let id = world.start(&pod, &script("main", "sleep 1000")).await;
    let streams = Streams { stdin: true, stdout: true, stderr: false, tty: true };
    let mut session =
        world.runtime().exec(&id, &words("read go; stty size"), streams).await.unwrap();
    let resize = session.resize.take().unwrap();
    resize.send(TerminalSize { width: 132, height: 43 }).await.unwrap();
    // The size is set before the next command of this connection is.
    let list = world.runtime().exec(&id, &words("true"), OUTPUT).await.unwrap();
    finish(list).await;
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"go\n").await.unwrap();
    let (out, _, code) = finish(session).await;
    assert!(out.ends_with("43 132\r\n"), "{out:?}");
    assert_eq!(code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_attaches_talks_to_the_first_process() {
    let Some(mut world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let config = ContainerConfig {
        stdin: true,
        stdin_once: true,
        ..script("main", "while read line; do echo got $line; done; echo over")
    };
    let id = world.start(&pod, &config).await;
    // The input outlives the host.
    world.restart_runtime().await;
    let mut session = world.runtime().attach(&id, ALL).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"one\n").await.unwrap();
    let mut answer = [0; 8];
    session.stdout.as_mut().unwrap().read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"got one\n");
    drop(stdin);
    assert_eq!(finish(session).await, ("over\n".into(), String::new(), 0));
    let late = world.runtime().attach(&id, ALL).await.unwrap_err();
    assert!(matches!(late, Error::NotRunning(_)), "{late}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_shows_on_an_attached_terminal() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let config = ContainerConfig {
        stdin: true,
        tty: true,
        ..script("main", "read a; printf '/ # '; read b")
    };
    let id = world.start(&pod, &config).await;
    let streams = Streams { stdin: true, stdout: true, stderr: true, tty: true };
    let mut session = world.runtime().attach(&id, streams).await.unwrap();
    session.stdin.as_mut().unwrap().write_all(b"x\n").await.unwrap();
    let mut shown = Vec::new();
    let stdout = session.stdout.as_mut().unwrap();
    let prompt = async {
        while !shown.ends_with(b"/ # ") {
            shown.push(stdout.read_u8().await.unwrap());
        }
    };
    tokio::time::timeout(DEADLINE, prompt).await.expect("a prompt without a line end");
    assert!(session.stderr.is_none() && session.resize.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_of_a_pod_are_reached_on_its_own_loopback() {
    let Some(world) = World::new().await else { return };
    let pod = world.make_pod("p1").await;
    let server = "nc -l -p 4321 -e /bin/cat";
    world.start(&pod, &script("main", server)).await;
    let connected = async {
        loop {
            match world.runtime().connect(&pod, 4321).await {
                Ok(connection) => return connection,
                Err(error) => assert!(matches!(error, Error::Connect { port: 4321, .. })),
            }
        }
    };
    let mut connection = tokio::time::timeout(DEADLINE, connected).await.unwrap();
    connection.write_all(b"ping").await.unwrap();
    let mut answer = [0; 4];
    connection.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");
    let refused = world.runtime().connect(&pod, 4322).await.unwrap_err().to_string();
    assert!(refused.contains("localhost:4322") && refused.contains("127.0.0.1:4322"), "{refused}");
}
