use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use pinnace_api::expressions::{Budget, Val};
use pinnace_api::patch::{self, FieldManager};
use pinnace_api::{ApiError, Draft, Resource, Result};
use pinnace_env::Stopwatch;
use serde_json::Value;

use super::compiled::{Binding, Body, Bound, Mutation, Policy};
use super::context::{COMPILATION, Evaluation, OF_CONDITIONS, Seen};
use super::params::Params;
use crate::Server;
use crate::figures::Phase;
use crate::reinvocation::{Asked, Pass};
use crate::webhooks::is_exempt;
use crate::write::Write;

/// A policy, a binding of it and the place of its parameters.
pub(crate) type Invoked = (String, String, usize);

/// A policy as it is asked about a write: bound, with parameters or none.
struct Invocation<'a> {
    policy: &'a Policy,
    binding: &'a Binding,
    params: Option<&'a Value>,
    write: &'a Write<'a>,
    version: &'a Arc<Resource>,
}

impl Server {
    /// Has policies change what is about to be written; whether anything has changed.
    pub(crate) async fn mutate_by_policies(
        &self,
        write: &Write<'_>,
        draft: &mut Draft,
        pass: Pass,
        asked: &mut Asked<Invoked>,
    ) -> Result<bool> {
        let Some(bound) = self.policies().state().index.mutating() else { return Ok(false) };
        if is_exempt(write) {
            return Ok(false);
        }
        asked.begin(pass, Some(&*draft))?;
        let mut changed = false;
        for Bound { policy, bindings } in bound.iter() {
            let Some(constraints) = &policy.constraints else { continue };
            let Body::Mutates { mutations, again } = &policy.body else { continue };
            for binding in bindings {
                let new = Some(&*draft);
                let matched = constraints.matches(write, new, self.catalog(), &self.snapshot())?;
                let Some(version) = &matched else { continue };
                if let Some(constraints) = &binding.constraints
                    && constraints.matches(write, new, self.catalog(), &self.snapshot())?.is_none()
                {
                    continue;
                }
                let params = match self.params_of(policy, binding, write).await {
                    Ok(Params::None) => vec![None],
                    Ok(Params::Each(each)) => each.into_iter().map(Some).collect(),
                    Err(_) if policy.ignores => continue,
                    Err(why) => {
                        let why = format!("failed to configure binding: {why}");
                        return Err(refused(policy, binding, write, &why));
                    }
                };
                for (index, params) in params.iter().enumerate() {
                    let one = (policy.name.clone(), binding.name.clone(), index);
                    if !asked.is_due(pass, &one) {
                        continue;
                    }
                    let params = params.as_ref();
                    let invocation = Invocation { policy, binding, params, write, version };
                    let Some(has_changed) = self.invoke(&invocation, mutations, draft).await?
                    else {
                        continue;
                    };
                    if has_changed {
                        changed = true;
                        asked.note_change();
                    }
                    if *again {
                        asked.note(one);
                    }
                }
            }
        }
        asked.end(Some(&*draft))?;
        Ok(changed)
    }

    /// Does what a policy says, mutation by mutation; whether that has changed anything. `None` where
    /// its conditions are not met.
    async fn invoke(
        &self,
        one: &Invocation<'_>,
        mutations: &[Mutation],
        draft: &mut Draft,
    ) -> Result<Option<bool>> {
        let Invocation { policy, binding, params, write, version } = *one;
        let mut seen = self.seen(write, version, Some(draft)).await?;
        if !policy.conditions.is_empty() {
            let budget = Budget::new(OF_CONDITIONS);
            let with = Evaluation::new(self, write, &seen, params, &[], &budget);
            let met = policy.conditions.are_met(&with);
            self.note_conditions(policy, Phase::Admit, write, &met);
            match met {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(_) if policy.ignores => return Ok(None),
                Err(why) => return Err(refused(policy, binding, write, &why)),
            }
        }
        let mut changed = false;
        for mutation in mutations {
            let watch = Stopwatch::start();
            let made = self.mutated(one, mutation, &seen);
            let error = made.as_ref().map_or_else(|(error, _)| *error, |_| "no_error");
            let figures = self.admission_figures();
            figures.mutation(&policy.name, &binding.name, error, watch.elapsed());
            let made = match made {
                Ok(made) if made != *seen.object() => made,
                Ok(_) => continue,
                Err(_) if policy.ignores => continue,
                Err((_, why)) => return Err(refused(policy, binding, write, &why)),
            };
            let new = self.taken(write, version, draft, made).await.map_err(|error| {
                let why = format!("error applying mutation: {}", error.message());
                refused(policy, binding, write, &why)
            })?;
            draft.replace(new);
            seen = self.seen(write, version, Some(draft)).await?;
            changed = true;
        }
        Ok(Some(changed))
    }

    /// What a mutation makes of an object; what is wrong comes with upstream's name of it.
    fn mutated(
        &self,
        one: &Invocation<'_>,
        mutation: &Mutation,
        seen: &Seen,
    ) -> Result<Value, (&'static str, String)> {
        let Invocation { policy, params, write, version, .. } = *one;
        let composed = policy.composed.as_ref();
        let composed = composed.map_err(|why| ("compile_error", format!("{COMPILATION}{why}")))?;
        let budget = Budget::new(Budget::OF_ALL);
        let with = Evaluation::new(self, write, seen, params, composed, &budget);
        let made = mutation.expression.evaluate(&with);
        let made = made.map_err(|why| (with.error_type(&why), why))?;
        let wrong = |why: String| ("invalid_error", why);
        let value = made.to_json().map_err(|fault| wrong(fault.to_string()))?;
        let object = seen.object();
        if mutation.is_patch {
            let patched = patch::json(object.clone(), &operations(value));
            return patched.map_err(|error| wrong(error.message().to_owned()));
        }
        if !matches!(made, Val::Map(_)) {
            return Err(wrong("expected Object".to_owned()));
        }
        let merged = self.laid_over(version, object, value);
        merged.map_err(|why| wrong(format!("error applying patch: {why}")))
    }

    /// An object with another laid over it, as server-side apply does it; but what would be replaced
    /// as a whole is left alone, for it would be lost without anybody noticing.
    fn laid_over(
        &self,
        version: &Resource,
        object: &Value,
        mut over: Value,
    ) -> Result<Value, String> {
        let said = |error: ApiError| error.message().to_owned();
        let Some(ty) = version.type_of() else {
            return patch::merge(object.clone(), &over).map_err(said);
        };
        let atomic = patch::atomic_parts(ty, &over);
        if !atomic.is_empty() {
            let all = atomic.join(", ");
            return Err(format!(
                "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: {all}"
            ));
        }
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
        let (mut merged, _) = patch::apply(ty, &live, &over, &[], &by, true).map_err(said)?;
        if let Some(managed) = managed {
            merged["metadata"]["managedFields"] = managed;
        }
        Ok(merged)
    }
}

fn refused(policy: &Policy, binding: &Binding, write: &Write<'_>, why: &str) -> ApiError {
    let message =
        format!("policy '{}' with binding '{}' denied request: {why}", policy.name, binding.name);
    ApiError::forbidden(write.resource, write.key.name(), &message)
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
