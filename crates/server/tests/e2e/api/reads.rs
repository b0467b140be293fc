//! The reads of one caller do not hold up those of another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use key_authority_proto::v1::*;
use tonic::Code;

use crate::support::client::Client;
use crate::support::expect::refused;
use crate::support::{Database, Setup, eventually, in_time};

/// The reads that a caller has in flight all the time.
const IN_FLIGHT: usize = 300;
/// The reads of another caller, one after the other.
const READS: usize = 20;
/// How many reads of the first caller may complete during one of the other.
const BETWEEN_MAX: usize = IN_FLIGHT / 4;

/// Makes one call over and over, and counts.
async fn repeat(call: impl AsyncFn(), done: Arc<AtomicUsize>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        call().await;
        done.fetch_add(1, Ordering::Relaxed);
    }
}

/// Asserts that a caller with this permission, whose `call`s with a key's ID are in flight all the time, does not hold
/// up the reads of another one.
async fn assert_holds_up_no_other<F>(database: Database, permission: &str, call: impl Fn(Client, String) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let authority = Setup::on(database).log("info").flags(["--database-connections", "4"]).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let key = authority.client().key_in("acme").await.id();
    let (caller, _) = authority.new_caller(&[permission], None).await;
    let busy = Client::with_authorization(authority.new_channel(), Some(&format!("Bearer {}", caller.token)));
    let (done, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut calls = FuturesUnordered::new();
    for _ in 0..IN_FLIGHT {
        let call = || call(busy.clone(), key.clone());
        calls.push(repeat(call, Arc::clone(&done), Arc::clone(&stop)));
    }
    let reads = async {
        eventually("calls are answered", async || (done.load(Ordering::Relaxed) > IN_FLIGHT).then_some(())).await;
        let before = done.load(Ordering::Relaxed);
        for _ in 0..READS {
            in_time("a read", authority.client().get_key(GetKeyRequest { key_id: key.clone() })).await.unwrap();
        }
        let between = done.load(Ordering::Relaxed) - before;
        stop.store(true, Ordering::Relaxed);
        between
    };
    let (between, ()) = tokio::join!(reads, async { while calls.next().await.is_some() {} });
    // In one queue, each read would wait for all that are in flight.
    assert!(between < READS * BETWEEN_MAX, "{between} calls during {READS} reads of another caller");
}

async fn a_caller_with_many_reads_does_not_hold_up_another(database: Database) {
    assert_holds_up_no_other(database, "keys.read", |client, key_id| async move {
        client.get_key(GetKeyRequest { key_id }).await.unwrap();
    })
    .await;
}

async fn a_caller_with_many_unknown_tokens_does_not_hold_up_another(database: Database) {
    assert_holds_up_no_other(database, "verify", |client, _| async move {
        let unknown = RenewTokenRequest { token: "sk-0123456789abcdef".into(), ..Default::default() };
        refused(client.renew_token(unknown).await, Code::NotFound, "KEY_NOT_FOUND");
    })
    .await;
}

crate::support::on_databases!([sqlite Sqlite, postgres Postgres] {
    a_caller_with_many_reads_does_not_hold_up_another,
    a_caller_with_many_unknown_tokens_does_not_hold_up_another,
});
