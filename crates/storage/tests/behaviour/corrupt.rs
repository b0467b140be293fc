//! Invalid rows are errors that name the table and the column. They never become defaults, and errors never contain the
//! value.

use key_authority_domain::audit::Action;
use key_authority_domain::id::{AccountId, KeyId, Revision};
use key_authority_storage::audit_read::EventQuery;
use key_authority_storage::key_order::KeyOrder;
use key_authority_storage::key_query::KeyQuery;
use key_authority_storage::page::AccountScope;
use key_authority_storage::settings::SettingsError;
use key_authority_storage::{StorageError, Store};

use crate::changes::every_event;
use crate::support::make::{account, account_id, at, event, join_as, key, key_id, put_account, put_key, replica_id};
use crate::support::{Database, Kind, all_words, on_every_database};

on_every_database! {
    invalid_keys_are_corrupt,
    invalid_secrets_are_corrupt,
    invalid_accounts_are_corrupt,
    patterns_are_not_compiled_when_accounts_are_read,
    invalid_events_are_corrupt,
    an_invalid_authority_row_is_corrupt,
    invalid_replicas_are_corrupt,
}

#[track_caller]
fn assert_corrupt<T>(result: Result<T, StorageError>, table: &str, column: &str, id: &str) {
    let Err(error) = result else { panic!("{table}.{column} of {id} was taken for right") };
    let words = all_words(&error);
    assert!(!words.contains("canary"), "{words}");
    match error {
        StorageError::Corrupt { table: found, column: at, id: whose } => {
            assert_eq!((found, at, whose.as_str()), (table, column, id));
        }
        other => panic!("{table}.{column} of {id}: {other:?}"),
    }
}

/// Reads a key with each kind of read.
async fn assert_key_is_corrupt(store: &Store, id: &KeyId, table: &str, column: &str) {
    assert_corrupt(store.key(id).await, table, column, id.as_str());
    assert_corrupt(store.rows(&[], std::slice::from_ref(id)).await, table, column, id.as_str());
    let account = AccountScope::Only(vec![account_id(id.as_str())]);
    let query = KeyQuery::of(account, at(0));
    assert_corrupt(store.keys(&query, KeyOrder::NEWEST, 10, None).await, table, column, id.as_str());
    let tx = store.begin().await.unwrap();
    assert_corrupt(tx.key(id).await, table, column, id.as_str());
}

/// Writes a key in a separate account, both named after the column that will be invalid.
async fn put(store: &Store, name: &str) -> KeyId {
    put_account(store, account(name)).await;
    put_key(store, key(name, name)).await.id
}

async fn invalid_keys_are_corrupt(database: Database) {
    let store = database.store().await;
    let no = if database.kind == Kind::Postgres { "false" } else { "0" };
    for (number, (column, value)) in [
        ("scopes", "'canary'"),
        ("scopes", "'[\"two words canary\"]'"),
        ("scopes", "'{}'"),
        ("scopes", "'[1]'"),
        ("networks", "'[\"10.0.0.1/8\"]'"),
        ("labels", "'[]'"),
        ("labels", "'{\"a\": 1}'"),
        ("labels", "''"),
        ("created_by", "'two words'"),
        ("created_by_subject", "''"),
        ("use_count", "-1"),
    ]
    .into_iter()
    .enumerate()
    {
        let id = put(&store, &format!("key-{number}")).await;
        database.tamper(&format!("UPDATE api_key SET {column} = {value} WHERE id = '{id}'")).await;
        assert_key_is_corrupt(&store, &id, "api_key", column).await;
    }
    for (number, value) in ["'null'", "'[\"\"]'", "'[\"canary'"].into_iter().enumerate() {
        let id = put(&store, &format!("projects-{number}")).await;
        let sql = format!("UPDATE api_key SET all_projects = {no}, projects = {value} WHERE id = '{id}'");
        database.tamper(&sql).await;
        assert_key_is_corrupt(&store, &id, "api_key", "projects").await;
    }
    let every = KeyQuery::of(AccountScope::All, at(0));
    assert!(matches!(store.keys(&every, KeyOrder::NEWEST, 100, None).await, Err(StorageError::Corrupt { .. })));
    assert!(matches!(store.snapshot(|_| ()).await, Err(StorageError::Corrupt { .. })));
}

async fn invalid_secrets_are_corrupt(database: Database) {
    let store = database.store().await;
    if database.kind == Kind::MariaDb {
        // The column rejects a digest of another length unless the table is altered.
        database.tamper("ALTER TABLE api_key_secret MODIFY digest varbinary(64) NOT NULL").await;
    }
    let (short, long) = (database.bytes(&[7; 31]), database.bytes(&[7; 33]));
    for (number, (column, value)) in
        [("digest", short.as_str()), ("digest", &long), ("version", "-1"), ("secret_version", "-1")]
            .into_iter()
            .enumerate()
    {
        let id = put(&store, &format!("secret-{number}")).await;
        database.tamper(&format!("UPDATE api_key_secret SET {column} = {value} WHERE key_id = '{id}'")).await;
        assert_key_is_corrupt(&store, &id, "api_key_secret", column).await;
    }
    let id = put(&store, "without").await;
    database.tamper("DELETE FROM api_key_secret WHERE key_id = 'without'").await;
    assert_key_is_corrupt(&store, &id, "api_key_secret", "key_id").await;
}

async fn invalid_accounts_are_corrupt(database: Database) {
    let store = database.store().await;
    let but = |change: &str| {
        let (right, wrong) = change.split_once("->").unwrap();
        format!("replace(policy, '{right}', '{wrong}')")
    };
    for (number, policy) in [
        "'canary'".to_owned(),
        "'{}'".to_owned(),
        but("\"token_prefix\":\"->\"token_prefix\":\"CANARY canary"),
        but("\"display_name_pattern\":null->\"display_name_pattern\":\"(canary\""),
        but("\"max_keys\":null->\"max_keys\":-1"),
        but("\"free\"->\"canary\""),
    ]
    .into_iter()
    .enumerate()
    {
        let id: AccountId = put_account(&store, account(&format!("account-{number}"))).await.id;
        database.tamper(&format!("UPDATE account SET policy = {policy} WHERE id = '{id}'")).await;
        assert_corrupt(store.account(&id).await, "account", "policy", id.as_str());
        assert_corrupt(store.rows(std::slice::from_ref(&id), &[]).await, "account", "policy", id.as_str());
        let scope = AccountScope::Only(vec![id.clone()]);
        assert_corrupt(store.accounts(&scope, 10, None).await, "account", "policy", id.as_str());
    }
}

/// Patterns are compiled when a name is checked: a page of accounts would compile a thousand.
async fn patterns_are_not_compiled_when_accounts_are_read(database: Database) {
    let store = database.store().await;
    let id = put_account(&store, account("acme")).await.id;
    let pattern = "replace(policy, '\"display_name_pattern\":null', '\"display_name_pattern\":\"[a-z]{5000}{500}\"')";
    database.tamper(&format!("UPDATE account SET policy = {pattern}")).await;
    let read = store.account(&id).await.unwrap().unwrap();
    assert!(read.policy.check_display_name("a").is_err(), "it is too large to be compiled, so it accepts no name");
}

async fn invalid_events_are_corrupt(database: Database) {
    let store = database.store().await;
    if database.kind == Kind::MariaDb {
        database.tamper("ALTER TABLE audit_event MODIFY hash varbinary(64) NOT NULL").await;
    }
    let short = database.bytes(&[1; 31]);
    let cases = [
        ("action", "99"),
        ("action", "0"),
        ("actor", "'two words'"),
        ("subject", "''"),
        ("account", "''"),
        ("key_id", "'can ary'"),
        ("secret_version", "-1"),
        ("hash", short.as_str()),
    ];
    for (revision, (column, value)) in (1..).zip(cases) {
        store.begin().await.unwrap().commit(event(Action::RevealToken, "acme", Some("key_1"))).await.unwrap();
        database.tamper(&format!("UPDATE audit_event SET {column} = {value} WHERE revision = {revision}")).await;
        let listed = store.events(&every_event(), 1, Revision(revision - 1)).await;
        // The page reads one more event, which does not exist yet.
        assert_corrupt(listed, "audit_event", column, &revision.to_string());
        if matches!(column, "account" | "key_id" | "hash") {
            assert_corrupt(store.feed(Revision(revision)).await, "audit_event", column, &revision.to_string());
        }
    }
    let query = EventQuery { actions: vec![Action::CreateKey], ..every_event() };
    assert!(store.events(&query, 10, Revision(0)).await.unwrap().items.is_empty());
    let revision = i64::try_from(cases.len()).unwrap() + 1;
    store.begin().await.unwrap().commit(event(Action::CreateKey, "acme", None)).await.unwrap();
    database.tamper(&format!("UPDATE audit_event SET request_id = 'canary' WHERE revision = {revision}")).await;
    let listed = store.events(&query, 10, Revision(0)).await;
    assert_corrupt(listed, "audit_event", "request_digest", &revision.to_string());
}

async fn an_invalid_authority_row_is_corrupt(database: Database) {
    let store = database.store().await;
    if database.kind == Kind::MariaDb {
        database.tamper("ALTER TABLE authority MODIFY head_hash varbinary(64) NOT NULL").await;
    }
    let storage = |error| match error {
        SettingsError::Storage(error) => error,
        other => panic!("{other:?}"),
    };
    database.tamper("UPDATE authority SET lease_us = -1").await;
    assert_corrupt(store.lease().await, "authority", "lease_us", "1");
    for checks in ["canary", "1canary:00", "1"] {
        database.tamper(&format!("UPDATE authority SET secret_checks = '{checks}'")).await;
        assert_corrupt(store.check_secret().await.map_err(storage), "authority", "secret_checks", "1");
    }
    database.tamper(&format!("UPDATE authority SET lease_us = 1000, head_hash = {}", database.bytes(&[1; 31]))).await;
    assert_corrupt(store.head().await, "authority", "head_hash", "1");
    assert_corrupt(store.feed(Revision(0)).await, "authority", "head_hash", "1");
    assert_corrupt(store.begin().await.map(|_| ()), "authority", "head_hash", "1");
    assert_corrupt(store.snapshot(|_| ()).await, "authority", "head_hash", "1");
    database.tamper("DELETE FROM authority").await;
    assert_corrupt(store.head().await, "authority", "id", "1");
    assert_corrupt(store.feed(Revision(0)).await, "authority", "id", "1");
    assert_corrupt(store.begin().await.map(|_| ()), "authority", "id", "1");
    assert_corrupt(store.snapshot(|_| ()).await, "authority", "id", "1");
}

async fn invalid_replicas_are_corrupt(database: Database) {
    let store = database.store().await;
    if database.kind == Kind::MariaDb {
        database.tamper("ALTER TABLE replica MODIFY nonce varbinary(64) NOT NULL").await;
    }
    join_as(&store, 1, [1; 8]).await;
    let id = replica_id(1).to_string();
    database.tamper(&format!("UPDATE replica SET nonce = {}", database.bytes(&[1; 7]))).await;
    assert_corrupt(store.replicas().await, "replica", "nonce", &id);
    database.tamper("UPDATE replica SET id = 'nobody'").await;
    assert_corrupt(store.replicas().await, "replica", "id", "nobody");
    assert!(store.key(&key_id("key_1")).await.unwrap().is_none());
}
