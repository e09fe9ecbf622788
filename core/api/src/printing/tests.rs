use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;
use crate::{Catalog, Codec, Draft, Kind};

const NOW: &str = "2026-03-01T12:00:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn object<K: Kind + k8s_openapi::Resource>(mut value: Value) -> Object {
    value["apiVersion"] = K::API_VERSION.into();
    value["kind"] = K::KIND.into();
    let metadata = value["metadata"].as_object_mut().unwrap();
    metadata.entry("creationTimestamp").or_insert(json!("2026-03-01T11:50:00Z"));
    Draft::from_value(Codec::of::<K>(), value).unwrap().freeze()
}

/// Cells as they are shown, with `|` between them.
#[track_caller]
fn check<K: Kind + k8s_openapi::Resource>(value: Value, expected: &str) {
    let object = object::<K>(value);
    let printer = builtin(K::GROUP, K::VERSION, K::KIND);
    assert_eq!(shown(&*printer, &object), expected);
}

fn shown(printer: &dyn Printer, object: &Object) -> String {
    let cells = printer.cells(object, now()).unwrap();
    assert_eq!(cells.len(), printer.columns().len());
    let texts = cells.iter().map(|cell| match cell {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    texts.collect::<Vec<_>>().join("|")
}

mod pods {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;

    /// Ready, Status and Restarts of a pod with two init containers, the second of which is a
    /// sidecar, and two containers.
    #[track_caller]
    fn check(meta: Value, status: Value, expected: &str) {
        let mut metadata = json!({"name": "p"});
        metadata.as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
        let pod = object::<Pod>(json!({
            "metadata": metadata,
            "spec": {
                "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}],
                "containers": [{"name": "a"}, {"name": "b"}],
            },
            "status": status,
        }));
        let all = shown(&*builtin("", "v1", "Pod"), &pod);
        let cells: Vec<_> = all.split('|').collect();
        assert_eq!(cells[1..4].join(" "), expected);
    }

    fn container(name: &str, ready: bool, restarts: i32, state: Value) -> Value {
        json!({"name": name, "ready": ready, "restartCount": restarts, "state": state,
               "image": "", "imageID": ""})
    }

    fn done(name: &str, code: i32, reason: &str) -> Value {
        container(name, false, 0, json!({"terminated": {"exitCode": code, "reason": reason}}))
    }

    fn running(name: &str) -> Value {
        container(name, true, 0, json!({"running": {}}))
    }

    #[test]
    fn init_containers_are_counted() {
        let waiting = container("i", false, 0, json!({"waiting": {"reason": "PodInitializing"}}));
        check(json!({}), json!({"phase": "Pending"}), "0/3 Pending 0");
        check(
            json!({}),
            json!({"phase": "Pending", "initContainerStatuses": [waiting]}),
            "0/3 Init:0/2 0",
        );
        let failed = json!({"terminated": {"exitCode": 3}});
        check(
            json!({}),
            json!({"initContainerStatuses": [container("i", false, 4, failed)]}),
            "0/3 Init:ExitCode:3 4",
        );
        let looping = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        check(
            json!({}),
            json!({"initContainerStatuses": [container("i", false, 1, looping)]}),
            "0/3 Init:CrashLoopBackOff 1",
        );
        check(
            json!({}),
            json!({"initContainerStatuses": [done("i", 0, "Completed"), running("s")]}),
            "0/3 Init:1/2 0",
        );
    }

    #[test]
    fn sidecars_count_as_containers() {
        let mut sidecar = running("s");
        sidecar["started"] = json!(true);
        sidecar["restartCount"] = json!(2);
        let status = json!({
            "phase": "Running",
            "initContainerStatuses": [done("i", 0, "Completed"), sidecar],
            "containerStatuses": [running("a"), running("b")],
        });
        check(json!({}), status, "3/3 Running 2");
    }

    #[test]
    fn containers_say_how_the_pod_is_doing() {
        let of = |a: Value, b: Value, ready: &str| {
            json!({
                "phase": "Running", "containerStatuses": [a, b],
                "conditions": [{"type": "Ready", "status": ready}],
            })
        };
        let looping = container("a", false, 3, json!({"waiting": {"reason": "CrashLoopBackOff"}}));
        check(json!({}), of(looping, running("b"), "False"), "1/3 CrashLoopBackOff 3");
        let completed = done("a", 0, "Completed");
        check(json!({}), of(completed.clone(), running("b"), "True"), "1/3 Running 0");
        check(json!({}), of(completed.clone(), running("b"), "False"), "1/3 NotReady 0");
        check(
            json!({}),
            of(completed.clone(), done("b", 0, "Completed"), "False"),
            "0/3 Completed 0",
        );
        check(json!({}), of(completed, done("b", 1, "Error"), "False"), "0/3 Error 0");
        let killed = json!({"terminated": {"exitCode": 137, "signal": 9}});
        check(
            json!({}),
            of(container("a", false, 0, killed), running("b"), "False"),
            "1/3 Signal:9 0",
        );
    }

    #[test]
    fn the_last_restart_is_told() {
        let mut a = running("a");
        a["restartCount"] = json!(3);
        a["lastState"] = json!({"terminated": {
            "exitCode": 1, "finishedAt": "2026-03-01T11:55:00Z"
        }});
        let status = json!({"phase": "Running", "containerStatuses": [a, running("b")]});
        check(json!({}), status, "2/3 Running 3 (5m ago)");
    }

    #[test]
    fn deletion_shows_unless_the_pod_has_ended() {
        let deleting = json!({"deletionTimestamp": NOW});
        check(deleting.clone(), json!({"phase": "Running"}), "0/3 Terminating 0");
        check(deleting.clone(), json!({"phase": "Failed", "reason": "Evicted"}), "0/3 Evicted 0");
        check(deleting, json!({"phase": "Running", "reason": "NodeLost"}), "0/3 Unknown 0");
        let gated = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}
        ]});
        check(json!({}), gated, "0/3 SchedulingGated 0");
    }

    #[test]
    fn wide_columns_hold_the_place() {
        super::check::<Pod>(
            json!({
                "metadata": {"name": "p"},
                "spec": {"nodeName": "n", "containers": [], "readinessGates": [
                    {"conditionType": "x"}, {"conditionType": "y"}
                ]},
                "status": {"podIPs": [{"ip": "10.0.0.1"}], "conditions": [
                    {"type": "y", "status": "True"}
                ]},
            }),
            "p|0/0||0|10m|10.0.0.1|n|<none>|1/2",
        );
    }
}

#[test]
fn services_show_how_they_are_reached() {
    use k8s_openapi::api::core::v1::Service;
    let ports = json!([{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 53, "protocol": "UDP"}]);
    check::<Service>(
        json!({"metadata": {"name": "s"}, "spec": {
            "type": "NodePort", "clusterIPs": ["10.96.0.1"], "ports": ports, "selector": {"a": "b"}
        }}),
        "s|NodePort|10.96.0.1|<none>|80:30080/TCP,53/UDP|10m|a=b",
    );
    check::<Service>(
        json!({"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer"}}),
        "s|LoadBalancer|<none>|<pending>|<none>|10m|<none>",
    );
    check::<Service>(
        json!({
            "metadata": {"name": "s"},
            "spec": {"type": "LoadBalancer", "externalIPs": ["1.1.1.1"]},
            "status": {"loadBalancer": {"ingress": [{"ip": "9.9.9.9"}, {"hostname": "h.example"}]}},
        }),
        "s|LoadBalancer|<none>|9.9.9.9,h.example,1.1.1.1|<none>|10m|<none>",
    );
    check::<Service>(
        json!({"metadata": {"name": "s"}, "spec": {"type": "ExternalName", "externalName": "e.example"}}),
        "s|ExternalName|<none>|e.example|<none>|10m|<none>",
    );
}

#[test]
fn nodes_show_roles_and_readiness() {
    use k8s_openapi::api::core::v1::Node;
    let info = json!({
        "kubeletVersion": "v1.36.0", "osImage": "Debian", "kernelVersion": "6.1",
        "architecture": "arm64", "containerRuntimeVersion": "containerd://2", "bootID": "",
        "kubeProxyVersion": "", "machineID": "", "operatingSystem": "linux", "systemUUID": "",
    });
    check::<Node>(
        json!({
            "metadata": {"name": "n", "labels": {
                "node-role.kubernetes.io/worker": "", "kubernetes.io/role": "edge"
            }},
            "spec": {"unschedulable": true},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "10.0.0.2"}],
                "nodeInfo": info,
            },
        }),
        "n|Ready,SchedulingDisabled|edge,worker|10m|v1.36.0|10.0.0.2|<none>|Debian|6.1 (arm64)|containerd://2",
    );
    check::<Node>(
        json!({"metadata": {"name": "n"}}),
        "n|Unknown|<none>|10m||<none>|<none>|<unknown>|<unknown>|<unknown>",
    );
}

#[test]
fn workloads_show_how_far_they_are() {
    use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, Deployment, StatefulSet};
    let template = json!({"spec": {"containers": [
        {"name": "a", "image": "x"}, {"name": "b", "image": "y"}
    ]}});
    let selector = json!({"matchLabels": {"app": "web"}});
    check::<Deployment>(
        json!({
            "metadata": {"name": "d"},
            "spec": {"replicas": 3, "template": template, "selector": selector},
            "status": {"readyReplicas": 2, "updatedReplicas": 1, "availableReplicas": 2},
        }),
        "d|2/3|1|2|10m|a,b|x,y|app=web",
    );
    check::<StatefulSet>(
        json!({"metadata": {"name": "s"}, "spec": {
            "replicas": 2, "template": template, "selector": selector, "serviceName": "s"
        }}),
        "s|0/2|10m|a,b|x,y",
    );
    check::<DaemonSet>(
        json!({"metadata": {"name": "s"}, "spec": {"template": template, "selector": selector}}),
        "s|0|0|0|0|0|<none>|10m|a,b|x,y|app=web",
    );
    let owner = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "s", "uid": "u", "controller": true});
    check::<ControllerRevision>(
        json!({"metadata": {"name": "r", "ownerReferences": [owner]}, "revision": 4}),
        "r|statefulset.apps/s|4|10m",
    );
}

#[test]
fn jobs_show_state_and_duration() {
    use k8s_openapi::api::batch::v1::{CronJob, Job};
    check::<Job>(
        json!({
            "metadata": {"name": "j"},
            "spec": {"completions": 3, "template": {}},
            "status": {
                "succeeded": 3, "startTime": "2026-03-01T11:50:00Z",
                "completionTime": "2026-03-01T11:52:30Z",
                "conditions": [{"type": "SuccessCriteriaMet", "status": "True"}, {"type": "Complete", "status": "True"}],
            },
        }),
        "j|Complete|3/3|2m30s|10m|||<none>",
    );
    check::<Job>(
        json!({
            "metadata": {"name": "j", "deletionTimestamp": NOW},
            "spec": {"parallelism": 2, "template": {}},
            "status": {"startTime": "2026-03-01T11:59:00Z"},
        }),
        "j|Terminating|0/1 of 2|60s|10m|||<none>",
    );
    check::<CronJob>(
        json!({
            "metadata": {"name": "c"},
            "spec": {"schedule": "* * * * *", "suspend": false, "jobTemplate": {}},
            "status": {"active": [{}], "lastScheduleTime": "2026-03-01T11:59:30Z"},
        }),
        "c|* * * * *|<none>|False|1|30s|10m|||<none>",
    );
}

#[test]
fn autoscalers_show_their_metrics() {
    use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
    let resource =
        |target: Value| json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
    let current = json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 42}}});
    check::<HorizontalPodAutoscaler>(
        json!({
            "metadata": {"name": "h"},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "d"}, "minReplicas": 1, "maxReplicas": 5,
                "metrics": [
                    resource(json!({"type": "Utilization", "averageUtilization": 80})),
                    resource(json!({"type": "AverageValue", "averageValue": "500m"})),
                    {"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "1"}}},
                ],
            },
            "status": {"currentReplicas": 2, "desiredReplicas": 2, "currentMetrics": [current]},
        }),
        "h|Deployment/d|cpu: 42%/80%, cpu: <unknown>/500m + 1 more...|1|5|2|10m",
    );
}

#[test]
fn volumes_and_classes_show_what_they_are() {
    use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
    use k8s_openapi::api::storage::v1::{CSIDriver, StorageClass};
    check::<PersistentVolume>(
        json!({
            "metadata": {"name": "v"},
            "spec": {
                "capacity": {"storage": "1024Mi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"],
                "persistentVolumeReclaimPolicy": "Retain", "storageClassName": "fast",
                "claimRef": {"namespace": "ns", "name": "c"},
            },
            "status": {"phase": "Bound"},
        }),
        "v|1Gi|RWO,RWX|Retain|Bound|ns/c|fast|<unset>||10m|<unset>",
    );
    check::<PersistentVolumeClaim>(
        json!({
            "metadata": {"name": "c"},
            "spec": {"volumeName": "v", "volumeMode": "Block"},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOncePod"]},
        }),
        "c|Bound|v|1Gi|RWOP||<unset>|10m|Block",
    );
    check::<StorageClass>(
        json!({"metadata": {"name": "s", "annotations": {
            "storageclass.kubernetes.io/is-default-class": "true"
        }}, "provisioner": "p"}),
        "s (default)|p|Delete|Immediate|false|10m",
    );
    check::<CSIDriver>(
        json!({"metadata": {"name": "d"}, "spec": {"volumeLifecycleModes": ["Persistent", "Ephemeral"]}}),
        "d|true|false|false|<unset>|false|Persistent,Ephemeral|10m",
    );
}

#[test]
fn networks_show_hosts_and_endpoints() {
    use k8s_openapi::api::core::v1::Endpoints;
    use k8s_openapi::api::discovery::v1::EndpointSlice;
    use k8s_openapi::api::networking::v1::{IPAddress, Ingress, NetworkPolicy};
    let rules: Vec<_> =
        ["a", "b", "c", "d", "e"].iter().map(|host| json!({"host": host})).collect();
    check::<Ingress>(
        json!({
            "metadata": {"name": "i"},
            "spec": {"ingressClassName": "nginx", "rules": rules, "tls": [{}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}},
        }),
        "i|nginx|a,b,c + 2 more...|1.2.3.4|80, 443|10m",
    );
    check::<Ingress>(json!({"metadata": {"name": "i"}}), "i|<none>|*||80|10m");
    let addresses: Vec<_> = (1..=4).map(|n| json!({"ip": format!("10.0.0.{n}")})).collect();
    check::<Endpoints>(
        json!({"metadata": {"name": "e"}, "subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]}),
        "e|10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 1 more...|10m",
    );
    check::<EndpointSlice>(
        json!({"metadata": {"name": "e"}, "addressType": "IPv4", "ports": [{"port": 80}, {"name": "x"}, {}],
               "endpoints": [{"addresses": ["10.0.0.1"]}]}),
        "e|IPv4|80,x,*|10.0.0.1|10m",
    );
    check::<EndpointSlice>(
        json!({"metadata": {"name": "e"}, "addressType": "IPv4", "endpoints": []}),
        "e|IPv4|<unset>|<unset>|10m",
    );
    check::<IPAddress>(
        json!({"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": {
            "resource": "services", "namespace": "ns", "name": "s"
        }}}),
        "10.0.0.1|services/ns/s",
    );
    let expression = json!({"key": "k", "operator": "In", "values": ["b", "a"]});
    check::<NetworkPolicy>(
        json!({"metadata": {"name": "n"}, "spec": {"podSelector": {"matchExpressions": [expression]}}}),
        "n|k in (a,b)|10m",
    );
}

#[test]
fn events_of_both_groups_look_alike() {
    use k8s_openapi::api::{core::v1, events};
    let series = json!({"count": 7, "lastObservedTime": "2026-03-01T11:59:00.000000Z"});
    check::<v1::Event>(
        json!({
            "metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec"},
            "type": "Warning", "reason": "Failed", "message": " no \n", "count": 3,
            "source": {"component": "kubelet", "host": "n"},
            "firstTimestamp": "2026-03-01T11:00:00Z", "lastTimestamp": "2026-03-01T11:58:00Z",
        }),
        "2m|Warning|Failed|pod/p|spec|kubelet, n|no|60m|3|e",
    );
    check::<events::v1::Event>(
        json!({
            "metadata": {"name": "e"}, "regarding": {"kind": "Pod", "name": "p"}, "type": "Normal",
            "reason": "Pulled", "note": "yes", "eventTime": "2026-03-01T11:55:00.000000Z",
            "series": series, "reportingController": "kubelet",
        }),
        "60s|Normal|Pulled|pod/p||kubelet|yes|5m|7|e",
    );
}

#[test]
fn policies_bindings_and_requests_show_what_they_say() {
    use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
    use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
    use k8s_openapi::api::core::v1::ResourceQuota;
    use k8s_openapi::api::flowcontrol::v1::PriorityLevelConfiguration;
    use k8s_openapi::api::policy::v1::PodDisruptionBudget;
    use k8s_openapi::api::rbac::v1::RoleBinding;
    use k8s_openapi::api::resource::v1::ResourceClaim;
    check::<PodDisruptionBudget>(
        json!({"metadata": {"name": "p"}, "spec": {"minAvailable": "50%"}}),
        "p|50%|N/A|0|10m",
    );
    check::<RoleBinding>(
        json!({
            "metadata": {"name": "b"}, "roleRef": {"apiGroup": "", "kind": "Role", "name": "r"},
            "subjects": [
                {"kind": "User", "name": "u"}, {"kind": "User", "name": "v"},
                {"kind": "ServiceAccount", "namespace": "ns", "name": "sa"},
            ],
        }),
        "b|Role/r|10m|u, v||ns/sa",
    );
    check::<ResourceQuota>(
        json!({"metadata": {"name": "q"}, "status": {
            "hard": {"pods": "10", "limits.cpu": "2000m", "requests.cpu": "1"}, "used": {"pods": "3"}
        }}),
        "q|pods: 3/10, requests.cpu: 0/1|limits.cpu: 0/2|10m",
    );
    check::<ValidatingAdmissionPolicyBinding>(
        json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": [],
               "paramRef": {"selector": {"matchLabels": {"a": "b"}}}}}),
        "b|p|&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{},}|10m",
    );
    check::<CertificateSigningRequest>(
        json!({
            "metadata": {"name": "c"},
            "spec": {"request": "", "signerName": "s", "username": "u", "expirationSeconds": 3600},
            "status": {"certificate": "YQ==", "conditions": [{"type": "Approved", "status": "True"}]},
        }),
        "c|10m|s|u|60m|Approved,Issued",
    );
    check::<PriorityLevelConfiguration>(
        json!({"metadata": {"name": "l"}, "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": 30, "limitResponse": {"type": "Reject"}
        }}}),
        "l|Limited|30|<none>|<none>|<none>|10m",
    );
    check::<ResourceClaim>(json!({"metadata": {"name": "r"}, "spec": {}}), "r|pending|10m");
}

#[test]
fn another_version_of_a_kind_is_printed_alike() {
    use k8s_openapi::api::resource::v1beta1::DeviceClass;
    check::<DeviceClass>(json!({"metadata": {"name": "d"}, "spec": {}}), "d|10m");
    let printer = builtin("apps", "v1", "Deployment");
    let other = object::<DeviceClass>(json!({"metadata": {"name": "d"}, "spec": {}}));
    assert!(printer.cells(&other, now()).is_err());
}

#[test]
fn every_kind_prints_an_empty_object() {
    for resource in Catalog::builtin().all() {
        let value = json!({
            "apiVersion": resource.api_version(), "kind": resource.kind, "metadata": {"name": "x"}
        });
        let object = Draft::from_value(resource.codec, value).unwrap().freeze();
        let cells = resource.printer().cells(&object, now()).unwrap();
        assert_eq!(cells.len(), resource.printer().columns().len(), "{resource:?}");
        assert!(cells.contains(&json!("x")), "{resource:?}");
    }
}

/// The columns of upstream's printers: `Title type as format at priority`, texts where no type is said.
/// A kind that is not there has its name and when it was made.
const COLUMNS: &str = include_str!("columns.txt");

#[test]
fn every_kind_has_upstreams_columns() {
    let mut known: BTreeMap<_, _> =
        COLUMNS.lines().filter_map(|line| line.split_once(": ")).collect();
    for resource in Catalog::builtin().all() {
        if resource.is_elsewhere() || &*resource.group == crate::metrics::GROUP {
            continue;
        }
        let printer = resource.printer();
        let shown = printer.columns().iter().map(|column| {
            let mut text = column.name.to_string();
            if column.kind != "string" {
                text += &format!(" {}", column.kind);
            }
            if !column.format.is_empty() {
                text += &format!(" as {}", column.format);
            }
            if column.priority != 0 {
                text += &format!(" at {}", column.priority);
            }
            text
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        let usual = "Name as name, Created At date";
        let expected = known.get(&*resource.kind).copied().unwrap_or(usual);
        assert_eq!(shown, expected, "{resource:?}");
    }
    known.retain(|kind, _| !Catalog::builtin().all().iter().any(|one| one.kind == *kind));
    assert_eq!(known, BTreeMap::new(), "nobody has these kinds");
}

#[test]
fn custom_kinds_choose_their_columns() {
    use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceColumnDefinition;
    let column = |name: &str, kind: &str, path: &str| CustomResourceColumnDefinition {
        name: name.into(),
        type_: kind.into(),
        json_path: path.into(),
        ..CustomResourceColumnDefinition::default()
    };
    let object = Object::new(crate::DynamicObject {
        metadata: serde_json::from_value(
            json!({"name": "x", "creationTimestamp": "2026-03-01T11:50:00Z"}),
        )
        .unwrap(),
        data: json!({"spec": {"n": 3, "f": 1.5, "on": true, "all": ["a"]}})
            .as_object()
            .unwrap()
            .clone(),
        ..Default::default()
    });
    let printer = CustomPrinter::new(&[
        column("N", "integer", ".spec.n"),
        column("F", "number", ".spec.f"),
        column("On", "boolean", ".spec.on"),
        column("All", "string", ".spec.all"),
        column("Age", "date", ".metadata.creationTimestamp"),
        column("Odd", "integer", ".spec.on"),
        column("Missing", "string", ".status.x"),
    ])
    .unwrap();
    assert_eq!(shown(&printer, &object), r#"x|3|1.5|true|["a"]|10m|null|null"#);
    assert_eq!(shown(&CustomPrinter::new(&[]).unwrap(), &object), "x|10m");
    assert_eq!(shown(&DefaultPrinter, &object), "x|2026-03-01T11:50:00Z");
    let error = CustomPrinter::new(&[column("N", "string", "spec")]).err().unwrap();
    assert_eq!(error.message(), "unrecognized column definition \"spec\"");
}

#[test]
fn tables_carry_what_was_asked_of_each_object() {
    use k8s_openapi::api::flowcontrol::v1::FlowSchema;
    let schema = |name: &str, precedence: i32| {
        object::<FlowSchema>(json!({"metadata": {"name": name}, "spec": {
            "matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": "l"}
        }}))
    };
    let objects = [schema("b", 2), schema("c", 1), schema("a", 2)];
    let printer = builtin("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema");
    let made = |include, no_headers| -> Value {
        let options = TableOptions { include, no_headers, ..TableOptions::default() };
        serde_json::from_slice(&table(&*printer, &objects, &options, now()).unwrap()).unwrap()
    };
    let whole = made(IncludeObject::Metadata, false);
    assert_eq!(whole["apiVersion"], "meta.k8s.io/v1");
    assert_eq!(whole["columnDefinitions"][0]["format"], "name");
    let names: Vec<_> =
        whole["rows"].as_array().unwrap().iter().map(|row| &row["cells"][0]).collect();
    assert_eq!(names, ["c", "a", "b"]);
    assert_eq!(whole["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    assert_eq!(whole["rows"][0]["object"]["metadata"]["name"], "c");
    assert_eq!(made(IncludeObject::Object, true)["rows"][0]["object"]["kind"], "FlowSchema");
    let bare = made(IncludeObject::None, true);
    assert_eq!(bare["columnDefinitions"], json!([]));
    assert_eq!(bare["rows"][0]["object"], Value::Null);
    assert!(IncludeObject::parse(Some("All")).is_err());
}

#[test]
fn rows_of_pods_that_have_ended_say_so() {
    use k8s_openapi::api::core::v1::Pod;
    let pod = object::<Pod>(json!({"metadata": {"name": "p"}, "status": {"phase": "Succeeded"}}));
    let printer = builtin("", "v1", "Pod");
    let made = table(&*printer, &[pod], &TableOptions::default(), now()).unwrap();
    let made: Value = serde_json::from_slice(&made).unwrap();
    assert_eq!(made["rows"][0]["conditions"][0]["reason"], "Succeeded");
}
