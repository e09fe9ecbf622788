//! Fuzzes what reads bytes from outside. `FUZZ_TARGET` names one of [`TARGETS`]; `run.sh` beside
//! this runs them all. A target checks more than that nothing panics: what was read can be written
//! and read again, and what is done twice is as if done once.

#![no_main]
#![allow(clippy::unwrap_used, reason = "a panic is how a target says that it has found something")]

mod documents;
mod expressions;
mod front;
mod languages;
mod patches;
mod streams;

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 13] = [
    ("json", documents::json),
    ("yaml", documents::yaml),
    ("protobuf", documents::protobuf),
    ("selector", languages::selector),
    ("quantity", languages::quantity),
    ("schedule", languages::schedule),
    ("cel", expressions::cel),
    ("json_patch", patches::json),
    ("merge_patch", patches::merge),
    ("strategic_patch", patches::strategic),
    ("apply", patches::apply),
    ("request", front::request),
    ("spdy", streams::spdy),
];

static TARGET: OnceLock<Target> = OnceLock::new();

fn chosen() -> Target {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    let names = TARGETS.map(|(name, _)| name);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET={name:?}: expected one of {names:?}")).1
}

fuzz_target!(|data: &[u8]| TARGET.get_or_init(chosen)(data));

/// Takes input apart at its first newline.
fn split(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = data.iter().position(|byte| *byte == b'\n')?;
    Some((&data[..end], &data[end + 1..]))
}
