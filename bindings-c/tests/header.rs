//! The committed header is what the sources say. `UPDATE_HEADER=1` writes it.

use std::path::Path;

/// In the order in which a reader of the header wants to meet them.
const SOURCES: [&str; 17] = [
    "version.rs",
    "error.rs",
    "bytes.rs",
    "config.rs",
    "engine.rs",
    "objects.rs",
    "rollout.rs",
    "explain.rs",
    "serving.rs",
    "stream.rs",
    "controller.rs",
    "admission.rs",
    "authenticator.rs",
    "authorizer.rs",
    "audit.rs",
    "plugin.rs",
    "callback.rs",
];

#[test]
fn the_header_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let builder = cbindgen::Builder::new().with_config(config);
    let bindings = SOURCES
        .iter()
        .fold(builder, |builder, file| builder.with_src(root.join("src").join(file)))
        .generate()
        .unwrap();
    let mut generated = Vec::new();
    bindings.write(&mut generated);
    // The name of an enum ends in `_t`; those of its variants begin with the name without that.
    let generated = String::from_utf8(generated).unwrap().replace("_T_", "_");
    let header = root.join("include/pinnace.h");
    if std::env::var_os("UPDATE_HEADER").is_some() {
        std::fs::write(&header, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(&header).unwrap_or_default();
    assert!(committed == generated, "run UPDATE_HEADER=1 cargo test -p pinnace-c");
}
