use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::discovery::hash;

/// Where definitions are referred to.
const PREFIX: &str = "#/definitions/";

/// What another server describes of a version of a group in OpenAPI v2: its paths, and the definitions
/// that these need.
#[derive(Clone, Debug)]
pub(crate) struct Swagger {
    /// What the server calls the document that it is from.
    pub(super) tag: Option<String>,
    /// A digest of the rest.
    pub(crate) hash: String,
    paths: Map<String, Value>,
    definitions: Map<String, Value>,
}

impl PartialEq for Swagger {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
    }
}

impl Swagger {
    /// What a document says of what is below a path; `None` where that is nothing.
    pub(super) fn of(document: &Value, base: &str, tag: Option<String>) -> Option<Self> {
        let below = |path: &str| path.strip_prefix(base).is_some_and(|rest| rest.starts_with('/'));
        let all = document["paths"].as_object()?.iter().filter(|(path, _)| below(path));
        let paths: Map<String, Value> =
            all.map(|(path, item)| (path.clone(), item.clone())).collect();
        let known = document["definitions"].as_object();
        let mut definitions = Map::new();
        let mut wanted = BTreeSet::new();
        paths.values().for_each(|item| references(item, &mut wanted));
        while let Some(name) = wanted.pop_first() {
            let found = known.and_then(|known| known.get(&name));
            let Some(found) = found.filter(|_| !definitions.contains_key(&name)) else { continue };
            references(found, &mut wanted);
            definitions.insert(name, found.clone());
        }
        let text = serde_json::to_vec(&(&paths, &definitions)).ok()?;
        (!paths.is_empty()).then(|| Self { tag, hash: hash(&text), paths, definitions })
    }

    /// Adds it to a document. What that says already stays; a definition that is another by the same
    /// name gets a name of its own.
    pub(crate) fn merge_into(&self, document: &mut Value) {
        let Some(definitions) = document["definitions"].as_object_mut() else { return };
        let differs = |(name, own): &(&String, &Value)| {
            definitions.get(*name).is_some_and(|there| there != *own)
        };
        let mut names = Map::new();
        for (name, _) in self.definitions.iter().filter(differs) {
            let free = |name: &String| {
                !definitions.contains_key(name) && !self.definitions.contains_key(name)
            };
            let candidates = (2_u64..).map(|number| format!("{name}_v{number}"));
            names.extend(candidates.into_iter().find(free).map(|new| (name.clone(), new.into())));
        }
        for (name, own) in &self.definitions {
            let mut own = own.clone();
            rename(&mut own, &names);
            let name = names.get(name).and_then(Value::as_str).unwrap_or(name);
            definitions.entry(name).or_insert(own);
        }
        let Some(paths) = document["paths"].as_object_mut() else { return };
        for (path, item) in &self.paths {
            let mut item = item.clone();
            rename(&mut item, &names);
            paths.entry(path).or_insert(item);
        }
    }
}

/// Calls `visit` with the name in every reference to a definition.
fn each_reference(value: &mut Value, visit: &mut impl FnMut(&mut String)) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| each_reference(item, visit)),
        Value::Object(fields) => {
            for (field, value) in fields {
                match value {
                    Value::String(text) if field == "$ref" => visit(text),
                    value => each_reference(value, visit),
                }
            }
        }
        _ => {}
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    each_reference(&mut value.clone(), &mut |text| {
        found.extend(text.strip_prefix(PREFIX).map(str::to_owned));
    });
}

fn rename(value: &mut Value, names: &Map<String, Value>) {
    if names.is_empty() {
        return;
    }
    each_reference(value, &mut |text| {
        let new = text.strip_prefix(PREFIX).and_then(|name| names.get(name)?.as_str());
        if let Some(new) = new {
            *text = format!("{PREFIX}{new}");
        }
    });
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(name: &str) -> Value {
        json!({"get": {"responses": {"200": {"schema": {"$ref": format!("{PREFIX}{name}")}}}}})
    }

    fn told() -> Value {
        json!({
            "paths": {"/apis/g/v1/fish": item("Fish"), "/apis/g/v1alpha1/fish": item("Old"),
                      "/version": item("Info")},
            "definitions": {
                "Fish": {"properties": {"fins": {"$ref": "#/definitions/Fin"}, "again":
                    {"items": {"$ref": "#/definitions/Fish"}}, "meta": {"$ref": "#/definitions/Meta"}}},
                "Fin": {"type": "string"}, "Meta": {"type": "object"}, "Old": {}, "Info": {},
            },
        })
    }

    #[test]
    fn of_a_version_only_what_it_needs_is_kept() {
        let kept = Swagger::of(&told(), "/apis/g/v1", None).unwrap();
        assert_eq!(kept.paths.keys().collect::<Vec<_>>(), ["/apis/g/v1/fish"]);
        assert_eq!(kept.definitions.keys().collect::<Vec<_>>(), ["Fin", "Fish", "Meta"]);
        assert!(Swagger::of(&told(), "/apis/g/v2", None).is_none());
        assert!(Swagger::of(&json!("oops"), "/apis/g/v1", None).is_none());
    }

    #[test]
    fn definitions_are_shared_where_they_are_the_same_and_renamed_where_they_are_not() {
        let mut document = json!({
            "paths": {"/api": {}},
            "definitions": {"Meta": {"type": "object"}, "Fin": {"type": "integer"}, "Fin_v2": {}},
        });
        let kept = Swagger::of(&told(), "/apis/g/v1", None).unwrap();
        kept.merge_into(&mut document);
        assert_eq!(document["definitions"]["Fin"], json!({"type": "integer"}));
        assert_eq!(document["definitions"]["Fin_v3"], json!({"type": "string"}));
        let fish = &document["definitions"]["Fish"]["properties"];
        assert_eq!(fish["fins"]["$ref"], "#/definitions/Fin_v3");
        assert_eq!(fish["meta"]["$ref"], "#/definitions/Meta");
        assert_eq!(document["paths"]["/apis/g/v1/fish"], item("Fish"));
        assert!(document["paths"].get("/api").is_some());
    }
}
