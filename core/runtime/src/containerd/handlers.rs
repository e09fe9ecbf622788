//! What carries out a pod: the handler of its RuntimeClass, as a shim of containerd.

use std::env;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use containerd_client::services::v1::container::Runtime as ShimRuntime;
use prost_types::Any;

use super::Core;
use crate::{Error, Features, Result, RuntimeHandler};

/// The shim of `runc` and of whatever has its command line.
const RUNC: &str = "io.containerd.runc.v2";
const OPTIONS: &str = "containerd.runc.v1.Options";
/// The field `binary_name` of the options, as a key of protobuf: number 6, bytes.
const BINARY_NAME: u8 = 6 << 3 | 2;
/// What a handler's name may consist of, so that it is no path.
const MAX_NAME: usize = 63;

impl Core {
    /// The shim of a handler; that of `runc` for none.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`], in containerd's words, when there is none.
    pub(super) fn shim(&self, handler: &str) -> Result<ShimRuntime> {
        let RuntimeHandler { runtime_type, binary } = self.configured(handler)?;
        let options = Some(options(&binary)).filter(|_| !binary.is_empty());
        Ok(ShimRuntime { name: runtime_type, options })
    }

    fn configured(&self, handler: &str) -> Result<RuntimeHandler> {
        let configured = match handler {
            "" | "runc" => self
                .handlers
                .get(handler)
                .cloned()
                .or(Some(RuntimeHandler { runtime_type: RUNC.to_owned(), binary: String::new() })),
            name => self.handlers.get(name).cloned().or_else(|| installed(name)),
        };
        let unknown = || Error::InvalidConfig(format!("no runtime for {handler:?} is configured"));
        configured.ok_or_else(unknown)
    }

    /// What a handler can do: what the OCI runtime says of itself, asked once.
    pub(super) async fn features(&self, handler: &str) -> Features {
        let Ok(RuntimeHandler { runtime_type, binary }) = self.configured(handler) else {
            return Features::default();
        };
        if runtime_type != RUNC {
            return Features::default();
        }
        let program = if binary.is_empty() { "runc".to_owned() } else { binary };
        if let Some(known) = self.features.lock().get(&program) {
            return *known;
        }
        let asked = program.clone();
        let found = super::blocking(move || Ok(features_of(&asked))).await.unwrap_or_default();
        self.features.lock().insert(program, found);
        found
    }
}

/// What an OCI runtime says that it can do; nothing where it says nothing.
fn features_of(program: &str) -> Features {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Document {
        #[serde(default)]
        mount_options: Vec<String>,
    }
    let output = std::process::Command::new(program).arg("features").output();
    let document =
        output.ok().and_then(|said| serde_json::from_slice::<Document>(&said.stdout).ok());
    let options = document.map(|document| document.mount_options).unwrap_or_default();
    let kernel = rustix::system::uname();
    Features {
        recursive_read_only: options.iter().any(|option| option == "rro")
            && has_mount_setattr(&kernel.release().to_string_lossy()),
    }
}

/// Linux 5.12 and later changes a mount with all that is below it.
fn has_mount_setattr(release: &str) -> bool {
    let mut parts = release.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= (5, 12)
}

/// A handler that nobody has configured: a shim of that name, or an OCI runtime that takes runc's
/// command line.
fn installed(name: &str) -> Option<RuntimeHandler> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.len() > MAX_NAME || !name.bytes().all(plain) {
        return None;
    }
    for version in ["v2", "v1"] {
        if is_program(&format!("containerd-shim-{name}-{version}")) {
            let runtime_type = format!("io.containerd.{name}.{version}");
            return Some(RuntimeHandler { runtime_type, binary: String::new() });
        }
    }
    let known = matches!(name, "crun" | "youki" | "runc");
    (known && is_program(name))
        .then(|| RuntimeHandler { runtime_type: RUNC.to_owned(), binary: name.to_owned() })
}

fn is_program(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    let runs = |path: &Path| {
        path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&path).any(|directory| runs(&directory.join(name)))
}

/// The options of a shim that runs another program in place of `runc`.
fn options(binary: &str) -> Any {
    let mut value = vec![BINARY_NAME];
    let mut length = binary.len();
    while length >= 0x80 {
        value.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
        length >>= 7;
    }
    value.push(u8::try_from(length).unwrap_or(0));
    value.extend_from_slice(binary.as_bytes());
    Any { type_url: OPTIONS.to_owned(), value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_are_compared_by_their_numbers() {
        for (release, expected) in
            [("6.1.0-18-amd64", true), ("5.12.0", true), ("5.4.0-100", false), ("4.19", false)]
        {
            assert_eq!(has_mount_setattr(release), expected, "{release}");
        }
    }

    #[test]
    fn a_program_that_says_nothing_can_do_nothing() {
        for program in ["/nonexistent", "true"] {
            assert_eq!(features_of(program), Features::default());
        }
    }
}
