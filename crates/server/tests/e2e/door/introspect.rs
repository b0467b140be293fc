//! Token introspection: the requirements of RFC 7662, each with its test.
//!
//! | section | requirement | test |
//! |---|---|---|
//! | 2.1 | the request is a POST with a form; `token` is REQUIRED | `a_request_is_a_form_with_a_token` |
//! | 2.1 | a wrong `token_type_hint` MUST NOT hide a token | `a_hint_changes_nothing` |
//! | 2.1 | the endpoint MUST require some form of authorization | `callers_prove_who_they_are` |
//! | 2.2 | the response is JSON with the top-level member `active`, which is REQUIRED | `a_valid_token_is_active_with_its_facts` |
//! | 2.2 | a token that is not active, or that the caller may not know of, is `{"active": false}` and SHOULD NOT say more | `every_other_token_is_inactive_and_nothing_else` |
//! | 2.3 | invalid client credentials are 401; a valid token without the permission is refused | `callers_prove_who_they_are` |
//! | 2.3 | a properly formed and authorized query for an inactive token is no error | `every_other_token_is_inactive_and_nothing_else` |
//! | 4 | the server MUST check expiry, revocation, and all else that the validity depends on | `every_other_token_is_inactive_and_nothing_else` |
//! | 4 | the endpoint MUST be protected by TLS in transit | `docs/security.md`; a start without TLS beyond loopback is warned of |

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use key_authority_proto::v1::*;
use serde_json::json;

use super::introspect;
use crate::support::client::{key_for, only};
use crate::support::http::{request, send};
use crate::support::{Authority, Database, Setup, on_sqlite, seconds};

async fn a_valid_token_is_active_with_its_facts(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let request = CreateKeyRequest {
        key_id: "deploy".into(),
        scopes: vec!["write".into(), "read".into()],
        expiry: Some(create_key_request::Expiry::Lifetime(seconds(3600).unwrap())),
        ..key_for("acme")
    };
    let key = root.new_key(request).await;
    let bearer = format!("Bearer {}", authority.root_token());
    let answer = introspect(&authority, &bearer, &[("token", &key.token), ("scope", "read write")]).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let exp = key.key.expire_time.unwrap().seconds;
    let facts = json!({
        "active": true, "token_type": "Bearer", "client_id": "deploy", "sub": "acme", "scope": "read write", "exp": exp,
    });
    assert_eq!(answer.json(), facts);

    let forever = root.key_in("acme").await;
    let answer = introspect(&authority, &bearer, &[("token", &forever.token)]).await.json();
    assert!(answer.get("exp").is_none() && answer.get("scope").is_none(), "{answer}");
}

async fn every_other_token_is_inactive_and_nothing_else(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    root.new_account("other", KeyPolicy::default()).await;
    let limited = CreateKeyRequest {
        projects: only(&["p"]),
        scopes: vec!["read".into()],
        allowed_networks: vec!["10.0.0.0/8".into()],
        ..key_for("acme")
    };
    let limited = root.new_key(limited).await.token;
    let [revoked, disabled, renewed] =
        [root.key_in("acme").await, root.key_in("acme").await, root.key_in("acme").await];
    root.revoke(&revoked.id()).await;
    root.disable_key(DisableKeyRequest { key_id: disabled.id(), ..Default::default() }).await.unwrap();
    root.renew_key(RenewKeyRequest { key_id: renewed.id(), ..Default::default() }).await.unwrap();
    let foreign = root.key_in("other").await.token;
    root.suspend_account(SuspendAccountRequest { account: "other".into(), ..Default::default() }).await.unwrap();

    let bearer = format!("Bearer {}", authority.root_token());
    let right = [("project", "p"), ("scope", "read"), ("client_ip", "10.1.1.1"), ("account", "acme")];
    let ask = async |token: &str, form: &[(&str, &str)]| {
        introspect(&authority, &bearer, &[&[("token", token)], form].concat()).await
    };
    assert_eq!(ask(&limited, &right).await.json()["active"], true);
    let no_secrets = [&revoked.token, &disabled.token, &renewed.token, &foreign, &authority.root_token()];
    let mut inactive = Vec::new();
    for token in no_secrets.into_iter().map(String::as_str).chain(["nothing", "mko_tkn_unknown"]) {
        inactive.push(ask(token, &[]).await);
    }
    for (name, wrong) in [("project", "q"), ("scope", "read admin"), ("client_ip", "192.0.2.1"), ("account", "other")] {
        let form: Vec<_> =
            right.iter().map(|&(known, value)| (known, if known == name { wrong } else { value })).collect();
        inactive.push(ask(&limited, &form).await);
        let without: Vec<_> = right.iter().copied().filter(|(known, _)| *known != name).collect();
        let answer = ask(&limited, &without).await;
        // What is not demanded is no reason; an unknown address is one.
        assert_eq!(answer.json()["active"], name != "client_ip", "without {name}");
    }
    for answer in inactive {
        assert_eq!((answer.status, &answer.body[..]), (200, &br#"{"active":false}"#[..]));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    // A caller's token is known where the caller's account is named.
    let token = authority.root_token();
    assert_eq!(ask(&token, &[("account", "system")]).await.json()["active"], true);
    // The accounts of the caller bound what it learns.
    let (narrow, _) = authority.new_caller(&["verify"], Some(&["other"])).await;
    let form = [&[("token", limited.as_str())], &right[..]].concat();
    let answer = introspect(&authority, &format!("Bearer {}", narrow.token), &form).await;
    assert_eq!(&answer.body[..], br#"{"active":false}"#);
}

async fn callers_prove_who_they_are(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let token = authority.client().key_in("acme").await.token;
    let (caller, _) = authority.new_caller(&["verify"], None).await;
    let (other, _) = authority.new_caller(&["keys.read"], None).await;
    let basic = |id: &str, token: &str| format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{token}")));
    let ask = async |authorization: &str| introspect(&authority, authorization, &[("token", &token)]).await;
    for right in [format!("Bearer {}", caller.token), basic(&caller.id(), &caller.token), basic("", &caller.token)] {
        assert_eq!(ask(&right).await.json()["active"], true, "{right}");
    }
    for wrong in [
        format!("Bearer {token}"),
        "Bearer unknown".into(),
        basic(&other.id(), &caller.token),
        basic(&caller.id(), &token),
        "Basic !".into(),
        "Digest x".into(),
    ] {
        let answer = ask(&wrong).await;
        assert_eq!((answer.status, &answer.json()["error"]), (401, &json!("invalid_client")), "{wrong}");
        let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        assert!(challenges.len() == 2 && challenges[1].to_str().unwrap().starts_with("Basic realm="), "{challenges:?}");
    }
    let answer = ask(&format!("Bearer {}", other.token)).await;
    assert_eq!((answer.status, &answer.json()["error"]), (403, &json!("insufficient_scope")));
    let form = ("content-type", "application/x-www-form-urlencoded");
    let nobody = send(authority.api(), request("POST", "/introspect", &[form], format!("token={token}"))).await;
    assert_eq!(nobody.status, 401, "{nobody:?}");
    // A password of the standard is no way into the API itself.
    let header = basic(&caller.id(), &caller.token);
    let headers = [super::JSON, ("authorization", header.as_str())];
    let answer = send(authority.api(), request("POST", &super::path("Verify"), &headers, "{}")).await;
    super::failed(&answer, 401, "unauthenticated", "CALLER_UNKNOWN");
}

async fn a_request_is_a_form_with_a_token(authority: Authority) {
    let bearer = format!("Bearer {}", authority.root_token());
    for form in [
        &[][..],
        &[("token", "")],
        &[("token", "a"), ("token", "a")],
        &[("token", "a"), ("scop", "read")],
        &[("token", "a"), ("scope", "")],
        &[("token", "a"), ("scope", " ")],
        &[("token", "a"), ("account", "")],
        &[("token", "a"), ("client_ip", "nowhere")],
    ] {
        let answer = introspect(&authority, &bearer, form).await;
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!("invalid_request")), "{form:?} {answer:?}");
    }
    let long = "x".repeat(100 << 10);
    assert_eq!(introspect(&authority, &bearer, &[("token", &long)]).await.status, 413);
    let headers = [super::JSON, ("authorization", bearer.as_str())];
    let answer = send(authority.api(), request("POST", "/introspect", &headers, r#"{"token": "a"}"#)).await;
    assert_eq!((answer.status, &answer.json()["error"]), (415, &json!("invalid_request")));
    let answer = send(authority.api(), request("GET", "/introspect?token=a", &headers, "")).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
}

async fn a_hint_changes_nothing(authority: Authority) {
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let token = authority.client().key_in("acme").await.token;
    let bearer = format!("Bearer {}", authority.root_token());
    for hint in ["access_token", "refresh_token", "unknown"] {
        let answer = introspect(&authority, &bearer, &[("token", &token), ("token_type_hint", hint)]).await;
        assert_eq!(answer.json()["active"], true, "{hint}");
    }
}

async fn anonymous_verify_opens_it_as_verify(database: Database) {
    let authority = Setup::on(database).flags(["--anonymous-verify"]).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let token = authority.client().key_in("acme").await.token;
    let form = ("content-type", "application/x-www-form-urlencoded");
    let answer = send(authority.api(), request("POST", "/introspect", &[form], format!("token={token}"))).await;
    assert_eq!(answer.json()["active"], true, "{answer:?}");
    let visitor = format!("Bearer {token}");
    let answer = send(authority.api(), request("GET", "/forward-auth", &[("authorization", &visitor)], "")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = introspect(&authority, "Bearer unknown", &[("token", &token)]).await;
    assert_eq!(answer.status, 401, "a wrong token is not none");
}

on_sqlite! {
    every_other_token_is_inactive_and_nothing_else,
    a_valid_token_is_active_with_its_facts,
    callers_prove_who_they_are,
    a_request_is_a_form_with_a_token,
    a_hint_changes_nothing,
    anonymous_verify_opens_it_as_verify,
}
