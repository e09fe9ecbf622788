use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath,
    ObjectFieldSelector, Pod, PodSpec, ProjectedVolumeSource, ServiceAccount as Account,
    ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use pinnace_api::{ApiError, Key, Result};
use pinnace_env::Env;

use super::{Admission, AdmissionRequest, Operation};

const DEFAULT: &str = "default";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Where programs look for their token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// Characters that make the volume's name its own.
const SUFFIX: usize = 5;
/// Seconds that a token in a pod is good for: an hour, and a little to tell it from others.
const TOKEN_SECONDS: i64 = 60 * 60 + 7;
const MODE: i32 = 0o644;

/// Lets pods run as a service account that there is, and mounts its token.
pub(crate) struct ServiceAccount {
    env: Env,
}

impl ServiceAccount {
    pub(crate) fn new(env: Env) -> Self {
        Self { env }
    }
}

impl Admission for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn admit(&self, request: &mut AdmissionRequest<'_>) -> Result<()> {
        if request.operation != Operation::Create || request.subresource.is_some() {
            return Ok(());
        }
        let namespace = request.key.namespace();
        let pod = request.new.as_mut().and_then(|new| new.get_mut::<Pod>());
        let Some(pod) = pod else { return Ok(()) };
        let annotations = pod.metadata.annotations.as_ref();
        if annotations.is_some_and(|all| all.contains_key(MIRROR)) {
            return Ok(());
        }
        let spec = pod.spec.get_or_insert_default();
        let name = spec.service_account_name.clone().filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| DEFAULT.to_owned());
        let found = request.snapshot.get("serviceaccounts", &Key::new(namespace, name.as_str()));
        let missing = || {
            let why = format!(
                "error looking up service account {namespace}/{name}: serviceaccount {name:?} not \
                 found"
            );
            ApiError::forbidden(request.resource, request.key.name(), &why)
        };
        let account = found.ok_or_else(missing)?.get::<Account>()?;
        let automount = spec.automount_service_account_token;
        let automount = automount.or(account.automount_service_account_token).unwrap_or(true);
        spec.service_account = Some(name.clone());
        spec.service_account_name = Some(name);
        if automount {
            self.mount(spec);
        }
        if spec.image_pull_secrets.as_ref().is_none_or(Vec::is_empty) {
            spec.image_pull_secrets.clone_from(&account.image_pull_secrets);
        }
        Ok(())
    }
}

impl ServiceAccount {
    fn mount(&self, spec: &mut PodSpec) {
        let volumes = spec.volumes.get_or_insert_default();
        let given = volumes.iter().find(|volume| volume.name.starts_with(VOLUME_PREFIX));
        let name = match given {
            Some(volume) => volume.name.clone(),
            None => format!("{VOLUME_PREFIX}{}", self.env.random().suffix(SUFFIX)),
        };
        let known = given.is_some();
        let mut used = false;
        let init = spec.init_containers.iter_mut().flatten();
        for container in init.chain(&mut spec.containers) {
            used |= mount_in(container, &name);
        }
        if used && !known {
            volumes.push(volume(name));
        }
    }
}

/// Whether the container has come to need the volume.
fn mount_in(container: &mut Container, volume: &str) -> bool {
    let mounts = container.volume_mounts.get_or_insert_default();
    if mounts.iter().any(|mount| mount.mount_path == MOUNT_PATH) {
        return false;
    }
    mounts.push(VolumeMount {
        name: volume.to_owned(),
        read_only: Some(true),
        mount_path: MOUNT_PATH.to_owned(),
        ..VolumeMount::default()
    });
    true
}

fn volume(name: String) -> Volume {
    let token = VolumeProjection {
        service_account_token: Some(ServiceAccountTokenProjection {
            path: "token".to_owned(),
            expiration_seconds: Some(TOKEN_SECONDS),
            ..ServiceAccountTokenProjection::default()
        }),
        ..VolumeProjection::default()
    };
    let authority =
        KeyToPath { key: "ca.crt".to_owned(), path: "ca.crt".to_owned(), ..KeyToPath::default() };
    let authorities = VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: "kube-root-ca.crt".to_owned(),
            items: Some(vec![authority]),
            ..ConfigMapProjection::default()
        }),
        ..VolumeProjection::default()
    };
    let namespace = DownwardAPIVolumeFile {
        path: "namespace".to_owned(),
        field_ref: Some(ObjectFieldSelector {
            api_version: Some("v1".to_owned()),
            field_path: "metadata.namespace".to_owned(),
        }),
        ..DownwardAPIVolumeFile::default()
    };
    let about = VolumeProjection {
        downward_api: Some(DownwardAPIProjection { items: Some(vec![namespace]) }),
        ..VolumeProjection::default()
    };
    Volume {
        name,
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(MODE),
            sources: Some(vec![token, authorities, about]),
        }),
        ..Volume::default()
    }
}
