use std::fmt;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    ListMeta, Status, StatusCause, StatusDetails,
};

use crate::Resource;
use crate::field::ErrorList;

/// A result whose error is a Kubernetes `Status`.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

/// An error as the Kubernetes API gives it: reason, code, message and details.
///
/// See <https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>.
#[derive(Clone, PartialEq)]
pub struct ApiError(Box<Inner>);

#[derive(Clone, PartialEq)]
struct Inner {
    reason: Reason,
    message: String,
    details: Option<StatusDetails>,
    /// Where a list may go on all the same.
    continue_token: Option<String>,
    /// The status code, where it is not that of the reason: who else may refuse a request is free
    /// to choose one.
    code: Option<u16>,
}

impl Inner {
    fn new(reason: Reason, message: String, details: Option<StatusDetails>) -> Self {
        Self { reason, message, details, continue_token: None, code: None }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// Why a request failed, as `status.reason` names it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason { $($(#[$doc])* $name,)* }

        impl Reason {
            /// The HTTP status code that goes with it.
            pub fn code(self) -> u16 {
                match self { $(Self::$name => $code,)* }
            }
            /// Its name.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
            /// The reason of a name, `None` if there is none of that name.
            pub fn parse(name: &str) -> Option<Self> {
                match name { $(stringify!($name) => Some(Self::$name),)* _ => None }
            }
        }
    };
}

reasons! {
    /// The request is not well-formed.
    BadRequest = 400,
    /// The caller is not known.
    Unauthorized = 401,
    /// The caller may not do this.
    Forbidden = 403,
    /// There is no such object or kind.
    NotFound = 404,
    /// The verb does not exist for this resource.
    MethodNotAllowed = 405,
    /// No acceptable encoding.
    NotAcceptable = 406,
    /// An object of that name exists.
    AlreadyExists = 409,
    /// The object is not as the caller believes it to be.
    Conflict = 409,
    /// The object was there and will not come back.
    Gone = 410,
    /// The resource version or continue token is too old.
    Expired = 410,
    /// The body is too large.
    RequestEntityTooLarge = 413,
    /// The body's encoding is not understood.
    UnsupportedMediaType = 415,
    /// The object does not pass validation.
    Invalid = 422,
    /// Too much at once.
    TooManyRequests = 429,
    /// Something is broken.
    InternalError = 500,
    /// It did not answer now; later it may.
    ServiceUnavailable = 503,
    /// It took too long and may have happened.
    Timeout = 504,
    /// It could not be finished in time; try again.
    ServerTimeout = 500,
}

impl ApiError {
    /// An error of a reason with a message.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Inner::new(reason, message.into(), None)))
    }

    fn about(reason: Reason, message: String, resource: &Resource, name: &str) -> Self {
        let details = StatusDetails {
            group: (!resource.group.is_empty()).then(|| resource.group.to_string()),
            kind: Some(resource.plural.to_string()),
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            ..Default::default()
        };
        Self(Box::new(Inner::new(reason, message, Some(details))))
    }

    /// There is no object of that name.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} not found", resource.name());
        Self::about(Reason::NotFound, message, resource, name)
    }

    /// An object of that name exists.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", resource.name());
        Self::about(Reason::AlreadyExists, message, resource, name)
    }

    /// The object has changed since the caller read it, or is not what the caller expects.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        let message =
            format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.name());
        Self::about(Reason::Conflict, message, resource, name)
    }

    /// The object was changed by somebody else in between.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version \
                   and try again";
        Self::conflict(resource, name, why)
    }

    /// The caller may not do this.
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", resource.name());
        Self::about(Reason::Forbidden, message, resource, name)
    }

    /// The same, with one cause more: a reason of its own, what it is about, and what is said of it.
    pub fn caused(mut self, reason: &str, field: &str, message: &str) -> Self {
        let details = self.0.details.get_or_insert_default();
        details.causes.get_or_insert_default().push(StatusCause {
            reason: Some(reason.to_owned()),
            field: Some(field.to_owned()),
            message: Some(message.to_owned()),
        });
        self
    }

    /// A policy refuses this for a reason of its own.
    pub fn refused(resource: &Resource, name: &str, reason: Reason, why: &str) -> Self {
        let message = format!("{} {name:?} is forbidden: {why}", resource.name());
        let details = StatusDetails {
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
            group: Some(resource.group.to_string()).filter(|group| !group.is_empty()),
            kind: Some(resource.plural.to_string()),
            causes: Some(vec![StatusCause {
                message: Some(why.to_owned()),
                ..StatusCause::default()
            }]),
            ..StatusDetails::default()
        };
        Self(Box::new(Inner::new(reason, message, Some(details))))
    }

    /// The object does not pass validation.
    pub fn invalid(resource: &Resource, name: &str, errors: &ErrorList) -> Self {
        Self::invalid_kind(&resource.group, &resource.kind, name, errors)
    }

    /// As [`ApiError::invalid`], for kinds that are only parts of others.
    pub fn invalid_kind(group: &str, kind: &str, name: &str, errors: &ErrorList) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for error in errors.iter().map(ToString::to_string) {
            if !texts.contains(&error) {
                texts.push(error);
            }
        }
        let list = match &texts[..] {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
        let message = format!("{qualified} {name:?} is invalid: {list}");
        let causes = errors.iter().map(|error| StatusCause {
            field: Some(error.field.clone()),
            message: Some(error.body.clone()),
            reason: Some(error.kind.reason().to_owned()),
        });
        let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let details = StatusDetails {
            group: text(group),
            kind: text(kind),
            name: text(name),
            causes: Some(causes.collect()),
            ..Default::default()
        };
        Self(Box::new(Inner::new(Reason::Invalid, message, Some(details))))
    }

    /// The verb does not exist for this resource.
    pub fn method_not_supported(resource: &Resource, verb: &str) -> Self {
        let message = format!("{verb} is not supported on resources of kind {:?}", resource.name());
        Self::about(Reason::MethodNotAllowed, message, resource, "")
    }

    /// There is no such kind, or none any more.
    pub fn no_such_resource() -> Self {
        Self::new(Reason::NotFound, "the server could not find the requested resource")
    }

    /// The request is not well-formed.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, message)
    }

    /// Something is broken.
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::new(Reason::InternalError, format!("Internal error occurred: {message}"))
    }

    /// The asked-for revision is no longer there.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(Reason::Expired, message)
    }

    /// The version that a list began with is no longer there. `token` goes on where it was, with
    /// what is there now.
    pub fn expired_list(token: String) -> Self {
        let mut error = Self::expired(
            "The provided continue parameter is too old to display a consistent list result. You \
             can start a new list without the continue parameter, or use the continue token in \
             this response to retrieve the remainder of the results. Continuing with the provided \
             token results in an inconsistent list - objects that were created, modified, or \
             deleted between the time the first chunk was returned and now may show up in the \
             list.",
        );
        error.0.continue_token = Some(token);
        error
    }

    /// The name that was made for an object is taken, and so were those tried before it.
    pub fn no_free_name(resource: &Resource, name: &str) -> Self {
        let message = format!(
            "{} {name:?} already exists, the server was not able to generate a unique name for \
             the object",
            resource.name()
        );
        let mut error = Self::about(Reason::AlreadyExists, message, resource, name);
        if let Some(details) = &mut error.0.details {
            details.retry_after_seconds = Some(1);
        }
        error
    }

    /// It cannot be done now; the caller should wait this long.
    pub fn too_many_requests(message: impl Into<String>, retry_after: Duration) -> Self {
        let mut error = Self::new(Reason::TooManyRequests, message);
        let seconds = i32::try_from(retry_after.as_secs().max(1)).unwrap_or(i32::MAX);
        error.0.details =
            Some(StatusDetails { retry_after_seconds: Some(seconds), ..Default::default() });
        error
    }

    /// What serde says of a document that does not fit.
    pub fn decode(error: &serde_json::Error) -> Self {
        Self::bad_request(format!("the object does not fit its kind: {error}"))
    }

    /// What serde says of a value that has no text form.
    pub fn encode(error: &serde_json::Error) -> Self {
        Self::internal(format!("encoding: {error}"))
    }

    /// The error that a `Status` object tells of.
    pub fn from_status(status: Status) -> Self {
        let code = status.code.unwrap_or(500);
        let reason = status.reason.as_deref().and_then(Reason::parse).unwrap_or(match code {
            400 => Reason::BadRequest,
            401 => Reason::Unauthorized,
            403 => Reason::Forbidden,
            404 => Reason::NotFound,
            405 => Reason::MethodNotAllowed,
            409 => Reason::Conflict,
            410 => Reason::Gone,
            422 => Reason::Invalid,
            429 => Reason::TooManyRequests,
            503 => Reason::ServiceUnavailable,
            504 => Reason::Timeout,
            _ => Reason::InternalError,
        });
        let message = status.message.unwrap_or_default();
        let mut inner = Inner::new(reason, message, status.details);
        inner.continue_token = status.metadata.continue_;
        let code = u16::try_from(code).ok().filter(|code| (400..600).contains(code));
        inner.code = code.filter(|code| *code != reason.code());
        Self(Box::new(inner))
    }

    /// The error as a `Status` object.
    pub fn to_status(&self) -> Status {
        Status {
            code: Some(self.code().into()),
            details: self.0.details.clone(),
            message: Some(self.0.message.clone()),
            metadata: ListMeta { continue_: self.0.continue_token.clone(), ..ListMeta::default() },
            reason: Some(self.reason().as_str().to_owned()),
            status: Some("Failure".to_owned()),
        }
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.0.reason
    }

    /// The HTTP status code.
    pub fn code(&self) -> u16 {
        self.0.code.unwrap_or_else(|| self.0.reason.code())
    }

    /// The message for people.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Which object, with causes; `None` when it is about none.
    pub fn details(&self) -> Option<&StatusDetails> {
        self.0.details.as_ref()
    }

    /// Whether the same request may succeed later without being changed.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.reason(),
            Reason::TooManyRequests
                | Reason::ServiceUnavailable
                | Reason::ServerTimeout
                | Reason::Timeout
        )
    }

    /// Whether there is no such object.
    pub fn is_not_found(&self) -> bool {
        self.reason() == Reason::NotFound
    }

    /// Whether an object of that name exists.
    pub fn is_already_exists(&self) -> bool {
        self.reason() == Reason::AlreadyExists
    }

    /// Whether the object has changed since it was read.
    pub fn is_conflict(&self) -> bool {
        self.reason() == Reason::Conflict
    }

    /// Whether a revision is too old.
    pub fn is_expired(&self) -> bool {
        matches!(self.reason(), Reason::Expired | Reason::Gone)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({}): {}", self.reason().as_str(), self.code(), self.0.message)
    }
}

impl std::error::Error for ApiError {}
