//! Fields that a schema does not know are dropped before an object is stored.

use serde_json::{Map, Value};

use super::{Node, OF_OBJECTS};

impl Node {
    /// Drops what the schema does not know from an object as a whole.
    pub(crate) fn prune_root(&self, fields: &mut Map<String, Value>) {
        self.prune_fields(fields, true);
    }

    /// Whether anything would be dropped from an object as a whole.
    fn prune(&self, value: &mut Value) {
        match value {
            Value::Object(fields) => self.prune_fields(fields, self.embeds),
            Value::Array(all) => match &self.items {
                Some(items) => all.iter_mut().for_each(|item| items.prune(item)),
                None if self.preserves => {}
                None => all.iter_mut().for_each(|item| Self::default().prune(item)),
            },
            _ => {}
        }
    }

    fn prune_fields(&self, fields: &mut Map<String, Value>, is_object: bool) {
        let open = self.preserves || self.any_values;
        fields.retain(|name, value| {
            if is_object && OF_OBJECTS.contains(&name.as_str()) {
                return true;
            }
            match self.field(name).or(self.values.as_deref()) {
                Some(node) => node.prune(value),
                None if open => {}
                None => return false,
            }
            true
        });
    }
}
