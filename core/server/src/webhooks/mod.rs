//! Admission by webhooks: servers outside the process that change what is written, and refuse it.
//!
//! Which there are is known before each write from the store itself, so a configuration counts from
//! when it is written. Configurations are not subject to webhooks, nor are policies: a webhook that
//! refuses everything could not be removed.

mod answer;
mod call;
mod hook;
mod index;
mod mutate;
mod validate;

use std::sync::Arc;

pub(crate) use call::{is_exempt, request};
use hook::Hook;
pub(crate) use index::Webhooks;
use pinnace_api::{ApiError, Draft, Object, Resource, Result};
use serde_json::Value;

use crate::Server;
use crate::figures::{Ending, Phase};
use crate::write::Write;

/// The group whose kinds no webhook sees.
const EXEMPT_GROUP: &str = "admissionregistration.k8s.io";

/// Webhooks of one sort in the order in which they are asked.
type Hooks = Arc<[Hook]>;

/// Why a webhook's answer is not had, or not followed.
enum Failure {
    /// It cannot be asked, or answers what is none: its policy says what then.
    Calling(String),
    /// It says no.
    Refused(ApiError),
    /// It cannot be asked this, or what it wants cannot be done.
    Broken(ApiError),
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Broken(error)
    }
}

impl Failure {
    /// How a request has ended with it.
    fn ending(&self, hook: &Hook) -> Ending {
        match self {
            Self::Calling(_) if hook.is_ignored => Ending::FailedOpen,
            Self::Calling(_) => Ending::Failed,
            Self::Refused(error) => Ending::Refused(error.code()),
            Self::Broken(_) => Ending::Broken,
        }
    }
}

impl Server {
    /// Whether a webhook is to be asked about a write that it matches: whether its conditions are
    /// met.
    ///
    /// # Errors
    /// `Forbidden` when that cannot be told and the webhook does not let that be.
    async fn wants(
        &self,
        hook: &Hook,
        phase: Phase,
        write: &Write<'_>,
        version: &Arc<Resource>,
        new: Option<&Draft>,
    ) -> Result<bool> {
        let met = self.meets(&hook.conditions, write, version, new).await?;
        if met != Ok(true) {
            let figures = self.admission_figures();
            figures.conditions(&hook.name, "webhook", phase, write.operation, met.is_err());
        }
        match met {
            Ok(met) => Ok(met),
            Err(_) if hook.is_ignored => Ok(false),
            Err(why) => Err(ApiError::forbidden(write.resource, write.key.name(), &why)),
        }
    }

    /// The form in which webhooks see what is about to be written.
    pub(crate) async fn shown_draft(
        &self,
        write: &Write<'_>,
        version: &Resource,
        draft: Option<&Draft>,
    ) -> Result<Value> {
        match draft {
            None => Ok(Value::Null),
            Some(draft) if write.is_whole() => {
                if let Some(webhook) = version.conversion_webhook() {
                    let draft = draft.clone();
                    return self
                        .converted(webhook, draft, &version.api_version())
                        .await?
                        .to_value();
                }
                version.draft_to_served(draft)?.to_value()
            }
            Some(draft) => draft.to_value(),
        }
    }

    /// The form in which webhooks see what is stored: as what is about to be, without who owns which
    /// field, which is worked out later.
    pub(crate) async fn shown_object(
        &self,
        write: &Write<'_>,
        version: &Resource,
        object: Option<&Object>,
    ) -> Result<Value> {
        match object {
            None => Ok(Value::Null),
            Some(object) if write.is_whole() => {
                let object = self.loaded(version, object.clone()).await?;
                version.to_served(object)?.to_unmanaged_value()
            }
            Some(object) => object.to_unmanaged_value(),
        }
    }
}
