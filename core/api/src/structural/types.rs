//! A structural schema as a [`Schema`], by which lists are merged and unknown fields found.

use super::{ListType, Node};
use crate::schema::{
    Field, ListKind, ListType as SchemaList, ObjectType, Scalar, Schema, SchemaBuilder, Type,
    TypeId, TypeRef,
};

/// The schema of a kind.
pub(crate) fn schema_of(root: &Node, group: &str, version: &str, kind: &str) -> Schema {
    let mut builder = SchemaBuilder::new();
    let meta = Schema::builtin().type_of("", "v1", "ConfigMap");
    let meta = meta.and_then(|map| map.field("metadata"));
    let meta = match meta {
        Some(meta) => copy(meta, &mut builder),
        None => builder.add(Type::Any),
    };
    let id = object(root, &mut builder, Some(meta));
    builder.kind(group.to_owned(), version.to_owned(), kind.to_owned(), id);
    builder.build()
}

fn node(node: &Node, builder: &mut SchemaBuilder, meta: TypeId) -> TypeId {
    if node.int_or_string {
        return builder.add(Type::Scalar(Scalar::IntOrString));
    }
    let scalar = match &*node.kind {
        "object" => return object(node, builder, node.embeds.then_some(meta)),
        "array" => {
            let item = match &node.items {
                Some(items) => self::node(items, builder, meta),
                None => builder.add(Type::Any),
            };
            let kind = match &node.list {
                ListType::Set => ListKind::Set,
                ListType::Map(keys) => {
                    ListKind::Map(keys.iter().map(|key| key.to_string().into()).collect())
                }
                ListType::Atomic | ListType::Unsaid => ListKind::Atomic,
            };
            return builder.add(Type::List(SchemaList { item, kind, declared: true }));
        }
        "string" => Scalar::String,
        "integer" => Scalar::Integer,
        "number" => Scalar::Number,
        "boolean" => Scalar::Boolean,
        _ => return builder.add(Type::Any),
    };
    builder.add(Type::Scalar(scalar))
}

fn object(node: &Node, builder: &mut SchemaBuilder, meta: Option<TypeId>) -> TypeId {
    let of_meta = meta.unwrap_or_else(|| builder.add(Type::Any));
    let mut fields: Vec<Field> = Vec::new();
    if let Some(meta) = meta {
        let text = builder.add(Type::Scalar(Scalar::String));
        fields.push(Field::new("apiVersion", text));
        fields.push(Field::new("kind", text));
        fields.push(Field::new("metadata", meta));
    }
    for (name, inner) in node.fields() {
        if meta.is_some() && super::OF_OBJECTS.contains(&name) {
            continue;
        }
        let ty = self::node(inner, builder, of_meta);
        let default = inner.default.as_deref().cloned();
        fields.push(Field { default, ..Field::new(name.to_owned(), ty) });
    }
    let values = match &node.values {
        Some(values) => Some(self::node(values, builder, of_meta)),
        None if node.preserves || node.any_values => Some(builder.add(Type::Any)),
        None => None,
    };
    let object = ObjectType::of_fields(fields).atomic(node.atomic_map);
    builder.add(Type::Object(match values {
        Some(values) => object.or_values(values),
        None => object,
    }))
}

/// A type of the built-in schema, which has no circles where this is used.
fn copy(ty: TypeRef<'_>, builder: &mut SchemaBuilder) -> TypeId {
    match ty.shape() {
        Type::Object(object) => {
            let fields = object.fields().iter().filter_map(|field| {
                let inner = copy(ty.field(&field.name)?, builder);
                Some(Field { ty: inner, ..field.clone() })
            });
            let copied = ObjectType::of_fields(fields.collect()).atomic(object.is_atomic());
            // Any name will do: it is no field.
            let values = ty.field("\0").map(|values| copy(values, builder));
            builder.add(Type::Object(match values {
                Some(values) => copied.or_values(values),
                None => copied,
            }))
        }
        Type::List(list) => {
            let item = match ty.item() {
                Some(item) => copy(item, builder),
                None => builder.add(Type::Any),
            };
            builder.add(Type::List(SchemaList { item, ..list.clone() }))
        }
        other => builder.add(other.clone()),
    }
}
