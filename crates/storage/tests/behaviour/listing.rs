//! Lists: order, pages and scopes.

mod filters;
mod scans;

use std::collections::BTreeSet;

use key_authority_storage::Store;
use key_authority_storage::key_order::{KeyOrder, KeyRank};
use key_authority_storage::key_query::KeyQuery;
use key_authority_storage::page::AccountScope;

use crate::support::make::{account, at, key, large_key, only, put_account, put_key, put_keys};
use crate::support::{Database, on_every_database};

on_every_database! {
    keys_are_listed_newest_first_on_pages_of_any_size,
    accounts_are_listed_newest_first_on_pages_of_any_size,
    keys_of_one_change_whose_ids_differ_in_case_are_listed_once_each,
    a_scope_shows_its_accounts_and_an_empty_scope_shows_none,
    pages_of_keys_are_limited_in_bytes,
    keys_are_listed_in_each_order_on_pages_of_any_size,
}

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
