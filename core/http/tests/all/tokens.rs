//! Bearer tokens: of other issuers, from a file, of new nodes, of service accounts.

use std::sync::Arc;

use http::Method;
use pinnace_env::Env;
use pinnace_http::authentication::jwt::{AuthenticationConfiguration, JwtTokens};
use pinnace_http::{Anonymous, TokenAuthenticator};
use pinnace_server::User;
use pinnace_server::authentication::{SigningKey, StaticTokens};
use serde_json::{Value, json};

use crate::issuer::{AUDIENCE, Issuer};
use crate::world::World;

/// A configuration of one issuer; `more` stands beside the issuer.
fn config(issuer: &Issuer, more: &Value) -> AuthenticationConfiguration {
    let mut one = json!({
        "issuer": {"url": issuer.url, "audiences": [AUDIENCE],
                   "certificateAuthority": issuer.certificate},
        "claimMappings": {"username": {"claim": "sub", "prefix": "oidc:"},
                          "groups": {"claim": "groups", "prefix": "oidc:"}},
    });
    for (name, value) in more.as_object().unwrap() {
        one[name] = value.clone();
    }
    let text = json!({"apiVersion": "apiserver.config.k8s.io/v1",
                      "kind": "AuthenticationConfiguration", "jwt": [one]});
    AuthenticationConfiguration::read(&text.to_string()).unwrap()
}

async fn world_of(issuer: &Issuer, more: &Value) -> World {
    let tokens = JwtTokens::of(&config(issuer, more), &Env::system()).unwrap();
    let add = |server, one| pinnace_server::ServerBuilder::token_authenticator(server, one);
    World::built(
        |server| tokens.into_iter().fold(server, |server, one| add(server, Arc::new(one))),
        |front| front,
    )
    .await
}

/// What the server answers to who bears a token: it lets masters in, so a bearer whom it knows is
/// told that they may not.
async fn asked(world: &World, token: &str) -> (u16, Value) {
    let client = world.nobody().with("authorization", &format!("Bearer {token}"));
    let (code, answer) = client.get("/api/v1/pods").await;
    (code, answer["message"].clone())
}

async fn refused(change: impl FnOnce(&Issuer) -> String) {
    let issuer = Issuer::start().await;
    let world = world_of(&issuer, &json!({})).await;
    let (code, message) = asked(&world, &issuer.sign(&issuer.claims())).await;
    assert_eq!(code, 403, "the server knows the bearer of a good token: {message}");
    assert_eq!(asked(&world, &change(&issuer)).await, (401, json!("Unauthorized")));
}

#[tokio::test]
async fn a_token_that_nobody_has_signed_is_refused() {
    refused(|issuer| Issuer::unsigned(&issuer.claims())).await;
}

#[tokio::test]
async fn a_token_signed_by_another_key_is_refused() {
    refused(|issuer| Issuer::forge(&issuer.claims())).await;
}

#[tokio::test]
async fn a_token_that_takes_the_public_key_for_a_secret_is_refused() {
    refused(|issuer| issuer.confused(&issuer.claims())).await;
}

#[tokio::test]
async fn a_token_for_somebody_else_is_refused() {
    refused(|issuer| issuer.sign(&issuer.claims_but(json!({"aud": ["another"]})))).await;
}

#[tokio::test]
async fn a_token_that_has_expired_is_refused() {
    refused(|issuer| issuer.sign(&issuer.claims_but(json!({"exp": 1_000_000_000})))).await;
}

#[tokio::test]
async fn a_token_that_is_not_valid_yet_is_refused() {
    refused(|issuer| issuer.sign(&issuer.claims_but(json!({"nbf": 4_000_000_000_u64})))).await;
}

#[tokio::test]
async fn a_token_of_another_issuer_is_refused() {
    refused(|issuer| issuer.sign(&issuer.claims_but(json!({"iss": "https://other"})))).await;
}

#[tokio::test]
async fn a_token_without_an_end_is_refused() {
    refused(|issuer| issuer.sign(&issuer.claims_but(json!({"exp": null})))).await;
}

/// Whom the tokens of an issuer stand for, by a configuration; or what is wrong.
async fn mapped(issuer: &Issuer, more: Value, claims: Value) -> Result<User, String> {
    let tokens = JwtTokens::of(&config(issuer, &more), &Env::system()).unwrap();
    let user = tokens[0].authenticate(&issuer.sign(&claims)).await?;
    Ok(user.unwrap())
}

#[tokio::test]
async fn claims_become_a_user() {
    let issuer = Issuer::start().await;
    let user = mapped(&issuer, json!({}), issuer.claims()).await.unwrap();
    assert_eq!(
        (&*user.name, &user.groups[..]),
        ("oidc:ann", &["oidc:dev", "oidc:ops"].map(str::to_owned)[..])
    );
    let mappings = json!({"claimMappings": {
        "username": {"expression": "claims.team + ':' + claims.sub"},
        "groups": {"expression": "claims.groups.filter(group, group != 'ops')"},
        "uid": {"claim": "sub"},
        "extra": [{"key": "example.com/team", "valueExpression": "claims.team"}],
    }});
    let user = mapped(&issuer, mappings, issuer.claims()).await.unwrap();
    assert_eq!((&*user.name, &user.groups[..]), ("blue:ann", &["dev".to_owned()][..]));
    assert_eq!(user.uid.as_deref(), Some("ann"));
    assert_eq!(user.extra["example.com/team"], ["blue"]);
}

#[tokio::test]
async fn rules_over_claims_and_users_refuse_with_their_messages() {
    let issuer = Issuer::start().await;
    let check = async |more: Value, change: Value, expected: &str| {
        let claims = issuer.claims_but(change);
        let error = mapped(&issuer, more, claims).await.unwrap_err();
        assert!(error.contains(expected), "{error}");
    };
    let required = json!({"claimValidationRules": [{"claim": "hd", "requiredValue": "a.example"}]});
    let missing = "required claim hd not present in ID token";
    check(required.clone(), json!({}), missing).await;
    let other = "oidc: required claim hd value does not match. Got = \"b\", want = a.example";
    check(required, json!({"hd": "b"}), other).await;
    let long = json!({"claimValidationRules": [
        {"expression": "claims.exp - claims.iat <= 3600", "message": "too long a life"}]});
    let now = issuer.claims()["iat"].as_u64().unwrap();
    check(long.clone(), json!({"exp": now + 9999}), "failed: too long a life").await;
    mapped(&issuer, long, issuer.claims()).await.unwrap();
    let system = json!({"userValidationRules": [
        {"expression": "!user.username.startsWith('oidc:system')", "message": "reserved"}]});
    check(system, json!({"sub": "system:admin"}), "failed: reserved").await;
    let mail = json!({"claimMappings": {"username": {"claim": "email", "prefix": ""}}});
    let unverified = json!({"email": "a@b", "email_verified": false});
    check(mail, unverified, "oidc: email not verified").await;
}

#[test]
fn a_configuration_that_cannot_be_is_told_where() {
    let check = |jwt: Value, expected: &str| {
        let text = json!({"apiVersion": "apiserver.config.k8s.io/v1",
                          "kind": "AuthenticationConfiguration", "jwt": [jwt]});
        let error = AuthenticationConfiguration::read(&text.to_string()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let name = json!({"username": {"claim": "sub", "prefix": ""}});
    let issuer = |url: &str| json!({"url": url, "audiences": ["a"]});
    let of = |issuer: Value, mappings: &Value| json!({"issuer": issuer, "claimMappings": mappings});
    check(of(issuer(""), &name), "jwt[0].issuer.url: Required value");
    check(of(issuer("http://a"), &name), "URL scheme must be https");
    let many = json!({"url": "https://a", "audiences": ["a", "b"]});
    check(of(many, &name), "audienceMatchPolicy must be MatchAny for multiple audiences");
    let none = json!({"url": "https://a"});
    check(of(none, &name), "at least one jwt[0].issuer.audiences is required");
    check(of(issuer("https://a"), &json!({})), "claimMappings.username: Required value: claim or");
    let bare = json!({"username": {"claim": "sub"}});
    check(of(issuer("https://a"), &bare), "prefix is required when claim is set");
    let with = |field: &str, value: Value| {
        let mut one = of(issuer("https://a"), &name);
        one[field] = value;
        one
    };
    let rule = |expression: &str| json!({"expression": expression});
    let rows = [
        (
            "claims.sub",
            "claimValidationRules[0].expression: Invalid value: \"claims.sub\": must evaluate to bool",
        ),
        ("claim.sub == ''", "undeclared reference to 'claim'"),
        ("claims.sub ==", "compilation failed: ERROR: <input>:1:14"),
    ];
    for (expression, expected) in rows {
        check(with("claimValidationRules", json!([rule(expression)])), expected);
    }
    let twice = json!([rule("claims.a == 1"), rule("claims.a == 1")]);
    check(
        with("claimValidationRules", twice),
        "claimValidationRules[1].expression: Duplicate value",
    );
    let undefined = json!([rule("user.mail == ''")]);
    check(with("userValidationRules", undefined), "undefined field 'mail'");
    let mail = json!({"username": {"expression": "claims.email"}});
    check(of(issuer("https://a"), &mail), "claims.email_verified must be used in");
    let extra = |key: &str, value: &str| {
        let extra = json!([{"key": key, "valueExpression": value}]);
        json!({"username": {"claim": "sub", "prefix": ""}, "extra": extra})
    };
    let node = extra("authentication.kubernetes.io/node-name", "claims.n");
    check(of(issuer("https://a"), &node), "kubernetes.io and their subdomains are reserved");
    check(of(issuer("https://a"), &extra("a", "claims.n")), "must be a domain-prefixed path");
    check(of(issuer("https://a"), &extra("a.b/C", "claims.n")), "must be lowercase");
}

#[tokio::test]
async fn expressions_know_what_those_of_upstream_know() {
    let issuer = Issuer::start().await;
    let username = json!({"expression":
        "claims.?email_verified.orValue(true) ? claims.email.split('@')[0].lowerAscii() : ''"});
    let groups = json!({"expression": "claims.roles.split(',').map(role, 'of:' + role).sort()"});
    let more = json!({"claimMappings": {"username": username, "groups": groups}});
    let claims = issuer.claims_but(json!({"email": "Jane@example.com", "roles": "b,a"}));
    let user = mapped(&issuer, more.clone(), claims).await.unwrap();
    assert_eq!((&*user.name, &user.groups[..]), ("jane", &["of:a".into(), "of:b".into()][..]));
    let claims = issuer.claims_but(json!({"email": "x@y", "roles": "", "email_verified": false}));
    let error = mapped(&issuer, more, claims).await.unwrap_err();
    assert_eq!(error, "oidc: empty username via CEL expression is not allowed");
}

#[tokio::test]
async fn static_and_bootstrap_tokens_are_known() {
    let tokens = StaticTokens::default().with("letmein", User::new("ann", ["dev".to_owned()]));
    let world =
        World::built(|server| server.token_authenticator(Arc::new(tokens)), |front| front).await;
    let ann = world.nobody().with("authorization", "Bearer letmein");
    let (code, status) = ann.get("/api/v1/nodes").await;
    assert!(status["message"].as_str().unwrap().contains("User \"ann\""), "{code} {status}");
    let admin = world.admin();
    let namespace = json!({"metadata": {"name": "kube-system"}});
    admin.send(Method::POST, "/api/v1/namespaces", &namespace).await;
    let secret = |id: &str, more: Value| {
        let mut data = json!({"token-id": id, "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:workers"});
        for (name, value) in more.as_object().unwrap() {
            data[name] = value.clone();
        }
        json!({"metadata": {"name": format!("bootstrap-token-{id}")},
               "type": "bootstrap.kubernetes.io/token", "stringData": data})
    };
    let make = async |id: &str, more: Value| {
        let secrets = "/api/v1/namespaces/kube-system/secrets";
        let (code, answer) = admin.send(Method::POST, secrets, &secret(id, more)).await;
        assert_eq!(code, 201, "{answer}");
        let token = format!("{id}.0123456789abcdef");
        let proven = world.server.authenticate_bearer(&token, &[]).await;
        proven.map(|proven| proven.map(|proven| proven.user))
    };
    let known = make("aaaaaa", json!({})).await.unwrap().unwrap();
    assert_eq!(&*known.name, "system:bootstrap:aaaaaa");
    let groups = ["system:bootstrappers", "system:bootstrappers:workers"].map(str::to_owned);
    assert_eq!(known.groups[..], groups);
    assert_eq!(make("bbbbbb", json!({"expiration": "2020-01-01T00:00:00Z"})).await, Ok(None));
    let unused = json!({"usage-bootstrap-authentication": "false"});
    assert_eq!(make("cccccc", unused).await, Ok(None));
    assert_eq!(make("dddddd", json!({"token-secret": "another"})).await, Ok(None));
    let error = make("eeeeee", json!({"auth-extra-groups": "system:masters"})).await.unwrap_err();
    assert!(error.starts_with("bootstrap group \"system:masters\" is invalid"), "{error}");
    let review = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
                        "spec": {"token": "aaaaaa.0123456789abcdef"}});
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let (_, answer) = admin.send(Method::POST, path, &review).await;
    assert_eq!(answer["status"]["user"]["username"], "system:bootstrap:aaaaaa");
}

#[tokio::test]
async fn anonymous_callers_reach_what_is_said() {
    let check = async |anonymous: Anonymous, path: &str, expected: u16| {
        let world = World::built(|server| server, |front| front.anonymous(anonymous)).await;
        assert_eq!(world.nobody().get(path).await.0, expected, "{path}");
    };
    check(Anonymous::default(), "/readyz", 200).await;
    check(Anonymous::default(), "/api", 401).await;
    check(Anonymous::Nowhere, "/readyz", 401).await;
    check(Anonymous::Paths(vec!["/livez".to_owned()]), "/livez", 200).await;
    check(Anonymous::Paths(vec!["/livez".to_owned()]), "/readyz", 401).await;
    check(Anonymous::Everywhere, "/api", 403).await;
}

#[tokio::test]
async fn a_token_of_a_service_account_of_another_cluster_is_refused() {
    let (ours, theirs) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let ours = World::built(|server| server.signing_key(ours), |front| front).await;
    let theirs = World::built(|server| server.signing_key(theirs), |front| front).await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let (code, request) = theirs.admin().send(Method::POST, path, &json!({})).await;
    assert_eq!(code, 201, "{request}");
    let token = request["status"]["token"].as_str().unwrap();
    let bearer = format!("Bearer {token}");
    let ask = async |world: &World| {
        world.nobody().with("authorization", &bearer).get("/api/v1/pods").await
    };
    assert_eq!(ask(&theirs).await.0, 403, "known there");
    assert_eq!(ask(&ours).await.0, 401);
}
