use k8s_openapi::api::flowcontrol::v1::{
    LimitResponse, LimitedPriorityLevelConfiguration, PriorityLevelConfiguration,
    PriorityLevelConfigurationSpec, PriorityLevelConfigurationStatus, QueuingConfiguration,
};

use super::super::check::text;
use super::super::metadata::keep_for_status;
use super::super::{fill_number, next_generation};
use super::validate_conditions;
use crate::Strategy;
use crate::field::{ErrorList, Path};

const SHARES: i32 = 30;
const QUEUES: i32 = 64;
const HAND_SIZE: i32 = 8;
const QUEUE_LENGTH: i32 = 50;
const QUEUES_MAX: i32 = 10_000_000;
/// Bits that may be used up in dealing a hand.
const ENTROPY_MAX: f64 = 60.0;

/// How much is served at once of what belongs together.
pub(in crate::kinds) struct PriorityLevelConfigurationStrategy;

impl Strategy for PriorityLevelConfigurationStrategy {
    type Kind = PriorityLevelConfiguration;

    fn default(&self, level: &mut PriorityLevelConfiguration) {
        let spec = level.spec.get_or_insert_default();
        if let Some(exempt) = &mut spec.exempt {
            exempt.nominal_concurrency_shares.get_or_insert(0);
            exempt.lendable_percent.get_or_insert(0);
        } else if spec.type_ == "Exempt" {
            let exempt = spec.exempt.get_or_insert_default();
            exempt.nominal_concurrency_shares = Some(0);
            exempt.lendable_percent = Some(0);
        }
        if let Some(limited) = &mut spec.limited {
            limited.nominal_concurrency_shares.get_or_insert(SHARES);
            limited.lendable_percent.get_or_insert(0);
            if let Some(queuing) =
                limited.limit_response.as_mut().and_then(|response| response.queuing.as_mut())
            {
                fill_number(&mut queuing.queues, QUEUES);
                fill_number(&mut queuing.hand_size, HAND_SIZE);
                fill_number(&mut queuing.queue_length_limit, QUEUE_LENGTH);
            }
        }
    }

    fn prepare_for_create(&self, level: &mut PriorityLevelConfiguration) {
        level.metadata.generation = Some(1);
        level.status = Some(PriorityLevelConfigurationStatus::default());
    }

    fn validate(&self, level: &PriorityLevelConfiguration, errors: &mut ErrorList) {
        let none = PriorityLevelConfigurationSpec::default();
        let spec = level.spec.as_ref().unwrap_or(&none);
        validate_spec(text(&level.metadata.name), spec, &Path::root("spec"), errors);
    }

    fn prepare_for_update(
        &self,
        new: &mut PriorityLevelConfiguration,
        old: &PriorityLevelConfiguration,
    ) {
        new.status.clone_from(&old.status);
        let changed = new.spec != old.spec;
        next_generation(&mut new.metadata, &old.metadata, changed);
    }

    fn prepare_for_status_update(
        &self,
        new: &mut PriorityLevelConfiguration,
        old: &PriorityLevelConfiguration,
    ) {
        new.spec.clone_from(&old.spec);
        keep_for_status(&mut new.metadata, &old.metadata);
    }

    fn validate_status_update(
        &self,
        new: &PriorityLevelConfiguration,
        _: &PriorityLevelConfiguration,
        errors: &mut ErrorList,
    ) {
        let all = new.status.iter().flat_map(|status| status.conditions.iter().flatten());
        validate_conditions(all.map(|condition| text(&condition.type_)), errors);
    }
}

fn validate_spec(
    name: &str,
    spec: &PriorityLevelConfigurationSpec,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let at = path.child("type");
    if (name == "exempt") != (spec.type_ == "Exempt") {
        let why = "type must be 'Exempt' if and only if name is 'exempt'";
        errors.invalid(&at, &spec.type_, why);
    }
    match spec.type_.as_str() {
        "Exempt" => {
            if spec.limited.is_some() {
                let why = "must be nil if the type is not Limited";
                errors.forbidden(&path.child("limited"), why);
            }
            if let Some(exempt) = &spec.exempt {
                let at = path.child("exempt");
                let shares = exempt.nominal_concurrency_shares.unwrap_or(0);
                if shares < 0 {
                    let why = "must be a non-negative integer";
                    errors.invalid(&at.child("nominalConcurrencyShares"), shares, why);
                }
                percent(exempt.lendable_percent, &at.child("lendablePercent"), errors);
            }
        }
        "Limited" => {
            if spec.exempt.is_some() {
                let why = "must be nil if the type is Limited";
                errors.forbidden(&path.child("exempt"), why);
            }
            match &spec.limited {
                None => errors
                    .required(&path.child("limited"), "must not be empty when type is Limited"),
                Some(limited) => validate_limited(limited, &path.child("limited"), errors),
            }
        }
        other => errors.not_supported(&at, other, &["Exempt", "Limited"]),
    }
}

fn percent(value: Option<i32>, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(value) = value.filter(|value| !(0..=100).contains(value)) {
        errors.invalid(path, value, "must be between 0 and 100, inclusive");
    }
}

fn validate_limited(
    limited: &LimitedPriorityLevelConfiguration,
    path: &Path<'_>,
    errors: &mut ErrorList,
) {
    let shares = limited.nominal_concurrency_shares.unwrap_or(0);
    if shares < 0 {
        let why = "must be a non-negative integer";
        errors.invalid(&path.child("nominalConcurrencyShares"), shares, why);
    }
    let none = LimitResponse::default();
    let response = limited.limit_response.as_ref().unwrap_or(&none);
    validate_response(response, &path.child("limitResponse"), errors);
    percent(limited.lendable_percent, &path.child("lendablePercent"), errors);
    if let Some(borrow) = limited.borrowing_limit_percent.filter(|borrow| *borrow < 0) {
        errors.invalid(
            &path.child("borrowingLimitPercent"),
            borrow,
            "if specified, must be a non-negative integer",
        );
    }
}

fn validate_response(response: &LimitResponse, path: &Path<'_>, errors: &mut ErrorList) {
    let at = path.child("queuing");
    match (response.type_.as_str(), &response.queuing) {
        ("Reject", None) => {}
        ("Reject", Some(_)) => {
            errors.forbidden(&at, "must be nil if limited.limitResponse.type is not Limited");
        }
        ("Queue", None) => {
            errors.required(&at, "must not be empty if limited.limitResponse.type is Limited");
        }
        ("Queue", Some(queuing)) => validate_queuing(queuing, &at, errors),
        (other, _) => errors.not_supported(&path.child("type"), other, &["Queue", "Reject"]),
    }
}

fn validate_queuing(queuing: &QueuingConfiguration, path: &Path<'_>, errors: &mut ErrorList) {
    let [limit, queues, hand] =
        [queuing.queue_length_limit, queuing.queues, queuing.hand_size].map(|one| one.unwrap_or(0));
    for (field, value) in [("queueLengthLimit", limit), ("queues", queues), ("handSize", hand)] {
        if value <= 0 {
            errors.invalid(&path.child(field), value, "must be positive");
        }
    }
    if queues > QUEUES_MAX {
        let why = format!("must not be greater than {QUEUES_MAX}");
        errors.invalid(&path.child("queues"), queues, &why);
    } else if hand > queues {
        let why = format!("should not be greater than queues ({queues})");
        errors.invalid(&path.child("handSize"), hand, &why);
    } else if queues > 0 && hand > 0 {
        let bits: f64 = (0..hand).map(|dealt| f64::from(queues - dealt).log2()).sum();
        if bits > ENTROPY_MAX {
            let why = format!(
                "required entropy bits of deckSize {queues} and handSize {hand} should not be \
                 greater than {ENTROPY_MAX}"
            );
            errors.invalid(&path.child("handSize"), hand, &why);
        }
    }
}
