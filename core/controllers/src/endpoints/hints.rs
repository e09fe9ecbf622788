//! Hints by which proxies keep traffic near: as a service's `trafficDistribution` asks.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointHints, ForNode, ForZone};

use super::desired::Groups;

/// Gives every ready endpoint the hints that its service asks for. An endpoint that does not say where
/// it is gets none, and neither do the others of its group: a proxy must not find a zone empty.
pub(super) fn give(service: &Service, groups: &mut Groups) {
    let spec = service.spec.as_ref();
    let near = match spec.and_then(|spec| spec.traffic_distribution.as_deref()) {
        Some("PreferClose" | "PreferSameZone") => false,
        Some("PreferSameNode") => true,
        _ => return,
    };
    for endpoints in groups.values_mut() {
        let mut ready = endpoints.iter().filter(|one| is_ready(one));
        if !ready.all(|one| one.zone.is_some() && (!near || one.node_name.is_some())) {
            continue;
        }
        for endpoint in endpoints.iter_mut().filter(|one| is_ready(one)) {
            let zones = endpoint.zone.clone().map(|name| vec![ForZone { name }]);
            let nodes = endpoint.node_name.clone().filter(|_| near);
            let for_nodes = nodes.map(|name| vec![ForNode { name }]);
            endpoint.hints = Some(EndpointHints { for_zones: zones, for_nodes });
        }
    }
}

pub(super) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(distribution: &str, endpoints: Value, expected: Value) {
        let service = json!({"spec": {"trafficDistribution": distribution}});
        let service: Service = serde_json::from_value(service).unwrap();
        let endpoints: Vec<Endpoint> = serde_json::from_value(endpoints).unwrap();
        let mut groups = Groups::from([(("IPv4".to_owned(), vec![]), endpoints)]);
        give(&service, &mut groups);
        let hints: Vec<_> = groups.into_values().flatten().map(|one| one.hints).collect();
        assert_eq!(serde_json::to_value(hints).unwrap(), expected, "{distribution}");
    }

    #[test]
    fn traffic_stays_in_the_zone_or_on_the_node() {
        let one = |zone: Option<&str>, ready: bool| {
            json!({"addresses": ["1.1.1.1"], "conditions": {"ready": ready}, "zone": zone,
                "nodeName": "n"})
        };
        let zone = json!({"forZones": [{"name": "a"}]});
        check("PreferClose", json!([one(Some("a"), true)]), json!([zone]));
        check("PreferSameZone", json!([one(Some("a"), true)]), json!([zone]));
        let both = json!({"forZones": [{"name": "a"}], "forNodes": [{"name": "n"}]});
        check("PreferSameNode", json!([one(Some("a"), true)]), json!([both]));
        let some = json!([one(Some("a"), true), one(None, true)]);
        check("PreferClose", some, json!([null, null]));
        let some = json!([one(Some("a"), true), one(Some("b"), false)]);
        check("PreferClose", some, json!([zone, null]));
        check("", json!([one(Some("a"), true)]), json!([null]));
    }
}
