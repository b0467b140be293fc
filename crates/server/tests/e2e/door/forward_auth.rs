//! Decisions for proxies that ask by HTTP.

use key_authority_proto::v1::*;
use serde_json::{Value, json};

use super::visit;
use crate::support::client::{key_for, only};
use crate::support::http::{request, send, send_http2, series};
use crate::support::{Authority, Database, Setup, on_sqlite};

/// A key with everything that a header describes.
async fn labelled(authority: &Authority) -> String {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let key = CreateKeyRequest {
        key_id: "ci".into(),
        scopes: vec!["read".into(), "write".into()],
        projects: only(&["p"]),
        labels: [("team/name".into(), "blue é".into()), ("tier".into(), "1".into())].into(),
        ..key_for("acme")
    };
    root.new_key(key).await.token
}

async fn a_valid_visitor_passes_with_headers_about_the_key(authority: Authority) {
    let (token, root) = (labelled(&authority).await, authority.root_token());
    let query = "?account=acme&project=p&scope=read&scope=write";
    let bearer = format!("Bearer {token}");
    for headers in [&[("authorization", bearer.as_str())][..], &[("x-api-key", &token)]] {
        let spoofed = [("x-key-id", "root"), ("x-key-label-tier", "9"), ("x-key-scopes", "admin")];
        let answer = visit(&authority, &root, query, &[headers, &spoofed].concat()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        for (name, value) in [
            ("x-key-id", "ci"),
            ("x-key-account", "acme"),
            ("x-key-scopes", "read write"),
            ("x-key-label-team-name", "blue %C3%A9"),
            ("x-key-label-tier", "1"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.headers.get_all(name).iter().collect::<Vec<_>>(), [value], "{name}");
        }
        assert!(answer.body.is_empty() && !format!("{answer:?}").contains(&token));
    }
    // The header is set even if there are no scopes, so that no proxy keeps the visitor's own header.
    let bare = authority.client().key_in("acme").await.token;
    let answer = visit(&authority, &root, "", &[("x-api-key", &bare)]).await;
    assert_eq!((answer.status, answer.header("x-key-scopes")), (200, Some("")));
}

async fn every_method_may_ask_by_both_versions(authority: Authority) {
    let (token, root) = (labelled(&authority).await, authority.root_token());
    let caller = format!("Bearer {root}");
    let headers = [("x-key-authority-caller", caller.as_str()), ("x-api-key", token.as_str())];
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        let path = "/forward-auth?project=p";
        assert_eq!(send(authority.api(), request(method, path, &headers, "")).await.status, 200, "{method}");
        assert_eq!(send_http2(authority.api(), request(method, path, &headers, "body")).await.status, 200, "{method}");
    }
}

async fn each_verdict_is_a_denial_with_its_reason(authority: Authority) {
    let (token, root) = (labelled(&authority).await, authority.root_token());
    let client = authority.client();
    let [revoked, disabled, renewed] =
        [client.key_in("acme").await, client.key_in("acme").await, client.key_in("acme").await];
    client.revoke(&revoked.id()).await;
    client.disable_key(DisableKeyRequest { key_id: disabled.id(), ..Default::default() }).await.unwrap();
    client.renew_key(RenewKeyRequest { key_id: renewed.id(), ..Default::default() }).await.unwrap();
    client.new_account("gone", KeyPolicy::default()).await;
    let suspended = client.key_in("gone").await.token;
    client.suspend_account(SuspendAccountRequest { account: "gone".into(), ..Default::default() }).await.unwrap();
    let network = CreateKeyRequest { allowed_networks: vec!["10.0.0.0/8".into()], ..key_for("acme") };
    let network = client.new_key(network).await.token;
    for (visitor, query, status, error, verdict) in [
        (token.as_str(), "?project=p&scope=admin", 403, "insufficient_scope", "SCOPE_DENIED"),
        (&token, "?project=q", 403, "insufficient_scope", "PROJECT_DENIED"),
        (&network, "", 403, "insufficient_scope", "NETWORK_DENIED"),
        (&token, "?project=p&account=other", 401, "invalid_token", "UNKNOWN"),
        (&root, "", 401, "invalid_token", "UNKNOWN"),
        (&revoked.token, "", 401, "invalid_token", "REVOKED"),
        (&disabled.token, "", 401, "invalid_token", "DISABLED"),
        (&renewed.token, "", 401, "invalid_token", "EXPIRED"),
        (&suspended, "", 401, "invalid_token", "ACCOUNT_SUSPENDED"),
        ("nothing", "", 401, "invalid_token", "MALFORMED"),
        ("", "", 401, "invalid_token", "MALFORMED"),
    ] {
        let answer = visit(&authority, &root, query, &[("authorization", &format!("Bearer {visitor}"))]).await;
        let body = answer.json();
        assert_eq!((answer.status, &body["error"]), (status, &json!(error)), "{verdict}: {body}");
        assert_eq!(body["verdict"], verdict);
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.starts_with("Bearer realm=\"keyauthority\", error="), "{challenge}");
        // The header has the body once more, for nginx.
        let denial = answer.header("x-key-authority-denial").unwrap();
        assert_eq!(serde_json::from_str::<Value>(denial).unwrap(), body);
        let about_keys = |name: &str| name.starts_with("x-key-") && name != "x-key-authority-denial";
        assert!(!answer.headers.keys().any(|name| about_keys(name.as_str())), "{answer:?}");
    }
    let scopes = visit(&authority, &root, "?project=p&scope=read%20admin", &[("x-api-key", &token)]).await;
    assert_eq!(scopes.json()["missing_scopes"], json!(["admin"]));
    assert!(scopes.header("www-authenticate").unwrap().ends_with("scope=\"read admin\""));
    let none = visit(&authority, &root, "", &[]).await;
    assert_eq!((none.status, none.header("www-authenticate")), (401, Some("Bearer realm=\"keyauthority\"")));
    let two = visit(&authority, &root, "", &[("x-api-key", &token), ("authorization", "Bearer other")]).await;
    assert_eq!((two.status, &two.json()["error"]), (400, &json!("invalid_request")));
}

async fn a_token_in_a_query_is_found_where_it_is_switched_on(authority: Authority) {
    let (token, root) = (labelled(&authority).await, authority.root_token());
    let path = format!("/a?key={token}&b=c");
    let switched_on = "?project=p&token_in=bearer,query:key";
    for header in ["x-forwarded-uri", "x-original-uri"] {
        let on = visit(&authority, &root, switched_on, &[(header, &path)]).await;
        let off = visit(&authority, &root, "?project=p", &[(header, &path)]).await;
        assert_eq!((on.status, off.status), (200, 401), "{header}");
    }
    let both = [("x-forwarded-uri", path.as_str()), ("x-original-uri", "/?key=other")];
    assert_eq!(visit(&authority, &root, switched_on, &both).await.status, 400, "two different ones");
    let elsewhere = [("x-api-key", token.as_str())];
    assert_eq!(visit(&authority, &root, switched_on, &elsewhere).await.status, 401, "a place that is not named");
}

async fn a_proxy_that_asks_wrongly_is_told_and_nobody_is_denied(authority: Authority) {
    let (token, root) = (labelled(&authority).await, authority.root_token());
    let visitor = [("x-api-key", token.as_str())];
    for (query, mistake) in [
        ("?scop=read", "query.scop must be one of project, account, scope, token_in"),
        ("?account=", "query.account must not be empty"),
        ("?project=%20", "query.project must not be empty"),
        ("?scope=", "query.scope must not be empty"),
        ("?scope=read&scope=", "query.scope must not be empty"),
        ("?account=a&account=a", "query.account must be set once"),
        ("?token_in=cookie", "query.token_in must be bearer, basic"),
        ("?account", "query.account must not be empty"),
        ("?a%0ab=c", "query.… must be one of"),
    ] {
        let answer = visit(&authority, &root, query, &visitor).await;
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(answer.status == 500 && message.contains(mistake), "{query}: {message}");
        assert_eq!(answer.header("www-authenticate"), None);
    }
    let (other, _) = authority.new_caller(&["keys.read"], None).await;
    for caller in ["unknown", &token, &other.token] {
        let answer = visit(&authority, caller, "?project=p", &visitor).await;
        assert_eq!((answer.status, &answer.json()["error"]), (500, &json!("caller_refused")), "{answer:?}");
    }
    // The visitor's own credential is no caller's.
    let bearer = format!("Bearer {root}");
    let headers = [("authorization", bearer.as_str()), ("x-api-key", token.as_str())];
    let answer = send(authority.api(), request("GET", "/forward-auth?project=p", &headers, "")).await;
    assert_eq!(answer.status, 500, "{answer:?}");
    let told = authority.output().matches("answering 500").count();
    assert_eq!(told, 1, "logged once a minute");
}

async fn the_address_of_the_visitor_is_believed_from_trusted_proxies(database: Database) {
    let trusting = Setup::on(database).flags(["--trusted-proxies", "127.0.0.0/8, 10.9.0.0/16"]).start().await;
    trusting.client().new_account("acme", KeyPolicy::default()).await;
    let key = CreateKeyRequest { allowed_networks: vec!["192.0.2.0/24".into()], ..key_for("acme") };
    let token = trusting.client().new_key(key).await.token;
    let status = async |forwarded: &[&str]| {
        let values = forwarded.iter().map(|value| ("x-forwarded-for", *value));
        let headers: Vec<_> = [("x-api-key", token.as_str())].into_iter().chain(values).collect();
        visit(&trusting, &trusting.root_token(), "", &headers).await.status
    };
    assert_eq!(status(&["192.0.2.7"]).await, 200);
    assert_eq!(status(&["192.0.2.7, 10.9.1.1"]).await, 200, "through a second proxy");
    assert_eq!(status(&["192.0.2.7, 198.51.100.1"]).await, 403, "what a visitor says of itself is nothing");
    assert_eq!(status(&["192.0.2.7", "198.51.100.1"]).await, 403, "nor in a header of its own");
    assert_eq!(status(&["192.0.2.7, nonsense"]).await, 403);
    assert_eq!(status(&[]).await, 403);
}

async fn without_trusted_proxies_no_address_is_believed(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let key = CreateKeyRequest { allowed_networks: vec!["192.0.2.0/24".into()], ..key_for("acme") };
    let token = authority.client().new_key(key).await.token;
    let headers = [("x-api-key", token.as_str()), ("x-forwarded-for", "192.0.2.7")];
    let answer = visit(&authority, &authority.root_token(), "", &headers).await;
    assert_eq!((answer.status, &answer.json()["verdict"]), (403, &json!("NETWORK_DENIED")), "{answer:?}");
}

async fn decisions_count_as_verdicts(authority: Authority) {
    let (token, root) = (labelled(&authority).await, authority.root_token());
    visit(&authority, &root, "?project=p", &[("x-api-key", &token)]).await;
    visit(&authority, &root, "?project=q", &[("x-api-key", &token)]).await;
    let metrics = authority.metrics().await;
    for (verdict, status) in [("VALID", "200"), ("PROJECT_DENIED", "403")] {
        let counted = series(&metrics, "keyauthority_verify_total", &[("verdict", verdict)]);
        assert_eq!(counted, Some(1.0), "{verdict}");
        let labels = [("http_route", "/forward-auth"), ("http_response_status_code", status)];
        let counted = series(&metrics, "http_server_request_duration_seconds_count", &labels);
        assert_eq!(counted, Some(1.0), "{verdict}");
    }
}

on_sqlite! {
    each_verdict_is_a_denial_with_its_reason,
    a_valid_visitor_passes_with_headers_about_the_key,
    every_method_may_ask_by_both_versions,
    a_token_in_a_query_is_found_where_it_is_switched_on,
    a_proxy_that_asks_wrongly_is_told_and_nobody_is_denied,
    the_address_of_the_visitor_is_believed_from_trusted_proxies,
    without_trusted_proxies_no_address_is_believed,
    decisions_count_as_verdicts,
}
