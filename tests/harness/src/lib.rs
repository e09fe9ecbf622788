//! What tests and the quickstart need around Pinnace, on a machine without the internet:
//!
//! - [`PrivateContainerd`]: a containerd of its own, with everything in one temporary directory;
//! - [`BusyboxImage`]: a small image made from Debian's `busybox-static`;
//! - [`Registry`]: Debian's `docker-registry` on a loopback port that the kernel picks.
//!
//! Everything blocks, starts only what it stops again, and cleans up when it is dropped, also in a
//! test that fails.

mod containerd;
mod image;
mod processes;
mod registry;

pub use containerd::PrivateContainerd;
pub use image::BusyboxImage;
pub use processes::wait_until;
pub use registry::Registry;

use std::path::{Path, PathBuf};

/// Why tests with real containers cannot run here; `None` when they can.
pub fn why_no_containers() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("not root".into());
    }
    let missing = ["containerd", "containerd-shim-runc-v2", "runc"]
        .into_iter()
        .find(|program| find_program(program).is_none());
    if let Some(program) = missing {
        return Some(format!("{program} is not installed"));
    }
    image::busybox().is_none().then(|| "busybox-static is not installed".into())
}

/// Why tests with a registry cannot run here; `None` when they can.
pub fn why_no_registry() -> Option<String> {
    let missing = find_program("docker-registry").is_none();
    missing.then(|| "docker-registry is not installed".into())
}

/// The variable with a directory whose containerd, shim and runc are tested in place of those that
/// are installed. What is missing there is taken from the machine.
pub const CONTAINERD_DIRECTORY: &str = "PINNACE_TEST_CONTAINERD";

/// Where a program lies: in [`CONTAINERD_DIRECTORY`], in `PATH` and in the usual places.
pub fn find_program(name: &str) -> Option<PathBuf> {
    search_path().map(|directory| directory.join(name)).find(|candidate| is_executable(candidate))
}

/// The directories that programs are looked for in, the first of them first.
fn search_path() -> impl Iterator<Item = PathBuf> {
    let chosen = std::env::var_os(CONTAINERD_DIRECTORY).filter(|chosen| !chosen.is_empty());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let usual = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/bin", "/sbin"];
    chosen.map(PathBuf::from).into_iter().chain(path).chain(usual.map(PathBuf::from))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
