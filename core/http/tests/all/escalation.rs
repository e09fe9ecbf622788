//! Ways to more than one has, over HTTP: each is refused.

use std::sync::Arc;

use http::Method;
use http::request::Parts;
use pinnace_api::Result;
use pinnace_http::{Authenticator, Peer};
use pinnace_server::{Attributes, Authorizer, Decision, User};
use serde_json::{Value, json};

use crate::world::{Client, World};

/// Masters may do everything; Ann and robots may do what is listed, as `verb resource/part name`.
struct Listed(&'static [(&'static str, &'static str, &'static str)]);

impl Authorizer for Listed {
    fn authorize(&self, asked: &Attributes<'_>) -> Decision {
        let part = match asked.subresource {
            "" => asked.resource.to_owned(),
            part => format!("{}/{part}", asked.resource),
        };
        let masters = asked.user.groups.iter().any(|group| group == "system:masters");
        let listed = self.0.iter().any(|(verb, resource, name)| {
            *verb == asked.verb && *resource == part && (name.is_empty() || *name == asked.name)
        });
        let is_one = &*asked.user.name == "ann" || asked.user.account().is_some();
        if masters || (is_one && listed) {
            return Decision::Allow;
        }
        Decision::Deny(String::new())
    }
}

/// A service account on a node, for who says so.
struct Robot;

#[async_trait::async_trait]
impl Authenticator for Robot {
    async fn authenticate(&self, request: &Parts, _: &Peer) -> Result<Option<User>> {
        let node = request.headers.get("x-robot-on").map(|node| node.to_str().unwrap().to_owned());
        let key = "authentication.kubernetes.io/node-name".to_owned();
        let robot = || User::new("system:serviceaccount:default:robot", []);
        Ok(node.map(|node| User { extra: Arc::new([(key, vec![node])].into()), ..robot() }))
    }
}

async fn ann(may: &'static [(&'static str, &'static str, &'static str)]) -> (World, Client) {
    let world = World::built(|server| server.authorizer(Listed(may)), |front| front).await;
    let ann = world.user("ann", &[]);
    (world, ann)
}

fn refused(answer: (u16, Value), what: &str) {
    let (code, status) = answer;
    assert_eq!(code, 403, "{status}");
    let message = status["message"].as_str().unwrap();
    assert!(message.contains(what), "{message}");
}

#[tokio::test]
async fn who_may_act_as_a_user_may_not_take_a_group() {
    let (_world, ann) = ann(&[("impersonate", "users", "bob")]).await;
    let bob = ann.with("impersonate-user", "bob");
    refused(bob.get("/api/v1/nodes").await, "User \"bob\" cannot list resource \"nodes\"");
    let master = bob.with("impersonate-group", "system:masters");
    let what = "groups \"system:masters\" is forbidden: User \"ann\" cannot impersonate resource";
    refused(master.get("/api/v1/nodes").await, what);
}

/// What the first of the ways to act as another asks for.
const ON_NODES: &str = "User \"ann\" cannot impersonate-on:user-info:list resource \"nodes\"";

#[tokio::test]
async fn who_may_act_as_one_user_may_not_act_as_another() {
    let (_world, ann) = ann(&[("impersonate", "users", "bob")]).await;
    let admin = ann.with("impersonate-user", "admin");
    refused(admin.get("/api/v1/nodes").await, ON_NODES);
}

#[tokio::test]
async fn who_may_act_as_users_may_not_act_as_service_accounts() {
    let (_world, ann) = ann(&[("impersonate", "users", "")]).await;
    let robot = ann.with("impersonate-user", "system:serviceaccount:kube-system:robot");
    let what = "cannot impersonate-on:serviceaccount:list resource \"nodes\"";
    refused(robot.get("/api/v1/nodes").await, what);
}

#[tokio::test]
async fn a_uid_and_extra_are_asked_for_one_by_one() {
    let (_world, ann) =
        ann(&[("impersonate", "users", ""), ("impersonate", "userextras/scopes", "view")]).await;
    let bob = ann.with("impersonate-user", "bob");
    let viewer = bob.with("impersonate-extra-scopes", "view");
    refused(viewer.get("/api/v1/nodes").await, "User \"bob\" cannot list");
    let editor = bob.with("impersonate-extra-scopes", "edit");
    let what = "cannot impersonate resource \"userextras/scopes\"";
    refused(editor.get("/api/v1/nodes").await, what);
    let what = "cannot impersonate resource \"uids\"";
    refused(bob.with("impersonate-uid", "1").get("/api/v1/nodes").await, what);
}

#[tokio::test]
async fn of_several_refusals_that_of_the_way_that_was_gone_last_is_told() {
    let may = &[
        ("impersonate", "users", "bob"),
        ("impersonate-on:user-info:list", "nodes", ""),
        ("impersonate:user-info", "users", "cid"),
    ];
    let (world, ann) = ann(may).await;
    let list = async |who: &str| ann.with("impersonate-user", who).get("/api/v1/nodes").await;
    let narrow = "cannot impersonate:user-info resource \"users\"";
    let old = "cannot impersonate resource \"users\"";
    refused(list("eve").await, narrow);
    refused(list("bob").await, "User \"bob\" cannot list");
    refused(list("eve").await, old);
    refused(list("system:node:n").await, old);
    refused(list("cid").await, "User \"cid\" cannot list");
    refused(list("eve").await, narrow);
    // A way that does not lead there says nothing.
    refused(list("system:node:n").await, "cannot impersonate-on:arbitrary-node:list");

    let (_, text) = world.admin().text(Method::GET, "/metrics", "").await;
    for (expected, count) in [
        ("attempts_total{mode=\"user-info\",decision=\"allowed\"}", 1),
        ("attempts_total{mode=\"legacy\",decision=\"allowed\"}", 1),
        ("attempts_total{mode=\"\",decision=\"denied\"}", 5),
        ("attempts_duration_seconds_count{mode=\"\",decision=\"denied\"}", 5),
        ("authorization_attempts_total{mode=\"arbitrary-node\",decision=\"denied\"}", 2),
        ("authorization_attempts_total{mode=\"legacy\",decision=\"allowed\"}", 1),
    ] {
        let line = format!("apiserver_impersonation_{expected} {count}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
    assert!(
        text.contains("apiserver_impersonation_authorization_attempts_duration_seconds_bucket{")
    );
    let largest = "attempts_duration_seconds_bucket{mode=\"\",decision=\"denied\",le=\"16.384\"}";
    assert!(text.contains(largest), "{text}");
}

#[tokio::test]
async fn who_may_act_as_another_for_one_thing_may_do_that_alone() {
    let may = &[
        ("impersonate-on:user-info:list", "nodes", ""),
        ("impersonate:user-info", "users", "bob"),
        ("impersonate:user-info", "groups", "a"),
        ("impersonate:user-info", "groups", "system:masters"),
    ];
    let (_world, ann) = ann(may).await;
    let bob = ann.with("impersonate-user", "bob");
    let of_a = bob.with("impersonate-group", "a");
    for allowed in [&bob, &of_a] {
        refused(allowed.get("/api/v1/nodes").await, "User \"bob\" cannot list resource \"nodes\"");
    }
    let rows = [
        (&bob, "/api/v1/pods", "cannot impersonate-on:user-info:list resource \"pods\""),
        (&bob, "/api/v1/nodes/n", "cannot impersonate-on:user-info:get resource \"nodes\""),
        (
            &ann.with("impersonate-user", "eve"),
            "/api/v1/nodes",
            "users.authentication.k8s.io \"eve\" is forbidden: User \"ann\" cannot \
             impersonate:user-info resource \"users\" in API group \"authentication.k8s.io\"",
        ),
        (
            &of_a.with("impersonate-group", "b"),
            "/api/v1/nodes",
            "groups.authentication.k8s.io \"b\"",
        ),
        (
            &bob.with("impersonate-group", "system:masters"),
            "/api/v1/nodes",
            "impersonating the system:masters group is not allowed",
        ),
        (
            &bob.with("impersonate-extra-scopes", "view"),
            "/api/v1/nodes",
            "extra.key: Invalid value: \"scopes\": must be a domain-prefixed path",
        ),
    ];
    for (client, path, what) in rows {
        refused(client.get(path).await, what);
    }
}

#[tokio::test]
async fn a_service_account_acts_as_the_node_that_it_is_on() {
    let may = &[
        ("impersonate-on:associated-node:list", "nodes", ""),
        ("impersonate:associated-node", "nodes", "*"),
    ];
    let world =
        World::built(|server| server.authorizer(Listed(may)), |front| front.authenticator(Robot))
            .await;
    let robot = world.nobody().with("x-robot-on", "n");
    let node = robot.with("impersonate-user", "system:node:n");
    refused(node.get("/api/v1/nodes").await, "User \"system:node:n\" cannot list");
    let other = robot.with("impersonate-user", "system:node:m");
    refused(other.get("/api/v1/nodes").await, "cannot impersonate-on:arbitrary-node:list");
}

#[tokio::test]
async fn nodes_and_accounts_are_acted_as_by_ways_of_their_own() {
    let may = &[
        ("impersonate-on:arbitrary-node:list", "nodes", ""),
        ("impersonate:arbitrary-node", "nodes", "n"),
        ("impersonate-on:serviceaccount:list", "nodes", ""),
        ("impersonate:serviceaccount", "serviceaccounts", "robot"),
    ];
    let (_world, ann) = ann(may).await;
    for who in ["system:node:n", "system:serviceaccount:default:robot"] {
        let client = ann.with("impersonate-user", who);
        refused(client.get("/api/v1/nodes").await, &format!("User {who:?} cannot list"));
    }
    // Who is neither goes another way.
    for who in ["system:node:N!", "system:serviceaccount:robot"] {
        let client = ann.with("impersonate-user", who);
        refused(client.get("/api/v1/nodes").await, ON_NODES);
    }
    let grouped = ann.with("impersonate-user", "system:node:n").with("impersonate-group", "a");
    refused(grouped.get("/api/v1/nodes").await, "cannot impersonate resource \"users\"");
}

#[tokio::test]
async fn who_may_write_service_accounts_may_not_have_their_tokens() {
    let may = &[
        ("create", "serviceaccounts", ""),
        ("get", "serviceaccounts", ""),
        ("update", "serviceaccounts", ""),
    ];
    let (world, ann) = ann(may).await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    let robot = json!({"metadata": {"name": "robot"}});
    assert_eq!(ann.send(Method::POST, accounts, &robot).await.0, 201);
    let token = format!("{accounts}/robot/token");
    let answer = ann.send(Method::POST, &token, &json!({})).await;
    refused(answer, "cannot create resource \"serviceaccounts/token\"");
    assert_eq!(world.admin().send(Method::POST, &token, &json!({})).await.0, 201);
}

#[tokio::test]
async fn who_may_read_may_not_go_through() {
    let may = &[
        ("get", "nodes", ""),
        ("get", "pods", ""),
        ("get", "services", ""),
        ("create", "pods", ""),
        ("get", "nodes/status", ""),
    ];
    let (_world, ann) = ann(may).await;
    let rows = [
        (Method::GET, "/api/v1/nodes/n/proxy/pods", "cannot get resource \"nodes/proxy\""),
        (Method::POST, "/api/v1/nodes/n/proxy/run/a/p/c", "cannot create resource \"nodes/proxy\""),
        (Method::GET, "/api/v1/namespaces/default/pods/p/proxy/", "\"pods/proxy\""),
        (Method::GET, "/api/v1/namespaces/default/services/s/proxy/", "\"services/proxy\""),
        (Method::POST, "/api/v1/namespaces/default/pods/p/exec?command=sh", "\"pods/exec\""),
        (Method::GET, "/api/v1/namespaces/default/pods/p/exec?command=sh", "\"pods/exec\""),
        (Method::GET, "/api/v1/namespaces/default/pods/p/log", "\"pods/log\""),
        (Method::GET, "/api/v1/namespaces/default/pods/p/attach", "\"pods/attach\""),
        (Method::GET, "/api/v1/namespaces/default/pods/p/portforward", "\"pods/portforward\""),
    ];
    for (method, path, what) in rows {
        refused(ann.send(method, path, &Value::Null).await, what);
    }
}

#[tokio::test]
async fn what_is_only_created_below_an_object_changes_nothing_of_it() {
    let world = World::start().await;
    let admin = world.admin();
    let pod =
        json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let made = admin.send(Method::POST, "/api/v1/namespaces/default/pods", &pod).await;
    assert_eq!(made.0, 201, "{}", made.1);
    let path = "/api/v1/namespaces/default/pods/p";
    let before = admin.get(path).await;
    let evil = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"nodeName": "n", "hostNetwork": true}});
    for part in ["pods/p/binding", "pods/p/eviction", "serviceaccounts/default/token"] {
        let path = format!("/api/v1/namespaces/default/{part}");
        for kind in ["merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"] {
            let client = admin.with("content-type", &format!("application/{kind}"));
            let query = if kind.starts_with("apply") { "?fieldManager=x" } else { "" };
            let (code, status) = client.send(Method::PATCH, &format!("{path}{query}"), &evil).await;
            assert_eq!(
                (code, status["reason"].as_str()),
                (405, Some("MethodNotAllowed")),
                "{part}"
            );
        }
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            assert_eq!(admin.send(method, &path, &evil).await.0, 405, "{part}");
        }
    }
    let finalize = "/api/v1/namespaces/default/finalize";
    let client = admin.with("content-type", "application/merge-patch+json");
    assert_eq!(client.send(Method::PATCH, finalize, &evil).await.0, 405);
    assert_eq!(admin.get(path).await, before);
}

#[tokio::test]
async fn who_may_patch_may_not_create_by_it() {
    let (world, ann) = ann(&[("patch", "configmaps", ""), ("update", "services", "")]).await;
    let path = "/api/v1/namespaces/default/configmaps/a?fieldManager=x";
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let apply = |client: &Client| client.with("content-type", "application/apply-patch+yaml");
    let what = "User \"ann\" cannot create resource \"configmaps\"";
    refused(apply(&ann).send(Method::PATCH, path, &map).await, what);
    assert_eq!(world.admin().get(path).await.0, 404, "nothing was made");
    assert_eq!(apply(&world.admin()).send(Method::PATCH, path, &map).await.0, 201);
    assert_eq!(apply(&ann).send(Method::PATCH, path, &map).await.0, 200, "it is there now");
}

#[tokio::test]
async fn who_may_list_one_may_list_that_by_its_name() {
    let (_world, ann) = ann(&[("list", "secrets", "mine"), ("watch", "secrets", "mine")]).await;
    let path = "/api/v1/namespaces/default/secrets";
    let mine = format!("{path}?fieldSelector=metadata.name%3Dmine");
    assert_eq!(ann.get(&mine).await.0, 200);
    assert_eq!(ann.get(&format!("{mine}&watch=1&timeoutSeconds=1")).await.0, 200);
    for other in
        ["", "?fieldSelector=metadata.name%3Dother", "?fieldSelector=metadata.name!%3Dmine"]
    {
        refused(ann.get(&format!("{path}{other}")).await, "cannot list resource \"secrets\"");
    }
    let all = format!("{path}?fieldSelector=metadata.name%3Dmine");
    refused(ann.send(Method::DELETE, &all, &Value::Null).await, "cannot deletecollection");
}
