//! Many keys in one change.

use std::collections::HashSet;

use key_authority_domain::access::{Access, PROJECT_LEN_MAX, PROJECTS_MAX, Project, ProjectAccess};
use key_authority_domain::audit::Action;
use key_authority_domain::foreign::Scheme;
use key_authority_domain::id::Revision;
use key_authority_domain::key::{Key, Revocation, Secret};
use key_authority_storage::holders::Holder;
use key_authority_storage::key_query::KeyQuery;
use key_authority_storage::{StorageError, Store};

use crate::changes::every_event;
use crate::support::make::{
    account, account_id, date_key, digest, event, key, key_id, note, only, put_account, put_key, put_keys, secret,
};
use crate::support::{Database, on_every_database};

on_every_database! {
    many_keys_make_one_revision_and_few_statements,
    keys_with_all_their_secrets_are_written_at_once,
    large_keys_are_split_into_statements,
    an_existing_key_rejects_the_whole_insert,
    existing_tokens_and_ids_of_many_are_found,
    the_keys_of_an_import_are_found_by_its_revision,
    the_keys_of_a_revocation_are_found_by_its_event,
    the_scheme_of_a_digest_round_trips,
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

async fn large_keys_are_split_into_statements(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let long = |number| Project::new(&format!("{number:0>PROJECT_LEN_MAX$}")).unwrap();
    let access =
        Access { projects: ProjectAccess::Only((0..PROJECTS_MAX).map(long).collect()), ..key("any", "acme").access };
    // Together more than the default limit of MariaDB, 16 MiB.
    let keys = (0..80).map(|number| Key { access: access.clone(), ..key(&format!("key-{number:04}"), "acme") });
    let keys = put_keys(&store, keys.collect()).await;
    assert_eq!(all_keys(&store).await, keys);
}

async fn an_existing_key_rejects_the_whole_insert(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let there = put_key(&store, key("key-1000", "acme")).await;

    let another_with_its_secret = Key { secrets: there.secrets.clone(), ..key("key-x", "acme") };
    for last in [key("key-1000", "acme"), another_with_its_secret] {
        let mut keys: Vec<Key> = many().into_iter().filter(|key| key.id != there.id).chain([last]).collect();
        let tx = store.begin().await.unwrap();
        for key in &mut keys {
            date_key(&tx, key);
        }
        let error = tx.insert_keys(&keys).await.unwrap_err();
        assert!(matches!(error, StorageError::Refused(_)), "{error:?}");
        drop(tx);
        assert_eq!(all_keys(&store).await, std::slice::from_ref(&there));
    }
    let tx = store.begin().await.unwrap();
    tx.insert_keys(&[]).await.unwrap();
    tx.commit(event(Action::UpdateAccount, "acme", None)).await.unwrap();
    assert_eq!(all_keys(&store).await, [there]);
}

async fn existing_tokens_and_ids_of_many_are_found(database: Database) {
    let store = database.store().await;
    for id in ["acme", "other"] {
        put_account(&store, account(id)).await;
    }
    put_keys(&store, many()).await;
    let elsewhere = Key { secrets: vec![secret("key-e", 1), secret("key-e", 2)], ..key("key-e", "other") };
    put_key(&store, elsewhere).await;

    let tx = store.begin().await.unwrap();
    let asked: Vec<_> = (0..1_500).map(|n| digest(&format!("key-{n:04}"), 1)).chain([digest("key-e", 2)]).collect();
    let holders = tx.holders(&asked).await.unwrap();
    assert_eq!(holders.len(), MANY + 1);
    let holder = |id, account, revision| Holder {
        key_id: key_id(id),
        account: account_id(account),
        create_revision: Revision(revision),
    };
    assert_eq!(holders[&digest("key-1099", 1)], holder("key-1099", "acme", 3));
    assert_eq!(holders[&digest("key-e", 2)], holder("key-e", "other", 4), "a later version as well");
    let ids: Vec<_> = (1_000..2_500).map(|n| key_id(&format!("key-{n:04}"))).chain([key_id("KEY-1000")]).collect();
    assert_eq!(tx.used_key_ids(&ids).await.unwrap(), ids[..100].iter().cloned().collect::<HashSet<_>>());
    assert!(tx.holders(&[]).await.unwrap().is_empty() && tx.used_key_ids(&[]).await.unwrap().is_empty());
}

async fn the_keys_of_an_import_are_found_by_its_revision(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    put_key(&store, key("before", "acme")).await;
    let imported = import(&store, (0..2_600).map(|n| key(&format!("key-{n:04}"), "acme")).collect()).await;
    import(&store, vec![key("after", "acme")]).await;
    note(&store).await;

    let feed = async |from| {
        let events = store.feed(Revision(from)).await.unwrap().events;
        events.iter().map(|event| (event.revision.0, event.key_set.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(feed(1).await, [(1, false), (2, false), (3, true)], "it ends with the first import that is new");
    assert_eq!(feed(3).await, [(3, true), (4, true)]);
    assert_eq!(feed(4).await, [(4, true), (5, false)]);

    let event_at = async |revision| store.feed(Revision(revision)).await.unwrap().events.remove(0);
    let mut found = store.keys_changed_by(&event_at(3).await).await.unwrap().keys;
    found.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(found, imported);
    let tx = store.begin().await.unwrap();
    tx.delete_key(&imported[0].id).await.unwrap();
    tx.commit(event(Action::DeleteKey, "acme", Some(imported[0].id.as_str()))).await.unwrap();
    let left = store.keys_changed_by(&event_at(3).await).await.unwrap().keys;
    assert_eq!(left.len(), imported.len() - 1, "a deleted key is not returned");
    assert!(store.keys_changed_by(&event_at(1).await).await.unwrap().keys.is_empty());
}

async fn the_keys_of_a_revocation_are_found_by_its_event(database: Database) {
    let store = database.store().await;
    for id in ["acme", "other"] {
        put_account(&store, account(id)).await;
    }
    put_keys(&store, many()).await;
    put_key(&store, key("foreign", "other")).await;
    let tx = store.begin().await.unwrap();
    let mut ids = Vec::new();
    let query = KeyQuery::of(only(&["acme"]), tx.now());
    tx.for_each_unrevoked(&query, |key| {
        ids.push(key.id);
        ids.len() < 600
    })
    .await
    .unwrap();
    assert!(ids.len() == 600 && ids.is_sorted(), "they were created in the order of their IDs");
    tx.revoke_keys(&ids, "left").await.unwrap();
    let committed = tx.commit(event(Action::RevokeKeys, "acme", None)).await.unwrap();
    let events = store.feed(committed.revision).await.unwrap().events;
    let mut revoked = store.keys_changed_by(&events[0]).await.unwrap().keys;
    revoked.sort_by(|one, other| one.id.cmp(&other.id));
    assert_eq!(revoked.iter().map(|key| key.id.clone()).collect::<Vec<_>>(), ids);
    let revocation = Revocation { time: committed.time, reason: "left".into() };
    assert!(revoked.iter().all(|key| key.revocation.as_ref() == Some(&revocation)));
    assert!(revoked.iter().all(|key| (key.revision, key.update_time) == (committed.revision, committed.time)));

    let tx = store.begin_reading().await.unwrap();
    assert_eq!(tx.revoked_together(&account_id("acme"), committed.time, 3).await.unwrap(), ids[..3]);
    assert!(tx.revoked_together(&account_id("other"), committed.time, 3).await.unwrap().is_empty());
    let mut rest = 0;
    let count = |_| {
        rest += 1;
        true
    };
    tx.for_each_unrevoked(&query, count).await.unwrap();
    assert_eq!(rest, MANY - 600, "revoked keys do not match again");
    drop(tx);

    // A replica that reads the keys of the event after one of them was deleted must not keep that key.
    let tx = store.begin().await.unwrap();
    tx.delete_key(&ids[7]).await.unwrap();
    tx.commit(event(Action::DeleteKey, "acme", Some(ids[7].as_str()))).await.unwrap();
    let changed = store.keys_changed_by(&events[0]).await.unwrap();
    assert_eq!((changed.keys.len(), changed.deleted), (599, vec![ids[7].clone()]));
}

/// Writes keys in one import and returns them as written.
async fn import(store: &Store, mut keys: Vec<Key>) -> Vec<Key> {
    let tx = store.begin().await.unwrap();
    for key in &mut keys {
        date_key(&tx, key);
    }
    tx.insert_keys(&keys).await.unwrap();
    tx.commit(event(Action::ImportKeys, "acme", None)).await.unwrap();
    keys
}

async fn the_scheme_of_a_digest_round_trips(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let schemes = [Scheme::Own, Scheme::Whole, Scheme::Blake3, Scheme::Sha256];
    let of_scheme = |scheme: Scheme| {
        let id = format!("key-{}", scheme.number());
        Key { secrets: vec![Secret { scheme, ..secret(&id, 1) }], ..key(&id, "acme") }
    };
    let keys = put_keys(&store, schemes.map(of_scheme).to_vec()).await;
    assert_eq!(all_keys(&store).await, keys);

    // As a server of the previous build writes it.
    let columns = "key_id, version, digest, secret_version, hint, create_time";
    let values = format!("'key-3', 2, {}, 1, '', 0", database.bytes(&[9; 32]));
    database.tamper(&format!("INSERT INTO api_key_secret ({columns}) VALUES ({values})")).await;
    let key = store.key(&key_id("key-3")).await.unwrap().unwrap();
    assert_eq!(key.secrets.iter().map(|secret| secret.scheme).collect::<Vec<_>>(), [Scheme::Sha256, Scheme::Own]);

    database.tamper("UPDATE api_key_secret SET scheme = 4 WHERE key_id = 'key-3'").await;
    let error = store.key(&key_id("key-3")).await.unwrap_err();
    assert!(matches!(error, StorageError::Corrupt { column: "scheme", .. }), "{error:?}");
}
