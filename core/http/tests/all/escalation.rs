//! Ways to more than one has, over HTTP: each is refused.

use http::Method;
use pinnace_server::{Attributes, Authorizer, Decision};
use serde_json::{Value, json};

use crate::world::{Client, World};

/// Masters may do everything; Ann may do what is listed, as `verb resource/part name`.
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
        if masters || (&*asked.user.name == "ann" && listed) {
            return Decision::Allow;
        }
        Decision::Deny(String::new())
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
    let what = "groups \"system:masters\" is forbidden: User \"ann\" cannot impersonate";
    refused(master.get("/api/v1/nodes").await, what);
}

#[tokio::test]
async fn who_may_act_as_one_user_may_not_act_as_another() {
    let (_world, ann) = ann(&[("impersonate", "users", "bob")]).await;
    let admin = ann.with("impersonate-user", "admin");
    refused(admin.get("/api/v1/nodes").await, "users \"admin\" is forbidden");
}

#[tokio::test]
async fn who_may_act_as_users_may_not_act_as_service_accounts() {
    let (_world, ann) = ann(&[("impersonate", "users", "")]).await;
    let robot = ann.with("impersonate-user", "system:serviceaccount:kube-system:robot");
    let what = "cannot impersonate resource \"serviceaccounts\"";
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
    refused(editor.get("/api/v1/nodes").await, "userextras/scopes");
    refused(bob.with("impersonate-uid", "1").get("/api/v1/nodes").await, "\"uids\"");
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
