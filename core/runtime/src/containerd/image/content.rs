use std::collections::HashMap;

use containerd_client::services::v1::{
    Info, ReadContentRequest, UpdateRequest, WriteAction, WriteContentRequest, WriteContentResponse,
};
use containerd_client::tonic::{Code, Status, Streaming};
use futures::stream::{self, Stream, StreamExt};
use pinnace_env::Env;
use prost_types::FieldMask;
use tokio::sync::mpsc;

use super::super::connection::{Connection, exists_is_fine, leased};
use crate::{Error, Result};

/// Bytes sent to the store in one message.
const CHUNK_BYTES: usize = 1 << 20;
/// Messages under way to the store; each is answered before the next is sent.
const MESSAGES_UNDER_WAY: usize = 2;

/// Why a blob did not get into the store.
#[derive(Debug)]
pub(super) enum WriteError {
    /// Where it came from failed.
    Source(String),
    /// It is not what its digest and size say.
    Mismatch(String),
    /// The store failed.
    Store(Error),
}

/// What a blob must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Blob {
    pub(super) digest: String,
    pub(super) size: u64,
}

/// containerd's content store, written under a lease.
pub(super) struct Content<'a> {
    pub(super) connection: &'a Connection,
    pub(super) env: &'a Env,
    pub(super) lease: &'a str,
}

impl Content<'_> {
    /// Puts a blob into the store. containerd computes its digest and refuses what differs.
    pub(super) async fn write(
        &self,
        blob: &Blob,
        labels: HashMap<String, String>,
        source: impl Stream<Item = Result<bytes::Bytes, String>>,
    ) -> Result<(), WriteError> {
        let mut upload = match Upload::begin(self, blob).await {
            Ok(upload) => upload,
            Err(status) if status.code() == Code::AlreadyExists => {
                return self.label(&blob.digest, labels).await.map_err(WriteError::Store);
            }
            Err(status) => return Err(WriteError::Store(self.failed(blob, &status))),
        };
        if upload.offset < blob.size {
            upload.offset = 0;
            self.send_all(&mut upload, blob, source).await?;
        }
        match exists_is_fine(upload.commit(labels.clone()).await) {
            Ok(()) => self.label(&blob.digest, labels).await.map_err(WriteError::Store),
            Err(status) if status.code() == Code::FailedPrecondition => {
                Err(WriteError::Mismatch(status.message().to_owned()))
            }
            Err(status) => Err(WriteError::Store(self.failed(blob, &status))),
        }
    }

    async fn send_all(
        &self,
        upload: &mut Upload,
        blob: &Blob,
        source: impl Stream<Item = Result<bytes::Bytes, String>>,
    ) -> Result<(), WriteError> {
        let mut source = std::pin::pin!(source);
        let mut chunk = Vec::new();
        let mut received = 0_u64;
        while let Some(part) = source.next().await {
            let part = part.map_err(WriteError::Source)?;
            received = received.saturating_add(part.len() as u64);
            if received > blob.size {
                return Err(WriteError::Mismatch(format!(
                    "{} is longer than {} bytes",
                    blob.digest, blob.size
                )));
            }
            chunk.extend_from_slice(&part);
            while chunk.len() >= CHUNK_BYTES {
                let rest = chunk.split_off(CHUNK_BYTES);
                let full = std::mem::replace(&mut chunk, rest);
                upload.send(full).await.map_err(|s| WriteError::Store(self.failed(blob, &s)))?;
            }
        }
        if received < blob.size {
            return Err(WriteError::Mismatch(format!(
                "{} ends after {received} of {} bytes",
                blob.digest, blob.size
            )));
        }
        if !chunk.is_empty() {
            upload.send(chunk).await.map_err(|s| WriteError::Store(self.failed(blob, &s)))?;
        }
        Ok(())
    }

    /// Puts what is in memory into the store.
    pub(super) async fn write_bytes(
        &self,
        blob: &Blob,
        labels: HashMap<String, String>,
        data: Vec<u8>,
    ) -> Result<(), WriteError> {
        self.write(blob, labels, stream::iter([Ok(bytes::Bytes::from(data))])).await
    }

    /// Sets labels of a blob that is in the store.
    pub(super) async fn label(&self, digest: &str, labels: HashMap<String, String>) -> Result<()> {
        set_labels(self.connection, digest, labels).await
    }

    fn failed(&self, blob: &Blob, status: &Status) -> Error {
        self.connection.error(format!("write {} to the content store", blob.digest), status)
    }
}

/// Reads a blob of at most `limit` bytes; `None` when the store has none.
pub(super) async fn read(
    connection: &Connection,
    digest: &str,
    limit: usize,
) -> Result<Option<Vec<u8>>> {
    let operation = || format!("read {digest} from the content store");
    let request = ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 };
    let answer = connection.content().read(connection.request(request)).await;
    let mut stream = match answer {
        Ok(answer) => answer.into_inner(),
        Err(status) if status.code() == Code::NotFound => return Ok(None),
        Err(status) => return Err(connection.error(operation(), &status)),
    };
    let mut data = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(part)) if data.len() + part.data.len() > limit => {
                let message = format!("it has more than {limit} bytes");
                return Err(Error::Other { operation: operation(), message });
            }
            Ok(Some(part)) => data.extend_from_slice(&part.data),
            Ok(None) => return Ok(Some(data)),
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(connection.error(operation(), &status)),
        }
    }
}

/// Adds labels to a blob; others stay.
pub(super) async fn set_labels(
    connection: &Connection,
    digest: &str,
    labels: HashMap<String, String>,
) -> Result<()> {
    if labels.is_empty() {
        return Ok(());
    }
    let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
    let request = connection.request(UpdateRequest {
        info: Some(Info { digest: digest.to_owned(), labels, ..Info::default() }),
        update_mask: Some(FieldMask { paths }),
    });
    let result = connection.content().update(request).await;
    result.map_err(|status| connection.error(format!("label {digest}"), &status))?;
    Ok(())
}

/// One blob on its way into the store: every message is answered before the next.
struct Upload {
    messages: mpsc::Sender<WriteContentRequest>,
    answers: Streaming<WriteContentResponse>,
    reference: String,
    expected: String,
    total: i64,
    /// How much the store has.
    offset: u64,
}

impl Upload {
    async fn begin(content: &Content<'_>, blob: &Blob) -> Result<Self, Status> {
        let reference = format!("pinnace-{}", content.env.random().uid());
        let total = i64::try_from(blob.size).unwrap_or(i64::MAX);
        let (messages, receiver) = mpsc::channel(MESSAGES_UNDER_WAY);
        let first = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: reference.clone(),
            total,
            expected: blob.digest.clone(),
            ..WriteContentRequest::default()
        };
        messages.send(first).await.map_err(|_| closed())?;
        let requests =
            stream::unfold(receiver, |mut r| async { r.recv().await.map(|message| (message, r)) });
        let request = leased(content.connection.stream_request(requests), content.lease);
        let mut answers = content.connection.content().write(request).await?.into_inner();
        let answer = answers.message().await?.ok_or_else(closed)?;
        let offset = u64::try_from(answer.offset).unwrap_or(0);
        Ok(Self { messages, answers, reference, expected: blob.digest.clone(), total, offset })
    }

    async fn send(&mut self, data: Vec<u8>) -> Result<(), Status> {
        let sent = data.len() as u64;
        let message = WriteContentRequest { data, ..self.message(WriteAction::Write) };
        self.exchange(message).await?;
        self.offset += sent;
        Ok(())
    }

    async fn commit(&mut self, labels: HashMap<String, String>) -> Result<(), Status> {
        let message = WriteContentRequest { labels, ..self.message(WriteAction::Commit) };
        self.exchange(message).await
    }

    fn message(&self, action: WriteAction) -> WriteContentRequest {
        WriteContentRequest {
            action: action.into(),
            r#ref: self.reference.clone(),
            total: self.total,
            expected: self.expected.clone(),
            offset: i64::try_from(self.offset).unwrap_or(i64::MAX),
            ..WriteContentRequest::default()
        }
    }

    async fn exchange(&mut self, message: WriteContentRequest) -> Result<(), Status> {
        // When the store hung up, the reason is in its last answer.
        let sent = self.messages.send(message).await;
        match self.answers.message().await? {
            Some(_) if sent.is_ok() => Ok(()),
            _ => Err(closed()),
        }
    }
}

fn closed() -> Status {
    Status::unavailable("the content store closed the stream")
}

impl WriteError {
    /// As an error of an image, given how to say that its source failed.
    pub(super) fn into_error(self, reference: &str, source: impl FnOnce(String) -> Error) -> Error {
        match self {
            Self::Source(message) => source(message),
            Self::Mismatch(message) => {
                Error::InvalidImage { reference: reference.to_owned(), message }
            }
            Self::Store(error) => error,
        }
    }
}
