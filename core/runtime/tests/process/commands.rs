use pinnace_runtime::{ContainerConfig, Error, Runtime, Security, Streams};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{World, sh, until};

const ALL: Streams = Streams { stdin: true, stdout: true, stderr: true, tty: false };

fn words(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}

#[tokio::test]
async fn a_command_runs_where_the_container_does() {
    let Some(world) = World::of_root().await else { return };
    let config = ContainerConfig {
        env: vec![("WORD".into(), "hello".into())],
        working_dir: "/usr".into(),
        security: Security { user: Some(33), ..Security::default() },
        ..sh("exec sleep 1000")
    };
    let id = world.start("p", &config).await.unwrap();
    let script = "read line; echo $WORD $line; pwd; id -u; hostname >&2; exit 4";
    let mut session = world.runtime.exec(&id, &words(script), ALL).await.unwrap();
    session.stdin.take().unwrap().write_all(b"you\n").await.unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    session.stdout.take().unwrap().read_to_string(&mut out).await.unwrap();
    session.stderr.take().unwrap().read_to_string(&mut err).await.unwrap();
    assert_eq!((out.as_str(), err.as_str()), ("hello you\n/usr\n33\n", "p\n"));
    assert_eq!(session.exit.await.unwrap(), 4);

    let missing = world.runtime.exec(&id, &["no-such".to_owned()], ALL).await.unwrap_err();
    assert!(missing.to_string().contains("executable file not found in $PATH"), "{missing}");
    let terminal = Streams { tty: true, ..ALL };
    let refused = world.runtime.exec(&id, &words("true"), terminal).await.unwrap_err();
    assert!(matches!(refused, Error::InvalidConfig(_)));

    let session = world.runtime.exec(&id, &words("exec sleep 4343"), ALL).await.unwrap();
    drop(session);
    until(async || {
        let list = std::process::Command::new("ps").args(["-eo", "args"]).output().unwrap();
        !String::from_utf8_lossy(&list.stdout).lines().any(|line| line == "sleep 4343")
    })
    .await;
    world.end().await;
}

#[tokio::test]
async fn whoever_attaches_reads_and_writes_until_the_end() {
    let world = World::new().await;
    let config = ContainerConfig { stdin: true, ..sh("read a; printf \"got $a\"; read b; exit 6") };
    let id = world.start("p", &config).await.unwrap();
    let mut session = world.runtime.attach(&id, ALL).await.unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"x\n").await.unwrap();
    let mut stdout = session.stdout.take().unwrap();
    let mut answer = [0; 5];
    stdout.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"got x");
    stdin.write_all(b"y\n").await.unwrap();
    assert_eq!(stdout.read(&mut answer).await.unwrap(), 0);
    assert_eq!(session.exit.await.unwrap(), 6);
    world.end().await;
}
