//! Commands in simulated containers, and joining these.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, oneshot, watch};

use super::node::Node;
use super::{KILLED, Script};
use crate::logs::{LogOptions, read_logs};
use crate::session::Hold;
use crate::{ContainerId, ContainerPhase, ContainerState, Error, Session, Streams};

/// Bytes that may be on their way in one direction.
const BUFFER_BYTES: usize = 64 * 1024;

/// A connection to somebody who sends back what comes.
pub(super) fn echo() -> DuplexStream {
    let (near, far) = tokio::io::duplex(BUFFER_BYTES);
    tokio::spawn(async move {
        let (mut from, mut to) = tokio::io::split(far);
        // It ends when the other side does.
        let _ = tokio::io::copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    });
    near
}

/// A command that prints what its script says, sends back its input, and exits.
pub(super) fn exec(
    node: Arc<Node>,
    id: ContainerId,
    script: &Script,
    delay: Option<Duration>,
    streams: Streams,
) -> Session {
    let (hold, dropped) = Hold::new();
    let (session_ends, own_ends) = ends(&hold, streams);
    let mut output = String::new();
    for line in &script.exec_output {
        output.push_str(line);
        output.push_str(if streams.tty { "\r\n" } else { "\n" });
    }
    let code = script.exec_exit;
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let Ends { stdin, mut stdout, .. } = own_ends;
        let work = async {
            tokio::time::sleep(delay.unwrap_or_default()).await;
            if let Some(stdout) = &mut stdout {
                // Fails when nobody reads, which is the reader's to decide.
                let _ = stdout.write_all(output.as_bytes()).await;
            }
            send_back(stdin, &mut stdout).await;
            code
        };
        let code = tokio::select! {
            code = work => code,
            () = node.ended(&id) => KILLED,
            _ = dropped => return,
        };
        drop(stdout);
        let _ = tell.send(code);
    });
    let exit = async move {
        let code = told.await;
        drop(hold);
        code.map_err(|_| Error::Unavailable {
            runtime: "simulated",
            message: "its world has ended".to_owned(),
        })
    };
    session(session_ends, streams.tty, exit.boxed())
}

/// Joins a container: it sends back its input if it has one, and its log is its output.
pub(super) fn attach(node: Arc<Node>, container: ContainerState, streams: Streams) -> Session {
    let (hold, dropped) = Hold::new();
    let tty = container.config.tty;
    let (session_ends, own_ends) = ends(&hold, Streams { tty, ..streams });
    let (id, log) = (container.id.clone(), container.log_path);
    let has_input = container.config.stdin;
    let watched = Arc::clone(&node);
    tokio::spawn(async move {
        let Ends { stdin, mut stdout, .. } = own_ends;
        let (end, ended) = watch::channel(false);
        let options =
            LogOptions { tail_lines: Some(0), follow: Some(ended), ..LogOptions::default() };
        let mut lines = if log.exists() {
            read_logs(log, options).boxed()
        } else {
            futures::stream::pending().boxed()
        };
        let mut input = stdin.filter(|_| has_input);
        let mut typed = vec![0; 1024];
        let all_ended = watched.ended(&id);
        tokio::pin!(all_ended, dropped);
        let mut has_ended = false;
        loop {
            let bytes = tokio::select! {
                line = lines.next() => match line {
                    Some(Ok(line)) => line.text.to_vec(),
                    _ => return,
                },
                length = read_some(&mut input, &mut typed) => typed[..length].to_vec(),
                () = &mut all_ended, if !has_ended => {
                    has_ended = true;
                    let _ = end.send(true);
                    if !log_is_followed(&end) {
                        return;
                    }
                    Vec::new()
                }
                _ = &mut dropped => return,
            };
            if let Some(stdout) = &mut stdout
                && stdout.write_all(&bytes).await.is_err()
            {
                return;
            }
        }
    });
    let id = container.id;
    let exit = async move {
        node.ended(&id).await;
        drop(hold);
        match node.state.lock().phase(&id) {
            Some(ContainerPhase::Exited(exit)) => Ok(exit.code),
            _ => Ok(KILLED),
        }
    };
    session(session_ends, tty, exit.boxed())
}

/// Whether somebody still reads the log to its end.
fn log_is_followed(end: &watch::Sender<bool>) -> bool {
    end.receiver_count() > 0
}

/// What has been typed; waits for ever when nothing will be.
async fn read_some(input: &mut Option<DuplexStream>, buffer: &mut [u8]) -> usize {
    if let Some(stream) = input {
        match stream.read(buffer).await {
            Ok(length) if length > 0 => return length,
            _ => *input = None,
        }
    }
    std::future::pending().await
}

async fn send_back(stdin: Option<DuplexStream>, stdout: &mut Option<DuplexStream>) {
    let Some(mut stdin) = stdin else { return };
    // Either side's end is the end.
    let _ = match stdout {
        Some(stdout) => tokio::io::copy(&mut stdin, stdout).await,
        None => tokio::io::copy(&mut stdin, &mut tokio::io::sink()).await,
    };
}

/// One side of the streams.
struct Ends<In, Out> {
    stdin: Option<In>,
    stdout: Option<Out>,
    stderr: Option<Out>,
}

type Wire = DuplexStream;

fn ends(
    hold: &Hold,
    streams: Streams,
) -> (Ends<crate::session::Held<Wire>, crate::session::Held<Wire>>, Ends<Wire, Wire>) {
    let pair = |wanted: bool| {
        let (near, far) = tokio::io::duplex(BUFFER_BYTES);
        if wanted { (Some(hold.on(near)), Some(far)) } else { (None, None) }
    };
    let (stdin, own_stdin) = pair(streams.stdin);
    let (stdout, own_stdout) = pair(streams.stdout);
    // Nothing is ever printed there, so it ends at once.
    let (stderr, _) = pair(streams.stderr && !streams.tty);
    (Ends { stdin, stdout, stderr }, Ends { stdin: own_stdin, stdout: own_stdout, stderr: None })
}

fn session<T>(
    ends: Ends<T, T>,
    tty: bool,
    exit: futures::future::BoxFuture<'static, crate::Result<i32>>,
) -> Session
where
    T: AsyncRead + tokio::io::AsyncWrite + Send + 'static,
{
    let resize = tty.then(|| {
        let (sender, mut sizes) = mpsc::channel(1);
        // There is nothing to draw on.
        tokio::spawn(async move { while sizes.recv().await.is_some() {} });
        sender
    });
    Session {
        stdin: ends.stdin.map(|stream| Box::pin(stream) as _),
        stdout: ends.stdout.map(|stream| Box::pin(stream) as _),
        stderr: ends.stderr.map(|stream| Box::pin(stream) as _),
        resize,
        exit,
    }
}
