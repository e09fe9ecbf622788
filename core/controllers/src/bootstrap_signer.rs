//! Signs what new nodes read before they trust anybody: the ConfigMap `cluster-info` in
//! `kube-public` holds, for each bootstrap token, a signature of its kubeconfig by that token.

use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use jsonwebtoken::{Algorithm, EncodingKey};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use pinnace_api::bootstrap_token::{self, Usage, field};
use pinnace_api::{Key, Result};
use pinnace_client::{Api, Lister};
use pinnace_env::Env;
use pinnace_reconcile::{Action, BoxError, Controller, Reconciler};

use crate::Context;
use crate::token_cleaner::is_token;

const NAMESPACE: &str = "kube-public";
const NAME: &str = "cluster-info";
const KUBECONFIG: &str = "kubeconfig";
const SIGNATURE_PREFIX: &str = "jws-kubeconfig-";

/// The controller.
pub(crate) fn controller(context: &Context) -> Result<Controller> {
    let maps = context.informers.of::<ConfigMap>()?;
    let secrets = context.informers.of::<Secret>()?;
    let reconciler = Signer {
        maps: maps.clone(),
        secrets: secrets.clone(),
        api: context.client().of()?,
        env: context.env.clone(),
    };
    let controller = Controller::new(reconciler, &context.env);
    let controller = controller.maps(maps.informer(), |delta, queue| {
        let object = delta.new.as_ref();
        if object.is_some_and(|one| one.namespace() == NAMESPACE && one.name() == NAME) {
            queue.add(Key::new(NAMESPACE, NAME));
        }
    });
    Ok(controller.maps(secrets.informer(), |delta, queue| {
        if delta.object().is_some_and(is_token) {
            queue.add(Key::new(NAMESPACE, NAME));
        }
    }))
}

struct Signer {
    maps: Lister<ConfigMap>,
    secrets: Lister<Secret>,
    api: Api<ConfigMap>,
    env: Env,
}

#[async_trait]
impl Reconciler for Signer {
    fn name(&self) -> &str {
        "bootstrap-signer"
    }

    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(map) = self.maps.get(key) else { return Ok(Action::Done) };
        let data = map.data.as_ref();
        let Some(kubeconfig) = data.and_then(|data| data.get(KUBECONFIG)) else {
            return Ok(Action::Done);
        };
        let mut wanted = map.data.clone().unwrap_or_default();
        wanted.retain(|name, _| !name.starts_with(SIGNATURE_PREFIX));
        wanted.extend(self.signatures(kubeconfig)?);
        if map.data.as_ref() != Some(&wanted) {
            let mut map = ConfigMap::clone(&map);
            map.data = Some(wanted);
            self.api.update(map).await?;
        }
        Ok(Action::Done)
    }
}

impl Signer {
    /// A signature for each token that is good and may sign.
    fn signatures(&self, content: &str) -> Result<BTreeMap<String, String>, BoxError> {
        let mut signatures = BTreeMap::new();
        for secret in self.secrets.list(Some(bootstrap_token::NAMESPACE)) {
            let (id, key) = (field(&secret, "token-id"), field(&secret, "token-secret"));
            let token = format!("{id}.{key}");
            let good = is_token(secret.object())
                && bootstrap_token::parse(&token).is_some()
                && secret.object().name() == bootstrap_token::secret_name(id)
                && bootstrap_token::is_for(&secret, Usage::Signing)
                && !bootstrap_token::has_ended(&secret, self.env.now());
            if good {
                signatures.insert(format!("{SIGNATURE_PREFIX}{id}"), sign(content, id, &token)?);
            }
        }
        Ok(signatures)
    }
}

/// A JSON web signature without what is signed, which is at hand elsewhere.
fn sign(content: &str, id: &str, token: &str) -> Result<String, BoxError> {
    let header = BASE64.encode(format!(r#"{{"alg":"HS256","kid":"{id}"}}"#));
    let message = format!("{header}.{}", BASE64.encode(content));
    let key = EncodingKey::from_secret(token.as_bytes());
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256)?;
    Ok(format!("{header}..{signature}"))
}
