//! Verify is answered from memory: no statement is sent to the database for it, whatever is asked. What it leaves to be
//! written, last uses and counts, comes later and in batches.

use key_authority_proto::v1::*;

use crate::api::questions::{mistyped, never_issued};
use crate::support::{Authority, eventually, http, on_every_database};

/// Of each of four kinds, by so many callers, each so often.
const CALLERS: usize = 10;
const TIMES: usize = 250;

/// How many statements a pool has sent.
async fn statements(authority: &Authority, pool: &str) -> f64 {
    let metrics = authority.metrics().await;
    let labels = [("pool", pool)];
    let count = http::series(&metrics, "keyauthority_storage_statements_total", &labels);
    count.unwrap_or_else(|| panic!("no count of statements in:\n{metrics}"))
}

async fn ten_thousand_questions_send_no_statement(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let (valid, revoked) = (client.key_in("acme").await, client.key_in("acme").await);
    client.revoke(&revoked.id()).await;
    let kinds = [
        (valid.token.clone(), Verdict::Valid),
        (never_issued(&authority).await, Verdict::Unknown),
        (mistyped(&valid.token), Verdict::Malformed),
        (revoked.token, Verdict::Revoked),
    ];
    let before = statements(&authority, "requests").await;
    let usage_before = statements(&authority, "usage").await;
    let mut callers = tokio::task::JoinSet::new();
    for (token, wanted) in kinds.clone() {
        for _ in 0..CALLERS {
            let (client, token) = (client.clone(), token.clone());
            callers.spawn(async move {
                for _ in 0..TIMES {
                    assert_eq!(client.verdict(&token).await, wanted);
                }
            });
        }
    }
    callers.join_all().await;
    let after = statements(&authority, "requests").await;
    assert!(after <= before, "{before} to {after} statements for {} questions", kinds.len() * CALLERS * TIMES);
    // Usage is written every two seconds, two statements for each key and version, however often it was used.
    let written = statements(&authority, "usage").await - usage_before;
    assert!(written < 100.0, "{written} statements for the uses of one key");

    // The counter does count.
    client.key(&valid.id()).await;
    assert!(statements(&authority, "requests").await > after);

    let asked = u64::try_from(CALLERS * TIMES).unwrap();
    let used = eventually("the uses are written down", async || {
        Some(client.key(&valid.id()).await).filter(|key| key.use_count >= asked)
    })
    .await;
    assert_eq!(used.use_count, asked, "each use is counted once");
    assert!(used.last_used_time.is_some());
    assert_eq!(client.key(&revoked.key.id).await.use_count, 0);
}

async fn uses_are_not_lost_in_an_orderly_end(mut authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let key = client.key_in("acme").await;
    for round in 1..=3 {
        for _ in 0..100 {
            assert_eq!(authority.client().verdict(&key.token).await, Verdict::Valid);
        }
        assert!(authority.stop().await.success());
        authority.restart().await;
        let read = authority.client().key(&key.id()).await;
        assert_eq!(read.use_count, round * 100, "what was not written yet is written at the end");
        assert!(read.last_used_time.is_some());
    }
}

/// A flood of reads may hold every connection of its pool; a revocation needs none of them.
async fn a_change_uses_connections_that_reads_do_not(authority: Authority) {
    let client = authority.client();
    client.new_account("acme", KeyPolicy::default()).await;
    let key = client.key_in("acme").await;
    let (reads, changes) = (statements(&authority, "requests").await, statements(&authority, "changes").await);
    client.revoke(&key.id()).await;
    assert!(statements(&authority, "changes").await > changes);
    assert!(statements(&authority, "requests").await <= reads, "not one statement of the change is a read's");
}

on_every_database! {
    ten_thousand_questions_send_no_statement,
    a_change_uses_connections_that_reads_do_not,
    uses_are_not_lost_in_an_orderly_end,
}
