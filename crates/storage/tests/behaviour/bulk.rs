//! Many keys in one change.

use key_authority_domain::audit::Action;
use key_authority_domain::id::Revision;
use key_authority_domain::key::Key;
use key_authority_storage::{StorageError, Store};

use crate::changes::every_event;
use crate::support::make::{account, date_key, event, key, put_account, put_key, put_keys, secret};
use crate::support::{Database, on_every_database};

on_every_database! {
    many_keys_make_one_revision_and_few_statements,
    keys_with_all_their_secrets_are_written_at_once,
    a_key_that_is_there_already_refuses_them_all,
}

const MANY: usize = 1_100;

fn many() -> Vec<Key> {
    (0..MANY).map(|number| key(&format!("key-{number:04}"), "acme")).collect()
}

/// Every key, in the order of their IDs.
async fn all_keys(store: &Store) -> Vec<Key> {
    let mut keys = Vec::new();
    store.snapshot(|rows| keys.extend(rows.keys)).await.unwrap();
    keys.sort_by(|one, other| one.id.cmp(&other.id));
    keys
}

async fn many_keys_make_one_revision_and_few_statements(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let before = store.statements();
    let keys = put_keys(&store, many()).await;
    let statements = store.statements() - before;
    assert!(statements < 20, "{statements} statements for {MANY} keys");

    assert_eq!(store.head().await.unwrap().revision, Revision(2));
    assert!(keys.iter().all(|key| (key.create_revision, key.revision) == (Revision(2), Revision(2))));
    assert_eq!(store.events(&every_event(), 10, Revision(0)).await.unwrap().items.len(), 2);
    assert_eq!(all_keys(&store).await, keys);
}

async fn keys_with_all_their_secrets_are_written_at_once(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let with_secrets = |number| {
        let id = format!("key-{number:04}");
        let secrets = (1..=10).map(|version| secret(&id, version)).collect();
        Key { secrets, ..key(&id, "acme") }
    };
    let keys = put_keys(&store, (0..300).map(with_secrets).collect()).await;
    assert_eq!(all_keys(&store).await, keys);
}

async fn a_key_that_is_there_already_refuses_them_all(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let there = put_key(&store, key("key-1000", "acme")).await;

    let another_with_its_secret = Key { secrets: there.secrets.clone(), ..key("key-x", "acme") };
    for last in [key("key-1000", "acme"), another_with_its_secret] {
        let mut keys: Vec<Key> = many().into_iter().filter(|key| key.id != there.id).chain([last]).collect();
        let tx = store.begin().await.unwrap();
        keys.iter_mut().for_each(|key| date_key(&tx, key));
        let error = tx.insert_keys(&keys).await.unwrap_err();
        assert!(matches!(error, StorageError::Refused(_)), "{error:?}");
        drop(tx);
        assert_eq!(all_keys(&store).await, [there.clone()]);
    }
    let tx = store.begin().await.unwrap();
    tx.insert_keys(&[]).await.unwrap();
    tx.commit(event(Action::UpdateAccount, "acme", None)).await.unwrap();
    assert_eq!(all_keys(&store).await, [there]);
}
