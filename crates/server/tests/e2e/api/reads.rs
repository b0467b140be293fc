//! The reads of one caller do not hold up those of another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use key_authority_proto::v1::*;
use tokio::task::JoinSet;

use crate::support::client::Client;
use crate::support::{Database, Setup, eventually, in_time};

/// The reads that a caller has in flight all the time.
const IN_FLIGHT: usize = 300;
/// The reads of another caller, one after the other.
const READS: usize = 20;
/// How many reads of the first caller may complete during one of the other.
const BETWEEN_MAX: usize = IN_FLIGHT / 4;

/// Reads a key over and over, and counts.
async fn read(client: Client, key: String, done: Arc<AtomicUsize>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        client.get_key(GetKeyRequest { key_id: key.clone() }).await.unwrap();
        done.fetch_add(1, Ordering::Relaxed);
    }
}

async fn a_caller_with_many_reads_does_not_hold_up_another(database: Database) {
    let authority = Setup::on(database).log("info").flags(["--database-connections", "4"]).start().await;
    authority.client().new_account("acme", KeyPolicy::default()).await;
    let key = authority.client().key_in("acme").await.id();
    let (caller, _) = authority.new_caller(&["keys.read"], None).await;
    let busy = Client::with_authorization(authority.new_channel(), Some(&format!("Bearer {}", caller.token)));
    let (done, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut reads = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        reads.spawn(read(busy.clone(), key.clone(), Arc::clone(&done), Arc::clone(&stop)));
    }
    eventually("reads are answered", async || (done.load(Ordering::Relaxed) > IN_FLIGHT).then_some(())).await;
    let before = done.load(Ordering::Relaxed);
    for _ in 0..READS {
        in_time("a read", authority.client().get_key(GetKeyRequest { key_id: key.clone() })).await.unwrap();
    }
    let between = done.load(Ordering::Relaxed) - before;
    stop.store(true, Ordering::Relaxed);
    in_time("the reads end", reads.join_all()).await;
    // In one queue, each read would wait for all that are in flight.
    assert!(between < READS * BETWEEN_MAX, "{between} reads during {READS} of another caller");
}

crate::support::on_databases!([sqlite Sqlite, postgres Postgres] { a_caller_with_many_reads_does_not_hold_up_another });
