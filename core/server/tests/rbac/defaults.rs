use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use pinnace_api::Key;
use pinnace_client::ListOptions;
use pinnace_server::rbac::bootstrap;
use pinnace_server::{Decision, User};
use serde_json::json;

use crate::support::World;

/// Who, where, and what is allowed (`+`) and what is not (`-`): verbs, group and resources, each
/// with each. `R` reads, `W` writes; a group `core` is that of pods, a group `/` is for paths.
const TABLE: &str = "
viewer a + R core pods,services,configmaps,endpoints,persistentvolumeclaims,pods/log,pods/status,events,serviceaccounts,limitranges,resourcequotas
viewer a + R apps deployments,deployments/scale,statefulsets,daemonsets,replicasets,controllerrevisions
viewer a + R batch jobs,cronjobs
viewer a + R networking.k8s.io ingresses,networkpolicies
viewer a + R metrics.k8s.io pods
editor a + R metrics.k8s.io pods
viewer a - R core secrets,pods/exec,pods/attach,services/proxy,nodes
viewer a - W core pods,services,configmaps,secrets
viewer a - R rbac.authorization.k8s.io roles,rolebindings
viewer b - R core pods,services
viewer a - impersonate core serviceaccounts
editor a + R core pods,secrets,pods/exec,pods/portforward
editor a + W core pods,services,configmaps,secrets,serviceaccounts,persistentvolumeclaims
editor a + W apps deployments,statefulsets,daemonsets,replicasets,deployments/scale
editor a + create core pods/eviction,serviceaccounts/token
editor a + R,W coordination.k8s.io leases
editor a - W core endpoints,resourcequotas,limitranges,nodes,namespaces
editor a - R,W rbac.authorization.k8s.io roles,rolebindings
editor a - bind,escalate rbac.authorization.k8s.io roles,clusterroles
editor b - W core pods
manager a + R,W rbac.authorization.k8s.io roles,rolebindings
manager a + create authorization.k8s.io localsubjectaccessreviews
manager a + R,W core pods,secrets
manager a - escalate rbac.authorization.k8s.io roles
manager a - R,W rbac.authorization.k8s.io clusterroles,clusterrolebindings
manager b - R core pods
boss a + R,W,impersonate,bind,escalate core pods,secrets,nodes,anything
boss - + R,W example.com widgets,widgets/scale
boss - + get,post / metrics,api,healthz/ping
somebody - + get / api,apis,apis/apps/v1,openapi/v3,version,healthz
somebody - - get / metrics,logs,healthz/ping,.well-known/openid-configuration
somebody - - post / api,version
somebody - + create authorization.k8s.io selfsubjectaccessreviews,selfsubjectrulesreviews
somebody - + create authentication.k8s.io selfsubjectreviews
somebody - - create authentication.k8s.io tokenreviews
somebody a - R core pods,configmaps
system:anonymous - + get / version,healthz,livez,readyz
system:anonymous - - get / api,apis,openapi/v3,metrics
system:anonymous - - create authorization.k8s.io selfsubjectaccessreviews
system:kube-scheduler a + create core bindings,pods/binding
system:kube-scheduler a + R,create,delete,update,patch resource.k8s.io resourceclaims
system:kube-scheduler a - create,delete resource.k8s.io resourceslices
system:kube-scheduler a + get,list,watch,delete core pods
system:kube-scheduler a - create,update core pods
system:kube-scheduler - + R core nodes,persistentvolumes
system:kube-scheduler - + update,patch core persistentvolumes,pods/status
system:kube-scheduler a - R core secrets
system:kube-scheduler kube-system + get,update,create coordination.k8s.io leases
system:kube-controller-manager a + list,watch core pods,secrets,anything
system:kube-controller-manager a + get,create,update core secrets,serviceaccounts
system:kube-controller-manager a - get,create core pods
system:kube-proxy - + list,watch core services,endpoints
system:kube-proxy - + R core nodes
system:kube-proxy - - get core services
system:kube-proxy - + list,watch discovery.k8s.io endpointslices
sa:deployment-controller a + create,delete,update,patch apps replicasets
sa:deployment-controller a + update apps deployments/status,deployments/finalizers
sa:deployment-controller a - create,delete apps deployments
sa:deployment-controller a - R core secrets
sa:horizontal-pod-autoscaler a + get,update apps deployments/scale,statefulsets/scale
sa:horizontal-pod-autoscaler a + get,update example.com widgets/scale
sa:horizontal-pod-autoscaler a - get,update apps deployments,deployments/status
sa:namespace-controller a + get,list,watch,delete,deletecollection example.com widgets
sa:namespace-controller - + update core namespaces/finalize,namespaces/status
sa:namespace-controller a - create,update,patch core pods
sa:clusterrole-aggregation-controller - + escalate,update rbac.authorization.k8s.io clusterroles
sa:clusterrole-aggregation-controller - - escalate,update rbac.authorization.k8s.io roles
sa:certificate-controller - - sign,approve certificates.k8s.io signers
sa:node-controller - + delete,patch core nodes
sa:node-controller - - create core nodes
sa:statefulset-controller a + create,delete core pods,persistentvolumeclaims
sa:job-controller a + create,delete core pods
sa:job-controller a - create batch jobs
sa:token-cleaner kube-system + R,delete core secrets
sa:token-cleaner a - R,delete core secrets
sa:bootstrap-signer kube-public + R core configmaps
sa:bootstrap-signer kube-public - update core configmaps
sa:anybody - + get / .well-known/openid-configuration,openid/v1/jwks
node:n1 - - get,update core nodes,pods
";

fn user(name: &str) -> User {
    let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let known = "system:authenticated";
    if let Some(account) = name.strip_prefix("sa:") {
        let name = format!("system:serviceaccount:kube-system:{account}");
        return User::new(&name, groups(&["system:serviceaccounts", known]));
    }
    if let Some(node) = name.strip_prefix("node:") {
        return User::new(&format!("system:node:{node}"), groups(&["system:nodes", known]));
    }
    match name {
        "system:anonymous" => User::new(name, groups(&["system:unauthenticated"])),
        name => User::new(name, groups(&[known])),
    }
}

/// What the controller of aggregated roles does, once.
async fn aggregate(world: &World) {
    let roles = world.host().of::<ClusterRole>().unwrap();
    for (target, from) in [("view", "view"), ("edit", "edit"), ("admin", "admin")] {
        let label = format!("rbac.authorization.k8s.io/aggregate-to-{from}");
        let mut rules = Vec::new();
        for role in roles.list(None, ListOptions::default()).await.unwrap().items {
            if role.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(&label)) {
                rules.extend(role.rules.clone().unwrap_or_default());
            }
        }
        let mut role = ClusterRole::clone(&roles.get(&Key::cluster(target)).await.unwrap());
        role.rules = Some(rules);
        roles.update(role).await.unwrap();
    }
}

async fn world() -> World {
    let world = World::new().await;
    bootstrap(&world.host()).await.unwrap();
    aggregate(&world).await;
    for (role, name) in [("view", "viewer"), ("edit", "editor"), ("admin", "manager")] {
        world.bind("a", role, json!({"kind": "User", "name": name})).await;
    }
    world.bind("", "cluster-admin", json!({"kind": "User", "name": "boss"})).await;
    world
}

#[tokio::test]
async fn the_default_roles_allow_what_they_allow_upstream() {
    let world = world().await;
    let mut rows = 0;
    for line in TABLE.lines().filter(|line| !line.is_empty()) {
        let fields: Vec<_> = line.split(' ').collect();
        let [name, namespace, sign, verbs, group, resources] = fields[..] else {
            panic!("{line}");
        };
        let verbs = verbs.split(',').flat_map(|verb| match verb {
            "R" => vec!["get", "list", "watch"],
            "W" => vec!["create", "update", "patch", "delete", "deletecollection"],
            verb => vec![verb],
        });
        let group = if group == "core" { "" } else { group };
        let namespace = if namespace == "-" { "" } else { namespace };
        let user = user(name);
        for verb in verbs {
            for resource in resources.split(',') {
                let said = world.ask(&user, namespace, [verb, group, resource], "");
                assert_eq!(said == Decision::Allow, sign == "+", "{line}: {verb} {resource}");
                rows += 1;
            }
        }
    }
    assert!(rows >= 300, "{rows}");
}

#[tokio::test]
async fn names_in_rules_limit_them_to_these_objects() {
    let world = world().await;
    let signer = user("sa:certificate-controller");
    let ask = |verb, name| {
        world.ask(&signer, "", [verb, "certificates.k8s.io", "signers"], name) == Decision::Allow
    };
    assert!(ask("sign", "kubernetes.io/kubelet-serving"));
    assert!(ask("approve", "kubernetes.io/kube-apiserver-client-kubelet"));
    assert!(!ask("approve", "kubernetes.io/kubelet-serving"));
    assert!(!ask("sign", "example.com/own"));
}

#[tokio::test]
async fn starting_again_mends_what_is_missing_and_keeps_what_was_added() {
    let world = World::new().await;
    let host = world.host();
    bootstrap(&host).await.unwrap();
    let count = |len: usize, expected: usize| assert_eq!(len, expected);
    let (roles, bindings) =
        (host.of::<ClusterRole>().unwrap(), host.of::<ClusterRoleBinding>().unwrap());
    let options = ListOptions::default;
    count(host.of::<Role>().unwrap().list(None, options()).await.unwrap().items.len(), 7);
    count(host.of::<RoleBinding>().unwrap().list(None, options()).await.unwrap().items.len(), 7);
    let key = Key::cluster("system:kube-dns");
    let mut role = ClusterRole::clone(&roles.get(&key).await.unwrap());
    let untouched = role.clone();
    role.rules = Some(vec![
        serde_json::from_value(json!({
            "apiGroups": ["x"], "resources": ["y"], "verbs": ["get"],
        }))
        .unwrap(),
    ]);
    roles.update(role).await.unwrap();
    let mut binding = ClusterRoleBinding::clone(&bindings.get(&key).await.unwrap());
    binding.subjects = None;
    bindings.update(binding).await.unwrap();
    let mut kept = ClusterRole::clone(&roles.get(&Key::cluster("system:heapster")).await.unwrap());
    let auto = "rbac.authorization.kubernetes.io/autoupdate".to_owned();
    kept.metadata.annotations = Some([(auto, "false".to_owned())].into());
    kept.rules = None;
    roles.update(kept).await.unwrap();

    bootstrap(&host).await.unwrap();
    let rules = roles.get(&key).await.unwrap().rules.clone().unwrap();
    assert_eq!(rules[0].api_groups, Some(vec!["x".to_owned()]), "what was added stays");
    assert!(rules.len() > untouched.rules.unwrap().len(), "what was missing is there");
    assert_eq!(bindings.get(&key).await.unwrap().subjects.as_ref().map(Vec::len), Some(1));
    let heapster = roles.get(&Key::cluster("system:heapster")).await.unwrap();
    assert_eq!(heapster.rules, None, "left alone as it asks");
    let before = world.server.store().revision();
    bootstrap(&host).await.unwrap();
    assert_eq!(world.server.store().revision(), before, "nothing more to do");
}
