use k8s_openapi::api::core::v1::VolumeMount;

/// Whether what is mounted below a volume is read-only, too, as the mount asks for.
///
/// # Errors
/// In upstream's words, what keeps it from being so.
pub(crate) fn is_recursive(mount: &VolumeMount, supported: bool) -> Result<bool, String> {
    let mode = mount.recursive_read_only.as_deref().unwrap_or(DISABLED);
    if mode == DISABLED {
        return Ok(false);
    }
    let but = |why: &str| {
        Err(format!("volume {:?} requested recursive read-only mode, but {why}", mount.name))
    };
    if mount.read_only != Some(true) {
        return but("it is not read-only");
    }
    let propagation = mount.mount_propagation.as_deref().unwrap_or("None");
    if propagation != "None" {
        return but(&format!("it is not compatible with propagation {propagation:?}"));
    }
    match mode {
        "IfPossible" => Ok(supported),
        ENABLED if supported => Ok(true),
        ENABLED => but("it is not supported by the runtime"),
        other => Err(format!("unknown recursive read-only mode {other:?}")),
    }
}

/// What a container's status says of a read-only mount.
pub(crate) fn told(mount: &VolumeMount, supported: bool) -> &'static str {
    if is_recursive(mount, supported) == Ok(true) { ENABLED } else { DISABLED }
}

const ENABLED: &str = "Enabled";
const DISABLED: &str = "Disabled";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_read_only_as_deep_as_it_asks_for_and_the_runtime_can() {
        let check = |mode: Option<&str>, supported, expected: Result<bool, &str>| {
            let mount = VolumeMount {
                name: "v".to_owned(),
                read_only: Some(true),
                recursive_read_only: mode.map(str::to_owned),
                ..VolumeMount::default()
            };
            let found = is_recursive(&mount, supported);
            assert_eq!(found.as_ref().copied().map_err(String::as_str), expected);
            let told = told(&mount, supported);
            assert_eq!(told == "Enabled", expected == Ok(true));
        };
        check(None, true, Ok(false));
        check(Some("Disabled"), true, Ok(false));
        check(Some("IfPossible"), true, Ok(true));
        check(Some("IfPossible"), false, Ok(false));
        check(Some("Enabled"), true, Ok(true));
        let why = "volume \"v\" requested recursive read-only mode, but it is not supported by the \
                   runtime";
        check(Some("Enabled"), false, Err(why));
    }
}
