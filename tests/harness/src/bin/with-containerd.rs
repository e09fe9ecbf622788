//! Runs a command beside a containerd of its own, with an image made for the occasion:
//! `with-containerd COMMAND ARGUMENT…`.
//!
//! The command finds the runtime in `PINNACE_RUNTIME` and the image's archive in `PINNACE_IMAGES`.
//! When it has ended, everything of the containerd goes.

use std::env;
use std::error::Error;
use std::process::{Command, ExitCode};

use pinnace_test_harness::{BusyboxImage, PrivateContainerd, why_no_containers};

const IMAGE: &str = "pinnace.example/web:1";

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("with-containerd: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<u8, Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let command = arguments.next().ok_or("usage: with-containerd COMMAND ARGUMENT…")?;
    if let Some(why) = why_no_containers() {
        return Err(why.into());
    }
    let containerd = PrivateContainerd::start()?;
    let archive = containerd.path("web.tar");
    BusyboxImage::new(IMAGE).write_archive(&archive)?;
    let status = Command::new(command)
        .args(arguments)
        .env("PINNACE_RUNTIME", format!("containerd://{}", containerd.socket().display()))
        .env("PINNACE_IMAGES", &archive)
        .status()?;
    if !status.success() {
        eprintln!("{}", containerd.log());
    }
    Ok(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
}
