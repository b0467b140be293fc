//! Clock steps, replicas of older builds, stale servers, and standbys that lack a change.

use std::time::Duration;

use key_authority_domain::account::ExpiryChoice;
use key_authority_domain::audit::{Action, LOG_FORMAT_VERSION};
use key_authority_domain::id::Revision;
use key_authority_storage::registry::{JoinRefused, Joining};
use key_authority_storage::{StorageError, Store};

use crate::support::database::query;
use crate::support::make::{
    account, digest, event, join_as, joining, key, minted, note, put_account, put_key, replica_id, ring,
};
use crate::support::{Database, Kind, on_database_servers, on_databases, on_every_database};

on_every_database! {
    event_times_are_in_revision_order_when_the_clock_steps,
    a_replica_that_would_misread_the_log_does_not_join,
    a_build_without_log_formats_is_rejected_by_its_lease_comparison,
    a_registry_scan_identifies_the_log,
    a_migration_marks_retired_secrets,
    a_transaction_finds_the_caller_by_its_token,
}

async fn event_times_are_in_revision_order_when_the_clock_steps(database: Database) {
    let store = database.store().await;
    let last = note(&store).await;
    let ahead = last.time.after(Duration::from_hours(1));
    database.tamper(&format!("UPDATE audit_event SET event_time = {}", ahead.micros())).await;
    assert_eq!(store.begin().await.unwrap().now(), ahead, "the newest event is later than the clock");
    assert_eq!(store.begin_reading().await.unwrap().now(), ahead);
    let further = ahead.after(Duration::from_secs(1));
    assert_eq!(store.begin().await.unwrap().not_before(further).now(), further, "the process has used this time");
    assert_eq!(note(&store).await.time, ahead);
    assert!(store.feed(Revision(0)).await.unwrap().now < ahead, "the clock is not adjusted");
}

async fn a_replica_that_would_misread_the_log_does_not_join(database: Database) {
    let store = database.store().await;
    let join = async |log_format| store.join(Joining { log_format, ..joining(1, [1; 8]) }).await.unwrap();
    assert_eq!(join(1).await, Ok(()));
    for (action, needed) in [
        (Action::ImportKeys, 2),
        (Action::PrepareDeleteKey, 3),
        (Action::RevokeKeys, 4),
        (Action::CreatePortalSession, LOG_FORMAT_VERSION),
    ] {
        store.begin().await.unwrap().commit(event(action, "acme", None)).await.unwrap();
        assert_eq!(join(needed - 1).await, Err(JoinRefused::LogFormat { needed }));
        assert_eq!(join(needed).await, Ok(()));
        // The next event does not lower it.
        note(&store).await;
        assert_eq!(join(needed - 1).await, Err(JoinRefused::LogFormat { needed }));
    }
}

/// Builds of format 2 compare their lease with `lease_ms` when they join. They have no other check.
async fn a_build_without_log_formats_is_rejected_by_its_lease_comparison(database: Database) {
    let store = database.store().await;
    let session = database.session().await;
    let compared =
        async || -> i64 { query(&session, "SELECT lease_ms FROM authority").await[0].try_get("", "lease_ms").unwrap() };
    store.begin().await.unwrap().commit(event(Action::ImportKeys, "acme", None)).await.unwrap();
    assert_eq!(compared().await, 10_000, "builds of format 2 follow imports");
    for _ in 0..2 {
        store.begin().await.unwrap().commit(event(Action::PrepareDeleteKey, "acme", Some("key_1"))).await.unwrap();
        assert_eq!(compared().await, 10_001, "no other replica has this lease");
    }
    assert_eq!(store.lease().await.unwrap(), Duration::from_secs(10), "the lease is unchanged");
}

async fn a_registry_scan_identifies_the_log(database: Database) {
    let store = database.store().await;
    let empty = store.registry(Revision(1)).await.unwrap();
    assert_eq!((empty.rows, empty.head, empty.hash), (vec![], Revision(0), None));
    let (first, second) = (note(&store).await, note(&store).await);
    join_as(&store, 1, [1; 8]).await;
    store.confirm(replica_id(1), store.head().await.unwrap(), [2; 8]).await.unwrap();
    join_as(&store, 2, [1; 8]).await;
    let scan = store.registry(first.revision).await.unwrap();
    assert_eq!((scan.head, scan.hash), (second.revision, Some(first.hash)));
    let mut applied: Vec<_> = scan.rows.iter().map(|row| (row.id, row.applied)).collect();
    applied.sort();
    assert_eq!(applied, [(replica_id(1), second.revision), (replica_id(2), Revision(-1))]);
    assert_eq!(scan.rows.len(), store.replicas().await.unwrap().len());
    assert_eq!(store.registry(Revision(9)).await.unwrap().hash, None, "the log has no such event");
}

async fn a_migration_marks_retired_secrets(database: Database) {
    let store = database.store().await;
    let acme = put_account(&store, account("acme")).await;
    let mut renewed = put_key(&store, key("key_1", "acme")).await;
    for (version, overlap) in [(2, Duration::ZERO), (3, Duration::from_hours(1))] {
        let tx = store.begin().await.unwrap();
        renewed.renew(&acme, minted("key_1", version), overlap, ExpiryChoice::Unspecified, tx.now()).unwrap();
        tx.update_key_and_secrets(&mut renewed).await.unwrap();
        tx.commit(event(Action::RenewKey, "acme", Some("key_1"))).await.unwrap();
    }
    store.begin().await.unwrap().commit(event(Action::ImportKeys, "acme", None)).await.unwrap();
    // The schema of the build before.
    let drop_index = match database.kind {
        Kind::MariaDb => "DROP INDEX api_key_account_active ON api_key",
        _ => "DROP INDEX api_key_account_active",
    };
    for undo in [
        "ALTER TABLE api_key_secret DROP COLUMN retired",
        "ALTER TABLE authority DROP COLUMN log_format_min",
        "ALTER TABLE authority DROP COLUMN lease_us",
        "DROP TABLE durability",
        drop_index,
        "ALTER TABLE audit_event DROP COLUMN subject",
        "ALTER TABLE api_key DROP COLUMN created_by_subject",
        "DELETE FROM seaql_migrations WHERE version > 'm0003'",
    ] {
        database.tamper(undo).await;
    }
    let store = database.store().await;
    let read = store.key(&renewed.id).await.unwrap().unwrap();
    assert_eq!(read.secrets.iter().map(|secret| secret.retired).collect::<Vec<_>>(), [true, false, false]);
    assert_eq!(store.lease().await.unwrap(), Duration::from_secs(10));
    let old = Joining { log_format: 1, ..joining(1, [1; 8]) };
    assert_eq!(store.join(old).await.unwrap(), Err(JoinRefused::LogFormat { needed: 2 }));
}

async fn a_transaction_finds_the_caller_by_its_token(database: Database) {
    let store = database.store().await;
    let acme = put_account(&store, account("acme")).await;
    let mut renewed = put_key(&store, key("key_1", "acme")).await;
    let tx = store.begin().await.unwrap();
    renewed.renew(&acme, minted("key_1", 2), Duration::from_mins(1), ExpiryChoice::Unspecified, tx.now()).unwrap();
    tx.update_key_and_secrets(&mut renewed).await.unwrap();
    let (old, new) = (digest("key_1", 1), digest("key_1", 2));
    let replaced = tx.caller(&old).await.unwrap().unwrap();
    assert_eq!((&replaced.key_id, replaced.is_newest_token), (&renewed.id, false));
    assert_eq!(replaced.token_end(), renewed.secrets[0].retire_time);
    assert_eq!(replaced.access, renewed.access);
    let newest = tx.caller(&new).await.unwrap().unwrap();
    assert_eq!((newest.is_newest_token, newest.token_end()), (true, renewed.expire_time));
    assert!(!newest.facts().revoked && !newest.facts().disabled && !newest.facts().account_suspended);
    renewed.revoke(String::new(), tx.now());
    tx.update_key(&mut renewed).await.unwrap();
    assert!(tx.caller(&new).await.unwrap().unwrap().facts().revoked);
    tx.delete_key(&renewed.id).await.unwrap();
    assert!(tx.caller(&new).await.unwrap().is_none());
}

/// The counter that [`Store::await_durability`] increments.
pub(crate) async fn barrier(database: &Database) -> i64 {
    let session = database.session().await;
    query(&session, "SELECT barrier FROM durability").await[0].try_get("", "barrier").unwrap()
}

async fn a_durable_read_increments_the_barrier(database: Database) {
    let store = database.store().await;
    let before = barrier(&database).await;
    store.await_durability().await.unwrap();
    assert_eq!(barrier(&database).await, before + 1);
    let tx = store.begin().await.unwrap();
    store.await_durability().await.expect("it does not wait for the lock");
    tx.commit_unchanged().await.unwrap();
    assert_eq!(barrier(&database).await, before + 3);
    assert_eq!(store.head().await.unwrap().revision, Revision(0), "it makes no change");
}

async fn a_read_only_database_is_rejected_as_read_only(database: Database) {
    let name = database.url.rsplit('/').next().unwrap().to_owned();
    let store = database.store().await;
    database.tamper(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    let error = Store::connect(&database.url, 2, ring()).await.unwrap_err();
    assert!(matches!(error, StorageError::ReadOnly), "{error:?}");
    assert!(matches!(Store::connect_one(&database.url, ring()).await.unwrap_err(), StorageError::ReadOnly));
    drop(store);
}

async fn a_commit_waits_for_the_disk_despite_a_weaker_server_default(database: Database) {
    let name = database.url.rsplit('/').next().unwrap().to_owned();
    let store = database.store().await;
    store.close().await;
    for sql in [
        format!("ALTER DATABASE {name} SET synchronous_commit = off"),
        "CREATE TABLE seen (setting TEXT)".into(),
        "CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN INSERT INTO seen VALUES (current_setting(''synchronous_commit'')); RETURN NEW; END'"
            .into(),
        "CREATE TRIGGER see AFTER INSERT ON audit_event FOR EACH ROW EXECUTE FUNCTION see()".into(),
    ] {
        database.tamper(&sql).await;
    }
    note(&Store::connect(&database.url, 2, ring()).await.unwrap()).await;
    let session = database.session().await;
    let seen: String = query(&session, "SELECT setting FROM seen").await[0].try_get("", "setting").unwrap();
    assert_eq!(seen, "on");
}

mod servers {
    use super::*;
    on_database_servers! { a_durable_read_increments_the_barrier }
}

/// On MariaDB these settings apply to the whole server, which other tests use: see `whole_server` of the server's
/// tests.
mod of_one_database {
    use super::*;
    on_databases!([postgres Postgres] {
        a_read_only_database_is_rejected_as_read_only,
        a_commit_waits_for_the_disk_despite_a_weaker_server_default,
    });
}
