//! The plans of statements about an account with many keys.

use std::sync::{Arc, Mutex};

use key_authority_domain::id::KeyId;
use key_authority_storage::key_order::{KeyCursor, KeyOrder, RankValue};
use key_authority_storage::key_query::KeyQuery;

use crate::plan::{Step, plan};
use crate::support::make::{account, at, key, key_id, only, put_account, put_keys};
use crate::support::{Database, Kind, on_every_database};

on_every_database! {
    a_later_page_does_not_read_the_pages_before,
}

const ACCOUNT: &str = "large";

/// The key whose page follows.
fn in_the_middle() -> KeyId {
    key_id("key-500")
}

async fn a_later_page_does_not_read_the_pages_before(database: Database) {
    let mut store = database.store().await;
    put_account(&store, account(ACCOUNT)).await;
    for part in 0..20 {
        put_keys(&store, (0..100).map(|n| key(&format!("key-{}", part * 100 + n), ACCOUNT)).collect()).await;
    }
    let table = if database.kind == Kind::MariaDb { "TABLE api_key" } else { "api_key" };
    database.tamper(&format!("ANALYZE {table}")).await;
    let last = store.key(&in_the_middle()).await.unwrap().unwrap();
    let after = KeyCursor { value: RankValue::Number(last.create_revision.0), id: last.id.as_str().to_owned() };

    let executed = Arc::new(Mutex::new(Vec::new()));
    store.show_statements({
        let executed = Arc::clone(&executed);
        move |statement| executed.lock().expect("no panic").push(statement.clone())
    });
    let all = KeyQuery::of(only(&[ACCOUNT]), at(0));
    let with_text = KeyQuery { text: Some("key-".into()), ..all.clone() };
    let narrow = KeyQuery { scanned_max: 100, ..with_text.clone() };
    let session = database.session().await;
    for (name, query) in [("all", all), ("with a text, to the last", with_text), ("with a text", narrow)] {
        executed.lock().expect("no panic").clear();
        assert_eq!(store.keys(&query, KeyOrder::NEWEST, 10, Some(&after)).await.unwrap().items.len(), 10);
        let executed = executed.lock().expect("no panic").clone();
        let walks: Vec<_> = executed.iter().filter(|statement| statement.sql.contains("ORDER BY")).collect();
        assert!(!walks.is_empty(), "{name}: {executed:?}");
        for statement in walks {
            let plan = plan(&session, database.kind, statement).await;
            assert!(plan.iter().any(Step::begins_within), "{name}: {statement}: {plan:?}");
        }
    }
}
