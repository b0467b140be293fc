//! A database that goes back, by a restore or a failover that lost changes.

use key_authority_proto::v1::*;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use super::{outcome, verdicts};
use crate::support::authority::VERIFY;
use crate::support::{Authority, Database, Setup, eventually, on_database_servers, refused};

const TABLES: [&str; 5] = ["account", "api_key", "api_key_secret", "audit_event", "authority"];

/// Keeps a copy of the database in itself.
fn back_up(authority: &Authority) {
    let copy = |table: &str| format!("CREATE TABLE kept_{table} AS SELECT * FROM {table}");
    authority.database().sql(&TABLES.map(copy).join(";"));
}

/// Brings the copy back, in one transaction.
fn restore(authority: &Authority) {
    let clear = TABLES.iter().rev().map(|table| format!("DELETE FROM {table}"));
    let fill = TABLES.iter().map(|table| format!("INSERT INTO {table} SELECT * FROM kept_{table}"));
    let statements: Vec<_> = clear.chain(fill).collect();
    authority.database().sql(&format!("START TRANSACTION;{};COMMIT", statements.join(";")));
}

async fn held(replica: &Authority) -> u64 {
    replica.client().get_authority_status(GetAuthorityStatusRequest {}).await.unwrap().held_tokens
}

async fn a_key_that_was_revoked_stays_refused_until_an_operator_accepts_the_restore(database: Database) {
    let first = Setup::on(database).start().await;
    let replicas = [first.another(|setup| setup).await, first];
    let client = replicas[0].client();
    client.new_account("acme", KeyPolicy::default()).await;
    let [revoked, deleted, renewed, good] = [
        client.key_in("acme").await,
        client.key_in("acme").await,
        client.key_in("acme").await,
        client.key_in("acme").await,
    ];
    back_up(&replicas[0]);

    client.revoke(&revoked.id()).await;
    client.delete_key(DeleteKeyRequest { key_id: deleted.id(), ..Default::default() }).await.unwrap();
    client.renew_key(RenewKeyRequest { key_id: renewed.id(), ..Default::default() }).await.unwrap();
    let later = client.key_in("acme").await;
    restore(&replicas[0]);

    for replica in &replicas {
        eventually("it is noticed", async || {
            replica.metrics().await.contains("keyauthority_database_went_back_total 1").then_some(())
        })
        .await;
        eventually("everything is read anew", async || (held(replica).await == 3).then_some(())).await;
        assert!(replica.output().contains("database history diverged"));
    }
    for ended in [&revoked, &deleted, &renewed] {
        assert_eq!(client.key(&ended.id()).await.state(), KeyState::Active, "as the database says");
        assert_eq!(verdicts(&replicas, ended).await, [Verdict::Revoked; 2], "but it had ended");
    }
    assert_eq!(verdicts(&replicas, &good).await, [Verdict::Valid; 2]);
    assert_eq!(verdicts(&replicas, &later).await, [Verdict::Unknown; 2], "what was lost is lost");

    // It goes on: changes reach everybody, and what is ended again need not be held.
    assert_eq!(outcome(&client.revoke_everywhere(&revoked.id()).await), (PropagationState::Confirmed, 2));
    assert_eq!((held(&replicas[0]).await, held(&replicas[1]).await), (2, 2));

    let (_, limited) = replicas[0].new_caller(&["operate"], Some(&["acme"])).await;
    let refusal = limited.accept_restore(AcceptRestoreRequest::default()).await;
    refused(refusal, Code::PermissionDenied, "GRANT_EXCEEDS_CALLER");
    assert_eq!(verdicts(&replicas, &deleted).await, [Verdict::Revoked; 2]);
    let accepted = client.accept_restore(AcceptRestoreRequest { request_id: "r1".into() }).await.unwrap();
    assert_eq!(accepted.propagation.unwrap().state(), PropagationState::Confirmed);
    assert_eq!(verdicts(&replicas, &revoked).await, [Verdict::Revoked; 2]);
    assert_eq!(verdicts(&replicas, &deleted).await, [Verdict::Valid; 2]);
    assert_eq!(verdicts(&replicas, &renewed).await, [Verdict::Valid; 2]);
    assert_eq!((held(&replicas[0]).await, held(&replicas[1]).await), (0, 0));
    assert_eq!(verdicts(&replicas, &later).await, [Verdict::Unknown; 2]);
    replicas[0].subcommand(&["audit", "verify"], &[]).await.well();
}

/// It sees that the database went back and was accepted only when all of it is over.
async fn a_replica_that_was_cut_off_meanwhile_lets_go_of_what_was_accepted(database: Database) {
    let first = Setup::on(database).flags(["--lease", "5s"]).start().await;
    let cut_off = first.another(Setup::linked).await;
    let client = first.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let key = client.key_in("acme").await;
    back_up(&first);
    client.revoke(&key.id()).await;
    restore(&first);
    for replica in [&first, &cut_off] {
        eventually("it is held", async || (held(replica).await == 1).then_some(())).await;
    }
    client.accept_restore(AcceptRestoreRequest { request_id: "r1".into() }).await.unwrap();
    assert_eq!((held(&first).await, held(&cut_off).await), (0, 0));

    // The same once more, behind the back of the one; an acceptance that it knows is none of the new state.
    client.revoke(&key.id()).await;
    cut_off.link().pause();
    restore(&first);
    eventually("it is held again", async || (held(&first).await == 1).then_some(())).await;
    client.accept_restore(AcceptRestoreRequest { request_id: "r1".into() }).await.unwrap();
    assert_eq!(client.verdict(&key.token).await, Verdict::Valid);
    cut_off.link().open();
    cut_off.await_health(VERIFY, ServingStatus::Serving).await;
    assert_eq!(verdicts(&[first, cut_off], &key).await, [Verdict::Valid; 2]);
}

async fn a_second_restore_is_quarantined_and_accepted_as_the_first(database: Database) {
    let authority = Setup::on(database).start().await;
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let [one, other] = [client.key_in("acme").await, client.key_in("acme").await];
    back_up(&authority);
    let quarantined = async |count| {
        eventually("tokens are quarantined", async || (held(&authority).await == count).then_some(())).await;
    };
    let verdicts = async || [client.verdict(&one.token).await, client.verdict(&other.token).await];

    client.revoke(&one.id()).await;
    restore(&authority);
    quarantined(1).await;
    assert_eq!(verdicts().await, [Verdict::Revoked, Verdict::Valid]);
    client.accept_restore(AcceptRestoreRequest { request_id: "r1".into() }).await.unwrap();
    assert_eq!(verdicts().await, [Verdict::Valid; 2]);

    client.delete_key(DeleteKeyRequest { key_id: other.id(), ..Default::default() }).await.unwrap();
    client.revoke(&one.id()).await;
    restore(&authority);
    quarantined(2).await;
    assert_eq!(verdicts().await, [Verdict::Revoked; 2]);
    client.accept_restore(AcceptRestoreRequest { request_id: "r2".into() }).await.unwrap();
    assert_eq!(verdicts().await, [Verdict::Valid; 2]);
    authority.subcommand(&["audit", "verify"], &[]).await.well();
}

on_database_servers! {
    a_second_restore_is_quarantined_and_accepted_as_the_first,
    a_replica_that_was_cut_off_meanwhile_lets_go_of_what_was_accepted,
    a_key_that_was_revoked_stays_refused_until_an_operator_accepts_the_restore,
}
