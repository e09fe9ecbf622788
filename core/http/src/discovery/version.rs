use k8s_openapi::apimachinery::pkg::version::Info;

/// The version of the API that is served, in Kubernetes' counting.
const MAJOR: &str = "1";
const MINOR: &str = "36";
/// The version with which clients compare theirs. What stands behind the plus is no part of the
/// comparison.
pub const GIT_VERSION: &str = concat!("v1.36.0+pinnace-", env!("CARGO_PKG_VERSION"));

/// What `/version` tells.
pub(super) fn info() -> Info {
    Info {
        major: MAJOR.to_owned(),
        minor: MINOR.to_owned(),
        emulation_major: Some(MAJOR.to_owned()),
        emulation_minor: Some(MINOR.to_owned()),
        min_compatibility_major: Some(MAJOR.to_owned()),
        min_compatibility_minor: Some("35".to_owned()),
        git_version: GIT_VERSION.to_owned(),
        git_commit: option_env!("PINNACE_GIT_COMMIT").unwrap_or_default().to_owned(),
        git_tree_state: "clean".to_owned(),
        // What upstream's builds say that do not know: a build is the same whenever it is made.
        build_date: "1970-01-01T00:00:00Z".to_owned(),
        go_version: concat!("rust", env!("CARGO_PKG_RUST_VERSION")).to_owned(),
        compiler: "rustc".to_owned(),
        platform: format!("{}/{}", std::env::consts::OS, architecture()),
    }
}

/// The machine in the words of Kubernetes.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
