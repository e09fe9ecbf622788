use k8s_openapi::api::core::v1::{
    ConfigMapProjection, EnvFromSource, EnvVar, PersistentVolume, Pod, PodSpec, SecretProjection,
    Volume,
};

const MIRROR: &str = "kubernetes.io/config.mirror";

/// Whether a pod mirrors what a node runs by itself.
pub(crate) fn is_mirror(pod: &Pod) -> bool {
    pod.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(MIRROR))
}

/// What a pod refers to, by name within its namespace. What a node must read to run it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct References {
    pub(crate) account: String,
    pub(crate) secrets: Vec<String>,
    pub(crate) config_maps: Vec<String>,
    pub(crate) claims: Vec<String>,
    pub(crate) resource_claims: Vec<String>,
}

impl References {
    /// Those of a pod; a mirror of what a node runs by itself gives the node nothing.
    pub(crate) fn of(pod: &Pod) -> Self {
        if is_mirror(pod) { Self::default() } else { Self::of_any(pod) }
    }

    /// Those of a pod, whatever it mirrors.
    pub(crate) fn of_any(pod: &Pod) -> Self {
        let mut found = Self::default();
        let Some(spec) = pod.spec.as_ref() else { return found };
        found.account = spec.service_account_name.clone().unwrap_or_default();
        let pulls = spec.image_pull_secrets.iter().flatten();
        found.secrets.extend(pulls.map(|secret| secret.name.clone()));
        found.add_containers(spec);
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        for volume in spec.volumes.iter().flatten() {
            found.add_volume(volume, name);
        }
        let statuses = pod.status.iter().flat_map(|status| &status.resource_claim_statuses);
        let made = statuses.flatten().filter_map(|one| one.resource_claim_name.clone());
        let given = spec.resource_claims.iter().flatten();
        let given = given.filter_map(|claim| claim.resource_claim_name.clone());
        let extended = pod.status.as_ref().and_then(|status| {
            status
                .extended_resource_claim_status
                .as_ref()
                .map(|one| one.resource_claim_name.clone())
        });
        found.resource_claims.extend(given.chain(made).chain(extended));
        found
    }

    fn add_containers(&mut self, spec: &PodSpec) {
        let ephemeral = spec.ephemeral_containers.iter().flatten();
        let containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        for container in containers {
            self.add_environment(&container.env, &container.env_from);
        }
        for container in ephemeral {
            self.add_environment(&container.env, &container.env_from);
        }
    }

    fn add_environment(
        &mut self,
        single: &Option<Vec<EnvVar>>,
        whole: &Option<Vec<EnvFromSource>>,
    ) {
        let singles = single.iter().flatten().filter_map(|one| one.value_from.as_ref());
        for from in singles {
            let secret = from.secret_key_ref.as_ref().map(|secret| secret.name.clone());
            self.secrets.extend(secret);
            let map = from.config_map_key_ref.as_ref().map(|map| map.name.clone());
            self.config_maps.extend(map);
        }
        for from in whole.iter().flatten() {
            self.secrets.extend(from.secret_ref.as_ref().map(|secret| secret.name.clone()));
            self.config_maps.extend(from.config_map_ref.as_ref().map(|map| map.name.clone()));
        }
    }

    fn add_volume(&mut self, volume: &Volume, pod: &str) {
        let claim = volume.persistent_volume_claim.as_ref();
        self.claims.extend(claim.map(|claim| claim.claim_name.clone()));
        self.claims.extend(volume.ephemeral.as_ref().map(|_| format!("{pod}-{}", volume.name)));
        self.config_maps.extend(volume.config_map.as_ref().map(|map| map.name.clone()));
        self.secrets.extend(secret_of(volume));
        let projected = volume.projected.iter().flat_map(|all| all.sources.iter().flatten());
        for source in projected {
            let secret = source.secret.as_ref().map(|SecretProjection { name, .. }| name.clone());
            self.secrets.extend(secret);
            let map = source.config_map.as_ref();
            self.config_maps.extend(map.map(|ConfigMapProjection { name, .. }| name.clone()));
        }
    }
}

/// The secret that a volume is, or is mounted by.
fn secret_of(volume: &Volume) -> Option<String> {
    if let Some(secret) = &volume.secret {
        return secret.secret_name.clone();
    }
    let local = [
        volume.cephfs.as_ref().and_then(|source| source.secret_ref.clone()),
        volume.cinder.as_ref().and_then(|source| source.secret_ref.clone()),
        volume.flex_volume.as_ref().and_then(|source| source.secret_ref.clone()),
        volume.iscsi.as_ref().and_then(|source| source.secret_ref.clone()),
        volume.rbd.as_ref().and_then(|source| source.secret_ref.clone()),
        volume.scale_io.as_ref().map(|source| source.secret_ref.clone()),
        volume.storageos.as_ref().and_then(|source| source.secret_ref.clone()),
        volume.csi.as_ref().and_then(|source| source.node_publish_secret_ref.clone()),
    ];
    let local = local.into_iter().flatten().next().map(|secret| secret.name);
    local.or_else(|| volume.azure_file.as_ref().map(|source| source.secret_name.clone()))
}

/// The secrets that a volume of the cluster is mounted by, as namespace and name. Those by which a
/// driver's controller publishes and grows it are of no node's concern.
pub(super) fn volume_secrets(volume: &PersistentVolume) -> Vec<(String, String)> {
    let Some(spec) = &volume.spec else { return Vec::new() };
    let of_claim = spec.claim_ref.as_ref().and_then(|claim| claim.namespace.clone());
    let csi = spec.csi.as_ref();
    let references = [
        csi.and_then(|csi| csi.node_publish_secret_ref.clone()),
        csi.and_then(|csi| csi.node_stage_secret_ref.clone()),
        csi.and_then(|csi| csi.node_expand_secret_ref.clone()),
        spec.cephfs.as_ref().and_then(|source| source.secret_ref.clone()),
        spec.cinder.as_ref().and_then(|source| source.secret_ref.clone()),
        spec.flex_volume.as_ref().and_then(|source| source.secret_ref.clone()),
        spec.iscsi.as_ref().and_then(|source| source.secret_ref.clone()),
        spec.rbd.as_ref().and_then(|source| source.secret_ref.clone()),
        spec.scale_io.as_ref().map(|source| source.secret_ref.clone()),
    ];
    let mut found: Vec<_> = references
        .into_iter()
        .flatten()
        .filter_map(|one| Some((one.namespace.or_else(|| of_claim.clone())?, one.name?)))
        .collect();
    if let Some(file) = &spec.azure_file {
        let namespace = file.secret_namespace.clone().or(of_claim);
        found.extend(namespace.map(|namespace| (namespace, file.secret_name.clone())));
    }
    found
}
