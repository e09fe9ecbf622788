use k8s_openapi::api::authentication::v1::{
    BoundObjectReference, TokenRequest, TokenRequestSpec, TokenRequestStatus,
};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use pinnace_api::field::{ErrorList, Path};
use pinnace_api::{ApiError, Draft, Key, Object, Resource, Result};
use pinnace_client::{Subresource, Target, WriteOptions};
use pinnace_store::Snapshot;

use super::claims::{Claims, Kubernetes, Reference};
use super::{ACCOUNT_PREFIX, ISSUER};
use crate::write::Write;
use crate::{Operation, Server, User};

/// Seconds that a token lasts: the least, the most, and what is not asked otherwise.
const MIN_SECONDS: i64 = 10 * 60;
const MAX_SECONDS: i64 = 1 << 32;
const DEFAULT_SECONDS: i64 = 60 * 60;
/// A pod's token that asks for so many seconds is one that was mounted unasked. It lasts a year,
/// for programs that read it only once, and says when it should have been read again.
const MOUNTED_SECONDS: i64 = 60 * 60 + 7;
const EXTENDED_SECONDS: i64 = 365 * 24 * 60 * 60;

impl Server {
    /// Gives a token of a service account to somebody who may have one.
    ///
    /// # Errors
    /// `Forbidden`; `NotFound` when the account or what the token is to be bound to is not there;
    /// `Invalid`, `BadRequest` and `Conflict` for what cannot be asked.
    pub(crate) async fn create_token(
        &self,
        user: &User,
        target: &Target,
        mut draft: Draft,
        options: &WriteOptions,
    ) -> Result<Object> {
        let resource = &*target.resource;
        let (namespace, name) = (target.key.namespace(), target.key.name());
        let part = Some(Subresource::Token);
        Self::check_part(resource, name, part, "create")?;
        self.authorize(user, "create", resource, part, namespace, name)?;
        Self::check_namespace(&mut draft, resource, namespace)?;
        let write = Write::to(user, Operation::Create, target, None, options);
        self.admit_part(&write, &mut draft)?;
        self.mutate(&write, Some(&mut draft), |draft| self.admit_part(&write, draft)).await?;
        self.review_final(&write, Some(&mut draft)).await?;
        let request = draft.get_mut::<TokenRequest>().ok_or_else(|| {
            ApiError::bad_request("the body of a token request must be a TokenRequest")
        })?;
        check_name(&mut request.metadata, name)?;
        let spec = request.spec.get_or_insert_default();
        let seconds = *spec.expiration_seconds.get_or_insert(DEFAULT_SECONDS);
        validate(seconds)?;
        if spec.audiences.as_ref().is_none_or(Vec::is_empty) {
            spec.audiences = Some(vec![ISSUER.to_owned()]);
        }
        let snapshot = self.snapshot();
        let account = snapshot.get(resource.table(), &target.key);
        let account = account.ok_or_else(|| ApiError::not_found(resource, name))?;
        account.get::<ServiceAccount>()?;
        let mut claims = self.token_claims(account, spec, seconds);
        if let Some(bound) = &spec.bound_object_ref {
            self.bind_token(&mut claims.kubernetes, account, bound, &snapshot)?;
        }
        let own = claims.aud.iter().any(|audience| audience == ISSUER);
        if claims.kubernetes.pod.is_some() && seconds == MOUNTED_SECONDS && own {
            claims.kubernetes.warnafter = Some(claims.iat + seconds);
            claims.exp = claims.iat + EXTENDED_SECONDS;
        }
        let ends = jiff::Timestamp::from_second(claims.iat + seconds);
        request.metadata.creation_timestamp = Some(Time(self.env().clock().now_seconds()));
        request.status = Some(TokenRequestStatus {
            token: Some(self.signing_key()?.sign(&claims)?),
            expiration_timestamp: Some(Time(ends.map_err(ApiError::internal)?)),
        });
        Ok(draft.freeze())
    }

    fn token_claims(&self, account: &Object, spec: &TokenRequestSpec, seconds: i64) -> Claims {
        let now = self.env().now().as_second();
        let (namespace, name) = (account.namespace(), account.name());
        Claims {
            aud: spec.audiences.clone().unwrap_or_default(),
            exp: now + seconds,
            iat: now,
            iss: ISSUER.to_owned(),
            jti: self.env().random().uid(),
            kubernetes: Kubernetes {
                namespace: namespace.to_owned(),
                serviceaccount: reference(account),
                ..Default::default()
            },
            nbf: now,
            sub: format!("{ACCOUNT_PREFIX}{namespace}:{name}"),
        }
    }

    /// Notes in the claims of an account's token what it is bound to.
    fn bind_token(
        &self,
        claims: &mut Kubernetes,
        account: &Object,
        bound: &BoundObjectReference,
        snapshot: &Snapshot,
    ) -> Result<()> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (api_version, kind) = (text(&bound.api_version), text(&bound.kind));
        let table = match (&*api_version, &*kind) {
            ("v1", "Pod") => "pods",
            ("v1", "Secret") => "secrets",
            ("v1", "Node") => "nodes",
            _ => {
                let why = format!("cannot bind token to object of type {api_version}, Kind={kind}");
                return Err(ApiError::bad_request(why));
            }
        };
        let resource = self.catalog().by_name(table);
        let resource =
            resource.ok_or_else(|| ApiError::internal(format!("{table} are not served")))?;
        let found = find(&resource, account.namespace(), &text(&bound.name), snapshot)?;
        let (asked, uid) = (text(&bound.uid), found.uid());
        if !asked.is_empty() && asked != uid {
            let why = format!(
                "the UID in the bound object reference ({asked}) does not match the UID in record. \
                 The object might have been deleted and then recreated"
            );
            return Err(ApiError::conflict(&resource, found.name(), &why));
        }
        match table {
            "pods" => {
                claims.node = node_of(found, account.name(), snapshot)?;
                claims.pod = Some(reference(found));
            }
            "secrets" => claims.secret = Some(reference(found)),
            _ => claims.node = Some(reference(found)),
        }
        Ok(())
    }
}

fn check_name(metadata: &mut ObjectMeta, name: &str) -> Result<()> {
    match metadata.name.as_deref() {
        None | Some("") => metadata.name = Some(name.to_owned()),
        Some(given) if given != name => {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        Some(_) => {}
    }
    Ok(())
}

fn validate(seconds: i64) -> Result<()> {
    let mut errors = ErrorList::default();
    let at = Path::root("spec");
    let at = at.child("expirationSeconds");
    if seconds < MIN_SECONDS {
        errors.invalid(&at, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > MAX_SECONDS {
        errors.invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid_kind("authentication.k8s.io", "TokenRequest", "", &errors))
}

fn find<'s>(
    resource: &Resource,
    namespace: &str,
    name: &str,
    snapshot: &'s Snapshot,
) -> Result<&'s Object> {
    let key = if resource.is_namespaced() { Key::new(namespace, name) } else { Key::cluster(name) };
    let found = snapshot.get(resource.table(), &key);
    found.ok_or_else(|| ApiError::not_found(resource, name))
}

/// The node of a pod that runs as an account; without a uid where it is not there any more.
fn node_of(pod: &Object, account: &str, snapshot: &Snapshot) -> Result<Option<Reference>> {
    let spec = pod.get::<Pod>()?.spec.as_ref();
    let runs_as = spec.and_then(|spec| spec.service_account_name.as_deref());
    if runs_as != Some(account) {
        return Err(ApiError::bad_request(format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different \
             serviceaccount name."
        )));
    }
    let node = spec.and_then(|spec| spec.node_name.as_deref()).filter(|node| !node.is_empty());
    Ok(node.map(|node| match snapshot.get("nodes", &Key::cluster(node)) {
        Some(found) => reference(found),
        None => Reference { name: node.to_owned(), uid: String::new() },
    }))
}

fn reference(object: &Object) -> Reference {
    Reference { name: object.name().to_owned(), uid: object.uid().to_owned() }
}
