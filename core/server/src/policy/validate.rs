use std::collections::BTreeMap;
use std::time::Duration;

use pinnace_api::expressions::{Budget, Val};
use pinnace_api::{ApiError, Draft, Reason, Result};
use pinnace_env::Stopwatch;
use serde_json::{Value, json};

use super::compiled::{Annotation, Binding, Body, Bound, Policy, Validation};
use super::context::{COMPILATION, Evaluation, OF_CONDITIONS, Seen};
use super::params::Params;
use crate::Server;
use crate::figures::Phase;
use crate::webhooks::is_exempt;
use crate::write::Write;

const FAILURES: &str = "validation.policy.admission.k8s.io/validation_failure";
/// Most bytes of a message that an expression makes.
const MESSAGE_MAX: usize = 5 * 1024;
/// Most characters of the value of an annotation.
const ANNOTATION_MAX: usize = 10 * 1024;

/// What a policy has against a write.
struct Finding<'a> {
    binding: &'a str,
    actions: &'a [String],
    message: String,
    reason: Option<&'a str>,
    /// Which validation says so.
    index: Option<usize>,
    /// Upstream's name of why it could not be evaluated.
    error: &'static str,
    took: Duration,
    /// Whether it refuses, whatever the binding wants to be done.
    refuses: bool,
}

/// What the annotations of a policy say, by their keys: what bindings have them say besides follows.
type Notes<'a> = BTreeMap<&'a str, Vec<String>>;

impl Server {
    /// Asks the policies that watch over this what they have against it.
    pub(crate) async fn validate_by_policies(
        &self,
        write: &Write<'_>,
        new: Option<&Draft>,
    ) -> Result<()> {
        let Some(bound) = self.policies().state().index.validating() else { return Ok(()) };
        if is_exempt(write) {
            return Ok(());
        }
        let mut refusal = None;
        let mut failures = Vec::new();
        for Bound { policy, bindings } in bound.iter() {
            let Some(constraints) = &policy.constraints else { continue };
            let matched = constraints.matches(write, new, self.catalog(), &self.snapshot())?;
            let Some(version) = matched else { continue };
            let seen = self.seen(write, &version, new).await?;
            let mut notes = Notes::new();
            for binding in bindings {
                if let Some(constraints) = &binding.constraints
                    && constraints.matches(write, new, self.catalog(), &self.snapshot())?.is_none()
                {
                    continue;
                }
                for finding in self.findings(policy, binding, write, &seen, &mut notes).await {
                    let refused = self.act(policy, &finding, write, &mut failures);
                    if refused {
                        refusal.get_or_insert_with(|| refused_by(policy, &finding, write));
                    }
                }
            }
            for (key, values) in notes {
                let key = format!("{}/{key}", policy.name);
                write.options.annotations().add(key, values.join(", "));
            }
        }
        if !failures.is_empty() {
            write.options.annotations().add(FAILURES, Value::Array(failures).to_string());
        }
        refusal.map_or(Ok(()), Err)
    }

    /// What a policy has against a write, as a binding has it evaluated.
    async fn findings<'a>(
        &self,
        policy: &'a Policy,
        binding: &'a Binding,
        write: &Write<'_>,
        seen: &Seen,
        notes: &mut Notes<'a>,
    ) -> Vec<Finding<'a>> {
        let (name, actions) = (binding.name.as_str(), &binding.actions[..]);
        let figures = self.admission_figures();
        let failing = |index, error: &'static str, message: String, took: Duration| {
            if policy.ignores {
                figures.validation((&policy.name, name), error, "allow", took);
                return Vec::new();
            }
            let (binding, reason, refuses) = (name, None, false);
            vec![Finding { binding, actions, message, reason, index, error, took, refuses }]
        };
        let none = Duration::ZERO;
        let failed = |error, message, took| failing(None, error, message, took);
        let params = match self.params_of(policy, binding, write).await {
            Ok(Params::None) => vec![None],
            Ok(Params::Each(each)) => each.into_iter().map(Some).collect(),
            Err(why) => {
                let why = format!("failed to configure binding: {why}");
                return failed("invalid_error", why, none);
            }
        };
        let composed = match &policy.composed {
            Ok(composed) => composed,
            Err(why) => return failed("compile_error", format!("{COMPILATION}{why}"), none),
        };
        let Body::Validates { validations, annotations } = &policy.body else { return Vec::new() };
        let mut found = Vec::new();
        for params in &params {
            let (of_conditions, budget) = (Budget::new(OF_CONDITIONS), Budget::new(Budget::OF_ALL));
            if !policy.conditions.is_empty() {
                let params = params.as_ref();
                let with = Evaluation::new(self, write, seen, params, &[], &of_conditions);
                let met = policy.conditions.are_met(&with);
                self.note_conditions(policy, Phase::Validate, write, &met);
                match met {
                    Ok(true) => {}
                    Ok(false) => continue,
                    Err(why) => {
                        found.extend(failed(with.error_type(&why), why, none));
                        continue;
                    }
                }
            }
            let with = Evaluation::new(self, write, seen, params.as_ref(), composed, &budget);
            for (index, validation) in validations.iter().enumerate() {
                let watch = Stopwatch::start();
                let outcome = validation.rule.evaluate(&with);
                let took = watch.elapsed();
                match outcome {
                    Ok(Val::Bool(true)) => {
                        figures.validation((&policy.name, name), "no_error", "allow", took);
                    }
                    Ok(_) => found.push(Finding {
                        binding: name,
                        actions,
                        message: message_of(validation, &with),
                        reason: validation.reason.as_deref(),
                        index: Some(index),
                        error: "no_error",
                        took,
                        refuses: false,
                    }),
                    Err(why) => {
                        found.extend(failing(Some(index), with.error_type(&why), why, took));
                    }
                }
            }
            let budget = Budget::new(Budget::OF_ALL);
            let with = Evaluation::new(self, write, seen, params.as_ref(), composed, &budget);
            for annotation in annotations {
                let watch = Stopwatch::start();
                let message = match note(policy, annotation, &with) {
                    Ok(None) => continue,
                    Ok(Some(value)) => {
                        let values = notes.entry(annotation.key.as_str()).or_default();
                        if !values.contains(&value) {
                            values.push(value);
                        }
                        continue;
                    }
                    Err(why) => why,
                };
                let (error, took) = (with.error_type(&message), watch.elapsed());
                let (binding, reason, index, refuses) = (name, None, None, true);
                found.push(Finding {
                    binding,
                    actions,
                    message,
                    reason,
                    index,
                    error,
                    took,
                    refuses,
                });
            }
        }
        found
    }
}

impl Server {
    /// Does what a binding wants to be done about a finding; whether that is to refuse the write.
    fn act(
        &self,
        policy: &Policy,
        finding: &Finding<'_>,
        write: &Write<'_>,
        failures: &mut Vec<Value>,
    ) -> bool {
        let Finding { binding, message, error, took, .. } = finding;
        let does = |action: &str| {
            let does = match finding.refuses {
                true => action == "Deny",
                false => finding.actions.iter().any(|one| one == action),
            };
            if does {
                let label = action.to_ascii_lowercase();
                let figures = self.admission_figures();
                figures.validation((&policy.name, binding), error, &label, *took);
            }
            does
        };
        if does("Audit") {
            failures.push(json!({
                "message": message, "policy": policy.name, "binding": binding,
                "expressionIndex": finding.index.unwrap_or(0),
                "validationActions": finding.actions,
            }));
        }
        if does("Warn") {
            write.options.warnings().add(format!(
                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{binding}': \
                 {message}",
                policy.name
            ));
        }
        does("Deny")
    }
}

/// What a validation says when it is not met.
fn message_of(validation: &Validation, with: &Evaluation<'_>) -> String {
    let made = validation.message_expression.as_ref().and_then(|made| made.evaluate(with).ok());
    if let Some(Val::Text(text)) = made {
        let text = text.trim();
        if !text.is_empty() && text.len() <= MESSAGE_MAX && !text.contains('\n') {
            return text.to_owned();
        }
    }
    match validation.message.as_deref().map(str::trim) {
        Some(message) if !message.is_empty() => message.to_owned(),
        _ => format!("failed expression: {}", validation.rule.text.trim()),
    }
}

/// What an annotation says, if anything.
///
/// # Errors
/// Why that can't be told, unless the policy ignores it.
fn note(
    policy: &Policy,
    annotation: &Annotation,
    with: &Evaluation<'_>,
) -> Result<Option<String>, String> {
    match annotation.value.evaluate(with) {
        Ok(Val::Text(text)) => {
            let value: String = text.trim().chars().take(ANNOTATION_MAX).collect();
            Ok(Some(value).filter(|value| !value.is_empty()))
        }
        Ok(Val::Null) => Ok(None),
        Ok(_) => Err(format!(
            "valueExpression '{}' resulted in unsupported return type. Return type must be either \
             string or null.",
            annotation.value.text
        )),
        Err(_) if policy.ignores => Ok(None),
        Err(why) => Err(why),
    }
}

fn refused_by(policy: &Policy, finding: &Finding<'_>, write: &Write<'_>) -> ApiError {
    let Finding { binding, message, reason, .. } = finding;
    let why = format!(
        "ValidatingAdmissionPolicy '{}' with binding '{binding}' denied request: {message}",
        policy.name
    );
    let reason = match reason {
        Some("Forbidden") => Reason::Forbidden,
        Some("Unauthorized") => Reason::Unauthorized,
        Some("RequestEntityTooLarge") => Reason::RequestEntityTooLarge,
        _ => Reason::Invalid,
    };
    ApiError::refused(write.resource, write.key.name(), reason, &why)
}
