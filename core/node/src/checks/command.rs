use pinnace_runtime::{ContainerId, Error, Runtime, Session, Streams};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{MAX_ANSWER_BYTES, Outcome};

/// What a command printed and how it ended.
pub(crate) struct Ran {
    pub(crate) code: i32,
    /// Its output and error output, cut off.
    pub(crate) output: String,
}

/// Runs a command in a container. Dropping this kills it.
///
/// # Errors
/// Why it could not be run.
pub(crate) async fn run(
    runtime: &dyn Runtime,
    container: &ContainerId,
    command: &[String],
) -> Result<Ran, Error> {
    let streams = Streams { stdout: true, stderr: true, ..Streams::default() };
    let Session { stdout, stderr, exit, .. } = runtime.exec(container, command, streams).await?;
    let (out, err, code) = futures::join!(read(stdout), read(stderr), exit);
    let bytes = [out, err].concat();
    Ok(Ran { code: code?, output: String::from_utf8_lossy(&bytes).into_owned() })
}

/// Whether a command succeeds.
///
/// # Errors
/// Why that could not be found out.
pub(crate) async fn check(
    runtime: &dyn Runtime,
    container: &ContainerId,
    command: &[String],
) -> Result<Outcome, String> {
    match run(runtime, container, command).await {
        Ok(Ran { code: 0, .. }) => Ok(Outcome::Success),
        Ok(ran) => Ok(Outcome::Failure(ran.output)),
        Err(error) => Err(error.to_string()),
    }
}

/// The beginning of a stream, which is read to its end so that the command can go on.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut kept = Vec::new();
    let Some(mut stream) = stream else { return kept };
    let mut buffer = [0; 4096];
    while let Ok(length) = stream.read(&mut buffer).await {
        if length == 0 {
            break;
        }
        let room = MAX_ANSWER_BYTES / 2 - kept.len();
        kept.extend_from_slice(&buffer[..length.min(room)]);
    }
    kept
}
