//! Watches held by a process of their own, so that what the server's process needs is its own.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{Semaphore, mpsc};

use crate::wire::Address;
use crate::{CONFIG_MAPS, block_on};

/// The argument by which this program becomes the one that watches.
pub(crate) const ROLE: &str = "--watchers";
/// Handshakes at once.
const AT_ONCE: usize = 32;

/// A process that watches; dropping it ends it.
pub(crate) struct Watchers {
    _child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Watchers {
    /// Starts one, and waits until all watches have begun after this version.
    pub(crate) async fn start(place: &[String], count: usize, after: u64) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([ROLE, &count.to_string(), &after.to_string()])
            .args(place)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut watchers = Self { _child: child, lines };
        watchers.all_seen().await;
        watchers
    }

    /// Waits until all have seen one event more.
    pub(crate) async fn all_seen(&mut self) {
        self.lines.next_line().await.unwrap().expect("the watchers have ended");
    }
}

/// What the other process does: `count after unix PATH` or `count after ADDRESS CA CERT KEY`.
pub(crate) fn run(arguments: &[String]) {
    let number = |index: usize| arguments[index].parse::<usize>().unwrap();
    let (count, after) = (number(0), number(1));
    let address = match &arguments[2..] {
        [unix, path] if unix == "unix" => Address::Unix(path.clone()),
        [address, rest @ ..] => Address::tls(address, rest.try_into().unwrap()),
        [] => return,
    };
    let path = format!("{CONFIG_MAPS}?watch=1&resourceVersion={after}&timeoutSeconds=3600");
    block_on(2, async {
        let (tell, mut told) = mpsc::unbounded_channel();
        let gate = std::sync::Arc::new(Semaphore::new(AT_ONCE));
        for _ in 0..count {
            let (address, path, tell, gate) =
                (address.clone(), path.clone(), tell.clone(), gate.clone());
            tokio::spawn(async move {
                let permit = gate.acquire().await.unwrap();
                let mut events = address.connect().await.watch(&path).await;
                drop(permit);
                while tell.send(()).is_ok() {
                    events.next().await;
                }
            });
        }
        loop {
            for _ in 0..count {
                told.recv().await.unwrap();
            }
            println!("all");
        }
    });
}
