//! How many keys a page of a list reads at most.

use key_authority_domain::key::KeyState;
use key_authority_storage::Store;
use key_authority_storage::key_order::{KeyOrder, KeyRank};
use key_authority_storage::key_query::KeyQuery;
use key_authority_storage::page::AccountScope;

use super::list;
use crate::support::make::{account, at, key, only, put_account, put_keys};
use crate::support::{Database, on_every_database};

on_every_database! {
    a_page_looks_at_a_limited_number_of_keys,
    few_keys_in_a_state_are_found_at_once_among_many,
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
