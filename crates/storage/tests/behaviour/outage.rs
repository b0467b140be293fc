//! Outages of the database: reported in time, with the right error, and without the password.

use std::time::Duration;

use key_authority_storage::{StorageError, Store};

use crate::support::database::unreachable_file;
use crate::support::make::{note, ring};
use crate::support::proxy::{Fate, Proxy};
use crate::support::{Database, all_words, is_away, on_database_servers, on_sqlite};

on_database_servers! {
    a_wrong_port_is_unavailable_within_five_seconds,
    a_wrong_password_is_rejected_and_not_logged,
    an_unknown_database_is_rejected,
    a_lost_database_is_unavailable,
}

on_sqlite! {
    a_file_that_cannot_be_created_is_unavailable,
}

const IN_TIME: Duration = Duration::from_secs(5);

/// The user, the password and the rest of a URL.
fn parts(url: &str) -> (&str, &str, &str) {
    let (before, after) = url.rsplit_once('@').unwrap();
    let (user, password) = before.rsplit_once(':').unwrap();
    (user, password, after)
}

async fn connect_error(url: &str) -> StorageError {
    let connected = tokio::time::timeout(IN_TIME, Store::connect(url, 2, ring())).await;
    connected.expect("an answer within five seconds").expect_err("no connection")
}

async fn a_wrong_port_is_unavailable_within_five_seconds(database: Database) {
    let (user, password, after) = parts(&database.url);
    let (_, name) = after.split_once('/').unwrap();
    // No process listens there: the test has just released the port.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    drop(taken);
    let error = connect_error(&format!("{user}:{password}@127.0.0.1:{port}/{name}")).await;
    assert!(matches!(error, StorageError::Unavailable(_)), "{error:?}");
    assert!(all_words(&error).contains("Connection refused"), "{}", all_words(&error));
    assert!(!all_words(&error).contains(password), "{}", all_words(&error));
}

async fn a_wrong_password_is_rejected_and_not_logged(database: Database) {
    let (user, _, after) = parts(&database.url);
    let error = connect_error(&format!("{user}:canary-of-a-password@{after}")).await;
    assert!(matches!(error, StorageError::AuthenticationFailed(_)), "{error:?}");
    assert!(!all_words(&error).contains("canary"), "{}", all_words(&error));
}

async fn an_unknown_database_is_rejected(database: Database) {
    let error = connect_error(&format!("{}_unknown", database.url)).await;
    assert!(matches!(error, StorageError::NoDatabase(_)), "{error:?}");
    assert!(!all_words(&error).contains(parts(&database.url).1), "{}", all_words(&error));
}

async fn a_lost_database_is_unavailable(database: Database) {
    database.store().await;
    let proxy = Proxy::open(&database).await;
    let store = Store::connect(&proxy.url, 3, ring()).await.unwrap();
    note(&store).await;
    proxy.cut();
    let password = parts(&database.url).1;
    for _ in 0..2 {
        let error = tokio::time::timeout(IN_TIME, store.now()).await.unwrap().unwrap_err();
        assert!(matches!(error, StorageError::Unavailable(_)), "{error:?}");
        assert!(!all_words(&error).contains(password), "{}", all_words(&error));
    }
    proxy.mend();
    note(&store).await;
    proxy.arm(Fate::CutBefore);
    let error = store.begin().await.unwrap().commit(crate::support::make::event(
        key_authority_domain::audit::Action::RevealToken,
        "acme",
        None,
    ));
    let error = error.await.unwrap_err();
    assert!(is_away(&error), "{error:?}");
}

async fn a_file_that_cannot_be_created_is_unavailable(_database: Database) {
    let folder = tempfile::tempdir().unwrap();
    let error = connect_error(&unreachable_file(folder.path())).await;
    assert!(is_away(&error), "{error:?}");
}
