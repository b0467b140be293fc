//! Settings that all replicas must agree on: the authority secret and the lease.

use std::sync::Arc;
use std::time::Duration;

use key_authority_domain::secret::Keyring;
use key_authority_storage::registry::Joining;
use key_authority_storage::settings::SettingsError;
use tokio::task::JoinSet;

use crate::support::make::{joining, replica_id, ring_of};
use crate::support::{Database, on_every_database};

on_every_database! {
    the_first_secret_is_stored_and_another_is_rejected,
    a_new_version_is_stored_and_then_required,
    an_older_version_may_be_added_later,
    many_replicas_may_store_the_first_secret_concurrently,
    the_lease_can_be_changed_while_no_replica_runs,
}

const ONE: &str = "1:0101010101010101010101010101010101010101010101010101010101010101";
const TWO: &str = "2:0202020202020202020202020202020202020202020202020202020202020202";
const OTHER_ONE: &str = "1:0303030303030303030303030303030303030303030303030303030303030303";

fn ring(versions: &[&str]) -> Arc<Keyring> {
    ring_of(&versions.join("\n"))
}

async fn check(database: &Database, versions: &[&str]) -> Result<(), SettingsError> {
    database.connect_with(2, ring(versions)).await.check_secret().await
}

async fn the_first_secret_is_stored_and_another_is_rejected(database: Database) {
    database.store().await;
    check(&database, &[ONE]).await.unwrap();
    check(&database, &[ONE]).await.unwrap();
    let error = check(&database, &[OTHER_ONE]).await.unwrap_err();
    assert!(matches!(error, SettingsError::SecretMismatch { version: 1 }), "{error:?}");
    check(&database, &[ONE]).await.unwrap();
}

async fn a_new_version_is_stored_and_then_required(database: Database) {
    database.store().await;
    check(&database, &[ONE]).await.unwrap();
    check(&database, &[ONE, TWO]).await.unwrap();
    let error = check(&database, &[ONE]).await.unwrap_err();
    assert!(matches!(error, SettingsError::SecretMissing { version: 2 }), "{error:?}");
    let error = check(&database, &[TWO]).await.unwrap_err();
    assert!(matches!(error, SettingsError::SecretMissing { version: 1 }), "{error:?}");
    let error = check(&database, &[OTHER_ONE, TWO]).await.unwrap_err();
    assert!(matches!(error, SettingsError::SecretMismatch { version: 1 }), "{error:?}");
    check(&database, &[ONE, TWO]).await.unwrap();
}

async fn an_older_version_may_be_added_later(database: Database) {
    database.store().await;
    check(&database, &[TWO]).await.unwrap();
    check(&database, &[ONE, TWO]).await.unwrap();
    assert!(check(&database, &[TWO]).await.is_err());
}

async fn many_replicas_may_store_the_first_secret_concurrently(database: Database) {
    database.store().await;
    let mut replicas = JoinSet::new();
    for _ in 0..8 {
        let store = database.connect_with(2, ring(&[ONE, TWO])).await;
        replicas.spawn(async move { store.check_secret().await });
    }
    for checked in replicas.join_all().await {
        checked.unwrap();
    }
    check(&database, &[ONE, TWO]).await.unwrap();
    assert!(check(&database, &[ONE]).await.is_err());
}

async fn the_lease_can_be_changed_while_no_replica_runs(database: Database) {
    let store = database.store().await;
    let (ten, twenty) = (Duration::from_secs(10), Duration::from_secs(20));
    assert_eq!(store.lease().await.unwrap(), ten);
    assert!(store.set_lease(twenty).await.unwrap());
    assert_eq!(store.lease().await.unwrap(), twenty);

    store.join(Joining { lease: twenty, ..joining(1, [1; 8]) }).await.unwrap().unwrap();
    assert!(!store.set_lease(ten).await.unwrap());
    assert_eq!(store.lease().await.unwrap(), twenty);

    store.leave(replica_id(1)).await.unwrap();
    assert!(store.set_lease(ten).await.unwrap());
    assert_eq!(store.lease().await.unwrap(), ten);
}
