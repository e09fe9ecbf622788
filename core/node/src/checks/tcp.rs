use tokio::net::TcpStream;

use super::{Outcome, authority, words};

/// Whether somebody accepts a connection.
pub(crate) async fn check(host: &str, port: u16) -> Outcome {
    match TcpStream::connect((host, port)).await {
        Ok(_) => Outcome::Success,
        Err(error) => Outcome::Failure(format!(
            "dial tcp {}: connect: {}",
            authority(host, port),
            words(&error)
        )),
    }
}
