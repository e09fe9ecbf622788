//! A client that costs little: HTTP/1.1 with keep-alive, over TLS or a Unix socket, in raw bytes.

use std::sync::Arc;

use pinnace_http::Authority;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Where the server is, and who its clients are.
#[derive(Clone)]
pub(crate) enum Address {
    Tls(String, TlsConnector),
    Unix(String),
}

/// The certificate of the authority and an administrator's certificate and key, in PEM.
pub(crate) fn credentials(authority: &Authority) -> [String; 3] {
    let identity = authority.client("admin", &["system:masters".to_owned()]).unwrap();
    [authority.certificate_pem().to_owned(), identity.certificate_pem, identity.key_pem]
}

impl Address {
    pub(crate) fn tls(address: &str, [ca, certificate, key]: &[String; 3]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .unwrap();
        Self::Tls(address.to_owned(), TlsConnector::from(Arc::new(config)))
    }

    pub(crate) async fn connect(&self) -> Connection {
        let stream: Box<dyn Stream> = match self {
            Self::Unix(path) => Box::new(UnixStream::connect(path).await.unwrap()),
            Self::Tls(address, connector) => {
                let stream = TcpStream::connect(address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let name = ServerName::try_from("localhost").unwrap();
                Box::new(connector.connect(name, stream).await.unwrap())
            }
        };
        Connection { stream, buffer: Vec::with_capacity(32 * 1024) }
    }
}

pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Sends a request and gives the length of the answer's body.
    pub(crate) async fn request(
        &mut self,
        method: &str,
        path: &str,
        media_type: &str,
        body: &[u8],
    ) -> usize {
        self.send(method, path, media_type, body).await;
        let (head, status, length) = self.head().await;
        assert!((200..300).contains(&status), "{}", String::from_utf8_lossy(&self.buffer));
        let Some(length) = length else { return self.chunks(head).await };
        let mut come = self.buffer.len() - head;
        while come < length {
            self.buffer.clear();
            let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(read > 0, "the server has hung up");
            come += read;
        }
        length
    }

    /// Reads a body that comes in chunks, until the last; gives how many bytes came.
    async fn chunks(&mut self, head: usize) -> usize {
        const LAST: &[u8] = b"\r\n0\r\n\r\n";
        self.buffer.drain(..head);
        let mut come = self.buffer.len();
        while !self.buffer.ends_with(LAST) {
            // The end may come in two parts.
            let keep = self.buffer.len().saturating_sub(LAST.len());
            self.buffer.drain(..keep);
            let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(read > 0, "the server has hung up");
            come += read;
        }
        come
    }

    /// Begins a watch and gives what comes of it.
    pub(crate) async fn watch(mut self, path: &str) -> Events {
        self.send("GET", path, "application/json", b"").await;
        let (head, status, _) = self.head().await;
        assert_eq!(status, 200);
        self.buffer.drain(..head);
        let mut events = Events { stream: self.stream, last: 0, found: 0 };
        events.count(&self.buffer);
        events
    }

    async fn send(&mut self, method: &str, path: &str, media_type: &str, body: &[u8]) {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media_type}\r\n\
             content-length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        self.stream.write_all(&request).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Reads until the end of a head: where that is, the status, the length of what follows.
    async fn head(&mut self) -> (usize, u16, Option<usize>) {
        self.buffer.clear();
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
            assert!(read > 0, "the server has hung up");
            let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&self.buffer[..end]).unwrap();
            let status = head[9..12].parse().unwrap();
            let mut lines = head.lines();
            let length = lines.find_map(|line| line.strip_prefix("content-length: "));
            return (end + 4, status, length.map(|length| length.parse().unwrap()));
        }
    }
}

/// The events of a watch, counted by the ends of their lines.
pub(crate) struct Events {
    stream: Box<dyn Stream>,
    last: u8,
    found: usize,
}

impl Events {
    fn count(&mut self, bytes: &[u8]) {
        for byte in bytes {
            // The ends of chunks are not those of events.
            self.found += usize::from(*byte == b'\n' && self.last != b'\r');
            self.last = *byte;
        }
    }

    pub(crate) async fn next(&mut self) {
        let mut chunk = [0; 4096];
        while self.found == 0 {
            let read = self.stream.read(&mut chunk).await.unwrap();
            assert!(read > 0, "the watch has ended");
            self.count(&chunk[..read]);
        }
        self.found -= 1;
    }
}
