//! Connections to ports of a pod.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::{TcpSocket, TcpStream};

use super::{Namespaces, enter, on_own_thread};
use crate::{Error, Result};

/// How long a listener may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Connects to a port on the loopback address of a network namespace, or of the machine.
///
/// A socket belongs for good to the namespace of the thread that makes it. So a thread of our own
/// goes there, makes the sockets and ends; they are used from outside.
///
/// # Errors
/// [`Error::Connect`] when nobody accepts at either loopback address.
pub(crate) async fn connect(network: Option<PathBuf>, port: u16) -> Result<TcpStream> {
    let made = tokio::task::spawn_blocking(move || {
        let namespaces = Namespaces { network, ..Namespaces::default() };
        match namespaces.network {
            None => Ok(sockets()),
            Some(_) => on_own_thread("connect to a pod", move || {
                enter(&namespaces)?;
                Ok(sockets())
            }),
        }
    });
    let other = |message| Error::Connect { port, message };
    let sockets = made.await.map_err(|error| other(error.to_string()))??;
    let mut failures = Vec::new();
    for (address, socket) in LOOPBACK.into_iter().zip(sockets) {
        let address = SocketAddr::new(address, port);
        let connected = async { socket?.connect(address).await };
        match tokio::time::timeout(CONNECT_TIMEOUT, connected).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failures.push(format!("{address}: {error}")),
            Err(_) => failures.push(format!("{address}: no answer")),
        }
    }
    Err(other(failures.join(", ")))
}

/// One of each family; a machine may be without one of them.
fn sockets() -> [io::Result<TcpSocket>; 2] {
    [TcpSocket::new_v4(), TcpSocket::new_v6()]
}
