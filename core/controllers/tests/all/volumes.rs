//! Persistent volumes.

use k8s_openapi::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::{StorageClass, VolumeAttachment, VolumeAttributesClass};
use pinnace_api::Key;
use pinnace_client::DeleteOptions;
use pinnace_client::PropagationPolicy::Background;
use pinnace_controllers::default_storage_class;
use serde_json::{Value, json};

use crate::harness::Cluster;

const CLAIM: &str = "default/data";

fn merged(mut base: Value, more: &Value) -> Value {
    for (field, value) in more.as_object().into_iter().flatten() {
        base[field] = value.clone();
    }
    base
}

async fn volume(cluster: &Cluster, name: &str, more: Value) {
    let spec = json!({"capacity": {"storage": "5Gi"}, "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/tmp/x"}});
    let spec = merged(spec, &more);
    cluster.make::<PersistentVolume>(json!({"metadata": {"name": name}, "spec": spec})).await;
    cluster.pass(1).await;
}

async fn claim_named(cluster: &Cluster, name: &str, more: Value) {
    let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "",
        "resources": {"requests": {"storage": "3Gi"}}});
    let spec = merged(spec, &more);
    let meta = json!({"name": name, "namespace": "default"});
    cluster.make::<PersistentVolumeClaim>(json!({"metadata": meta, "spec": spec})).await;
    cluster.pass(1).await;
}

async fn claim(cluster: &Cluster, more: Value) {
    claim_named(cluster, "data", more).await;
}

async fn class(cluster: &Cluster, name: &str, provisioner: &str, mode: &str) {
    cluster
        .make::<StorageClass>(json!({"metadata": {"name": name}, "provisioner": provisioner,
            "volumeBindingMode": mode, "allowVolumeExpansion": true}))
        .await;
}

/// Phase and volume of a claim.
async fn claimed(cluster: &Cluster, name: &str) -> String {
    let claim = cluster.get::<PersistentVolumeClaim>(name).await;
    let phase = claim.status.as_ref().unwrap().phase.clone().unwrap();
    let volume = claim.spec.as_ref().unwrap().volume_name.clone().unwrap_or_default();
    format!("{phase} {volume}").trim_end().to_owned()
}

async fn phase(cluster: &Cluster, name: &str) -> String {
    let volume = cluster.get::<PersistentVolume>(name).await;
    volume.status.as_ref().unwrap().phase.clone().unwrap()
}

fn mounts(claim: &str) -> Value {
    json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]})
}

#[tokio::test(start_paused = true)]
async fn a_claim_takes_the_smallest_volume_that_suits() {
    let cluster = Cluster::start().await;
    volume(&cluster, "big", json!({"capacity": {"storage": "50Gi"}})).await;
    volume(&cluster, "small", json!({"capacity": {"storage": "1Gi"}})).await;
    claim(&cluster, json!({"resources": {"requests": {"storage": "9Gi"}}})).await;
    assert_eq!(claimed(&cluster, CLAIM).await, "Bound big");
    assert_eq!(phase(&cluster, "big").await, "Bound");
    assert_eq!(phase(&cluster, "small").await, "Available");
    let status = cluster.get::<PersistentVolumeClaim>(CLAIM).await.status.clone().unwrap();
    assert_eq!(status.capacity.unwrap()["storage"].0, "50Gi");
    let annotations = cluster.get::<PersistentVolume>("big").await.metadata.annotations.clone();
    assert_eq!(annotations.unwrap()["pv.kubernetes.io/bound-by-controller"], "yes");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_waits_for_a_volume_and_says_so() {
    let cluster = Cluster::start().await;
    claim(&cluster, json!({})).await;
    let message = "no persistent volumes available for this claim and no storage class is set";
    assert_eq!(cluster.events("FailedBinding").await, [message]);
    volume(&cluster, "late", json!({})).await;
    assert_eq!(claimed(&cluster, CLAIM).await, "Bound late");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_named_volume_must_suit_and_be_free() {
    let cluster = Cluster::start().await;
    volume(&cluster, "own", json!({})).await;
    let asks =
        |size: &str| json!({"volumeName": "own", "resources": {"requests": {"storage": size}}});
    claim_named(&cluster, "large", asks("9Gi")).await;
    assert_eq!(claimed(&cluster, "default/large").await, "Pending own");
    let message = "Cannot bind to requested volume \"own\": requested PV is too small";
    assert_eq!(cluster.events("VolumeMismatch").await, [message]);
    claim_named(&cluster, "first", asks("1Gi")).await;
    claim_named(&cluster, "second", asks("1Gi")).await;
    assert_eq!(claimed(&cluster, "default/first").await, "Bound own");
    assert_eq!(claimed(&cluster, "default/second").await, "Pending own");
    let message = "volume \"own\" already bound to a different claim.";
    assert!(cluster.events("FailedBinding").await.contains(&message.to_owned()));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_reserved_volume_goes_to_its_claim_alone() {
    let cluster = Cluster::start().await;
    let reserved = json!({"claimRef": {"name": "data", "namespace": "default"}});
    volume(&cluster, "own", reserved).await;
    claim_named(&cluster, "other", json!({})).await;
    assert_eq!(claimed(&cluster, "default/other").await, "Pending");
    claim(&cluster, json!({})).await;
    assert_eq!(claimed(&cluster, CLAIM).await, "Bound own");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_a_volume_is_its_policy() {
    for (policy, expected, reason) in [
        ("Retain", "Released", ""),
        ("Delete", "Failed", "VolumeFailedDelete"),
        ("Recycle", "Failed", "VolumeFailedRecycle"),
    ] {
        let cluster = Cluster::start().await;
        volume(&cluster, "v", json!({"persistentVolumeReclaimPolicy": policy})).await;
        claim(&cluster, json!({})).await;
        cluster.delete::<PersistentVolumeClaim>(CLAIM, Background).await;
        cluster.pass(2).await;
        assert_eq!(phase(&cluster, "v").await, expected, "{policy}");
        assert_eq!(cluster.events(reason).await.len(), usize::from(!reason.is_empty()), "{policy}");
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_lost_its_volume_says_so() {
    let cluster = Cluster::start().await;
    volume(&cluster, "v", json!({})).await;
    claim(&cluster, json!({})).await;
    cluster.delete::<PersistentVolume>("v", Background).await;
    cluster.pass(1).await;
    assert_eq!(claimed(&cluster, CLAIM).await, "Bound v", "a bound volume does not go");
    cluster.edit::<PersistentVolume>("v", |volume| volume.metadata.finalizers = None).await;
    cluster.pass(1).await;
    assert_eq!(claimed(&cluster, CLAIM).await, "Lost v");
    let message = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
    assert_eq!(cluster.events("ClaimLost").await, [message]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_directory_is_made_for_a_claim_and_goes_with_it() {
    let cluster = Cluster::start().await;
    cluster.node("n1").await;
    class(&cluster, "now", "pinnace.io/local-path", "Immediate").await;
    claim(&cluster, json!({"storageClassName": "now"})).await;
    let claim = cluster.get::<PersistentVolumeClaim>(CLAIM).await;
    let name = format!("pvc-{}", claim.object().uid());
    assert_eq!(claimed(&cluster, CLAIM).await, format!("Bound {name}"));
    let volume = cluster.get::<PersistentVolume>(&name).await;
    let spec = volume.spec.clone().unwrap();
    let affinity = serde_json::to_value(&spec.node_affinity).unwrap();
    let values = "/required/nodeSelectorTerms/0/matchExpressions/0/values";
    assert_eq!(affinity.pointer(values).unwrap(), &json!(["n1"]));
    assert_eq!(spec.persistent_volume_reclaim_policy.as_deref(), Some("Delete"));
    assert_eq!(cluster.events("ProvisioningSucceeded").await.len(), 1);
    cluster.delete::<PersistentVolumeClaim>(CLAIM, Background).await;
    cluster.pass(2).await;
    assert!(cluster.find::<PersistentVolume>(&name).await.is_none());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_directory_cannot_be_is_refused() {
    let cluster = Cluster::start().await;
    cluster.node("n1").await;
    class(&cluster, "now", "pinnace.io/local-path", "Immediate").await;
    claim(&cluster, json!({"storageClassName": "now", "accessModes": ["ReadWriteMany"]})).await;
    let message = "failed to provision volume with StorageClass \"now\": only the access modes \
                   ReadWriteOnce and ReadWriteOncePod are supported";
    assert_eq!(cluster.events("ProvisioningFailed").await, [message]);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_may_wait_for_its_first_consumer() {
    let cluster = Cluster::start().await;
    for node in ["n1", "n2"] {
        cluster.node(node).await;
    }
    cluster.api::<StorageClass>().create(default_storage_class()).await.unwrap();
    let claim_of = json!({"accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}}});
    cluster
        .make::<PersistentVolumeClaim>(
            json!({"metadata": {"name": "data", "namespace": "default"}, "spec": claim_of}),
        )
        .await;
    cluster.pass(1).await;
    assert_eq!(claimed(&cluster, CLAIM).await, "Pending");
    let message = "waiting for first consumer to be created before binding";
    assert_eq!(cluster.events("WaitForFirstConsumer").await, [message]);
    cluster
        .edit::<PersistentVolumeClaim>(CLAIM, |claim| {
            let annotations = claim.metadata.annotations.get_or_insert_default();
            annotations.insert("volume.kubernetes.io/selected-node".into(), "n2".into());
        })
        .await;
    cluster.pass(1).await;
    assert!(claimed(&cluster, CLAIM).await.starts_with("Bound pvc-"));
    let volume = &cluster.all::<PersistentVolume>().await[0];
    assert!(serde_json::to_string(&volume.spec).unwrap().contains("[\"n2\"]"));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_is_not_waited_for() {
    let cluster = Cluster::start().await;
    cluster.api::<StorageClass>().create(default_storage_class()).await.unwrap();
    claim(&cluster, json!({"storageClassName": "local-path"})).await;
    let selected = "volume.kubernetes.io/selected-node";
    cluster
        .edit::<PersistentVolumeClaim>(CLAIM, |claim| {
            let annotations = claim.metadata.annotations.get_or_insert_default();
            annotations.insert(selected.into(), "gone".into());
        })
        .await;
    cluster.pass(1).await;
    let claim = cluster.get::<PersistentVolumeClaim>(CLAIM).await;
    assert!(!claim.metadata.annotations.as_ref().unwrap().contains_key(selected));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn others_are_asked_to_make_volumes() {
    let cluster = Cluster::start().await;
    class(&cluster, "far", "csi.example.com", "Immediate").await;
    claim(&cluster, json!({"storageClassName": "far"})).await;
    let claim = cluster.get::<PersistentVolumeClaim>(CLAIM).await;
    let annotations = claim.metadata.annotations.clone().unwrap();
    assert_eq!(annotations["volume.kubernetes.io/storage-provisioner"], "csi.example.com");
    let told = cluster.events("ExternalProvisioning").await;
    assert!(told[0].starts_with("Waiting for a volume to be created either by the external"));
    let reference = json!({"name": "data", "namespace": "default", "uid": claim.object().uid()});
    volume(&cluster, "made", json!({"storageClassName": "far", "claimRef": reference})).await;
    assert_eq!(claimed(&cluster, CLAIM).await, "Bound made");
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn classes_that_are_not_there_or_make_nothing_are_told() {
    let cluster = Cluster::start().await;
    claim_named(&cluster, "a", json!({"storageClassName": "none"})).await;
    class(&cluster, "manual", "kubernetes.io/no-provisioner", "Immediate").await;
    claim_named(&cluster, "b", json!({"storageClassName": "manual"})).await;
    assert_eq!(
        cluster.events("ProvisioningFailed").await,
        [
            "no volume plugin matched name: kubernetes.io/no-provisioner",
            "storageclass.storage.k8s.io \"none\" not found"
        ]
    );
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_default_class_that_comes_late_is_still_given() {
    let cluster = Cluster::start().await;
    cluster
        .make::<PersistentVolumeClaim>(json!({"metadata": {"name": "data", "namespace": "default"},
            "spec": {"accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}}}}))
        .await;
    cluster.pass(1).await;
    cluster.api::<StorageClass>().create(default_storage_class()).await.unwrap();
    cluster.pass(1).await;
    let claim = cluster.get::<PersistentVolumeClaim>(CLAIM).await;
    assert_eq!(claim.spec.as_ref().unwrap().storage_class_name.as_deref(), Some("local-path"));
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_in_use_does_not_go() {
    let cluster = Cluster::start().await;
    cluster.node("n1").await;
    volume(&cluster, "v", json!({})).await;
    claim(&cluster, json!({})).await;
    cluster.pod_on("n1", "user", mounts("data")).await;
    cluster.delete::<PersistentVolumeClaim>(CLAIM, Background).await;
    cluster.pass(5).await;
    assert!(cluster.get::<PersistentVolumeClaim>(CLAIM).await.object().is_deleting());
    cluster.delete::<Pod>("default/user", Background).await;
    cluster.run_pods("n1", |_| false).await;
    cluster.pass(2).await;
    assert!(cluster.find::<PersistentVolumeClaim>(CLAIM).await.is_none());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_pods_own_volume_is_made_with_it() {
    let cluster = Cluster::start().await;
    cluster.node("n1").await;
    claim_named(&cluster, "second-v", json!({})).await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let own = json!({"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}]});
    cluster.pod_on("n1", "first", own.clone()).await;
    cluster.pod_on("n1", "second", own).await;
    cluster.pass(1).await;
    let made = cluster.get::<PersistentVolumeClaim>("default/first-v").await;
    assert_eq!(made.object().controller().unwrap().name, "first");
    assert_eq!(made.object().labels().unwrap()["a"], "b");
    let message = "ephemeral volume v: PVC default/second-v was not created for pod \
                   default/second (pod is not owner)";
    assert!(cluster.events("FailedBinding").await.contains(&message.to_owned()));
    cluster.delete::<Pod>("default/first", Background).await;
    cluster.run_pods("n1", |_| false).await;
    cluster.pass(2).await;
    assert!(cluster.find::<PersistentVolumeClaim>("default/first-v").await.is_none());
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_directory_grows_and_others_are_asked_to() {
    let cluster = Cluster::start().await;
    cluster.node("n1").await;
    class(&cluster, "now", "pinnace.io/local-path", "Immediate").await;
    class(&cluster, "far", "csi.example.com", "Immediate").await;
    volume(&cluster, "v", json!({"storageClassName": "far"})).await;
    for (name, class) in [("near", "now"), ("far", "far")] {
        claim_named(&cluster, name, json!({"storageClassName": class})).await;
        cluster
            .edit::<PersistentVolumeClaim>(&format!("default/{name}"), |claim| {
                let resources = claim.spec.as_mut().unwrap().resources.as_mut().unwrap();
                resources.requests.as_mut().unwrap().get_mut("storage").unwrap().0 = "8Gi".into();
            })
            .await;
    }
    cluster.pass(1).await;
    let near = cluster.get::<PersistentVolumeClaim>("default/near").await;
    let status = near.status.clone().unwrap();
    assert_eq!(status.capacity.unwrap()["storage"].0, "8Gi");
    assert_eq!(cluster.events("VolumeResizeSuccessful").await.len(), 1);
    assert_eq!(cluster.events("ExternalExpanding").await.len(), 1);
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_failed_loses_its_volumes_by_force() {
    for out_of_service in [false, true] {
        let cluster = Cluster::start().await;
        cluster.node("n1").await;
        let csi =
            json!({"hostPath": null, "csi": {"driver": "csi.example.com", "volumeHandle": "h"}});
        volume(&cluster, "v", csi).await;
        claim(&cluster, json!({})).await;
        cluster.pod_on("n1", "one", mounts("data")).await;
        cluster.pass(1).await;
        let in_use = vec!["kubernetes.io/csi/csi.example.com^h".to_owned()];
        cluster
            .report::<Node>("n1", |node| {
                node.status.get_or_insert_default().volumes_in_use = Some(in_use.clone());
            })
            .await;
        // A node that is well unmounts first, however long it takes.
        let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
        cluster.api::<Pod>().delete(&Key::new("default", "one"), now).await.unwrap();
        cluster.beat(&["n1"], 370).await;
        assert_eq!(cluster.all::<VolumeAttachment>().await.len(), 1);
        // It fails, after a node that has been well for long.
        let failed = if out_of_service {
            let taint =
                json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]);
            cluster
                .edit::<Node>("n1", |node| {
                    let taints = serde_json::from_value(taint.clone()).unwrap();
                    node.spec.get_or_insert_default().taints = taints;
                })
                .await;
            1
        } else {
            70
        };
        cluster.pass(failed).await;
        assert_eq!(cluster.all::<VolumeAttachment>().await.len(), 0, "{out_of_service}");
        cluster.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn volumes_of_drivers_are_attached_where_pods_use_them() {
    let cluster = Cluster::start().await;
    for node in ["n1", "n2"] {
        cluster.node(node).await;
    }
    let csi = json!({"hostPath": null, "csi": {"driver": "csi.example.com", "volumeHandle": "h"}});
    volume(&cluster, "v", csi).await;
    claim(&cluster, json!({})).await;
    cluster.pod_on("n1", "one", mounts("data")).await;
    cluster.pod_on("n2", "two", mounts("data")).await;
    cluster.pass(1).await;
    let all = cluster.all::<VolumeAttachment>().await;
    let nodes: Vec<_> = all.iter().map(|one| one.spec.node_name.clone()).collect();
    assert_eq!(nodes, ["n1"], "the volume is for one node");
    assert_eq!(cluster.events("FailedAttachVolume").await.len(), 1);
    let name = all[0].object().name().to_owned();
    assert!(name.starts_with("csi-") && name.len() == 68, "{name}");
    cluster
        .report::<VolumeAttachment>(&name, |one| one.status.get_or_insert_default().attached = true)
        .await;
    cluster.pass(1).await;
    let node = cluster.get::<Node>("n1").await;
    let attached = node.status.clone().unwrap().volumes_attached.unwrap();
    assert_eq!(attached[0].name, "kubernetes.io/csi/csi.example.com^h");
    assert_eq!(cluster.events("SuccessfulAttachVolume").await.len(), 1);
    let source = json!({"persistentVolumeName": "unknown"});
    let spec = json!({"attacher": "csi.example.com", "nodeName": "n1", "source": source});
    cluster.make::<VolumeAttachment>(json!({"metadata": {"name": "other"}, "spec": spec})).await;
    cluster.delete::<Pod>("default/one", Background).await;
    cluster.run_pods("n1", |_| false).await;
    cluster.pass(5).await;
    let mut all = cluster.all::<VolumeAttachment>().await;
    all.retain(|one| one.object().name() != "other");
    let nodes: Vec<_> = all.iter().map(|one| one.spec.node_name.clone()).collect();
    assert_eq!(nodes, ["n2"], "the other pod's turn");
    cluster.get::<VolumeAttachment>("other").await;
    cluster.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_class_of_attributes_stays_while_a_claim_or_a_volume_has_it() {
    let cluster = Cluster::start().await;
    let fast = json!({"volumeAttributesClassName": "fast"});
    let class = json!({"metadata": {"name": "fast"}, "driverName": "d.example.com",
                       "parameters": {"iops": "9"}});
    let made = cluster.make::<VolumeAttributesClass>(class).await;
    let held = made.metadata.finalizers.as_deref().unwrap_or_default();
    assert_eq!(held, ["kubernetes.io/vac-protection"]);
    claim(&cluster, fast.clone()).await;
    let csi = json!({"hostPath": null, "csi": {"driver": "d.example.com", "volumeHandle": "h"}});
    volume(&cluster, "v", merged(csi, &fast)).await;
    cluster.delete::<VolumeAttributesClass>("fast", Background).await;
    cluster.pass(60).await;
    assert!(cluster.find::<VolumeAttributesClass>("fast").await.is_some());
    cluster.delete::<PersistentVolumeClaim>(CLAIM, Background).await;
    cluster.gone::<PersistentVolumeClaim>(CLAIM).await;
    cluster.pass(60).await;
    assert!(cluster.find::<VolumeAttributesClass>("fast").await.is_some(), "the volume has it");
    cluster.delete::<PersistentVolume>("v", Background).await;
    cluster.gone::<VolumeAttributesClass>("fast").await;
    cluster.stop().await;
}
