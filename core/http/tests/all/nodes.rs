//! A node whose containers are made up: it says back what it hears.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use pinnace_api::{ApiError, Reason, Result};
use pinnace_client::nodes::{
    Bytes as Text, Connection, Document, LogOptions, NodeConnection, NodeDirectory, PodReference,
    Session, Streams,
};
use pinnace_client::summary::Summary;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::oneshot;

pub(crate) struct EchoNodes;

impl NodeDirectory for EchoNodes {
    fn node(&self, _name: &str) -> Result<Arc<dyn NodeConnection>> {
        Ok(Arc::new(EchoNode))
    }
}

struct EchoNode;

#[async_trait]
impl NodeConnection for EchoNode {
    async fn logs(&self, pod: &PodReference, container: &str, options: LogOptions) -> Result<Text> {
        let line = format!("{} {container} {:?}\n", pod.name, options.tail_lines);
        Ok(futures::stream::iter([Ok(Bytes::from(line))]).boxed())
    }

    /// Says its command on stderr, then what it hears on stdout, and ends with 3.
    async fn exec(
        &self,
        _pod: &PodReference,
        _container: &str,
        command: Vec<String>,
        streams: Streams,
    ) -> Result<Session> {
        let (stdin, mut heard) = tokio::io::duplex(1024);
        let (stdout, mut out) = tokio::io::duplex(1024);
        let (stderr, mut err) = tokio::io::duplex(1024);
        let (done, ended) = oneshot::channel();
        tokio::spawn(async move {
            err.write_all(command.join(" ").as_bytes()).await.unwrap();
            drop(err);
            tokio::io::copy(&mut heard, &mut out).await.unwrap();
            drop(out);
            let _ = done.send(3);
        });
        Ok(Session {
            stdin: if streams.stdin { Some(Box::pin(stdin)) } else { None },
            stdout: Some(Box::pin(stdout)),
            stderr: Some(Box::pin(stderr)),
            resize: None,
            exit: ended.map(|code| code.map_err(ApiError::internal)).boxed(),
        })
    }

    async fn attach(&self, _: &PodReference, _: &str, _: Streams) -> Result<Session> {
        Err(ApiError::bad_request("nothing to attach to"))
    }

    /// Port 8000 speaks HTTP, 8001 nothing at all; others say back what they hear.
    async fn connect(&self, _pod: &PodReference, port: u16) -> Result<Box<dyn Connection>> {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        if port == 8001 {
            return Err(ApiError::new(Reason::ServiceUnavailable, "connection refused"));
        }
        if port == 8000 {
            tokio::spawn(answer(theirs));
            return Ok(Box::new(ours));
        }
        tokio::spawn(async move {
            theirs.write_all(format!("port {port}: ").as_bytes()).await.unwrap();
            let (mut read, mut write) = tokio::io::split(theirs);
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        Ok(Box::new(ours))
    }

    async fn summary(&self, _only_cpu_and_memory: bool) -> Result<Summary> {
        Ok(Summary::default())
    }

    async fn document(&self, path: &str) -> Result<Option<Document>> {
        let page = |body| Document { media_type: "text/plain".into(), body };
        Ok(match path.split('?').next() {
            Some("/healthz") => Some(page(format!("this is {path}"))),
            Some("/stats/summary") => {
                Some(page(serde_json::to_string(&Summary::default()).map_err(ApiError::internal)?))
            }
            _ => None,
        })
    }
}

/// Answers one request with its own head; one that asks for an upgrade is upgraded to an echo.
async fn answer(mut stream: DuplexStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    if head.contains("upgrade: echo") {
        let answer = "HTTP/1.1 101 Switching\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut read, mut write) = tokio::io::split(stream);
        let _ = tokio::io::copy(&mut read, &mut write).await;
        return;
    }
    let length = head.len();
    let answer =
        format!("HTTP/1.1 202 OK\r\nlocation: /there\r\ncontent-length: {length}\r\n\r\n{head}");
    stream.write_all(answer.as_bytes()).await.unwrap();
}
