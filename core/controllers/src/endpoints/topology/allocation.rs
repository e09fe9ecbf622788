//! How many endpoints serve each zone.

use std::collections::BTreeMap;

use super::zones::Shares;

/// By how much an endpoint may be loaded too much, as a part of what it should be.
const OVERLOAD: f64 = 0.2;

/// How many endpoints serve a zone.
pub(super) type Counts = BTreeMap<String, usize>;
pub(super) type Allocations = BTreeMap<String, Allocation>;

/// How many endpoints a zone should have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Allocation {
    least: usize,
    pub(super) most: usize,
    wanted: f64,
}

/// What each zone should have of so many endpoints.
///
/// # Errors
/// Why they cannot be divided.
pub(super) fn allocate(shares: &Shares, endpoints: usize) -> Result<Allocations, String> {
    let zones = shares.len();
    let refuse = |why: &str| Err(format!("{why} ({endpoints} endpoints, {zones} zones)"));
    if zones > endpoints {
        return refuse("Insufficient number of endpoints");
    }
    let mut allocations: Allocations = shares
        .iter()
        .map(|(zone, share)| {
            let wanted = share * float(endpoints);
            let least = least(wanted);
            (zone.clone(), Allocation { least, most: 0, wanted: wanted.max(float(least)) })
        })
        .collect();
    let least: usize = allocations.values().map(|one| one.least).sum();
    let Some(free) = endpoints.checked_sub(least) else {
        return refuse(
            "Unable to allocate minimum required endpoints to each zone without exceeding overload \
             threshold",
        );
    };
    allocations.values_mut().for_each(|one| one.most = one.least + free);
    Ok(allocations)
}

/// Whether some zone has not the endpoints that it needs at least.
pub(super) fn is_overloaded(counts: &Counts, shares: &Shares) -> bool {
    let total: usize = counts.values().sum();
    let lacks = |(zone, share): (&String, &f64)| {
        counts.get(zone).is_none_or(|count| *count < least(share * float(total)))
    };
    total > 0 && shares.iter().any(lacks)
}

/// How many endpoints each zone has to give to others, and how many it gets: as many as bring both
/// nearer to what they should have.
pub(super) fn moves(allocations: &Allocations, counts: &Counts) -> (Counts, Counts) {
    let (mut too_many, mut too_few) = (BTreeMap::new(), BTreeMap::new());
    for (zone, allocation) in allocations {
        let surplus = float(counts.get(zone).copied().unwrap_or(0)) - allocation.wanted;
        if surplus > 0.0 {
            too_many.insert(zone, surplus);
        } else if surplus < 0.0 {
            too_few.insert(zone, -surplus);
        }
    }
    let (mut giving, mut receiving) = (Counts::new(), Counts::new());
    while let (Some((from, give)), Some((to, get))) =
        (largest(&mut too_many), largest(&mut too_few))
    {
        if (*give < 1.0 && *get < 1.0) || *give < 0.5 || *get < 0.5 {
            break;
        }
        *giving.entry(from.to_owned()).or_default() += 1;
        *receiving.entry(to.to_owned()).or_default() += 1;
        *give -= 1.0;
        *get -= 1.0;
    }
    (giving, receiving)
}

fn largest<'a>(zones: &'a mut BTreeMap<&String, f64>) -> Option<(&'a str, &'a mut f64)> {
    let largest = zones.iter_mut().max_by(|one, other| one.1.total_cmp(other.1))?;
    Some((largest.0.as_str(), largest.1))
}

/// The fewest endpoints for a load that so many should have.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a part of a count of endpoints"
)]
fn least(wanted: f64) -> usize {
    (wanted * (1.0 / (1.0 + OVERLOAD))).ceil() as usize
}

#[expect(clippy::cast_precision_loss, reason = "a count of endpoints")]
fn float(count: usize) -> f64 {
    count as f64
}
