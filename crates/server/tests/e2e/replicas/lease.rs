//! The lease is the same for all replicas, and how they are told of changes is not what makes them know.

use key_authority_proto::v1::*;

use super::{outcome, verdicts};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::support::process;
use crate::support::{Authority, Database, Setup, eventually, in_time, on_database_servers};

async fn lease_of(replica: &Authority) -> i64 {
    let status = replica.client().get_authority_status(GetAuthorityStatusRequest {}).await.unwrap();
    status.lease.unwrap().seconds
}

async fn a_replica_with_another_lease_does_not_start_while_one_runs(database: Database) {
    let mut first = Setup::on(database).flags(["--lease", "6s"]).start().await;
    let other = first.prepare_another(|_| Setup::on(database).flags(["--lease", "7s"])).await;
    let ended = process::run(other.serve_command()).await.badly();
    for word in ["6s", "7s", "--lease"] {
        assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
    }
    // Without the flag it takes what is there.
    let second = first.another(|_| Setup::on(database)).await;
    assert_eq!((lease_of(&first).await, lease_of(&second).await), (6, 6));
    // Those that were killed do not stand in the way for longer than it takes to see that they are gone.
    drop(second);
    first.kill().await;
    let third = first.another(|_| Setup::on(database).flags(["--lease", "8s"])).await;
    assert_eq!(lease_of(&third).await, 8);
}

/// Postgres tells of changes; where it cannot, and on other databases, they are looked for.
async fn changes_are_found_by_whom_nobody_tells_of_them(database: Database) {
    let first = Setup::on(database).start().await;
    // Nobody answers there.
    let nowhere = ["--notify-url", "postgres://nobody:none@127.0.0.1:9/none"];
    let deaf = if database == Database::Postgres { &nowhere[..] } else { &[] };
    let second = first.another(|setup| setup.flags(deaf.iter().copied())).await;
    let client = first.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let key = client.key_in("acme").await;
    assert_eq!(outcome(&client.revoke_everywhere(&key.id()).await), (PropagationState::Confirmed, 2));
    let established = "LISTEN connection established";
    let is_told = |replica: &Authority| replica.output().contains(established);
    if database == Database::Postgres {
        eventually("who can be told is", async || is_told(&first).then_some(())).await;
    }
    assert!(!is_told(&second), "{}", second.output());
    assert_eq!(verdicts(&[first, second], &key).await, [Verdict::Revoked; 2]);
}

/// Whoever changes the lease stops all replicas; one that was overlooked must not answer with the old one.
async fn a_replica_whose_lease_is_another_now_ends(database: Database) {
    let mut replica = Setup::on(database).flags(["--lease", "6s"]).start().await;
    replica.database().sql("UPDATE authority SET lease_us = 7000000; DELETE FROM replica");
    let ended = replica.wait().await;
    assert_eq!(ended.code(), Some(1), "{ended}");
    let told = replica.output().matches("the lease was changed from 6s to 7s").count();
    assert_eq!(told, 1, "{}", replica.output());
}

/// It waits for a whole lease to see whether a replica that was killed still runs.
async fn sigterm_is_heeded_while_it_starts(database: Database) {
    let mut killed = Setup::on(database).flags(["--lease", "60s"]).start().await;
    killed.kill().await;
    let starting = killed.prepare_another(|_| Setup::on(database).flags(["--lease", "30s"])).await;
    let mut child = starting.serve_command().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    in_time("it waits", async {
        while let Some(line) = log.next_line().await.unwrap() {
            if line.contains("checking whether replicas with another lease still run") {
                return;
            }
        }
        panic!("it ended");
    })
    .await;
    let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let drained = async { while log.next_line().await.unwrap().is_some() {} };
    in_time("its log ends", drained).await;
    let ended = in_time("it ends", child.wait()).await.unwrap();
    assert!(ended.success(), "{ended}");
}

on_database_servers! {
    a_replica_whose_lease_is_another_now_ends,
    sigterm_is_heeded_while_it_starts,
    a_replica_with_another_lease_does_not_start_while_one_runs,
    changes_are_found_by_whom_nobody_tells_of_them,
}
