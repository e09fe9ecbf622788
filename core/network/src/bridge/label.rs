use std::net::IpAddr;

/// What the kernel keeps for us about a pod, as the alias of the node's end of its virtual cable.
/// It is written when all else is in place, so that an interface without one is unfinished work of
/// a program that died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodLabel {
    pub(crate) pod_uid: String,
    /// The inode of the pod's network namespace.
    pub(crate) namespace: u64,
    pub(crate) ips: Vec<IpAddr>,
}

const POD: &str = "pinnace-pod";
const BRIDGE: &str = "pinnace-bridge";

/// The kernel holds 255 bytes of alias.
const MAX_OWNER_BYTES: usize = 200;

impl PodLabel {
    pub(crate) fn to_alias(&self) -> String {
        let ips: Vec<_> = self.ips.iter().map(IpAddr::to_string).collect();
        format!("{POD} {} {} {}", self.pod_uid, self.namespace, ips.join(","))
    }

    pub(crate) fn from_alias(alias: &str) -> Option<Self> {
        let mut words = alias.split(' ');
        if words.next()? != POD {
            return None;
        }
        let pod_uid = words.next()?.to_owned();
        let namespace = words.next()?.parse().ok()?;
        let ips = words.next()?.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
        words.next().is_none().then_some(Self { pod_uid, namespace, ips })
    }
}

/// The alias of a bridge says whose it is; of a very long owner, the end is what tells it apart.
pub(crate) fn bridge_alias(owner: &str) -> String {
    let mut start = owner.len().saturating_sub(MAX_OWNER_BYTES);
    while !owner.is_char_boundary(start) {
        start += 1;
    }
    format!("{BRIDGE} {}", &owner[start..])
}

/// A number that is the same for the same text in every version and on every machine (FNV-1a).
pub(crate) fn stable_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// An interface name of at most 15 bytes: `prefix` and then letters that follow from `seed`.
pub(crate) fn interface_name(prefix: &str, seed: &str) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let hash = stable_hash(seed);
    let letters = (0..super::config::MAX_INTERFACE_NAME_BYTES - prefix.len())
        .map(|place| char::from(LETTERS[(hash >> (5 * place) & 31) as usize]));
    prefix.chars().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_label_comes_back_from_its_alias() {
        let label = PodLabel {
            pod_uid: "5b0c8f0e-6d5a-4a39-9b65-7f7d1b7a6c11".to_owned(),
            namespace: 4_026_532_290,
            ips: vec!["10.1.2.3".parse().unwrap(), "fd00::3".parse().unwrap()],
        };
        assert_eq!(PodLabel::from_alias(&label.to_alias()), Some(label));
    }

    #[test]
    fn other_aliases_are_no_pod_labels() {
        for alias in ["", "uplink", "pinnace-pod", "pinnace-pod a 1", "pinnace-pod a x 10.0.0.1"] {
            assert_eq!(PodLabel::from_alias(alias), None, "{alias:?}");
        }
        assert_eq!(PodLabel::from_alias("pinnace-pod a 1 10.0.0.1 more"), None);
    }

    #[test]
    fn names_fit_the_kernel_and_do_not_change() {
        assert_eq!(interface_name("pod", "x"), interface_name("pod", "x"));
        assert_eq!(interface_name("pod", "x").len(), 15);
        assert_ne!(interface_name("pod", "x"), interface_name("pod", "y"));
        assert!(bridge_alias(&"ü".repeat(300)).len() < 256);
    }
}
