use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::custom::{ConversionWebhook, Form};
use crate::printing::{self, Printer};
use crate::schema::{KindType, Schema, TypeRef};
use crate::{
    AnyConversion, AnyStrategy, Codec, Conversion, Draft, DynamicObject, Kind, Object, Result,
    Strategy,
};

/// Whether objects of a kind live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// In the cluster as a whole.
    Cluster,
}

/// A part of an object that is read or written by itself, or something that is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subresource {
    /// `status`
    Status,
    /// `scale`
    Scale,
    /// `binding`, of pods
    Binding,
    /// `eviction`, of pods
    Eviction,
    /// `ephemeralcontainers`, of pods
    EphemeralContainers,
    /// `resize`, of pods
    Resize,
    /// `finalize`, of namespaces
    Finalize,
    /// `token`, of service accounts
    Token,
    /// `approval`, of certificate signing requests
    Approval,
}

impl Subresource {
    /// Its name in a request's path.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Resize => "resize",
            Self::Finalize => "finalize",
            Self::Token => "token",
            Self::Approval => "approval",
        }
    }

    /// What can be done with it.
    pub fn verbs(self) -> &'static [&'static str] {
        match self {
            Self::Binding | Self::Eviction | Self::Token => &["create"],
            Self::Finalize => &["update"],
            Self::Status
            | Self::Scale
            | Self::EphemeralContainers
            | Self::Resize
            | Self::Approval => &["get", "patch", "update"],
        }
    }

    /// The subresource of a name, `None` if objects have none of that name. Connections (`log`,
    /// `exec`, `attach`, `portforward`, `proxy`) are not parts of an object and not among them.
    pub fn parse(name: &str) -> Option<Self> {
        [
            Self::Status,
            Self::Scale,
            Self::Binding,
            Self::Eviction,
            Self::EphemeralContainers,
            Self::Resize,
            Self::Finalize,
            Self::Token,
            Self::Approval,
        ]
        .into_iter()
        .find(|part| part.as_str() == name)
    }
}

/// Which subresources a kind has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subresources {
    /// `status`: status and the rest are written separately.
    pub status: bool,
    /// `scale`.
    pub scale: ScaleTarget,
    /// The others.
    pub others: &'static [Subresource],
}

impl Subresources {
    /// Whether it is among them.
    pub fn has(&self, part: Subresource) -> bool {
        match part {
            Subresource::Status => self.status,
            Subresource::Scale => self.scale != ScaleTarget::None,
            part => self.others.contains(&part),
        }
    }
}

/// Whether a kind has the `scale` subresource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScaleTarget {
    /// It does not.
    #[default]
    None,
    /// It does: [`Strategy::scale`] and [`Strategy::set_replicas`] say how.
    Replicas,
}

/// The verbs that discovery lists for a kind that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verbs(pub &'static [&'static str]);

impl Verbs {
    /// Everything that can be done with a stored kind.
    pub const ALL: Self =
        Self(&["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]);

    /// The same for kinds whose objects are only deleted one by one.
    pub const SINGLE: Self = Self(&["create", "delete", "get", "list", "patch", "update", "watch"]);

    /// What can be done with kinds whose objects are answered and not kept.
    pub const CREATE: Self = Self(&["create"]);

    /// What can be done with kinds whose objects are made when they are read.
    pub const READ: Self = Self(&["get", "list"]);
}

/// What becomes of the objects that an object owns when its deletion does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dependents {
    /// They go, too.
    #[default]
    Deleted,
    /// They stay.
    Orphaned,
    /// There are none: nothing that a deletion says of them is kept.
    None,
}

/// Describes the type of a kind's objects for people and clients.
#[derive(Clone)]
pub enum KindSchema {
    /// A type that describes itself: gives a reference to it, with all that it refers to.
    Type(fn(&mut schemars::SchemaGenerator) -> schemars::Schema),
    /// A schema of OpenAPI v3, of the object as a whole, as JSON.
    Text(Arc<str>),
    /// Any object.
    Any,
}

/// One kind in the catalog: its names, its scope, and the strategy by which it is handled.
///
/// Built-in kinds and custom kinds are the same to every room of the engine.
pub struct Resource {
    /// API group, empty for the core group.
    pub group: Cow<'static, str>,
    /// Version.
    pub version: Cow<'static, str>,
    /// Kind, `Deployment`.
    pub kind: Cow<'static, str>,
    /// Kind of the list, `DeploymentList`.
    pub list_kind: Cow<'static, str>,
    /// Plural name, `deployments`.
    pub plural: Cow<'static, str>,
    /// Singular name, `deployment`.
    pub singular: Cow<'static, str>,
    /// Short names, `deploy`.
    pub short_names: Vec<Cow<'static, str>>,
    /// Categories, `all`.
    pub categories: Vec<Cow<'static, str>>,
    /// Whether it lives in namespaces.
    pub scope: Scope,
    /// Its subresources.
    pub subresources: Subresources,
    /// The fields beyond `metadata.name` and `metadata.namespace` that a field selector may name.
    pub selectable_fields: Vec<Cow<'static, str>>,
    /// Its verbs.
    pub verbs: Verbs,
    /// What becomes of what its objects own.
    pub dependents: Dependents,
    /// What its objects are made of.
    pub schema: KindSchema,
    /// How it is read.
    pub codec: &'static Codec,
    /// How it is defaulted, validated and prepared, in the version that is stored.
    pub strategy: Arc<dyn AnyStrategy>,
    /// What `kubectl get` shows of it; of built-in kinds it is looked up when it is asked for.
    printer: Option<Arc<dyn Printer>>,
    /// `plural.group`, as error messages name it.
    name: Arc<str>,
    /// Its table in the store.
    table: Arc<str>,
    /// How it is made from what is stored; `None` where it is that.
    conversion: Option<Arc<dyn AnyConversion>>,
    /// Who converts it, where that is somebody outside.
    webhook: Option<Arc<ConversionWebhook>>,
    /// Whether this is the version that is stored.
    stored: bool,
    /// Whether clients see it.
    served: bool,
    /// Whether another server serves it.
    elsewhere: bool,
    /// What its objects are made of, by which they are merged; `None` for built-in kinds, which
    /// share a schema.
    form: Option<Arc<Form>>,
}

/// The names of a kind that is known only at run time.
pub(crate) struct CustomNames {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<Cow<'static, str>>,
    pub(crate) categories: Vec<Cow<'static, str>>,
    pub(crate) scope: Scope,
}

impl Resource {
    /// The catalog entry of a built-in kind; the builder methods add what is not the default.
    pub fn builtin<S>(singular: &'static str, strategy: S) -> Self
    where
        S: Strategy,
        S::Kind: Kind + k8s_openapi::ListableResource + schemars::JsonSchema,
        <S::Kind as k8s_openapi::Resource>::Scope: StaticScope,
    {
        use k8s_openapi::ListableResource as _;
        Self::of(singular, S::Kind::LIST_KIND.into(), Self::typed::<S::Kind>(), strategy)
    }

    /// The catalog entry of a kind whose objects are questions: they are answered when they are
    /// created, and not kept.
    pub fn review<S>(singular: &'static str, strategy: S) -> Self
    where
        S: Strategy,
        S::Kind: Kind + k8s_openapi::Resource + schemars::JsonSchema,
        <S::Kind as k8s_openapi::Resource>::Scope: StaticScope,
    {
        use k8s_openapi::Resource as _;
        let list_kind = format!("{}List", S::Kind::KIND);
        let schema = Self::typed::<S::Kind>();
        Self::of(singular, list_kind.into(), schema, strategy).verbs(Verbs::CREATE)
    }

    /// The catalog entry of a kind whose objects are made when they are read, and not kept;
    /// `schema` is of OpenAPI v3.
    pub fn computed<K>(singular: &'static str, schema: serde_json::Value) -> Self
    where
        K: Kind + k8s_openapi::ListableResource,
        <K as k8s_openapi::Resource>::Scope: StaticScope,
    {
        let schema = KindSchema::Text(schema.to_string().into());
        let strategy = Shape::<K>(PhantomData);
        Self::of(singular, K::LIST_KIND.into(), schema, strategy).verbs(Verbs::READ)
    }

    fn typed<K: schemars::JsonSchema>() -> KindSchema {
        KindSchema::Type(|generator| generator.subschema_for::<K>())
    }

    fn of<S>(
        singular: &'static str,
        list_kind: Cow<'static, str>,
        schema: KindSchema,
        strategy: S,
    ) -> Self
    where
        S: Strategy,
        S::Kind: Kind + k8s_openapi::Resource,
        <S::Kind as k8s_openapi::Resource>::Scope: StaticScope,
    {
        use k8s_openapi::Resource as _;
        let group = S::Kind::GROUP;
        let plural = S::Kind::URL_PATH_SEGMENT;
        Self {
            group: group.into(),
            version: S::Kind::VERSION.into(),
            kind: S::Kind::KIND.into(),
            list_kind,
            plural: plural.into(),
            singular: singular.into(),
            short_names: Vec::new(),
            categories: Vec::new(),
            scope: <<S::Kind as k8s_openapi::Resource>::Scope as StaticScope>::SCOPE,
            subresources: Subresources::default(),
            selectable_fields: Vec::new(),
            verbs: Verbs::ALL,
            dependents: Dependents::default(),
            schema,
            codec: Codec::of::<S::Kind>(),
            strategy: Arc::new(strategy),
            printer: None,
            name: qualified(plural, group),
            table: qualified(plural, group),
            conversion: None,
            webhook: None,
            stored: true,
            served: true,
            elsewhere: false,
            form: None,
        }
    }

    /// The catalog entry of a kind that is known only at run time; the builder methods say the
    /// rest.
    pub(crate) fn custom(names: CustomNames) -> Self {
        let name = qualified(&names.plural, &names.group);
        Self {
            group: names.group.into(),
            version: names.version.into(),
            kind: names.kind.into(),
            list_kind: names.list_kind.into(),
            plural: names.plural.into(),
            singular: names.singular.into(),
            short_names: names.short_names,
            categories: names.categories,
            scope: names.scope,
            subresources: Subresources::default(),
            selectable_fields: Vec::new(),
            verbs: Verbs::ALL,
            dependents: Dependents::default(),
            schema: KindSchema::Any,
            codec: Codec::of::<DynamicObject>(),
            strategy: Arc::new(Shape::<DynamicObject>(PhantomData)),
            printer: Some(Arc::new(printing::DefaultPrinter)),
            table: name.clone(),
            name,
            conversion: None,
            webhook: None,
            stored: true,
            served: true,
            elsewhere: false,
            form: None,
        }
    }

    /// Says that another server serves it: nothing of it is stored here.
    pub(crate) fn elsewhere(mut self) -> Self {
        self.stored = false;
        self.elsewhere = true;
        self
    }

    /// Sets its subresources.
    pub(crate) fn parts(mut self, parts: Subresources) -> Self {
        self.subresources = parts;
        self
    }

    /// Sets the fields that selectors may name.
    pub(crate) fn selected_by(mut self, fields: Vec<Cow<'static, str>>) -> Self {
        self.selectable_fields = fields;
        self
    }

    /// Sets what its objects are made of: for clients, and for merging them.
    pub(crate) fn described(mut self, schema: KindSchema, form: Arc<Form>) -> Self {
        self.schema = schema;
        self.form = Some(form);
        self
    }

    /// Sets how it is handled and shown.
    pub(crate) fn handled(
        mut self,
        strategy: Arc<dyn AnyStrategy>,
        printer: Arc<dyn Printer>,
    ) -> Self {
        self.strategy = strategy;
        self.printer = Some(printer);
        self
    }

    /// Keeps it from clients: it is only what the store holds.
    pub(crate) fn unserved(mut self) -> Self {
        self.served = false;
        self
    }

    /// Has what is stored read through a conversion, though it is stored as this version.
    pub(crate) fn read_through(mut self, conversion: impl AnyConversion) -> Self {
        self.conversion = Some(Arc::new(conversion));
        self
    }

    /// Has somebody outside convert its objects where they come out of the store in another version,
    /// and where they go there.
    pub(crate) fn converted_outside(mut self, webhook: ConversionWebhook) -> Self {
        self.webhook = Some(Arc::new(webhook));
        self
    }

    /// The catalog entry of a built-in kind that is stored as another version, or in another
    /// group: that of `strategy`, which is about what is stored. The stored one has an entry of
    /// its own, made by [`Resource::builtin`].
    pub fn converted<S, C>(singular: &'static str, strategy: S, conversion: C) -> Self
    where
        S: Strategy,
        S::Kind: k8s_openapi::ListableResource,
        C: Conversion<Stored = S::Kind>,
        C::Served: k8s_openapi::ListableResource + schemars::JsonSchema,
        <C::Served as k8s_openapi::Resource>::Scope: StaticScope,
    {
        use k8s_openapi::Resource as _;
        let table = qualified(S::Kind::URL_PATH_SEGMENT, S::Kind::GROUP);
        let shape = Self::builtin(singular, Shape::<C::Served>(PhantomData));
        Self { strategy: Arc::new(strategy), ..shape }.stored_in(table, conversion)
    }

    /// Says that its objects are stored as another version, in that version's table.
    pub fn stored_in(mut self, table: Arc<str>, conversion: impl AnyConversion) -> Self {
        self.table = table;
        self.stored = false;
        self.conversion = Some(Arc::new(conversion));
        self
    }

    /// Adds short names.
    pub fn short(mut self, names: &'static [&'static str]) -> Self {
        self.short_names = names.iter().copied().map(Cow::Borrowed).collect();
        self
    }

    /// Adds categories.
    pub fn category(mut self, names: &'static [&'static str]) -> Self {
        self.categories = names.iter().copied().map(Cow::Borrowed).collect();
        self
    }

    /// Adds the `status` subresource.
    pub fn with_status(mut self) -> Self {
        self.subresources.status = true;
        self
    }

    /// Adds the `scale` subresource.
    pub fn with_scale(mut self) -> Self {
        self.subresources.scale = ScaleTarget::Replicas;
        self
    }

    /// Sets the subresources beside `status` and `scale`.
    pub fn with(mut self, parts: &'static [Subresource]) -> Self {
        self.subresources.others = parts;
        self
    }

    /// Sets its verbs.
    pub fn verbs(mut self, verbs: Verbs) -> Self {
        self.verbs = verbs;
        self
    }

    /// Sets what becomes of what its objects own.
    pub fn dependents(mut self, dependents: Dependents) -> Self {
        self.dependents = dependents;
        self
    }

    /// Adds fields that selectors may name.
    pub fn fields(mut self, paths: &'static [&'static str]) -> Self {
        self.selectable_fields = paths.iter().copied().map(Cow::Borrowed).collect();
        self
    }

    /// What `kubectl get` shows of it.
    pub fn printer(&self) -> Arc<dyn Printer> {
        let builtin = || printing::builtin(&self.group, &self.version, &self.kind);
        self.printer.clone().unwrap_or_else(builtin)
    }

    /// `plural.group`, or the plural alone in the core group: `pods`, `deployments.apps`.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The table in which the store keeps its objects: the name of the kind as it is stored.
    pub fn table(&self) -> &Arc<str> {
        &self.table
    }

    /// Whether its objects are stored as they are served.
    pub fn is_stored(&self) -> bool {
        self.stored
    }

    /// Whether its objects are made when they are read: no table holds them.
    pub fn is_computed(&self) -> bool {
        self.verbs == Verbs::READ && !self.elsewhere
    }

    /// Whether another server serves it, to which requests are sent on.
    pub fn is_elsewhere(&self) -> bool {
        self.elsewhere
    }

    /// All by which two entries of another server's kinds may differ.
    pub(crate) fn names(&self) -> impl PartialEq + '_ {
        let Self { plural, singular, kind, short_names, categories, .. } = self;
        let Self { scope, subresources, verbs, .. } = self;
        ((plural, singular, kind, short_names), (categories, scope, subresources, verbs))
    }

    /// Whether clients see it.
    pub fn is_served(&self) -> bool {
        self.served
    }

    /// Whether it is defined at run time, by a CustomResourceDefinition.
    pub fn is_custom(&self) -> bool {
        self.form.is_some()
    }

    /// Whether it is a custom kind, or one that brings other kinds: upstream's servers for these
    /// know less of what is usual in a cluster.
    pub fn is_extension(&self) -> bool {
        self.is_custom()
            || matches!(&*self.group, "apiextensions.k8s.io" | "apiregistration.k8s.io")
    }

    /// Who converts its objects, where that is somebody outside. The other conversions are about
    /// what they have made: objects in this version.
    pub fn conversion_webhook(&self) -> Option<&Arc<ConversionWebhook>> {
        self.webhook.as_ref()
    }

    /// Whether objects may have to be made from what is stored.
    pub fn converts(&self) -> bool {
        self.conversion.is_some()
    }

    /// What its objects are made of, by which they are merged; `None` where it is not known.
    pub fn type_of(&self) -> Option<TypeRef<'_>> {
        match &self.form {
            Some(form) => form.kind_type().map(KindType::get),
            None => Schema::builtin().type_of(&self.group, &self.version, &self.kind),
        }
    }

    /// As [`Resource::type_of`], to keep.
    pub fn kind_type(&self) -> Option<KindType> {
        if let Some(form) = &self.form {
            return form.kind_type().cloned();
        }
        let builtin = Schema::builtin();
        Some(builtin.type_of(&self.group, &self.version, &self.kind)?.into())
    }

    /// What a client has sent, as it is stored.
    ///
    /// # Errors
    /// `BadRequest` when the stored version cannot say it.
    pub fn to_stored(&self, draft: Draft) -> Result<Draft> {
        match &self.conversion {
            None => Ok(draft),
            Some(conversion) => conversion.to_stored(draft),
        }
    }

    /// What is stored, as a client of this version sees it.
    ///
    /// # Errors
    /// `InternalError` when this version cannot show it.
    pub fn to_served(&self, object: Object) -> Result<Object> {
        match &self.conversion {
            None => Ok(object),
            Some(conversion) => conversion.to_served(&object),
        }
    }

    /// As [`Resource::to_served`], for what is about to be stored.
    ///
    /// # Errors
    /// As there.
    pub fn draft_to_served<'a>(&self, draft: &'a Draft) -> Result<Cow<'a, Draft>> {
        match &self.conversion {
            None => Ok(Cow::Borrowed(draft)),
            Some(conversion) => conversion.draft_to_served(draft).map(Cow::Owned),
        }
    }

    /// The value of a selectable field of an object as it is stored.
    pub fn field<'a>(&self, object: &'a Object, path: &str) -> Option<Cow<'a, str>> {
        let conversion = self.conversion.as_ref();
        let path = conversion.map_or(path, |conversion| conversion.stored_field(path));
        self.strategy.field(object, path)
    }

    /// `apiVersion`.
    pub fn api_version(&self) -> Cow<'_, str> {
        if self.group.is_empty() {
            Cow::Borrowed(&self.version)
        } else {
            Cow::Owned(format!("{}/{}", self.group, self.version))
        }
    }

    /// `Kind.group`, or the kind alone in the core group, as error messages name it.
    pub fn qualified_kind(&self) -> Cow<'_, str> {
        if self.group.is_empty() {
            Cow::Borrowed(&self.kind)
        } else {
            Cow::Owned(format!("{}.{}", self.kind, self.group))
        }
    }

    /// Whether its objects live in namespaces.
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resource({}/{})", self.name, self.version)
    }
}

/// Stands in for the strategy of a version that has none of its own.
struct Shape<K>(PhantomData<fn() -> K>);

impl<K: Kind> Strategy for Shape<K> {
    type Kind = K;
}

/// The scopes of `k8s-openapi`, as a value.
pub trait StaticScope {
    /// Which.
    const SCOPE: Scope;
}

impl StaticScope for k8s_openapi::NamespaceResourceScope {
    const SCOPE: Scope = Scope::Namespaced;
}

impl StaticScope for k8s_openapi::ClusterResourceScope {
    const SCOPE: Scope = Scope::Cluster;
}

fn qualified(plural: &str, group: &str) -> Arc<str> {
    if group.is_empty() { plural.into() } else { format!("{plural}.{group}").into() }
}
