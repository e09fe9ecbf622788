//! What the machine's kernel has of what pods may ask for.

use std::fs;
use std::path::Path;

/// Whether AppArmor confines what runs here.
pub(crate) fn has_app_armor() -> bool {
    let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
    enabled.is_ok_and(|enabled| enabled.trim() == "Y")
}

/// Whether SELinux labels what runs here.
pub(crate) fn has_selinux() -> bool {
    Path::new("/sys/fs/selinux/enforce").exists()
}
