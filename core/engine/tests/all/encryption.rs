//! Secrets at rest.

use std::fs;
use std::path::Path;

use pinnace::{Engine, EngineBuilder, Runtime};

const SECRET: &str = "{apiVersion: v1, kind: Secret, metadata: {name: s}, \
                      stringData: {password: correct-horse-battery}}";
/// The password in base64, as JSON has it.
const PASSWORD: &str = "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5";

fn builder(path: &Path) -> EngineBuilder {
    Engine::builder().runtime(Runtime::simulated()).nodes(0).data_dir(path)
}

/// Whether a text is in any file below a directory.
fn holds(path: &Path, text: &str) -> bool {
    fs::read_dir(path).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return holds(&path, text);
        }
        let bytes = fs::read(&path).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn a_secret_is_not_in_the_data_directory_when_there_is_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let key = [7; 32];
    let engine = builder(directory.path()).encryption_key(&key).start().await.unwrap();
    engine.apply(SECRET).await.unwrap();
    assert!(!holds(directory.path(), PASSWORD));
    engine.shutdown().await.unwrap();
    assert!(!holds(directory.path(), PASSWORD));
    for (wrong, expected) in [
        (builder(directory.path()).encryption_key(&[8; 32]), "is not the one it was encrypted by"),
        (builder(directory.path()), "which the encryption configuration does not have"),
    ] {
        let error = wrong.start().await.map(drop).unwrap_err().to_string();
        assert!(error.contains("secrets/default/s") && error.contains(expected), "{error}");
    }
    let engine = builder(directory.path()).encryption_key(&key).start().await.unwrap();
    assert!(
        engine.get("secrets/s").await.unwrap().to_value().unwrap()["data"]["password"] == PASSWORD
    );
    engine.shutdown().await.unwrap();
    // Without a key it is as it was before there were any.
    let plain = tempfile::tempdir().unwrap();
    let engine = builder(plain.path()).start().await.unwrap();
    engine.apply(SECRET).await.unwrap();
    engine.shutdown().await.unwrap();
    assert!(holds(plain.path(), PASSWORD));
}
