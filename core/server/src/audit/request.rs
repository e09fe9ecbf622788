use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Status};
use parking_lot::Mutex;
use pinnace_api::ApiError;
use pinnace_env::Env;
use serde_json::Value;

use super::policy::Verdict;
use super::{
    AuditAttributes, AuditEvent, AuditLevel, AuditReference, AuditStage, Auditor,
    AuthenticationMetadata,
};
use crate::reviews::user_info;
use crate::{Attributes, Authorizer, Decision, User};

const DECISION: &str = "authorization.k8s.io/decision";
const REASON: &str = "authorization.k8s.io/reason";
/// Before the names of annotations that hold what webhooks have changed.
const PATCHES: &str = "patch.webhook.admission.k8s.io/";

/// What only the front knows of a request.
#[derive(Clone, Debug, Default)]
pub struct AuditOrigin {
    /// Its id.
    pub id: String,
    /// Path and query.
    pub uri: String,
    /// Where it comes from.
    pub addresses: Vec<String>,
    /// With what.
    pub agent: String,
}

/// A request that is noted, from its beginning to its end.
pub struct AuditedRequest {
    auditor: Auditor,
    env: Env,
    verdict: Verdict,
    event: Mutex<AuditEvent>,
}

impl AuditedRequest {
    /// Begins to note a request; `None` where the policy says that it is not.
    pub(super) fn begin(
        auditor: &Auditor,
        env: &Env,
        user: Option<&User>,
        asked: &AuditAttributes<'_>,
        origin: AuditOrigin,
    ) -> Option<Arc<Self>> {
        let verdict = auditor.policy().verdict(user, asked);
        if verdict.level == AuditLevel::None {
            return None;
        }
        let now = MicroTime(env.clock().now_micros());
        let object_ref = (!asked.resource.is_empty()).then(|| AuditReference {
            resource: asked.resource.to_owned(),
            namespace: asked.namespace.to_owned(),
            name: asked.name.to_owned(),
            api_group: asked.group.to_owned(),
            api_version: asked.version.to_owned(),
            subresource: asked.subresource.to_owned(),
        });
        let event = Mutex::new(AuditEvent {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level: verdict.level,
            audit_id: origin.id,
            stage: AuditStage::RequestReceived,
            request_uri: origin.uri,
            verb: asked.verb.to_owned(),
            user: user.map(user_info).unwrap_or_default(),
            impersonated_user: None,
            authentication_metadata: None,
            source_ips: origin.addresses,
            user_agent: origin.agent,
            object_ref,
            response_status: None,
            request_object: None,
            response_object: None,
            request_received_timestamp: now.clone(),
            stage_timestamp: now,
            annotations: Default::default(),
        });
        let request = Arc::new(Self { auditor: auditor.clone(), env: env.clone(), verdict, event });
        request.reach(AuditStage::RequestReceived);
        Some(request)
    }

    /// Notes whom the caller acts as, and the verb that allows it where that is a narrow one.
    pub fn impersonates(&self, user: &User, constraint: Option<String>) {
        let mut event = self.event.lock();
        event.impersonated_user = Some(user_info(user));
        event.authentication_metadata = constraint
            .map(|impersonation_constraint| AuthenticationMetadata { impersonation_constraint });
    }

    /// Notes what an authorizer has said of a request.
    pub fn decided(&self, by: &dyn Authorizer, asked: &Attributes<'_>, decision: &Decision) {
        let (said, why) = match decision {
            Decision::Allow => ("allow", by.why_allowed(asked)),
            Decision::Deny(why) => ("forbid", why.clone()),
        };
        let annotations = &mut self.event.lock().annotations;
        annotations.insert(DECISION.to_owned(), said.to_owned());
        annotations.insert(REASON.to_owned(), why);
    }

    /// Notes what was sent, where the policy wants it.
    pub(crate) fn sent(&self, object: impl FnOnce() -> Option<Value>) {
        if self.verdict.level >= AuditLevel::Request {
            self.event.lock().request_object = object().map(|object| self.shown(object));
        }
    }

    /// Notes what was answered, where the policy wants it.
    pub(crate) fn answered(&self, object: impl FnOnce() -> Option<Value>) {
        if self.verdict.level >= AuditLevel::RequestResponse {
            self.event.lock().response_object = object().map(|object| self.shown(object));
        }
    }

    /// Notes what others want to be noted; what a webhook has changed only where the policy wants
    /// to know what was sent.
    pub(crate) fn annotate(&self, annotations: BTreeMap<String, String>) {
        if annotations.is_empty() {
            return;
        }
        let all = self.verdict.level >= AuditLevel::Request;
        let wanted = annotations.into_iter().filter(|(key, _)| all || !key.starts_with(PATCHES));
        let mut event = self.event.lock();
        for (key, value) in wanted {
            event.annotations.entry(key).or_insert(value);
        }
    }

    /// Notes why it failed.
    pub fn failed(&self, error: &ApiError) {
        let mut status = error.to_status();
        self.answered(|| {
            let mut value = serde_json::to_value(&status).ok()?;
            value["kind"] = "Status".into();
            value["apiVersion"] = "v1".into();
            Some(value)
        });
        status.details = None;
        self.event.lock().response_status = Some(status);
    }

    /// The answer has begun, and goes on.
    pub fn started(&self, code: u16) {
        self.note_code(code);
        self.reach(AuditStage::ResponseStarted);
    }

    /// The answer has been given.
    pub fn complete(&self, code: u16) {
        self.note_code(code);
        self.reach(AuditStage::ResponseComplete);
    }

    fn note_code(&self, code: u16) {
        let mut event = self.event.lock();
        let status = event.response_status.get_or_insert_with(Status::default);
        status.code.get_or_insert(code.into());
    }

    fn reach(&self, stage: AuditStage) {
        if self.verdict.omit_stages.contains(&stage) {
            return;
        }
        let mut event = self.event.lock();
        event.stage = stage;
        event.stage_timestamp = MicroTime(self.env.clock().now_micros());
        self.auditor.note(event.clone());
    }

    fn shown(&self, mut object: Value) -> Value {
        if self.verdict.omit_managed_fields {
            remove_managed_fields(&mut object);
            let items = object.get_mut("items").and_then(Value::as_array_mut);
            items.into_iter().flatten().for_each(remove_managed_fields);
        }
        object
    }
}

fn remove_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

impl std::fmt::Debug for AuditedRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuditedRequest({:?})", self.verdict.level)
    }
}
