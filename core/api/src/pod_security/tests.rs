use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{Level, LevelVersion, PodSecurityConfiguration, Policy, Version, details, violations};
use crate::field::ErrorList;

const RESTRICTED: LevelVersion =
    LevelVersion { level: Level::Restricted, version: Version::Latest };
const BASELINE: LevelVersion = LevelVersion { level: Level::Baseline, version: Version::Latest };

fn as_of(level: Level, minor: u32) -> LevelVersion {
    LevelVersion { level, version: Version::Minor(minor) }
}

/// A pod that restricted takes; `change` is merged into its spec, or its container.
fn pod(change: &Value) -> Pod {
    let mut container = json!({"name": "c", "image": "i", "securityContext": {
        "allowPrivilegeEscalation": false, "runAsNonRoot": true,
        "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"}}});
    merge(&mut container, &change["container"]);
    let mut pod = json!({"metadata": {}, "spec": {"containers": [container]}});
    merge(&mut pod["metadata"], &change["metadata"]);
    merge(&mut pod["spec"], &change["spec"]);
    serde_json::from_value(pod).unwrap()
}

fn merge(into: &mut Value, from: &Value) {
    let Some(fields) = from.as_object() else { return };
    for (key, value) in fields {
        match value.is_object() && into[key].is_object() {
            true => merge(&mut into[key], value),
            false => into[key] = value.clone(),
        }
    }
}

fn check(wanted: LevelVersion, change: &Value, expected: &str) {
    let pod = pod(change);
    let found = violations(wanted, &pod.metadata, pod.spec.as_ref().unwrap());
    assert_eq!(details(&found), expected, "{wanted} {change}");
}

fn security(change: Value) -> Value {
    json!({"container": {"securityContext": change}})
}

#[test]
fn baseline_forbids_known_ways_to_more_rights() {
    let table = [
        (json!({}), ""),
        (
            json!({"spec": {"hostNetwork": true, "hostPID": true, "hostIPC": true}}),
            "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
        ),
        (
            security(json!({"privileged": true})),
            "privileged (container \"c\" must not set securityContext.privileged=true)",
        ),
        (
            security(json!({"capabilities": {"add": ["NET_RAW", "CHOWN", "BPF"]}})),
            "non-default capabilities (container \"c\" must not include \"BPF\", \"NET_RAW\" in \
             securityContext.capabilities.add)",
        ),
        (
            json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}}),
            "hostPath volumes (volume \"v\")",
        ),
        (
            json!({"container": {"ports": [{"containerPort": 1, "hostPort": 80},
                                           {"containerPort": 2, "hostPort": 443}]}}),
            "hostPort (container \"c\" uses hostPorts 443, 80)",
        ),
        (
            json!({"container": {"livenessProbe": {"httpGet": {"port": 1, "host": "1.2.3.4"}},
                                 "lifecycle": {"preStop": {"tcpSocket": {"port": 1, "host": "h"}}}}}),
            "probe or lifecycle host (container \"c\" uses probe or lifecycle hosts \"1.2.3.4\", \
             \"h\")",
        ),
        (
            json!({"spec": {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}},
                   "metadata": {"annotations":
                    {"container.apparmor.security.beta.kubernetes.io/c": "unconfined"}}}),
            "forbidden AppArmor profiles (pod and annotation must not set AppArmor profile type to \
             \"Unconfined\", \"container.apparmor.security.beta.kubernetes.io/c=\"unconfined\"\")",
        ),
        (
            security(json!({"seLinuxOptions": {"type": "spc_t", "user": "u"}})),
            "seLinuxOptions (container \"c\" set forbidden securityContext.seLinuxOptions: type \
             \"spc_t\"; user may not be set)",
        ),
        (
            security(json!({"procMount": "Unmasked"})),
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            json!({"spec": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}}),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \
             \"Unconfined\")",
        ),
        (
            json!({"spec": {"securityContext": {"sysctls": [
                {"name": "net.ipv4.tcp_rmem", "value": "1"}, {"name": "kernel.msgmax", "value": "1"}]}}}),
            "forbidden sysctls (kernel.msgmax)",
        ),
        (
            json!({"spec": {"securityContext": {"windowsOptions": {"hostProcess": true}}}}),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            json!({"spec": {"hostUsers": false}, "container": {"securityContext":
            {"procMount": "Unmasked"}}}),
            "",
        ),
        (json!({"container": {"securityContext": null}}), ""),
    ];
    for (change, expected) in &table {
        check(BASELINE, change, expected);
        check(LevelVersion::default(), change, "");
    }
}

#[test]
fn restricted_asks_for_good_practice() {
    let bare = json!({"container": {"securityContext": null}});
    check(
        RESTRICTED,
        &bare,
        "allowPrivilegeEscalation != false (container \"c\" must set \
         securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \
         \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or \
         container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or \
         container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
         \"Localhost\")",
    );
    let table = [
        (json!({}), ""),
        (
            security(json!({"capabilities": {"add": ["NET_BIND_SERVICE", "CHOWN"]}})),
            "unrestricted capabilities (container \"c\" must not include \"CHOWN\" in \
             securityContext.capabilities.add)",
        ),
        (
            json!({"spec": {"volumes": [{"name": "a", "hostPath": {"path": "/"}},
                {"name": "b", "nfs": {"server": "s", "path": "/"}}, {"name": "c", "emptyDir": {}},
                {"name": "d", "image": {"reference": "i"}}]}}),
            "restricted volume types (volumes \"a\", \"b\" use restricted volume types \
             \"hostPath\", \"nfs\")",
        ),
        (
            json!({"spec": {"securityContext": {"runAsNonRoot": false, "runAsUser": 0}},
                   "container": {"securityContext": {"runAsUser": 0}}}),
            "runAsNonRoot != true (pod must not set securityContext.runAsNonRoot=false), \
             runAsUser=0 (pod and container \"c\" must not set runAsUser=0)",
        ),
        (
            json!({"spec": {"hostUsers": false}, "container": {"securityContext":
                {"procMount": "Unmasked", "runAsUser": 0, "runAsNonRoot": false}}}),
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
        ),
    ];
    for (change, expected) in &table {
        check(RESTRICTED, change, expected);
    }
    let windows = json!({"spec": {"os": {"name": "windows"}, "securityContext":
        {"runAsNonRoot": true}}, "container": {"securityContext": null}});
    check(RESTRICTED, &windows, "");
}

#[test]
fn every_container_is_looked_at() {
    let all = json!({"spec": {
        "initContainers": [{"name": "a", "securityContext": {"privileged": true}}],
        "ephemeralContainers": [{"name": "e", "securityContext": {"privileged": true}}]}});
    let expected =
        "privileged (containers \"a\", \"e\" must not set securityContext.privileged=true)";
    check(BASELINE, &all, expected);
}

#[test]
fn earlier_versions_ask_what_they_asked() {
    let probe = json!({"container": {"livenessProbe": {"httpGet": {"port": 1, "host": "h"}}}});
    check(as_of(Level::Baseline, 33), &probe, "");
    let engine = security(json!({"seLinuxOptions": {"type": "container_engine_t"}}));
    check(BASELINE, &engine, "");
    let expected = "seLinuxOptions (container \"c\" set forbidden securityContext.seLinuxOptions: \
                    type \"container_engine_t\")";
    check(as_of(Level::Baseline, 30), &engine, expected);
    let seccomp = json!({"metadata": {"annotations":
        {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}}});
    check(BASELINE, &seccomp, "");
    let expected = "seccompProfile (forbidden annotation \
                    seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")";
    check(as_of(Level::Restricted, 18), &seccomp, expected);
    let sysctl = json!({"spec": {"securityContext": {"sysctls":
        [{"name": "net.ipv4.tcp_fin_timeout", "value": "1"}]}}});
    check(as_of(Level::Baseline, 28), &sysctl, "forbidden sysctls (net.ipv4.tcp_fin_timeout)");
    check(as_of(Level::Baseline, 29), &sysctl, "");
    // Before restricted asked for capabilities to be dropped, baseline's list held there too.
    let raw = security(json!({"capabilities": {"add": ["NET_RAW"]}}));
    let expected = "non-default capabilities (container \"c\" must not include \"NET_RAW\" in \
                    securityContext.capabilities.add)";
    check(as_of(Level::Restricted, 21), &raw, expected);
}

#[test]
fn labels_say_what_is_asked() {
    let read = |labels: Value| {
        let mut errors = ErrorList::default();
        let labels = labels.as_object().unwrap().iter();
        let labels = labels.map(|(key, value)| {
            (format!("{}{key}", super::PREFIX), value.as_str().unwrap().to_owned())
        });
        let policy = Policy::of(Some(&labels.collect()), Policy::default(), &mut errors);
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        (policy.to_string(), errors.join("; "))
    };
    let table = [
        (json!({"enforce": "baseline"}), "enforce=baseline:latest, warn=baseline:latest", ""),
        (
            json!({"enforce": "restricted", "enforce-version": "v1.25", "warn": "baseline"}),
            "enforce=restricted:v1.25, warn=baseline:latest",
            "",
        ),
        (
            json!({"enforce": "x", "audit": "y", "warn-version": "1.2"}),
            "enforce=restricted:latest, warn=restricted:latest",
            "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"x\": must be one \
             of privileged, baseline, restricted; \
             metadata.labels[pod-security.kubernetes.io/audit]: Invalid value: \"y\": must be one \
             of privileged, baseline, restricted; \
             metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"1.2\": must \
             be \"latest\" or \"v1.x\"",
        ),
    ];
    for (labels, policy, errors) in table {
        assert_eq!(read(labels), (policy.to_owned(), errors.to_owned()));
    }
}

#[test]
fn configurations_are_read_or_refused() {
    let read = |body: &str| {
        let head =
            "apiVersion: pod-security.admission.config.k8s.io/v1\nkind: PodSecurityConfiguration\n";
        PodSecurityConfiguration::read(&format!("{head}{body}")).map_err(|e| e.message().to_owned())
    };
    let whole = read(
        "defaults: {enforce: baseline, enforce-version: v1.30, audit: restricted}\n\
                      exemptions: {usernames: [jane], runtimeClasses: [vm]}\n",
    )
    .unwrap();
    assert_eq!(whole.defaults.to_string(), "enforce=baseline:v1.30, audit=restricted:latest");
    assert_eq!(whole.exemptions.runtime_classes, ["vm"]);
    let table = [
        ("defaults: {enforce: high}", "defaults.enforce: Invalid value: \"high\""),
        ("defaults: {deny: baseline}", "unknown field \"deny\""),
        ("exemptions: {usernames: [a, a]}", "exemptions.usernames[1]: Duplicate value: \"a\""),
        ("exemptions: {groups: [a]}", "unknown field"),
    ];
    for (body, part) in table {
        let error = read(body).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
}
