use http::{Response, StatusCode};
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::autoscaling::v1::Scale;
use k8s_openapi::api::core::v1::Binding;
use k8s_openapi::api::policy::v1::Eviction;
use pinnace_api::patch::Patch;
use pinnace_api::schema::{KindType, Schema, TypeRef};
use pinnace_api::{ApiError, Codec, Draft, Object, Result, Subresource};
use pinnace_client::{DeleteOptions, FieldValidation, Target, Transport as _, WriteOptions};
use serde_json::{Value, json};

use super::Call;
use crate::encoding::{self, Accepted};
use crate::request::content::{self, Document, PatchType};
use crate::request::options;
use crate::{Body, RequestBody};

/// What a body must be.
pub(super) struct Expected {
    group: String,
    version: String,
    /// An API version that is read as this one, though no longer served.
    older: Option<&'static str>,
    pub(super) kind: String,
    codec: &'static Codec,
    ty: Option<KindType>,
}

/// What clients of before 1.22 evict with, kubectl's drain among them. Upstream still takes it.
const OLDER_EVICTION: &str = "policy/v1beta1";

impl Expected {
    fn of<K>() -> Self
    where
        K: pinnace_api::Kind + k8s_openapi::Resource,
    {
        Self {
            group: K::GROUP.to_owned(),
            version: K::VERSION.to_owned(),
            older: None,
            kind: K::KIND.to_owned(),
            codec: Codec::of::<K>(),
            ty: Schema::builtin().type_of(K::GROUP, K::VERSION, K::KIND).map(KindType::from),
        }
    }

    pub(super) fn api_version(&self) -> String {
        let Self { group, version, .. } = self;
        if group.is_empty() { version.clone() } else { format!("{group}/{version}") }
    }

    fn schema(&self) -> Option<TypeRef<'_>> {
        self.ty.as_ref().map(KindType::get)
    }

    /// Fills in what the path says already, or checks that the body says the same.
    fn check(&self, document: &mut Value) -> Result<()> {
        let Value::Object(fields) = document else {
            let kind = &self.kind;
            let message = format!("the object provided is unrecognized (must be of type {kind})");
            return Err(ApiError::bad_request(message));
        };
        let wanted = self.api_version();
        for (name, wanted) in [("kind", &self.kind), ("apiVersion", &wanted)] {
            let given = fields.get(name).and_then(Value::as_str).unwrap_or_default();
            let older = name == "apiVersion" && self.older.is_some_and(|older| older == given);
            if given.is_empty() || older {
                fields.insert(name.to_owned(), wanted.as_str().into());
            }
        }
        let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
        let (kind, api_version) = (text("kind"), text("apiVersion"));
        if api_version != wanted {
            return Err(ApiError::bad_request(format!(
                "the API version in the data ({api_version}) does not match the expected API \
                 version ({wanted})"
            )));
        }
        if kind != self.kind {
            let version = &self.version;
            let wanted = &self.kind;
            return Err(ApiError::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {wanted}: converting \
                 ({version}.{kind}) to ({version}.{wanted}): unknown conversion"
            )));
        }
        Ok(())
    }

    fn decode(&self, document: Value) -> Result<Draft> {
        Draft::from_value(self.codec, document).map_err(|error| {
            let Self { kind, version, .. } = self;
            let why = error.message();
            let why = why.strip_prefix("the object does not fit its kind: ").unwrap_or(why);
            ApiError::bad_request(format!(
                "{kind} in version {version:?} cannot be handled as a {kind}: {why}"
            ))
        })
    }
}

impl Call<'_> {
    fn write_options(&self, kind: &str, apply: bool) -> Result<WriteOptions> {
        let mut options = options::write_options(self.query, self.headers, kind, apply)?;
        options.warnings = self.warnings.clone();
        Ok(options)
    }

    pub(super) fn expected(&self, part: Option<Subresource>) -> Expected {
        match part {
            Some(Subresource::Scale) => Expected::of::<Scale>(),
            Some(Subresource::Binding) => Expected::of::<Binding>(),
            Some(Subresource::Eviction) => {
                Expected { older: Some(OLDER_EVICTION), ..Expected::of::<Eviction>() }
            }
            Some(Subresource::Token) => Expected::of::<TokenRequest>(),
            _ => Expected {
                group: self.resource.group.to_string(),
                version: self.resource.version.to_string(),
                older: None,
                kind: self.resource.kind.to_string(),
                codec: self.resource.codec,
                ty: self.resource.kind_type(),
            },
        }
    }

    async fn draft(
        &self,
        body: RequestBody,
        part: Option<Subresource>,
        options: &WriteOptions,
    ) -> Result<Draft> {
        let format = content::format(self.headers)?;
        let body = content::read_body(self.headers, body).await?;
        let expected = self.expected(part);
        let schema = expected.schema();
        let asked = schema.filter(|_| options.field_validation != FieldValidation::Ignore);
        let mut document =
            Document::read(format, &body, (&expected.api_version(), &expected.kind), asked)?;
        expected.check(&mut document.value)?;
        document.check_fields(schema, options)?;
        expected.decode(document.value)
    }

    pub(super) async fn create(&self, body: RequestBody) -> Result<Response<Body>> {
        let accepted = self.accepted()?;
        let options = self.write_options("CreateOptions", false)?;
        let target = self.target()?;
        let part = target.subresource;
        let draft = self.draft(body, part, &options).await?;
        let object = self.api.create(target, draft, options).await?;
        let binds = self.resource.kind == "Binding" && self.resource.group.is_empty();
        match part {
            Some(Subresource::Binding | Subresource::Eviction) => {
                encoding::status(StatusCode::CREATED, Value::Null, accepted)
            }
            None if binds => encoding::status(StatusCode::CREATED, Value::Null, accepted),
            _ => self.view(accepted).object(StatusCode::CREATED, &object),
        }
    }

    pub(super) async fn update(&self, body: RequestBody) -> Result<Response<Body>> {
        let accepted = self.accepted()?;
        let options = self.write_options("UpdateOptions", false)?;
        let target = self.target()?;
        let draft = self.draft(body, target.subresource, &options).await?;
        check_name(&draft, target.key.name())?;
        let before = self.exists(&target);
        let object = self.api.update(target, draft, options).await?;
        self.view(accepted).object(written(before), &object)
    }

    pub(super) async fn patch(&self, body: RequestBody) -> Result<Response<Body>> {
        let accepted = self.accepted()?;
        let target = self.target()?;
        let schema = self.schema();
        let patch_type = PatchType::of(self.headers, schema.is_some())?;
        let mut options = self.write_options("PatchOptions", patch_type == PatchType::Apply)?;
        let body = content::read_body(self.headers, body).await?;
        let expected = self.expected(target.subresource);
        let mut patch = patch_type.read(&body, &mut options)?;
        if let Patch::Apply(applied) = &mut patch {
            expected.check(applied)?;
        }
        let before = self.exists(&target);
        let object = self.api.patch(target, patch, options).await?;
        self.view(accepted).object(written(before), &object)
    }

    /// Whether the object is there; `true` for parts, which are never made by writing them.
    fn exists(&self, target: &Target) -> bool {
        target.subresource.is_some() || self.current(target).is_some()
    }

    fn current(&self, target: &Target) -> Option<Object> {
        self.server.store().snapshot().get(target.resource.table(), &target.key).cloned()
    }

    async fn delete_options(&self, body: RequestBody) -> Result<(DeleteOptions, bool)> {
        let format = content::format(self.headers)?;
        let body = content::read_body(self.headers, body).await?;
        let document = if body.iter().all(u8::is_ascii_whitespace) {
            None
        } else {
            Some(Document::read(format, &body, ("v1", "DeleteOptions"), None)?.value)
        };
        let (mut options, cascades) = options::delete_options(self.query, document)?;
        options.warnings = self.warnings.clone();
        Ok((options, cascades))
    }

    pub(super) async fn delete(&self, body: RequestBody) -> Result<Response<Body>> {
        let accepted = self.accepted()?;
        let target = self.target()?;
        let (options, cascades) = self.delete_options(body).await?;
        let dry_run = options.dry_run;
        let object = self.api.delete(target.clone(), options).await?;
        let gone = if dry_run {
            !object.is_deleting()
        } else {
            self.current(&target).is_none_or(|now| now.uid() != object.uid())
        };
        if gone && !gives_last_state(&target) {
            return self.deleted(&object, accepted);
        }
        let later = cascades && !gone;
        let status = if later { StatusCode::ACCEPTED } else { StatusCode::OK };
        self.view(accepted).object(status, &object)
    }

    /// What is said of an object that is gone.
    fn deleted(&self, object: &Object, accepted: Accepted) -> Result<Response<Body>> {
        let mut details = json!({
            "name": object.name(), "kind": self.resource.plural, "uid": object.uid(),
        });
        if !self.resource.group.is_empty() {
            details["group"] = (&*self.resource.group).into();
        }
        encoding::status(
            StatusCode::OK,
            details,
            Accepted { shape: encoding::Shape::Whole, ..accepted },
        )
    }

    pub(super) async fn delete_collection(&self, body: RequestBody) -> Result<Response<Body>> {
        let accepted = self.accepted()?;
        let selection = options::list_options(self.query, false)?;
        let (options, _) = self.delete_options(body).await?;
        let resource = self.resource.clone();
        let list = self.api.delete_collection(resource, self.scope(), selection, options).await?;
        self.view(accepted).list(&self.resource, list)
    }
}

/// Checks that a body has the name of the path.
fn check_name(draft: &Draft, wanted: &str) -> Result<()> {
    match draft.meta().name.as_deref().unwrap_or_default() {
        name if name == wanted => Ok(()),
        "" => Err(ApiError::bad_request(format!(
            "the name of the object ({wanted} based on URL) was undeterminable: name must be \
             provided"
        ))),
        name => Err(ApiError::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({wanted})"
        ))),
    }
}

fn written(existed: bool) -> StatusCode {
    if existed { StatusCode::OK } else { StatusCode::CREATED }
}

/// The kinds of which a deletion gives the last state, where others give a `Status`.
fn gives_last_state(target: &Target) -> bool {
    target.resource.group.is_empty()
        && matches!(
            &*target.resource.plural,
            "pods"
                | "podtemplates"
                | "services"
                | "serviceaccounts"
                | "persistentvolumes"
                | "persistentvolumeclaims"
                | "resourcequotas"
        )
}
