//! What a proxy asks before it lets a request through (`envoy.service.auth.v3.Authorization`), question by question. With a
//! real proxy: `envoy`.

pub(crate) mod ask;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use key_authority_proto::ext_authz::{AttributeContext, CheckRequest};
use key_authority_proto::v1::*;
use prost::Message as _;
use serde_json::json;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::api::questions::{mistyped, never_issued};
use crate::support::client::{key_for, only};
use crate::support::http::series;
use crate::support::{
    Authority, Database, NewKey, Setup, assert_same_set, eventually, on_database_servers, on_every_database, on_sqlite,
    refused, seconds,
};
use ask::{Asked, Proxy};

pub(crate) const SERVICE: &str = "envoy.service.auth.v3.Authorization";

#[test]
fn the_service_has_no_method_that_is_not_tested_here() {
    let set = key_authority_proto::ext_authz::FILE_DESCRIPTOR_SET;
    let set = prost_types::FileDescriptorSet::decode(set).unwrap();
    let services = set.file.iter().flat_map(|file| &file.service);
    let methods: Vec<_> =
        services.flat_map(|service| &service.method).filter_map(|method| method.name.clone()).collect();
    assert_eq!(methods, ["Check"]);
}

/// `Authorization: Basic` with a key's ID and a token.
pub(crate) fn pair(key_id: &str, token: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{key_id}:{token}")))
}

/// A key of the account `acme` with two scopes and labels.
pub(crate) async fn labelled_key(authority: &Authority) -> NewKey {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let labels = [("Team/Name", "blue é"), ("tier", "1")].map(|(name, value)| (name.into(), value.into()));
    let request = CreateKeyRequest {
        key_id: "ci".into(),
        scopes: vec!["read".into(), "write".into()],
        labels: labels.into(),
        ..key_for("acme")
    };
    client.new_key(request).await
}

async fn a_request_passes_with_its_key_told_and_its_token_taken_away(authority: Authority) {
    let token = labelled_key(&authority).await.token;
    let proxy = Proxy::of(&authority).await;
    let in_query = || Asked::of(format!("/mcp?a=b&api_key={token}&c=d")).route("token_in", "bearer query:api_key");
    for (asked, headers, parameters) in [
        (Asked::bearer(&token), &["authorization"][..], &[][..]),
        (Asked::bearer(&token).raw(), &["authorization"], &[]),
        (Asked::of("/").header("X-Api-Key", token.clone()).raw(), &["x-api-key"], &[]),
        (Asked::of("/").header("authorization", pair("ci", &token)), &["authorization"], &[]),
        (Asked::of("/").header("authorization", pair("", &token)), &["authorization"], &[]),
        (Asked::bearer(&token).header("x-api-key", token.clone()), &["authorization", "x-api-key"], &[]),
        (in_query(), &[], &["api_key"]),
    ] {
        let allowed = proxy.allowed(asked).await;
        let told = [
            ("x-key-account", "acme"),
            ("x-key-id", "ci"),
            ("x-key-label-team-name", "blue %C3%A9"),
            ("x-key-label-tier", "1"),
            ("x-key-scopes", "read write"),
        ];
        assert_same_set(allowed.told, told.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_same_set(allowed.removed, headers.iter().map(|&name| name.to_owned()));
        assert_eq!(allowed.parameters, parameters);
    }
    // Elsewhere than where the route says, it is none, and stays.
    let elsewhere = Asked::of(format!("/?api_key={token}"));
    assert_eq!(proxy.denied(elsewhere).await.body["message"], "a token is required");
    let other = Asked::bearer("of the upstream's own").header("x-api-key", token).route("token_in", "x-api-key");
    assert_same_set(proxy.allowed(other).await.removed, ["x-api-key".to_owned()]);
}

async fn what_a_client_sends_in_our_name_is_taken_away(authority: Authority) {
    let token = labelled_key(&authority).await.token;
    let plain = authority.client().new_key(CreateKeyRequest { key_id: "plain".into(), ..key_for("acme") }).await.token;
    let proxy = Proxy::of(&authority).await;
    let spoofed = |token: &str| {
        let names = ["x-key-id", "X-Key-Id", "x_key_id", "X-KEY-LABEL-Anything", "x-key-label-tier", "x-key-new"];
        names.into_iter().fold(Asked::bearer(token), |asked, name| asked.header(name, "root"))
    };
    for form in [Asked::raw, |asked| asked] {
        // What is set is replaced; all else that could be taken for ours goes.
        let allowed = proxy.allowed(form(spoofed(&token))).await;
        assert_eq!((&*allowed.told["x-key-id"], &*allowed.told["x-key-label-tier"]), ("ci", "1"));
        let gone = ["authorization", "x_key_id", "x-key-label-anything", "x-key-new"];
        assert_same_set(allowed.removed, gone.map(str::to_owned));
        // A key without scopes and labels has none of somebody else's.
        let allowed = proxy.allowed(form(spoofed(&plain))).await;
        assert_same_set(allowed.told.into_keys(), ["x-key-account", "x-key-id"].map(str::to_owned));
        let gone = [&gone[..], &["x-key-label-tier", "x-key-scopes"]].concat();
        assert_same_set(allowed.removed, gone.into_iter().map(str::to_owned));
    }
    let scopes = proxy.allowed(Asked::bearer(&plain)).await.removed;
    assert!(scopes.contains("x-key-scopes"), "even if the proxy does not tell that it is there");
}

async fn each_verdict_is_a_denial_in_the_form_of_rfc_6750(authority: Authority) {
    let client = authority.client();
    let proxy = Proxy::of(&authority).await;
    let token = labelled_key(&authority).await.token;
    let key = async |request: CreateKeyRequest| client.new_key(request).await;
    let disabled = key(CreateKeyRequest { disabled: true, ..key_for("acme") }).await;
    let revoked = key(key_for("acme")).await;
    client.revoke(&revoked.id()).await;
    client.new_account("late", KeyPolicy::default()).await;
    let suspended = key(key_for("late")).await;
    client.suspend_account(SuspendAccountRequest { account: "late".into(), ..Default::default() }).await.unwrap();
    let second = Some(create_key_request::Expiry::Lifetime(seconds(1).unwrap()));
    let expired = key(CreateKeyRequest { expiry: second, ..key_for("acme") }).await;
    let has_expired = async || (client.verdict(&expired.token).await == Verdict::Expired).then_some(());
    eventually("a second passes", has_expired).await;
    let bound = key(CreateKeyRequest {
        projects: only(&["p1"]),
        allowed_networks: vec!["192.0.2.0/24".into()],
        ..key_for("acme")
    });
    let bound = bound.await.token;

    let never_issued = never_issued(&authority).await;
    let mistyped = mistyped(&token);
    let invalid = [
        (Asked::bearer(&mistyped), "MALFORMED", "the token is malformed"),
        (Asked::of("/").header("authorization", "Basic ???"), "MALFORMED", "the token is malformed"),
        (Asked::bearer(&never_issued), "UNKNOWN", "the token is unknown"),
        (Asked::bearer(&token).route("account", "other"), "UNKNOWN", "the token is unknown"),
        (Asked::of("/").header("authorization", pair("other", &token)), "UNKNOWN", "the token is unknown"),
        (Asked::of("/").header("authorization", pair(&"x".repeat(99), &token)), "UNKNOWN", "the token is unknown"),
        (Asked::bearer(&disabled.token), "DISABLED", "the key is disabled"),
        (Asked::bearer(&revoked.token), "REVOKED", "the key is revoked"),
        (Asked::bearer(&expired.token), "EXPIRED", "the token has expired"),
        (Asked::bearer(&suspended.token), "ACCOUNT_SUSPENDED", "the account of the key is suspended"),
    ];
    for (asked, verdict, message) in invalid {
        let denied = proxy.denied(asked).await;
        let error = "error=\"invalid_token\"";
        let challenge = format!("Bearer realm=\"keyauthority\", {error}, error_description=\"{message}\"");
        assert_eq!((denied.code, denied.challenge), (401, challenge), "{verdict}");
        assert_eq!(denied.body, json!({"error": "invalid_token", "verdict": verdict, "message": message}));
    }
    let here = |asked: Asked| asked.from("192.0.2.7");
    let insufficient = [
        (here(Asked::bearer(&bound).route("project", "p2")), "PROJECT_DENIED", "the key does not cover this project"),
        (Asked::bearer(&bound).from("::1"), "NETWORK_DENIED", "the key may not be used from this address"),
        (Asked::bearer(&bound).from("/run/a.socket"), "NETWORK_DENIED", "the key may not be used from this address"),
    ];
    for (asked, verdict, message) in insufficient {
        let denied = proxy.denied(asked).await;
        let error = "error=\"insufficient_scope\"";
        let challenge = format!("Bearer realm=\"keyauthority\", {error}, error_description=\"{message}\"");
        assert_eq!((denied.code, denied.challenge), (403, challenge), "{verdict}");
        assert_eq!(denied.body, json!({"error": "insufficient_scope", "verdict": verdict, "message": message}));
    }
    let denied = proxy.denied(Asked::bearer(&token).route("scopes", "read, admin")).await;
    assert_eq!(denied.code, 403);
    assert!(denied.challenge.ends_with(", scope=\"read admin\""), "{}", denied.challenge);
    assert_eq!((&denied.body["verdict"], &denied.body["missing_scopes"]), (&json!("SCOPE_DENIED"), &json!(["admin"])));
    proxy.allowed(here(Asked::bearer(&bound).route("project", "p1"))).await;
    proxy.allowed(Asked::bearer(&token).route("scopes", "read,write").route("account", "acme")).await;

    let denied = proxy.denied(Asked::of("/").header("authorization", "Negotiate x")).await;
    assert_eq!((denied.code, &*denied.challenge), (401, "Bearer realm=\"keyauthority\""));
    assert_eq!(denied.body, json!({"error": null, "message": "a token is required"}));
    let both = format!("Bearer {token},Bearer {bound}");
    for asked in [Asked::bearer(&token).header("x-api-key", bound), Asked::of("/").header("authorization", both)] {
        let denied = proxy.denied(asked).await;
        assert_eq!((denied.code, &denied.body["error"]), (400, &json!("invalid_request")));
        assert!(denied.challenge.contains("error=\"invalid_request\""), "{}", denied.challenge);
    }
}

async fn a_callers_token_is_known_only_to_a_route_of_account_system(authority: Authority) {
    let proxy = Proxy::of(&authority).await;
    let token = authority.root_token();
    let denied = proxy.denied(Asked::bearer(&token)).await;
    assert_eq!((denied.code, &denied.body["verdict"]), (401, &json!("UNKNOWN")));
    let allowed = proxy.allowed(Asked::bearer(&token).route("account", "system")).await;
    assert_eq!(allowed.told["x-key-account"], "system");
}

async fn nothing_that_a_client_sends_is_an_error(authority: Authority) {
    let token = labelled_key(&authority).await.token;
    let proxy = Proxy::of(&authority).await;
    let long = "x".repeat(1 << 20);
    for asked in [
        Asked::of(b"/\xff?\xfe=\xfd&api_key=\xfc".to_vec()).route("token_in", "query:api_key"),
        Asked::of("/").header("authorization", b"Bearer \xff".to_vec()),
        Asked::of("/").header("authorization", b"Basic \xff".to_vec()).raw(),
        Asked::of("/").header("x-api-key", b"\xff".to_vec()),
        Asked::of("/").header("x-api-key", long.clone()),
        Asked::of(format!("/?api_key={long}")).header("cookie", long.clone()).route("token_in", "query:api_key"),
    ] {
        assert_eq!(proxy.denied(asked).await.body["verdict"], "MALFORMED");
    }
    let many = (0..2000).fold(Asked::bearer(&token), |asked, number| asked.header(&format!("x-key-{number}"), "x"));
    assert_eq!(proxy.allowed(many.header("cookie", b"\xff".to_vec())).await.removed.len(), 2001);
}

async fn a_question_that_is_wrong_lets_nobody_in(authority: Authority) {
    let token = labelled_key(&authority).await.token;
    let proxy = Proxy::of(&authority).await;
    let wrong = [
        ("scope", "read", "scope must be one of"),
        ("token_in", "", "token_in must name a place"),
        ("account", "", "account must not be empty"),
        ("project", "", "project must not be empty"),
        ("scopes", "", "scopes must not be empty"),
        ("scopes", " , ", "scopes must not be empty"),
        ("project", "\u{3000}\t", "project must not be empty"),
        ("scopes", &"x".repeat(129), "scopes[0] must be 1 to 128"),
        ("project", &"x".repeat(257), "project must be at most 256"),
    ];
    for (name, value, rule) in wrong {
        let answer = proxy.check(Asked::bearer(&token).route(name, value)).await.unwrap();
        assert!(answer.status.unwrap().message.contains(rule), "{rule}");
        let denied = proxy.denied(Asked::bearer(&token).route(name, value)).await;
        assert_eq!((denied.code, &*denied.challenge), (500, ""), "it is no fault of the client");
        assert!(!denied.body.to_string().contains(rule), "nor its business: {}", denied.body);
    }
    for request in [CheckRequest::default(), CheckRequest { attributes: Some(AttributeContext::default()) }] {
        let answer = proxy.ask(request).await.unwrap();
        let told = answer.status.unwrap();
        assert_eq!(Code::from_i32(told.code), Code::FailedPrecondition);
        assert!(told.message.contains("must be set"), "{}", told.message);
    }
    let log = authority.output();
    assert!(log.contains("attributes.context_extensions.scope must be one of"), "the log tells");
    assert_eq!(log.matches("invalid ext_authz route configuration").count(), 1, "and not of each request: {log}");
}

async fn a_proxy_is_authorized_as_a_caller_of_verify(authority: Authority) {
    let root = authority.client();
    let token = labelled_key(&authority).await.token;
    let asked = || Asked::bearer(&token);
    let stranger = Proxy::new(authority.channel(), None);
    refused(stranger.check(asked()).await, Code::Unauthenticated, "CALLER_UNKNOWN");
    let holder = Proxy::new(authority.channel(), Some(&token));
    refused(holder.check(asked()).await, Code::Unauthenticated, "CALLER_UNKNOWN");
    let (reader, _) = authority.new_caller(&["keys.read"], None).await;
    let reader = Proxy::new(authority.channel(), Some(&reader.token));
    refused(reader.check(asked()).await, Code::PermissionDenied, "PERMISSION_MISSING");
    refused(reader.ask(CheckRequest::default()).await, Code::PermissionDenied, "PERMISSION_MISSING");

    root.new_account("other", KeyPolicy::default()).await;
    let (limited, _) = authority.new_caller(&["verify"], Some(&["other"])).await;
    let narrow = Proxy::new(authority.channel(), Some(&limited.token));
    assert_eq!(narrow.denied(asked()).await.body["verdict"], "UNKNOWN");
    narrow.allowed(Asked::bearer(&root.key_in("other").await.token)).await;
    root.revoke(&limited.id()).await;
    refused(narrow.check(asked()).await, Code::Unauthenticated, "CALLER_UNKNOWN");
}

async fn what_opens_verify_opens_it_to_proxies_and_nothing_else(database: Database) {
    let flags = ["--anonymous-verify", "--verify-listen", "127.0.0.1:0"];
    let authority = Setup::on(database).flags(flags).start().await;
    let token = labelled_key(&authority).await.token;
    let output = authority.output();
    let printed = output.lines().find_map(|line| line.trim().strip_prefix("Verify ")).expect("its address is printed");
    for channel in [authority.channel(), crate::support::authority::connect(printed.trim(), None)] {
        let proxy = Proxy::new(channel, None);
        assert_eq!(proxy.allowed(Asked::bearer(&token)).await.told["x-key-id"], "ci");
        proxy.denied(Asked::bearer(&mistyped(&token))).await;
    }
}

async fn its_calls_are_counted_and_its_health_is_that_of_verify(authority: Authority) {
    let token = labelled_key(&authority).await.token;
    let proxy = Proxy::of(&authority).await;
    proxy.allowed(Asked::bearer(&token)).await;
    proxy.denied(Asked::bearer(&token).route("scopes", "admin")).await;
    proxy.denied(Asked::of("/")).await;
    Proxy::new(authority.channel(), None).check(Asked::of("/")).await.unwrap_err();
    let metrics = authority.metrics().await;
    let handled = |code| {
        let labels = [("grpc_service", SERVICE), ("grpc_method", "Check"), ("grpc_code", code)];
        series(&metrics, "grpc_server_handled_total", &labels)
    };
    assert_eq!((handled("OK"), handled("Unauthenticated")), (Some(3.0), Some(1.0)));
    let verdicts =
        ["VALID", "SCOPE_DENIED"].map(|verdict| series(&metrics, "keyauthority_verify_total", &[("verdict", verdict)]));
    // A request without a token asks about none.
    assert_eq!(verdicts, [Some(1.0), Some(1.0)]);
    assert_eq!(authority.health_of(SERVICE).await, ServingStatus::Serving);
    let client = authority.client();
    let used = async || (client.key("ci").await.use_count == 1).then_some(());
    eventually("its use is written down", used).await;
}

async fn a_revoked_key_is_denied_when_the_call_has_returned(authority: Authority) {
    let token = labelled_key(&authority).await.token;
    let proxy = Proxy::of(&authority).await;
    proxy.allowed(Asked::bearer(&token)).await;
    authority.client().revoke("ci").await;
    assert_eq!(proxy.denied(Asked::bearer(&token)).await.body["verdict"], "REVOKED");
}

async fn without_a_lease_there_is_no_answer(database: Database) {
    let authority = Setup::on(database).linked().start().await;
    let token = labelled_key(&authority).await.token;
    let proxy = Proxy::of(&authority).await;
    authority.link().cut();
    authority.await_health(SERVICE, ServingStatus::NotServing).await;
    for asked in [Asked::bearer(&token), Asked::bearer("no token"), Asked::of("/"), Asked::of("/").route("typo", "x")] {
        refused(proxy.check(asked).await, Code::Unavailable, "LEASE_EXPIRED");
    }
    authority.link().open();
    authority.await_health(SERVICE, ServingStatus::Serving).await;
    proxy.allowed(Asked::bearer(&token)).await;
}

on_every_database! {
    a_revoked_key_is_denied_when_the_call_has_returned,
}

mod servers {
    use super::*;
    on_database_servers! {
        without_a_lease_there_is_no_answer,
    }
}

mod once {
    use super::*;
    on_sqlite! {
        a_request_passes_with_its_key_told_and_its_token_taken_away,
        what_a_client_sends_in_our_name_is_taken_away,
        each_verdict_is_a_denial_in_the_form_of_rfc_6750,
        a_callers_token_is_known_only_to_a_route_of_account_system,
    nothing_that_a_client_sends_is_an_error,
        a_question_that_is_wrong_lets_nobody_in,
        a_proxy_is_authorized_as_a_caller_of_verify,
        what_opens_verify_opens_it_to_proxies_and_nothing_else,
        its_calls_are_counted_and_its_health_is_that_of_verify,
    }
}
