use http::Method;
use pinnace_server::authentication::{AuthenticationHook, Identity};
use serde_json::json;

use crate::world::{CONFIG_MAPS, Client, World, config_map};

#[tokio::test]
async fn callers_are_known_by_their_certificates() {
    let world = World::start().await;
    let response = world.nobody().open(Method::GET, CONFIG_MAPS, "").await;
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["cache-control"], "no-cache, private");
    assert!(!response.headers()["audit-id"].is_empty());
    let (_, status) = world.nobody().get(CONFIG_MAPS).await;
    assert_eq!(
        (&status["reason"], &status["message"]),
        (&json!("Unauthorized"), &json!("Unauthorized"))
    );
    assert_eq!(world.nobody().get("/version").await.0, 200);

    let ann = world.user("ann", &["dev"]);
    let (code, status) = ann.get(&format!("{CONFIG_MAPS}/a")).await;
    assert_eq!(code, 403);
    assert_eq!(
        status["message"],
        "configmaps \"a\" is forbidden: User \"ann\" cannot get resource \"configmaps\" in API \
         group \"\" in the namespace \"default\""
    );
    let (code, status) = ann.get("/apis").await;
    assert_eq!(
        (code, &status["message"]),
        (403, &json!("forbidden: User \"ann\" cannot get path \"/apis\""))
    );
    assert_eq!(ann.send(Method::POST, "/api/v1/chairs", &json!({})).await.0, 403, "before 404");
    assert_eq!(world.admin().get(CONFIG_MAPS).await.0, 200);
}

#[tokio::test]
async fn a_bad_token_is_refused_even_with_an_open_path() {
    let world = World::start().await;
    let client = world.nobody().with("authorization", "Bearer nonsense");
    assert_eq!(client.get("/version").await.0, 401);
}

#[tokio::test]
async fn a_function_of_the_host_knows_callers_by_what_they_send() {
    let hook =
        AuthenticationHook::new("test", |head| match head["headers"]["x-user"][0].as_str() {
            Some("") => Err("it is empty".to_owned()),
            Some(name) => {
                let extra = json!({"asked": [head["method"], head["requestURI"]]});
                assert!(head["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{head}");
                let groups = ["system:masters"];
                let user = json!({"username": name, "groups": groups, "extra": extra});
                Identity::known(&user.to_string())
            }
            None => Ok(Identity::Unknown),
        });
    let world = World::built(|server| server, |front| front.authenticator(hook)).await;
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews?pretty=false";
    let who = async |client: Client| client.send(Method::POST, path, &json!({})).await;
    let (_, review) = who(world.nobody().with("x-user", "ann")).await;
    let expected = json!({"username": "ann", "groups": ["system:masters", "system:authenticated"],
        "extra": {"asked": ["POST", path]}});
    assert_eq!(review["status"]["userInfo"], expected, "{review}");
    assert_eq!(who(world.nobody().with("x-user", "")).await.0, 401);
    assert_eq!(who(world.nobody()).await.0, 401);
    let (_, review) = who(world.admin().with("x-user", "ann")).await;
    assert_eq!(review["status"]["userInfo"]["username"], "admin", "certificates come first");
}

#[tokio::test]
async fn who_may_acts_as_another() {
    let world = World::start().await;
    let as_ann = world.admin().with("impersonate-user", "ann");
    let (code, status) = as_ann.get(CONFIG_MAPS).await;
    assert_eq!(code, 403);
    assert!(status["message"].as_str().unwrap().contains("User \"ann\" cannot list"), "{status}");
    let as_master = as_ann.with("impersonate-group", "system:masters");
    assert_eq!(as_master.send(Method::POST, CONFIG_MAPS, &config_map("a", "1")).await.0, 201);
    let ann = world.user("ann", &[]).with("impersonate-user", "bob");
    let (code, status) = ann.get(CONFIG_MAPS).await;
    assert_eq!(code, 403);
    let expected = "configmaps is forbidden: User \"ann\" cannot impersonate-on:user-info:list";
    assert!(status["message"].as_str().unwrap().starts_with(expected), "{status}");
    let groups_only = world.admin().with("impersonate-group", "g");
    assert_eq!(groups_only.get(CONFIG_MAPS).await.0, 400);
}
