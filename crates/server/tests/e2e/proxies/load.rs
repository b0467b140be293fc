//! Requests in parallel while the authority is killed and started again.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::proxy::{Kind, Proxy, bearer};
use super::{key_for, new_key, reader};
use crate::support::upstream::send;
use crate::support::{Authority, in_time, on_sqlite};

const RESTARTS: usize = 3;
const WORKERS: usize = 2;

/// What one proxy has answered so far.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    allowed: usize,
    denied: usize,
    undecided: usize,
}

/// Sends requests with both tokens until `stop` is set, and fails at the first wrong answer.
async fn ask(
    (kind, address): (Kind, String),
    valid: Arc<String>,
    revoked: Arc<String>,
    counts: watch::Sender<Counts>,
    stop: watch::Receiver<bool>,
) {
    while !*stop.borrow() {
        let reply = send(&address, b"/", &[valid.as_bytes()]).await;
        match reply.code {
            200 => {
                assert_eq!(reply.passed().headers["x-key-id"], "reader", "{kind:?}");
                counts.send_modify(|counts| counts.allowed += 1);
            }
            503 => counts.send_modify(|counts| counts.undecided += 1),
            _ => panic!("{kind:?}: a valid key: {reply:?}"),
        }
        let reply = send(&address, b"/", &[revoked.as_bytes()]).await;
        match reply.code {
            401 => counts.send_modify(|counts| counts.denied += 1),
            503 => counts.send_modify(|counts| counts.undecided += 1),
            _ => panic!("{kind:?}: a revoked key: {reply:?}"),
        }
    }
}

async fn no_answer_is_wrong_while_the_authority_restarts(mut authority: Authority) {
    let valid = Arc::new(bearer(&reader(&authority).await.token));
    let revoked = new_key(&authority, key_for("acme")).await;
    authority.client().revoke(&revoked.id()).await;
    let revoked = Arc::new(bearer(&revoked.token));
    let proxies = Proxy::all(&authority).await;
    let (stop, stopped) = watch::channel(false);
    let mut workers = JoinSet::new();
    let mut answers = Vec::new();
    for proxy in &proxies {
        let (counts, seen) = watch::channel(Counts::default());
        for _ in 0..WORKERS {
            let (valid, revoked) = (Arc::clone(&valid), Arc::clone(&revoked));
            let target = (proxy.kind, proxy.address.clone());
            workers.spawn(ask(target, valid, revoked, counts.clone(), stopped.clone()));
        }
        answers.push(seen);
    }
    for _ in 0..RESTARTS {
        let settled = |before: Counts, now: Counts| now.allowed > before.allowed + 5 && now.denied > before.denied + 5;
        await_each(&mut answers, "both keys get their answers", settled).await;
        authority.kill().await;
        await_each(&mut answers, "an outage", |before, now| now.undecided > before.undecided + 5).await;
        authority.restart().await;
        for proxy in &proxies {
            proxy.link.lead_to(authority.api().to_owned());
        }
    }
    await_each(&mut answers, "both keys get their answers", |before, now| now.allowed > before.allowed + 5).await;
    stop.send_replace(true);
    while let Some(ended) = workers.join_next().await {
        ended.unwrap();
    }
}

/// Awaits that the counts of each proxy have gone on since this call.
async fn await_each(answers: &mut [watch::Receiver<Counts>], what: &str, is_enough: impl Fn(Counts, Counts) -> bool) {
    for seen in answers {
        let before = *seen.borrow();
        in_time(what, seen.wait_for(|now| is_enough(before, *now))).await.expect("its workers run");
    }
}

on_sqlite! {
    no_answer_is_wrong_while_the_authority_restarts,
}
