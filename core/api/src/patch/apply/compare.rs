use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::element::{PathElement, same};
use super::field_set::FieldSet;
use super::typed::Form;
use crate::schema::{ListType, TypeRef};

/// What differs between two values of one type. No path is in more than one of the sets.
#[derive(Default)]
pub(super) struct Comparison {
    pub(super) removed: FieldSet,
    pub(super) modified: FieldSet,
    pub(super) added: FieldSet,
}

impl Comparison {
    /// Compares two values.
    pub(super) fn of(ty: TypeRef<'_>, old: &Value, new: &Value) -> Result<Self, String> {
        let mut walk = Walk { path: Vec::new(), found: Self::default() };
        walk.compare(ty, Some(old), Some(new))?;
        Ok(walk.found)
    }

    /// The comparison without what is at and below some paths.
    pub(super) fn without(&self, ignored: &FieldSet) -> Self {
        Self {
            removed: self.removed.without_trees(ignored),
            modified: self.modified.without_trees(ignored),
            added: self.added.without_trees(ignored),
        }
    }

    /// What the new value has that the old had not, or had differently.
    pub(super) fn changed(&self) -> FieldSet {
        self.modified.union(&self.added)
    }
}

struct Walk {
    path: Vec<PathElement>,
    found: Comparison,
}

type Side<'v> = Option<&'v Value>;

impl Walk {
    fn compare(&mut self, ty: TypeRef<'_>, old: Side<'_>, new: Side<'_>) -> Result<(), String> {
        let is_leaf = match (old, new) {
            (None, None) => return Ok(()),
            (Some(one), None) | (None, Some(one)) => self.apart(ty, Form::of(ty, one), old, new)?,
            (Some(a), Some(b)) if a == b => return Ok(()),
            (Some(a), Some(b)) => {
                let (before, after) = (Form::of(ty, a), Form::of(ty, b));
                if std::mem::discriminant(&before) != std::mem::discriminant(&after) {
                    self.apart(ty, before, old, new)?;
                }
                self.apart(ty, after, old, new)?
            }
        };
        if !is_leaf {
            match (old, new) {
                (None, _) => self.found.added.insert(&self.path),
                (_, None) => self.found.removed.insert(&self.path),
                _ => {}
            }
        }
        Ok(())
    }

    /// Compares values that are taken apart in one way; whether there was nothing to take apart.
    fn apart(
        &mut self,
        ty: TypeRef<'_>,
        form: Form<'_>,
        old: Side<'_>,
        new: Side<'_>,
    ) -> Result<bool, String> {
        match form {
            Form::Leaf => self.leaf(old, new),
            Form::Map => {
                let (a, b) = (fields(old), fields(new));
                if a.is_none_or(Map::is_empty) && b.is_none_or(Map::is_empty) {
                    self.leaf(old, new);
                    return Ok(true);
                }
                self.maps(ty, a, b)?;
                return Ok(false);
            }
            Form::List(list, item) => {
                let (a, b) = (items(old), items(new));
                if a.is_empty() && b.is_empty() {
                    self.leaf(old, new);
                    return Ok(true);
                }
                self.lists(list, item, a, b)?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn leaf(&mut self, old: Side<'_>, new: Side<'_>) {
        match (old, new) {
            (None, _) => self.found.added.insert(&self.path),
            (_, None) => self.found.removed.insert(&self.path),
            (Some(old), Some(new)) if !same(old, new) => self.found.modified.insert(&self.path),
            _ => {}
        }
    }

    fn maps(
        &mut self,
        ty: TypeRef<'_>,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
    ) -> Result<(), String> {
        for (name, value) in old.into_iter().flatten() {
            self.field(ty, name, Some(value), new.and_then(|new| new.get(name)))?;
        }
        for (name, value) in new.into_iter().flatten() {
            if old.is_none_or(|old| !old.contains_key(name)) {
                self.field(ty, name, None, Some(value))?;
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        ty: TypeRef<'_>,
        name: &str,
        old: Side<'_>,
        new: Side<'_>,
    ) -> Result<(), String> {
        let Some(field) = ty.field(name) else {
            return Err(format!(
                "{}.{name}: field not declared in schema",
                super::element::shown(&self.path)
            ));
        };
        if old.is_some() && old == new {
            return Ok(());
        }
        self.below(PathElement::field(name), field, old, new)
    }

    fn below(
        &mut self,
        element: PathElement,
        ty: TypeRef<'_>,
        old: Side<'_>,
        new: Side<'_>,
    ) -> Result<(), String> {
        self.path.push(element);
        let compared = self.compare(ty, old, new);
        self.path.pop();
        compared
    }

    fn lists(
        &mut self,
        list: &ListType,
        ty: TypeRef<'_>,
        old: &[Value],
        new: &[Value],
    ) -> Result<(), String> {
        let mut sides: BTreeMap<PathElement, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
        for (index, item) in old.iter().enumerate() {
            sides.entry(self.element(list, ty, index, item)?).or_default().0.push(item);
        }
        for (index, item) in new.iter().enumerate() {
            sides.entry(self.element(list, ty, index, item)?).or_default().1.push(item);
        }
        for (element, (old, new)) in sides {
            match (&old[..], &new[..]) {
                ([] | [_], [] | [_]) => {
                    self.below(element, ty, old.first().copied(), new.first().copied())?;
                }
                // What is there more than once is compared as a whole.
                ([_, _, ..], [_, _, ..]) => {
                    if old != new {
                        self.mark(element, |found| &mut found.modified);
                    }
                }
                ([_, _, ..], _) => {
                    if let Some(new) = new.first() {
                        self.below(element.clone(), ty, None, Some(new))?;
                    }
                    self.mark(element, |found| &mut found.removed);
                }
                (_, _) => {
                    if let Some(old) = old.first() {
                        self.below(element.clone(), ty, Some(old), None)?;
                    }
                    self.mark(element, |found| &mut found.added);
                }
            }
        }
        Ok(())
    }

    fn element(
        &self,
        list: &ListType,
        ty: TypeRef<'_>,
        index: usize,
        item: &Value,
    ) -> Result<PathElement, String> {
        PathElement::of_item(list, ty, item).map_err(|problem| {
            format!("{}: element {index}: {problem}", super::element::shown(&self.path))
        })
    }

    fn mark(&mut self, element: PathElement, set: impl Fn(&mut Comparison) -> &mut FieldSet) {
        self.path.push(element);
        set(&mut self.found).insert(&self.path);
        self.path.pop();
    }
}

fn fields<'v>(side: Side<'v>) -> Option<&'v Map<String, Value>> {
    side.and_then(Value::as_object)
}

fn items<'v>(side: Side<'v>) -> &'v [Value] {
    side.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
