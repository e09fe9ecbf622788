//! Paths to fields as definitions write them: `.spec.name`, `.spec['a.b']`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaProps;

use super::walk;

/// Follows a path through a schema: gives its first field and the schema at its end.
///
/// # Errors
/// What is wrong with the path.
pub(super) fn resolve<'s>(
    path: &str,
    schema: &'s JSONSchemaProps,
    brackets: bool,
) -> Result<(String, Option<&'s JSONSchemaProps>), String> {
    let mut rest = path;
    let mut at = Some(schema);
    let mut first = None;
    while !rest.is_empty() {
        let (name, is_field, tail) = step(rest, brackets)?;
        rest = tail;
        let here = at.ok_or("does not refer to a valid field")?;
        let property = here.properties.as_ref().and_then(|all| all.get(name));
        at = match (property, walk::additional(here)) {
            (Some(property), _) => Some(property),
            (None, Some(values)) if !is_field => Some(values),
            _ => return Err("does not refer to a valid field".to_owned()),
        };
        first.get_or_insert_with(|| name.to_owned());
    }
    Ok((first.ok_or("must not be empty")?, at))
}

/// The first step of a path: its name, whether it is a field and not a key, and what follows.
fn step(path: &str, brackets: bool) -> Result<(&str, bool, &str), String> {
    if let Some(rest) = path.strip_prefix('.') {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        return match rest.split_at(end) {
            ("", _) => Err("unexpected end of JSON path".to_owned()),
            (name, tail) => Ok((name, true, tail)),
        };
    }
    if let Some(rest) = path.strip_prefix("['").filter(|_| brackets) {
        let (name, tail) = rest.split_once("']").ok_or("unexpected end of JSON path")?;
        return Ok((name, false, tail));
    }
    let end = path.find(['.', '[']).filter(|end| *end > 0).unwrap_or(path.len());
    Err(format!("expected [ or . but got: {}", &path[..end]))
}
