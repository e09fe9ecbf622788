use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::OnceLock;

use k8s_openapi::api::{authentication, autoscaling, core, policy};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use pinnace_api::schema::{Field, ListKind, Schema, Type, TypeRef};
use pinnace_api::{KindSchema, Resource};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::custom;
use super::operations::TypeName;

/// Which OpenAPI is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Flavor {
    V2,
    V3,
}

impl Flavor {
    fn prefix(self) -> &'static str {
        match self {
            Self::V2 => "#/definitions/",
            Self::V3 => "#/components/schemas/",
        }
    }
}

/// The types that a document refers to, gathered as it does so.
pub(super) struct Types {
    flavor: Flavor,
    generator: SchemaGenerator,
    /// Types that are not made by the generator.
    others: BTreeMap<String, Value>,
    /// Kinds by the name of their type.
    kinds: BTreeMap<String, BTreeSet<[String; 3]>>,
    resources: HashMap<[String; 3], String>,
}

/// The schema of any object.
fn any() -> Value {
    json!({"type": "object"})
}

impl Types {
    pub(super) fn new(flavor: Flavor) -> Self {
        let path = flavor.prefix().trim_matches(['#', '/']);
        let path = format!("/{path}").into();
        let generator =
            SchemaSettings::openapi3().with(|settings| settings.definitions_path = path);
        Self {
            flavor,
            generator: generator.into_generator(),
            others: BTreeMap::new(),
            kinds: BTreeMap::new(),
            resources: HashMap::new(),
        }
    }

    /// Makes the type of a kind known.
    pub(super) fn add(&mut self, resource: &Resource) {
        let kind = [&resource.group, &resource.version, &resource.kind].map(ToString::to_string);
        let name = match &resource.schema {
            KindSchema::Type(of) => target(of(&mut self.generator).as_value()),
            KindSchema::Text(schema) => {
                let schema = serde_json::from_str(schema).unwrap_or_else(|_| any());
                self.custom(resource, Some(schema))
            }
            KindSchema::Any => self.custom(resource, None),
        };
        self.kinds.entry(name.clone()).or_default().insert(kind.clone());
        // What is only created, such as a review, is never listed.
        if resource.verbs.0.contains(&"list") {
            self.add_list(resource, &name);
        }
        self.resources.insert(kind, name);
    }

    fn add_list(&mut self, resource: &Resource, item: &str) {
        let name = list_name(item, resource);
        let metadata = target(self.generator.subschema_for::<meta::ListMeta>().as_value());
        let plain = self.generator.subschema_for::<meta::APIResourceList>();
        let named = |field: &str| self.described(&target(plain.as_value()), field);
        let (api_version, kind) = (named("apiVersion"), named("kind"));
        let schema = json!({
            "description": format!("{} is a list of {}.", resource.list_kind, resource.kind),
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": api_version,
                "kind": kind,
                "metadata": {
                    "$ref": self.reference(&metadata),
                    "description": "What the list is a state of, and where it goes on.",
                },
                "items": {
                    "type": "array",
                    "description": "The objects.",
                    "items": {"$ref": self.reference(item)},
                },
            },
        });
        self.others.insert(name.clone(), schema);
        let kind = [&resource.group, &resource.version, &resource.list_kind];
        self.kinds.entry(name).or_default().insert(kind.map(ToString::to_string));
    }

    fn described(&self, of: &str, field: &str) -> Value {
        self.generator.definitions()[of]["properties"][field].clone()
    }

    /// The type of a kind that came with a definition. One that says nothing of its fields has none
    /// here either, not even the usual ones: kubectl would take all others for mistakes.
    fn custom(&mut self, resource: &Resource, schema: Option<Value>) -> String {
        let group: Vec<_> = resource.group.rsplit('.').collect();
        let name = format!("{}.{}.{}", group.join("."), resource.version, resource.kind);
        let free = |schema: &Value| self.flavor == Flavor::V2 && custom::preserves(schema);
        let schema = match schema.filter(|schema| !free(schema)) {
            None => any(),
            Some(mut schema) => {
                let meta = target(self.generator.subschema_for::<meta::ObjectMeta>().as_value());
                let plain = self.generator.subschema_for::<meta::APIResourceList>();
                let of = target(plain.as_value());
                let usual = custom::Usual {
                    api_version: self.described(&of, "apiVersion"),
                    kind: self.described(&of, "kind"),
                    metadata: json!({
                        "$ref": self.reference(&meta),
                        "description": custom::METADATA,
                    }),
                };
                custom::publish(&mut schema, &usual, self.flavor);
                schema
            }
        };
        self.others.insert(name.clone(), schema);
        name
    }

    /// A reference to a type, which is part of the document from then on.
    pub(super) fn refer(&mut self, name: &TypeName) -> Value {
        let generator = &mut self.generator;
        let schema = match name {
            TypeName::Text => return json!({"type": "string"}),
            TypeName::Kind(kind) => return self.refer_kind(kind, ""),
            TypeName::List(kind) => return self.refer_kind(kind, "List"),
            TypeName::Meta("Patch") => {
                let name = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch".to_owned();
                let reference = json!({"$ref": self.reference(&name)});
                let description = "A change of an object, in the form that its content type says.";
                self.others.insert(name, json!({"description": description, "type": "object"}));
                return reference;
            }
            TypeName::Meta(name) => match *name {
                "DeleteOptions" => generator.subschema_for::<meta::DeleteOptions>(),
                "WatchEvent" => generator.subschema_for::<meta::WatchEvent<RawExtension>>(),
                "APIResourceList" => generator.subschema_for::<meta::APIResourceList>(),
                "APIGroupList" => generator.subschema_for::<meta::APIGroupList>(),
                "APIGroup" => generator.subschema_for::<meta::APIGroup>(),
                "APIVersions" => generator.subschema_for::<meta::APIVersions>(),
                "version.Info" => {
                    generator.subschema_for::<k8s_openapi::apimachinery::pkg::version::Info>()
                }
                _ => generator.subschema_for::<meta::Status>(),
            },
            TypeName::Api(name) => {
                let (of, [group, kind]) = api_type(name);
                let schema = of(generator);
                let kind = [group, "v1", kind].map(str::to_owned);
                self.kinds.entry(target(schema.as_value())).or_default().insert(kind);
                schema
            }
        };
        schema.into()
    }

    fn refer_kind(&self, kind: &[String; 3], suffix: &str) -> Value {
        let name = self.resources.get(kind).map(String::as_str).unwrap_or_default();
        json!({"$ref": self.reference(&format!("{name}{suffix}"))})
    }

    fn reference(&self, name: &str) -> String {
        format!("{}{name}", self.flavor.prefix())
    }

    /// All types that were referred to, and those that they refer to.
    pub(super) fn finish(mut self) -> Map<String, Value> {
        let mut all = self.generator.take_definitions(false);
        all.extend(self.others);
        for (name, schema) in &mut all {
            dress(name, schema, self.flavor);
            if let (Some(kinds), Some(schema)) = (self.kinds.get(name), schema.as_object_mut()) {
                let kinds: Vec<_> = kinds
                    .iter()
                    .map(|[group, version, kind]| {
                        json!({"group": group, "version": version, "kind": kind})
                    })
                    .collect();
                schema.insert("x-kubernetes-group-version-kind".to_owned(), kinds.into());
            }
        }
        all
    }
}

type Describe = fn(&mut SchemaGenerator) -> schemars::Schema;

/// A type of a subresource: how it is described, its group and kind.
fn api_type(name: &str) -> (Describe, [&'static str; 2]) {
    fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> schemars::Schema {
        generator.subschema_for::<T>()
    }
    match name {
        "autoscaling.v1.Scale" => (of::<autoscaling::v1::Scale>, ["autoscaling", "Scale"]),
        "policy.v1.Eviction" => (of::<policy::v1::Eviction>, ["policy", "Eviction"]),
        "authentication.v1.TokenRequest" => {
            (of::<authentication::v1::TokenRequest>, ["authentication.k8s.io", "TokenRequest"])
        }
        _ => (of::<core::v1::Binding>, ["", "Binding"]),
    }
}

/// The name in a reference.
fn target(reference: &Value) -> String {
    let path = reference["$ref"].as_str().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

fn list_name(item: &str, resource: &Resource) -> String {
    let base = item.strip_suffix(&*resource.kind).unwrap_or(item);
    format!("{base}{}List", resource.kind)
}

/// Adds to a type what its own description leaves out, and writes it in the way of the flavor.
fn dress(name: &str, schema: &mut Value, flavor: Flavor) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(plain) = plain_type(name, flavor) {
        let description = object.get("description").cloned();
        *object = plain;
        object.extend(description.map(|description| ("description".to_owned(), description)));
        return;
    }
    let builtin = builtin_types().get(short(name));
    if let Some(ty) = builtin {
        if is_atomic(*ty) {
            object.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
        }
        if let Some(fields) = object.get_mut("properties").and_then(Value::as_object_mut) {
            for (field, schema) in fields.iter_mut() {
                dress_field(*ty, field, schema);
            }
        }
    }
    if let Some(required) = object.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|field| !field.as_str().is_some_and(|field| is_optional(name, field)));
        if required.is_empty() {
            object.remove("required");
        }
    }
    if short(name) == "events.v1.Event" {
        // The type here lets it be left out, as events of the core group do.
        object.insert("required".to_owned(), json!(["eventTime"]));
    }
    if let Some(unions) = unions(name) {
        object.insert("x-kubernetes-unions".to_owned(), unions);
    }
    reshape(schema, flavor);
}

/// The name of a type in the table of types, which leaves out what all names begin with.
fn short(name: &str) -> &str {
    ["io.k8s.api.", "io.k8s.apimachinery.pkg.apis.", "io.k8s."]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))
        .unwrap_or(name)
}

fn builtin_types() -> &'static HashMap<&'static str, TypeRef<'static>> {
    static TYPES: OnceLock<HashMap<&'static str, TypeRef<'static>>> = OnceLock::new();
    TYPES.get_or_init(|| {
        let mut types = HashMap::new();
        for (name, ty) in Schema::builtin().named_types() {
            // The first of a name is the type itself, others are variants of it.
            types.entry(name).or_insert(ty);
        }
        types
    })
}

fn is_atomic(ty: TypeRef<'_>) -> bool {
    matches!(ty.shape(), Type::Object(object) if object.is_atomic())
}

/// Whether a type is that of whole objects, by its fields.
fn object_metadata(name: &str) -> bool {
    let ty = builtin_types().get(short(name));
    let field = ty.and_then(|ty| ty.field("metadata"));
    let versioned = ty.is_some_and(|ty| ty.declared("apiVersion").is_some());
    field.is_some_and(|field| field.name() == "meta.v1.ObjectMeta") && versioned
}

/// Types whose name is empty when it is left out.
const NAME_BY_DEFAULT: [&str; 9] = [
    "core.v1.ConfigMapEnvSource",
    "core.v1.ConfigMapKeySelector",
    "core.v1.ConfigMapProjection",
    "core.v1.ConfigMapVolumeSource",
    "core.v1.LocalObjectReference",
    "core.v1.SecretEnvSource",
    "core.v1.SecretKeySelector",
    "core.v1.SecretProjection",
    "core.v1.SecretVolumeSource",
];

/// Fields that upstream lets objects come without, though the types here always have them.
fn is_optional(name: &str, field: &str) -> bool {
    match (short(name), field) {
        ("core.v1.Event", "metadata") => false,
        ("meta.v1.Status", "metadata") => true,
        (_, "metadata") => object_metadata(name),
        (name, "name") => NAME_BY_DEFAULT.contains(&name),
        _ => false,
    }
}

fn dress_field(ty: TypeRef<'_>, name: &str, schema: &mut Value) {
    let (Some(declared), Some(field)) = (ty.declared(name), ty.field(name)) else { return };
    let Some(schema) = schema.as_object_mut() else { return };
    let mut set = |name: &str, value: Value| schema.insert(name.to_owned(), value);
    match field.shape() {
        Type::List(list) if list.declared => {
            let kind = match &list.kind {
                ListKind::Atomic => "atomic",
                ListKind::Set => "set",
                ListKind::Map(keys) => {
                    set("x-kubernetes-list-map-keys", json!(keys));
                    "map"
                }
            };
            set("x-kubernetes-list-type", kind.into());
        }
        // The one map that declares what all maps are that declare nothing.
        Type::Object(_) if name == "allocatedResourceStatuses" => {
            set("x-kubernetes-map-type", "granular".into());
        }
        Type::Object(object) if field.name().is_empty() && object.is_atomic() => {
            set("x-kubernetes-map-type", "atomic".into());
        }
        Type::Object(object)
            if !object.is_atomic()
                && builtin_types().get(field.name()).is_some_and(|ty| is_atomic(*ty)) =>
        {
            set("x-kubernetes-map-type", "granular".into());
        }
        _ => {}
    }
    patch_strategy(declared, &mut set);
}

fn patch_strategy<T>(field: &Field, set: &mut impl FnMut(&str, Value) -> T) {
    let patch = &field.patch;
    let strategies =
        [(patch.merge, "merge"), (patch.replace, "replace"), (patch.retain_keys, "retainKeys")];
    let names: Vec<_> = strategies.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
    if !names.is_empty() {
        set("x-kubernetes-patch-strategy", names.join(",").into());
    }
    if let Some(key) = &patch.merge_key {
        set("x-kubernetes-patch-merge-key", json!(key));
    }
    if let Some(default) = &field.default {
        set("default", default.clone());
    }
}

/// Types that are no structs.
fn plain_type(name: &str, flavor: Flavor) -> Option<Map<String, Value>> {
    let value = match (short(name), flavor) {
        ("apimachinery.pkg.api.resource.Quantity", Flavor::V2) => json!({"type": "string"}),
        ("apimachinery.pkg.api.resource.Quantity", Flavor::V3) => {
            json!({"oneOf": [{"type": "string"}, {"type": "number"}]})
        }
        ("apimachinery.pkg.util.intstr.IntOrString", Flavor::V2) => {
            json!({"type": "string", "format": "int-or-string"})
        }
        ("apimachinery.pkg.util.intstr.IntOrString", Flavor::V3) => {
            let types = [json!({"type": "integer"}), json!({"type": "string"})];
            json!({"format": "int-or-string", "oneOf": types})
        }
        (other, _) => {
            match other.strip_prefix("apiextensions-apiserver.pkg.apis.apiextensions.v1.")? {
                "JSON"
                | "JSONSchemaPropsOrArray"
                | "JSONSchemaPropsOrBool"
                | "JSONSchemaPropsOrStringArray" => json!({}),
                _ => return None,
            }
        }
    };
    value.as_object().cloned()
}

/// Types of which one field is set, which one saying another. Facts of upstream's declarations that
/// the table of types does not hold.
fn unions(name: &str) -> Option<Value> {
    let (discriminator, fields): (&str, &[(&str, &str)]) = match short(name) {
        "core.v1.AppArmorProfile" | "core.v1.SeccompProfile" => {
            ("type", &[("localhostProfile", "LocalhostProfile")])
        }
        "core.v1.PodSchedulingGroup" => ("", &[("podGroupName", "PodGroupName")]),
        "flowcontrol.v1.LimitResponse" => ("type", &[("queuing", "Queuing")]),
        "flowcontrol.v1.PriorityLevelConfigurationSpec" => {
            ("type", &[("exempt", "Exempt"), ("limited", "Limited")])
        }
        "flowcontrol.v1.Subject" => {
            ("kind", &[("group", "Group"), ("serviceAccount", "ServiceAccount"), ("user", "User")])
        }
        _ => return None,
    };
    let fields: Map<_, _> =
        fields.iter().map(|(field, value)| ((*field).to_owned(), (*value).into())).collect();
    let mut union = json!({"fields-to-discriminateBy": fields});
    if !discriminator.is_empty() {
        union["discriminator"] = discriminator.into();
    }
    Some(json!([union]))
}

/// What one OpenAPI can say and the other cannot: beside a reference, v3 has nothing; v2 knows no
/// alternatives.
fn reshape(schema: &mut Value, flavor: Flavor) {
    match schema {
        Value::Object(object) => {
            if flavor == Flavor::V3
                && object.len() > 1
                // A property may be called that, too: one of schemas is.
                && object.get("$ref").is_some_and(Value::is_string)
                && let Some(reference) = object.remove("$ref")
            {
                object.insert("allOf".to_owned(), json!([{"$ref": reference}]));
            }
            if flavor == Flavor::V2 && !object.contains_key("$ref") {
                for name in ["allOf", "anyOf", "oneOf", "not", "nullable"] {
                    // A property may have such a name: it is an object then, not a list or flag.
                    if object.get(name).is_some_and(|value| !value.is_object()) {
                        object.remove(name);
                    }
                }
            }
            object.values_mut().for_each(|value| reshape(value, flavor));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| reshape(value, flavor)),
        _ => {}
    }
}
