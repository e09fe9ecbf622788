use std::ffi::c_char;

use pinnace::{DeleteOptions, ListOptions, Patch, PropagationPolicy};
use serde_json::json;

use crate::boundary::{Out, document, handle, optional_text, options, text};
use crate::bytes::Bytes;
use crate::engine::Engine;
use crate::error::{Failure, PinnaceError};

/// Which objects of a kind. Zero-initialize it and set `size` to `sizeof(pinnace_selection_t)`;
/// strings are borrowed.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Selection {
    /// Its own size.
    pub size: usize,
    /// The namespace; NULL for all.
    pub namespace_: *const c_char,
    /// Labels, as `app=web,tier!=cache`; NULL for any.
    pub labels: *const c_char,
    /// Fields, as `spec.nodeName=a`; NULL for any.
    pub fields: *const c_char,
}

impl Selection {
    pub(crate) fn read(pointer: *const Self) -> Result<Self, Failure> {
        // SAFETY: zero is a size and three NULL pointers, and the size comes first.
        unsafe { options(pointer, "selection") }
    }

    /// The engine at the namespace that it names, `None` for all of them, and the rest.
    pub(crate) fn parse(
        &self,
        engine: &Engine,
    ) -> Result<(pinnace::Engine, bool, ListOptions), Failure> {
        let mut list = ListOptions::default();
        if let Some(labels) = optional_text(self.labels, "labels")? {
            list = list.labels(labels)?;
        }
        if let Some(fields) = optional_text(self.fields, "fields")? {
            list = list.fields(fields)?;
        }
        Ok((engine.at(self.namespace_)?, self.namespace_.is_null(), list))
    }
}

/// How `pinnace_engine_patch` reads a patch.
#[repr(C)]
pub enum PatchType {
    /// A partial object (RFC 7386).
    Merge = 0,
    /// A list of operations (RFC 6902).
    Json = 1,
    /// A partial object whose lists are merged by their keys.
    Strategic = 2,
    /// What the caller wants of the object: server-side apply.
    Apply = 3,
}

/// What a deletion does to the objects that the deleted one owns.
#[repr(C)]
pub enum Propagation {
    /// What the kind does of itself.
    Default = 0,
    /// They stay, without owner.
    Orphan = 1,
    /// They go later.
    Background = 2,
    /// They go first.
    Foreground = 3,
}

/// Makes the objects of a manifest, or changes those that exist to what it says. `manifest` is
/// YAML with any number of documents, or JSON, of `manifest_len` bytes; it is borrowed. Objects
/// without a namespace go to `default`.
///
/// `applied`, which may be NULL, gets `[{"name": "deployment.apps/web", "change": "created",
/// "object": {…}}, …]`; other changes are `configured` and `unchanged`. On error the objects before
/// the one that was refused have been applied; if the manifest could not be read
/// (`PINNACE_CODE_MANIFEST`), none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_apply(
    engine: *const Engine,
    manifest: *const c_char,
    manifest_len: usize,
    applied: *mut Bytes,
) -> *mut PinnaceError {
    boundary! {
        let engine = handle(engine, "engine")?;
        let manifest = document(manifest, manifest_len, "manifest")?;
        let done = engine.wait(engine.0.engine().apply(manifest))?;
        let out = Out::optional(applied);
        if out.is_wanted() {
            let objects: Result<Vec<_>, pinnace::ApiError> = done
                .iter()
                .map(|one| Ok(json!({
                    "name": one.name, "change": one.change.as_str(), "object": one.object.to_value()?
                })))
                .collect();
            out.set_json(&objects?.into());
        }
        Ok(())
    }
}

/// Deletes the objects that a manifest names, in the opposite order; those that are gone already
/// are passed over. `manifest` is borrowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_delete_manifest(
    engine: *const Engine,
    manifest: *const c_char,
    manifest_len: usize,
) -> *mut PinnaceError {
    boundary! {
        let engine = handle(engine, "engine")?;
        let manifest = document(manifest, manifest_len, "manifest")?;
        engine.wait(engine.0.engine().delete_manifest(manifest))
    }
}

/// Reads an object. Strings are borrowed; `namespace_` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_get(
    engine: *const Engine,
    object: *const c_char,
    namespace_: *const c_char,
    json: *mut Bytes,
) -> *mut PinnaceError {
    boundary! {
        let out = Out::required(json, "json")?;
        let engine = handle(engine, "engine")?;
        let object = text(object, "object")?;
        let at = engine.at(namespace_)?;
        out.set_object(&engine.wait(at.get(object))?);
        Ok(())
    }
}

/// Lists the objects of a kind as a JSON list, by namespace and name. Strings are borrowed;
/// `namespace_` is NULL for all namespaces, `labels` (`app=web,tier!=cache`) NULL for any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_list(
    engine: *const Engine,
    kind: *const c_char,
    namespace_: *const c_char,
    labels: *const c_char,
    json: *mut Bytes,
) -> *mut PinnaceError {
    boundary! {
        let size = size_of::<Selection>();
        let selection = Selection { size, namespace_, labels, fields: std::ptr::null() };
        list(engine, kind, &selection, json)
    }
}

/// As `pinnace_engine_list`, with all that a selection can say; NULL selects everything.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_list_with(
    engine: *const Engine,
    kind: *const c_char,
    selection: *const Selection,
    json: *mut Bytes,
) -> *mut PinnaceError {
    boundary! {
        list(engine, kind, &Selection::read(selection)?, json)
    }
}

fn list(
    engine: *const Engine,
    kind: *const c_char,
    selection: &Selection,
    json: *mut Bytes,
) -> Result<(), Failure> {
    let out = Out::required(json, "json")?;
    let engine = handle(engine, "engine")?;
    let kind = text(kind, "kind")?;
    let (at, all, options) = selection.parse(engine)?;
    let list = engine.wait(async {
        if all { at.list_all(kind, options).await } else { at.list(kind, options).await }
    })?;
    let objects: Vec<_> = list.items.iter().map(|object| object.json()).collect();
    out.set(Bytes::new(&[b"[", &*objects.join(&b","[..]), b"]"].concat()));
    Ok(())
}

/// Creates an object from JSON, which is borrowed. `created`, which may be NULL, gets the object as
/// it was stored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_create(
    engine: *const Engine,
    json: *const c_char,
    json_len: usize,
    namespace_: *const c_char,
    created: *mut Bytes,
) -> *mut PinnaceError {
    boundary! {
        let engine = handle(engine, "engine")?;
        let json = document(json, json_len, "json")?;
        let at = engine.at(namespace_)?;
        Out::optional(created).set_object(&engine.wait(at.create(json.as_bytes()))?);
        Ok(())
    }
}

/// Replaces an object by JSON, which is borrowed: `PINNACE_CODE_CONFLICT` when the object has
/// changed since it was read. `updated`, which may be NULL, gets the object as it was stored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_update(
    engine: *const Engine,
    json: *const c_char,
    json_len: usize,
    namespace_: *const c_char,
    updated: *mut Bytes,
) -> *mut PinnaceError {
    boundary! {
        let engine = handle(engine, "engine")?;
        let json = document(json, json_len, "json")?;
        let at = engine.at(namespace_)?;
        Out::optional(updated).set_object(&engine.wait(at.update(json.as_bytes()))?);
        Ok(())
    }
}

/// Replaces the status of an object by that of a JSON document, which is borrowed; the spec stays as
/// it is. `updated`, which may be NULL, gets the object as it was stored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_update_status(
    engine: *const Engine,
    json: *const c_char,
    json_len: usize,
    namespace_: *const c_char,
    updated: *mut Bytes,
) -> *mut PinnaceError {
    boundary! {
        let engine = handle(engine, "engine")?;
        let json = document(json, json_len, "json")?;
        let at = engine.at(namespace_)?;
        Out::optional(updated).set_object(&engine.wait(at.update_status(json.as_bytes()))?);
        Ok(())
    }
}

/// Changes an object by a JSON document that `type` (a `pinnace_patch_type_t`) says how to read.
/// Strings are borrowed; `namespace_` may be NULL. `patched`, which may be NULL, gets the object
/// as it was stored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_patch(
    engine: *const Engine,
    object: *const c_char,
    namespace_: *const c_char,
    r#type: i32,
    patch: *const c_char,
    patch_len: usize,
    patched: *mut Bytes,
) -> *mut PinnaceError {
    const MERGE: i32 = PatchType::Merge as i32;
    const JSON: i32 = PatchType::Json as i32;
    const STRATEGIC: i32 = PatchType::Strategic as i32;
    const APPLY: i32 = PatchType::Apply as i32;
    boundary! {
        let engine = handle(engine, "engine")?;
        let object = text(object, "object")?;
        let value = serde_json::from_str(document(patch, patch_len, "patch")?)
            .map_err(|error| Failure::Argument(format!("patch: {error}")))?;
        let patch = match r#type {
            MERGE => Patch::Merge(value),
            JSON => Patch::Json(value),
            STRATEGIC => Patch::StrategicMerge(value),
            APPLY => Patch::Apply(value),
            other => return Err(Failure::Argument(format!("{other} is no pinnace_patch_type_t"))),
        };
        let at = engine.at(namespace_)?;
        Out::optional(patched).set_object(&engine.wait(at.patch(object, patch))?);
        Ok(())
    }
}

/// Deletes an object. It may stay until its finalizers and its grace period allow it to go:
/// `pinnace_engine_wait` for `delete` waits for that. Strings are borrowed; `namespace_` may be
/// NULL. `propagation` is a `pinnace_propagation_t`; a negative `grace_period_seconds` is the
/// object's own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pinnace_engine_delete_object(
    engine: *const Engine,
    object: *const c_char,
    namespace_: *const c_char,
    propagation: i32,
    grace_period_seconds: i64,
) -> *mut PinnaceError {
    const DEFAULT: i32 = Propagation::Default as i32;
    const ORPHAN: i32 = Propagation::Orphan as i32;
    const BACKGROUND: i32 = Propagation::Background as i32;
    const FOREGROUND: i32 = Propagation::Foreground as i32;
    boundary! {
        let engine = handle(engine, "engine")?;
        let object = text(object, "object")?;
        let propagation = match propagation {
            DEFAULT => None,
            ORPHAN => Some(PropagationPolicy::Orphan),
            BACKGROUND => Some(PropagationPolicy::Background),
            FOREGROUND => Some(PropagationPolicy::Foreground),
            other => return Err(Failure::Argument(format!("{other} is no pinnace_propagation_t"))),
        };
        let grace_period_seconds = (grace_period_seconds >= 0).then_some(grace_period_seconds);
        let options = DeleteOptions { propagation, grace_period_seconds, ..Default::default() };
        let at = engine.at(namespace_)?;
        engine.wait(at.delete(object, options))?;
        Ok(())
    }
}
