//! What types objects are made of: which fields they have and how lists and maps are merged.
//!
//! [`Schema::builtin`] describes the built-in API; a [`SchemaBuilder`] makes one for kinds that
//! are known only at run time. Strategic merge patch, server-side apply and strict field
//! validation find their way through a document with it.

mod table;
mod unknown;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde_json::Value;

pub use unknown::unknown_fields;

/// A name in a schema: borrowed from the table of the built-in types, owned otherwise.
pub type Name = Cow<'static, str>;

/// A set of types. It never changes once it is built.
pub struct Schema {
    types: Vec<Type>,
    names: Vec<Name>,
    kinds: HashMap<(Name, Name, Name), TypeId, ahash::RandomState>,
}

/// A type within its [`Schema`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TypeId(u32);

/// What a type is.
#[derive(Clone, Debug, PartialEq)]
pub enum Type {
    /// A single value.
    Scalar(Scalar),
    /// A struct or a map.
    Object(ObjectType),
    /// A list.
    List(ListType),
    /// Anything; what is an object in it has fields of their own, a list is one value.
    Any,
    /// Anything, as one value.
    Opaque,
}

/// What a single value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Bytes, as text in base64.
    Bytes,
    /// A point in time, as text.
    Time,
    /// A quantity, as text or number.
    Quantity,
    /// A whole number or text.
    IntOrString,
}

/// A struct, which has fields, or a map, which has values of one type, or both.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ObjectType {
    /// Ordered by name.
    fields: Vec<Field>,
    values: Option<TypeId>,
    atomic: bool,
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub ty: TypeId,
    /// How a strategic merge patch changes it.
    pub patch: PatchStrategy,
    /// Its value when it is left out and is a key of a list.
    pub default: Option<Value>,
}

/// How a strategic merge patch changes a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Whether lists are merged.
    pub merge: bool,
    /// Whether maps are replaced.
    pub replace: bool,
    /// Whether a patch may list the keys that are kept.
    pub retain_keys: bool,
    /// The field by which the items of a merged list are told apart.
    pub merge_key: Option<Name>,
}

/// A list.
#[derive(Clone, Debug, PartialEq)]
pub struct ListType {
    /// The type of its items.
    pub item: TypeId,
    /// How it is merged.
    pub kind: ListKind,
    /// Whether that is declared, or follows from how patches merge it, or from nothing.
    pub declared: bool,
}

/// How a list is merged by server-side apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// As one value.
    Atomic,
    /// By its values.
    Set,
    /// By these fields of its items.
    Map(Vec<Name>),
}

impl Schema {
    /// The types of the built-in API.
    pub fn builtin() -> &'static Self {
        static BUILTIN: OnceLock<Schema> = OnceLock::new();
        BUILTIN.get_or_init(|| table::read(include_str!("builtin.txt")))
    }

    /// The type of a kind.
    pub fn type_of(&self, group: &str, version: &str, kind: &str) -> Option<TypeRef<'_>> {
        let key = (Cow::Owned(group.into()), Cow::Owned(version.into()), Cow::Owned(kind.into()));
        self.kinds.get(&key).map(|id| self.get(*id))
    }

    /// Every type that has a name, with it.
    pub fn named_types(&self) -> impl Iterator<Item = (&str, TypeRef<'_>)> {
        let ids = (0..).map(TypeId);
        let named = ids.zip(&self.names).filter(|(_, name)| !name.is_empty());
        named.map(|(id, name)| (&**name, self.get(id)))
    }

    fn get(&self, id: TypeId) -> TypeRef<'_> {
        TypeRef { schema: self, id }
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({} types, {} kinds)", self.types.len(), self.kinds.len())
    }
}

/// A type and the schema around it: where a walk through a document stands.
#[derive(Clone, Copy)]
pub struct TypeRef<'a> {
    schema: &'a Schema,
    id: TypeId,
}

impl<'a> TypeRef<'a> {
    /// What it is.
    pub fn shape(self) -> &'a Type {
        self.schema.types.get(self.id.0 as usize).unwrap_or(&Type::Any)
    }

    /// The name of a struct type, empty for other types.
    pub fn name(self) -> &'a str {
        self.schema.names.get(self.id.0 as usize).map_or("", |name| name)
    }

    /// A declared field of a struct.
    pub fn declared(self, name: &str) -> Option<&'a Field> {
        match self.shape() {
            Type::Object(object) => object.field(name),
            _ => None,
        }
    }

    /// The type of a field of a struct or of a value of a map; `None` if it may not be there.
    pub fn field(self, name: &str) -> Option<Self> {
        match self.shape() {
            Type::Object(object) => {
                let id = object.field(name).map(|field| field.ty).or(object.values)?;
                Some(self.schema.get(id))
            }
            Type::Any | Type::Opaque => Some(self),
            _ => None,
        }
    }

    /// The type of the items of a list.
    pub fn item(self) -> Option<Self> {
        match self.shape() {
            Type::List(list) => Some(self.schema.get(list.item)),
            Type::Any | Type::Opaque => Some(self),
            _ => None,
        }
    }
}

/// A type that is kept, with the schema that it is of.
#[derive(Clone)]
pub struct KindType(Holder);

#[derive(Clone)]
enum Holder {
    Builtin(TypeRef<'static>),
    Shared(Arc<Schema>, TypeId),
}

impl KindType {
    /// The type of a kind of a schema.
    pub fn find(schema: &Arc<Schema>, group: &str, version: &str, kind: &str) -> Option<Self> {
        let id = schema.type_of(group, version, kind)?.id;
        Some(Self(Holder::Shared(schema.clone(), id)))
    }

    /// The type.
    pub fn get(&self) -> TypeRef<'_> {
        match &self.0 {
            Holder::Builtin(ty) => *ty,
            Holder::Shared(schema, id) => schema.get(*id),
        }
    }
}

impl From<TypeRef<'static>> for KindType {
    fn from(ty: TypeRef<'static>) -> Self {
        Self(Holder::Builtin(ty))
    }
}

impl fmt::Debug for TypeRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.name(), self.shape())
    }
}

impl ObjectType {
    /// A struct of these fields.
    pub fn of_fields(mut fields: Vec<Field>) -> Self {
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        Self { fields, values: None, atomic: false }
    }

    /// A map with values of this type.
    pub fn of_values(values: TypeId) -> Self {
        Self { fields: Vec::new(), values: Some(values), atomic: false }
    }

    /// Lets keys that are no declared fields have values of this type.
    pub fn or_values(mut self, values: TypeId) -> Self {
        self.values = Some(values);
        self
    }

    /// Makes it one value for server-side apply.
    pub fn atomic(mut self, atomic: bool) -> Self {
        self.atomic = atomic;
        self
    }

    /// Whether it is one value for server-side apply.
    pub fn is_atomic(&self) -> bool {
        self.atomic
    }

    /// The declared fields, ordered by name.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    fn field(&self, name: &str) -> Option<&Field> {
        let at = self.fields.binary_search_by(|field| (*field.name).cmp(name)).ok()?;
        self.fields.get(at)
    }
}

impl Field {
    /// A field that is patched as its type says.
    pub fn new(name: impl Into<Name>, ty: TypeId) -> Self {
        Self { name: name.into(), ty, patch: PatchStrategy::default(), default: None }
    }
}

/// Builds a [`Schema`]. Types may refer to each other in circles: [`SchemaBuilder::declare`] gives
/// out a type before it is known.
#[derive(Default)]
pub struct SchemaBuilder {
    types: Vec<Type>,
    names: Vec<Name>,
    kinds: HashMap<(Name, Name, Name), TypeId, ahash::RandomState>,
}

impl SchemaBuilder {
    /// A schema without types.
    pub fn new() -> Self {
        Self::default()
    }

    /// A named type that is defined later; until then it is [`Type::Any`].
    pub fn declare(&mut self, name: impl Into<Name>) -> TypeId {
        let id = TypeId(u32::try_from(self.types.len()).unwrap_or(u32::MAX));
        self.types.push(Type::Any);
        self.names.push(name.into());
        id
    }

    /// Says what a declared type is.
    pub fn define(&mut self, id: TypeId, ty: Type) {
        if let Some(slot) = self.types.get_mut(id.0 as usize) {
            *slot = ty;
        }
    }

    /// A type without a name.
    pub fn add(&mut self, ty: Type) -> TypeId {
        let id = self.declare("");
        self.define(id, ty);
        id
    }

    /// What a type is so far.
    pub fn get(&self, id: TypeId) -> &Type {
        self.types.get(id.0 as usize).unwrap_or(&Type::Any)
    }

    /// Says which type the objects of a kind have.
    pub fn kind(
        &mut self,
        group: impl Into<Name>,
        version: impl Into<Name>,
        kind: impl Into<Name>,
        id: TypeId,
    ) {
        self.kinds.insert((group.into(), version.into(), kind.into()), id);
    }

    /// The schema.
    pub fn build(self) -> Schema {
        Schema { types: self.types, names: self.names, kinds: self.kinds }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_finds_the_types_of_a_deployment() {
        let deployment = Schema::builtin().type_of("apps", "v1", "Deployment").unwrap();
        let pod = deployment.field("spec").and_then(|spec| spec.field("template")).unwrap();
        let containers = pod.field("spec").and_then(|spec| spec.field("containers")).unwrap();
        let Type::List(list) = containers.shape() else { panic!("{containers:?}") };
        assert_eq!(list.kind, ListKind::Map(vec!["name".into()]));
        let container = containers.item().unwrap();
        assert_eq!(container.name(), "core.v1.Container");
        let limits = container.field("resources").and_then(|all| all.field("limits")).unwrap();
        assert_eq!(limits.field("cpu").unwrap().shape(), &Type::Scalar(Scalar::Quantity));
        assert!(container.field("imagee").is_none());
        let ports = container.declared("ports").unwrap();
        assert_eq!(ports.patch.merge_key.as_deref(), Some("containerPort"));
        let protocol = container.field("ports").and_then(TypeRef::item).unwrap();
        assert_eq!(protocol.declared("protocol").unwrap().default, Some("TCP".into()));
    }

    #[test]
    fn how_maps_and_lists_are_merged_is_known() {
        let builtin = Schema::builtin();
        let spec = |kind: &str| builtin.type_of("", "v1", kind).and_then(|ty| ty.field("spec"));
        let atomic = |ty: TypeRef<'_>| match ty.shape() {
            Type::Object(object) => object.is_atomic(),
            other => panic!("{other:?}"),
        };
        let pod = spec("Pod").unwrap();
        assert!(atomic(pod.field("nodeSelector").unwrap()));
        let volume = spec("PersistentVolume").unwrap();
        assert!(!atomic(volume.field("claimRef").unwrap()));
        assert!(volume.declared("nodeAffinity").unwrap().patch == PatchStrategy::default());
        assert!(pod.declared("volumes").unwrap().patch.retain_keys);
        assert_eq!(builtin.type_of("", "v1", "ConfigMap").unwrap().name(), "core.v1.ConfigMap");
        assert!(builtin.type_of("", "v2", "ConfigMap").is_none());
    }

    #[test]
    fn a_schema_can_be_built_at_run_time() {
        let mut builder = SchemaBuilder::new();
        let node = builder.declare("Node");
        let children = builder.add(Type::List(ListType {
            item: node,
            kind: ListKind::Atomic,
            declared: true,
        }));
        builder.define(node, Type::Object(ObjectType::of_fields(vec![Field::new("c", children)])));
        builder.kind("example.com", "v1", "Tree", node);
        let schema = builder.build();
        let tree = schema.type_of("example.com", "v1", "Tree").unwrap();
        let child = tree.field("c").and_then(TypeRef::item).unwrap();
        assert_eq!(child.name(), "Node");
    }
}
