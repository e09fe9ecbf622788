//! What is kept encrypted: not to be found in the files, and only to be read by its key.

use std::fs;
use std::path::Path;

use pinnace_store::{DiskBackend, EncryptedBackend, EncryptionConfiguration, Store, StoreError};

use crate::support::{open, seen, set};

const ONE: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const TWO: &str = "YWJjZGVmZ2hpamtsbW5vcGFiY2RlZmdoaWprbG1ub3A=";

/// ConfigMaps encrypted by these keys, the first of which writes; then whatever else is read.
fn config(keys: &[(&str, &str)], more: &str) -> EncryptionConfiguration {
    let keys: Vec<_> = keys
        .iter()
        .map(|(name, secret)| format!("{{name: {name}, secret: \"{secret}\"}}"))
        .collect();
    let text = format!(
        "{{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: \
         [{{resources: [configmaps], providers: [{{aesgcm: {{keys: [{}]}}}}{more}]}}]}}",
        keys.join(", ")
    );
    EncryptionConfiguration::read(&text).unwrap()
}

async fn open_by(
    path: &Path,
    config: Option<&EncryptionConfiguration>,
) -> Result<Store, StoreError> {
    open(EncryptedBackend::new(DiskBackend::open(path)?, config)?).await
}

/// Whether a text is in any file of a directory.
fn holds(path: &Path, text: &str) -> bool {
    fs::read_dir(path).unwrap().any(|entry| {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

#[tokio::test]
async fn an_encrypted_object_is_not_in_the_files_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let config = config(&[("one", ONE)], "");
    let store = open_by(directory.path(), Some(&config)).await.unwrap();
    set(&store, "a", 13_371_337).await.unwrap();
    store.close().await.unwrap();
    assert!(!holds(directory.path(), "13371337"));
    assert!(holds(directory.path(), "k8s:enc:aesgcm:v1:one:"));
    let store = open_by(directory.path(), Some(&config)).await.unwrap();
    assert_eq!(seen(&store, "a"), Some(13_371_337));
}

#[tokio::test]
async fn a_wrong_key_or_none_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_by(directory.path(), Some(&config(&[("one", ONE)], ""))).await.unwrap();
    set(&store, "a", 1).await.unwrap();
    store.close().await.unwrap();
    let wrong = config(&[("one", TWO)], "");
    let other = config(&[("two", TWO)], "");
    let no_key = "configmaps/default/a is encrypted by the key \"one\" (aesgcm:v1), which the \
                  encryption configuration does not have for it";
    for (config, expected) in [
        (
            Some(&wrong),
            "configmaps/default/a: the key \"one\" is not the one it was encrypted by, or its data was changed",
        ),
        (Some(&other), no_key),
        (None, no_key),
    ] {
        let error = open_by(directory.path(), config).await.unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn what_an_older_key_has_written_is_written_anew_along_with_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_by(directory.path(), None).await.unwrap();
    set(&store, "plain", 1).await.unwrap();
    store.close().await.unwrap();
    let first = config(&[("one", ONE)], "");
    let error = open_by(directory.path(), Some(&first)).await.unwrap_err().to_string();
    assert!(error.starts_with("configmaps/default/plain is not encrypted"), "{error}");
    let first = config(&[("one", ONE)], ", {identity: {}}");
    let store = open_by(directory.path(), Some(&first)).await.unwrap();
    set(&store, "a", 2).await.unwrap();
    store.close().await.unwrap();
    let both = config(&[("two", TWO), ("one", ONE)], "");
    let store = open_by(directory.path(), Some(&both)).await.unwrap();
    set(&store, "b", 3).await.unwrap();
    let revision = store.revision();
    store.close().await.unwrap();
    let store = open_by(directory.path(), Some(&config(&[("two", TWO)], ""))).await.unwrap();
    assert_eq!(["plain", "a", "b"].map(|name| seen(&store, name)), [Some(1), Some(2), Some(3)]);
    assert_eq!(store.revision(), revision);
}

#[test]
fn a_configuration_that_cannot_be_is_told_where() {
    let check = |resources: &str, expected: &str| {
        let text = format!(
            "{{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, \
             resources: {resources}}}"
        );
        let error = EncryptionConfiguration::read(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{resources}: {error}");
    };
    let keys = |keys: &str| {
        format!("[{{resources: [secrets], providers: [{{aesgcm: {{keys: [{keys}]}}}}]}}]")
    };
    let at = "resources[0].providers[0].aesgcm.keys";
    check("[]", "resources: at least one must be given");
    check("[{resources: [], providers: [{identity: {}}]}]", "resources[0].resources: at least");
    check("[{resources: [secrets], providers: []}]", "resources[0].providers: at least one");
    check("[{resources: [secrets], providers: [{kms: {}}]}]", "unknown variant `kms`");
    check(&keys(""), &format!("{at}: between 1 and 64 must be given"));
    check(&keys("{name: a, secret: AAAA}"), &format!("{at}[0].secret: is 3 bytes long"));
    check(&keys("{name: a, secret: '?'}"), &format!("{at}[0].secret: must be in base64"));
    check(&keys(&format!("{{name: 'a:b', secret: '{ONE}'}}")), &format!("{at}[0].name: must be"));
    let twice = format!("{{name: a, secret: '{ONE}'}}, {{name: a, secret: '{TWO}'}}");
    check(&keys(&twice), &format!("{at}[1].name: a is there twice"));
}
