//! Changes whose connection to the database is reset around COMMIT: before the database gets it, or when it has it and its
//! answer is lost. However often a caller repeats such a call, it has one effect.

use std::collections::BTreeMap;
use std::time::Duration;

use key_authority_proto::v1::Action;
use tokio::time::{sleep, timeout};

use super::Bench;
use super::figure::{Figure, Unit};
use crate::chance::Chance;
use crate::client::{Client, may_be_repeated, new_key, reason};
use crate::clock::Clock;
use crate::cluster::link::{CommitCut, Link};
use crate::output;
use crate::progress::say;
use crate::trouble::{Attempt as _, Trouble};

/// How long one call may take before it is made again.
const CALL_LIMIT: Duration = Duration::from_secs(15);
/// How long to pause before a call is made again.
const AGAIN: Duration = Duration::from_millis(10);

/// What came of the calls made at one replica.
#[derive(Debug, Default)]
struct Calls {
    /// Under which `request_id`, and which key it made at last.
    made: BTreeMap<String, String>,
    /// Keys that the answers to one `request_id` did not agree on.
    disagreements: usize,
    /// What the first call got.
    first_answers: BTreeMap<String, u64>,
    longest: u64,
}

/// Measures `trials` changes, spread over the replicas.
pub(crate) async fn measure(bench: &mut Bench, trials: usize) -> Result<Vec<Figure>, Trouble> {
    let count = bench.cluster.replicas.len();
    let chances: Vec<Chance> = (0..count).map(|_| bench.chance.fork()).collect();
    let lanes = bench.cluster.replicas.iter().zip(chances).enumerate().map(|(index, (replica, chance))| {
        let (link, clients, clock) = (replica.link(), &bench.admin, bench.clock);
        let trials = trials / count + usize::from(index < trials % count);
        async move { change(link.ok_or("no link")?, clients, index, trials, chance, clock).await }
    });
    let lanes = futures_util::future::try_join_all(lanes).await?;
    let cut: u64 = bench.cluster.replicas.iter().filter_map(|replica| Some(replica.link()?.commits_cut())).sum();

    let mut events: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let first = bench.admin.first().ok_or("no replicas")?;
    for event in first.events().await.attempt("ListAuditEvents")? {
        if event.action() == Action::CreateKey {
            events.entry(event.request_id).or_default().push(event.key_id);
        }
    }
    let has_one_effect =
        |(name, key): &(&String, &String)| events.get(*name).is_some_and(|keys| keys == &[(*key).clone()]);
    let calls = || lanes.iter().flat_map(|lane| &lane.made);
    let mut answers = BTreeMap::new();
    for (answer, count) in lanes.iter().flat_map(|lane| &lane.first_answers) {
        *answers.entry(answer.clone()).or_default() += count;
    }
    say!("first answers to calls whose COMMIT was cut off: {}", output::list(&answers));
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

/// Makes keys through one replica, each with its COMMIT cut off, and repeats each call, anywhere, until it gets OK; then
/// once more.
async fn change(
    link: &Link,
    clients: &[Client],
    index: usize,
    trials: usize,
    mut chance: Chance,
    clock: Clock,
) -> Result<Calls, Trouble> {
    let mut calls = Calls::default();
    for _ in 0..trials {
        let name = chance.name();
        link.cut_next_commit(match chance.below(100) {
            0..5 => CommitCut::AfterForLong,
            5..50 => CommitCut::After,
            _ => CommitCut::Before,
        });
        let began = clock.now();
        let mut client = clients.get(index).ok_or("no replicas")?;
        let mut is_first = true;
        loop {
            let answer = timeout(CALL_LIMIT, client.create_key(new_key(&name))).await;
            let told = match &answer {
                Ok(Ok(_)) => "OK".to_owned(),
                Ok(Err(status)) => reason(status),
                Err(_) => "no answer in time".to_owned(),
            };
            if std::mem::take(&mut is_first) {
                *calls.first_answers.entry(told).or_default() += 1;
            }
            match answer {
                Ok(Ok(made)) => {
                    let id = made.key.map(|key| key.id).unwrap_or_default();
                    // Told twice, it is told the same.
                    let Some(known) = calls.made.insert(name.clone(), id.clone()) else { continue };
                    calls.disagreements += usize::from(known != id);
                    break;
                }
                Ok(Err(status)) if !may_be_repeated(&status) => return Err(status).attempt("CreateKey"),
                _ => client = chance.one_of(clients).ok_or("no replicas")?,
            }
            sleep(AGAIN).await;
        }
        calls.longest = calls.longest.max(clock.now() - began);
    }
    Ok(calls)
}
