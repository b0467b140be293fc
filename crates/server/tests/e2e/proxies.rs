//! A real nginx, Traefik and Caddy in front of a real service: the files of `docs/examples/proxies`, as they are, with the
//! ports and the token of the test. The guides in `docs/proxies` state what is tested here.

mod hostile;
mod load;
mod outages;
mod proxy;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use key_authority_proto::v1::*;
use serde_json::{Value, json};

use crate::support::client::{key_for, only};
use crate::support::upstream::Reply;
use crate::support::{Authority, Database, NewKey, Setup, on_sqlite};
use proxy::{Kind, Proxy, bearer};

/// The headers that describe the key of [`reader`].
const IDENTITY: [(&str, &str); 4] = [
    ("x-key-account", "acme"),
    ("x-key-id", "reader"),
    ("x-key-label-team", "blue %C3%A9"),
    ("x-key-scopes", "read write"),
];

/// Creates a key of account `acme` that may pass, with everything that a header describes.
async fn reader(authority: &Authority) -> NewKey {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let key = CreateKeyRequest {
        key_id: "reader".into(),
        scopes: vec!["read".into(), "write".into()],
        labels: [("team".into(), "blue é".into())].into(),
        ..key_for("acme")
    };
    client.new_key(key).await
}

/// Creates a key of account `acme` with the scope that every route demands.
async fn new_key(authority: &Authority, request: CreateKeyRequest) -> NewKey {
    authority.client().new_key(CreateKeyRequest { scopes: vec!["read".into()], ..request }).await
}

async fn a_request_passes_with_its_key_and_without_its_token(authority: Authority) {
    let token = reader(&authority).await.token;
    let admin = CreateKeyRequest { scopes: vec!["read".into(), "admin".into()], ..key_for("acme") };
    let admin = authority.client().new_key(admin).await;
    let basic = |user: &str| format!("Authorization: Basic {}", BASE64_STANDARD.encode(format!("{user}:{token}")));
    for proxy in Proxy::all(&authority).await {
        let kind = proxy.kind;
        for header in [bearer(&token), format!("X-API-Key: {token}"), basic("reader"), basic("")] {
            let seen = proxy.get("/a?b=c%20d&e=/../f", &[&header]).await.passed();
            assert_eq!((&*seen.path, seen.of_key()), ("/a?b=c%20d&e=/../f", IDENTITY.to_vec()), "{kind:?}: {header}");
            let text = format!("{seen:?}");
            assert!(!text.contains(&token) && !text.contains("Basic"), "{kind:?}: the token: {text}");
            assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.1", "{kind:?}");
        }
        let seen = proxy.get_with(&admin.token, "/admin/x").await.passed();
        assert_eq!(seen.headers["x-key-id"], admin.id(), "{kind:?}");
        assert!(!seen.headers.contains_key("x-key-label-team"), "{kind:?}: nothing is left of another request");
        // A route without a key: no token reaches the service there either.
        let seen = proxy.get("/healthz", &[&bearer(&token)]).await.passed();
        assert_eq!(seen.of_key(), [], "{kind:?}");
        assert!(!format!("{seen:?}").contains(&token), "{kind:?}");
    }
}

/// Fails unless the visitor got the authority's denial, whole.
#[track_caller]
fn assert_denied(kind: Kind, reply: &Reply, status: u16, error: &str, verdict: &str) -> Value {
    let body: Value = serde_json::from_str(&reply.body).unwrap_or_else(|_| panic!("{kind:?}, {verdict}: {reply:?}"));
    let expected = |text: &str| if text.is_empty() { Value::Null } else { text.into() };
    let found = (reply.code, body["error"].clone(), body["verdict"].clone());
    assert_eq!(found, (status, expected(error), expected(verdict)), "{kind:?}: {reply:?}");
    assert!(!body["message"].as_str().unwrap().is_empty(), "{kind:?}: {reply:?}");
    assert_eq!(reply.headers["content-type"], "application/json", "{kind:?}");
    let error = if error.is_empty() { String::new() } else { format!(", error=\"{error}\", error_description=") };
    let challenge = &reply.headers["www-authenticate"];
    let is_whole = challenge.starts_with(&format!("Bearer realm=\"keyauthority\"{error}"));
    assert!(is_whole && !challenge.contains(" | "), "{kind:?}: {challenge}");
    body
}

async fn each_denial_has_its_status_reason_and_challenge(authority: Authority) {
    let token = reader(&authority).await.token;
    let client = authority.client();
    let key = async || new_key(&authority, key_for("acme")).await;
    let [revoked, disabled, renewed] = [key().await, key().await, key().await];
    client.revoke(&revoked.id()).await;
    client.disable_key(DisableKeyRequest { key_id: disabled.id(), ..Default::default() }).await.unwrap();
    client.renew_key(RenewKeyRequest { key_id: renewed.id(), ..Default::default() }).await.unwrap();
    client.new_account("other", KeyPolicy::default()).await;
    let foreign = new_key(&authority, key_for("other")).await.token;
    let network = CreateKeyRequest { allowed_networks: vec!["192.0.2.0/24".into()], ..key_for("acme") };
    let network = new_key(&authority, network).await.token;
    let project = CreateKeyRequest { projects: only(&["green"]), ..key_for("acme") };
    let project = new_key(&authority, project).await.token;
    let proxies = Proxy::all(&authority).await;
    for proxy in &proxies {
        let kind = proxy.kind;
        assert_denied(kind, &proxy.get("/", &[]).await, 401, "", "");
        for (token, path, status, verdict) in [
            ("nothing", "/", 401, "MALFORMED"),
            ("", "/", 401, "MALFORMED"),
            (&foreign, "/", 401, "UNKNOWN"),
            (&revoked.token, "/", 401, "REVOKED"),
            (&disabled.token, "/", 401, "DISABLED"),
            (&renewed.token, "/", 401, "EXPIRED"),
            (&network, "/", 403, "NETWORK_DENIED"),
            (&token, "/admin", 403, "SCOPE_DENIED"),
        ] {
            let error = if status == 401 { "invalid_token" } else { "insufficient_scope" };
            let body = assert_denied(kind, &proxy.get_with(token, path).await, status, error, verdict);
            assert_eq!(body["missing_scopes"] == json!(["admin"]), verdict == "SCOPE_DENIED", "{kind:?}: {body}");
        }
        let both = [&*bearer(&token), &*format!("X-API-Key: {foreign}")];
        assert_denied(kind, &proxy.get("/", &both).await, 400, "invalid_request", "");
    }
    for proxy in Proxy::all_with(&authority, ("account=acme&", "account=acme&project=blue&")).await {
        let reply = proxy.get_with(&project, "/").await;
        assert_denied(proxy.kind, &reply, 403, "insufficient_scope", "PROJECT_DENIED");
        proxy.get_with(&token, "/").await.passed();
    }
    client.suspend_account(SuspendAccountRequest { account: "acme".into(), ..Default::default() }).await.unwrap();
    for proxy in &proxies {
        let reply = proxy.get_with(&token, "/").await;
        assert_denied(proxy.kind, &reply, 401, "invalid_token", "ACCOUNT_SUSPENDED");
    }
}

async fn a_revoked_key_is_denied_when_the_call_has_returned(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    for proxy in Proxy::all(&authority).await {
        for _ in 0..10 {
            let key = new_key(&authority, key_for("acme")).await;
            proxy.get_with(&key.token, "/").await.passed();
            authority.client().revoke(&key.id()).await;
            let reply = proxy.get_with(&key.token, "/").await;
            assert_denied(proxy.kind, &reply, 401, "invalid_token", "REVOKED");
        }
    }
}

async fn a_visitor_cannot_choose_its_address(database: Database) {
    let authority = Setup::on(database).flags(["--trusted-proxies", "127.0.0.1/32"]).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let network = CreateKeyRequest { allowed_networks: vec!["127.0.0.2/32".into()], ..key_for("acme") };
    let token = bearer(&new_key(&authority, network).await.token);
    let [near, far] = ["127.0.0.2", "127.0.0.3"].map(|address| address.parse().unwrap());
    for proxy in Proxy::all(&authority).await {
        let kind = proxy.kind;
        for lie in [
            "X-Other: 1",
            "X-Forwarded-For: 127.0.0.2",
            "X-Forwarded-For: 127.0.0.2, 127.0.0.1",
            "X_Forwarded_For: 127.0.0.2",
            "X-Real-IP: 127.0.0.2",
            "Forwarded: for=127.0.0.2",
            "Connection: X-Forwarded-For",
            "X-Forwarded-For: 127.0.0.2\r\nConnection: X-Forwarded-For",
        ] {
            let reply = proxy.get_from(far, &[&token, lie]).await;
            assert_denied(kind, &reply, 403, "insufficient_scope", "NETWORK_DENIED");
        }
        for lie in ["X-Other: 1", "X-Forwarded-For: 127.0.0.3", "X-Forwarded-For: 127.0.0.3, 127.0.0.1"] {
            let seen = proxy.get_from(near, &[&token, lie]).await.passed();
            assert_eq!(seen.headers["x-forwarded-for"], "127.0.0.2", "{kind:?}: {lie}");
        }
    }
}

on_sqlite! {
    a_request_passes_with_its_key_and_without_its_token,
    each_denial_has_its_status_reason_and_challenge,
    a_revoked_key_is_denied_when_the_call_has_returned,
    a_visitor_cannot_choose_its_address,
}
