//! Several replicas over one database: a change is over when its call returns, whatever becomes of a replica.

mod lease;
mod restore;
mod rotation;

use std::time::Duration;

use key_authority_proto::v1::*;
use rustix::process::Signal;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::support::authority::{STORAGE, VERIFY};
use crate::support::client::question;
use crate::support::{Authority, Client, Database, NewKey, Setup, eventually, on_database_servers, refused};

/// Three replicas, with the shortest lease.
async fn three(database: Database) -> [Authority; 3] {
    let first = Setup::on(database).flags(["--lease", "5s"]).start().await;
    let (second, third) = tokio::join!(first.another(|setup| setup), first.another(|setup| setup));
    first.client().new_account("acme", KeyPolicy::default()).await;
    [first, second, third]
}

async fn verdicts(replicas: &[Authority], key: &NewKey) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for replica in replicas {
        verdicts.push(replica.client().verdict(&key.token).await);
    }
    verdicts
}

fn outcome(propagation: &Propagation) -> (PropagationState, u32) {
    (propagation.state(), propagation.replicas)
}

/// Asks until the replica answers, and fails when it lets the token of a revoked key pass, or denies for want of facts.
async fn first_answer(client: &Client, key: &NewKey) -> Verdict {
    eventually("the replica answers", async || match client.verify(question(&key.token)).await {
        Ok(answer) => Some(answer.verdict()),
        Err(status) => {
            refused::<()>(Err(status), Code::Unavailable, "LEASE_EXPIRED");
            None
        }
    })
    .await
}

async fn every_change_is_everywhere_when_its_call_returns(database: Database) {
    const CONFIRMED: (PropagationState, u32) = (PropagationState::Confirmed, 3);
    let replicas = three(database).await;
    let client = replicas[0].client();
    let key = replicas[1].client().key_in("acme").await;
    assert_eq!(verdicts(&replicas, &key).await, [Verdict::Valid; 3]);

    let request = DisableKeyRequest { key_id: key.id(), ..Default::default() };
    let disabled = client.disable_key(request).await.unwrap();
    assert_eq!(outcome(&disabled.propagation.unwrap()), CONFIRMED);
    assert_eq!(verdicts(&replicas, &key).await, [Verdict::Disabled; 3]);

    let request = EnableKeyRequest { key_id: key.id(), ..Default::default() };
    let enabled = replicas[2].client().enable_key(request).await.unwrap();
    assert_eq!(outcome(&enabled.propagation.unwrap()), CONFIRMED);
    assert_eq!(verdicts(&replicas, &key).await, [Verdict::Valid; 3]);

    let request = SuspendAccountRequest { account: "acme".into(), ..Default::default() };
    client.suspend_account(request).await.unwrap();
    assert_eq!(verdicts(&replicas, &key).await, [Verdict::AccountSuspended; 3]);
    let request = ResumeAccountRequest { account: "acme".into(), ..Default::default() };
    client.resume_account(request).await.unwrap();

    let request = RenewKeyRequest { key_id: key.id(), ..Default::default() };
    let renewed = replicas[1].client().renew_key(request).await.unwrap();
    let new = NewKey { key: renewed.key.unwrap(), token: renewed.token };
    assert_eq!(verdicts(&replicas, &key).await, [Verdict::Expired; 3]);
    assert_eq!(verdicts(&replicas, &new).await, [Verdict::Valid; 3]);

    assert_eq!(outcome(&replicas[2].client().revoke_everywhere(&key.id()).await), CONFIRMED);
    assert_eq!(verdicts(&replicas, &new).await, [Verdict::Revoked; 3]);
    let request = DeleteKeyRequest { key_id: key.id(), ..Default::default() };
    client.delete_key(request).await.unwrap();
    assert_eq!(verdicts(&replicas, &new).await, [Verdict::Unknown; 3]);
}

async fn many_changes_at_once_are_each_over_when_they_return(database: Database) {
    let replicas = three(database).await;
    let mut changes = tokio::task::JoinSet::new();
    for number in 0..30 {
        let clients = [0, 1, 2].map(|at| replicas[(number + at) % 3].client());
        changes.spawn(async move {
            let key = clients[0].key_in("acme").await;
            assert_eq!(clients[1].verdict(&key.token).await, Verdict::Valid);
            clients[2].revoke_everywhere(&key.id()).await;
            assert_eq!(clients[1].verdict(&key.token).await, Verdict::Revoked);
            assert_eq!(clients[0].verdict(&key.token).await, Verdict::Revoked);
        });
    }
    changes.join_all().await;
}

async fn a_frozen_replica_is_waited_out_once(database: Database) {
    let replicas = three(database).await;
    let client = replicas[0].client();
    let (first, second) = (client.key_in("acme").await, client.key_in("acme").await);
    replicas[1].signal(Signal::STOP);
    assert_eq!(outcome(&client.revoke_everywhere(&first.id()).await), (PropagationState::Lapsed, 3));
    assert_eq!(outcome(&client.revoke_everywhere(&second.id()).await), (PropagationState::Confirmed, 2));
    let metrics = replicas[0].metrics().await;
    assert!(metrics.contains("keyauthority_propagation_seconds_count{outcome=\"lapsed\"} 1"), "{metrics}");
    let status = client.get_authority_status(GetAuthorityStatusRequest {}).await.unwrap();
    assert_eq!(status.replicas.len(), 2, "{status:?}");

    // It wakes with all that it knew, and may not say any of it before it has read anew.
    replicas[1].signal(Signal::CONT);
    let woken = replicas[1].client();
    assert_eq!(first_answer(&woken, &first).await, Verdict::Revoked);
    assert_eq!(first_answer(&woken, &second).await, Verdict::Revoked);
    let third = client.key_in("acme").await;
    assert_eq!(outcome(&client.revoke_everywhere(&third.id()).await), (PropagationState::Confirmed, 3));
}

async fn a_replica_that_was_killed_is_waited_out_once_and_one_that_ends_is_not(database: Database) {
    let mut replicas = three(database).await;
    let client = replicas[0].client();
    let keys = [client.key_in("acme").await, client.key_in("acme").await, client.key_in("acme").await];
    assert!(replicas[2].stop().await.success());
    assert_eq!(outcome(&client.revoke_everywhere(&keys[0].id()).await), (PropagationState::Confirmed, 2));
    replicas[1].kill().await;
    // Who removes the row of the dead one does so for all that wait.
    let dead = [keys[1].id(), keys[2].id()];
    let waits = tokio::join!(client.revoke_everywhere(&dead[0]), client.revoke_everywhere(&dead[1]));
    assert_eq!((waits.0.state(), waits.1.state()), (PropagationState::Lapsed, PropagationState::Lapsed));
    replicas[1].restart().await;
    assert_eq!(verdicts(&replicas[..2], &keys[1]).await, [Verdict::Revoked; 2]);
    let last = client.key_in("acme").await;
    assert_eq!(outcome(&client.revoke_everywhere(&last.id()).await), (PropagationState::Confirmed, 2));
}

async fn a_replica_that_is_cut_off_says_nothing_rather_than_what_was(database: Database) {
    let first = Setup::on(database).flags(["--lease", "5s"]).start().await;
    let cut_off = first.another(Setup::linked).await;
    let client = first.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let (good, bad) = (client.key_in("acme").await, client.key_in("acme").await);
    cut_off.link().pause();
    assert_eq!(client.revoke_everywhere(&bad.id()).await.state(), PropagationState::Lapsed);
    for key in [&good, &bad] {
        refused(cut_off.client().verify(question(&key.token)).await, Code::Unavailable, "LEASE_EXPIRED");
    }
    assert_eq!(cut_off.health_of(VERIFY).await, ServingStatus::NotServing);
    let metrics = cut_off.metrics().await;
    let count = metrics.lines().find_map(|line| line.strip_prefix("keyauthority_refused_without_lease_total "));
    assert!(count.is_some_and(|count| count.parse::<u64>().unwrap() >= 2), "{metrics}");

    cut_off.link().open();
    cut_off.await_health(VERIFY, ServingStatus::Serving).await;
    cut_off.await_health(STORAGE, ServingStatus::Serving).await;
    assert_eq!(verdicts(&[first, cut_off], &bad).await, [Verdict::Revoked; 2]);
}

async fn a_caller_whose_deadline_comes_first_learns_that_the_change_stands(database: Database) {
    let replicas = three(database).await;
    let client = replicas[0].client();
    let key = client.key_in("acme").await;
    replicas[1].signal(Signal::STOP);
    let request = RevokeKeyRequest { key_id: key.id(), request_id: "r1".into(), ..Default::default() };
    let early = client.revoke_within(request.clone(), Duration::from_secs(2)).await;
    let (status, details) = refused(early, Code::DeadlineExceeded, "PROPAGATION_PENDING");
    let metadata = &details.error_info().unwrap().metadata;
    assert_eq!(metadata.get("committed").map(String::as_str), Some("true"), "{status:?}");
    assert!(metadata.get("safe_after").is_some_and(|time| time.contains('T')), "{metadata:?}");
    let revision: u64 = metadata["revision"].parse().unwrap();

    // The wait goes on wherever it is continued, and in whatever way.
    let other = replicas[2].client();
    let (awaited, repeated) =
        tokio::join!(other.await_revision(AwaitRevisionRequest { revision }), other.revoke_key(request));
    for propagation in [awaited.unwrap().propagation.unwrap(), repeated.unwrap().propagation.unwrap()] {
        assert_eq!((propagation.revision, propagation.state()), (revision, PropagationState::Lapsed));
    }
    replicas[1].signal(Signal::CONT);
    assert_eq!(first_answer(&replicas[1].client(), &key).await, Verdict::Revoked);
}

on_database_servers! {
    every_change_is_everywhere_when_its_call_returns,
    many_changes_at_once_are_each_over_when_they_return,
    a_frozen_replica_is_waited_out_once,
    a_replica_that_was_killed_is_waited_out_once_and_one_that_ends_is_not,
    a_replica_that_is_cut_off_says_nothing_rather_than_what_was,
    a_caller_whose_deadline_comes_first_learns_that_the_change_stands,
}
