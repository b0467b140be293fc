//! The plans of PostgreSQL for a new database, of whose tables it has no statistics yet.

use std::sync::{Arc, Mutex};

use key_authority_domain::id::KeyId;
use sea_orm::Value;
use sea_orm::sea_query::ArrayType;

use crate::support::database::query;
use crate::support::make::{account, digest, key, key_id, put_account, put_keys};
use crate::support::{Database, on_databases};

on_databases!([postgres Postgres] {
    rows_are_not_compared_with_each_value_of_a_list,
});

async fn rows_are_not_compared_with_each_value_of_a_list(database: Database) {
    let mut store = database.store().await;
    database.tamper("ALTER TABLE api_key SET (autovacuum_enabled = false)").await;
    database.tamper("ALTER TABLE api_key_secret SET (autovacuum_enabled = false)").await;
    put_account(&store, account("acme")).await;
    for part in 0..20 {
        put_keys(&store, (0..100).map(|n| key(&format!("key-{}", part * 100 + n), "acme")).collect()).await;
    }
    let executed = Arc::new(Mutex::new(Vec::new()));
    store.show_statements({
        let executed = Arc::clone(&executed);
        move |statement| executed.lock().expect("no panic").push(statement.clone())
    });
    let ids: Vec<KeyId> = (0..500).map(|n| key_id(&format!("key-{n}"))).collect();
    let read = store.begin_reading().await.unwrap();
    assert_eq!(read.existing_key_ids(&ids).await.unwrap().len(), 500);
    let digests: Vec<_> = (0..250).map(|n| digest(&format!("key-{n}"), 1)).collect();
    read.holders(&digests).await.unwrap();
    drop(read);
    assert_eq!(store.rows(&[], &ids).await.unwrap().keys.len(), 500);

    let executed = executed.lock().expect("no panic").clone();
    let session = database.session().await;
    // The plan of a prepared statement that has been executed some times.
    query(&session, "SET plan_cache_mode = force_generic_plan").await;
    let has_list = |sql: &str| sql.contains(" IN (");
    let lists: Vec<_> = executed.iter().filter(|statement| has_list(&statement.sql)).collect();
    assert!(lists.len() >= 4, "{executed:?}");
    for (number, statement) in lists.iter().enumerate() {
        let values: Vec<&Value> = statement.values.iter().flat_map(|values| &values.0).collect();
        let types: Vec<_> = values.iter().map(|value| sql_type(value)).collect();
        let prepare = format!("PREPARE list{number} ({}) AS {}", types.join(", "), statement.sql);
        query(&session, prepare).await;
        let nulls = vec!["NULL"; values.len()].join(", ");
        let plan = query(&session, format!("EXPLAIN EXECUTE list{number} ({nulls})")).await;
        let plan: Vec<String> = plan.iter().map(|row| row.try_get("", "QUERY PLAN").unwrap()).collect();
        let compares_each = plan.iter().any(|step| step.contains("Filter:") && step.contains("ANY"));
        assert!(!compares_each, "{}: {plan:#?}", statement.sql);
    }
}

fn sql_type(value: &Value) -> &'static str {
    match value {
        Value::Array(ArrayType::Bytes, _) => "bytea[]",
        Value::Array(..) => "text[]",
        Value::Bytes(_) => "bytea",
        _ => "text",
    }
}
