//! A real Envoy before a real service: `docs/examples/envoy/envoy.yaml`, as it is, with the ports of the test. What is shown
//! here stands as a table in `docs/envoy.md`.

mod proxy;

use key_authority_proto::v1::*;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::api::questions::{mistyped, never_issued};
use crate::ext_authz::{SERVICE, labelled_key, pair};
use crate::support::client::{key_for, only};
use crate::support::{Authority, Database, Setup, eventually, on_database_servers, on_sqlite, seconds, upstream};
use proxy::Envoy;

/// What the service knows of the key of [`labelled_key`].
const TOLD: [(&str, &str); 5] = [
    ("x-key-account", "acme"),
    ("x-key-id", "ci"),
    ("x-key-label-team-name", "blue %C3%A9"),
    ("x-key-label-tier", "1"),
    ("x-key-scopes", "read write"),
];
/// The filter that takes away what clients send in our name, switched off.
const UNFILTERED: (&str, &str) = ("x[-_]key[-_].*", "nothing");
const FAIL_OPEN: (&str, &str) = ("failure_mode_allow: false", "failure_mode_allow: true");
/// What a client says of where it is, believed by Envoy.
const TRUSTING: (&str, &str) =
    ("use_remote_address: true", "use_remote_address: false\n          xff_num_trusted_hops: 1");
const RAW_HEADERS: (&str, &str) =
    ("transport_api_version: V3", "transport_api_version: V3\n              encode_raw_headers: true");

async fn a_request_passes_without_its_token_and_with_its_key(authority: Authority) {
    let token = labelled_key(&authority).await.token;
    let envoy = Envoy::start(&authority).await;
    let basic = pair("ci", &token);
    for (path, header, arrives) in [
        ("/a?b=c", format!("Authorization: Bearer {token}"), "/a?b=c"),
        ("/a", format!("X-API-Key: {token}"), "/a"),
        ("/a", format!("Authorization: {basic}"), "/a"),
        (&format!("/mcp?z=1&api_key={token}&b=%20"), "X-Other: 1".into(), "/mcp?b=%20&z=1"),
        (&format!("/mcp?api_key={token}"), "X-Other: 1".into(), "/mcp"),
    ] {
        let seen = envoy.get(path, &[&header]).await.passed();
        assert_eq!((&*seen.path, seen.of_key()), (arrives, TOLD.to_vec()), "{header}");
        let text = format!("{seen:?}");
        assert!(!text.contains(&token) && !text.contains(&basic), "{text}");
    }
    assert_eq!(envoy.get("/healthz", &[]).await.code, 200);
    // Where the route does not say so, the query has no token, and is left as it is.
    envoy.get(&format!("/a?api_key={token}"), &[]).await.denied(401, "");
    envoy.get(&format!("/mcp?api%5Fkey={token}"), &[]).await.denied(401, "");
    let logged = async || envoy.output().contains("GET /mcp 401 -").then_some(());
    eventually("the denial is in the access log", logged).await;
    let log = envoy.output();
    assert!(log.contains("GET /a 200 ci\n") && !log.contains(&token), "{log}");
}

async fn each_denial_says_why(authority: Authority) {
    let client = authority.client();
    let token = labelled_key(&authority).await.token;
    let envoy = Envoy::start(&authority).await;
    let key = async |request: CreateKeyRequest| client.new_key(request).await;
    let disabled = key(CreateKeyRequest { disabled: true, ..key_for("acme") }).await.token;
    let second = Some(create_key_request::Expiry::Lifetime(seconds(1).unwrap()));
    let expired = key(CreateKeyRequest { expiry: second, ..key_for("acme") }).await.token;
    let green = key(CreateKeyRequest { projects: only(&["green"]), ..key_for("acme") }).await.token;
    client.new_account("other", KeyPolicy::default()).await;
    let foreign = client.key_in("other").await.token;

    let challenge = |reply: &upstream::Reply| reply.headers["www-authenticate"].clone();
    let none = envoy.get("/", &[]).await;
    none.denied(401, "");
    assert_eq!(challenge(&none), "Bearer realm=\"keyauthority\"");
    envoy.get_with(&mistyped(&token), "/").await.denied(401, "MALFORMED");
    envoy.get_with(&never_issued(&authority).await, "/").await.denied(401, "UNKNOWN");
    envoy.get_with(&foreign, "/").await.denied(401, "UNKNOWN");
    envoy.get("/", &[&format!("Authorization: {}", pair("other", &token))]).await.denied(401, "UNKNOWN");
    let reply = envoy.get_with(&disabled, "/").await;
    reply.denied(401, "DISABLED");
    assert!(challenge(&reply).contains("error=\"invalid_token\""), "{reply:?}");
    eventually("a second passes", async || (client.verdict(&expired).await == Verdict::Expired).then_some(())).await;
    envoy.get_with(&expired, "/").await.denied(401, "EXPIRED");
    for path in ["/projects/blue", "/projects/blue/x"] {
        envoy.get_with(&green, path).await.denied(403, "PROJECT_DENIED");
    }
    envoy.get_with(&green, "/").await.passed();
    // Each spelling of a path that needs a scope needs it.
    for path in ["/admin", "/admin?a=b", "/admin/", "/admin/x", "/a/../admin/x", "//admin/x", "/%61dmin/x"] {
        let reply = envoy.get_with(&token, path).await;
        reply.denied(403, "SCOPE_DENIED");
        assert!(challenge(&reply).ends_with("error=\"insufficient_scope\", error_description=\"the key lacks the required scopes\", scope=\"read admin\""), "{reply:?}");
    }
    assert_eq!(envoy.get_with(&token, "/admin%2Fx").await.code, 400);
    envoy.get_with(&token, "/administrators").await.passed();
    let both = [&*format!("Authorization: Bearer {token}"), &*format!("X-API-Key: {green}")];
    envoy.get("/", &both).await.denied(400, "");

    client.suspend_account(SuspendAccountRequest { account: "acme".into(), ..Default::default() }).await.unwrap();
    envoy.get_with(&token, "/").await.denied(401, "ACCOUNT_SUSPENDED");
}

async fn a_client_is_where_its_connection_comes_from(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let bound_to = async |network: &str| {
        let request = CreateKeyRequest { allowed_networks: vec![network.into()], ..key_for("acme") };
        client.new_key(request).await.token
    };
    let (near, far) = (bound_to("127.0.0.0/8").await, bound_to("192.0.2.0/24").await);
    for changes in [&[][..], &[TRUSTING]] {
        let envoy = Envoy::start_with(&authority, changes).await;
        for (token, is_here) in [(&near, true), (&far, false)] {
            let bearer = format!("Authorization: Bearer {token}");
            let reply =
                envoy.get("/", &[&bearer, "X-Forwarded-For: 192.0.2.1, 192.0.2.2", "X-Real-IP: 192.0.2.1"]).await;
            if is_here {
                reply.passed();
            } else {
                reply.denied(403, "NETWORK_DENIED");
            }
        }
    }
}

async fn a_revoked_key_is_denied_when_the_call_has_returned(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let envoy = Envoy::start(&authority).await;
    for _ in 0..20 {
        let key = client.key_in("acme").await;
        envoy.get_with(&key.token, "/").await.passed();
        client.revoke(&key.id()).await;
        envoy.get_with(&key.token, "/").await.denied(401, "REVOKED");
    }
}

async fn nobody_passes_for_another(authority: Authority) {
    let token = labelled_key(&authority).await.token;
    let plain = authority.client().new_key(CreateKeyRequest { key_id: "plain".into(), ..key_for("acme") }).await.token;
    // With the filter and without it, and with headers as Envoy tells them in either form.
    for changes in [&[][..], &[UNFILTERED], &[UNFILTERED, RAW_HEADERS]] {
        let envoy = Envoy::start_with(&authority, changes).await;
        let spoofed = [
            "x-key-id: root",
            "X-Key-Id: root",
            "X-KEY-account: root",
            "X_Key_Id: root",
            "x-key-scopes: admin",
            "x-key-label-tier: 9",
            "x-key-label-anything: 9",
            "X-Key-New: 9",
        ];
        let with = |token: &str| format!("Authorization: Bearer {token}");
        let (named, unnamed) = (with(&token), with(&plain));
        let seen = envoy.get("/", &[&[&*named], &spoofed[..]].concat()).await.passed();
        assert_eq!(seen.of_key(), TOLD, "{changes:?}");
        let seen = envoy.get("/", &[&spoofed[..], &[&*unnamed]].concat()).await.passed();
        assert_eq!(seen.of_key(), [("x-key-account", "acme"), ("x-key-id", "plain")], "{changes:?}");
        envoy.get("/", &[&spoofed[..], &[&*unnamed, &*named]].concat()).await.denied(400, "");
    }
}

async fn no_byte_of_a_client_opens_a_door_that_an_outage_would(authority: Authority) {
    let token = labelled_key(&authority).await.token;
    for changes in [&[FAIL_OPEN][..], &[FAIL_OPEN, RAW_HEADERS]] {
        let envoy = Envoy::start_with(&authority, changes).await;
        let long = [b"X-Long: ".to_vec(), vec![b'x'; 50_000]].concat();
        let key = b"X-API-Key: \xff\xfe";
        envoy.get_bytes(b"/a", &[key]).await.denied(401, "MALFORMED");
        envoy.get_bytes(b"/a", &[key, &long]).await.denied(401, "MALFORMED");
        envoy.get_bytes(b"/a", &[b"Authorization: Basic \xff"]).await.denied(401, "MALFORMED");
        // What is no path, Envoy itself does not take.
        assert_eq!(envoy.get_bytes(b"/mcp?api_key=\xff", &[]).await.code, 400);
        envoy.get_bytes(b"/mcp?api_key=%ff", &[]).await.denied(401, "MALFORMED");
        envoy.get_bytes(&[b"/mcp?api_key=".to_vec(), vec![b'x'; 50_000]].concat(), &[]).await.denied(401, "MALFORMED");
        envoy.get_bytes(b"/", &[b"X-Other: \xff"]).await.denied(401, "");
        let lines = [&format!("Authorization: Bearer {token}").into_bytes()[..], &long, b"X-Other: \xff"];
        envoy.get_bytes(b"/", &lines).await.passed();
    }
}

async fn while_nobody_can_tell_the_proxy_does_what_it_was_told(mut authority: Authority) {
    let token = labelled_key(&authority).await.token;
    let spoofed = [&*format!("Authorization: Bearer {token}"), "x-key-id: root", "x-key-label-tier: 9"];
    let closed = Envoy::start(&authority).await;
    let open = Envoy::start_with(&authority, &[FAIL_OPEN]).await;
    for envoy in [&closed, &open] {
        assert_eq!(envoy.get("/", &spoofed).await.passed().of_key(), TOLD);
        envoy.get("/", &[]).await.denied(401, "");
        envoy.link.cut();
    }
    assert_eq!(closed.get("/", &spoofed).await.code, 503, "an outage is not a denial");
    assert_eq!(closed.get("/", &[]).await.code, 503);
    assert_eq!(closed.get("/healthz", &[]).await.code, 200);
    assert_eq!(open.get("/", &spoofed).await.passed().of_key(), []);
    assert_eq!(open.get("/", &[]).await.passed().of_key(), []);
    for envoy in [&closed, &open] {
        envoy.link.open();
        let back = async || (envoy.get("/", &[]).await.code == 401).then_some(());
        eventually("the authority is asked again", back).await;
        assert_eq!(envoy.get("/", &spoofed).await.passed().of_key(), TOLD);
    }
    // Envoy's own key is no better than anybody's: whoever may not ask is not answered.
    for envoy in [&closed, &open] {
        authority.client().revoke(&envoy.key_id).await;
    }
    assert_eq!(closed.get("/", &spoofed).await.code, 503);
    assert_eq!(open.get("/", &spoofed).await.passed().of_key(), []);
    authority.kill().await;
    assert_eq!(closed.get("/", &spoofed).await.code, 503);
    assert_eq!(open.get("/", &spoofed).await.passed().of_key(), []);
}

async fn a_replica_without_a_lease_is_passed_by(database: Database) {
    let first = Setup::on(database).linked().start().await;
    let second = first.another(|setup| setup).await;
    let token = labelled_key(&first).await.token;
    let endpoint = |port: &str| {
        format!("- endpoint: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }} }}")
    };
    let port = second.grpc().rsplit(':').next().unwrap();
    let both = format!("{}\n        {}", endpoint("50051"), endpoint(port));
    let envoy = Envoy::start_with(&first, &[(&endpoint("50051"), &both)]).await;
    let knows_of = async |count| {
        let known = async || (envoy.replicas().await == Some(count)).then_some(());
        eventually(&format!("Envoy knows of {count} that can tell"), known).await;
    };
    knows_of(2.0).await;
    first.link().cut();
    first.await_health(SERVICE, ServingStatus::NotServing).await;
    knows_of(1.0).await;
    for _ in 0..20 {
        envoy.get_with(&token, "/").await.passed();
    }
}

on_sqlite! {
    a_request_passes_without_its_token_and_with_its_key,
    each_denial_says_why,
    a_client_is_where_its_connection_comes_from,
    a_revoked_key_is_denied_when_the_call_has_returned,
    nobody_passes_for_another,
    no_byte_of_a_client_opens_a_door_that_an_outage_would,
    while_nobody_can_tell_the_proxy_does_what_it_was_told,
}

mod servers {
    use super::*;
    on_database_servers! {
        a_replica_without_a_lease_is_passed_by,
    }
}
