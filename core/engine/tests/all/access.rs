//! Who may come, what they may do, and what is noted of it.

use pinnace::access::audit::{AuditFile, AuditLevel, AuditPolicy};
use pinnace::access::{Attributes, Authorizer, Decision};
use pinnace::{Engine, Env, Runtime};

/// A host's own: Ann reads nodes.
struct Ann;

impl Authorizer for Ann {
    fn authorize(&self, asked: &Attributes<'_>) -> Decision {
        match (&*asked.user.name, asked.verb, asked.resource) {
            ("ann", "list", "nodes") => Decision::Allow,
            _ => Decision::Deny(String::new()),
        }
    }
}

#[tokio::test]
async fn a_host_decides_too_and_all_is_noted_before_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    let engine = Engine::builder()
        .runtime(Runtime::simulated())
        .authorizer(Ann)
        .audit(AuditPolicy::all(AuditLevel::Metadata), AuditFile::new(&path, &Env::system()))
        .start()
        .await
        .unwrap();
    let ann = engine.as_user("ann", []);
    let list = async |kind: &str| {
        ann.named(kind).unwrap().list(None, Default::default()).await.map(|list| list.items.len())
    };
    assert_eq!(list("nodes").await.unwrap(), 1);
    assert_eq!(list("secrets").await.unwrap_err().code(), 403);
    engine.shutdown().await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    let of_ann: Vec<_> =
        text.lines().filter(|line| line.contains("\"username\":\"ann\"")).collect();
    assert_eq!(of_ann.len(), 4, "two calls of two stages");
    assert!(of_ann[3].contains("\"code\":403"), "{}", of_ann[3]);
}
