use serde_json::{Value, json};

use crate::support::{check, check_status, check_update, defaulted, update, with};

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    })
}

fn set(field: &str, value: Value) -> Value {
    with(service(), &format!("/spec/{field}"), value)
}

#[test]
fn a_service_is_filled_in() {
    assert_eq!(
        defaulted("services", service()).to_value().unwrap()["spec"],
        json!({
            "internalTrafficPolicy": "Cluster",
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
            "selector": {"app": "web"},
            "sessionAffinity": "None",
            "type": "ClusterIP",
        })
    );
    let balanced =
        with(set("type", json!("LoadBalancer")), "/spec/sessionAffinity", json!("ClientIP"));
    let spec = defaulted("services", balanced).to_value().unwrap()["spec"].clone();
    assert_eq!(spec["sessionAffinityConfig"], json!({"clientIP": {"timeoutSeconds": 10800}}));
    assert_eq!(spec["externalTrafficPolicy"], "Cluster");
    assert_eq!(spec["allocateLoadBalancerNodePorts"], true);
}

#[test]
fn services_are_checked() {
    let cases: &[(&str, Value, &[&str])] = &[
        ("ports", json!([]), &["spec.ports: Required value"]),
        (
            "ports",
            json!([{"port": 80}, {"port": 80, "name": "Http"}]),
            &[
                "spec.ports[0].name: Required value",
                "spec.ports[1].name: Invalid value: \"Http\": a lowercase RFC 1123 label must \
                 consist of lower case alphanumeric characters or '-', and must start and end \
                 with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for \
                 validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
                "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\
                 \"AppProtocol\":null,\"Port\":80,\"TargetPort\":0,\"NodePort\":0}",
            ],
        ),
        (
            "ports",
            json!([{"port": 0}]),
            &[
                "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            ],
        ),
        (
            "ports",
            json!([{"port": 80, "nodePort": 30000}]),
            &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
        ),
        (
            "type",
            json!("Pigeon"),
            &["spec.type: Unsupported value: \"Pigeon\": supported values: \"ClusterIP\", \
               \"ExternalName\", \"LoadBalancer\", \"NodePort\""],
        ),
        ("type", json!("ExternalName"), &["spec.externalName: Required value"]),
        (
            "clusterIP",
            json!("x"),
            &["spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. \
               10.9.8.7 or 2001:db8::ffff)"],
        ),
        ("clusterIP", json!("None"), &[]),
        (
            "clusterIPs",
            json!(["10.0.0.1"]),
            &["spec.clusterIPs: Invalid value: [\"10.0.0.1\"]: must be empty when `clusterIP` is \
               not specified"],
        ),
        (
            "ipFamilies",
            json!(["IPv4", "IPv4", "IPv5"]),
            &[
                "spec.ipFamilies[1]: Duplicate value: \"IPv4\"",
                "spec.ipFamilies[2]: Unsupported value: \"IPv5\": supported values: \"IPv4\", \
                 \"IPv6\"",
            ],
        ),
        (
            "externalIPs",
            json!(["127.0.0.1", "fe80::1", "0.0.0.0"]),
            &[
                "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback \
                 range (127.0.0.0/8, ::1/128)",
                "spec.externalIPs[1]: Invalid value: \"fe80::1\": may not be in the link-local \
                 range (169.254.0.0/16, fe80::/10)",
                "spec.externalIPs[2]: Invalid value: \"0.0.0.0\": may not be unspecified (0.0.0.0)",
            ],
        ),
        (
            "sessionAffinity",
            json!("Sticky"),
            &["spec.sessionAffinity: Unsupported value: \"Sticky\": supported values: \
               \"ClientIP\", \"None\""],
        ),
        (
            "externalTrafficPolicy",
            json!("Local"),
            &["spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for \
               externally-accessible services"],
        ),
        (
            "loadBalancerSourceRanges",
            json!(["10.0.0.0/33"]),
            &[
                "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is \
                 'LoadBalancer'",
                "spec.LoadBalancerSourceRanges[0]: Invalid value: \"10.0.0.0/33\": must be a valid \
                 CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
            ],
        ),
        (
            "loadBalancerClass",
            json!("example.com/a"),
            &["spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"],
        ),
        (
            "healthCheckNodePort",
            json!(30000),
            &["spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is \
               'LoadBalancer' and `externalTrafficPolicy` is 'Local'"],
        ),
        (
            "internalTrafficPolicy",
            json!("Near"),
            &["spec.internalTrafficPolicy: Unsupported value: \"Near\": supported values: \
               \"Cluster\", \"Local\""],
        ),
        (
            "trafficDistribution",
            json!("Far"),
            &["spec.trafficDistribution: Unsupported value: \"Far\": supported values: \
               \"PreferClose\", \"PreferSameNode\", \"PreferSameZone\""],
        ),
    ];
    for (field, value, expected) in cases {
        check("services", set(field, value.clone()), expected);
    }
    check(
        "services",
        with(set("type", json!("NodePort")), "/spec/clusterIP", json!("None")),
        &["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort \
           services"],
    );
    let client = json!({"clientIP": {"timeoutSeconds": 86401}});
    check(
        "services",
        with(set("sessionAffinity", json!("ClientIP")), "/spec/sessionAffinityConfig", client),
        &["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be \
           greater than 0 and less than 86400"],
    );
}

#[test]
fn what_a_service_was_given_it_keeps() {
    let old = with(set("clusterIP", json!("10.0.0.1")), "/spec/type", json!("NodePort"));
    let old = with(old, "/spec/ports/0/nodePort", json!(30080));
    let (errors, new) = update("services", old.clone(), set("type", json!("NodePort")));
    assert!(errors.is_empty(), "{errors:?}");
    let spec = new.to_value().unwrap()["spec"].clone();
    assert_eq!(spec["clusterIP"], "10.0.0.1");
    assert_eq!(spec["clusterIPs"], json!(["10.0.0.1"]));
    assert_eq!(spec["ports"][0]["nodePort"], 30080);
    check_update(
        "services",
        old.clone(),
        with(set("type", json!("NodePort")), "/spec/clusterIP", json!("10.0.0.2")),
        &["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"],
    );
    let external = json!({"type": "ExternalName", "externalName": "example.com"});
    let (errors, new) = update("services", old, with(service(), "/spec", external));
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(new.to_value().unwrap()["spec"].get("clusterIP"), None);
}

#[test]
fn the_second_address_is_given_up_knowingly() {
    let spec = json!({
        "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"],
        "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack", "ports": [{"port": 1}],
    });
    let old = with(service(), "/spec", spec.clone());
    let new = with(old.clone(), "/spec/clusterIPs", json!(["10.0.0.1"]));
    let new = with(new, "/spec/ipFamilies", json!(["IPv4"]));
    check_update(
        "services",
        old.clone(),
        new.clone(),
        &[
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be set to \
             'SingleStack' when releasing the secondary clusterIP",
            "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": must be set to \
             'SingleStack' when releasing the secondary ipFamily",
        ],
    );
    check_update("services", old, with(new, "/spec/ipFamilyPolicy", json!("SingleStack")), &[]);
}

#[test]
fn only_load_balancers_say_where_they_are() {
    let status = json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.1"}]}});
    check_status(
        "services",
        service(),
        with(service(), "/status", status.clone()),
        &["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is \
           'LoadBalancer'"],
    );
    let balanced = set("type", json!("LoadBalancer"));
    check_status("services", balanced.clone(), with(balanced.clone(), "/status", status), &[]);
    let status = json!({"loadBalancer": {"ingress": [{"hostname": "10.0.0.1"}]}});
    check_status(
        "services",
        balanced.clone(),
        with(balanced, "/status", status),
        &["status.loadBalancer.ingress[0].hostname: Invalid value: \"10.0.0.1\": must be a DNS \
           name, not an IP address"],
    );
}
