//! The versions of a key's secret: renewal, retirement, removal, uniqueness and deletion.

use std::time::Duration;

use key_authority_domain::account::ExpiryChoice;
use key_authority_domain::audit::Action;
use key_authority_domain::key::{Key, SECRETS_MAX};
use key_authority_storage::{StorageError, Store};

use crate::support::make::{account, account_id, digest, event, key, key_id, minted, put_account, put_key};
use crate::support::{Database, on_every_database};

on_every_database! {
    a_renewal_retires_the_old_secret_and_adds_the_new_one,
    the_oldest_secrets_are_removed,
    a_digest_belongs_to_one_secret,
    a_deleted_key_is_removed_with_its_secrets,
    an_account_with_keys_is_not_deleted,
}

async fn renew(store: &Store, key: &mut Key, version: u32, overlap: Duration) {
    let tx = store.begin().await.unwrap();
    let account = tx.account(&key.account).await.unwrap().unwrap();
    let minted = minted(key.id.as_str(), version);
    key.renew(&account, minted, overlap, ExpiryChoice::Unspecified, tx.now()).unwrap();
    tx.update_key_and_secrets(key).await.unwrap();
    tx.commit(event(Action::RenewKey, key.account.as_str(), Some(key.id.as_str()))).await.unwrap();
}

async fn has_digest(store: &Store, id: &str, version: u32) -> bool {
    let key = store.key(&key_id(id)).await.unwrap();
    key.is_some_and(|key| key.secrets.iter().any(|secret| secret.digest == digest(id, version)))
}

async fn a_renewal_retires_the_old_secret_and_adds_the_new_one(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let bystander = put_key(&store, key("key_2", "acme")).await;
    let mut renewed = put_key(&store, key("key_1", "acme")).await;
    renew(&store, &mut renewed, 2, Duration::from_mins(1)).await;
    renew(&store, &mut renewed, 3, Duration::ZERO).await;

    let read = store.key(&renewed.id).await.unwrap().unwrap();
    assert_eq!(read, renewed);
    assert_eq!(read.secrets.iter().map(|secret| secret.version).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(read.secrets[1].retire_time, Some(renewed.update_time));
    assert!(read.secrets[0].retire_time <= read.secrets[1].retire_time);
    assert_eq!(read.secrets[2].retire_time, None);
    assert_eq!(store.key(&bystander.id).await.unwrap(), Some(bystander));
}

async fn the_oldest_secrets_are_removed(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let mut renewed = put_key(&store, key("key_1", "acme")).await;
    let last = u32::try_from(SECRETS_MAX).unwrap() + 2;
    for version in 2..=last {
        renew(&store, &mut renewed, version, Duration::ZERO).await;
    }
    let read = store.key(&renewed.id).await.unwrap().unwrap();
    assert_eq!(read, renewed);
    assert_eq!((read.secrets.len(), read.secrets[0].version), (SECRETS_MAX, 3));
    assert!(!has_digest(&store, "key_1", 2).await);
    assert!(has_digest(&store, "key_1", 3).await);
}

async fn a_digest_belongs_to_one_secret(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let first = put_key(&store, key("key_1", "acme")).await;
    assert!(has_digest(&store, "key_1", 1).await);
    assert!(!has_digest(&store, "key_2", 1).await);

    let tx = store.begin().await.unwrap();
    let error = tx.insert_key(&Key { secrets: first.secrets.clone(), ..key("key_2", "acme") }).await.unwrap_err();
    assert!(matches!(error, StorageError::Refused(_)), "{error:?}");
    drop(tx);
    assert_eq!(store.key(&key_id("key_2")).await.unwrap(), None);
    assert_eq!(store.key(&first.id).await.unwrap(), Some(first));
}

async fn a_deleted_key_is_removed_with_its_secrets(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    let mut gone = put_key(&store, key("key_1", "acme")).await;
    renew(&store, &mut gone, 2, Duration::ZERO).await;
    let kept = put_key(&store, key("key_2", "acme")).await;
    let tx = store.begin().await.unwrap();
    tx.delete_key(&gone.id).await.unwrap();
    tx.delete_key(&key_id("never-there")).await.unwrap();
    tx.commit(event(Action::DeleteKey, "acme", Some("key_1"))).await.unwrap();

    assert_eq!(store.key(&gone.id).await.unwrap(), None);
    assert!(!has_digest(&store, "key_1", 1).await && !has_digest(&store, "key_1", 2).await);
    assert_eq!(store.key(&kept.id).await.unwrap(), Some(kept));
    put_key(&store, key("key_1", "acme")).await;
}

async fn an_account_with_keys_is_not_deleted(database: Database) {
    let store = database.store().await;
    put_account(&store, account("acme")).await;
    put_key(&store, key("key_1", "acme")).await;
    let tx = store.begin().await.unwrap();
    let error = tx.delete_account(&account_id("acme")).await.unwrap_err();
    assert!(matches!(error, StorageError::Refused(_)), "{error:?}");
    drop(tx);
    assert!(store.account(&account_id("acme")).await.unwrap().is_some());

    let tx = store.begin().await.unwrap();
    tx.delete_key(&key_id("key_1")).await.unwrap();
    tx.delete_account(&account_id("acme")).await.unwrap();
    tx.commit(event(Action::DeleteAccount, "acme", None)).await.unwrap();
    assert_eq!(store.account(&account_id("acme")).await.unwrap(), None);
}
