mod mountable;

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, DownwardAPIProjection, DownwardAPIVolumeFile, KeyToPath,
    ObjectFieldSelector, Pod, PodSpec, ProjectedVolumeSource, ServiceAccount as Account,
    ServiceAccountTokenProjection, Volume, VolumeMount, VolumeProjection,
};
use pinnace_api::{ApiError, Key, Resource, Result};
use pinnace_client::Subresource;
use pinnace_env::Env;
use pinnace_store::Snapshot;

use super::{Admission, AdmissionRequest, Operation};
use crate::node_authorizer::{References, is_mirror};
use mountable::Mountable;

const DEFAULT: &str = "default";
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
        if is_mirror(pod) {
            let problem = mirrors(pod).map(|why| refused(request.resource, request.key, why));
            return problem.map_or(Ok(()), Err);
        }
        let spec = pod.spec.get_or_insert_default();
        let name = spec.service_account_name.clone().filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| DEFAULT.to_owned());
        let account = find(request.snapshot, namespace, &name);
        let account = account.map_err(|why| refused(request.resource, request.key, &why))?;
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

    fn review(&self, request: &AdmissionRequest<'_>) -> Result<()> {
        let Some(pod) = request.new.as_deref().and_then(|new| new.get::<Pod>()) else {
            return Ok(());
        };
        let named = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
        let find = || find(request.snapshot, request.key.namespace(), named.unwrap_or_default());
        let problem = match (request.operation, request.subresource) {
            (Operation::Create, None) if is_mirror(pod) => mirrors(pod).map(str::to_owned),
            (Operation::Create, None) => {
                find().map_or_else(Some, |account| Mountable::of(account)?.problem(pod))
            }
            (Operation::Update, Some(Subresource::EphemeralContainers)) => {
                find().map_or_else(Some, |account| Mountable::of(account)?.later_problem(pod))
            }
            _ => None,
        };
        match problem {
            Some(why) => Err(refused(request.resource, request.key, &why)),
            None => Ok(()),
        }
    }
}

/// An account, or why there is none.
fn find<'a>(snapshot: &'a Snapshot, namespace: &str, name: &str) -> Result<&'a Account, String> {
    let found = snapshot.get("serviceaccounts", &Key::new(namespace, name));
    found.and_then(|found| found.get::<Account>().ok()).ok_or_else(|| {
        format!(
            "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
        )
    })
}

fn refused(resource: &Resource, key: &Key, why: &str) -> ApiError {
    ApiError::forbidden(resource, key.name(), why)
}

/// What a mirror of what a node runs by itself has and may not, lest the node gets at it.
fn mirrors(pod: &Pod) -> Option<&'static str> {
    let found = References::of_any(pod);
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let projected = volumes.filter_map(|volume| volume.projected.as_ref()?.sources.as_ref());
    let mut sources = projected.flatten();
    if !found.account.is_empty() {
        return Some("a mirror pod may not reference service accounts");
    }
    if !found.secrets.is_empty() {
        return Some("a mirror pod may not reference secrets");
    }
    let tokens = sources.any(|source| source.service_account_token.is_some());
    tokens.then_some("a mirror pod may not use ServiceAccountToken volume projections")
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
