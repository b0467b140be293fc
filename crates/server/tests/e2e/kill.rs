//! `kill -9` in the midst of changes: what was acknowledged is there afterwards, nothing is there by half, and the chain of
//! events verifies. `KEY_AUTHORITY_KILLS` says how often; the long form is 200.

mod journal;

use std::sync::Arc;

use journal::{Journal, Step};
use key_authority_proto::v1::*;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::support::client::key_for;
use crate::support::{Authority, Chance, Client, Database, Setup, in_time, on_every_database, seed};

const KILLS_DEFAULT: usize = 10;
const CALLERS: usize = 6;

fn kills() -> usize {
    std::env::var("KEY_AUTHORITY_KILLS")
        .map_or(KILLS_DEFAULT, |text| text.parse().expect("KEY_AUTHORITY_KILLS: a number"))
}

async fn nothing_acknowledged_is_lost_by_kill_nine(database: Database) {
    let (mut chance, kills) = (Chance(seed()), kills());
    // The shortest lease: after a kill, the first changes wait out the replica that is gone.
    let mut authority = Setup::on(database).flags(["--lease", "5s"]).log("info").start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let journal = Arc::new(Journal::default());
    for round in 0..kills {
        let (acknowledged, mut acknowledgements) = mpsc::unbounded_channel();
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let name = format!("{round}-{caller}");
            let work = change_until_it_fails(authority.client(), Arc::clone(&journal), name, acknowledged.clone());
            callers.spawn(work);
        }
        // After some acknowledgement, with other changes under way.
        for _ in 0..=chance.below(40) {
            in_time("an acknowledgement", acknowledgements.recv()).await;
        }
        authority.kill().await;
        callers.join_all().await;
        authority.subcommand(&["audit", "verify"], &[]).await.well();
        authority.restart().await;
        journal.check(&authority.client()).await;
    }
    println!("{kills} kills, {} changes acknowledged, 0 lost", journal.acknowledged());
    assert!(journal.acknowledged() >= kills);
}

/// Creates, renews and revokes keys, one after the other, and writes down what it asks and what is acknowledged.
async fn change_until_it_fails(
    client: Client,
    journal: Arc<Journal>,
    name: String,
    acknowledged: mpsc::UnboundedSender<()>,
) {
    for number in 0.. {
        let key_id = format!("{name}-{number}");
        for step in [Step::Create, Step::Renew, Step::Renew, Step::Revoke] {
            // Every second key is left as it is.
            if number % 2 == 1 && step == Step::Revoke {
                continue;
            }
            journal.ask(&key_id, step);
            let token = match change(&client, &key_id, step).await {
                Ok(token) => token,
                Err(status) => {
                    let codes =
                        [tonic::Code::Unavailable, tonic::Code::Unknown, tonic::Code::Internal, tonic::Code::Cancelled];
                    // The connection broke; whatever the client's library calls that.
                    assert!(codes.contains(&status.code()), "{status:?}");
                    return;
                }
            };
            journal.acknowledge(&key_id, token);
            let _ = acknowledged.send(());
        }
    }
}

async fn change(client: &Client, key_id: &str, step: Step) -> Result<String, tonic::Status> {
    let key_id = key_id.to_owned();
    match step {
        Step::Create => Ok(client.create_key(CreateKeyRequest { key_id, ..key_for("acme") }).await?.token),
        Step::Renew => Ok(client.renew_key(RenewKeyRequest { key_id, ..Default::default() }).await?.token),
        Step::Revoke => {
            client.revoke_key(RevokeKeyRequest { key_id, ..Default::default() }).await?;
            Ok(String::new())
        }
    }
}

async fn a_killed_server_starts_again_and_knows_all(mut authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let (on, off) = (client.key_in("acme").await, client.key_in("acme").await);
    client.revoke(&off.id()).await;
    let log = client.events(ListAuditEventsRequest::default()).await;
    authority.kill().await;
    authority.restart().await;
    let client = authority.client();
    assert_eq!(client.verdict(&on.token).await, Verdict::Valid);
    assert_eq!(client.verdict(&off.token).await, Verdict::Revoked);
    assert_eq!(client.events(ListAuditEventsRequest::default()).await, log);
}

on_every_database! {
    nothing_acknowledged_is_lost_by_kill_nine,
    a_killed_server_starts_again_and_knows_all,
}
