//! Ranges of service addresses: ready when they are there, and held as long as a service has an address
//! of theirs that no other range has.

use std::net::IpAddr;

use async_trait::async_trait;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use pinnace_api::{Key, Result, Typed};
use pinnace_client::{Api, Lister};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let ranges = context.informers.of::<ServiceCIDR>()?;
    let addresses = context.informers.of::<IPAddress>()?;
    let reconciler = Ranges {
        ranges: ranges.clone(),
        addresses: addresses.clone(),
        api: context.client().of()?,
        env: context.env.clone(),
    };
    let (of_addresses, of_ranges) = (ranges.informer().clone(), ranges.informer().clone());
    Ok(Controller::new(reconciler, &context.env)
        .maps(ranges.informer(), move |delta, queue| {
            if let Some(range) = &delta.new {
                queue.add(range.key());
            }
            // Another range may now take over the addresses of one that goes.
            let going = of_ranges.list(None).into_iter().filter(|range| range.is_deleting());
            going.for_each(|range| queue.add(range.key()));
        })
        .maps(addresses.informer(), move |delta, queue| {
            if delta.new.is_none() {
                let all = of_addresses.list(None).into_iter().filter(|range| range.is_deleting());
                all.for_each(|range| queue.add(range.key()));
            }
        }))
}

struct Ranges {
    ranges: Lister<ServiceCIDR>,
    addresses: Lister<IPAddress>,
    api: Api<ServiceCIDR>,
    env: Env,
}

#[async_trait]
impl Reconciler for Ranges {
    fn name(&self) -> &str {
        "service-cidr"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(range) = self.ranges.get(key) else { return Ok(Action::Done) };
        let held = range.metadata.finalizers.iter().flatten().any(|one| one == FINALIZER);
        let mut new = range.to_owned();
        let finalizers = new.metadata.finalizers.get_or_insert_default();
        let going = range.object().is_deleting();
        if going && held && !self.is_needed(&range) {
            finalizers.retain(|one| one != FINALIZER);
            self.api.update(new).await?;
            return Ok(Action::Done);
        }
        let mut range = range;
        if !going && !held {
            finalizers.push(FINALIZER.to_owned());
            range = self.api.update(new).await?;
        }
        let (status, reason, message) = match going {
            false => ("True", "Ready", "Kubernetes Service CIDR is ready"),
            true => (
                "False",
                "Terminating",
                "There are still IPAddresses referencing the ServiceCIDR, please remove them or \
                 create a new ServiceCIDR",
            ),
        };
        let conditions = range.status.as_ref().and_then(|status| status.conditions.as_ref());
        let ready = conditions.and_then(|all| all.iter().find(|one| one.type_ == "Ready"));
        if ready.is_some_and(|ready| ready.status == status) {
            return Ok(Action::Done);
        }
        let mut new = range.to_owned();
        let conditions = new.status.get_or_insert_default().conditions.get_or_insert_default();
        conditions.retain(|one| one.type_ != "Ready");
        conditions.push(Condition {
            type_: "Ready".to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: Time(self.env.clock().now_seconds()),
            observed_generation: None,
        });
        self.api.update_status(new).await?;
        Ok(Action::Done)
    }
}

impl Ranges {
    /// Whether a service has an address that is in this range alone.
    fn is_needed(&self, range: &Typed<ServiceCIDR>) -> bool {
        let others = self.ranges.list(None);
        let others: Vec<_> = others
            .iter()
            .filter(|other| {
                other.object().uid() != range.object().uid() && !other.object().is_deleting()
            })
            .flat_map(|other| networks(other))
            .collect();
        let own = networks(range);
        self.addresses.list(None).iter().any(|address| {
            let Ok(address) = address.object().name().parse::<IpAddr>() else { return false };
            let within = |all: &[Network]| all.iter().any(|network| network.contains(address));
            within(&own) && !within(&others)
        })
    }
}

/// A range of addresses.
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32_u32.saturating_sub(self.bits);
                u32::from(own).checked_shr(shift) == u32::from(other).checked_shr(shift)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128_u32.saturating_sub(self.bits);
                u128::from(own).checked_shr(shift) == u128::from(other).checked_shr(shift)
            }
            _ => false,
        }
    }
}

fn networks(range: &ServiceCIDR) -> Vec<Network> {
    let cidrs = range.spec.as_ref().and_then(|spec| spec.cidrs.as_ref());
    let read = |text: &String| {
        let (address, bits) = text.split_once('/')?;
        Some(Network { address: address.parse().ok()?, bits: bits.parse().ok()? })
    };
    cidrs.into_iter().flatten().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_contains_the_addresses_that_share_its_prefix() {
        for (range, address, expected) in [
            ("10.96.0.0/12", "10.111.255.255", true),
            ("10.96.0.0/12", "10.112.0.0", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("fd00::/64", "fd00::1", true),
            ("fd00::/64", "fd01::1", false),
            ("fd00::/64", "10.0.0.1", false),
        ] {
            let (start, bits) = range.split_once('/').unwrap();
            let network = Network { address: start.parse().unwrap(), bits: bits.parse().unwrap() };
            assert_eq!(
                network.contains(address.parse().unwrap()),
                expected,
                "{address} in {range}"
            );
        }
    }
}
