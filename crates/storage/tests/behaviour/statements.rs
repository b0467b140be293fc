//! The generated SQL of important statements matches the files in `tests/golden/`, and its plan uses the intended
//! index. After an intended change, run the test with `KEY_AUTHORITY_UPDATE_GOLDEN=1` to rewrite the files.

use std::fmt::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use key_authority_domain::account::CountedKeys;
use key_authority_domain::audit::ChainHash;
use key_authority_domain::id::Revision;
use key_authority_domain::key::KeyState;
use key_authority_storage::Store;
use key_authority_storage::audit_read::{EventOrder, EventQuery};
use key_authority_storage::feed::{FeedEvent, KeySet};
use key_authority_storage::key_order::{KeyCursor, KeyOrder, RankValue};
use key_authority_storage::key_query::KeyQuery;
use key_authority_storage::page::{AccountScope, Newest};
use key_authority_storage::settings::Head;
use key_authority_storage::usage::UsageDelta;
use sea_orm::{ConnectionTrait, Statement};

use crate::changes::every_event;
use crate::plan::{Step, plan};
use crate::support::make::{
    account, account_id, actor, at, digest, join_as, key, key_id, mark, only, put_account, put_key, put_keys,
    replica_id,
};
use crate::support::{Database, Kind, on_every_database};

on_every_database! {
    statements_match_the_golden_file,
    statements_use_their_index,
}

/// The statements executed for each purpose.
struct Recorded(Vec<(&'static str, Vec<Statement>)>);

/// An index, by its name or by the table whose primary key it is.
enum Index {
    Named(&'static str),
    Primary(&'static str),
}

use Index::{Named, Primary};

/// The intended index of each statement of each purpose.
const INDEXES: &[(&str, &[Index])] = &[
    ("feed", &[Primary("audit_event")]),
    ("begin", &[Primary("authority"), Primary("authority")]),
    ("key by id", &[Primary("api_key"), Primary("api_key_secret")]),
    ("keys, first page", KEYS),
    ("keys, next page", KEYS),
    ("keys of an account, first page", KEYS_OF_AN_ACCOUNT),
    ("keys of an account, next page", KEYS_OF_AN_ACCOUNT),
    ("keys with a text, first page", KEYS_OF_AN_ACCOUNT),
    ("keys with a text, next page", KEYS_OF_AN_ACCOUNT),
    ("few keys in a state", &[Named("api_key_account_newest"), Named("api_key_account_active")]),
    ("count of active keys", &[Named("api_key_account_active"), Named("api_key_account_active")]),
    ("newest active key", &[Named("api_key_account_newest"), Primary("api_key_secret")]),
    ("key IDs ever used", &[Primary("api_key"), Named("audit_event_key")]),
    ("account ID ever used", &[Named("audit_event_account")]),
    ("caller of a token", &[Named("api_key_secret_digest")]),
    ("key and secrets written", KEY_AND_SECRETS),
    ("keys by their tokens", &[Named("api_key_secret_digest"), Primary("api_key")]),
    ("keys of an import", &[Named("api_key_newest"), Primary("api_key"), Primary("api_key_secret")]),
    ("keys of a revocation", &[Named("api_key_account_active"), Named("audit_event_account")]),
    ("keys to revoke", &[Named("api_key_account_newest")]),
    ("used keys, locked", &[Primary("api_key")]),
    ("usage", &[Primary("api_key"), Named("api_key_secret_digest")]),
    ("accounts, first page", &[Named("account_newest")]),
    ("accounts, next page", &[Named("account_newest")]),
    ("events", &[Primary("audit_event"), Primary("audit_event")]),
    ("events of an account", &[Named("audit_event_account"), Primary("audit_event")]),
    ("events of an account since a time", &[Named("audit_event_account"), Primary("audit_event")]),
    ("events of a key", &[Named("audit_event_key"), Primary("audit_event")]),
    ("events of an actor", &[Named("audit_event_actor"), Primary("audit_event")]),
    ("events of a time", &[Named("audit_event_time"), Primary("audit_event"), Primary("audit_event")]),
    ("events of a window", &[Named("audit_event_time"), Primary("audit_event"), Primary("audit_event")]),
    ("newest events", &[Primary("audit_event"), Primary("audit_event")]),
    ("newest events of a key in an account", &[Named("audit_event_key"), Primary("audit_event")]),
    ("newest events of a window", &[Named("audit_event_time"), Primary("audit_event"), Primary("audit_event")]),
    ("event by request", &[Named("audit_event_request")]),
    ("registry", &[Primary("audit_event")]),
    ("confirm", &[Primary("replica")]),
    ("fence", &[Primary("replica")]),
];

const KEYS: &[Index] =
    &[Named("api_key_newest"), Named("api_key_newest"), Primary("api_key"), Primary("api_key_secret")];
const KEYS_OF_AN_ACCOUNT: &[Index] =
    &[Named("api_key_account_newest"), Named("api_key_account_newest"), Primary("api_key"), Primary("api_key_secret")];
const KEY_AND_SECRETS: &[Index] =
    &[Primary("api_key"), Primary("api_key_secret"), Primary("api_key_secret"), Primary("api_key_secret")];

impl Recorded {
    #[expect(clippy::too_many_lines, reason = "one line or two for each statement, in the order of the golden files")]
    async fn record(mut store: Store) -> Self {
        let executed = Arc::new(Mutex::new(Vec::new()));
        store.show_statements({
            let executed = Arc::clone(&executed);
            move |statement| executed.lock().expect("no panic").push(statement.clone())
        });
        let taken = || std::mem::take(&mut *executed.lock().expect("no panic"));
        let mut recorded = Vec::new();

        store.feed(Revision(200)).await.unwrap();
        recorded.push(("feed", taken()));
        let tx = store.begin().await.unwrap();
        recorded.push(("begin", taken()));
        assert_eq!(tx.count_towards_limit(&account_id("acme"), CountedKeys::Active, 1_000).await.unwrap(), 10);
        recorded.push(("count of active keys", taken()));
        assert!(tx.newest_active_key(&account_id("acme")).await.unwrap().is_some());
        recorded.push(("newest active key", taken()));
        let used = tx.used_key_ids(&[key_id("key-7"), key_id("nobody")]).await.unwrap();
        assert_eq!(used.into_iter().collect::<Vec<_>>(), [key_id("key-7")]);
        recorded.push(("key IDs ever used", taken()));
        assert!(!tx.is_account_id_used(&account_id("nobody")).await.unwrap());
        // The first statement reads the account.
        recorded.push(("account ID ever used", taken().split_off(1)));
        assert!(tx.caller(&digest("key-7", 1)).await.unwrap().is_some());
        recorded.push(("caller of a token", taken()));
        let mut written = tx.key(&key_id("key-7")).await.unwrap().unwrap();
        taken();
        tx.update_key_and_secrets(&mut written).await.unwrap();
        recorded.push(("key and secrets written", taken()));
        assert!(tx.find_replayed(&actor("caller"), &mark("request_77", 0)).await.unwrap().unwrap().is_some());
        recorded.push(("event by request", taken()));
        assert_eq!(tx.holders(&[digest("key-7", 1), digest("nobody", 1)]).await.unwrap().len(), 1);
        recorded.push(("keys by their tokens", taken()));
        drop(tx);
        assert_eq!(store.keys_changed_by(&feed_event(KeySet::Created)).await.unwrap().keys.len(), 1);
        recorded.push(("keys of an import", taken()));
        assert!(store.keys_changed_by(&feed_event(KeySet::Revoked)).await.unwrap().keys.is_empty());
        recorded.push(("keys of a revocation", taken()));
        assert!(store.key(&key_id("key-7")).await.unwrap().is_some());
        recorded.push(("key by id", taken()));
        let reading = store.begin_reading().await.unwrap();
        taken();
        reading.for_each_unrevoked(&KeyQuery::of(only(&["acme"]), at(0)), |_| true).await.unwrap();
        recorded.push(("keys to revoke", taken()));
        drop(reading);
        let after = KeyCursor { value: RankValue::Number(written.create_revision.0), id: "key-7".into() };
        for (name, accounts, after) in [
            ("keys, first page", AccountScope::All, None),
            ("keys, next page", AccountScope::All, Some(&after)),
            ("keys of an account, first page", only(&["acme"]), None),
            ("keys of an account, next page", only(&["acme"]), Some(&after)),
        ] {
            let query = KeyQuery { states: vec![KeyState::Active], ..KeyQuery::of(accounts, at(0)) };
            assert_eq!(store.keys(&query, KeyOrder::NEWEST, 2, after).await.unwrap().items.len(), 2);
            recorded.push((name, taken()));
        }
        for (name, after) in [("keys with a text, first page", None), ("keys with a text, next page", Some(&after))] {
            let query = KeyQuery { text: Some("key-".into()), scanned_max: 5, ..KeyQuery::of(only(&["acme"]), at(0)) };
            assert_eq!(store.keys(&query, KeyOrder::NEWEST, 2, after).await.unwrap().items.len(), 2);
            recorded.push((name, taken()));
        }
        let states = vec![KeyState::Revoked];
        let revoked = KeyQuery { states, scanned_max: 5, ..KeyQuery::of(only(&["acme"]), at(0)) };
        assert!(store.keys(&revoked, KeyOrder::NEWEST, 2, None).await.unwrap().items.is_empty());
        recorded.push(("few keys in a state", taken()));
        let after = Newest { create_revision: Revision(1020), id: "account-1020".into() };
        for (name, after) in [("accounts, first page", None), ("accounts, next page", Some(&after))] {
            assert_eq!(store.accounts(&AccountScope::All, 1, after).await.unwrap().items.len(), 1);
            recorded.push((name, taken()));
        }
        for (name, query, after) in [
            ("events", every_event(), 100),
            ("events of an account", EventQuery { accounts: only(&["acme"]), ..every_event() }, 100),
            (
                "events of an account since a time",
                EventQuery { accounts: only(&["acme"]), start: Some(at(100)), ..every_event() },
                0,
            ),
            ("events of a key", EventQuery { key_id: Some(key_id("key-7")), ..every_event() }, 100),
            ("events of an actor", EventQuery { actor: Some(actor("rare")), ..every_event() }, 100),
            ("events of a time", EventQuery { start: Some(at(200)), ..every_event() }, 0),
            ("events of a window", EventQuery { start: Some(at(200)), end: Some(at(240)), ..every_event() }, 210),
            ("newest events", EventQuery { order: EventOrder::Newest, ..every_event() }, i64::MAX),
            (
                "newest events of a key in an account",
                EventQuery {
                    accounts: only(&["acme"]),
                    key_id: Some(key_id("key-7")),
                    order: EventOrder::Newest,
                    ..every_event()
                },
                i64::MAX,
            ),
            (
                "newest events of a window",
                EventQuery { start: Some(at(200)), end: Some(at(240)), order: EventOrder::Newest, ..every_event() },
                i64::MAX,
            ),
        ] {
            assert_eq!(store.events(&query, 2, Revision(after)).await.unwrap().items.len(), 2);
            recorded.push((name, taken()));
        }
        let (key_id, digest) = (key_id("key-7"), digest("key-7", 1));
        let create_revision = written.create_revision;
        store
            .record_usage(&mut [UsageDelta { key_id, digest, create_revision, count: 1, last_used_time: at(1) }])
            .await
            .unwrap();
        let mut usage = taken();
        // SQLite has no row locks.
        let updates = usage.split_off(usage.len() - 2);
        recorded.extend((!usage.is_empty()).then_some(("used keys, locked", usage)));
        recorded.push(("usage", updates));
        assert_eq!(store.registry(Revision(200)).await.unwrap().rows.len(), 20);
        recorded.push(("registry", taken()));
        let head = Head { revision: Revision(1), hash: ChainHash([7; 32]) };
        store.confirm(replica_id(7), head, [1; 8]).await.unwrap();
        recorded.push(("confirm", taken()));
        store.fence(replica_id(7), [1; 8]).await.unwrap();
        recorded.push(("fence", taken()));
        Self(recorded)
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, statements) in &self.0 {
            let _ = writeln!(text, "-- {name}");
            for statement in statements {
                let _ = writeln!(text, "{};", statement.sql);
            }
            text.push('\n');
        }
        text.trim_end().to_owned() + "\n"
    }
}

/// An event of account `acme` that names no keys.
fn feed_event(key_set: KeySet) -> FeedEvent {
    FeedEvent {
        revision: Revision(4),
        hash: ChainHash([7; 32]),
        time: at(4),
        account: account_id("acme"),
        key_id: None,
        accepts_restore: false,
        key_set: Some(key_set),
        records_use: false,
    }
}

/// A database with so many rows that a full scan is a mistake.
async fn filled(database: &Database) -> Store {
    const ROWS: u8 = 250;
    let store = database.store().await;
    for id in ["acme", "other"] {
        put_account(&store, account(id)).await;
    }
    let like_acme = |n| {
        let same = "display_name, suspended, policy, create_time, update_time";
        format!(
            "SELECT 'account-{n}' AS id, {same}, {n} AS create_revision, {n} AS revision FROM account WHERE id = 'acme'"
        )
    };
    let accounts = (1000..1250).map(like_acme).collect::<Vec<_>>().join(" UNION ALL ");
    let columns = "id, display_name, suspended, policy, create_time, update_time, create_revision, revision";
    database.tamper(&format!("INSERT INTO account ({columns}) {accounts}")).await;
    let keys = (0..ROWS).map(|n| key(&format!("key-{n}"), if n % 25 == 7 { "acme" } else { "other" }));
    put_keys(&store, keys.collect()).await;
    put_key(&store, key("key-alone", "other")).await;
    let hash = database.bytes(&[0; 32]);
    let events = (50..290).map(|n| {
        let (who, whose) = if n % 25 == 7 { ("rare", "acme', 'key-7") } else { ("caller", "other', 'key-8") };
        format!("({n}, {n}, '{who}', 1, '{whose}', 'request_{n}', {hash}, 1, {hash})")
    });
    let columns =
        "revision, event_time, actor, action, account, key_id, request_id, request_digest, secret_version, hash";
    let values = events.collect::<Vec<_>>().join(",");
    database.tamper(&format!("INSERT INTO audit_event ({columns}) VALUES {values}")).await;
    for number in 0..20 {
        join_as(&store, number, [0; 8]).await;
    }
    for table in ["account", "api_key", "api_key_secret", "audit_event", "replica"] {
        let table_word = if database.kind == Kind::MariaDb { "TABLE " } else { "" };
        database.tamper(&format!("ANALYZE {table_word}{table}")).await;
    }
    store
}

async fn statements_match_the_golden_file(database: Database) {
    let recorded = Recorded::record(filled(&database).await).await;
    let name = match database.kind {
        Kind::Sqlite => "sqlite.sql",
        Kind::Postgres => "postgres.sql",
        Kind::MariaDb => "mysql.sql",
    };
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("KEY_AUTHORITY_UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, recorded.text()).unwrap();
    }
    let golden = std::fs::read_to_string(&file).unwrap_or_default();
    for (number, (line, expected)) in (1..).zip(recorded.text().lines().zip(golden.lines())) {
        assert_eq!(line, expected, "line {number} of {}", file.display());
    }
    assert_eq!(recorded.text(), golden, "{}: if it is meant, KEY_AUTHORITY_UPDATE_GOLDEN=1", file.display());
}

async fn statements_use_their_index(database: Database) {
    let recorded = Recorded::record(filled(&database).await).await;
    let session = database.session().await;
    if database.kind == Kind::Postgres {
        // With so few rows a scan is faster. The test checks whether an index is available.
        session
            .execute_unprepared("SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off")
            .await
            .unwrap();
    }
    for (name, statements) in recorded.0 {
        let (_, indexes) = INDEXES.iter().find(|(other, _)| *other == name).expect(name);
        assert_eq!(statements.len(), indexes.len(), "{name}: {statements:?}");
        for (statement, index) in statements.iter().zip(*indexes) {
            let plan = plan(&session, database.kind, statement).await;
            let called = index.name(database.kind);
            assert!(plan.iter().any(|step| step.uses(&called)), "{name} without {called}: {plan:?}");
            // The registry is read completely.
            let is_bounded = name == "registry" || plan.iter().all(|step| !step.reads_all());
            assert!(is_bounded, "{name} reads a whole table: {plan:?}");
            let is_next_page = name.ends_with("next page") && matches!(index, Named(_));
            assert!(!is_next_page || plan.iter().any(Step::begins_within), "{name} walks the pages before: {plan:?}");
            // The feed sorts a limited result; a page must be read in index order.
            assert!(name == "feed" || plan.iter().all(|step| !step.sorts()), "{name} sorts: {plan:?}");
        }
    }
}

impl Index {
    fn name(&self, kind: Kind) -> String {
        match (self, kind) {
            (Named(name), _) => (*name).to_owned(),
            (Primary("authority" | "audit_event"), Kind::Sqlite) => "INTEGER PRIMARY KEY".into(),
            (Primary(table), Kind::Sqlite) => format!("sqlite_autoindex_{table}_1"),
            (Primary("api_key_secret"), Kind::Postgres) => "api_key_secret_pk".into(),
            (Primary(table), Kind::Postgres) => format!("{table}_pkey"),
            (Primary(_), Kind::MariaDb) => "PRIMARY".into(),
        }
    }
}
