//! Defaults that schemas give, and nulls that stand in their way.

use serde_json::{Map, Value};

use super::Node;

impl Node {
    /// Fills in what an object as a whole leaves out.
    pub(crate) fn default_root(&self, fields: &mut Map<String, Value>) {
        self.default_fields(fields);
    }

    /// Whether [`Node::default_root`] would change an object.
    pub(crate) fn lacks_defaults(&self, fields: &Map<String, Value>) -> bool {
        self.fields().any(|(name, node)| match fields.get(name) {
            None => node.default.is_some(),
            Some(Value::Null) => node.default.is_some() && !node.nullable,
            Some(value) => node.lacks_within(value),
        }) || self.values.as_ref().is_some_and(|values| {
            let mut others = fields.iter().filter(|(name, _)| self.field(name).is_none());
            others.any(|(_, value)| values.lacks_within(value))
        })
    }

    fn lacks_within(&self, value: &Value) -> bool {
        match value {
            Value::Object(fields) => self.lacks_defaults(fields),
            Value::Array(all) => self
                .items
                .as_ref()
                .is_some_and(|items| all.iter().any(|one| items.lacks_within(one))),
            _ => false,
        }
    }

    fn default_fields(&self, fields: &mut Map<String, Value>) {
        for (name, node) in self.fields() {
            let Some(default) = &node.default else { continue };
            // A null that the schema does not allow is as if it were not there.
            let absent = fields.get(name).is_none_or(|value| value.is_null() && !node.nullable);
            if absent {
                fields.insert(name.to_owned(), (**default).clone());
            }
        }
        for (name, value) in fields {
            if let Some(node) = self.field(name).or(self.values.as_deref()) {
                node.default_within(value);
            }
        }
    }

    fn default_within(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => self.default_fields(fields),
            Value::Array(all) => {
                if let Some(items) = &self.items {
                    all.iter_mut().for_each(|item| items.default_within(item));
                }
            }
            _ => {}
        }
    }
}
