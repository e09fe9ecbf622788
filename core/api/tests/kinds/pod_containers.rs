use serde_json::{Value, json};

use crate::support::{check, pod, with};

/// What is wrong with a pod whose container has one more field.
#[track_caller]
fn check_field(field: &str, value: Value, expected: &[&str]) {
    check("pods", with(pod(), &format!("/spec/containers/0/{field}"), value), expected);
}

#[test]
fn names_and_images_are_needed() {
    check_field("name", json!(""), &["spec.containers[0].name: Required value"]);
    check_field("image", json!(""), &["spec.containers[0].image: Required value"]);
    check_field(
        "image",
        json!(" nginx"),
        &[
            "spec.containers[0].image: Invalid value: \" nginx\": must not have leading or trailing \
           whitespace",
        ],
    );
    let twice = json!([{"name": "a", "image": "a"}, {"name": "a", "image": "a"}]);
    check(
        "pods",
        with(pod(), "/spec/containers", twice),
        &["spec.containers[1].name: Duplicate value: \"a\""],
    );
}

#[test]
fn choices_are_checked() {
    check_field(
        "imagePullPolicy",
        json!("Sometimes"),
        &[
            "spec.containers[0].imagePullPolicy: Unsupported value: \"Sometimes\": supported values: \
           \"Always\", \"IfNotPresent\", \"Never\"",
        ],
    );
    check_field(
        "terminationMessagePolicy",
        json!("Log"),
        &["spec.containers[0].terminationMessagePolicy: Unsupported value: \"Log\": supported \
           values: \"File\", \"FallbackToLogsOnError\""],
    );
    check_field(
        "restartPolicy",
        json!("Sometimes"),
        &["spec.containers[0].restartPolicy: Unsupported value: \"Sometimes\": supported values: \
           \"Always\", \"Never\", \"OnFailure\""],
    );
    check_field(
        "restartPolicyRules",
        json!([{"action": "Explode", "exitCodes": {"operator": "Is"}}]),
        &[
            "spec.containers[0].restartPolicy: Required value: must specify restartPolicy when \
             restart rules are used",
            "spec.containers[0].restartPolicyRules[0].action: Unsupported value: \"Explode\": \
             supported values: \"Restart\"",
            "spec.containers[0].restartPolicyRules[0].exitCodes.operator: Unsupported value: \
             \"Is\": supported values: \"In\", \"NotIn\"",
        ],
    );
    check_field(
        "resizePolicy",
        json!([{"resourceName": "disk", "restartPolicy": "NotRequired"}]),
        &["spec.containers[0].resizePolicy: Unsupported value: \"disk\": supported values: \
           \"cpu\", \"memory\""],
    );
}

#[test]
fn ports_are_checked() {
    let at = "spec.containers[0].ports[0]";
    let cases = [
        (json!({"containerPort": 0}), format!("{at}.containerPort: Required value")),
        (
            json!({"containerPort": 70000}),
            format!(
                "{at}.containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"
            ),
        ),
        (
            json!({"containerPort": 1, "hostPort": -1}),
            format!("{at}.hostPort: Invalid value: -1: must be between 1 and 65535, inclusive"),
        ),
        (
            json!({"containerPort": 1, "protocol": "tcp"}),
            format!(
                "{at}.protocol: Unsupported value: \"tcp\": supported values: \"SCTP\", \"TCP\", \
                 \"UDP\""
            ),
        ),
        (
            json!({"containerPort": 1, "name": "80"}),
            format!("{at}.name: Invalid value: \"80\": must contain at least one letter (a-z)"),
        ),
        (
            json!({"containerPort": 1, "name": "a--b"}),
            format!("{at}.name: Invalid value: \"a--b\": must not contain consecutive hyphens"),
        ),
        (
            json!({"containerPort": 1, "name": "a-name-of-seventeen"}),
            format!(
                "{at}.name: Invalid value: \"a-name-of-seventeen\": must be no more than 15 \
                 characters"
            ),
        ),
    ];
    for (port, expected) in cases {
        check_field("ports", json!([port]), &[&expected]);
    }
    let port = json!({"containerPort": 80, "hostPort": 80, "name": "http"});
    check_field(
        "ports",
        json!([port, port]),
        &[
            "spec.containers[0].ports[1].name: Duplicate value: \"http\"",
            "spec.containers[0].ports[1].hostPort: Duplicate value: \"TCP//80\"",
        ],
    );
    let other = json!([{"containerPort": 80, "hostPort": 81}]);
    let pod =
        with(with(pod(), "/spec/containers/0/ports", other), "/spec/hostNetwork", json!(true));
    check(
        "pods",
        pod,
        &["spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` \
           when `hostNetwork` is true"],
    );
}

#[test]
fn variables_are_checked() {
    let at = "spec.containers[0].env[0]";
    let field = |path: &str| json!({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let resource = |resource: &str, divisor: &str| {
        json!({"name": "A", "valueFrom": {
            "resourceFieldRef": {"resource": resource, "divisor": divisor}
        }})
    };
    let cases = [
        (json!({"name": ""}), format!("{at}.name: Required value")),
        (
            json!({"name": "a=b"}),
            format!(
                "{at}.name: Invalid value: \"a=b\": a valid environment variable name must consist \
                 only of printable ASCII characters other than '='"
            ),
        ),
        (
            json!({"name": "A", "valueFrom": {}}),
            format!(
                "{at}.valueFrom: Invalid value: \"\": must specify one of: `fieldRef`, \
                 `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
            ),
        ),
        (
            json!({"name": "A", "value": "b", "valueFrom": {
                "secretKeyRef": {"name": "s", "key": "k"}
            }}),
            format!(
                "{at}.valueFrom: Invalid value: \"\": may not be specified when `value` is not \
                 empty"
            ),
        ),
        (
            json!({"name": "A", "valueFrom": {
                "secretKeyRef": {"name": "s", "key": "k"},
                "configMapKeyRef": {"name": "s", "key": "k"}
            }}),
            format!(
                "{at}.valueFrom: Invalid value: \"\": may not have more than one field specified \
                 at a time"
            ),
        ),
        (
            json!({"name": "A", "valueFrom": {"configMapKeyRef": {"name": "s", "key": ".."}}}),
            format!("{at}.valueFrom.configMapKeyRef.key: Invalid value: \"..\": must not be '..'"),
        ),
        (
            field("spec.restartPolicy"),
            format!(
                "{at}.valueFrom.fieldRef.fieldPath: Unsupported value: \"spec.restartPolicy\": \
                 supported values: \"metadata.name\", \"metadata.namespace\", \"metadata.uid\", \
                 \"spec.nodeName\", \"spec.serviceAccountName\", \"status.hostIP\", \
                 \"status.hostIPs\", \"status.podIP\", \"status.podIPs\""
            ),
        ),
        (
            field("spec.missing"),
            format!(
                "{at}.valueFrom.fieldRef.fieldPath: Invalid value: \"spec.missing\": error \
                 converting fieldPath: field label not supported: spec.missing"
            ),
        ),
        (
            resource("limits.disk", "0"),
            format!(
                "{at}.valueFrom.resourceFieldRef.resource: Unsupported value: \"limits.disk\": \
                 supported values: \"limits.cpu\", \"limits.ephemeral-storage\", \
                 \"limits.memory\", \"requests.cpu\", \"requests.ephemeral-storage\", \
                 \"requests.memory\""
            ),
        ),
        (
            resource("limits.cpu", "2m"),
            format!(
                "{at}.valueFrom.resourceFieldRef.divisor: Invalid value: \"limits.cpu\": only \
                 divisor's values 1m and 1 are supported with the cpu resource"
            ),
        ),
    ];
    for (variable, expected) in cases {
        check_field("env", json!([variable]), &[&expected]);
    }
    check_field(
        "env",
        json!([
            {"name": "any printable!", "value": ""},
            field("metadata.labels['app.kubernetes.io/name']"),
            resource("limits.memory", "1Mi"),
        ]),
        &[],
    );
    check_field(
        "envFrom",
        json!([{"prefix": "A"}]),
        &["spec.containers[0].envFrom: Invalid value: \"\": must specify one of: `configMapRef` \
           or `secretRef`"],
    );
}

#[test]
fn probes_are_checked() {
    let at = "spec.containers[0].livenessProbe";
    let cases = [
        (json!({}), format!("{at}: Required value: must specify a handler type")),
        (
            json!({"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}),
            format!("{at}.tcpSocket: Forbidden: may not specify more than 1 handler type"),
        ),
        (json!({"exec": {}}), format!("{at}.exec.command: Required value")),
        (
            json!({"httpGet": {"port": 0}}),
            format!("{at}.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"),
        ),
        (
            json!({"httpGet": {"port": 1, "scheme": "gopher"}}),
            format!(
                "{at}.httpGet.scheme: Unsupported value: \"gopher\": supported values: \"HTTP\", \
                 \"HTTPS\""
            ),
        ),
        (
            json!({"httpGet": {"port": 1, "httpHeaders": [{"name": "a b", "value": ""}]}}),
            format!(
                "{at}.httpGet.httpHeaders: Invalid value: \"a b\": a valid HTTP header must \
                 consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for \
                 validation is '[-A-Za-z0-9]+')"
            ),
        ),
        (
            json!({"tcpSocket": {"port": 1}, "periodSeconds": -1}),
            format!("{at}.periodSeconds: Invalid value: -1: must be greater than or equal to 0"),
        ),
        (
            json!({"tcpSocket": {"port": 1}, "successThreshold": 2}),
            format!("{at}.successThreshold: Invalid value: 2: must be 1"),
        ),
        (
            json!({"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 0}),
            format!("{at}.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0"),
        ),
    ];
    for (probe, expected) in cases {
        check_field("livenessProbe", probe, &[&expected]);
    }
    check_field(
        "readinessProbe",
        json!({"grpc": {"port": 1}, "terminationGracePeriodSeconds": 5, "successThreshold": 2}),
        &["spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 5: \
           must not be set for readinessProbes"],
    );
    check_field(
        "lifecycle",
        json!({"preStop": {"sleep": {"seconds": 31}}, "stopSignal": "SIGUSR1"}),
        &[
            "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative \
             and less than terminationGracePeriodSeconds (30)",
            "spec.containers[0].lifecycle.stopSignal: Forbidden: may not be set for containers \
             with empty `spec.os.name`",
        ],
    );
}

#[test]
fn init_containers_are_checked() {
    let init = |container: Value| with(pod(), "/spec/initContainers", json!([container]));
    let probe = json!({"exec": {"command": ["true"]}});
    check(
        "pods",
        init(json!({"name": "main", "image": "i", "startupProbe": probe})),
        &[
            "spec.initContainers[0].name: Duplicate value: \"main\"",
            "spec.initContainers[0].startupProbe: Forbidden: may not be set for init containers \
             without restartPolicy=Always",
        ],
    );
    let sidecar =
        json!({"name": "side", "image": "i", "restartPolicy": "Always", "startupProbe": probe});
    check("pods", init(sidecar), &[]);
}

#[test]
fn security_contexts_are_checked() {
    let at = "spec.containers[0].securityContext";
    let cases = [
        (
            json!({"runAsUser": -1}),
            format!(
                "{at}.runAsUser: Invalid value: -1: must be between 0 and 4294967295, inclusive"
            ),
        ),
        (
            json!({"procMount": "Odd"}),
            format!(
                "{at}.procMount: Unsupported value: \"Odd\": supported values: \"Default\", \
                 \"Unmasked\""
            ),
        ),
        (
            json!({"allowPrivilegeEscalation": false, "privileged": true}),
            format!(
                "{at}: Invalid value: {{\"allowPrivilegeEscalation\":false,\"privileged\":true}}: \
                 cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            ),
        ),
        (
            json!({"seccompProfile": {"type": "Localhost"}}),
            format!(
                "{at}.seccompProfile.localhostProfile: Required value: must be set when seccomp \
                 type is Localhost"
            ),
        ),
        (
            json!({"appArmorProfile": {"type": "Unconfined", "localhostProfile": "x"}}),
            format!(
                "{at}.appArmorProfile.localhostProfile: Invalid value: \"x\": can only be set \
                 when AppArmor type is Localhost"
            ),
        ),
        (
            json!({"windowsOptions": {"runAsUserName": "a\\b\\c"}}),
            format!(
                "{at}.windowsOptions.runAsUserName: Invalid value: \"a\\\\b\\\\c\": runAsUserName \
                 cannot contain more than one backslash"
            ),
        ),
    ];
    for (context, expected) in cases {
        check_field("securityContext", context, &[&expected]);
    }
    let pod = with(
        pod(),
        "/spec/securityContext",
        json!({
            "fsGroup": -1,
            "fsGroupChangePolicy": "Never",
            "sysctls": [{"name": "net.core.somaxconn", "value": "1"}, {"name": "A", "value": "1"}],
        }),
    );
    check(
        "pods",
        with(pod, "/spec/hostNetwork", json!(true)),
        &[
            "spec.securityContext.fsGroup: Invalid value: -1: must be between 0 and 4294967295, \
             inclusive",
            "spec.securityContext.sysctls[0].name: Invalid value: \"net.core.somaxconn\": may not \
             be specified when 'hostNetwork' is true",
            "spec.securityContext.sysctls[1].name: Invalid value: \"A\": must have at most 253 \
             characters and match regex \
             ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
            "spec.securityContext.fsGroupChangePolicy: Unsupported value: \"Never\": supported \
             values: \"Always\", \"OnRootMismatch\"",
        ],
    );
}

#[test]
fn a_windows_pod_has_nothing_of_linux() {
    let pod = with(pod(), "/spec/os", json!({"name": "windows"}));
    let pod = with(pod, "/spec/hostPID", json!(true));
    check(
        "pods",
        with(pod, "/spec/containers/0/securityContext", json!({"privileged": true})),
        &[
            "spec.hostPID: Forbidden: cannot be set for a windows pod",
            "spec.containers[0].securityContext.privileged: Forbidden: cannot be set for a \
             windows pod",
        ],
    );
}
