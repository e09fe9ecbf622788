use std::fs::{self, DirBuilder, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::HostPathVolumeSource;

/// Checks that a `hostPath` is what its type says, and makes what its type says to make.
pub(super) fn prepare(source: &HostPathVolumeSource) -> Result<PathBuf, String> {
    let path = Path::new(&source.path);
    let failed = |error: io::Error| format!("hostPath {}: {error}", path.display());
    let refused =
        |what: &str| format!("hostPath type check failed: {} is not {what}", path.display());
    let found = match fs::metadata(path) {
        Ok(metadata) => Some(metadata.file_type()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(error)),
    };
    let check = |what: &str, is: fn(&FileType) -> bool| match &found {
        Some(found) if is(found) => Ok(()),
        _ => Err(refused(what)),
    };
    match source.type_.as_deref().unwrap_or_default() {
        "" if found.is_none() => {
            // The runtime would otherwise make it, or fail with words of its own.
            DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed)?;
        }
        "" => {}
        "DirectoryOrCreate" if found.is_none() => {
            DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(failed)?;
        }
        "DirectoryOrCreate" | "Directory" => check("a directory", FileType::is_dir)?,
        "FileOrCreate" if found.is_none() => {
            let created = OpenOptions::new().create_new(true).write(true).mode(0o644).open(path);
            created.map(drop).map_err(failed)?;
        }
        "FileOrCreate" | "File" => check("a file", FileType::is_file)?,
        "Socket" => check("a socket file", FileType::is_socket)?,
        "CharDevice" => check("a character device", FileType::is_char_device)?,
        "BlockDevice" => check("a block device", FileType::is_block_device)?,
        unknown => return Err(format!("hostPath has an unknown type {unknown:?}")),
    }
    Ok(path.to_owned())
}
