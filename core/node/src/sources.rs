//! What a pod refers to: ConfigMaps, Secrets and claims.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::{
    ConfigMap, Container, PersistentVolume, PersistentVolumeClaim, Pod, Secret, Volume,
};
use pinnace_api::{ApiError, Key, Typed, volumes};
use pinnace_client::Client;

use crate::pod::record;
use crate::pod::tokens::{Token, Wanted};

/// What a pod depends on, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Reference {
    ConfigMap(String),
    Secret(String),
    /// A PersistentVolumeClaim.
    Claim(String),
    /// A VolumeAttachment, which has no namespace.
    Attachment(String),
}

/// What was found of them.
#[derive(Default)]
pub(crate) struct Sources {
    config_maps: BTreeMap<String, Option<Typed<ConfigMap>>>,
    secrets: BTreeMap<String, Option<Typed<Secret>>>,
    tokens: Vec<Token>,
    /// The volumes that claims are bound to, by the claim's name.
    claims: BTreeMap<String, Result<Typed<PersistentVolume>, String>>,
    /// Where drivers have put volumes, by the volume's name in the pod.
    published: BTreeMap<String, PathBuf>,
}

impl Sources {
    /// Reads what is there; what is not there is no error yet, for it may be optional.
    pub(crate) async fn read(
        client: &Client,
        namespace: &str,
        references: Vec<Reference>,
    ) -> Result<Self, ApiError> {
        let mut sources = Self::default();
        for reference in references {
            match reference {
                Reference::ConfigMap(name) if !sources.config_maps.contains_key(&name) => {
                    let key = Key::new(namespace, name.as_str());
                    let found = client.of::<ConfigMap>()?.find(&key).await?;
                    sources.config_maps.insert(name, found);
                }
                Reference::Secret(name) if !sources.secrets.contains_key(&name) => {
                    let key = Key::new(namespace, name.as_str());
                    let found = client.of::<Secret>()?.find(&key).await?;
                    sources.secrets.insert(name, found);
                }
                _ => {}
            }
        }
        Ok(sources)
    }

    /// Adds the tokens that volumes show.
    pub(crate) fn with_tokens(self, tokens: Vec<Token>) -> Self {
        Self { tokens, ..self }
    }

    pub(crate) fn token(&self, wanted: &Wanted) -> Option<&str> {
        let token = self.tokens.iter().find(|token| token.wanted == *wanted);
        token.map(|token| token.text.as_str())
    }

    /// Adds the volumes that the pod's claims are bound to.
    ///
    /// # Errors
    /// What the API answers; a claim that is not there or not bound is told of by
    /// [`Sources::claimed`].
    pub(crate) async fn with_claims(
        mut self,
        client: &Client,
        pod: &Pod,
    ) -> Result<Self, ApiError> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        for volume in record::spec_of(pod).volumes.iter().flatten() {
            let Some(name) = claim_of(pod, volume) else { continue };
            let key = Key::new(namespace, name.as_str());
            let claim = client.of::<PersistentVolumeClaim>()?.find(&key).await?;
            let found = match claim {
                None => Err(format!("persistentvolumeclaim {name:?} not found")),
                Some(claim) => bound_to(client, &name, &claim).await?,
            };
            self.claims.insert(name, found);
        }
        Ok(self)
    }

    /// The volume that a claim is bound to.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn claimed(&self, name: &str) -> Result<&PersistentVolume, String> {
        match self.claims.get(name) {
            Some(Ok(volume)) => Ok(volume),
            Some(Err(why)) => Err(why.clone()),
            None => Err(format!("persistentvolumeclaim {name:?} not found")),
        }
    }

    /// Adds a volume that a driver has put somewhere.
    pub(crate) fn with_published(mut self, volume: &str, path: PathBuf) -> Self {
        self.published.insert(volume.to_owned(), path);
        self
    }

    /// Where a driver has put a volume.
    pub(crate) fn published(&self, volume: &str) -> Option<&PathBuf> {
        self.published.get(volume)
    }

    #[cfg(test)]
    pub(crate) fn with_claim(mut self, name: &str, volume: PersistentVolume) -> Self {
        self.claims.insert(name.to_owned(), Ok(Typed::new(volume)));
        self
    }

    pub(crate) fn config_map(&self, name: &str) -> Option<&ConfigMap> {
        self.config_maps.get(name)?.as_deref()
    }

    pub(crate) fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name)?.as_deref()
    }

    #[cfg(test)]
    pub(crate) fn with_config_map(mut self, value: ConfigMap) -> Self {
        let name = value.metadata.name.clone().unwrap_or_default();
        self.config_maps.insert(name, Some(Typed::new(value)));
        self
    }

    #[cfg(test)]
    pub(crate) fn with_secret(mut self, value: Secret) -> Self {
        let name = value.metadata.name.clone().unwrap_or_default();
        self.secrets.insert(name, Some(Typed::new(value)));
        self
    }
}

/// A value of a ConfigMap or Secret, which may be any bytes.
pub(crate) fn config_map_value<'a>(map: &'a ConfigMap, key: &str) -> Option<&'a [u8]> {
    let text = map.data.as_ref().and_then(|data| data.get(key)).map(String::as_bytes);
    text.or_else(|| map.binary_data.as_ref()?.get(key).map(|bytes| bytes.0.as_slice()))
}

/// A value of a Secret.
pub(crate) fn secret_value<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    secret.data.as_ref()?.get(key).map(|bytes| bytes.0.as_slice())
}

/// The claim of a volume.
pub(crate) fn claim_of(pod: &Pod, volume: &Volume) -> Option<String> {
    volumes::claim_of(pod, volume).map(|(name, _)| name)
}

async fn bound_to(
    client: &Client,
    name: &str,
    claim: &PersistentVolumeClaim,
) -> Result<Result<Typed<PersistentVolume>, String>, ApiError> {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
    let Some(volume) = volume.filter(|volume| !volume.is_empty() && phase == Some("Bound")) else {
        return Ok(Err(format!("PVC {name:?} is not bound")));
    };
    let found = client.of::<PersistentVolume>()?.find(&Key::cluster(volume.as_str())).await?;
    Ok(found.ok_or_else(|| format!("persistentvolume {volume:?} not found")))
}

/// What the environment of a container refers to.
pub(crate) fn of_environment(container: &Container) -> impl Iterator<Item = Reference> {
    let whole = container.env_from.iter().flatten().filter_map(|from| {
        let config_map =
            from.config_map_ref.as_ref().map(|map| Reference::ConfigMap(map.name.clone()));
        config_map.or_else(|| {
            from.secret_ref.as_ref().map(|secret| Reference::Secret(secret.name.clone()))
        })
    });
    let single = container.env.iter().flatten().filter_map(|variable| {
        let from = variable.value_from.as_ref()?;
        let map = from.config_map_key_ref.as_ref();
        let secret = from.secret_key_ref.as_ref();
        map.map(|map| Reference::ConfigMap(map.name.clone()))
            .or_else(|| secret.map(|secret| Reference::Secret(secret.name.clone())))
    });
    whole.chain(single)
}

/// What the volumes of a pod refer to.
pub(crate) fn of_volumes(pod: &Pod) -> impl Iterator<Item = Reference> {
    record::spec_of(pod).volumes.iter().flatten().flat_map(|volume| {
        let map = volume.config_map.as_ref().map(|map| Reference::ConfigMap(map.name.clone()));
        let secret = volume.secret.as_ref().and_then(|secret| secret.secret_name.clone());
        let projected = volume.projected.iter().flat_map(|all| all.sources.iter().flatten());
        let projected = projected.filter_map(|source| {
            let map = source.config_map.as_ref();
            let secret = source.secret.as_ref();
            map.map(|map| Reference::ConfigMap(map.name.clone()))
                .or_else(|| secret.map(|secret| Reference::Secret(secret.name.clone())))
        });
        map.into_iter().chain(secret.map(Reference::Secret)).chain(projected)
    })
}

/// All that a pod refers to, each once.
pub(crate) fn of_pod(pod: &Pod) -> Vec<Reference> {
    let environments = record::containers(record::spec_of(pod)).flat_map(of_environment);
    let volumes = record::spec_of(pod).volumes.iter().flatten();
    let claims = volumes.filter_map(|volume| claim_of(pod, volume)).map(Reference::Claim);
    let mut all: Vec<Reference> = of_volumes(pod).chain(environments).chain(claims).collect();
    all.sort();
    all.dedup();
    all
}
