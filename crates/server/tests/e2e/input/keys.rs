//! Bad input to the RPCs about keys.

use std::collections::BTreeMap;

use key_authority_proto::v1::*;
use prost_types::Timestamp;

use super::*;
use crate::support::client::{connection_of, key_for, mask};
use crate::support::{Authority, Client, later, on_every_database};

fn labels(names: Vec<String>, value: &str) -> BTreeMap<String, String> {
    names.into_iter().map(|name| (name, value.to_owned())).collect()
}

#[expect(clippy::unnecessary_wraps, reason = "as the fields of requests have it")]
fn projects(only: Vec<String>) -> Option<ProjectAccess> {
    Some(ProjectAccess { all: false, only })
}

fn networks(count: u32) -> Vec<String> {
    (0..count).map(|number| format!("10.{}.{}.0/24", number / 200, number % 200)).collect()
}

/// The fields that a key has when it is created and that can be changed afterwards.
fn content_cases() -> Vec<Case<CreateKeyRequest>> {
    let base = &key_for("acme");
    let scopes = |scopes: &[&str]| texts_of(scopes);
    let wide = |count| (0..count).map(|number| format!("{}{number:04}", keys(252))).collect::<Vec<_>>();
    vec![
        case("display_name", base, |r, v| r.display_name = v, good_names(), bad_names()),
        case(
            "description",
            base,
            |r, v| r.description = v,
            [texts(["", "a\n\tb"]), vec![keys(2000)]].concat(),
            [texts(["a\r\nb", "\0", "\u{1b}[31m"]), vec![keys(2001)]].concat(),
        ),
        case(
            "scopes",
            base,
            |r, v| r.scopes = v,
            vec![scopes(&["a", "a", "https://example.org/x?y=%20#z"]), vec![keys(128)], numbered(100)],
            vec![
                scopes(&["a", ""]),
                scopes(&["a b"]),
                scopes(&["a\tb"]),
                scopes(&["\0"]),
                vec![keys(129)],
                numbered(101),
            ],
        ),
        case(
            "projects",
            base,
            |r, v| r.projects = v,
            vec![projects(vec![]), projects(texts(["a b", "é / ✂"])), projects(numbered(1000)), projects(wide(28))],
            vec![
                projects(texts([""])),
                projects(texts(["a\nb"])),
                projects(vec![keys(257)]),
                projects(numbered(1001)),
                // Each is 1,012 bytes: together more than a key may have.
                projects(wide(49)),
                Some(ProjectAccess { all: true, only: texts(["a"]) }),
            ],
        ),
        case(
            "labels",
            base,
            |r, v| r.labels = v,
            vec![
                labels(numbered(64), ""),
                labels(vec!["x".repeat(63)], &keys(256)),
                labels(texts(["a.b_c/d-e", "0", "-"]), "a b: c"),
            ],
            vec![
                labels(numbered(65), ""),
                labels(vec!["x".repeat(64)], ""),
                labels(texts([""]), ""),
                labels(texts(["a b"]), ""),
                labels(texts(["é"]), ""),
                labels(texts(["a"]), &keys(257)),
                labels(texts(["a"]), "a\nb"),
            ],
        ),
        case(
            "allowed_networks",
            base,
            |r, v| r.allowed_networks = v,
            vec![networks(100), texts(["0.0.0.0/0", "::/0", "::1", "192.0.2.1", "2001:db8::/32"])],
            vec![
                networks(101),
                texts([""]),
                texts(["10.0.0.0/8", "10.0.0.1/8"]),
                texts(["10.0.0.0/33"]),
                texts(["10.0.0/8"]),
                texts(["2001:db8::1/32"]),
                texts(["::/129"]),
                texts(["fe80::1%eth0"]),
                texts(["example.org"]),
                texts([" 10.0.0.0/8"]),
            ],
        ),
    ]
}

fn texts_of(values: &[&str]) -> Vec<String> {
    values.iter().map(|&value| value.to_owned()).collect()
}

/// Instants for an expiry, by the database's clock.
async fn expire_times(client: &Client) -> (Vec<Timestamp>, Vec<Timestamp>) {
    let now = client.key_in("acme").await.key.create_time;
    let at = |seconds| later(now, seconds).unwrap();
    let good = vec![at(60), at(99 * YEAR)];
    (good, [bad_times(), vec![at(-1), at(0), at(101 * 366 * 86_400), Timestamp::default()]].concat())
}

async fn create_key_takes_what_its_limits_allow(authority: Authority) {
    use create_key_request::Expiry;

    let client = authority.client();
    let long = "x".repeat(64);
    for account in ["acme", &long] {
        client.new_account(account, KeyPolicy::default()).await;
    }
    let base = &key_for("acme");
    let (good, bad) = expire_times(&client).await;
    let mut cases = content_cases();
    cases.extend([
        case("account", base, |r, v| r.account = v, vec![long], bad_required_ids()),
        case("key_id", base, |r, v| r.key_id = v, [good_ids(), texts([""])].concat(), bad_ids()),
        case("lifetime", base, |r, v| r.expiry = Some(Expiry::Lifetime(v)), good_lifetimes(), bad_lifetimes()),
        case("expire_time", base, |r, v| r.expiry = Some(Expiry::ExpireTime(v)), good, bad),
        case("request_id", base, |r, v| r.request_id = v, good_request_ids(), bad_request_ids()),
    ]);
    check(cases, async |request| {
        let created = client.create_key(request).await?.key.unwrap();
        assert_eq!(client.key(&created.id).await, created, "it is read as it was written");
        Ok(())
    })
    .await;
}

async fn update_key_takes_what_its_limits_allow(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let key_id = client.key_in("acme").await.id();
    let request = |key: Key, path: &str| UpdateKeyRequest {
        key: Some(Key { id: key_id.clone(), ..key }),
        update_mask: mask(&[path]),
        ..Default::default()
    };
    let content = |request_path: &'static str, create: CreateKeyRequest| {
        let CreateKeyRequest { display_name, description, scopes, projects, labels, allowed_networks, .. } = create;
        let key = Key { display_name, description, scopes, projects, labels, allowed_networks, ..Key::default() };
        request(key, request_path)
    };
    let path = |field: &str| -> &'static str {
        ["key.display_name", "key.description", "key.scopes", "key.projects", "key.labels", "key.allowed_networks"]
            .into_iter()
            .find(|path| path.strip_prefix("key.") == Some(field))
            .expect("a field of a key")
    };
    let to_update = |(field, good, bad): Case<CreateKeyRequest>| {
        let map = |creates: Vec<_>| creates.into_iter().map(|create| content(field, create)).collect();
        (path(field), map(good), map(bad))
    };
    let mut cases: Vec<_> = content_cases().into_iter().map(to_update).collect();
    let (good, bad) = expire_times(&client).await;
    let base = &request(Key::default(), "expire_time");
    let nameless = UpdateKeyRequest { key: None, ..base.clone() };
    cases.extend([
        case("key.expire_time", base, |r, v| r.key.as_mut().unwrap().expire_time = Some(v), good, bad),
        case("key.id", base, |r, v| r.key.as_mut().unwrap().id = v, vec![], bad_required_ids()),
        case("request_id", base, |r, v| r.request_id = v, good_request_ids(), bad_request_ids()),
        ("key", vec![], vec![nameless]),
    ]);
    check(cases, async |request| {
        let updated = client.update_key(request).await?.key.unwrap();
        assert_eq!(client.key(&updated.id).await, updated, "it is read as it was written");
        Ok(())
    })
    .await;
}

async fn renew_key_takes_what_its_limits_allow(authority: Authority) {
    use renew_key_request::Expiry;

    let client = authority.client();
    let max_overlap = Some(span(100 * YEAR, 0));
    client.new_account("acme", KeyPolicy { max_overlap, ..Default::default() }).await;
    let base = &RenewKeyRequest { key_id: client.key_in("acme").await.id(), ..Default::default() };
    let (good, bad) = expire_times(&client).await;
    let overlaps = vec![span(0, 0), span(0, 1), span(30 * 86_400, 0), span(100 * YEAR, 0)];
    // The last good lifetime leaves the key with one, so that the cases after it can renew it.
    let cases = vec![
        case("key_id", base, |r, v| r.key_id = v, vec![], bad_required_ids()),
        case("overlap", base, |r, v| r.overlap = Some(v), overlaps, bad_spans()),
        case("lifetime", base, |r, v| r.expiry = Some(Expiry::Lifetime(v)), vec![span(100 * YEAR, 0)], bad_lifetimes()),
        case("expire_time", base, |r, v| r.expiry = Some(Expiry::ExpireTime(v)), good, bad),
        case("request_id", base, |r, v| r.request_id = v, good_request_ids(), bad_request_ids()),
    ];
    check(cases, async |request| client.renew_key(request).await).await;
    let version = client.key(&base.key_id).await.secrets[0].version;
    assert_eq!(version, 1 + 4 + 1 + 2 + 3, "the refused ones made no secret");
}

async fn the_other_calls_about_a_key_take_what_their_limits_allow(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy { recoverable: true, ..Default::default() }).await;
    let key_id = client.key_in("acme").await.id();
    let (ids, no_ids) = (vec![key_id.clone()], bad_required_ids);
    let get = case("key_id", &GetKeyRequest::default(), |r, v| r.key_id = v, ids.clone(), no_ids());
    check(vec![get], async |request| client.get_key(request).await).await;
    let reveal = case("key_id", &RevealTokenRequest::default(), |r, v| r.key_id = v, ids.clone(), no_ids());
    check(vec![reveal], async |request| client.reveal_token(request).await).await;

    let base = DisableKeyRequest { key_id: key_id.clone(), ..Default::default() };
    let disable = vec![
        case("key_id", &base, |r, v| r.key_id = v, ids.clone(), no_ids()),
        case("request_id", &base, |r, v| r.request_id = v, vec!["~".repeat(128)], bad_request_ids()),
    ];
    check(disable, async |request| client.disable_key(request).await).await;
    let base = EnableKeyRequest { key_id: key_id.clone(), ..Default::default() };
    let enable = vec![
        case("key_id", &base, |r, v| r.key_id = v, ids.clone(), no_ids()),
        case("request_id", &base, |r, v| r.request_id = v, vec![], bad_request_ids()),
    ];
    check(enable, async |request| client.enable_key(request).await).await;

    let base = RevokeKeyRequest { key_id: key_id.clone(), ..Default::default() };
    let reasons = vec![keys(500), "line one\n\tline two".into()];
    let revoke = vec![
        case("key_id", &base, |r, v| r.key_id = v, vec![], no_ids()),
        case("reason", &base, |r, v| r.reason = v, reasons, [texts(["\0", "a\rb"]), vec![keys(501)]].concat()),
        case("request_id", &base, |r, v| r.request_id = v, vec![], bad_request_ids()),
    ];
    check(revoke, async |request| client.revoke_key(request).await).await;
    assert_eq!(client.key(&key_id).await.revoke_reason, keys(500));

    let base = DeleteKeyRequest { key_id: key_id.clone(), ..Default::default() };
    let delete = vec![
        case("request_id", &base, |r, v| r.request_id = v, vec![], bad_request_ids()),
        case("key_id", &base, |r, v| r.key_id = v, ids, no_ids()),
    ];
    check(delete, async |request| client.delete_key(request).await).await;
}

async fn connect_instructions_take_what_their_limits_allow(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy { recoverable: true, ..Default::default() }).await;
    let key_id = client.key_in("acme").await.id();
    let base = &connection_of("acme");
    let long_url = |len| format!("https://example.com/{}", "x".repeat(len - "https://example.com/".len()));
    let good_urls = [texts(["http://127.0.0.1:1", "https://[::1]/a%20b?c=${d}&e='"]), vec![long_url(2000)]].concat();
    let bad_urls = texts([
        "",
        "example.com",
        "ftp://example.com",
        "https://a b",
        "https://example.com\n",
        "https://u:p@example.com",
        "https://example.com#f",
        "https://example.com?api_key=x",
        "https://a$b",
    ]);
    let names = vec!["0".into(), "A-b_c".into(), "x".repeat(64)];
    let bad_names = texts(["", "-a", "_a", "a b", "a.b", "a\n", "é", "$(x)", "workspace"]);
    let cases = vec![
        case("account", base, |r, v| r.account = v, texts(["acme"]), bad_required_ids()),
        case("client", base, |r, v| r.client = v, (0..=6).collect(), vec![-1, 7, i32::MAX, i32::MIN]),
        case("server_name", base, |r, v| r.server_name = v, names, [bad_names, vec!["x".repeat(65)]].concat()),
        case("url", base, |r, v| r.url = v, good_urls, [bad_urls, vec![long_url(2001)]].concat()),
        case("key_id", base, |r, v| r.key_id = v, vec![key_id.clone(), String::new()], bad_ids()),
        case("request_id", base, |r, v| r.request_id = v, good_request_ids(), bad_request_ids()),
    ];
    let connect = async |request| client.prepare_connection(request).await;
    check(cases, connect).await;
    let both = PrepareConnectionRequest { key_id, ..base.clone() };
    check(vec![case("create_if_none", &both, |r, v| r.create_if_none = v, vec![false], vec![true])], connect).await;
}

async fn list_keys_takes_what_its_limits_allow(authority: Authority) {
    let client = authority.client();
    let long = "x".repeat(64);
    client.new_account(&long, KeyPolicy::default()).await;
    let base = &ListKeysRequest { account: long.clone(), ..Default::default() };
    let active = i32::from(KeyState::Active);
    let cases = vec![
        case("account", base, |r, v| r.account = v, vec![long, String::new()], bad_ids()),
        case(
            "states",
            base,
            |r, v| r.states = v,
            vec![vec![1, 2, 3, 4], vec![active; 100]],
            vec![vec![0], vec![active, 5], vec![-1], vec![active; 101]],
        ),
        case("project", base, |r, v| r.project = v, vec![keys(256)], vec![keys(257)]),
        case("page_size", base, |r, v| r.page_size = v, vec![0, 1, 1000], vec![-1, 1001, i32::MIN, i32::MAX]),
        case("page_token", base, |r, v| r.page_token = v, vec![], texts(["x", " "])),
    ];
    check(cases, async |request| client.list_keys(request).await).await;
    // No key covers it, and no database must choke on it.
    if let Err(status) = client.list_keys(ListKeysRequest { project: "a\0b".into(), ..base.clone() }).await {
        crate::support::expect::invalid_status(&status, "project");
    }
}

on_every_database! {
    create_key_takes_what_its_limits_allow,
    update_key_takes_what_its_limits_allow,
    renew_key_takes_what_its_limits_allow,
    the_other_calls_about_a_key_take_what_their_limits_allow,
    connect_instructions_take_what_their_limits_allow,
    list_keys_takes_what_its_limits_allow,
}
