//! The data directory: locks, versions, damage, and a disk that is full.

use std::fs;
use std::path::Path;

use pinnace_store::{Backend as _, DiskBackend, Expect, Store, StoreError};

use crate::support::{TABLE, delete, open, put, seen, set};

async fn open_at(path: &Path) -> Result<Store, StoreError> {
    open(DiskBackend::open(path)?).await
}

#[tokio::test]
async fn objects_and_the_revision_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/on/demand");
    let store = open_at(&path).await.unwrap();
    set(&store, "a", 1).await.unwrap();
    set(&store, "b", 2).await.unwrap();
    store.commit(put("widgets.example.com", "a", Expect::Any, 3)).await.unwrap();
    store.commit(delete(TABLE, "b", Expect::Any)).await.unwrap();
    store.close().await.unwrap();
    let store = open_at(&path).await.unwrap();
    assert_eq!(store.revision(), 5);
    assert_eq!((seen(&store, "a"), seen(&store, "b")), (Some(1), None));
    assert_eq!(store.snapshot().iter("widgets.example.com").next().unwrap().revision(), 4);
    assert!(store.watch(TABLE, 4).is_err_and(|error| error.is_expired()));
    store.commit(put(TABLE, "a", Expect::Revision(2), 4)).await.unwrap();
}

#[tokio::test]
async fn a_data_directory_belongs_to_one_engine() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_at(directory.path()).await.unwrap();
    match DiskBackend::open(directory.path()).map(|_| ()) {
        Err(error @ StoreError::Locked { pid, .. }) => {
            assert_eq!(pid, Some(std::process::id()));
            assert!(error.to_string().contains(&format!("process {}", std::process::id())));
        }
        other => panic!("{other:?}"),
    }
    store.close().await.unwrap();
    open_at(directory.path()).await.unwrap();
}

#[tokio::test]
async fn data_of_a_newer_version_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    open_at(directory.path()).await.unwrap().close().await.unwrap();
    fs::write(directory.path().join("format"), "pinnace-store 7\n").unwrap();
    let error = open_at(directory.path()).await.unwrap_err();
    assert!(matches!(error, StoreError::NewerVersion { found: 7, supported: 1 }), "{error}");
    fs::write(directory.path().join("format"), "something else").unwrap();
    let error = open_at(directory.path()).await.unwrap_err();
    assert!(matches!(&error, StoreError::Corrupt { path, .. } if path.ends_with("format")));
}

/// Fills a directory, damages the database file, and says what opening it comes to.
async fn damaged(damage: impl FnOnce(&mut Vec<u8>)) -> Result<Store, StoreError> {
    let directory = tempfile::tempdir().unwrap();
    let store = open_at(directory.path()).await.unwrap();
    for value in 0..200 {
        set(&store, &format!("object-{value}"), value).await.unwrap();
    }
    store.close().await.unwrap();
    let file = directory.path().join("objects.redb");
    let mut bytes = fs::read(&file).unwrap();
    damage(&mut bytes);
    fs::write(&file, bytes).unwrap();
    open_at(directory.path()).await
}

fn assert_names_the_file(outcome: Result<Store, StoreError>) {
    match outcome {
        Err(error @ (StoreError::Corrupt { .. } | StoreError::Backend(_))) => {
            assert!(error.to_string().contains("objects.redb"), "{error}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn damage_is_an_error_that_names_the_file() {
    assert_names_the_file(damaged(|bytes| bytes[..512].fill(0xaa)).await);
    assert_names_the_file(damaged(|bytes| bytes.truncate(bytes.len() / 3)).await);
    assert_names_the_file(
        damaged(|bytes| {
            let text = b"object-100";
            let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
            bytes[at] = b'O';
        })
        .await,
    );
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    let error = DiskBackend::open(&file.join("data")).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("file/data"), "{error}");
}

#[test]
fn a_back_end_can_be_used_before_it_is_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let mut backend = DiskBackend::open(directory.path()).unwrap();
    backend.write(&[]).unwrap();
    backend.close().unwrap();
}

/// On a file system of 4 MB in a mount namespace of the test's own thread, which takes it along
/// when it ends.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_fails_writes_until_there_is_space() {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().to_owned();
    let test = move || {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNS) {
            eprintln!("skipped: a mount namespace needs root ({error})");
            return;
        }
        let (none, private) = (None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE);
        mount(none, "/", none, private, none).unwrap();
        mount(Some("none"), &path, Some("tmpfs"), MsFlags::empty(), Some("size=4m")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(fill_and_free(&path));
    };
    std::thread::spawn(test).join().unwrap();
}

#[cfg(target_os = "linux")]
async fn fill_and_free(path: &Path) {
    use pinnace_store::CommitError;

    let store = open_at(&path.join("data")).await.unwrap();
    let ballast = path.join("ballast");
    fs::write(&ballast, vec![0; 1 << 20]).unwrap();
    let mut written = 0;
    let error = loop {
        match set(&store, &format!("{written}-{}", "x".repeat(2000)), written).await {
            Ok(_) => written += 1,
            Err(CommitError::Storage(error)) => break error,
            Err(error) => panic!("{error}"),
        }
        assert!(written < 10_000, "it never became full");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(written > 0);
    assert_eq!(store.snapshot().len(TABLE), written as usize);
    assert!(set(&store, "still", 1).await.is_err());
    store.close().await.unwrap();
    let store = open_at(&path.join("data")).await.unwrap();
    assert_eq!(store.snapshot().len(TABLE), written as usize, "opened on the full disk");
    fs::remove_file(ballast).unwrap();
    set(&store, "again", 1).await.unwrap();
    let revision = store.revision();
    store.close().await.unwrap();
    let reopened = open_at(&path.join("data")).await.unwrap();
    assert_eq!(reopened.revision(), revision);
    assert_eq!(reopened.snapshot().len(TABLE), written as usize + 1);
    assert_eq!(seen(&reopened, "again"), Some(1));
}
