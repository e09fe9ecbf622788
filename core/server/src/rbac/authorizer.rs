use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::api::rbac::v1::{PolicyRule, RoleRef};
use parking_lot::{RwLock, RwLockReadGuard};
use pinnace_store::{Change, Cursor, Store};

use super::index::{Index, TABLES};
use super::rule::Request;
use crate::authorization::MASTERS;
use crate::{Attributes, Authorizer, Decision, Rules, User};

/// Decides by the roles and bindings in the store. Cheap to clone; clones share.
///
/// It keeps an index of them, by whom they are for, and brings it up to date with the store before
/// each decision: a binding that has been written counts from then on.
#[derive(Clone)]
pub struct Rbac(Arc<Inner>);

struct Inner {
    store: Store,
    state: RwLock<State>,
    /// The revision of the store that the index has seen.
    seen: AtomicU64,
}

struct State {
    index: Index,
    /// Places in the event logs of the tables; none before the first decision.
    cursors: Vec<Cursor>,
}

impl Rbac {
    /// An authorizer over a store.
    pub fn new(store: Store) -> Self {
        let state = RwLock::new(State { index: Index::default(), cursors: Vec::new() });
        Self(Arc::new(Inner { store, state, seen: AtomicU64::new(0) }))
    }

    /// All rules that a user has in a namespace, and what is wrong with the bindings that give
    /// none.
    pub fn rules_for(&self, user: &User, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        let (mut rules, mut problems) = (Vec::new(), Vec::new());
        let state = self.state();
        let _: ControlFlow<()> = state.index.visit(user, namespace, |role| {
            match role {
                Ok(role) => rules.extend_from_slice(role.policy()),
                Err(problem) => problems.push(problem),
            }
            ControlFlow::Continue(())
        });
        (rules, problems)
    }

    /// The rules of the role that a binding in a namespace refers to.
    ///
    /// # Errors
    /// A text that says that there is no such role.
    pub fn rules_of(&self, role: &RoleRef, namespace: &str) -> Result<Vec<PolicyRule>, String> {
        self.state().index.role(role, namespace).map(|role| role.policy().to_vec())
    }

    /// The index, no older than the store was when this was called.
    fn state(&self) -> RwLockReadGuard<'_, State> {
        let Inner { store, state, seen } = &*self.0;
        if seen.load(Ordering::Acquire) < store.revision() {
            let mut state = state.write();
            let reached = state.catch_up(store);
            seen.store(reached, Ordering::Release);
        }
        state.read()
    }
}

impl State {
    /// Takes what has happened; the revision up to which that is everything.
    fn catch_up(&mut self, store: &Store) -> u64 {
        if self.cursors.is_empty() {
            self.rebuild(store);
        }
        let mut reached = u64::MAX;
        let Self { index, cursors } = self;
        for (table, cursor) in TABLES.iter().zip(cursors) {
            loop {
                match cursor.try_next() {
                    Ok(Some(event)) => {
                        let removed = matches!(event.change, Change::Deleted);
                        index.apply(table, &event.object, removed);
                    }
                    Ok(None) => break,
                    // The log is cut off behind what was missed, or closed: what the store holds
                    // says it all.
                    Err(_) => return self.rebuild(store),
                }
            }
            reached = reached.min(cursor.revision());
        }
        reached
    }

    fn rebuild(&mut self, store: &Store) -> u64 {
        let snapshot = store.snapshot();
        self.index = Index::default();
        for table in TABLES {
            snapshot.iter(table).for_each(|object| self.index.apply(table, object, false));
        }
        let cursors = TABLES.iter().map(|table| store.watch(table, snapshot.revision()));
        // Without cursors it is done anew each time: slower, not wrong.
        self.cursors = cursors.collect::<Result<_, _>>().unwrap_or_default();
        snapshot.revision()
    }
}

impl Authorizer for Rbac {
    fn authorize(&self, request: &Attributes<'_>) -> Decision {
        if request.user.groups.iter().any(|group| group == MASTERS) {
            return Decision::Allow;
        }
        let asked = Request::new(request);
        let mut problems = Vec::new();
        let state = self.state();
        let visited = state.index.visit(request.user, request.namespace, |role| {
            match role {
                Ok(role) if role.rules.iter().any(|rule| rule.allows(&asked)) => {
                    return ControlFlow::Break(());
                }
                Ok(_) => {}
                Err(problem) => problems.push(problem),
            }
            ControlFlow::Continue(())
        });
        match visited {
            ControlFlow::Break(()) => Decision::Allow,
            ControlFlow::Continue(()) => Decision::Deny(reason(problems)),
        }
    }

    fn rules_for(&self, user: &User, namespace: &str) -> Rules {
        let (rules, problems) = Rbac::rules_for(self, user, namespace);
        Rules { rules, incomplete: false, problems: listed(problems) }
    }
}

/// Several problems as upstream lists them: each once, in brackets when there are several.
pub(super) fn listed(problems: Vec<String>) -> String {
    let mut each: Vec<String> = Vec::new();
    for problem in problems {
        if !each.contains(&problem) {
            each.push(problem);
        }
    }
    match &each[..] {
        [] => String::new(),
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn reason(problems: Vec<String>) -> String {
    if problems.is_empty() { String::new() } else { format!("RBAC: {}", listed(problems)) }
}

impl fmt::Debug for Rbac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rbac")
    }
}
