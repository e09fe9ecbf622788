use async_trait::async_trait;
use pinnace::k8s_openapi::api::core::v1::{ConfigMap, Secret};
use pinnace::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace::{Action, Api, BoxError, Key, Lister, Reconciler};

use crate::support::{LONG, engine, field};

/// Makes a Secret beside each ConfigMap.
struct Shadow {
    maps: Lister<ConfigMap>,
    secrets: Api<Secret>,
}

#[async_trait]
impl Reconciler for Shadow {
    fn name(&self) -> &str {
        "shadow"
    }
    async fn reconcile(&self, key: &Key) -> Result<Action, BoxError> {
        let Some(map) = self.maps.get(key) else { return Ok(Action::Done) };
        if self.secrets.find(key).await?.is_none() {
            let metadata = ObjectMeta {
                name: map.metadata.name.clone(),
                namespace: map.metadata.namespace.clone(),
                ..Default::default()
            };
            let secret = Secret { metadata, string_data: map.data.clone(), ..Default::default() };
            self.secrets.create(secret).await?;
        }
        Ok(Action::Done)
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_runs_controllers_of_its_own() {
    let (engine, _) = engine(1).await;
    let maps = engine.informers().of::<ConfigMap>().unwrap();
    let shadow = Shadow { maps: maps.clone(), secrets: engine.client().of().unwrap() };
    let secrets = engine.informers().of::<Secret>().unwrap();
    let controller = engine.controller(shadow).watches(maps.informer()).maps(
        secrets.informer(),
        |delta, queue| {
            if let Some(secret) = delta.object() {
                queue.add(secret.key());
            }
        },
    );
    engine.run(controller);
    engine
        .apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, data: {x: word}}")
        .await
        .unwrap();
    engine.wait("secrets/a", "create", LONG).await.unwrap();
    assert_eq!(field(&engine, "secrets/a", "/data/x").await, "d29yZA==");
    engine.delete("secrets/a", Default::default()).await.unwrap();
    engine.wait("secrets/a", "create", LONG).await.unwrap();
    engine.shutdown().await.unwrap();
}
