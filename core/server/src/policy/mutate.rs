use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::expressions::{Budget, Val};
use pinnace_api::patch::{self, FieldManager};
use pinnace_api::{ApiError, Draft, Resource, Result};
use serde_json::Value;

use super::compiled::{Binding, Body, Bound, Mutation, Policy};
use super::context::{Evaluation, OF_CONDITIONS, Seen};
use super::params::Params;
use crate::Server;
use crate::webhooks::is_exempt;
use crate::write::Write;

/// In which round policies are asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    /// All are.
    First,
    /// Only those that want to see what others have changed.
    Again,
}

impl Server {
    /// Has policies change what is about to be written; whether anything has changed.
    pub(crate) async fn mutate_by_policies(
        &self,
        write: &Write<'_>,
        draft: &mut Draft,
        round: Round,
    ) -> Result<bool> {
        let Some(bound) = self.policies().state().index.mutating() else { return Ok(false) };
        if is_exempt(write) {
            return Ok(false);
        }
        let mut changed = false;
        for Bound { policy, bindings } in bound.iter() {
            let Some(constraints) = &policy.constraints else { continue };
            let Body::Mutates { mutations, again } = &policy.body else { continue };
            if round == Round::Again && !again {
                continue;
            }
            for binding in bindings {
                let new = Some(&*draft);
                let matched = constraints.matches(write, new, self.catalog(), &self.snapshot())?;
                let Some(version) = matched else { continue };
                if let Some(constraints) = &binding.constraints
                    && constraints.matches(write, new, self.catalog(), &self.snapshot())?.is_none()
                {
                    continue;
                }
                for mutation in mutations {
                    changed |=
                        self.mutate_by(policy, binding, mutation, write, &version, draft).await?;
                }
            }
        }
        Ok(changed)
    }

    async fn mutate_by(
        &self,
        policy: &Policy,
        binding: &Binding,
        mutation: &Mutation,
        write: &Write<'_>,
        version: &Arc<Resource>,
        draft: &mut Draft,
    ) -> Result<bool> {
        let refused = |why: String| {
            let message = format!(
                "policy '{}' with binding '{}' denied request: {why}",
                policy.name, binding.name
            );
            ApiError::forbidden(write.resource, write.key.name(), &message)
        };
        let params = match self.params_of(policy, binding, write) {
            Ok(Params::None) => vec![None],
            Ok(Params::Each(each)) => each.into_iter().map(Some).collect(),
            Err(_) if policy.ignores => return Ok(false),
            Err(why) => return Err(refused(format!("failed to configure binding: {why}"))),
        };
        let mut changed = false;
        for params in &params {
            let seen = self.seen(write, version, Some(draft)).await?;
            let made = self.mutated(policy, mutation, write, version, &seen, params.as_ref());
            let made = match made {
                Ok(Some(made)) if made != *seen.object() => made,
                Ok(_) => continue,
                Err(_) if policy.ignores => continue,
                Err(why) => return Err(refused(why)),
            };
            let new = self.taken(write, version, draft, made).await.map_err(|error| {
                refused(format!("error applying mutation: {}", error.message()))
            })?;
            draft.replace(new);
            changed = true;
        }
        Ok(changed)
    }

    /// What a mutation makes of an object; `None` where its policy is not to be asked.
    fn mutated(
        &self,
        policy: &Policy,
        mutation: &Mutation,
        write: &Write<'_>,
        version: &Resource,
        seen: &Seen,
        params: Option<&Value>,
    ) -> Result<Option<Value>, String> {
        let composed =
            policy.composed.as_ref().map_err(|why| format!("compilation error: {why}"))?;
        let (of_conditions, budget) = (Budget::new(OF_CONDITIONS), Budget::new(Budget::OF_ALL));
        if !policy.conditions.is_empty() {
            let with = Evaluation::new(self, write, seen, params, &[], &of_conditions);
            if !policy.conditions.are_met(&with)? {
                return Ok(None);
            }
        }
        let with = Evaluation::new(self, write, seen, params, composed, &budget);
        let made = mutation.expression.evaluate(&with)?;
        let value = made.to_json().map_err(|fault| fault.to_string())?;
        if mutation.is_patch {
            let operations = operations(value);
            return patch::json(seen.object().clone(), &operations)
                .map(Some)
                .map_err(|error| error.message().to_owned());
        }
        if !matches!(made, Val::Map(_)) {
            return Err("expected Object".to_owned());
        }
        self.laid_over(version, seen.object(), value)
            .map(Some)
            .map_err(|error| error.message().to_owned())
    }

    /// An object with another laid over it, as server-side apply does it.
    fn laid_over(&self, version: &Resource, object: &Value, mut over: Value) -> Result<Value> {
        let Some(ty) = version.type_of() else { return patch::merge(object.clone(), &over) };
        let api_version = version.api_version();
        over["apiVersion"] = Value::from(&*api_version);
        over["kind"] = (*version.kind).into();
        let by = FieldManager {
            name: "mutating-admission-policy",
            api_version: &api_version,
            subresource: "",
            time: Time(self.env().clock().now_seconds()),
            reset_fields: &[],
        };
        let mut live = object.clone();
        let managed = live.get_mut("metadata").and_then(Value::as_object_mut);
        let managed = managed.and_then(|metadata| metadata.remove("managedFields"));
        let (mut merged, _) = patch::apply(ty, &live, &over, &[], &by, true)?;
        if let Some(managed) = managed {
            merged["metadata"]["managedFields"] = managed;
        }
        Ok(merged)
    }
}

/// Operations of a JSON patch, without the fields that say nothing.
fn operations(value: Value) -> Value {
    let Value::Array(mut all) = value else { return value };
    for one in &mut all {
        if let Some(fields) = one.as_object_mut()
            && fields.get("from").is_some_and(Value::is_null)
        {
            fields.remove("from");
        }
    }
    Value::Array(all)
}
