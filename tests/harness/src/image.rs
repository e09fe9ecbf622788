use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::find_program;

/// The applets that have a link in `/bin`.
const APPLETS: [&str; 40] = [
    "sh", "cat", "echo", "sleep", "true", "false", "ls", "id", "env", "hostname", "mount", "ps",
    "kill", "touch", "mkdir", "rm", "pwd", "head", "tail", "dd", "grep", "seq", "httpd", "wget",
    "nc", "ip", "ping", "date", "printf", "test", "stat", "df", "tr", "wc", "cp", "ln", "chmod",
    "nslookup", "uname", "sysctl",
];
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv:/bin/sh\n";
const GROUP: &str = "root:x:0:\nwheel:x:10:root\nweb:x:34:\nlogs:x:40:web\n";

/// A small image: `busybox` with links for its applets in one layer, users `root` and `web` in
/// another. Fields may be changed before it is written.
#[derive(Clone, Debug)]
pub struct BusyboxImage {
    /// The whole name, for example `docker.io/library/busybox:1`.
    pub name: String,
    /// `Entrypoint`.
    pub entry_point: Vec<String>,
    /// `Cmd`.
    pub command: Vec<String>,
    /// `Env`.
    pub environment: Vec<String>,
    /// `User`.
    pub user: String,
    /// `WorkingDir`.
    pub working_dir: String,
    /// Whether its name leads to an index with this and another platform.
    pub multi_platform: bool,
    /// Further files by their path, with mode 0755.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl BusyboxImage {
    /// An image of this name that runs a shell.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            entry_point: Vec::new(),
            command: vec!["/bin/sh".into()],
            environment: vec!["PATH=/bin".into()],
            user: String::new(),
            working_dir: String::new(),
            multi_platform: false,
            files: BTreeMap::new(),
        }
    }

    /// Writes it as an OCI layout into a directory.
    ///
    /// # Errors
    /// When busybox is not installed, or the directory cannot be written.
    pub fn write_layout(&self, directory: &Path) -> io::Result<()> {
        for (name, data) in self.layout()? {
            let path = directory.join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(directory))?;
            std::fs::write(path, data)?;
        }
        Ok(())
    }

    /// Writes it as an OCI archive (`.tar`).
    ///
    /// # Errors
    /// As [`BusyboxImage::write_layout`].
    pub fn write_archive(&self, path: &Path) -> io::Result<()> {
        let mut archive = tar::Builder::new(std::fs::File::create(path)?);
        for (name, data) in self.layout()? {
            append_file(&mut archive, &name, &data, 0o644)?;
        }
        archive.into_inner()?.flush()
    }

    /// Writes it as `docker save` did before it knew the OCI layout.
    ///
    /// # Errors
    /// As [`BusyboxImage::write_layout`].
    pub fn write_docker_archive(&self, path: &Path) -> io::Result<()> {
        let layers = self.layers()?;
        let config = self.config(&layers, architecture());
        let mut archive = tar::Builder::new(std::fs::File::create(path)?);
        let mut names = Vec::new();
        for (number, layer) in layers.iter().enumerate() {
            let name = format!("{number}/layer.tar");
            append_file(&mut archive, &name, layer, 0o644)?;
            names.push(name);
        }
        let list = json!([{"Config": "config.json", "RepoTags": [self.name], "Layers": names}]);
        append_file(&mut archive, "config.json", &config, 0o644)?;
        append_file(&mut archive, "manifest.json", list.to_string().as_bytes(), 0o644)?;
        archive.into_inner()?.flush()
    }

    /// The files of its OCI layout, by their path.
    ///
    /// # Errors
    /// When busybox is not installed.
    pub fn layout(&self) -> io::Result<BTreeMap<String, Vec<u8>>> {
        let layers = self.layers()?;
        let config = self.config(&layers, architecture());
        let foreign = self.config(&layers, "mips64le");
        let mut files = BTreeMap::new();
        let mut add = |kind: &str, data: Vec<u8>| {
            let digest = digest(&data);
            let size = data.len();
            files.insert(format!("blobs/{}", digest.replacen(':', "/", 1)), data);
            json!({"mediaType": kind, "digest": digest, "size": size})
        };
        let layers: Vec<Value> = layers
            .into_iter()
            .map(|layer| add("application/vnd.oci.image.layer.v1.tar", layer))
            .collect();
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": add("application/vnd.oci.image.config.v1+json", config),
            "layers": layers,
        });
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let mut entry = add(kind, manifest.to_string().into_bytes());
        if self.multi_platform {
            manifest["config"] = add("application/vnd.oci.image.config.v1+json", foreign);
            let mut other = add(kind, manifest.to_string().into_bytes());
            other["platform"] = json!({"os": "linux", "architecture": "mips64le"});
            entry["platform"] = json!({"os": "linux", "architecture": architecture()});
            let kind = "application/vnd.oci.image.index.v1+json";
            let index = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [other, entry]});
            entry = add(kind, index.to_string().into_bytes());
        }
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": self.name});
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        files.insert("index.json".into(), index.to_string().into_bytes());
        files.insert("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
        Ok(files)
    }

    fn config(&self, layers: &[Vec<u8>], architecture: &str) -> Vec<u8> {
        let diffs: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "config": {
                "Entrypoint": self.entry_point,
                "Cmd": self.command,
                "Env": self.environment,
                "User": self.user,
                "WorkingDir": self.working_dir,
            },
            "rootfs": {"type": "layers", "diff_ids": diffs},
        });
        config.to_string().into_bytes()
    }

    fn layers(&self) -> io::Result<Vec<Vec<u8>>> {
        let busybox = busybox().ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, "a statically linked busybox")
        })?;
        let mut base = tar::Builder::new(Vec::new());
        for (name, mode) in [
            ("bin", 0o755),
            ("dev", 0o755),
            ("etc", 0o755),
            ("proc", 0o755),
            ("root", 0o700),
            ("sys", 0o755),
            ("tmp", 0o1777),
        ] {
            append(&mut base, name, &[], mode, tar::EntryType::Directory)?;
        }
        append_file(&mut base, "bin/busybox", &std::fs::read(busybox)?, 0o755)?;
        for applet in APPLETS {
            let mut header = header(0, 0o777, tar::EntryType::Symlink);
            base.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
        }
        let mut users = tar::Builder::new(Vec::new());
        append_file(&mut users, "etc/passwd", PASSWD.as_bytes(), 0o644)?;
        append_file(&mut users, "etc/group", GROUP.as_bytes(), 0o644)?;
        for (name, data) in &self.files {
            append_file(&mut users, name.trim_start_matches('/'), data, 0o755)?;
        }
        Ok(vec![base.into_inner()?, users.into_inner()?])
    }
}

/// A busybox that needs no libraries.
pub(crate) fn busybox() -> Option<PathBuf> {
    const LOADERS: [&[u8]; 2] = [b"/ld-linux", b"/ld-musl"];
    let path = find_program("busybox")?;
    let program = std::fs::read(&path).ok()?;
    let names = |loader: &[u8]| program.windows(loader.len()).any(|bytes| bytes == loader);
    (!LOADERS.into_iter().any(names)).then_some(path)
}

fn append_file(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    data: &[u8],
    mode: u32,
) -> io::Result<()> {
    append(archive, name, data, mode, tar::EntryType::Regular)
}

fn append(
    archive: &mut tar::Builder<impl Write>,
    name: &str,
    data: &[u8],
    mode: u32,
    kind: tar::EntryType,
) -> io::Result<()> {
    let mut header = header(data.len() as u64, mode, kind);
    archive.append_data(&mut header, name, data)
}

/// Owner and time are fixed, so that an image has the same digest every time.
fn header(size: u64, mode: u32, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(kind);
    header
}

fn digest(data: &[u8]) -> String {
    let hex: String = Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
