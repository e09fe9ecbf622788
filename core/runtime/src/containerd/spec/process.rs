use std::path::PathBuf;

use oci_spec::runtime::{Process, User as OciUser};

use super::{Inputs, capabilities};
use crate::{Error, Result};

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What runs, as whom, where and with which environment.
pub(super) fn process(inputs: &Inputs<'_>) -> Result<Process> {
    let config = inputs.config;
    let mut user = OciUser::default();
    user.set_uid(inputs.user.uid)
        .set_gid(inputs.user.gid)
        .set_additional_gids(Some(inputs.user.groups.clone()));
    let mut process = Process::default();
    process
        .set_terminal(Some(config.tty))
        .set_user(user)
        .set_args(Some(arguments(inputs)?))
        .set_env(Some(environment(inputs)))
        .set_cwd(working_directory(inputs)?)
        .set_capabilities(Some(capabilities::capabilities(&config.security)?))
        .set_rlimits(None)
        .set_no_new_privileges(Some(config.security.no_new_privileges))
        .set_oom_score_adj(Some(config.resources.oom_score_adj.max(inputs.lowest_oom_score)));
    let named = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
    if !config.security.privileged {
        process.set_apparmor_profile(named(&config.security.app_armor));
    }
    process.set_selinux_label(named(&config.security.selinux_label));
    Ok(process)
}

/// `command` replaces both of the image's, `args` the image's arguments alone.
fn arguments(inputs: &Inputs<'_>) -> Result<Vec<String>> {
    let config = inputs.config;
    let image = inputs.image.config().as_ref();
    let entry_point = image.and_then(|image| image.entrypoint().clone()).unwrap_or_default();
    let command = image.and_then(|image| image.cmd().clone()).unwrap_or_default();
    let (first, rest) = match (config.command.is_empty(), config.args.is_empty()) {
        (false, _) => (&config.command, &config.args),
        (true, false) => (&entry_point, &config.args),
        (true, true) => (&entry_point, &command),
    };
    let arguments: Vec<String> = first.iter().chain(rest).cloned().collect();
    if arguments.first().is_none_or(String::is_empty) {
        return Err(Error::InvalidConfig("no command specified".into()));
    }
    Ok(arguments)
}

/// The default path, the host name, the image's and the container's own: later entries win, but
/// keep the place of the earlier.
fn environment(inputs: &Inputs<'_>) -> Vec<String> {
    let config = inputs.config;
    let mut environment = vec![DEFAULT_PATH.to_owned()];
    if config.tty {
        environment.push("TERM=xterm".into());
    }
    if !inputs.pod.hostname.is_empty() {
        environment.push(format!("HOSTNAME={}", inputs.pod.hostname));
    }
    let image = inputs.image.config().as_ref().and_then(|image| image.env().clone());
    let own = config.env.iter().map(|(name, value)| format!("{name}={value}"));
    for entry in image.into_iter().flatten().chain(own) {
        let name = entry.split('=').next().unwrap_or_default();
        match environment.iter_mut().find(|known| known.split('=').next() == Some(name)) {
            Some(known) => *known = entry,
            None => environment.push(entry),
        }
    }
    environment
}

/// runc makes it when it does not exist.
fn working_directory(inputs: &Inputs<'_>) -> Result<PathBuf> {
    let image = inputs.image.config().as_ref().and_then(|image| image.working_dir().clone());
    let given = Some(inputs.config.working_dir.clone()).filter(|given| !given.is_empty());
    let directory = given.or(image).filter(|directory| !directory.is_empty());
    let directory = PathBuf::from(directory.unwrap_or_else(|| "/".into()));
    if !directory.is_absolute() {
        let shown = directory.display();
        return Err(Error::InvalidConfig(format!("working directory {shown} is not absolute")));
    }
    Ok(directory)
}
