use std::collections::HashSet;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, Pod, ServiceAccount};

const ANNOTATION: &str = "kubernetes.io/enforce-mountable-secrets";

/// The secrets that pods of an account may refer to, of an account that lists them.
pub(super) struct Mountable<'a> {
    account: &'a str,
    secrets: HashSet<&'a str>,
    pulls: HashSet<&'a str>,
}

impl<'a> Mountable<'a> {
    /// `None` for an account whose pods may refer to all.
    pub(super) fn of(account: &'a ServiceAccount) -> Option<Self> {
        let says = account.metadata.annotations.as_ref()?.get(ANNOTATION)?;
        let enforced = matches!(says.as_str(), "1" | "t" | "T" | "TRUE" | "true" | "True");
        let secrets = account.secrets.iter().flatten().filter_map(|one| one.name.as_deref());
        let pulls = account.image_pull_secrets.iter().flatten().map(|one| one.name.as_str());
        enforced.then(|| Self {
            account: account.metadata.name.as_deref().unwrap_or_default(),
            secrets: secrets.collect(),
            pulls: pulls.collect(),
        })
    }

    /// What a pod refers to and may not.
    pub(super) fn problem(&self, pod: &Pod) -> Option<String> {
        let spec = pod.spec.as_ref()?;
        let volumes = spec.volumes.iter().flatten().filter_map(|volume| volume.secret.as_ref());
        let names = volumes.map(|secret| secret.secret_name.as_deref().unwrap_or_default());
        let volume = |name| self.unlisted(name, "volume with ".to_owned());
        let init = spec.init_containers.iter().flatten();
        let init = init.map(|one| ("init container", &one.name, &one.env, &one.env_from));
        let main = spec.containers.iter();
        let main = main.map(|one| ("container", &one.name, &one.env, &one.env_from));
        let mut containers = init.chain(main);
        let mut pulls = spec.image_pull_secrets.iter().flatten().enumerate();
        let pull = || {
            let (at, secret) = pulls.find(|(_, one)| !self.pulls.contains(one.name.as_str()))?;
            let (name, account) = (&secret.name, self.account);
            Some(format!(
                "imagePullSecrets[{at}].name=\"{name}\" is not allowed because service account \
                 {account} does not reference that imagePullSecret"
            ))
        };
        names
            .into_iter()
            .find_map(volume)
            .or_else(|| {
                containers
                    .find_map(|(what, name, env, from)| self.in_container(what, name, env, from))
            })
            .or_else(pull)
    }

    /// What containers that a pod gets later refer to and may not.
    pub(super) fn later_problem(&self, pod: &Pod) -> Option<String> {
        let mut containers = pod.spec.as_ref()?.ephemeral_containers.iter().flatten();
        containers.find_map(|one| {
            self.in_container("ephemeral container", &one.name, &one.env, &one.env_from)
        })
    }

    fn in_container(
        &self,
        what: &str,
        name: &str,
        single: &Option<Vec<EnvVar>>,
        whole: &Option<Vec<EnvFromSource>>,
    ) -> Option<String> {
        let mut singles = single.iter().flatten().filter_map(|one| {
            let secret = one.value_from.as_ref()?.secret_key_ref.as_ref()?;
            Some((&one.name, secret.name.as_str()))
        });
        let mut wholes = whole.iter().flatten().filter_map(|one| one.secret_ref.as_ref());
        let of_single = |(variable, secret): (&String, &str)| {
            self.unlisted(secret, format!("{what} {name} with envVar {variable} referencing "))
        };
        singles.find_map(of_single).or_else(|| {
            wholes.find_map(|secret| {
                self.unlisted(&secret.name, format!("{what} {name} with envFrom referencing "))
            })
        })
    }

    fn unlisted(&self, secret: &str, what: String) -> Option<String> {
        let account = self.account;
        (!self.secrets.contains(secret)).then(|| {
            format!(
                "{what}secret.secretName=\"{secret}\" is not allowed because service account \
                 {account} does not reference that secret"
            )
        })
    }
}
