//! Paths of files, as far as they may lead.

use crate::field::{ErrorList, Path};

/// Most bits of a file's mode.
const MODE_MAX: i32 = 0o777;

/// A path may not climb up.
pub(super) fn no_backsteps(target: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if has_backstep(target) {
        errors.invalid(path, target, "must not contain '..'");
    }
}

/// Whether a path climbs up.
pub(super) fn has_backstep(target: &str) -> bool {
    target.split('/').any(|part| part == "..")
}

/// A path must lead down from where it starts.
pub(super) fn local_descending(target: &str, path: &Path<'_>, errors: &mut ErrorList) {
    if target.starts_with('/') {
        errors.invalid(path, target, "must be a relative path");
    }
    no_backsteps(target, path, errors);
}

/// A path must lead down and not begin with what is reserved for atomic updates of volumes.
pub(super) fn local_non_reserved(target: &str, path: &Path<'_>, errors: &mut ErrorList) {
    local_descending(target, path, errors);
    if target.starts_with("..") && !target.starts_with("../") {
        errors.invalid(path, target, "must not start with '..'");
    }
}

/// A file's mode must be one.
pub(super) fn mode(mode: Option<i32>, path: &Path<'_>, errors: &mut ErrorList) {
    if let Some(mode) = mode
        && !(0..=MODE_MAX).contains(&mode)
    {
        let why = "must be a number between 0 and 0777 (octal), both inclusive";
        errors.invalid(path, mode, why);
    }
}
