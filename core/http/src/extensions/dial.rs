use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use pinnace_server::ExtensionAddress;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error as TlsError};

/// The port of HTTPS.
const PORT: u16 = 443;

/// A connection to an extension.
pub(crate) type Stream = TlsStream<TcpStream>;

/// Connects to an extension, and checks that it is the one.
///
/// # Errors
/// Why not, as Go words it.
pub(crate) async fn dial(
    address: &ExtensionAddress,
    config: Arc<ClientConfig>,
) -> Result<(Stream, SocketAddr), String> {
    let (stream, peer) = connect(address).await?;
    let name = ServerName::try_from(address.server_name.clone());
    let name = name.map_err(|error| format!("tls: {error}"))?;
    match TlsConnector::from(config).connect(name, stream).await {
        Ok(stream) => Ok((stream, peer)),
        Err(error) => Err(handshake_words(&error, &address.server_name)),
    }
}

async fn connect(address: &ExtensionAddress) -> Result<(TcpStream, SocketAddr), String> {
    let addresses = match address.addresses.is_empty() {
        false => address.addresses.clone(),
        true => look_up(&address.authority).await?,
    };
    let mut last = format!("dial tcp: lookup {}: no such host", address.authority);
    for peer in addresses {
        match TcpStream::connect(peer).await {
            Ok(stream) => {
                // What is sent is whole, so nothing is gained by waiting for more.
                let _ = stream.set_nodelay(true);
                return Ok((stream, peer));
            }
            Err(error) => last = format!("dial tcp {peer}: connect: {}", connect_words(&error)),
        }
    }
    Err(last)
}

async fn look_up(authority: &str) -> Result<Vec<SocketAddr>, String> {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap_or(PORT)),
        _ => (authority, PORT),
    };
    let host = host.trim_matches(['[', ']']);
    let found = tokio::net::lookup_host((host, port)).await;
    found.map(Iterator::collect).map_err(|_| format!("dial tcp: lookup {host}: no such host"))
}

fn connect_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::TimedOut => "connection timed out".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        _ => error.to_string(),
    }
}

fn handshake_words(error: &io::Error, name: &str) -> String {
    let within = error.get_ref().and_then(|within| within.downcast_ref::<TlsError>());
    let x509 = |why: String| format!("tls: failed to verify certificate: x509: {why}");
    match within {
        Some(TlsError::InvalidCertificate(wrong)) => x509(match wrong {
            // An issuer of the same name with another key is as unknown.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "certificate signed by unknown authority".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("certificate is not valid for {name}")
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                "certificate has expired or is not yet valid".to_owned()
            }
            other => other.to_string(),
        }),
        Some(TlsError::InvalidMessage(_)) => {
            "http: server gave HTTP response to HTTPS client".to_owned()
        }
        Some(other) => format!("tls: {other}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => error.to_string(),
    }
}
