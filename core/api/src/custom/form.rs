use std::sync::{Arc, OnceLock};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinitionVersion, JSONSchemaProps,
};

use crate::schema::KindType;
use crate::structural::{Node, schema_of};
use crate::{ApiError, Result};

/// What a version says its objects are made of. It rests as text, and is unfolded when somebody
/// first works with the kind: of the many definitions that a cluster has, few are in use.
pub(crate) struct Form {
    group: String,
    version: String,
    kind: String,
    /// The schema, of OpenAPI v3; empty where none is given.
    text: Arc<str>,
    has_defaults: bool,
    root: OnceLock<Node>,
    ty: OnceLock<Option<KindType>>,
}

impl Form {
    /// # Errors
    /// For a schema that has no JSON form, or one that cannot be read again, as those that are too
    /// deep: a kind whose objects could not be checked is not served.
    pub(super) fn new(
        group: &str,
        version: &CustomResourceDefinitionVersion,
        kind: &str,
    ) -> Result<Self> {
        let schema = version.schema.as_ref().and_then(|all| all.open_api_v3_schema.as_ref());
        let text = schema.map(serde_json::to_string).transpose();
        let text = text.map_err(|error| ApiError::encode(&error))?.unwrap_or_default();
        let schema = read(&text).map_err(|error| ApiError::decode(&error))?;
        Ok(Self {
            group: group.to_owned(),
            version: version.name.clone(),
            kind: kind.to_owned(),
            text: text.into(),
            has_defaults: schema.is_some_and(|schema| Node::shape_of(&schema).has_defaults()),
            root: OnceLock::new(),
            ty: OnceLock::new(),
        })
    }

    pub(super) fn has_defaults(&self) -> bool {
        self.has_defaults
    }

    /// The schema as text; `None` where none is given.
    pub(super) fn text(&self) -> Option<&Arc<str>> {
        Some(&self.text).filter(|text| !text.is_empty())
    }

    /// The schema by which objects are pruned, filled in and checked.
    pub(super) fn root(&self) -> &Node {
        self.root.get_or_init(|| {
            // What cannot be read was refused when the form was made.
            let schema = read(&self.text).ok().flatten();
            schema.map_or_else(Node::open, |schema| Node::of(&schema))
        })
    }

    /// The type by which objects are merged.
    pub(crate) fn kind_type(&self) -> Option<&KindType> {
        let find = || {
            let schema = schema_of(self.root(), &self.group, &self.version, &self.kind);
            KindType::find(&Arc::new(schema), &self.group, &self.version, &self.kind)
        };
        self.ty.get_or_init(find).as_ref()
    }
}

fn read(text: &str) -> serde_json::Result<Option<JSONSchemaProps>> {
    if text.is_empty() { Ok(None) } else { serde_json::from_str(text).map(Some) }
}
