//! Visitors that try to pass for another, or to reach a route that demands more than they have.

use std::collections::BTreeSet;

use super::proxy::{Proxy, bearer};
use super::{IDENTITY, reader};
use crate::support::upstream::Reply;
use crate::support::{Authority, on_sqlite};

/// Names that a proxy removes, and that the service therefore never receives.
const SPOOFED: &[&str] = &[
    "x-key-id: root",
    "X-Key-Id: root",
    "X-KEY-ACCOUNT: root",
    "X-Key-Scopes: admin",
    "X-Key-Label-Team: root",
    "X-Key-Label-Anything: root",
    "X-Key-New: root",
    "X-Key-Label_Team: root",
    "X-Key-Authority-Caller: Bearer root",
    "X-Key-Authority-Denial: root",
    "X_Key_Id: root",
    "x_key-id: root",
    "X-KEY_ID: root",
    "Connection: X-Key-Id, X-Key-Scopes, X-Key-Authority-Caller",
    "Connection: x-key-id\r\nConnection: close, X-KEY-ACCOUNT",
    "X-A: b\nX-Key-Id: root",
];
/// Names that some servers take for `X-Key-Id`, and forms that are no headers. They are removed or rejected.
const STRANGE: &[&[u8]] = &[
    b"X.Key.Id: root",
    b"X!Key!Id: root",
    b"X~Key~Scopes: admin",
    b"X-Key.Id: root",
    b"X-Key-Id : root",
    b"X-Key-Id\t: root",
    b" X-Key-Id: root",
    b"X-Key-Id\x00: root",
    b"X-Key-Id",
    b"X-A: b\rX-Key-Id: root",
    b"X-A: b\x00X-Key-Id: root",
    b"X-Key-Id: root\r\n\r\nGET /healthz HTTP/1.1\r\nX-Key-Id: root",
    b": root",
];

async fn no_visitor_passes_for_another(authority: Authority) {
    let token = bearer(&reader(&authority).await.token);
    for proxy in Proxy::all(&authority).await {
        let kind = proxy.kind;
        for spoofed in SPOOFED {
            for headers in [[&token, *spoofed], [*spoofed, &token]] {
                assert_eq!(proxy.get("/", &headers).await.passed().of_key(), IDENTITY, "{kind:?}: {spoofed}");
            }
            assert_eq!(proxy.get("/healthz", &[spoofed]).await.passed().of_key(), [], "{kind:?}: {spoofed}");
            let reply = proxy.get("/", &[spoofed]).await;
            assert_eq!(reply.code, 401, "{kind:?}: {spoofed}: {reply:?}");
        }
        let all = [&[&*token], SPOOFED].concat();
        assert_eq!(proxy.get("/", &all).await.passed().of_key(), IDENTITY, "{kind:?}");
        for strange in STRANGE {
            let shown = String::from_utf8_lossy(strange);
            let reply = proxy.get_bytes(b"/", &[token.as_bytes(), strange]).await;
            match reply.code {
                200 => assert_eq!(reply.passed().of_key(), IDENTITY, "{kind:?}: {shown}"),
                code => assert!([400, 401].contains(&code), "{kind:?}: {shown}: {reply:?}"),
            }
            let without = proxy.get_bytes(b"/", &[strange]).await.code;
            assert!([400, 401].contains(&without), "{kind:?}: {shown}: {without}");
        }
    }
}

/// Paths that could be `/admin` or `/healthz` to a proxy, and something else to a service, or the other way round.
const PATHS: &[&str] = &[
    "/admin",
    "/admin/",
    "/admin/x",
    "/Admin",
    "/ADMIN/x",
    "/admin;x",
    "/admin;x/y",
    "/admin?x",
    "/admin#x",
    "/%61dmin",
    "/%61%64%6d%69%6e",
    "/%41dmin/x",
    "/a/../admin",
    "/a/./../admin/x",
    "/./admin",
    "/admin/.",
    "/admin/..",
    "/admin/../x",
    "/a/%2e%2e/admin",
    "/a/%2E%2e/admin",
    "/a/.%2e/admin",
    "/%2e/admin",
    "/a/..%2fadmin",
    "/a%2f..%2fadmin",
    "/%2fadmin",
    "/admin%2fx",
    "/admin%2F..%2fx",
    "//admin",
    "///admin//x",
    "//other/admin",
    "/a//../admin",
    "/a/..;/admin",
    "/a/.;/../admin",
    "/..;/admin",
    "/a/..;x=y/admin",
    "/a/..\\admin",
    "/a\\..\\admin",
    "\\admin",
    "/\\admin",
    "/a/..%5cadmin",
    "/a%5c..%5cadmin",
    "/admin%00",
    "/admin%00/x",
    "/a/%00/../admin",
    "/%252e%252e/admin",
    "/a/%252e%252e%252fadmin",
    "/%2561dmin",
    "/admin%3fx",
    "/admin%23x",
    "/admin%3bx",
    "/admin%20",
    "/admin%09",
    "/admin.",
    "/%",
    "/%zz",
    "/%c0%ae%c0%ae/admin",
    "/x%0d%0aX-Key-Id:%20root",
    "/x%0aX-Key-Id:%20root%0a",
    "/x HTTP/1.1\r\nX-Key-Id: root\r\nX-A:",
    "/x y",
    "http://other/admin",
    "http://other/x",
    "http://test/a/../admin",
    "http://test//admin",
    "https://other/admin",
    "http:///admin",
    "*",
    "admin",
    "",
    "?",
    "/x?/../admin",
    "/?%0d%0aX-Key-Id:%20root",
    "/healthz/../x",
    "/healthz/../admin",
    "/healthz%2f..%2fadmin",
    "/healthz/",
    "/healthz/x",
    "/healthz;x",
    "/healthz;/../admin",
    "/healthz%00",
    "/healthz%3f",
    "/healthz#/../admin",
    "/HEALTHZ",
    "//healthz",
    "/a/../healthz",
    "/%68ealthz",
    "/-/decide/read",
    "/-/decide/read+admin",
    "/-/decide/",
    "/-/decide/%72ead",
    "//-/decide/read",
    "/forward-auth",
    "/forward-auth?account=acme",
    "/ping",
    "/@denied",
    "/@not_decided",
];

/// Those of [`PATHS`], and those that are no text or long.
fn paths() -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = PATHS.iter().map(|path| path.as_bytes().to_vec()).collect();
    paths.extend(
        [&b"/admin\x00"[..], b"/a\x00/../admin", b"/\xff", b"/\xff/../admin", b"/a\tb", b"/a\x0bb"].map(<[u8]>::to_vec),
    );
    for length in [4_000, 8_000, 16_000, 60_000] {
        paths.push([b"/".to_vec(), vec![b'a'; length]].concat());
        paths.push([b"/?".to_vec(), vec![b'a'; length]].concat());
        paths.push([b"/".to_vec(), b"a/../".repeat(length / 5), b"admin".to_vec()].concat());
    }
    paths
}

/// What services with other rules for paths could take a path for: each list of rules that any of them follows.
fn readings(path: &str) -> BTreeSet<String> {
    let path = path.split('?').next().unwrap_or_default().to_lowercase();
    let decoded = decode(&path);
    let twice = decode(&decoded);
    let mut readings = BTreeSet::new();
    for path in [path, decoded, twice] {
        for path in
            [path.clone(), path.replace('\\', "/"), path.split(['#', '\0']).next().unwrap_or_default().to_owned()]
        {
            for without_parameters in [false, true] {
                let mut segments = Vec::new();
                for segment in path.split('/') {
                    let segment =
                        if without_parameters { segment.split(';').next().unwrap_or_default() } else { segment };
                    match segment {
                        "" | "." => {}
                        ".." => drop(segments.pop()),
                        _ => segments.push(segment),
                    }
                }
                readings.insert(format!("/{}", segments.join("/")));
            }
            readings.insert(path);
        }
    }
    readings
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Whether a service could take this path for one that demands the scope `admin`.
fn may_be_admin(path: &str) -> bool {
    readings(path).iter().any(|path| path == "/admin" || path.starts_with("/admin/") || path.starts_with("/admin;"))
}

/// Fails unless the request was rejected in a way that is neither an outage nor a redirection.
#[track_caller]
fn assert_rejected(reply: &Reply, context: &str) {
    assert!([400, 401, 403, 404, 414, 431].contains(&reply.code), "{context}: {reply:?}");
}

async fn no_path_leads_around_what_its_route_demands(authority: Authority) {
    let token = bearer(&reader(&authority).await.token);
    for proxy in Proxy::all(&authority).await {
        let mut passed = 0;
        for path in paths() {
            let shown = String::from_utf8_lossy(&path);
            let context = format!("{:?}: {}", proxy.kind, &shown[..shown.floor_char_boundary(80)]);
            let anonymous = proxy.get_bytes(&path, &[]).await;
            if anonymous.code == 200 {
                let seen = anonymous.passed();
                assert_eq!(seen.of_key(), [], "{context}");
                let open = readings(&seen.path);
                assert!(open.contains("/healthz") && !may_be_admin(&seen.path), "{context}: {seen:?}");
            } else {
                assert_rejected(&anonymous, &context);
            }
            let known = proxy.get_bytes(&path, &[token.as_bytes()]).await;
            if known.code == 200 {
                let seen = known.passed();
                let identity = if anonymous.code == 200 { &[][..] } else { &IDENTITY };
                assert_eq!(seen.of_key(), identity, "{context}");
                assert!(!may_be_admin(&seen.path), "{context}: without the scope admin: {seen:?}");
                passed += 1;
            } else {
                assert_rejected(&known, &context);
            }
        }
        assert!(passed > 10, "{:?}: ordinary paths pass: {passed}", proxy.kind);
        // Long, but ordinary.
        let path = format!("/{}?{}", "a".repeat(2_000), "b".repeat(5_000));
        assert_eq!(proxy.get(&path, &[&token]).await.passed().path, path, "{:?}", proxy.kind);
    }
}

#[test]
fn every_reading_of_a_path_is_considered() {
    for path in
        ["/admin", "/a/..;/admin", "/%61dmin", "/a/%252e%252e/admin", "/a\\..\\admin", "/admin%00x", "//admin/x"]
    {
        assert!(may_be_admin(path), "{path}");
    }
    for path in ["/administrators", "/x?/admin", "/admin.", "/a/admin"] {
        assert!(!may_be_admin(path), "{path}");
    }
}

on_sqlite! {
    no_visitor_passes_for_another,
    no_path_leads_around_what_its_route_demands,
}
