use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::processes::end;
use crate::{BusyboxImage, find_program};

/// How long the registry may take to begin, to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// `secret`, as bcrypt has it.
const SECRET: &str = "$2b$04$4TEmWRxoCmsFbFwznZicYeflub6ok0UJX0fWS4HfCxVB37osMU08e";

/// Debian's `docker-registry` on a loopback port that the kernel picks, with its files in a
/// temporary directory. Dropping it ends it.
pub struct Registry {
    directory: TempDir,
    child: Child,
    address: String,
    /// Sent with every request of this harness.
    authorization: &'static str,
}

impl Registry {
    /// Starts a registry that lets everyone in.
    ///
    /// # Errors
    /// What kept it from starting.
    pub fn start() -> io::Result<Self> {
        Self::launch("", "")
    }

    /// Starts a registry that wants the user `user` with the password `secret`.
    ///
    /// # Errors
    /// What kept it from starting.
    pub fn start_with_password() -> io::Result<Self> {
        let auth = "auth: {htpasswd: {realm: test, path: HTPASSWD}}\n";
        Self::launch(auth, "Authorization: Basic dXNlcjpzZWNyZXQ=\r\n")
    }

    fn launch(auth: &str, authorization: &'static str) -> io::Result<Self> {
        let directory = tempfile::Builder::new().prefix("pinnace-registry-").tempdir()?;
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("htpasswd"), format!("user:{SECRET}\n"))?;
        let config = format!(
            "version: 0.1\n\
             log: {{level: info, formatter: text}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\n\
             http: {{addr: \"127.0.0.1:0\"}}\n{}",
            path("data").display(),
            auth.replace("HTPASSWD", &path("htpasswd").display().to_string()),
        );
        std::fs::write(path("config.yml"), config)?;
        let program = find_program("docker-registry")
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "docker-registry"))?;
        let mut child = Command::new(program)
            .arg("serve")
            .arg(path("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let output = child.stderr.take();
        let (sender, receiver) = mpsc::channel();
        // Reads on to the end, so that the registry never waits for a reader of its log.
        std::thread::spawn(move || {
            for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()) {
                let Ok(line) = line else { break };
                if let Some((_, rest)) = line.split_once("listening on ") {
                    let address = rest.split(['"', ' ']).next().unwrap_or_default();
                    let _ = sender.send(address.to_owned());
                }
            }
        });
        match receiver.recv_timeout(PATIENCE) {
            Ok(address) => Ok(Self { directory, child, address, authorization }),
            Err(_) => {
                end(&mut child, PATIENCE);
                Err(io::Error::other("docker-registry does not start"))
            }
        }
    }

    /// Host and port, as the first part of an image's name.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its files.
    pub fn data(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }

    /// Uploads an image as `repository:tag` and gives its whole name and the manifest's digest.
    ///
    /// # Errors
    /// What the registry refused.
    pub fn push(
        &self,
        image: &BusyboxImage,
        repository: &str,
        tag: &str,
    ) -> io::Result<(String, String)> {
        let files = image.layout()?;
        let index: Value = serde_json::from_slice(&files["index.json"])?;
        let digest = text(&index["manifests"][0]["digest"]);
        let document = blob(&files, &digest)?;
        let index: Value = serde_json::from_slice(document)?;
        for entry in index["manifests"].as_array().into_iter().flatten() {
            let digest = text(&entry["digest"]);
            self.push_manifest(&files, repository, &digest, blob(&files, &digest)?)?;
        }
        self.push_manifest(&files, repository, tag, document)?;
        Ok((format!("{}/{repository}:{tag}", self.address), digest))
    }

    fn push_manifest(
        &self,
        files: &BTreeMap<String, Vec<u8>>,
        repository: &str,
        name: &str,
        manifest: &[u8],
    ) -> io::Result<()> {
        let parsed: Value = serde_json::from_slice(manifest)?;
        let layers = parsed["layers"].as_array().into_iter().flatten();
        for part in layers.chain(parsed.get("config")) {
            let digest = text(&part["digest"]);
            let started = self.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), "", &[])?;
            let place = started.location.ok_or_else(|| io::Error::other("no upload location"))?;
            let place = place.split_once(&self.address).map_or(place.as_str(), |(_, path)| path);
            let mark = if place.contains('?') { '&' } else { '?' };
            let data = blob(files, &digest)?;
            let kind = "application/octet-stream";
            self.ask("PUT", &format!("{place}{mark}digest={digest}"), kind, data)?;
        }
        let kind = text(&parsed["mediaType"]);
        self.ask("PUT", &format!("/v2/{repository}/manifests/{name}"), &kind, manifest)?;
        Ok(())
    }

    /// One request on a connection of its own.
    fn ask(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> io::Result<Answer> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}\
             Content-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            self.authorization,
            body.len()
        )?;
        stream.write_all(body)?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).unwrap_or_default();
        if !status.starts_with('2') {
            return Err(io::Error::other(format!("{method} {path}: {answer}")));
        }
        let location = answer
            .lines()
            .take_while(|line| !line.is_empty())
            .find_map(|line| line.strip_prefix("Location: "));
        Ok(Answer { location: location.map(str::to_owned) })
    }
}

struct Answer {
    location: Option<String>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn blob<'a>(files: &'a BTreeMap<String, Vec<u8>>, digest: &str) -> io::Result<&'a [u8]> {
    let name = format!("blobs/{}", digest.replacen(':', "/", 1));
    let found = files.get(&name).map(Vec::as_slice);
    found.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, name))
}

impl Drop for Registry {
    fn drop(&mut self) {
        end(&mut self.child, PATIENCE);
    }
}
