//! Random transactions against a map that anyone can check by eye.

use std::collections::BTreeMap;

use pinnace_api::Key;
use pinnace_store::{Change, CommitError, Expect, MemoryBackend, Snapshot, Store, Transaction};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::{draft, open, value};

const TABLES: [&str; 2] = ["configmaps", "widgets.example.com"];
const NAMESPACES: [&str; 3] = ["", "a", "a-b"];

type Place = (&'static str, Key);
type Model = BTreeMap<Place, (u64, u64)>;

/// One operation, before it is known what is there.
#[derive(Clone, Debug)]
struct Step {
    place: Place,
    expect: Expected,
    /// `None` to delete.
    value: Option<u64>,
}

#[derive(Clone, Debug)]
enum Expected {
    Any,
    Absent,
    Present,
    /// The revision that is there, if any.
    Current,
    Stale,
}

fn step() -> impl Strategy<Value = Step> {
    let place =
        (0..TABLES.len(), 0..NAMESPACES.len(), "[xyz]").prop_map(|(table, namespace, name)| {
            (TABLES[table], Key::new(NAMESPACES[namespace], name))
        });
    let expect = prop_oneof![
        4 => Just(Expected::Any),
        1 => Just(Expected::Absent),
        1 => Just(Expected::Present),
        2 => Just(Expected::Current),
        1 => Just(Expected::Stale),
    ];
    (place, expect, proptest::option::weighted(0.7, 0..1000_u64))
        .prop_map(|(place, expect, value)| Step { place, expect, value })
}

/// What should become of a transaction, or which operation fails.
fn apply(model: &Model, mut revision: u64, steps: &[(Step, Expect)]) -> Result<Model, usize> {
    let mut model = model.clone();
    for (index, (step, expect)) in steps.iter().enumerate() {
        let current = model.get(&step.place).map(|(revision, _)| *revision);
        let met = match expect {
            Expect::Any => true,
            Expect::Absent => current.is_none(),
            Expect::Present => current.is_some(),
            Expect::Revision(expected) => current == Some(*expected),
        };
        if !met || (step.value.is_none() && current.is_none()) {
            return Err(index);
        }
        revision += 1;
        match step.value {
            Some(value) => model.insert(step.place.clone(), (revision, value)),
            None => model.remove(&step.place),
        };
    }
    Ok(model)
}

fn resolve(model: &Model, steps: Vec<Step>) -> Vec<(Step, Expect)> {
    let resolved = steps.into_iter().map(|step| {
        let current = model.get(&step.place).map(|(revision, _)| *revision);
        let expect = match step.expect {
            Expected::Any => Expect::Any,
            Expected::Absent => Expect::Absent,
            Expected::Present => Expect::Present,
            Expected::Current => current.map_or(Expect::Absent, Expect::Revision),
            Expected::Stale => Expect::Revision(current.unwrap_or(9) - 1),
        };
        (step, expect)
    });
    resolved.collect()
}

fn check(snapshot: &Snapshot, model: &Model) {
    for table in TABLES {
        let expected = || model.iter().filter(move |((of, _), _)| *of == table);
        let as_stored = |objects: Vec<&pinnace_api::Object>| -> Vec<_> {
            objects
                .iter()
                .map(|object| (object.key(), (object.revision(), value(object))))
                .collect()
        };
        let as_modelled = |within: &dyn Fn(&Key) -> bool| -> Vec<_> {
            expected()
                .filter(|((_, key), _)| within(key))
                .map(|((_, key), what)| (key.clone(), *what))
                .collect()
        };
        assert_eq!(as_stored(snapshot.iter(table).collect()), as_modelled(&|_| true));
        assert_eq!(snapshot.len(table), expected().count());
        for namespace in NAMESPACES {
            let after = Key::new(namespace, "x");
            assert_eq!(
                as_stored(snapshot.iter_namespace(table, namespace).collect()),
                as_modelled(&|key| key.namespace() == namespace)
            );
            assert_eq!(
                as_stored(snapshot.iter_after(table, None, &after).collect()),
                as_modelled(&|key| *key > after)
            );
            assert_eq!(
                as_stored(snapshot.iter_after(table, Some("a"), &after).collect()),
                as_modelled(&|key| *key > after && key.namespace() == "a")
            );
        }
    }
    for ((table, key), what) in model {
        let object = snapshot.get(table, key).unwrap();
        assert_eq!((object.revision(), value(object)), *what);
    }
}

/// A model for each revision, index by revision.
type History = BTreeMap<u64, Model>;

async fn run(store: &Store, transactions: Vec<Vec<Step>>) -> History {
    let mut revision = store.revision();
    let mut history = History::from([(revision, Model::new())]);
    for steps in transactions {
        let model = history[&revision].clone();
        let steps = resolve(&model, steps);
        let mut transaction = Transaction::new();
        for (Step { place: (table, key), value, .. }, expect) in &steps {
            match value {
                Some(value) => {
                    transaction.put(&(*table).into(), key.clone(), *expect, draft(key, *value))
                }
                None => transaction.delete(&(*table).into(), key.clone(), *expect),
            };
        }
        let outcome = store.commit(transaction).await;
        match apply(&model, revision, &steps) {
            Ok(_) => {
                let committed = outcome.unwrap();
                assert_eq!(committed.revision, revision + steps.len() as u64);
                for (done, object) in (1..).zip(&committed.objects) {
                    assert_eq!(object.revision(), revision + done as u64);
                    let so_far = apply(&model, revision, &steps[..done]).unwrap();
                    history.insert(revision + done as u64, so_far);
                }
                revision = committed.revision;
            }
            Err(index) => match outcome {
                Err(CommitError::Conflict { index: found, .. }) => assert_eq!(found, index),
                other => panic!("operation {index} should have failed: {other:?}"),
            },
        }
        assert_eq!(store.revision(), revision);
        check(&store.snapshot(), &history[&revision]);
    }
    history
}

/// Undoes and replays: every earlier state, and from each the events that follow.
fn check_history(store: &Store, history: &History) {
    for (revision, model) in history {
        let snapshot = store.snapshot_at(*revision).unwrap();
        assert_eq!(snapshot.revision(), *revision);
        check(&snapshot, model);
        for table in TABLES {
            let mut cursor = store.watch(table, *revision).unwrap();
            let mut replayed: BTreeMap<_, _> =
                snapshot.iter(table).map(|object| (object.key(), object.clone())).collect();
            while let Some(event) = cursor.try_next().unwrap() {
                assert_eq!(event.object.revision(), event.revision);
                let before = match event.change {
                    Change::Deleted => replayed.remove(&event.key),
                    _ => replayed.insert(event.key.clone(), event.object.clone()),
                };
                assert_eq!(event.change == Change::Added, before.is_none());
                assert_eq!(
                    event.previous.as_ref().map(|object| object.revision()),
                    before.map(|object| object.revision())
                );
            }
            let present: Vec<_> =
                store.snapshot().iter(table).map(|object| object.revision()).collect();
            let replayed: Vec<_> = replayed.values().map(|object| object.revision()).collect();
            assert_eq!(replayed, present);
            assert_eq!(cursor.revision(), store.revision());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn the_store_does_what_a_map_would_and_remembers_every_revision(
        transactions in vec(vec(step(), 1..4), 1..40)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Store::memory();
            let history = run(&store, transactions).await;
            check_history(&store, &history);
        });
    }

    #[test]
    fn what_a_back_end_has_is_what_the_store_had(
        transactions in vec(vec(step(), 1..4), 1..40)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let backend = MemoryBackend::new();
            let store = open(backend.clone()).await.unwrap();
            let history = run(&store, transactions).await;
            check_history(&store, &history);
            store.close().await.unwrap();
            let reopened = open(backend).await.unwrap();
            let (last, model) = history.last_key_value().unwrap();
            // A removal is remembered by the revision alone.
            assert_eq!(reopened.revision(), *last);
            check(&reopened.snapshot(), model);
        });
    }
}
