use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::field::{ErrorList, Path};
use pinnace_api::{ApiError, Draft, Key, Object, Result, Typed};
use pinnace_client::{Subresource, Target, WriteOptions};

use crate::{Server, User};

/// Seconds that a token is good for when nobody says, and the fewest and most that may be asked.
const DEFAULT_SECONDS: i64 = 60 * 60;
const MIN_SECONDS: i64 = 10 * 60;
const MAX_SECONDS: i64 = 1 << 32;

/// A request for a token that has been checked.
#[derive(Clone, Debug)]
pub struct TokenOrder {
    /// Whose token.
    pub account: Typed<ServiceAccount>,
    /// What was asked for, with a life that is set and allowed.
    pub request: TokenRequest,
    /// The object that the token dies with, if it is bound to one.
    pub bound: Option<Object>,
}

/// Makes tokens of service accounts.
#[async_trait]
pub trait TokenIssuer: Send + Sync + 'static {
    /// Makes a token: gives the request back with its status.
    ///
    /// # Errors
    /// What the caller is told.
    async fn issue(&self, order: TokenOrder) -> Result<TokenRequest>;
}

impl Server {
    pub(crate) async fn token(
        &self,
        user: &User,
        target: Target,
        draft: Draft,
        options: WriteOptions,
    ) -> Result<Object> {
        let resource = &*target.resource;
        let (namespace, name) = (target.key.namespace(), target.key.name());
        let part = Some(Subresource::Token);
        self.authorize(user, "create", resource, part, namespace, name)?;
        Self::check_part(resource, name, part)?;
        let issuer = self
            .token_issuer()
            .ok_or_else(|| ApiError::method_not_supported(resource, "create"))?;
        let mut request = draft
            .get::<TokenRequest>()
            .ok_or_else(|| {
                ApiError::bad_request("the body must be an authentication.k8s.io/v1 TokenRequest")
            })?
            .clone();
        let snapshot = self.snapshot();
        let account = snapshot
            .get(resource.name(), &target.key)
            .ok_or_else(|| ApiError::not_found(resource, name))?
            .typed::<ServiceAccount>()?;
        drop(snapshot);
        check_names(&request.metadata, &target.key)?;
        let wanted = request.spec.get_or_insert_default();
        let seconds = *wanted.expiration_seconds.get_or_insert(DEFAULT_SECONDS);
        let mut errors = ErrorList::default();
        let spec = Path::root("spec");
        let at = spec.child("expirationSeconds");
        if seconds < MIN_SECONDS {
            errors.invalid(&at, seconds, "may not specify a duration less than 10 minutes");
        }
        if seconds > MAX_SECONDS {
            errors.invalid(&at, seconds, "may not specify a duration larger than 2^32 seconds");
        }
        if !errors.is_empty() {
            return Err(ApiError::invalid(resource, name, &errors));
        }
        let bound = wanted.bound_object_ref.as_ref();
        let bound = bound.map(|wanted| self.bound(wanted, &target.key)).transpose()?;
        request.metadata = ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(namespace.to_owned()),
            creation_timestamp: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                self.env().clock().now_seconds(),
            )),
            ..ObjectMeta::default()
        };
        request.status = None;
        if options.dry_run {
            return Ok(Object::new(request));
        }
        let issued = issuer.issue(TokenOrder { account, request, bound }).await?;
        Ok(Object::new(issued))
    }

    /// The object that a token is to be bound to.
    fn bound(&self, wanted: &BoundObjectReference, account: &Key) -> Result<Object> {
        let name = wanted.name.as_deref().unwrap_or_default();
        let kind = wanted.kind.as_deref().unwrap_or_default();
        let version = wanted.api_version.as_deref().unwrap_or_default();
        let (table, key) = match (version, kind) {
            ("v1", "Pod") => ("pods", Key::new(account.namespace(), name)),
            ("v1", "Secret") => ("secrets", Key::new(account.namespace(), name)),
            ("v1", "Node") => ("nodes", Key::cluster(name)),
            _ => {
                return Err(ApiError::bad_request(format!(
                    "cannot bind token to object of type {version}, Kind={kind}"
                )));
            }
        };
        let resource = self.catalog().resolve(table)?;
        let snapshot = self.snapshot();
        let object = snapshot
            .get(resource.name(), &key)
            .ok_or_else(|| ApiError::not_found(&resource, name))?
            .clone();
        if let Some(uid) = wanted.uid.as_deref().filter(|uid| !uid.is_empty())
            && uid != object.uid()
        {
            let why = format!(
                "the UID in the bound object reference ({uid}) does not match the UID in record. \
                 The object might have been deleted and then recreated"
            );
            return Err(ApiError::conflict(&resource, name, &why));
        }
        if let Ok(pod) = object.get::<Pod>() {
            let spec = pod.spec.as_ref();
            let runs_as = spec.and_then(|spec| spec.service_account_name.as_deref());
            if runs_as.unwrap_or_default() != account.name() {
                return Err(ApiError::bad_request(format!(
                    "cannot bind token for serviceaccount {:?} to pod running with different \
                     serviceaccount name.",
                    account.name()
                )));
            }
        }
        Ok(object)
    }
}

fn check_names(meta: &ObjectMeta, account: &Key) -> Result<()> {
    let pairs = [
        ("name", meta.name.as_deref(), account.name()),
        ("namespace", meta.namespace.as_deref(), account.namespace()),
    ];
    for (what, given, wanted) in pairs {
        if given.is_some_and(|given| !given.is_empty() && given != wanted) {
            return Err(ApiError::bad_request(format!(
                "must specify no {what}, or the {what} of the service account"
            )));
        }
    }
    Ok(())
}
