//! The short name of a pod template.

use k8s_openapi::api::core::v1::PodTemplateSpec;

/// The characters of a hash: those of generated names.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A short name for a template, different after each collision.
pub(crate) fn hash(template: &PodTemplateSpec, collisions: i32) -> String {
    // FNV-1a: stable across versions and machines, which a hasher of the standard library is not.
    let mut hash: u32 = 0x811c_9dc5;
    let json = serde_json::to_vec(template).unwrap_or_default();
    for byte in json.into_iter().chain(collisions.to_le_bytes()) {
        hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    }
    let digits = hash.to_string();
    digits.bytes().map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collision_gives_another_name() {
        let template = PodTemplateSpec::default();
        assert_ne!(hash(&template, 0), hash(&template, 1));
    }
}
