//! Random roles and bindings that come, change and go, against the plainest reading of them.

use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, RoleBinding, RoleRef, Subject,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pinnace_api::Key;
use pinnace_client::DeleteOptions;
use pinnace_server::{Decision, User};
use proptest::prelude::*;

use crate::support::World;

const NAMESPACES: [&str; 3] = ["", "a", "b"];
const VERBS: [&str; 4] = ["get", "list", "delete", "frob"];
const RESOURCES: [&str; 4] = ["pods", "pods/log", "deployments", "deployments/scale"];
const NAMES: [&str; 2] = ["x", "y"];

/// What happens to one role or binding.
#[derive(Clone, Debug)]
enum Step {
    Role(usize, Vec<Rule>),
    Bind { slot: usize, namespace: usize, role: usize, user: usize, as_group: bool },
    Unbind(usize, usize),
    Remove(usize),
}

/// Indices into the lists above; one past the end is the star.
#[derive(Clone, Debug)]
struct Rule {
    verb: usize,
    resource: usize,
    name: Option<usize>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let rule = (0..=VERBS.len(), 0..=RESOURCES.len() + 1, proptest::option::of(0..NAMES.len()))
        .prop_map(|(verb, resource, name)| Rule { verb, resource, name });
    let step = prop_oneof![
        (0..3usize, proptest::collection::vec(rule, 0..3))
            .prop_map(|(r, rules)| Step::Role(r, rules)),
        (0..3usize, 0..3usize, 0..4usize, 0..2usize, any::<bool>()).prop_map(
            |(slot, namespace, role, user, as_group)| Step::Bind {
                slot,
                namespace,
                role,
                user,
                as_group
            }
        ),
        (0..3usize, 0..3usize).prop_map(|(slot, namespace)| Step::Unbind(slot, namespace)),
        (0..3usize).prop_map(Step::Remove),
    ];
    proptest::collection::vec(step, 1..24)
}

/// The state, plainly.
#[derive(Default)]
struct Model {
    roles: [Option<Vec<Rule>>; 4],
    /// By namespace and slot: the role, and the user or group.
    bindings: [[Option<(usize, String)>; 3]; 3],
}

impl Model {
    fn allows(
        &self,
        user: &User,
        namespace: usize,
        verb: &str,
        resource: &str,
        name: &str,
    ) -> bool {
        let places = if namespace == 0 { vec![0] } else { vec![0, namespace] };
        places.iter().flat_map(|place| &self.bindings[*place]).flatten().any(|(role, whom)| {
            let meant = *whom == *user.name || user.groups.contains(whom);
            let rules = self.roles[*role].iter().flatten();
            meant && rules.into_iter().any(|rule| rule.allows(verb, resource, name))
        })
    }
}

impl Rule {
    fn verb(&self) -> &'static str {
        VERBS.get(self.verb).copied().unwrap_or("*")
    }

    fn resource(&self) -> &'static str {
        let any = if self.resource == RESOURCES.len() { "*" } else { "*/scale" };
        RESOURCES.get(self.resource).copied().unwrap_or(any)
    }

    fn allows(&self, verb: &str, resource: &str, name: &str) -> bool {
        let verb = ["*", verb].contains(&self.verb());
        let resource = match self.resource() {
            "*" => true,
            "*/scale" => resource.ends_with("/scale"),
            own => own == resource,
        };
        verb && resource && self.name.is_none_or(|own| NAMES[own] == name)
    }

    fn policy(&self) -> PolicyRule {
        PolicyRule {
            verbs: vec![self.verb().to_owned()],
            api_groups: Some(vec![String::new()]),
            resources: Some(vec![self.resource().to_owned()]),
            resource_names: self.name.map(|name| vec![NAMES[name].to_owned()]),
            non_resource_urls: None,
        }
    }
}

async fn apply(world: &World, model: &mut Model, step: &Step) {
    let host = world.host();
    let (roles, wide, narrow) = (
        host.of::<ClusterRole>().unwrap(),
        host.of::<ClusterRoleBinding>().unwrap(),
        host.of::<RoleBinding>().unwrap(),
    );
    let gone = DeleteOptions::default;
    let meta = |name: String, namespace: usize| ObjectMeta {
        name: Some(name),
        namespace: Some(NAMESPACES[namespace].to_owned()).filter(|name| !name.is_empty()),
        ..ObjectMeta::default()
    };
    match step {
        Step::Role(at, rules) => {
            let role = ClusterRole {
                metadata: meta(format!("r{at}"), 0),
                rules: Some(rules.iter().map(Rule::policy).collect()),
                aggregation_rule: None,
            };
            match model.roles[*at].is_some() {
                true => roles.update(role).await.unwrap(),
                false => roles.create(role).await.unwrap(),
            };
            model.roles[*at] = Some(rules.clone());
        }
        Step::Remove(at) => {
            let _ = roles.delete(&Key::cluster(format!("r{at}")), gone()).await;
            model.roles[*at] = None;
        }
        Step::Unbind(slot, namespace) => {
            let key = Key::new(NAMESPACES[*namespace], format!("b{slot}"));
            let _ = match namespace {
                0 => wide.delete(&key, gone()).await.map(drop),
                _ => narrow.delete(&key, gone()).await.map(drop),
            };
            model.bindings[*namespace][*slot] = None;
        }
        Step::Bind { slot, namespace, role, user, as_group } => {
            let (kind, name) = if *as_group {
                ("Group", format!("g{user}"))
            } else {
                ("User", format!("u{user}"))
            };
            let subjects = Some(vec![Subject {
                kind: kind.to_owned(),
                name: name.clone(),
                ..Subject::default()
            }]);
            let role_ref = RoleRef {
                api_group: Some("rbac.authorization.k8s.io".to_owned()),
                kind: "ClusterRole".to_owned(),
                name: format!("r{role}"),
            };
            // A binding's role cannot change, so a new one takes its place.
            Box::pin(apply(world, model, &Step::Unbind(*slot, *namespace))).await;
            let metadata = meta(format!("b{slot}"), *namespace);
            if *namespace == 0 {
                let binding = ClusterRoleBinding { metadata, role_ref, subjects };
                wide.create(binding).await.unwrap();
            } else {
                narrow.create(RoleBinding { metadata, role_ref, subjects }).await.unwrap();
            }
            model.bindings[*namespace][*slot] = Some((*role, name));
        }
    }
}

fn check(world: &World, model: &Model) {
    for user in [0, 1].map(|user| User::new(&format!("u{user}"), [format!("g{user}")])) {
        for (at, namespace) in NAMESPACES.iter().enumerate() {
            for verb in VERBS {
                for resource in RESOURCES {
                    for name in NAMES {
                        let said = world.ask(&user, namespace, [verb, "", resource], name);
                        let allowed = model.allows(&user, at, verb, resource, name);
                        let asked = format!("{} {namespace} {verb} {resource} {name}", user.name);
                        assert_eq!(said == Decision::Allow, allowed, "{asked}");
                        let other = world.ask(&user, namespace, [verb, "other", resource], name);
                        assert_ne!(other, Decision::Allow, "{asked} of another group");
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn no_binding_gives_more_than_the_rules_of_its_role(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            let mut model = Model::default();
            for step in &steps {
                apply(&world, &mut model, step).await;
            }
            check(&world, &model);
        });
    }
}
