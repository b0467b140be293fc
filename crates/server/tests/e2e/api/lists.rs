//! `ListKeys` and `ListAccounts`: order, pages, filters.

use key_authority_proto::v1::*;
use prost::Message as _;

use crate::support::client::{key_for, mask, only};
use crate::support::{
    Authority, Client, Database, assert_same_set, days, eventually, invalid, on_every_database, seconds,
};

/// Creates an account with so many keys and returns their IDs, the newest first.
async fn filled(client: &Client, account: &str, count: usize) -> Vec<String> {
    client.new_account(account, KeyPolicy::default()).await;
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.insert(0, client.key_in(account).await.id());
    }
    ids
}

fn list(account: &str) -> ListKeysRequest {
    ListKeysRequest { account: account.into(), ..Default::default() }
}

/// All pages of a query: their lengths, and the IDs.
async fn pages(client: &Client, query: ListKeysRequest) -> (Vec<usize>, Vec<String>) {
    let (mut lengths, mut ids, mut page_token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = client.list_keys(ListKeysRequest { page_token, ..query.clone() }).await.unwrap();
        lengths.push(page.keys.len());
        ids.extend(page.keys.into_iter().map(|key| key.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return (lengths, ids);
        }
    }
}

async fn keys_come_in_pages_the_newest_first(authority: Authority) {
    let client = authority.client();
    let ids = filled(&client, "acme", 6).await;
    for page_size in [1, 2, 3, 4, 6, 1000] {
        let (lengths, listed) = pages(&client, ListKeysRequest { page_size, ..list("acme") }).await;
        assert_eq!(listed, ids, "pages of {page_size}");
        let longest = usize::try_from(page_size).unwrap();
        assert!(lengths.iter().all(|length| (1..=longest).contains(length)), "pages of {page_size}: {lengths:?}");
    }
    // `page_size` may change from page to page, and what is created meanwhile shifts nothing.
    let first = client.list_keys(ListKeysRequest { page_size: 2, ..list("acme") }).await.unwrap();
    client.key_in("acme").await;
    let rest = ListKeysRequest { page_size: 5, page_token: first.next_page_token, ..list("acme") };
    let rest = client.list_keys(rest).await.unwrap();
    let listed: Vec<_> = first.keys.into_iter().chain(rest.keys).map(|key| key.id).collect();
    assert_eq!((listed, rest.next_page_token.as_str()), (ids, ""));
    let empty = filled(&client, "empty", 0).await;
    assert_eq!(pages(&client, list("empty")).await, (vec![0], empty));
}

async fn a_page_holds_fifty_keys_if_nothing_is_said(authority: Authority) {
    let client = authority.client();
    let ids = filled(&client, "acme", 51).await;
    assert_eq!(pages(&client, list("acme")).await, (vec![50, 1], ids));
}

async fn a_page_token_fits_only_the_query_it_was_made_with(authority: Authority) {
    let client = authority.client();
    filled(&client, "acme", 3).await;
    filled(&client, "other", 3).await;
    let query = ListKeysRequest { page_size: 1, ..list("acme") };
    let page_token = client.list_keys(query.clone()).await.unwrap().next_page_token;
    let with =
        |query: &ListKeysRequest, page_token: &str| ListKeysRequest { page_token: page_token.into(), ..query.clone() };

    let active = vec![KeyState::Active.into()];
    for other in [
        list("other"),
        list(""),
        ListKeysRequest { states: active, ..list("acme") },
        ListKeysRequest { project: "p".into(), ..list("acme") },
    ] {
        let rule = invalid(client.list_keys(with(&other, &page_token)).await, "page_token");
        assert!(!rule.contains(&page_token));
    }
    let accounts = ListAccountsRequest { page_token: page_token.clone(), ..Default::default() };
    invalid(client.list_accounts(accounts).await, "page_token");
    let events = ListAuditEventsRequest { page_token: page_token.clone(), ..Default::default() };
    invalid(client.list_audit_events(events).await, "page_token");
    let (_, another_caller) = authority.new_caller(&["keys.read"], None).await;
    invalid(another_caller.list_keys(with(&query, &page_token)).await, "page_token");

    // Altered in one place, cut, longer, or made up.
    for at in 0..page_token.len() {
        let mut altered = page_token.clone().into_bytes();
        altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
        // The last character of base64 may hold bits that mean nothing.
        let altered = String::from_utf8(altered).unwrap();
        if at + 2 < page_token.len() {
            invalid(client.list_keys(with(&query, &altered)).await, "page_token");
        }
    }
    let longer = format!("{page_token}AAAA");
    for made_up in [&page_token[..page_token.len() / 2], &longer, "x", "🔑", "\u{0}", &"A".repeat(5000)] {
        invalid(client.list_keys(with(&query, made_up)).await, "page_token");
    }
    client.list_keys(with(&query, &page_token)).await.unwrap();
}

/// Makes the projects of a key larger than a key can be created with, as an earlier build allowed it: `bytes` in all.
fn oversize(authority: &Authority, key: &str, bytes: usize) {
    let projects: Vec<_> = (0..bytes / 250).map(|number| format!("\"{number:0>250}\"")).collect();
    let no = if authority.database().database == Database::Postgres { "false" } else { "0" };
    let sql =
        format!("UPDATE api_key SET all_projects = {no}, projects = '[{}]' WHERE id = '{key}'", projects.join(","));
    authority.database().sql(&sql);
}

async fn pages_of_oversize_keys_are_cut_by_bytes(authority: Authority) {
    let client = authority.client();
    let ids = filled(&client, "acme", 60).await;
    oversize(&authority, &ids[0], 100_000);
    let large = format!("(SELECT projects FROM (SELECT projects FROM api_key WHERE id = '{}') AS large)", ids[0]);
    authority.database().sql(&format!("UPDATE api_key SET projects = {large} WHERE account = 'acme'"));
    let (no, yes) = if authority.database().database == Database::Postgres { ("false", "true") } else { ("0", "1") };
    authority
        .database()
        .sql(&format!("UPDATE api_key SET all_projects = {no} WHERE account = 'acme' AND all_projects = {yes}"));
    let (lengths, listed) = pages(&client, ListKeysRequest { page_size: 1000, ..list("acme") }).await;
    assert_eq!((lengths.len(), listed), (2, ids.clone()), "{lengths:?}");
    let page = client.list_keys(ListKeysRequest { page_size: 1000, ..list("acme") }).await.unwrap();
    let bytes = page.encoded_len();
    assert!((3 << 20..7 << 19).contains(&(bytes - page.next_page_token.len() - 3)), "{bytes} bytes");
    assert_eq!(page.keys[0].projects.as_ref().unwrap().only.len(), 400);

    // The log has the texts of a key twice in each event.
    for id in &ids[..20] {
        client.revoke(id).await;
    }
    let mut request = ListAuditEventsRequest { account: "acme".into(), page_size: 1000, ..Default::default() };
    let (mut pages, mut events) = (0, 0);
    loop {
        let page = client.list_audit_events(request.clone()).await.unwrap();
        assert!(page.encoded_len() <= 4 << 20);
        (pages, events) = (pages + 1, events + page.events.len());
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    assert_eq!((pages > 1, events), (true, 1 + 60 + 20));
}

async fn an_oversize_key_is_valid_and_can_end_but_cannot_grow(mut authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let key = client.key_in("acme").await;
    oversize(&authority, &key.id(), 60_000);
    assert!(authority.stop().await.success());
    authority.restart().await;
    let client = authority.client();
    assert_eq!(client.verdict_in(&key.token, &format!("{:0>250}", 7)).await, Verdict::Valid);
    let update = async |changed: Key, path: &str| {
        let request = UpdateKeyRequest {
            key: Some(Key { id: key.id(), ..changed }),
            update_mask: mask(&[path]),
            ..Default::default()
        };
        client.update_key(request).await
    };
    let grown = update(Key { description: "x".into(), ..Key::default() }, "description").await;
    let rule = invalid(grown, "key.projects");
    assert!(rule.contains("at most 40960 bytes"), "{rule}");
    let only = client.key(&key.id()).await.projects.unwrap().only;
    let smaller = Key { projects: Some(ProjectAccess { all: false, only: only[1..].to_vec() }), ..Key::default() };
    update(smaller, "projects").await.unwrap();
    update(Key { description: "x".into(), ..Key::default() }, "description").await.unwrap_err();
    let renewed = client.renew_key(RenewKeyRequest { key_id: key.id(), ..Default::default() }).await.unwrap();
    assert_eq!(client.verdict_in(&renewed.token, &format!("{:0>250}", 7)).await, Verdict::Valid);
    client.disable_key(DisableKeyRequest { key_id: key.id(), ..Default::default() }).await.unwrap();
    client.enable_key(EnableKeyRequest { key_id: key.id(), ..Default::default() }).await.unwrap();
    client.revoke(&key.id()).await;
    client.delete_key(DeleteKeyRequest { key_id: key.id(), ..Default::default() }).await.unwrap();
}

async fn keys_are_listed_by_state(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let soon = create_key_request::Expiry::Lifetime(seconds(1).unwrap());
    let expired = client.new_key(CreateKeyRequest { expiry: Some(soon), ..key_for("acme") }).await.id();
    let disabled = client.new_key(CreateKeyRequest { disabled: true, ..key_for("acme") }).await.id();
    let revoked = client.key_in("acme").await.id();
    client.revoke(&revoked).await;
    let active = client.key_in("acme").await.id();
    eventually("a second passes", async || (client.key(&expired).await.state() == KeyState::Expired).then_some(()))
        .await;

    let of = async |states: &[KeyState]| {
        let states = states.iter().map(|&state| state.into()).collect();
        pages(&client, ListKeysRequest { states, page_size: 1, ..list("acme") }).await.1
    };
    let each = [KeyState::Active, KeyState::Revoked, KeyState::Disabled, KeyState::Expired];
    for (state, key_id) in each.into_iter().zip([&active, &revoked, &disabled, &expired]) {
        assert_eq!(of(&[state]).await, std::slice::from_ref(key_id), "{state:?}");
    }
    let ended = [KeyState::Expired, KeyState::Revoked, KeyState::Expired];
    assert_eq!(of(&ended).await, [revoked.clone(), expired.clone()]);
    assert_eq!(of(&[]).await, [active, revoked, disabled, expired]);
}

async fn keys_are_listed_by_project(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let all = client.key_in("acme").await.id();
    let mut with = Vec::new();
    for projects in [&["p1"][..], &["p1", "P1", "p 2"], &[]] {
        with.push(client.new_key(CreateKeyRequest { projects: only(projects), ..key_for("acme") }).await.id());
    }
    let of = async |project: &str| {
        pages(&client, ListKeysRequest { project: project.into(), page_size: 1, ..list("acme") }).await.1
    };
    assert_eq!(of("p1").await, [with[1].clone(), with[0].clone(), all.clone()], "those that cover all included");
    assert_eq!(of("P1").await, [with[1].clone(), all.clone()], "byte for byte");
    assert_eq!(of("p 2").await, [with[1].clone(), all.clone()]);
    for nobodys in ["p", "p1%", "p_", "\"", "p2", "é"] {
        assert_eq!(of(nobodys).await, std::slice::from_ref(&all), "{nobodys:?}");
    }
    assert_eq!(of("").await.len(), 4);
}

async fn accounts_come_in_pages_the_newest_first(authority: Authority) {
    let client = authority.client();
    for id in ["c", "a", "b"] {
        client.new_account(id, KeyPolicy::default()).await;
    }
    let (mut ids, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = client.list_accounts(ListAccountsRequest { page_size: 1, page_token }).await.unwrap();
        assert_eq!(page.accounts.len(), 1);
        ids.extend(page.accounts.into_iter().map(|account| account.id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(ids, ["b", "a", "c", "system"]);
    let all = client.list_accounts(ListAccountsRequest::default()).await.unwrap();
    assert_eq!((all.accounts.len(), all.next_page_token.as_str()), (4, ""));

    let (_, limited) = authority.new_caller(&["accounts.read"], Some(&["a", "c", "nobody"])).await;
    let seen = limited.list_accounts(ListAccountsRequest::default()).await.unwrap().accounts;
    assert_same_set(seen.into_iter().map(|account| account.id), ["a".to_owned(), "c".to_owned()]);
}

async fn keys_are_filtered_and_ordered(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let (caller, another) = authority.new_caller(&["keys.write"], None).await;
    let named = |name: &str, days_left: i64| CreateKeyRequest {
        key_id: format!("{name}-key"),
        display_name: name.into(),
        labels: [("owner".to_owned(), name.to_owned())].into(),
        expiry: days(days_left).filter(|_| days_left > 0).map(create_key_request::Expiry::Lifetime),
        ..key_for("acme")
    };
    let beta = client.new_key(named("beta", 2)).await;
    client.new_key(named("alpha", 0)).await;
    another.new_key(named("gamma", 1)).await;
    let listed = async |query: ListKeysRequest| {
        let one = pages(&client, ListKeysRequest { page_size: 1, ..query.clone() }).await.1;
        let all = pages(&client, query).await.1;
        assert_eq!(one, all);
        all.iter().map(|id| id.trim_end_matches("-key").to_owned()).collect::<Vec<_>>()
    };
    let order = |order_by: &str| ListKeysRequest { order_by: order_by.into(), ..list("acme") };
    assert_eq!(listed(order("")).await, ["gamma", "alpha", "beta"]);
    assert_eq!(listed(order("create_time")).await, ["beta", "alpha", "gamma"]);
    assert_eq!(listed(order("display_name")).await, ["alpha", "beta", "gamma"]);
    assert_eq!(listed(order("display_name desc")).await, ["gamma", "beta", "alpha"]);
    assert_eq!(listed(order("expire_time")).await, ["gamma", "beta", "alpha"]);
    assert_eq!(listed(order("expire_time desc")).await, ["alpha", "beta", "gamma"]);
    client.verdict(&beta.token).await;
    eventually("the use is written", async || client.key("beta-key").await.last_used_time.map(|_| ())).await;
    assert_eq!(listed(order("last_used_time desc")).await.first().unwrap(), "beta");
    for wrong in ["name", "create_time asc", "create_time  desc", "create_time, display_name", "CREATE_TIME", "desc"] {
        invalid(client.list_keys(order(wrong)).await, "order_by");
    }

    let filter = |filter: ListKeysRequest| ListKeysRequest { account: "acme".into(), ..filter };
    for (query, expected) in [("ALPH", vec!["alpha"]), ("-key", vec!["gamma", "alpha", "beta"]), ("x_y", vec![])] {
        assert_eq!(listed(filter(ListKeysRequest { query: query.into(), ..Default::default() })).await, expected);
    }
    let hint = beta.key.token_hint.clone();
    assert!(listed(filter(ListKeysRequest { query: hint, ..Default::default() })).await.contains(&"beta".to_owned()));
    let labels = named("gamma", 0).labels;
    assert_eq!(listed(filter(ListKeysRequest { labels, ..Default::default() })).await, ["gamma"]);
    assert_eq!(listed(filter(ListKeysRequest { created_by: caller.id(), ..Default::default() })).await, ["gamma"]);
    let expire_time_before = beta.key.expire_time;
    assert_eq!(listed(filter(ListKeysRequest { expire_time_before, ..Default::default() })).await, ["gamma"]);
    let unused_since = client.key("beta-key").await.last_used_time;
    assert_eq!(listed(filter(ListKeysRequest { unused_since, ..Default::default() })).await, ["gamma", "alpha"]);
    for wrong in [&"x".repeat(201), "a\0b", "a\nb"] {
        invalid(client.list_keys(filter(ListKeysRequest { query: wrong.into(), ..Default::default() })).await, "query");
    }
    invalid(
        client.list_keys(filter(ListKeysRequest { created_by: "a b".into(), ..Default::default() })).await,
        "created_by",
    );
}

on_every_database! {
    keys_are_filtered_and_ordered,
    keys_come_in_pages_the_newest_first,
    a_page_holds_fifty_keys_if_nothing_is_said,
    a_page_token_fits_only_the_query_it_was_made_with,
    keys_are_listed_by_state,
    keys_are_listed_by_project,
    accounts_come_in_pages_the_newest_first,
    pages_of_oversize_keys_are_cut_by_bytes,
    an_oversize_key_is_valid_and_can_end_but_cannot_grow,
}
