use std::{net::IpAddr, ops::Range};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::{Error, PodAddresses};

/// The largest pool: its table of used slots takes 128 KiB.
const MAX_SLOTS: usize = 1 << 20;

/// The first address after the network's own is the gateway's, the next is slot 0.
const FIRST_POD_OFFSET: u32 = 2;

const SLOTS_PER_WORD: usize = u64::BITS as usize;

/// Which addresses of a node's pod CIDR are free. A pod takes a slot: the addresses at the same
/// distance from the start of each family's range. Slots are handed out in rotation, so that an
/// address that was released rests for as long as possible.
#[derive(Debug)]
pub(crate) struct AddressPool {
    v4: Ipv4Net,
    v6: Option<Ipv6Net>,
    capacity: usize,
    used: Vec<u64>,
    cursor: usize,
}

impl AddressPool {
    pub(crate) fn new(v4: Ipv4Net, v6: Option<Ipv6Net>) -> Result<Self, Error> {
        let invalid = |field, reason| Err(Error::InvalidConfig { field, reason });
        if v4.prefix_len() > 30 {
            return invalid("pod_cidr", format!("{v4} has no room for a gateway and a pod"));
        }
        if v6.is_some_and(|net| net.prefix_len() > net.max_prefix_len() - host_bits(v4)) {
            return invalid("pod_cidr_v6", format!("has fewer addresses than {v4}"));
        }
        // The network's own address, the gateway's and the broadcast address are no pod's.
        let capacity = ((1_u64 << host_bits(v4)) - 3).min(MAX_SLOTS as u64) as usize;
        let used = vec![0; capacity.div_ceil(SLOTS_PER_WORD)];
        Ok(Self { v4: v4.trunc(), v6: v6.map(|net| net.trunc()), capacity, used, cursor: 0 })
    }

    pub(crate) fn cidrs(&self) -> Vec<IpNet> {
        [IpNet::V4(self.v4)].into_iter().chain(self.v6.map(IpNet::V6)).collect()
    }

    pub(crate) fn gateways(&self) -> Vec<IpAddr> {
        self.at_offset(1)
    }

    pub(crate) fn addresses(&self, slot: usize) -> PodAddresses {
        let ips = self.at_offset(slot as u32 + FIRST_POD_OFFSET);
        PodAddresses { ips, gateways: self.gateways() }
    }

    /// Takes the next free slot after the one that was taken last.
    pub(crate) fn allocate(&mut self) -> Result<usize, Error> {
        let slot = self
            .first_free(self.cursor..self.capacity)
            .or_else(|| self.first_free(0..self.cursor))
            .ok_or(Error::AddressesExhausted { cidr: self.v4.into(), capacity: self.capacity })?;
        self.mark(slot);
        Ok(slot)
    }

    /// Takes the slot of an address that a pod has already; `None` when the address isn't a pod's
    /// of this pool or is taken.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "for the bridge alone"))]
    pub(crate) fn claim(&mut self, ip: IpAddr) -> Option<usize> {
        let IpAddr::V4(ip) = ip else { return None };
        let offset = u32::from(ip).checked_sub(u32::from(self.v4.network()))?;
        let slot = offset.checked_sub(FIRST_POD_OFFSET)? as usize;
        if slot >= self.capacity || self.is_used(slot) {
            return None;
        }
        self.mark(slot);
        Some(slot)
    }

    pub(crate) fn release(&mut self, slot: usize) {
        debug_assert!(self.is_used(slot), "slot {slot} was not taken");
        self.used[slot / SLOTS_PER_WORD] &= !(1 << (slot % SLOTS_PER_WORD));
    }

    fn at_offset(&self, offset: u32) -> Vec<IpAddr> {
        let v4 = IpAddr::V4((u32::from(self.v4.network()) + offset).into());
        let v6 = self.v6.map(|net| (u128::from(net.network()) + u128::from(offset)).into());
        [v4].into_iter().chain(v6.map(IpAddr::V6)).collect()
    }

    fn is_used(&self, slot: usize) -> bool {
        self.used[slot / SLOTS_PER_WORD] & (1 << (slot % SLOTS_PER_WORD)) != 0
    }

    fn mark(&mut self, slot: usize) {
        self.used[slot / SLOTS_PER_WORD] |= 1 << (slot % SLOTS_PER_WORD);
        self.cursor = (slot + 1) % self.capacity;
    }

    fn first_free(&self, slots: Range<usize>) -> Option<usize> {
        let mut slot = slots.start;
        while slot < slots.end {
            let free = !self.used[slot / SLOTS_PER_WORD] >> (slot % SLOTS_PER_WORD);
            if free != 0 {
                let found = slot + free.trailing_zeros() as usize;
                return (found < slots.end).then_some(found);
            }
            slot = (slot / SLOTS_PER_WORD + 1) * SLOTS_PER_WORD;
        }
        None
    }
}

fn host_bits(net: Ipv4Net) -> u8 {
    net.max_prefix_len() - net.prefix_len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pool(cidr: &str) -> AddressPool {
        AddressPool::new(cidr.parse().unwrap(), None).unwrap()
    }

    fn ip(pool: &AddressPool, slot: usize) -> String {
        pool.addresses(slot).ips[0].to_string()
    }

    #[test]
    fn an_address_rests_until_the_others_have_had_their_turn() {
        let mut pool = pool("10.0.0.0/29");
        let first = pool.allocate().unwrap();
        assert_eq!(ip(&pool, first), "10.0.0.2");
        pool.release(first);
        let rest: Vec<_> = (0..4)
            .map(|_| {
                let slot = pool.allocate().unwrap();
                ip(&pool, slot)
            })
            .collect();
        assert_eq!(rest, ["10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"]);
        assert_eq!(pool.allocate().unwrap(), first);
    }

    #[test]
    fn a_full_pool_says_how_many_it_holds() {
        let mut pool = pool("10.0.0.0/30");
        pool.allocate().unwrap();
        let error = pool.allocate().unwrap_err();
        assert_eq!(error.to_string(), "all 1 pod addresses of 10.0.0.0/30 are in use");
    }

    #[test]
    fn both_families_share_a_slot() {
        let v6 = "fd00:10::/64".parse().unwrap();
        let mut pool = AddressPool::new("10.0.0.0/24".parse().unwrap(), Some(v6)).unwrap();
        let slot = pool.allocate().unwrap();
        let addresses = pool.addresses(slot);
        let text = |ips: &[IpAddr]| ips.iter().map(IpAddr::to_string).collect::<Vec<_>>();
        assert_eq!(text(&addresses.ips), ["10.0.0.2", "fd00:10::2"]);
        assert_eq!(text(&addresses.gateways), ["10.0.0.1", "fd00:10::1"]);
    }

    #[test]
    fn ranges_without_room_are_refused() {
        let refused = |v4: &str, v6: Option<&str>| {
            let v6 = v6.map(|net| net.parse().unwrap());
            matches!(AddressPool::new(v4.parse().unwrap(), v6), Err(Error::InvalidConfig { .. }))
        };
        assert!(refused("10.0.0.0/31", None));
        assert!(refused("10.0.0.0/24", Some("fd00::/121")));
        assert!(!refused("10.0.0.0/24", Some("fd00::/120")));
        assert!(!refused("10.0.0.0/8", None));
    }

    #[test]
    fn only_addresses_of_pods_can_be_claimed() {
        let mut pool = pool("10.0.0.0/29");
        let mut claim = |ip: &str| pool.claim(ip.parse().unwrap()).is_some();
        for foreign in ["10.0.0.0", "10.0.0.1", "10.0.0.7", "9.255.255.255", "10.0.1.2", "fd00::2"]
        {
            assert!(!claim(foreign), "{foreign}");
        }
        assert!(claim("10.0.0.4"));
        assert!(!claim("10.0.0.4"), "it is taken");
    }

    proptest! {
        #[test]
        fn no_slot_has_two_owners_and_none_is_lost(
            prefix in 26_u8..=29,
            takes in proptest::collection::vec((any::<bool>(), any::<prop::sample::Index>()), 0..200),
        ) {
            let net = Ipv4Net::new([10, 9, 8, 0].into(), prefix).unwrap();
            let mut pool = AddressPool::new(net, None).unwrap();
            let mut held: Vec<usize> = Vec::new();
            for (take, which) in takes {
                if !take && !held.is_empty() {
                    pool.release(held.swap_remove(which.index(held.len())));
                    continue;
                }
                match pool.allocate() {
                    Ok(slot) => {
                        prop_assert!(slot < pool.capacity && !held.contains(&slot));
                        held.push(slot);
                    }
                    Err(_) => prop_assert_eq!(held.len(), pool.capacity),
                }
            }
        }
    }
}
