//! Changes whose database connection is reset around COMMIT: before the database receives it, or before its answer
//! arrives. A client retries each call with the same `request_id`; the call must have exactly one effect.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use key_authority_proto::v1::Action;
use key_authority_testkit::clock::Clock;
use key_authority_testkit::rng::SeededRng;
use key_authority_testkit::say;
use rand::RngExt as _;
use rand::seq::IndexedRandom as _;
use tokio::time::{sleep, timeout};

use super::Bench;
use super::figure::{Figure, Unit};
use crate::client::{Client, is_retryable, new_key, reason};
use crate::cluster::link::{CommitCut, Link};
use crate::output;

/// The timeout of one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// The pause before a retry.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// The outcomes of the calls at one replica.
#[derive(Debug, Default)]
struct Calls {
    /// The ID of the created key, by `request_id`.
    created: BTreeMap<String, String>,
    /// Retries that returned another key than the first answer.
    disagreements: usize,
    /// The number of first answers, by outcome.
    first_answers: BTreeMap<String, u64>,
    longest: u64,
}

/// Measures `trials` changes, spread over the replicas.
pub(crate) async fn measure(bench: &mut Bench, trials: usize) -> Result<Vec<Figure>> {
    let count = bench.cluster.replicas.len();
    let rngs: Vec<SeededRng> = (0..count).map(|_| bench.rng.fork()).collect();
    let lanes = bench.cluster.replicas.iter().zip(rngs).enumerate().map(|(index, (replica, rng))| {
        let (link, clients, clock) = (replica.link(), &bench.admin, bench.clock);
        let trials = trials / count + usize::from(index < trials % count);
        async move { change(link.context("the replica has no link")?, clients, index, trials, rng, clock).await }
    });
    let lanes = futures_util::future::try_join_all(lanes).await?;
    let cut: u64 = bench.cluster.replicas.iter().filter_map(|replica| Some(replica.link()?.commits_cut())).sum();

    let mut events: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let first = bench.admin.first().context("no replicas")?;
    for event in first.events().await.context("ListAuditEvents failed")? {
        if event.action() == Action::CreateKey {
            events.entry(event.request_id).or_default().push(event.key_id);
        }
    }
    let has_one_effect =
        |(name, key): &(&String, &String)| events.get(*name).is_some_and(|keys| keys == &[(*key).clone()]);
    let calls = || lanes.iter().flat_map(|lane| &lane.created);
    let mut answers = BTreeMap::new();
    for (answer, count) in lanes.iter().flat_map(|lane| &lane.first_answers) {
        *answers.entry(answer.clone()).or_default() += count;
    }
    say!("outcomes of first calls: {}", output::list(&answers));
    let audit = bench.cluster.verify_audit().await?;
    say!("audit log: {audit}");
    let unknown: u64 = answers.iter().filter(|(answer, _)| answer.as_str() != "OK").map(|(_, count)| count).sum();
    let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    Ok(vec![
        Figure::count("cut around COMMIT: changes", calls().count()),
        Figure::count("cut around COMMIT: COMMITs cut off", number(cut)),
        Figure::count("cut around COMMIT: first calls that did not get OK", number(unknown)),
        Figure::never(
            "cut around COMMIT: request_ids without exactly one effect",
            calls().count() - calls().filter(has_one_effect).count(),
        ),
        Figure::never("cut around COMMIT: answers that name another key", lanes.iter().map(|l| l.disagreements).sum()),
        Figure::time(
            "cut around COMMIT: longest change, repeated calls included",
            lanes.iter().map(|lane| lane.longest).max().unwrap_or_default(),
            Unit::Seconds,
        ),
    ])
}

/// Creates keys at one replica, each with its COMMIT cut off. Retries each call at any replica until it succeeds, and
/// then once more.
async fn change(
    link: &Link,
    clients: &[Client],
    index: usize,
    trials: usize,
    mut rng: SeededRng,
    clock: Clock,
) -> Result<Calls> {
    let mut calls = Calls::default();
    for _ in 0..trials {
        let name = rng.name();
        link.cut_next_commit(match rng.random_range(0..100) {
            0..5 => CommitCut::AfterForLong,
            5..50 => CommitCut::After,
            _ => CommitCut::Before,
        });
        let began = clock.now();
        let mut client = clients.get(index).context("no replicas")?;
        let mut is_first = true;
        loop {
            let answer = timeout(CALL_TIMEOUT, client.create_key(new_key(&name))).await;
            let outcome = match &answer {
                Ok(Ok(_)) => "OK".to_owned(),
                Ok(Err(status)) => reason(status),
                Err(_) => "timeout".to_owned(),
            };
            if std::mem::take(&mut is_first) {
                *calls.first_answers.entry(outcome).or_default() += 1;
            }
            match answer {
                Ok(Ok(created)) => {
                    let id = created.key.map(|key| key.id).unwrap_or_default();
                    // The second success replays the first, and must name the same key.
                    let Some(known) = calls.created.insert(name.clone(), id.clone()) else { continue };
                    calls.disagreements += usize::from(known != id);
                    break;
                }
                Ok(Err(status)) if !is_retryable(&status) => return Err(status).context("CreateKey failed"),
                _ => client = clients.choose(&mut rng).context("no replicas")?,
            }
            sleep(RETRY_DELAY).await;
        }
        calls.longest = calls.longest.max(clock.now() - began);
    }
    Ok(calls)
}
