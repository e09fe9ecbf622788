use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::element::{Literal, PathElement};
use crate::schema::{Type, TypeRef};

/// A set of paths: what a manager owns, or what has changed. That a path is in it says nothing of
/// the paths above and below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    members: BTreeSet<PathElement>,
    /// Never empty ones.
    children: BTreeMap<PathElement, FieldSet>,
}

impl FieldSet {
    pub(super) fn insert(&mut self, path: &[PathElement]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    /// Inserts an element and what is below it.
    pub(super) fn insert_tree(&mut self, element: PathElement, itself: bool, below: Self) {
        if !below.is_empty() {
            self.children.insert(element.clone(), below);
        }
        if itself {
            self.members.insert(element);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.is_empty()
    }

    pub(super) fn has(&self, element: &PathElement) -> bool {
        self.members.contains(element)
    }

    pub(super) fn below(&self, element: &PathElement) -> Option<&Self> {
        self.children.get(element)
    }

    pub(super) fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.members.extend(other.members.iter().cloned());
        for (element, below) in &other.children {
            let merged = all.children.get(element).map(|mine| mine.union(below));
            all.children.insert(element.clone(), merged.unwrap_or_else(|| below.clone()));
        }
        all
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        Self {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: self.map_children(|element, mine| {
                other.children.get(element).map(|theirs| mine.intersection(theirs))
            }),
        }
    }

    pub(super) fn difference(&self, other: &Self) -> Self {
        Self {
            members: self.members.difference(&other.members).cloned().collect(),
            children: self.map_children(|element, mine| match other.children.get(element) {
                Some(theirs) => Some(mine.difference(theirs)),
                None => Some(mine.clone()),
            }),
        }
    }

    /// As [`FieldSet::difference`], but what is below a removed path goes with it.
    pub(super) fn without_trees(&self, other: &Self) -> Self {
        Self {
            members: self.members.difference(&other.members).cloned().collect(),
            children: self.map_children(|element, mine| {
                if other.has(element) {
                    return None;
                }
                match other.children.get(element) {
                    Some(theirs) => Some(mine.without_trees(theirs)),
                    None => Some(mine.clone()),
                }
            }),
        }
    }

    fn map_children(
        &self,
        each: impl Fn(&PathElement, &Self) -> Option<Self>,
    ) -> BTreeMap<PathElement, Self> {
        let children = self.children.iter().filter_map(|(element, below)| {
            let below = each(element, below).filter(|below| !below.is_empty())?;
            Some((element.clone(), below))
        });
        children.collect()
    }

    /// The set with every declared field that has members below it.
    pub(super) fn with_declared_fields(&self, ty: Option<TypeRef<'_>>) -> Self {
        let mut all = Self { members: self.members.clone(), ..Self::default() };
        for (element, below) in &self.children {
            if let (PathElement::Field(name), Some(ty)) = (element, ty)
                && ty.declared(name).is_some()
            {
                all.members.insert(element.clone());
            }
            let below = below.with_declared_fields(step(ty, element));
            all.children.insert(element.clone(), below);
        }
        all
    }

    /// Brings a set up to date with a type that has become atomic since: who owned parts of a
    /// value now owns the value.
    pub(super) fn reconciled(&self, ty: TypeRef<'_>) -> Self {
        let mut all = Self { members: self.members.clone(), ..Self::default() };
        for (element, below) in &self.children {
            match step(Some(ty), element) {
                Some(ty) if is_atomic(ty) => {
                    all.members.insert(element.clone());
                }
                Some(ty) => {
                    all.children.insert(element.clone(), below.reconciled(ty));
                }
                None => {
                    all.children.insert(element.clone(), below.clone());
                }
            }
        }
        all
    }

    /// Calls `each` with every path, in order.
    pub(super) fn for_each(
        &self,
        path: &mut Vec<PathElement>,
        each: &mut impl FnMut(&[PathElement]),
    ) {
        for element in &self.members {
            path.push(element.clone());
            each(path);
            path.pop();
        }
        for (element, below) in &self.children {
            path.push(element.clone());
            below.for_each(path, each);
            path.pop();
        }
    }

    /// The form in `managedFields`.
    pub(super) fn to_fields_v1(&self) -> Value {
        Value::Object(self.encoded(false))
    }

    fn encoded(&self, itself: bool) -> Map<String, Value> {
        let empty = || Value::Object(Map::new());
        let mut all = Map::new();
        if itself {
            all.insert(".".into(), empty());
        }
        for element in self.members.iter().filter(|one| !self.children.contains_key(one)) {
            all.insert(encode(element), empty());
        }
        for (element, below) in &self.children {
            all.insert(encode(element), Value::Object(below.encoded(self.has(element))));
        }
        all
    }

    /// Reads the form in `managedFields`; kinds of path elements that nobody knows are left out.
    pub(super) fn from_fields_v1(fields: &Value) -> Result<Self, String> {
        let mut set = Self::default();
        for (key, below) in fields.as_object().ok_or("fieldsV1 is not an object")? {
            if key == "." {
                continue;
            }
            if let Some(element) = decode(key)? {
                let below_set = Self::from_fields_v1(below)?;
                let itself = below_set.is_empty() || below.get(".").is_some();
                set.insert_tree(element, itself, below_set);
            }
        }
        Ok(set)
    }
}

/// The type that a path element leads to.
fn step<'a>(ty: Option<TypeRef<'a>>, element: &PathElement) -> Option<TypeRef<'a>> {
    match element {
        PathElement::Field(name) => ty?.field(name),
        PathElement::Key(_) => ty?.item(),
        PathElement::Value(_) | PathElement::Index(_) => None,
    }
}

fn is_atomic(ty: TypeRef<'_>) -> bool {
    match ty.shape() {
        Type::Object(object) => object.is_atomic(),
        Type::List(list) => list.kind == crate::schema::ListKind::Atomic,
        Type::Opaque => true,
        Type::Scalar(_) | Type::Any => false,
    }
}

fn encode(element: &PathElement) -> String {
    match element {
        PathElement::Field(name) => format!("f:{name}"),
        PathElement::Key(keys) => {
            let keys: Map<String, Value> =
                keys.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect();
            format!("k:{}", Value::Object(keys))
        }
        PathElement::Value(value) => format!("v:{}", value.0),
        PathElement::Index(index) => format!("i:{index}"),
    }
}

fn decode(text: &str) -> Result<Option<PathElement>, String> {
    let bad = |_| format!("bad path element {text:?}");
    Ok(Some(match text.split_once(':').ok_or_else(|| format!("missing colon: {text}"))? {
        ("f", name) => PathElement::field(name),
        ("v", value) => PathElement::Value(Literal(serde_json::from_str(value).map_err(bad)?)),
        ("k", keys) => {
            let keys: BTreeMap<String, Value> = serde_json::from_str(keys).map_err(bad)?;
            PathElement::Key(keys.into_iter().map(|(name, value)| (name, Literal(value))).collect())
        }
        ("i", index) => {
            PathElement::Index(index.parse().map_err(|_| format!("bad path element {text:?}"))?)
        }
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(fields: Value) -> FieldSet {
        FieldSet::from_fields_v1(&fields).unwrap()
    }

    #[test]
    fn the_stored_form_is_read_and_written_without_loss() {
        let fields = json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:containers": {
                    "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}},
                },
                "f:finalizers": {"v:\"a\"": {}, "v:5": {}},
                "f:list": {"i:3": {}},
            },
        });
        assert_eq!(set(fields.clone()).to_fields_v1(), fields);
    }

    #[test]
    fn what_is_no_field_set_is_refused_and_what_is_newer_is_left_out() {
        for bad in [json!([]), json!({"x": {}}), json!({"k:{": {}}), json!({"i:x": {}})] {
            assert!(FieldSet::from_fields_v1(&bad).is_err(), "{bad}");
        }
        assert_eq!(set(json!({"z:new": {}, "f:a": {}})), set(json!({"f:a": {}})));
    }

    #[test]
    fn sets_are_joined_intersected_and_subtracted() {
        let (a, b) = (json!({"f:a": {".": {}, "f:b": {}}}), json!({"f:a": {}, "f:c": {"f:d": {}}}));
        let (a, b) = (set(a), set(b));
        let all = json!({"f:a": {".": {}, "f:b": {}}, "f:c": {"f:d": {}}});
        assert_eq!(a.union(&b).to_fields_v1(), all);
        assert_eq!(a.intersection(&b).to_fields_v1(), json!({"f:a": {}}));
        assert_eq!(a.difference(&b).to_fields_v1(), json!({"f:a": {"f:b": {}}}));
        assert!(a.without_trees(&b).is_empty());
    }
}
