//! Lists: order, pages, scopes, states and projects.

use std::collections::BTreeSet;

use key_authority_domain::access::{Project, ProjectAccess};
use key_authority_domain::account::CountedKeys;
use key_authority_domain::key::{Key, KeyState, Revocation};
use key_authority_domain::time::Timestamp;
use key_authority_storage::Store;
use key_authority_storage::key_order::{KeyOrder, KeyRank};
use key_authority_storage::key_query::KeyQuery;
use key_authority_storage::page::AccountScope;

use crate::support::make::{
    account, account_id, actor, at, key, key_id, large_key, only, put_account, put_key, put_keys,
};
use crate::support::{Database, on_every_database};

on_every_database! {
    keys_are_listed_newest_first_on_pages_of_any_size,
    accounts_are_listed_newest_first_on_pages_of_any_size,
    keys_of_one_change_whose_ids_differ_in_case_are_listed_once_each,
    a_scope_shows_its_accounts_and_an_empty_scope_shows_none,
    states_agree_with_the_domain_to_the_microsecond,
    a_project_finds_every_key_that_covers_it_and_no_other,
    pages_of_keys_are_limited_in_bytes,
    keys_are_listed_in_each_order_on_pages_of_any_size,
    each_filter_finds_the_keys_that_match_and_no_other,
    a_page_looks_at_a_limited_number_of_keys,
    few_keys_in_a_state_are_found_at_once_among_many,
}

const STATES: [KeyState; 4] = [KeyState::Active, KeyState::Disabled, KeyState::Revoked, KeyState::Expired];

fn every_key() -> KeyQuery {
    KeyQuery::of(AccountScope::All, at(0))
}

/// All pages of a list, of at most `size` keys each, newest first.
async fn list(store: &Store, query: &KeyQuery, size: u32) -> Vec<String> {
    list_in(KeyOrder::NEWEST, store, query, size).await
}

async fn list_in(order: KeyOrder, store: &Store, query: &KeyQuery, size: u32) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let page = store.keys(query, order, size, after.as_ref()).await.unwrap();
        assert!(page.items.len() <= size as usize);
        ids.extend(page.items.into_iter().map(|(key, _)| key.id.as_str().to_owned()));
        let Some(next) = page.next else { return ids };
        after = Some(next);
    }
}

async fn keys_are_listed_newest_first_on_pages_of_any_size(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    for change in [&["b"][..], &["e", "a", "d"], &["c", "f"]] {
        put_keys(&store, change.iter().map(|id| key(id, "acme")).collect()).await;
    }
    for size in 1..=7 {
        assert_eq!(list(&store, &every_key(), size).await, ["f", "c", "e", "d", "a", "b"], "pages of {size}");
    }
    let page = store.keys(&every_key(), KeyOrder::NEWEST, 6, None).await.unwrap();
    assert_eq!((page.items.len(), page.next), (6, None), "a page that is just full is the last");
}

async fn accounts_are_listed_newest_first_on_pages_of_any_size(database: Database) {
    let store = database.store().await;
    for id in ["b", "a", "c", "e", "d"] {
        put_account(&store, account(id)).await;
    }
    for size in 1..=6 {
        let (mut ids, mut after) = (Vec::new(), None);
        loop {
            let page = store.accounts(&AccountScope::All, size, after.as_ref()).await.unwrap();
            ids.extend(page.items.into_iter().map(|account| account.id.as_str().to_owned()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(ids, ["d", "e", "c", "a", "b"], "pages of {size}");
    }
}

async fn keys_of_one_change_whose_ids_differ_in_case_are_listed_once_each(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let ids = ["a", "A", "B", "b", "a-", "a.", "a1", "A1", "_x", "1"].map(|id| format!("k{id}"));
    put_keys(&store, ids.iter().map(|id| key(id, "acme")).collect()).await;
    for size in [1, 3] {
        let listed = list(&store, &every_key(), size).await;
        assert_eq!(listed.len(), ids.len());
        assert_eq!(BTreeSet::from_iter(listed), ids.iter().cloned().collect());
    }
}

async fn a_scope_shows_its_accounts_and_an_empty_scope_shows_none(database: Database) {
    let store = database.store().await;
    for id in ["a", "A", "b"] {
        put_account(&store, account(id)).await;
        put_key(&store, key(&format!("key-of-{id}"), id)).await;
    }
    for (scope, expected) in [
        (only(&[]), &[][..]),
        (only(&["a"]), &["a"]),
        (only(&["b", "A"]), &["b", "A"]),
        (only(&["c"]), &[]),
        (AccountScope::All, &["b", "A", "a"]),
    ] {
        let keys = list(&store, &KeyQuery { accounts: scope.clone(), ..every_key() }, 10).await;
        assert_eq!(keys, expected.iter().map(|id| format!("key-of-{id}")).collect::<Vec<_>>());
        let accounts = store.accounts(&scope, 10, None).await.unwrap().items;
        assert_eq!(accounts.iter().map(|account| account.id.as_str()).collect::<Vec<_>>(), expected);
    }
}

/// Keys in every state, and in several at once, that expire at `end`.
fn keys_in_all_states(end: Timestamp) -> Vec<Key> {
    let mut keys = Vec::new();
    for expire_time in [None, Some(end)] {
        for disabled in [false, true] {
            for revocation in [None, Some(Revocation { time: at(5), reason: String::new() })] {
                let id = format!("key-{}", keys.len());
                keys.push(Key { expire_time, disabled, revocation, ..key(&id, "acme") });
            }
        }
    }
    keys
}

async fn states_agree_with_the_domain_to_the_microsecond(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let end = at(1_000_000_000);
    let keys = put_keys(&store, keys_in_all_states(end)).await;
    for now in [at(end.micros() - 1), end, at(end.micros() + 1), at(i64::MIN), at(i64::MAX)] {
        for choice in 0..1 << STATES.len() {
            let states: Vec<_> =
                (0..STATES.len()).filter(|bit| choice & (1 << bit) != 0).map(|bit| STATES[bit]).collect();
            let is_chosen = |key: &Key| states.is_empty() || states.contains(&key.state(now));
            let mut expected: Vec<_> =
                keys.iter().filter(|key| is_chosen(key)).map(|key| key.id.as_str().to_owned()).collect();
            expected.reverse();
            for (accounts, scanned_max) in [(AccountScope::All, 1_000), (AccountScope::All, 2), (only(&["acme"]), 2)] {
                let query = KeyQuery { states: states.clone(), scanned_max, ..KeyQuery::of(accounts, now) };
                assert_eq!(list(&store, &query, 3).await, expected, "{query:?}");
            }
        }
    }
    let tx = store.begin().await.unwrap();
    for counted in [CountedKeys::All, CountedKeys::Active] {
        let expected = keys.iter().filter(|key| key.is_counted(counted, tx.now())).count();
        for max in 0..10 {
            let count = tx.count_towards_limit(&account_id("acme"), counted, max).await.unwrap();
            assert_eq!(count, (expected as u64).min(max.into()), "{counted:?}, at most {max}");
        }
        assert_eq!(tx.count_towards_limit(&account_id("other"), counted, 10).await.unwrap(), 0);
    }
    let newest = keys.iter().rfind(|key| key.state(tx.now()) == KeyState::Active).map(|key| key.id.clone());
    let found = tx.newest_active_key(&account_id("acme")).await.unwrap().map(|key| key.id);
    assert!(newest.is_some() && found == newest, "{found:?}, not {newest:?}");
    assert_eq!(tx.newest_active_key(&account_id("other")).await.unwrap(), None);
}

async fn pages_of_keys_are_limited_in_bytes(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    // Three keys of 1.2 MB fit in 4 MiB.
    put_keys(&store, (0..7).map(|number| large_key(&format!("large-{number}"), "acme", 1_200)).collect()).await;
    put_key(&store, large_key("huge", "acme", 5_000)).await;
    put_keys(&store, vec![key("small-0", "acme"), key("small-1", "acme")]).await;
    let (mut lengths, mut ids, mut after) = (Vec::new(), Vec::new(), None);
    loop {
        let page = store.keys(&every_key(), KeyOrder::NEWEST, 1_000, after.as_ref()).await.unwrap();
        lengths.push(page.items.len());
        ids.extend(page.items.into_iter().map(|(key, _)| key.id.as_str().to_owned()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(lengths, [2, 1, 3, 3, 1]);
    let large = (0..7).rev().map(|number| format!("large-{number}"));
    let expected: Vec<_> = ["small-1", "small-0", "huge"].map(str::to_owned).into_iter().chain(large).collect();
    assert_eq!(ids, expected);
    assert_eq!(list(&store, &every_key(), 2).await, expected);
}

/// Projects that text matching, JSON or SQL may confuse.
const PROJECTS: [&str; 33] = [
    "acme",
    "Acme",
    "ACME",
    "acm",
    "cme",
    "acme ",
    " acme",
    "ac%",
    "ac_e",
    "a!b",
    "a!!b",
    "a!%b",
    "%",
    "_",
    "!",
    "a\"b",
    "\"",
    "\",\"",
    "a\\b",
    "a\\\\b",
    "\\",
    "\\%",
    "a'b",
    "''",
    "[",
    "]",
    ",",
    "ä",
    "Ä",
    "a\u{308}",
    "日本",
    "🦀",
    "[\"acme\"]",
];

async fn a_project_finds_every_key_that_covers_it_and_no_other(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let covering = |id: &str, projects: &[&str]| {
        let mut key = key(id, "acme");
        key.access.projects = ProjectAccess::Only(projects.iter().map(|name| Project::new(name).unwrap()).collect());
        key
    };
    let mut keys = vec![key("all", "acme"), covering("none", &[]), covering("each", &PROJECTS)];
    for (number, project) in PROJECTS.into_iter().enumerate() {
        keys.push(covering(&format!("single-{number}"), &[project]));
        keys.push(covering(&format!("pair-{number}"), &[project, "zebra"]));
    }
    let mut keys = put_keys(&store, keys).await;
    keys.sort_by(|a, b| b.id.cmp(&a.id));
    for project in PROJECTS.into_iter().chain(["zebra", "nobody's", "ACM"]) {
        let query = KeyQuery { project: Some(project.into()), ..every_key() };
        let mut expected: Vec<_> =
            keys.iter().filter(|key| key.access.projects.covers(Some(project))).map(|key| key.id.as_str()).collect();
        for size in [2, 100] {
            let mut listed = list(&store, &query, size).await;
            listed.sort();
            expected.sort_unstable();
            assert_eq!(listed, expected, "{project:?} on pages of {size}");
        }
    }
}

async fn keys_are_listed_in_each_order_on_pages_of_any_size(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let made = |id: &str, name: &str, expiry: Option<i64>| {
        let mut key = key(id, "acme");
        key.display_name = name.into();
        key.expire_time = expiry.map(at);
        key
    };
    put_keys(&store, vec![made("a", "delta", Some(30)), made("b", "beta", None)]).await;
    put_keys(&store, vec![made("c", "alpha", Some(10)), made("d", "beta", Some(30)), made("e", "gamma", None)]).await;
    database.tamper("UPDATE api_key SET last_used_time = 20 WHERE id IN ('a', 'd')").await;
    database.tamper("UPDATE api_key SET last_used_time = 5 WHERE id = 'c'").await;
    for (rank, expected) in [
        (KeyRank::Created, ["a", "b", "c", "d", "e"]),
        (KeyRank::LastUsed, ["b", "e", "c", "a", "d"]),
        (KeyRank::Expires, ["c", "a", "d", "b", "e"]),
        (KeyRank::DisplayName, ["c", "b", "d", "a", "e"]),
    ] {
        for size in 1..=6 {
            let ascending = KeyOrder { rank, is_descending: false };
            assert_eq!(list_in(ascending, &store, &every_key(), size).await, expected, "{rank:?}, pages of {size}");
            let descending = KeyOrder { rank, is_descending: true };
            let mut listed = list_in(descending, &store, &every_key(), size).await;
            listed.reverse();
            assert_eq!(listed, expected, "{rank:?} descending, pages of {size}");
        }
    }
}

async fn each_filter_finds_the_keys_that_match_and_no_other(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let labelled = |id: &str, labels: &[(&str, &str)]| {
        let mut key = key(id, "acme");
        key.labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        key
    };
    let mut named = labelled("Deploy-1", &[("owner", "ann"), ("team", "a\"b")]);
    named.display_name = "CI of the 100%_shop!".into();
    named.expire_time = Some(at(50));
    let mut other = labelled("other", &[("owner", "Ann"), ("x", "\"owner\":\"ann\"")]);
    other.created_by = actor("robot");
    other.expire_time = Some(at(51));
    let mut school = key("school", "acme");
    school.display_name = "École ß".into();
    let keys = put_keys(&store, vec![named, other, school]).await;
    let created = keys[0].create_time;
    database.tamper("UPDATE api_key SET last_used_time = 7 WHERE id = 'other'").await;
    let text = |text: &str| KeyQuery { text: Some(text.into()), ..every_key() };
    let labels =
        |name: &str, value: &str| KeyQuery { labels: [(name.to_owned(), value.to_owned())].into(), ..every_key() };
    let hint = keys[1].secrets[0].hint.clone();
    let cases = [
        (text("of the 100%_SHOP!"), vec!["Deploy-1"]),
        (text("deploy"), vec!["Deploy-1"]),
        (text(&hint.to_uppercase()), vec!["school", "other", "Deploy-1"]),
        (text("100_"), vec![]),
        (text("École"), vec!["school"]),
        (labels("owner", "ann"), vec!["Deploy-1"]),
        (labels("team", "a\"b"), vec!["Deploy-1"]),
        (labels("owner", "an"), vec![]),
        (KeyQuery { created_by: Some(actor("robot")), ..every_key() }, vec!["other"]),
        (KeyQuery { expires_before: Some(at(51)), ..every_key() }, vec!["Deploy-1"]),
        (KeyQuery { created_before: Some(created), ..every_key() }, vec![]),
        (KeyQuery { unused_since: Some(created), ..every_key() }, vec![]),
        (KeyQuery { ids: vec![key_id("other"), key_id("nobody")], ..every_key() }, vec!["other"]),
    ];
    for (query, expected) in cases {
        for scanned_max in [query.scanned_max, 2, 1] {
            let query = KeyQuery { scanned_max, ..query.clone() };
            assert_eq!(list(&store, &query, 10).await, expected, "{query:?}");
        }
    }
    database.tamper("UPDATE api_key SET create_time = 1").await;
    let unused = |since| KeyQuery { unused_since: Some(at(since)), ..every_key() };
    assert_eq!(list(&store, &unused(7), 10).await, ["school", "Deploy-1"], "the other was used then");
    assert_eq!(list(&store, &unused(8), 10).await, ["school", "other", "Deploy-1"]);
}

/// The IDs of the keys on each page of a list.
async fn pages_in(order: KeyOrder, store: &Store, query: &KeyQuery) -> Vec<Vec<String>> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = store.keys(query, order, 10, after.as_ref()).await.unwrap();
        pages.push(page.items.into_iter().map(|(key, _)| key.id.as_str().to_owned()).collect());
        let Some(next) = page.next else { return pages };
        after = Some(next);
    }
}

/// Ten keys of account `acme` from two changes, `k0` to `k9`; `k1` and `k9` are named `needle`, and `k2` is disabled.
async fn ten_keys(database: &Database) -> Store {
    let store = database.store().await;
    for id in ["acme", "other"] {
        put_account(&store, account(id)).await;
    }
    let made = |number: usize| {
        let mut key = key(&format!("k{number}"), "acme");
        key.disabled = number == 2;
        if [1, 9].contains(&number) {
            key.display_name = "needle".into();
        }
        key
    };
    put_keys(&store, (0..5).map(made).collect()).await;
    put_keys(&store, (5..10).map(made).collect()).await;
    store
}

async fn a_page_looks_at_a_limited_number_of_keys(database: Database) {
    let store = ten_keys(&database).await;
    let oldest = KeyOrder { is_descending: false, ..KeyOrder::NEWEST };
    for accounts in [AccountScope::All, only(&["acme"]), only(&["acme", "other"])] {
        let of = |text: Option<&str>, scanned_max| {
            let query = KeyQuery::of(accounts.clone(), at(0));
            KeyQuery { text: text.map(str::to_owned), scanned_max, ..query }
        };
        let found = |pages: &[&[&str]]| -> Vec<Vec<String>> {
            pages.iter().map(|ids| ids.iter().map(|id| (*id).to_owned()).collect()).collect()
        };
        let needles = of(Some("needle"), 3);
        assert_eq!(pages_in(KeyOrder::NEWEST, &store, &needles).await, found(&[&["k9"], &[], &["k1"], &[]]));
        assert_eq!(pages_in(oldest, &store, &needles).await, found(&[&["k1"], &[], &[], &["k9"]]));
        assert_eq!(pages_in(oldest, &store, &of(Some("needle"), 5)).await, found(&[&["k1"], &["k9"]]), "a full page");
        assert_eq!(pages_in(oldest, &store, &of(Some("needle"), 10)).await, found(&[&["k1", "k9"]]));
        // In another order, the database reads all keys anyway.
        let by_name = KeyOrder { rank: KeyRank::DisplayName, is_descending: false };
        assert_eq!(pages_in(by_name, &store, &needles).await, found(&[&["k1", "k9"]]));
        assert_eq!(list(&store, &of(None, 3), 4).await.len(), 10);
    }
}

async fn few_keys_in_a_state_are_found_at_once_among_many(database: Database) {
    let store = ten_keys(&database).await;
    let query = |states: &[KeyState]| KeyQuery {
        states: states.to_vec(),
        scanned_max: 3,
        ..KeyQuery::of(only(&["acme"]), at(0))
    };
    for order in [KeyOrder::NEWEST, KeyOrder { rank: KeyRank::Expires, is_descending: true }] {
        assert_eq!(pages_in(order, &store, &query(&[KeyState::Disabled])).await, [["k2"]]);
        let ended = query(&[KeyState::Revoked, KeyState::Expired]);
        assert_eq!(pages_in(order, &store, &ended).await, [[""; 0]]);
        let either = query(&[KeyState::Disabled, KeyState::Expired]);
        assert_eq!(pages_in(order, &store, &KeyQuery { text: Some("K2".into()), ..either }).await, [["k2"]]);
    }
    assert_eq!(list(&store, &query(&[KeyState::Active]), 2).await.len(), 9);
}
