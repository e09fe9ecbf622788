use serde_json::{Value, json};

use crate::support::{check, defaulted, pod, resource, with};

#[test]
fn the_smallest_pod_is_filled_in_as_upstream_does() {
    let draft = defaulted("pods", pod());
    assert_eq!(
        draft.to_value().unwrap()["spec"],
        json!({
            "containers": [{
                "name": "main",
                "image": "nginx:1.27",
                "imagePullPolicy": "IfNotPresent",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
            }],
            "dnsPolicy": "ClusterFirst",
            "enableServiceLinks": true,
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "terminationGracePeriodSeconds": 30,
        })
    );
}

#[test]
fn images_are_always_pulled_when_their_tag_is_latest() {
    let policy = |image: &str| {
        let pod = with(pod(), "/spec/containers/0/image", json!(image));
        defaulted("pods", pod).to_value().unwrap()["spec"]["containers"][0]["imagePullPolicy"]
            .clone()
    };
    for image in ["nginx", "nginx:latest", "localhost:5000/nginx", "a/b/c:latest@sha256:0123"] {
        assert_eq!(policy(image), "Always", "{image}");
    }
    for image in ["nginx:1", "localhost:5000/nginx:1", "nginx@sha256:0123", ""] {
        assert_eq!(policy(image), "IfNotPresent", "{image}");
    }
}

#[test]
fn every_part_of_a_container_is_filled_in() {
    let container = json!({
        "name": "main", "image": "nginx:1",
        "env": [{"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "ports": [{"containerPort": 80}],
        "livenessProbe": {"httpGet": {"port": 80}},
        "readinessProbe": {"grpc": {"port": 81}, "periodSeconds": 3},
        "lifecycle": {"preStop": {"httpGet": {"port": "http", "scheme": "HTTPS"}}},
        "resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": "0.1"}},
        "stdin": false, "args": [],
    });
    let pod = with(with(pod(), "/spec/containers/0", container), "/spec/hostNetwork", json!(true));
    let value = defaulted("pods", pod).to_value().unwrap();
    let container = &value["spec"]["containers"][0];
    assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["apiVersion"], "v1");
    assert_eq!(
        container["ports"][0],
        json!({"containerPort": 80, "hostPort": 80, "protocol": "TCP"})
    );
    assert_eq!(
        container["livenessProbe"],
        json!({
            "failureThreshold": 3, "periodSeconds": 10, "successThreshold": 1, "timeoutSeconds": 1,
            "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
        })
    );
    assert_eq!(container["readinessProbe"]["grpc"], json!({"port": 81, "service": ""}));
    assert_eq!(container["readinessProbe"]["periodSeconds"], 3);
    assert_eq!(
        container["lifecycle"]["preStop"]["httpGet"],
        json!({"path": "/", "port": "http", "scheme": "HTTPS"})
    );
    assert_eq!(
        container["resources"],
        json!({
            "limits": {"cpu": "1", "memory": "1Gi"},
            "requests": {"cpu": "100m", "memory": "1Gi"},
        })
    );
    assert_eq!((container.get("stdin"), container.get("args")), (None, None));
}

#[test]
fn volumes_are_filled_in() {
    let volumes = json!([
        {"name": "a"},
        {"name": "b", "configMap": {"name": "b"}},
        {"name": "c", "secret": {"secretName": "c"}},
        {"name": "d", "hostPath": {"path": "/d"}},
        {"name": "e", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
        {"name": "f", "image": {"reference": "data"}},
        {"name": "g", "downwardAPI": {"items": [
            {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}
        ]}},
    ]);
    let value = defaulted("pods", with(pod(), "/spec/volumes", volumes)).to_value().unwrap();
    assert_eq!(
        value["spec"]["volumes"],
        json!([
            {"name": "a", "emptyDir": {}},
            {"name": "b", "configMap": {"name": "b", "defaultMode": 420}},
            {"name": "c", "secret": {"secretName": "c", "defaultMode": 420}},
            {"name": "d", "hostPath": {"path": "/d", "type": ""}},
            {"name": "e", "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
            ]}},
            {"name": "f", "image": {"reference": "data", "pullPolicy": "Always"}},
            {"name": "g", "downwardAPI": {"defaultMode": 420, "items": [
                {"path": "name", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}
            ]}},
        ])
    );
}

#[test]
fn defaulting_twice_changes_nothing() {
    let once = defaulted("pods", pod()).to_value().unwrap();
    assert_eq!(defaulted("pods", once.clone()).to_value().unwrap(), once);
}

#[test]
fn a_new_pod_is_pending_and_has_a_class() {
    let status = |pod: Value| {
        let mut draft = defaulted("pods", pod);
        resource("pods").strategy.prepare_for_create(&mut draft);
        assert_eq!(draft.meta().generation, Some(1));
        draft.to_value().unwrap()["status"].clone()
    };
    let rogue = with(pod(), "/status", json!({"phase": "Running", "podIP": "10.0.0.1"}));
    assert_eq!(status(rogue), json!({"phase": "Pending", "qosClass": "BestEffort"}));
    let limits = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
    let pod_with = |resources: Value| with(pod(), "/spec/containers/0/resources", resources);
    assert_eq!(status(pod_with(limits))["qosClass"], "Guaranteed");
    let some = json!({"requests": {"memory": "1Mi"}});
    assert_eq!(status(pod_with(some))["qosClass"], "Burstable");
    let nothing = json!({"requests": {"memory": "0", "example.com/gpu": "1"}});
    assert_eq!(status(pod_with(nothing))["qosClass"], "BestEffort");
}

#[test]
fn a_gated_pod_says_why_it_waits() {
    let gated = with(pod(), "/spec/schedulingGates", json!([{"name": "example.com/quota"}]));
    let mut draft = defaulted("pods", gated);
    resource("pods").strategy.prepare_for_create(&mut draft);
    assert_eq!(
        draft.to_value().unwrap()["status"]["conditions"],
        json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }])
    );
}

#[test]
fn keys_to_match_by_become_requirements() {
    let constraint = json!({
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}, "matchLabelKeys": ["hash", "missing"],
    });
    let pod = with(pod(), "/spec/topologySpreadConstraints", json!([constraint]));
    let pod = with(pod, "/metadata/labels", json!({"hash": "1234"}));
    let mut draft = defaulted("pods", pod.clone());
    resource("pods").strategy.prepare_for_create(&mut draft);
    assert_eq!(
        draft.to_value().unwrap()["spec"]["topologySpreadConstraints"][0]["labelSelector"],
        json!({
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "hash", "operator": "In", "values": ["1234"]}],
        })
    );
    check("pods", pod, &[]);
}

#[test]
fn a_pod_goes_at_once_when_it_runs_nowhere() {
    let strategy = resource("pods").strategy.clone();
    let period =
        |pod: Value, requested| strategy.grace_period(&defaulted("pods", pod).freeze(), requested);
    assert_eq!(period(pod(), Some(60)), Some(0));
    let bound = with(pod(), "/spec/nodeName", json!("node-1"));
    assert_eq!(period(bound.clone(), None), Some(30));
    assert_eq!(period(bound.clone(), Some(5)), Some(5));
    assert_eq!(period(bound.clone(), Some(-5)), Some(1));
    for phase in ["Succeeded", "Failed"] {
        let ended = with(bound.clone(), "/status", json!({"phase": phase}));
        assert_eq!(period(ended, Some(60)), Some(0), "{phase}");
    }
}

#[test]
fn pods_can_be_selected_by_what_upstream_lets_one_select_by() {
    let pod = with(with(pod(), "/spec/nodeName", json!("n")), "/status", json!({"podIP": "::1"}));
    let object = defaulted("pods", pod).freeze();
    let pods = resource("pods");
    let field = |path: &str| pods.strategy.field(&object, path).map(|value| value.into_owned());
    let expected = [
        ("spec.nodeName", "n"),
        ("spec.restartPolicy", "Always"),
        ("spec.schedulerName", "default-scheduler"),
        ("spec.serviceAccountName", ""),
        ("spec.hostNetwork", "false"),
        ("status.phase", ""),
        ("status.podIP", "::1"),
        ("status.podIPs", ""),
        ("spec.host", "n"),
        ("status.nominatedNodeName", ""),
    ];
    for (path, value) in expected {
        assert_eq!(field(path).as_deref(), Some(value), "{path}");
        assert!(pods.selectable_fields.iter().any(|one| one == path), "{path}");
    }
    assert_eq!(field("spec.hostname"), None);
}

#[test]
fn fields_of_the_pod_are_checked() {
    let cases: &[(&str, Value, &[&str])] = &[
        ("containers", json!([]), &["spec.containers: Required value"]),
        (
            "restartPolicy",
            json!("Maybe"),
            &["spec.restartPolicy: Unsupported value: \"Maybe\": supported values: \"Always\", \
               \"OnFailure\", \"Never\""],
        ),
        (
            "dnsPolicy",
            json!("x"),
            &["spec.dnsPolicy: Unsupported value: \"x\": supported values: \
               \"ClusterFirstWithHostNet\", \"ClusterFirst\", \"Default\", \"None\""],
        ),
        (
            "dnsPolicy",
            json!("None"),
            &["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
        ),
        (
            "dnsConfig",
            json!({"nameservers": ["1.1.1.1", "2.2.2.2", "3.3.3.3", "x"], "options": [{}]}),
            &[
                "spec.dnsConfig.nameservers: Invalid value: \
                 [\"1.1.1.1\",\"2.2.2.2\",\"3.3.3.3\",\"x\"]: must not have more than 3 nameservers",
                "spec.dnsConfig.nameservers[3]: Invalid value: \"x\": must be a valid IP address, \
                 (e.g. 10.9.8.7 or 2001:db8::ffff)",
                "spec.dnsConfig.options[0]: Required value: must not be empty",
            ],
        ),
        ("dnsConfig", json!({"searches": [".", "a_b.c.", "_tcp.x"]}), &[]),
        (
            "activeDeadlineSeconds",
            json!(0),
            &["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, \
               inclusive"],
        ),
        (
            "hostname",
            json!("a.b"),
            &["spec.hostname: Invalid value: \"a.b\": must not contain dots"],
        ),
        (
            "subdomain",
            json!("A"),
            &["spec.subdomain: Invalid value: \"A\": a lowercase RFC 1123 label must consist of \
               lower case alphanumeric characters or '-', and must start and end with an \
               alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation \
               is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"],
        ),
        (
            "hostAliases",
            json!([{"ip": "300.0.0.1", "hostnames": ["ok"]}]),
            &["spec.hostAliases[0].ip: Invalid value: \"300.0.0.1\": must be a valid IP address, \
               (e.g. 10.9.8.7 or 2001:db8::ffff)"],
        ),
        (
            "readinessGates",
            json!([{"conditionType": ""}]),
            &[
                "spec.readinessGates[0].conditionType: Invalid value: \"\": name part must be \
                 non-empty",
                "spec.readinessGates[0].conditionType: Invalid value: \"\": name part must \
                 consist of alphanumeric characters, '-', '_' or '.', and must start and end with \
                 an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex \
                 used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            ],
        ),
        (
            "schedulingGates",
            json!([{"name": "a"}, {"name": "a"}]),
            &["spec.schedulingGates[1]: Duplicate value: \"a\""],
        ),
        (
            "preemptionPolicy",
            json!("Often"),
            &["spec.preemptionPolicy: Unsupported value: \"Often\": supported values: \
               \"PreemptLowerPriority\", \"Never\""],
        ),
        (
            "os",
            json!({"name": "plan9"}),
            &["spec.os: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\""],
        ),
        (
            "ephemeralContainers",
            json!([{"name": "debug", "image": "busybox"}]),
            &["spec.ephemeralContainers: Forbidden: cannot be set on create"],
        ),
        ("hostUsers", json!(false), &[]),
        (
            "hostnameOverride",
            json!("a.very.long.name-that-does-not-fit-into-the-name-of-a-host-on.linux"),
            &["spec.hostnameOverride: Too long: may not be more than 64 bytes"],
        ),
    ];
    for (field, value, expected) in cases {
        check("pods", with(pod(), &format!("/spec/{field}"), value.clone()), expected);
    }
}

#[test]
fn fields_that_exclude_each_other_are_told() {
    let gated = with(pod(), "/spec/schedulingGates", json!([{"name": "a"}]));
    check(
        "pods",
        with(gated, "/spec/nodeName", json!("n")),
        &["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"],
    );
    let apart = with(pod(), "/spec/hostUsers", json!(false));
    check(
        "pods",
        with(apart, "/spec/hostNetwork", json!(true)),
        &["spec.hostNetwork: Forbidden: when `pod.Spec.HostUsers` is false"],
    );
    let shared = with(pod(), "/spec/hostPID", json!(true));
    check(
        "pods",
        with(shared, "/spec/shareProcessNamespace", json!(true)),
        &["spec.securityContext.shareProcessNamespace: Invalid value: true: \
           ShareProcessNamespace and HostPID cannot both be enabled"],
    );
}

#[test]
fn annotations_that_mean_something_are_checked() {
    let cases: &[(&str, &str, &str)] = &[
        (
            "kubernetes.io/config.mirror",
            "x",
            "metadata.annotations[kubernetes.io/config.mirror]: Invalid value: \"x\": must set \
             spec.nodeName if mirror pod annotation is set",
        ),
        (
            "controller.kubernetes.io/pod-deletion-cost",
            "+1",
            "metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: \
             \"+1\": must be a 32bit integer",
        ),
        (
            "seccomp.security.alpha.kubernetes.io/pod",
            "x",
            "metadata.annotations.seccomp.security.alpha.kubernetes.io/pod: Invalid value: \"x\": \
             must be a valid seccomp profile",
        ),
        (
            "container.apparmor.security.beta.kubernetes.io/other",
            "unconfined",
            "metadata.annotations[container.apparmor.security.beta.kubernetes.io/other]: Invalid \
             value: \"other\": container not found",
        ),
    ];
    for (key, value, expected) in cases {
        let annotated = with(pod(), "/metadata/annotations", json!({ *key: value }));
        check("pods", annotated, &[expected]);
    }
}
