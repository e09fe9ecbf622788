//! A node whose containers are made up: it says back what it hears.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use pinnace_api::{ApiError, Result};
use pinnace_client::nodes::{
    Bytes as Text, Connection, LogOptions, NodeConnection, NodeDirectory, PodReference, Session,
    Streams,
};
use tokio::io::AsyncWriteExt as _;
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
        _streams: Streams,
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
            stdin: Some(Box::pin(stdin)),
            stdout: Some(Box::pin(stdout)),
            stderr: Some(Box::pin(stderr)),
            resize: None,
            exit: ended.map(|code| code.map_err(ApiError::internal)).boxed(),
        })
    }

    async fn attach(&self, _: &PodReference, _: &str, _: Streams) -> Result<Session> {
        Err(ApiError::bad_request("nothing to attach to"))
    }

    async fn connect(&self, _pod: &PodReference, port: u16) -> Result<Box<dyn Connection>> {
        let (ours, mut theirs) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            theirs.write_all(format!("port {port}: ").as_bytes()).await.unwrap();
            let (mut read, mut write) = tokio::io::split(theirs);
            let _ = tokio::io::copy(&mut read, &mut write).await;
        });
        Ok(Box::new(ours))
    }
}
