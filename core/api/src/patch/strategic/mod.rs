//! Strategic merge patch: a partial object is laid over an object, and the schema says which lists
//! are merged item by item. Directives within the patch say what laying over cannot:
//! `$patch: replace|delete`, `$retainKeys`, `$setElementOrder/FIELD` and
//! `$deleteFromPrimitiveList/FIELD`.
//!
//! See <https://kubernetes.io/docs/tasks/manage-kubernetes-objects/update-api-object-kubectl-patch/>.

mod lists;
mod problem;

use serde_json::{Map, Value};

use self::problem::Problem;
use crate::schema::{PatchStrategy, TypeRef};
use crate::{ApiError, Result};

type Object = Map<String, Value>;
type Merge<T> = std::result::Result<T, Problem>;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER_PREFIX: &str = "$setElementOrder";
const DELETE_PREFIX: &str = "$deleteFromPrimitiveList";

/// Applies a strategic merge patch to a document of type `ty`.
///
/// # Errors
/// `BadRequest` when a directive is malformed; `Invalid` when the patch does not fit the document
/// or its type.
pub fn strategic_merge(ty: TypeRef<'_>, document: Value, patch: Value) -> Result<Value> {
    match (document, patch) {
        (Value::Object(document), Value::Object(patch)) => {
            Ok(Value::Object(merge_object(ty, document, patch).map_err(ApiError::from)?))
        }
        _ => Err(ApiError::bad_request("invalid JSON document")),
    }
}

fn merge_object(ty: TypeRef<'_>, mut object: Object, mut patch: Object) -> Merge<Object> {
    if let Some(directive) = patch.remove(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => {
                drop_directives(&mut patch);
                Ok(patch)
            }
            Some("delete") => Ok(Object::new()),
            _ => Err(Problem::PatchType(directive, patch)),
        };
    }
    if let Some(keys) = patch.remove(RETAIN_KEYS) {
        retain(&mut object, &patch, &keys)?;
    }
    for (name, order) in take_parallel(&mut patch, ORDER_PREFIX, &Problem::ElementOrder)? {
        lists::set_order(ty, &mut object, &mut patch, &name, order)?;
    }
    for (name, gone) in take_parallel(&mut patch, DELETE_PREFIX, &Problem::PrimitiveList)? {
        delete_from(ty, &mut object, &name, gone)?;
    }
    for (name, value) in patch {
        merge_field(ty, &mut object, name, value)?;
    }
    Ok(object)
}

fn merge_field(ty: TypeRef<'_>, object: &mut Object, name: String, patch: Value) -> Merge<()> {
    if patch.is_null() {
        object.remove(&name);
        return Ok(());
    }
    let merged = match (object.get_mut(&name).map(Value::take), patch) {
        (Some(Value::Object(old)), Value::Object(patch)) => {
            let (field, strategy) = lookup(ty, &name)?;
            if strategy.replace {
                Value::Object(patch)
            } else {
                Value::Object(merge_object(field, old, patch)?)
            }
        }
        (Some(Value::Array(old)), Value::Array(patch)) => {
            let (field, strategy) = lookup(ty, &name)?;
            Value::Array(lists::merge(field, &strategy, old, patch)?)
        }
        (_, mut patch) => {
            if !keep(&mut patch) {
                object.remove(&name);
                return Ok(());
            }
            patch
        }
    };
    object.insert(name, merged);
    Ok(())
}

/// The type of a field and how it is patched.
fn lookup<'a>(ty: TypeRef<'a>, name: &str) -> Merge<(TypeRef<'a>, PatchStrategy)> {
    let field = ty.field(name).ok_or_else(|| Problem::UnknownField {
        ty: ty.name().rsplit('.').next().unwrap_or_default().to_owned(),
        field: name.to_owned(),
    })?;
    let strategy = ty.declared(name).map(|field| field.patch.clone()).unwrap_or_default();
    Ok((field, strategy))
}

/// Takes the lists `PREFIX/FIELD` out of a patch, by field.
fn take_parallel(
    patch: &mut Object,
    prefix: &str,
    malformed: &Problem,
) -> Merge<Vec<(String, Vec<Value>)>> {
    let keys: Vec<String> = patch.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
    let mut lists = Vec::with_capacity(keys.len());
    for key in keys {
        let name = key[prefix.len()..].strip_prefix('/').map(str::to_owned);
        match (name, patch.remove(&key)) {
            (Some(name), Some(Value::Array(list))) => lists.push((name, list)),
            (Some(_), Some(Value::Null)) => {}
            _ => return Err(malformed.clone()),
        }
    }
    Ok(lists)
}

/// Keeps only the fields of `object` that are named, which must be all that the patch has.
fn retain(object: &mut Object, patch: &Object, keys: &Value) -> Merge<()> {
    let keys = keys.as_array().ok_or(Problem::RetainKeys)?;
    let named = |name: &String| keys.iter().any(|key| key == name.as_str());
    let is_parallel =
        |name: &String| name.starts_with(DELETE_PREFIX) || name.starts_with(ORDER_PREFIX);
    let mut set = patch.iter().filter(|(name, value)| !value.is_null() && !is_parallel(name));
    if !set.all(|(name, _)| named(name)) {
        return Err(Problem::RetainKeys);
    }
    object.retain(|name, _| named(name));
    Ok(())
}

fn delete_from(ty: TypeRef<'_>, object: &mut Object, name: &str, gone: Vec<Value>) -> Merge<()> {
    if let Some(Value::Array(items)) = object.get_mut(name) {
        lookup(ty, name)?;
        let gone: std::collections::HashSet<_> = gone.into_iter().collect();
        items.retain(|item| !gone.contains(item));
    }
    Ok(())
}

/// Takes directives and nulls out of a value that there was nothing to merge with; whether there
/// is a value at all.
fn keep(value: &mut Value) -> bool {
    match value {
        Value::Object(object) => {
            if object.contains_key(DIRECTIVE) {
                return false;
            }
            drop_directives(object);
            true
        }
        Value::Array(items) => {
            items.retain_mut(keep);
            true
        }
        _ => true,
    }
}

fn drop_directives(object: &mut Object) {
    let is_directive = |name: &str| {
        name == RETAIN_KEYS
            || name
                .strip_prefix(ORDER_PREFIX)
                .or(name.strip_prefix(DELETE_PREFIX))
                .is_some_and(|rest| rest.starts_with('/'))
    };
    object.retain(|name, value| !is_directive(name) && !value.is_null() && keep(value));
}

#[cfg(test)]
mod tests;
