//! Policies, and conditions of webhooks.

use std::collections::BTreeMap;
use std::sync::Arc;

use pinnace_api::selector::{FieldSelector, Selector};
use pinnace_client::{ListOptions, Warnings, WriteOptions};
use pinnace_server::audit::{AuditLevel, AuditPolicy, AuditStage, Auditor};
use pinnace_server::{Attributes, Authorizer, Decision, Selectors};
use serde_json::{Value, json};

use crate::support::{Notes, World, check_error, config_map, patched};

const VALIDATING: &str = "validatingadmissionpolicy";
const VALIDATING_BINDING: &str = "validatingadmissionpolicybinding";
const MUTATING: &str = "mutatingadmissionpolicy";
const MUTATING_BINDING: &str = "mutatingadmissionpolicybinding";

fn spec(more: Value) -> Value {
    let mut spec = json!({
        "matchConstraints": {"resourceRules": [{"operations": ["CREATE", "UPDATE"],
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}]},
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// A world with a policy `p` and a binding `b` of it.
async fn world(policy: Value, binding: Value) -> World {
    bound(World::new().await, policy, binding).await
}

async fn bound(world: World, policy: Value, binding: Value) -> World {
    let policy = json!({"metadata": {"name": "p"}, "spec": spec(policy)});
    world.create(VALIDATING, policy).await.unwrap();
    let mut bound = json!({"policyName": "p", "validationActions": ["Deny"]});
    bound.as_object_mut().unwrap().extend(binding.as_object().unwrap().clone());
    let binding = json!({"metadata": {"name": "b"}, "spec": bound});
    world.create(VALIDATING_BINDING, binding).await.unwrap();
    world
}

fn denied(why: &str) -> String {
    format!(
        "configmaps \"m\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied \
         request: {why}"
    )
}

#[track_caller]
fn check(result: pinnace_api::Result<Value>, code: u16, why: &str) {
    check_error(result, code, &denied(why));
}

fn validations(validation: Value) -> Value {
    json!({"validations": [validation]})
}

async fn check_validation(validation: Value, code: u16, why: &str) {
    let world = world(validations(validation), json!({})).await;
    check(world.config_map().await, code, why);
}

#[tokio::test]
async fn a_validation_refuses_with_its_own_words() {
    let rule = "object.data.a == '2'";
    check_validation(json!({"expression": rule}), 422, "failed expression: object.data.a == '2'")
        .await;
    check_validation(
        json!({"expression": rule, "message": "no", "reason": "Forbidden"}),
        403,
        "no",
    )
    .await;
    let message = json!({"expression": rule, "messageExpression": "'a is ' + object.data.a"});
    check_validation(message, 422, "a is 1").await;
    check_validation(
        json!({"expression": "object.data.b == '2'"}),
        422,
        "expression 'object.data.b == '2'' resulted in error: no such key: b",
    )
    .await;
    let passes = world(validations(json!({"expression": "object.data.a == '1'"})), json!({})).await;
    passes.config_map().await.unwrap();
    let ignores = json!({"failurePolicy": "Ignore",
        "validations": [{"expression": "object.data.b == '2'"}]});
    world(ignores, json!({})).await.config_map().await.unwrap();
}

#[tokio::test]
async fn expressions_see_the_request_and_share_variables() {
    let see = json!({
        "variables": [
            {"name": "size", "expression": "size(object.data)"},
            {"name": "twice", "expression": "variables.size * 2"},
        ],
        "validations": [
            {"expression": "variables.twice == 2 && has(variables.size)"},
            {"expression": "request.operation == 'CREATE' ? oldObject == null : oldObject.data.a == '1'"},
            {"expression": "request.userInfo.username == 'jane' && request.resource.resource == 'configmaps'"},
            {"expression": "namespaceObject.metadata.labels.team == 'a'"},
            {"expression": "authorizer.group('').resource('pods').namespace('default').check('get').allowed()"},
            {"expression": "authorizer.requestResource.check('create').allowed()"},
            {"expression": "authorizer.path('/healthz').check('get').allowed()"},
            {"expression": "!authorizer.serviceAccount('default', 'x').group('').resource('pods').check('get').allowed()"},
        ],
    });
    let world = world(see, json!({})).await;
    world.config_map().await.unwrap();
    world.patch("configmap", "m", json!({"data": {"a": "2"}})).await.unwrap();
    world.patch("configmap", "m", json!({"data": {"a": "3"}})).await.unwrap_err();
}

#[tokio::test]
async fn bindings_say_what_is_done_and_where() {
    let no = || validations(json!({"expression": "false", "message": "no"}));
    let warns = world(no(), json!({"validationActions": ["Warn", "Audit"]})).await;
    let warnings = Warnings::collect();
    let options = WriteOptions { warnings: warnings.clone(), ..WriteOptions::default() };
    warns.create_with("configmap", config_map(), options).await.unwrap();
    assert_eq!(
        warnings.take(),
        ["Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': no"]
    );
    let elsewhere =
        json!({"matchResources": {"namespaceSelector": {"matchLabels": {"team": "b"}}}});
    world(no(), elsewhere).await.config_map().await.unwrap();
    let excluded = json!({"matchResources": {"excludeResourceRules": [{"operations": ["*"],
        "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["configmaps"],
        "resourceNames": ["m"]}]}});
    world(no(), excluded).await.config_map().await.unwrap();
    let conditions = json!({"matchConditions": [{"name": "x", "expression": "object.metadata.name != 'm'"}],
        "validations": [{"expression": "false"}]});
    world(conditions, json!({})).await.config_map().await.unwrap();
}

#[tokio::test]
async fn params_are_objects_that_bindings_name() {
    let policy = || {
        json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "x", "expression": "object.metadata.name == 'm'"}],
        "validations": [{"expression": "object.data.a == params.data.wanted",
            "messageExpression": "'wanted ' + params.data.wanted"}]})
    };
    let param = |name: &str, wanted: &str| json!({"metadata": {"name": name, "labels": {"is": "param"}}, "data": {"wanted": wanted}});
    let by_name = json!({"paramRef": {"name": "p1", "parameterNotFoundAction": "Deny"}});
    let named = world(policy(), by_name).await;
    let why = "failed to configure binding: no params found for policy binding with `Deny` \
               parameterNotFoundAction";
    check(named.config_map().await, 422, why);
    let selector = json!({"paramRef": {"selector": {"matchLabels": {"is": "param"}},
        "parameterNotFoundAction": "Allow"}});
    let selected = world(policy(), selector).await;
    selected.create("configmap", param("p1", "1")).await.unwrap();
    selected.config_map().await.unwrap();
    selected.create("configmap", param("p2", "9")).await.unwrap();
    let again = selected.patch("configmap", "m", json!({"data": {"x": "y"}})).await;
    check(again.and_then(|object| object.to_value()), 422, "wanted 9");
}

/// A world as [`world`] whose audit log is kept.
async fn audited(policy: Value, binding: Value) -> (World, Auditor, Notes) {
    let notes = Notes::default();
    let level = AuditPolicy::all(AuditLevel::Metadata);
    let auditor = Auditor::new(level, Arc::new(notes.clone())).unwrap();
    let kept = auditor.clone();
    let world = World::with(|builder| builder.auditor(auditor)).await;
    (bound(world, policy, binding).await, kept, notes)
}

/// What policies have said in the audit log of the request that came last.
fn told(log: &Auditor, notes: &Notes) -> BTreeMap<String, String> {
    log.close();
    let events = notes.0.lock();
    let event = events.iter().rfind(|event| event.stage == AuditStage::ResponseComplete).unwrap();
    let mut all = event.annotations.clone();
    all.retain(|key, _| !key.starts_with("authorization."));
    all
}

#[tokio::test]
async fn the_audit_log_is_told_what_policies_say() {
    let policy = json!({
        "validations": [{"expression": "true"}, {"expression": "false", "message": "no"}],
        "auditAnnotations": [
            {"key": "size", "valueExpression": "' ' + string(size(object.data)) + ' '"},
            {"key": "empty", "valueExpression": "''"},
            {"key": "none", "valueExpression": "null"},
        ],
    });
    let (world, log, notes) = audited(policy, json!({"validationActions": ["Audit"]})).await;
    world.config_map().await.unwrap();
    let told = told(&log, &notes);
    let keys: Vec<&str> = told.keys().map(String::as_str).collect();
    let failure = "validation.policy.admission.k8s.io/validation_failure";
    assert_eq!(keys, ["p/size", failure]);
    assert_eq!(told["p/size"], "1");
    let said: Value = serde_json::from_str(&told[failure]).unwrap();
    let expected = json!([{"message": "no", "policy": "p", "binding": "b", "expressionIndex": 1,
        "validationActions": ["Audit"]}]);
    assert_eq!(said, expected);
}

#[tokio::test]
async fn what_bindings_have_a_policy_note_stands_together() {
    let policy = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "x", "expression": "object.metadata.name == 'm'"}],
        "auditAnnotations": [{"key": "of", "valueExpression": "string(params.data.is)"}]});
    let by = |name: &str| json!({"name": name, "parameterNotFoundAction": "Allow"});
    let (world, log, notes) = audited(policy, json!({"paramRef": by("one")})).await;
    for (binding, param) in [("c", "two"), ("d", "one")] {
        let spec = json!({"policyName": "p", "validationActions": ["Deny"], "paramRef": by(param)});
        let binding = json!({"metadata": {"name": binding}, "spec": spec});
        world.create(VALIDATING_BINDING, binding).await.unwrap();
    }
    for name in ["one", "two"] {
        let param = json!({"metadata": {"name": name}, "data": {"is": name}});
        world.create("configmap", param).await.unwrap();
    }
    world.config_map().await.unwrap();
    assert_eq!(told(&log, &notes)["p/of"], "one, two");
}

#[tokio::test]
async fn an_annotation_that_cannot_be_told_refuses() {
    let policy = |failure: &str| {
        json!({"failurePolicy": failure, "auditAnnotations": [
            {"key": "x", "valueExpression": "string(object.data.missing)"}]})
    };
    // Whatever the binding wants, and whether or not anybody listens.
    let warns = json!({"validationActions": ["Warn"]});
    let fails = world(policy("Fail"), warns.clone()).await;
    let why = "expression 'string(object.data.missing)' resulted in error: no such key: missing";
    check(fails.config_map().await, 422, why);
    let (listens, ..) = audited(policy("Fail"), warns.clone()).await;
    check(listens.config_map().await, 422, why);
    let (ignores, log, notes) = audited(policy("Ignore"), warns).await;
    ignores.config_map().await.unwrap();
    assert_eq!(told(&log, &notes), BTreeMap::new());
}

#[tokio::test]
async fn what_costs_too_much_is_refused() {
    let rule = "lists.range(10000).all(x, lists.range(10000).all(y, x + y >= 0))";
    let why = format!(
        "expression '{rule}' resulted in error: operation cancelled: actual cost limit exceeded"
    );
    check_validation(json!({"expression": rule}), 422, &why).await;
}

async fn mutating(mutation: Value, more: Value) -> World {
    let world = World::new().await;
    let mut policy = spec(json!({"mutations": [mutation], "reinvocationPolicy": "IfNeeded"}));
    policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.create(MUTATING, json!({"metadata": {"name": "p"}, "spec": policy})).await.unwrap();
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p"}});
    world.create(MUTATING_BINDING, binding).await.unwrap();
    world
}

#[tokio::test]
async fn mutations_are_laid_over_or_patched() {
    let applied = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
        "Object{metadata: Object.metadata{labels: {'by': request.userInfo.username}}, \
         data: {'b': object.data.a + '!'}}"}});
    let world = mutating(applied, json!({})).await;
    let made = world.config_map().await.unwrap();
    assert_eq!(made["data"], json!({"a": "1", "b": "1!"}));
    assert_eq!(made["metadata"]["labels"], json!({"app": "web", "by": "jane"}));
    let patched = json!({"patchType": "JSONPatch", "jsonPatch": {"expression":
        "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: 'x'}, \
         JSONPatch{op: 'remove', path: '/data/a'}]"}});
    let world = mutating(patched, json!({})).await;
    let made = world.config_map().await.unwrap();
    assert_eq!(made["metadata"]["labels"], json!({"app": "web", "a/b": "x"}));
    assert!(made.get("data").is_none_or(|data| data == &json!({})), "{made}");
}

#[tokio::test]
async fn mutations_see_params_and_variables_where_policy_and_binding_match() {
    let mutation = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
        "Object{data: {'b': variables.twice + params.data.mark}}"}});
    let policy = spec(json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "variables": [
            {"name": "a", "expression": "object.data.a"},
            {"name": "twice", "expression": "variables.a + variables.a"},
        ],
        "matchConditions": [{"name": "x", "expression": "object.metadata.name.startsWith('m')"}],
        "mutations": [mutation], "reinvocationPolicy": "Never",
    }));
    let world = World::new().await;
    world.create(MUTATING, json!({"metadata": {"name": "p"}, "spec": policy})).await.unwrap();
    let rules = json!([{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"],
        "resources": ["configmaps"], "resourceNames": ["m2"]}]);
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p",
        "paramRef": {"name": "param", "namespace": "default", "parameterNotFoundAction": "Deny"},
        "matchResources": {"excludeResourceRules": rules}}});
    world.create(MUTATING_BINDING, binding.clone()).await.unwrap();
    let made = async |name: &str| {
        let object = json!({"metadata": {"name": name}, "data": {"a": "1"}});
        let made =
            world.create("configmap", object).await.map_err(|error| error.message().to_owned());
        made.map(|made| made.to_value().unwrap()["data"]["b"].clone())
    };
    let why = "configmaps \"m\" is forbidden: policy 'p' with binding 'b' denied request: failed to \
               configure binding: no params found for policy binding with `Deny` \
               parameterNotFoundAction";
    assert_eq!(made("m").await, Err(why.to_owned()));
    let param = json!({"metadata": {"name": "param"}, "data": {"mark": "!"}});
    let refused = world.create("configmap", param.clone()).await.unwrap_err();
    assert!(refused.message().contains("no params found"), "params come before conditions");
    world.delete(MUTATING_BINDING, "b").await.unwrap();
    world.create("configmap", param).await.unwrap();
    world.create(MUTATING_BINDING, binding).await.unwrap();
    assert_eq!(made("m").await, Ok(json!("11!")));
    assert_eq!(made("n").await, Ok(Value::Null), "its name does not match");
    assert_eq!(made("m2").await, Ok(Value::Null), "the binding leaves it out");
}

/// What is one value would be lost but for what the policy says of it.
#[tokio::test]
async fn what_is_one_value_is_not_applied() {
    let applied = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
        "Object{metadata: Object.metadata{finalizers: ['a.example/b']}}"}});
    mutating(applied, json!({})).await.config_map().await.unwrap();
    let rules = json!({"matchConstraints": {"resourceRules": [{"operations": ["CREATE"],
        "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}});
    let applied = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
        "Object{spec: Object.spec{nodeSelector: Object.spec.nodeSelector{disk: 'ssd'}, \
         containers: [Object.spec.containers{name: 'c', args: ['x']}]}}"}});
    let world = mutating(applied, rules).await;
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    check_error(
        world.create("pod", pod).await,
        403,
        "pods \"p\" is forbidden: policy 'p' with binding 'b' denied request: error applying patch: \
         invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: \
         .spec.containers[0].args, .spec.nodeSelector",
    );
}

/// A policy that writes down that it was asked.
async fn notes(world: &World, name: &str, again: &str) {
    let expression = format!(
        "Object{{data: {{'seen': ('seen' in object.data ? object.data['seen'] : '') + '{name}'}}}}"
    );
    let mutation = json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}});
    let policy = spec(json!({"mutations": [mutation], "reinvocationPolicy": again}));
    world.create(MUTATING, json!({"metadata": {"name": name}, "spec": policy})).await.unwrap();
    let binding = json!({"metadata": {"name": name}, "spec": {"policyName": name}});
    world.create(MUTATING_BINDING, binding).await.unwrap();
}

#[tokio::test]
async fn policies_are_asked_again_when_others_have_changed_what_they_saw() {
    for (first, second, expected) in
        [("Never", "Never", "ab"), ("IfNeeded", "Never", "aba"), ("IfNeeded", "IfNeeded", "abab")]
    {
        let world = World::new().await;
        notes(&world, "a", first).await;
        notes(&world, "b", second).await;
        let made = world.config_map().await.unwrap();
        assert_eq!(made["data"]["seen"], expected, "{first} {second}");
    }
    // The last one is only asked again because of the webhook, which then is asked again, too.
    let world = World::new().await;
    notes(&world, "a", "IfNeeded").await;
    world
        .register("mutatingwebhookconfiguration", &[json!({"reinvocationPolicy": "IfNeeded"})])
        .await;
    world.respond("a", |request| {
        let seen = request["object"]["data"]["seen"].as_str().unwrap_or_default().to_owned();
        patched(&json!([{"op": "add", "path": "/data/seen", "value": seen + "w"}]))
    });
    let made = world.config_map().await.unwrap();
    assert_eq!(made["data"]["seen"], "awaw");
}

#[tokio::test]
async fn a_mutation_that_cannot_be_made_is_refused() {
    let broken = || {
        json!({"patchType": "JSONPatch", "jsonPatch": {"expression":
            "[JSONPatch{op: 'remove', path: '/data/z'}]"}})
    };
    let world = mutating(broken(), json!({})).await;
    let error = world.config_map().await.unwrap_err();
    assert_eq!(error.code(), 403);
    assert!(error.message().contains("policy 'p' with binding 'b' denied request"), "{error}");
    let lets_be = mutating(broken(), json!({"failurePolicy": "Ignore"})).await;
    lets_be.config_map().await.unwrap();
}

#[tokio::test]
async fn webhooks_are_asked_where_their_conditions_are_met() {
    let asked = |expression: &str, policy: &str| json!({"matchConditions": [{"name": "x", "expression": expression}], "failurePolicy": policy});
    for (expression, expected) in [("object.data.a == '1'", 1), ("object.data.a == '2'", 0)] {
        let world = World::new().await;
        world.register("validatingwebhookconfiguration", &[asked(expression, "Fail")]).await;
        world.respond("a", |_| json!({"allowed": true}));
        world.config_map().await.unwrap();
        assert_eq!(world.asked().len(), expected, "{expression}");
    }
    let world = World::new().await;
    world.register("mutatingwebhookconfiguration", &[asked("object.z == 1", "Fail")]).await;
    let why = "configmaps \"m\" is forbidden: expression 'object.z == 1' resulted in error: no \
               such key: z";
    check_error(world.config_map().await, 403, why);
    let world = World::new().await;
    world.register("mutatingwebhookconfiguration", &[asked("object.z == 1", "Ignore")]).await;
    world.config_map().await.unwrap();
}

/// Lets secrets be seen only by what they are called or carry.
struct Narrow;

impl Authorizer for Narrow {
    fn authorize(&self, asked: &Attributes<'_>) -> Decision {
        let Selectors { fields, labels } = asked.selectors;
        let by_name = fields.is_some_and(|fields| fields.requires("metadata.name") == Some("a"));
        let by_label = labels.is_some_and(|labels| labels.requires("app") == Some("web"));
        match asked.resource != "secrets" || by_name || by_label {
            true => Decision::Allow,
            false => Decision::Deny("not all".to_owned()),
        }
    }
}

#[tokio::test]
async fn rights_may_depend_on_selectors() {
    let world = World::with(|builder| builder.authorizer(Narrow)).await;
    let asked = "authorizer.group('').resource('secrets').namespace('default')";
    let validations = json!([
        {"expression": format!("{asked}.fieldSelector('metadata.name=a').check('list').allowed()")},
        {"expression": format!("{asked}.labelSelector('app=web').check('list').allowed()")},
        {"expression": format!("!{asked}.check('list').allowed()")},
        {"expression": format!("!{asked}.fieldSelector('metadata.name!=a').check('list').allowed()")},
        {"expression": format!("!{asked}.labelSelector('app in (').check('list').allowed()")},
        {"expression": format!("{asked}.check('list').reason() == 'not all'")},
    ]);
    let policy =
        json!({"metadata": {"name": "p"}, "spec": spec(json!({"validations": validations}))});
    world.create(VALIDATING, policy).await.unwrap();
    let bound = json!({"policyName": "p", "validationActions": ["Deny"]});
    world
        .create(VALIDATING_BINDING, json!({"metadata": {"name": "b"}, "spec": bound}))
        .await
        .unwrap();
    world.config_map().await.unwrap();
    let list = async |fields: &str, labels: &str| {
        let options = ListOptions {
            fields: Some(FieldSelector::parse(fields).unwrap()),
            labels: Some(Selector::parse(labels).unwrap()),
            ..ListOptions::default()
        };
        world.client.named("secret").unwrap().list(Some("default"), options).await.is_ok()
    };
    assert!(list("metadata.name=a", "").await && list("", "app=web").await);
    assert!(!list("", "").await && !list("", "app!=web").await);
    for (selector, allowed) in [
        (json!({"fieldSelector": {"rawSelector": "metadata.name=a"}}), true),
        (
            json!({"fieldSelector": {"requirements": [
            {"key": "metadata.name", "operator": "In", "values": ["a"]}]}}),
            true,
        ),
        (
            json!({"labelSelector": {"requirements": [
            {"key": "app", "operator": "In", "values": ["web"]}]}}),
            true,
        ),
        (
            json!({"labelSelector": {"requirements": [
            {"key": "app", "operator": "Newer", "values": ["web"]}]}}),
            false,
        ),
        (json!({}), false),
    ] {
        let mut attributes = json!({"verb": "list", "resource": "secrets", "namespace": "default"});
        attributes.as_object_mut().unwrap().extend(selector.as_object().unwrap().clone());
        let review = json!({"spec": {"user": "ann", "resourceAttributes": attributes}});
        let answer = world.create("subjectaccessreview", review).await.unwrap().to_value().unwrap();
        assert_eq!(answer["status"]["allowed"], allowed, "{selector}");
    }
}
