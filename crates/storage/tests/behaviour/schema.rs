//! Schema migrations, and rejection of an unknown schema.

use key_authority_storage::migrate::SchemaError;
use key_authority_storage::{StorageError, Store};
use tokio::task::JoinSet;

use crate::support::database::query;
use crate::support::make::{account, put_account, ring};
use crate::support::proxy::Proxy;
use crate::support::{Database, Kind, on_database_servers, on_every_database};

on_every_database! {
    an_empty_database_is_older_until_it_is_migrated,
    of_concurrent_migrations_one_is_applied,
    an_unknown_migration_is_newer,
    a_migration_preserves_the_data,
    an_interrupted_migration_is_completed,
}

async fn an_empty_database_is_older_until_it_is_migrated(database: Database) {
    let store = database.connect(2).await;
    let error = store.check_schema().await.unwrap_err();
    assert!(matches!(error, SchemaError::Older { pending: 5 }), "{error:?}");
    assert_eq!(store.migrate(None).await.unwrap(), 5);
    store.check_schema().await.unwrap();
    assert_eq!(store.migrate(None).await.unwrap(), 0);
}

async fn of_concurrent_migrations_one_is_applied(database: Database) {
    let mut processes = JoinSet::new();
    for _ in 0..4 {
        let store = database.connect(2).await;
        processes.spawn(async move { store.migrate(None).await.unwrap() });
    }
    let mut applied = processes.join_all().await;
    applied.sort_unstable();
    assert_eq!(applied, [0, 0, 0, 5]);
    let session = database.session().await;
    assert_eq!(query(&session, "SELECT id FROM authority").await.len(), 1);
    assert_eq!(query(&session, "SELECT version FROM seaql_migrations").await.len(), 5);
}

async fn an_unknown_migration_is_newer(database: Database) {
    let store = database.store().await;
    database.tamper("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_future', 0)").await;
    for error in [store.check_schema().await.unwrap_err(), store.migrate(None).await.unwrap_err()] {
        assert!(matches!(&error, SchemaError::Newer { name } if name == "m9999_future"), "{error:?}");
    }
    database.tamper("DELETE FROM seaql_migrations WHERE version = 'm9999_future'").await;
    store.check_schema().await.unwrap();
}

async fn a_migration_preserves_the_data(database: Database) {
    let store = database.store().await;
    let kept = put_account(&store, account("acme")).await;
    assert_eq!(database.connect(2).await.migrate(None).await.unwrap(), 0);
    assert_eq!(store.account(&kept.id).await.unwrap(), Some(kept));
}

async fn an_interrupted_migration_is_completed(database: Database) {
    let store = database.connect(2).await;
    // An obstacle makes the migration fail as late as possible: at the last table or, on databases with implicit
    // commits, where existing tables are skipped, at the row that is inserted after all tables.
    let obstacle = if database.kind == Kind::MariaDb { "authority" } else { "replica" };
    database.tamper(&format!("CREATE TABLE {obstacle} (something INTEGER)")).await;
    store.migrate(None).await.unwrap_err();
    database.tamper(&format!("DROP TABLE {obstacle}")).await;
    assert_eq!(store.migrate(None).await.unwrap(), 5);
    if database.kind == Kind::MariaDb {
        // Only the entry in the table of migrations was missing.
        database.tamper("DELETE FROM seaql_migrations").await;
        assert_eq!(store.migrate(None).await.unwrap(), 5);
    }
    store.check_schema().await.unwrap();
    let session = database.session().await;
    assert_eq!(query(&session, "SELECT id FROM authority").await.len(), 1);
    let kept = put_account(&store, account("acme")).await;
    assert_eq!(store.account(&kept.id).await.unwrap(), Some(kept));
}

async fn a_connection_lost_while_another_process_migrates_is_unavailable(database: Database) {
    let other = database.session().await;
    let (lock, waiting) = match database.kind {
        Kind::Postgres => (
            "SELECT pg_advisory_lock(7738724994195417089)",
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted",
        ),
        _ => (
            "SELECT GET_LOCK(CONCAT('key_authority_migrations.', MD5(DATABASE())), 0)",
            "SELECT 1 FROM information_schema.processlist WHERE state = 'User lock' AND db = DATABASE()",
        ),
    };
    query(&other, lock).await;
    let proxy = Proxy::open(&database).await;
    let store = Store::connect(&proxy.url, 2, ring()).await.unwrap();
    let migrating = tokio::spawn(async move { store.migrate(None).await });
    while query(&other, waiting).await.is_empty() {}
    proxy.cut();
    let error = migrating.await.unwrap().unwrap_err();
    assert!(matches!(error, SchemaError::Storage(StorageError::Unavailable(_))), "{error:?}");
}

mod over_a_link {
    use super::*;
    on_database_servers! { a_connection_lost_while_another_process_migrates_is_unavailable }
}
