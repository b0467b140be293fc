//! Another process holds the write lock of the SQLite file: changes fail, and the only server goes on answering.

use std::time::Duration;

use key_authority_proto::v1::*;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::support::authority::{STORAGE, VERIFY};
use crate::support::client::{key_for, question};
use crate::support::{Database, Setup, eventually, on_sqlite, refused};

/// Longer than the lease, which an answer must outlive.
const WATCHED: Duration = Duration::from_secs(8);

async fn while_another_process_holds_the_lock_verify_goes_on_and_the_log_names_it(database: Database) {
    let authority = Setup::on(database).log("info").flags(["--lease", "5s"]).start().await;
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let (good, bad) = (client.key_in("acme").await, client.key_in("acme").await);
    client.revoke(&bad.id()).await;

    let held = authority.database().hold_changes();
    let change = tokio::spawn({
        let client = client.clone();
        async move { client.create_key(key_for("acme")).await }
    });
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for tick in 0..WATCHED.as_millis() / ticks.period().as_millis() {
        ticks.tick().await;
        for (key, verdict) in [(&good, Verdict::Valid), (&bad, Verdict::Revoked)] {
            let answer = client.verify(question(&key.token)).await;
            assert_eq!(answer.map(|answer| answer.verdict()).map_err(|status| status.code()), Ok(verdict), "{tick}");
        }
    }
    refused(change.await.unwrap(), Code::Unavailable, "STORAGE_UNAVAILABLE");
    assert_eq!(authority.health_of(VERIFY).await, ServingStatus::Serving);
    assert_eq!(authority.health_of(STORAGE).await, ServingStatus::NotServing, "changes fail");
    assert!(authority.metrics().await.contains("keyauthority_storage_ready 0"));
    let output = authority.output();
    let lines: Vec<_> = output.lines().filter(|line| line.contains("cannot write the heartbeat")).collect();
    assert_eq!(lines.len(), 1, "once an outage: {lines:#?}");
    assert!(lines[0].contains("WARN") && lines[0].contains("locked by another process"), "{}", lines[0]);

    drop(held);
    authority.await_health(STORAGE, ServingStatus::Serving).await;
    eventually("changes are made again", async || client.create_key(key_for("acme")).await.ok()).await;
    assert_eq!(client.keys_of("acme").await.len(), 3, "what was refused is not there");
    client.revoke(&good.id()).await;
    assert_eq!(client.verdict(&good.token).await, Verdict::Revoked);
}

on_sqlite! { while_another_process_holds_the_lock_verify_goes_on_and_the_log_names_it }
