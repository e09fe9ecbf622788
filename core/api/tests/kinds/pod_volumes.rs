use serde_json::{Value, json};

use crate::support::{check, pod, with};

#[track_caller]
fn check_volume(source: Value, expected: &[&str]) {
    let mut volume = source;
    volume["name"] = json!("v");
    check("pods", with(pod(), "/spec/volumes", json!([volume])), expected);
}

#[track_caller]
fn check_mount(mount: Value, expected: &[&str]) {
    let volumes = json!([{"name": "v"}, {"name": "w"}]);
    let pod = with(pod(), "/spec/volumes", volumes);
    check("pods", with(pod, "/spec/containers/0/volumeMounts", mount), expected);
}

#[test]
fn names_are_unique_labels() {
    let volumes = json!([{"name": "v"}, {"name": "v"}, {"name": ""}, {"name": "a.b"}]);
    check(
        "pods",
        with(pod(), "/spec/volumes", volumes),
        &[
            "spec.volumes[1].name: Duplicate value: \"v\"",
            "spec.volumes[2].name: Required value",
            "spec.volumes[3].name: Invalid value: \"a.b\": must not contain dots",
        ],
    );
}

#[test]
fn sources_are_checked() {
    check_volume(
        json!({"emptyDir": {}, "hostPath": {"path": "/"}}),
        &["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
    );
    check_volume(
        json!({"emptyDir": {"sizeLimit": "-1"}}),
        &["spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid \
           resource quantity"],
    );
    check_volume(
        json!({"hostPath": {"path": ""}}),
        &["spec.volumes[0].hostPath.path: Required value"],
    );
    check_volume(
        json!({"hostPath": {"path": "/a/../b", "type": "Door"}}),
        &[
            "spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'",
            "spec.volumes[0].hostPath.type: Unsupported value: \"Door\": supported values: \"\", \
             \"BlockDevice\", \"CharDevice\", \"Directory\", \"DirectoryOrCreate\", \"File\", \
             \"FileOrCreate\", \"Socket\"",
        ],
    );
    check_volume(
        json!({"secret": {"defaultMode": 4096}}),
        &[
            "spec.volumes[0].secret.secretName: Required value",
            "spec.volumes[0].secret.defaultMode: Invalid value: 4096: must be a number between 0 \
             and 0777 (octal), both inclusive",
        ],
    );
    check_volume(
        json!({"configMap": {"name": "c", "items": [{"key": "", "path": "..data"}]}}),
        &[
            "spec.volumes[0].configMap.items[0].key: Required value",
            "spec.volumes[0].configMap.items[0].path: Invalid value: \"..data\": must not start \
             with '..'",
        ],
    );
    check_volume(
        json!({"persistentVolumeClaim": {"claimName": ""}}),
        &["spec.volumes[0].persistentVolumeClaim.claimName: Required value"],
    );
    check_volume(
        json!({"nfs": {"server": "s", "path": "p"}}),
        &["spec.volumes[0].nfs.path: Invalid value: \"p\": must be an absolute path"],
    );
    check_volume(
        json!({"iscsi": {"targetPortal": "1.1.1.1", "iqn": "iqn.2015-02.example.com:test", "lun": 0}}),
        &[],
    );
    check_volume(
        json!({"iscsi": {"targetPortal": "1.1.1.1", "iqn": "iqn.example.com", "lun": 256}}),
        &[
            "spec.volumes[0].iscsi.iqn: Invalid value: \"iqn.example.com\": must be valid format",
            "spec.volumes[0].iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive",
        ],
    );
    check_volume(json!({"csi": {"driver": "Example.com"}}), &[]);
    check_volume(
        json!({"image": {"reference": ""}}),
        &["spec.volumes[0].image.reference: Required value"],
    );
}

#[test]
fn projected_sources_are_checked() {
    let projected = |sources: Value| json!({"projected": {"sources": sources}});
    let pod_with = |sources: Value| {
        let volumes = json!([{"name": "v", "projected": {"sources": sources}}]);
        with(pod(), "/spec/volumes", volumes)
    };
    check_volume(
        projected(json!([
            {"secret": {"name": "a", "items": [{"key": "k", "path": "p"}]}},
            {"configMap": {"name": "b", "items": [{"key": "k", "path": "p"}]}},
            {"secret": {"name": "a"}, "configMap": {"name": "b"}},
        ])),
        &[
            "spec.volumes[0].projected: Invalid value: \"b\": conflicting duplicate paths",
            "spec.volumes[0].projected.sources[2]: Forbidden: may not specify more than 1 volume \
             type per source",
        ],
    );
    let token = json!([{"serviceAccountToken": {"path": "token", "expirationSeconds": 60}}]);
    check(
        "pods",
        with(pod_with(token.clone()), "/spec/serviceAccountName", json!("default")),
        &["spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid \
           value: 60: may not specify a duration less than 10 minutes"],
    );
    let token = json!([{"serviceAccountToken": {"path": "token"}}]);
    check(
        "pods",
        pod_with(token),
        &["spec.volumes[0].projected.sources[0].serviceAccountToken: Forbidden: must not be \
           specified when serviceAccountName is not set"],
    );
    check_volume(
        json!({"downwardAPI": {"items": [{"path": "p"}]}}),
        &["spec.volumes[0].downwardAPI: Required value: one of fieldRef and resourceFieldRef is \
           required"],
    );
}

#[test]
fn claims_made_for_a_volume_are_checked() {
    let claim = |spec: Value| json!({"ephemeral": {"volumeClaimTemplate": {"spec": spec}}});
    check_volume(
        claim(json!({
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}
        })),
        &[],
    );
    let at = "spec.volumes[0].ephemeral.volumeClaimTemplate.spec";
    check_volume(
        claim(json!({"resources": {"requests": {"storage": "0"}}})),
        &[
            &format!("{at}.accessModes: Required value: at least 1 access mode is required"),
            &format!("{at}.resources[storage]: Invalid value: \"0\": must be greater than zero"),
        ],
    );
    let volumes = json!([
        {"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}
        }}}},
        {"name": "w", "persistentVolumeClaim": {"claimName": "web-v"}},
    ]);
    check(
        "pods",
        with(pod(), "/spec/volumes", volumes),
        &["spec.volumes[1].persistentVolumeClaim.claimName: Invalid value: \"web-v\": must not \
           reference a PVC that gets created for an ephemeral volume"],
    );
}

#[test]
fn mounts_are_checked() {
    let list = "spec.containers[0].volumeMounts";
    check_mount(json!([{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/w"}]), &[]);
    check_mount(
        json!([{"name": "x", "mountPath": "/x"}]),
        &[&format!("{list}[0].name: Not found: \"x\"")],
    );
    check_mount(
        json!([{"name": "v", "mountPath": ""}]),
        &[&format!("{list}[0].mountPath: Required value")],
    );
    check_mount(
        json!([{"name": "v", "mountPath": "/v"}, {"name": "w", "mountPath": "/v"}]),
        &[&format!("{list}[1].mountPath: Invalid value: \"/v\": must be unique")],
    );
    check_mount(
        json!([{"name": "v", "mountPath": "/v", "subPath": "/a", "subPathExpr": "a/.."}]),
        &[
            &format!("{list}.subPath: Invalid value: \"/a\": must be a relative path"),
            &format!(
                "{list}[0].subPathExpr: Invalid value: \"a/..\": subPathExpr and subPath are \
                 mutually exclusive"
            ),
            &format!("{list}.subPathExpr: Invalid value: \"a/..\": must not contain '..'"),
        ],
    );
    check_mount(
        json!([{"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional",
                "recursiveReadOnly": "Enabled"}]),
        &[
            &format!(
                "{list}.mountPropagation: Forbidden: Bidirectional mount propagation is available \
                 only to privileged containers"
            ),
            &format!(
                "{list}.recursiveReadOnly: Forbidden: may only be specified when readOnly is true"
            ),
            &format!(
                "{list}.recursiveReadOnly: Forbidden: may only be specified when mountPropagation \
                 is None or not specified"
            ),
        ],
    );
    let volumes = with(pod(), "/spec/volumes", json!([{"name": "v"}]));
    check(
        "pods",
        with(
            volumes,
            "/spec/containers/0/volumeDevices",
            json!([{"name": "v", "devicePath": "/d"}]),
        ),
        &["spec.containers[0].volumeDevices[0].name: Invalid value: \"v\": can only use volume \
           source type of PersistentVolumeClaim or Ephemeral for block mode"],
    );
}

#[test]
fn a_volume_that_has_not_passed_is_not_there_to_be_mounted() {
    let pod = with(pod(), "/spec/volumes", json!([{"name": "v", "secret": {}}]));
    let mounts = json!([{"name": "v", "mountPath": "/v"}]);
    check(
        "pods",
        with(pod, "/spec/containers/0/volumeMounts", mounts),
        &[
            "spec.volumes[0].secret.secretName: Required value",
            "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
        ],
    );
}

#[test]
fn many_volumes_are_found_as_well_as_few() {
    let volumes: Vec<_> = (0..100).map(|index| json!({"name": format!("v{index}")})).collect();
    let mounts: Vec<_> = (0..100)
        .map(|index| json!({"name": format!("v{index}"), "mountPath": format!("/v{index}")}))
        .collect();
    let pod = with(pod(), "/spec/volumes", json!(volumes));
    let pod = with(pod, "/spec/containers/0/volumeMounts", json!(mounts));
    check("pods", pod.clone(), &[]);
    let pod = with(pod, "/spec/volumes/99/name", json!("v98"));
    check(
        "pods",
        pod,
        &[
            "spec.volumes[99].name: Duplicate value: \"v98\"",
            "spec.containers[0].volumeMounts[99].name: Not found: \"v99\"",
        ],
    );
}
