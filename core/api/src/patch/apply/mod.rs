//! Server-side apply: each manager says what it wants of an object and owns the fields it names.
//! What two managers want differently is a conflict; what a manager no longer names and nobody else
//! owns is removed. `metadata.managedFields` keeps who owns what.
//!
//! See <https://kubernetes.io/docs/reference/using-api/server-side-apply/>.

mod compare;
mod conflict;
mod element;
mod field_set;
mod kubectl;
mod managers;
mod merge;
mod typed;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time};
use serde_json::Value;

use self::compare::Comparison;
use self::conflict::Conflicts;
use self::element::PathElement;
use self::field_set::FieldSet;
use self::managers::{Managed, ManagerId, Owned};
use crate::schema::TypeRef;
use crate::{ApiError, Result};

/// How many managers of ordinary writes are kept apart; the oldest beyond are taken together.
pub const MAX_UPDATE_MANAGERS: usize = 10;

/// Who changes an object, and how.
#[derive(Clone, Debug)]
pub struct FieldManager<'a> {
    /// Its name; an empty one becomes `unknown`.
    pub name: &'a str,
    /// The version in which it sees the object, `apps/v1`.
    pub api_version: &'a str,
    /// The subresource through which it does it, or empty.
    pub subresource: &'a str,
    /// When.
    pub time: Time,
    /// Fields, with all below them, that a write through this door does not change and that nobody
    /// comes to own by it: `[["status"]]` where status is a subresource.
    pub reset_fields: &'a [&'a [&'a str]],
}

/// Lays what a manager applies over the live object, and keeps the book of who owns what.
///
/// `live` is an empty object when there is none yet. The book, `metadata.managedFields`, goes in
/// as `managed` and comes out beside the object, which does not hold it, with
/// [`FieldManager::time`] on what has changed.
///
/// # Errors
/// `Conflict` with a cause `FieldManagerConflict` for each field that another manager owns and has
/// differently, unless `force`d; `BadRequest` when what is applied does not fit `ty`.
pub fn apply(
    ty: TypeRef<'_>,
    live: &Value,
    applied: &Value,
    managed: &[ManagedFieldsEntry],
    by: &FieldManager<'_>,
    force: bool,
) -> Result<(Value, Vec<ManagedFieldsEntry>)> {
    let version = applied["apiVersion"].as_str().unwrap_or_default();
    if version != by.api_version {
        return Err(ApiError::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {version}, \
             expected: {}",
            by.api_version
        )));
    }
    if !applied["metadata"]["managedFields"].is_null() {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let mut managed = Managed::decode(managed).map_err(|problem| {
        ApiError::internal(format!("failed to decode managed fields: {problem}"))
    })?;
    if managed.is_empty() {
        let before = FieldManager { name: "before-first-apply", ..by.clone() };
        let nothing = empty_of(live);
        managed = update(ty, &nothing, live, managed, &before)
            .map_err(|problem| about(live, "failed to create typed live object", problem))?;
    }
    let mut applied_over = apply_typed(ty, live, applied, managed.clone(), by, force);
    if let Err(Refusal::Conflicts(conflicts)) = &applied_over
        && by.name == kubectl::MANAGER
        && let Some(allowed) = kubectl::allowed_conflicts(ty, live, by.api_version)
    {
        let left = conflicts.without(&allowed);
        applied_over = if left.is_empty() {
            apply_typed(ty, live, applied, managed, by, true)
        } else {
            Err(Refusal::Conflicts(left))
        };
    }
    let (mut object, managed) = applied_over.map_err(|refusal| match refusal {
        Refusal::Conflicts(conflicts) => conflicts.into(),
        Refusal::Applied(problem) => about(applied, "failed to create typed patch object", problem),
        Refusal::Live(problem) => about(live, "failed to create typed live object", problem),
    })?;
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        metadata.remove("managedFields");
    }
    if by.name == kubectl::MANAGER {
        kubectl::keep_last_applied(&mut object, applied);
    }
    Ok((object, managed.encode()))
}

/// Keeps the book of who owns what for a write that is no apply.
///
/// `live` is `None` for a new object, otherwise what was there and its book; `sent` is the book
/// that came with the new object: an empty one closes the book, and from then on nobody owns
/// anything until something is applied.
pub fn track_update(
    ty: TypeRef<'_>,
    live: Option<(&Value, &[ManagedFieldsEntry])>,
    new: &Value,
    sent: Option<&[ManagedFieldsEntry]>,
    by: &FieldManager<'_>,
) -> Vec<ManagedFieldsEntry> {
    let is_new = live.is_none();
    let nothing = empty_of(new);
    let (live, book) = live.unwrap_or((&nothing, &[]));
    let managed = match sent.filter(|_| by.subresource.is_empty()) {
        Some([]) => Managed::default(),
        Some([one]) if *one == ManagedFieldsEntry::default() => Managed::default(),
        sent => sent
            .and_then(|sent| Managed::decode(sent).ok())
            .filter(|sent| !sent.is_empty())
            .unwrap_or_else(|| Managed::decode(book).unwrap_or_default()),
    };
    if managed.is_empty() && !is_new {
        return Vec::new();
    }
    match update(ty, live, new, managed, by) {
        Ok(mut managed) => {
            managed.cap();
            managed.encode()
        }
        Err(_) => Vec::new(),
    }
}

enum Refusal {
    Conflicts(Conflicts),
    Applied(String),
    Live(String),
}

fn apply_typed(
    ty: TypeRef<'_>,
    live: &Value,
    applied: &Value,
    managed: Managed,
    by: &FieldManager<'_>,
    force: bool,
) -> Result<(Value, Managed), Refusal> {
    typed::check(ty, applied, false).map_err(Refusal::Applied)?;
    typed::check(ty, live, true).map_err(Refusal::Live)?;
    let mut managed = managed.reconciled(ty);
    let id = ManagerId::applier(by);
    let ignored = paths(by.reset_fields);
    let merged =
        merge::merge(ty, Some(live), Some(applied)).map_err(Refusal::Live)?.unwrap_or_default();
    let last = managed.get(&id).map(|owned| (owned.set.clone(), owned.time.clone()));
    let (last, time) = last.unwrap_or_default();
    let set = typed::field_set(ty, applied).without_trees(&ignored);
    managed.insert(id.clone(), Owned { set, api_version: by.api_version.to_owned(), time });
    let mut object = prune(ty, &merged, &managed, &last);
    // What has become empty is still null here: who owns it as a whole goes on owning it.
    take_over(ty, live, &object, &mut managed, &id, &ignored, force)?;
    drop_emptied(&mut object, &merged);
    managed.strip(&id);
    if let Some(owned) = managed.get_mut(&id)
        && (owned.time.is_none() || object != *live)
    {
        owned.time = Some(by.time.clone());
    }
    Ok((object, managed))
}

fn update(
    ty: TypeRef<'_>,
    live: &Value,
    new: &Value,
    managed: Managed,
    by: &FieldManager<'_>,
) -> Result<Managed, String> {
    let mut managed = managed.reconciled(ty);
    let ignored = paths(by.reset_fields);
    // While it lasts, the write is a manager of its own: what it changes is taken even from what
    // the same manager has written before.
    let current = ManagerId::current();
    let changes = match take_over(ty, live, new, &mut managed, &current, &ignored, true) {
        Ok(changes) => changes,
        Err(Refusal::Live(problem) | Refusal::Applied(problem)) => return Err(problem),
        Err(Refusal::Conflicts(_)) => return Err("forced writes have no conflicts".to_owned()),
    };
    let set = changes.changed().without_trees(&ignored);
    let api_version = by.api_version.to_owned();
    managed.insert(current.clone(), Owned { set, api_version, time: None });
    managed.strip(&current);
    if let Some(mut owned) = managed.remove(&current) {
        let id = ManagerId::updater(by);
        if let Some(before) = managed.get(&id) {
            owned.set = owned.set.union(&before.set);
        }
        owned.time = Some(by.time.clone());
        managed.insert(id, owned);
    }
    Ok(managed)
}

/// Takes what has changed away from those who owned it, which is a conflict unless `force`d, and
/// what is gone from all.
fn take_over(
    ty: TypeRef<'_>,
    live: &Value,
    new: &Value,
    managed: &mut Managed,
    by: &ManagerId,
    ignored: &FieldSet,
    force: bool,
) -> Result<Comparison, Refusal> {
    let changes = Comparison::of(ty, live, new).map_err(Refusal::Live)?.without(ignored);
    let changed = changes.changed();
    let mut conflicts = Conflicts::default();
    for (id, owned) in managed.others(by) {
        let taken = owned.set.intersection(&changed);
        if !taken.is_empty() {
            conflicts.add(id, &taken);
            owned.set = owned.set.difference(&taken);
        }
        owned.set = owned.set.difference(&changes.removed);
    }
    if !force && !conflicts.is_empty() {
        return Err(Refusal::Conflicts(conflicts));
    }
    managed.drop_empty();
    Ok(changes)
}

/// Removes what the manager had applied and no longer applies, and nobody else owns. What has
/// nothing left is null.
fn prune(ty: TypeRef<'_>, merged: &Value, managed: &Managed, last: &FieldSet) -> Value {
    if last.is_empty() {
        return merged.clone();
    }
    let full = |set: &FieldSet| set.with_declared_fields(Some(ty));
    let last = full(last);
    let all = full(&typed::field_set(ty, merged));
    let left = typed::without(ty, merged, &last);
    // What was removed with it but is owned comes back.
    let owned = full(&managed.union());
    let left = full(&typed::field_set(ty, &left)).union(&owned);
    let left = typed::without(ty, merged, &all.difference(&left));
    // What was removed with it but had never been the manager's comes back.
    let left = full(&typed::field_set(ty, &left));
    let gone = all.difference(&left).intersection(&last);
    typed::without(ty, merged, &gone)
}

/// Drops what had something and has nothing left.
fn drop_emptied(pruned: &mut Value, merged: &Value) {
    if let (Value::Object(pruned), Value::Object(merged)) = (pruned, merged) {
        pruned.retain(|name, value| {
            let before = merged.get(name).unwrap_or(&Value::Null);
            drop_emptied(value, before);
            !value.is_null() || before.is_null()
        });
    }
}

fn paths(fields: &[&[&str]]) -> FieldSet {
    let mut set = FieldSet::default();
    for path in fields {
        let path: Vec<_> = path.iter().map(|name| PathElement::field(name)).collect();
        set.insert(&path);
    }
    set
}

/// An object of the same kind with nothing in it.
fn empty_of(object: &Value) -> Value {
    let mut empty = serde_json::Map::new();
    for name in ["apiVersion", "kind"] {
        if let Some(value) = object.get(name) {
            empty.insert(name.to_owned(), value.clone());
        }
    }
    Value::Object(empty)
}

fn about(object: &Value, what: &str, problem: String) -> ApiError {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &object["metadata"];
    ApiError::bad_request(format!(
        "{what} ({}/{}; {}, Kind={}): {problem}",
        text(&metadata["namespace"]),
        text(&metadata["name"]),
        text(&object["apiVersion"]),
        text(&object["kind"]),
    ))
}

#[cfg(test)]
mod tests;
