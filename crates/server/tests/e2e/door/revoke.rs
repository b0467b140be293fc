//! Token revocation: the requirements of RFC 7009, each with its test.
//!
//! | section | requirement | test |
//! |---|---|---|
//! | 2 | the endpoint MUST be protected by TLS in transit | `docs/security.md`; a start without TLS beyond loopback is warned of |
//! | 2.1 | the request is a POST with a form; `token` is REQUIRED | `a_request_is_a_form_with_a_token` |
//! | 2.1 | a `token_type_hint` that is wrong or unknown MUST NOT hide a token | `a_hint_changes_nothing` |
//! | 2.1 | the server MUST validate the client's credentials, and that it may revoke the token | `callers_prove_who_they_are_and_what_they_may` |
//! | 2.1 | the token is invalidated at once; the server MUST NOT accept it afterwards, with all tokens of the grant | `a_revoked_token_is_not_accepted_any_more` |
//! | 2.2 | the status is 200 if the token was revoked, or if the client submitted an invalid token | `a_text_that_is_no_token_is_no_error` |
//! | 2.2.1 | errors have the form of RFC 6749, 5.2 | `callers_prove_who_they_are_and_what_they_may` |
//! | 2.2.1 | a 503 means that the token still exists; `Retry-After` says when to repeat the request | `door::outages` |

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use key_authority_proto::v1::*;

use super::revoke;
use crate::support::http::{request, send, series};
use crate::support::{Authority, on_sqlite, seconds};

async fn a_revoked_token_is_not_accepted_any_more(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let key = root.key_in("acme").await;
    let renewal = RenewKeyRequest { key_id: key.id(), overlap: seconds(3600), ..Default::default() };
    let newest = root.renew_key(renewal).await.unwrap().token;
    let other = root.key_in("acme").await.token;
    let bearer = format!("Bearer {}", authority.root_token());
    let answer = revoke(&authority, &bearer, &[("token", &key.token)]).await;
    assert_eq!((answer.status, answer.body.len(), answer.header("cache-control")), (200, 0, Some("no-store")));
    for token in [&key.token, &newest] {
        assert_eq!(root.verdict(token).await, Verdict::Revoked);
    }
    assert_eq!(root.verdict(&other).await, Verdict::Valid);
    assert_eq!(revoke(&authority, &bearer, &[("token", &key.token)]).await.status, 200, "a second time");
}

async fn a_text_that_is_no_token_is_no_error(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let deleted = root.key_in("acme").await;
    root.delete_key(DeleteKeyRequest { key_id: deleted.id(), ..Default::default() }).await.unwrap();
    let bearer = format!("Bearer {}", authority.root_token());
    for token in ["nothing", "a b", &"x".repeat(600), &deleted.token] {
        let answer = revoke(&authority, &bearer, &[("token", token)]).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{token}");
    }
    // Nor does a caller learn of the tokens of other accounts.
    let key = root.key_in("acme").await;
    let (narrow, _) = authority.new_caller(&["keys.revoke"], Some(&["other"])).await;
    let answer = revoke(&authority, &format!("Bearer {}", narrow.token), &[("token", &key.token)]).await;
    assert_eq!((answer.status, root.verdict(&key.token).await), (200, Verdict::Valid));
}

async fn callers_prove_who_they_are_and_what_they_may(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    root.new_account("portal", KeyPolicy { holder_may_revoke: true, ..Default::default() }).await;
    let (revoker, _) = authority.new_caller(&["keys.revoke"], None).await;
    let (verifier, _) = authority.new_caller(&["verify"], None).await;
    let (reader, _) = authority.new_caller(&["keys.read"], None).await;
    let basic = |id: &str, token: &str| format!("Basic {}", BASE64_STANDARD.encode(format!("{id}:{token}")));
    for right in [format!("Bearer {}", revoker.token), basic(&revoker.id(), &revoker.token)] {
        let key = root.key_in("acme").await;
        assert_eq!(revoke(&authority, &right, &[("token", &key.token)]).await.status, 200);
        assert_eq!(root.verdict(&key.token).await, Verdict::Revoked);
    }
    let key = root.key_in("acme").await;
    for (wrong, status, error) in [
        ("Bearer unknown".to_owned(), 401, "invalid_client"),
        (format!("Bearer {}", key.token), 401, "invalid_client"),
        (basic(&reader.id(), &revoker.token), 401, "invalid_client"),
        (format!("Bearer {}", reader.token), 403, "insufficient_scope"),
        (format!("Bearer {}", verifier.token), 403, "insufficient_scope"),
    ] {
        let answer = revoke(&authority, &wrong, &[("token", &key.token)]).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (status, Some(error)), "{wrong}");
        assert!(answer.header("www-authenticate").is_some(), "{wrong}");
    }
    assert_eq!(root.verdict(&key.token).await, Verdict::Valid);
    let metrics = authority.metrics().await;
    let refused = series(&metrics, "keyauthority_admin_refused_total", &[("reason", "PERMISSION_MISSING")]);
    assert_eq!(refused, Some(2.0), "as refused calls by gRPC");
    // A holder ends its own key at a service that only verifies.
    let own = root.key_in("portal").await;
    let answer = revoke(&authority, &format!("Bearer {}", verifier.token), &[("token", &own.token)]).await;
    assert_eq!((answer.status, root.verdict(&own.token).await), (200, Verdict::Revoked));
}

async fn a_hint_changes_nothing(authority: Authority) {
    let root = authority.client();
    root.new_account("acme", KeyPolicy::default()).await;
    let bearer = format!("Bearer {}", authority.root_token());
    for hint in ["access_token", "refresh_token", "unknown"] {
        let key = root.key_in("acme").await;
        let answer = revoke(&authority, &bearer, &[("token", &key.token), ("token_type_hint", hint)]).await;
        assert_eq!((answer.status, root.verdict(&key.token).await), (200, Verdict::Revoked), "{hint}");
    }
}

async fn a_request_is_a_form_with_a_token(authority: Authority) {
    let bearer = format!("Bearer {}", authority.root_token());
    for form in [&[][..], &[("token", "")], &[("token", "a"), ("token", "b")], &[("token", "a"), ("scope", "x")]] {
        let answer = revoke(&authority, &bearer, form).await;
        assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("invalid_request")), "{form:?}");
    }
    let json = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let answer = send(authority.api(), request("POST", "/revoke", &json, "{\"token\": \"a\"}")).await;
    assert_eq!(answer.status, 415);
    let answer = send(authority.api(), request("GET", "/revoke?token=a", &[("authorization", &bearer)], "")).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")));
}

on_sqlite! {
    a_revoked_token_is_not_accepted_any_more,
    a_text_that_is_no_token_is_no_error,
    callers_prove_who_they_are_and_what_they_may,
    a_hint_changes_nothing,
    a_request_is_a_form_with_a_token,
}
