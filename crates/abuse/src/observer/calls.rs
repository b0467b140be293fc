//! The good client, which has a connection, and services that connect during the attack.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use key_authority_proto::v1::Verdict;
use key_authority_testkit::clock::Clock;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};

use crate::answers::of_status;
use crate::client::{Client, GOOD, NEWCOMER, client};
use crate::grpc;
use crate::samples::{Kind, Phase, Samples};
use crate::stage::Stage;

/// The pause between two calls of the good client.
const PAUSE: Duration = Duration::from_millis(2);
/// A call that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(1);
/// The time between two new connections.
const CONNECT_INTERVAL: Duration = Duration::from_millis(500);
/// A new connection whose Verify takes longer has failed.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Verifies one token on one connection, one call after the other.
pub(super) async fn verify(stage: &Stage, samples: &Samples) -> Result<()> {
    let client = client(stage, &stage.verifier, GOOD)?;
    // The first call connects, which is no part of the measurement.
    let _ = call(&client, &stage.good, LIMIT).await;
    let clock = Clock::start();
    while samples.phase() != Phase::Over {
        let (phase, began) = (samples.phase(), clock.now());
        let outcome = call(&client, &stage.good, LIMIT).await;
        samples.record(Kind::Verify, phase, clock.since(began), outcome);
        sleep(PAUSE).await;
    }
    Ok(())
}

/// Opens new connections, each for one Verify.
pub(super) async fn connect(stage: &Arc<Stage>, samples: &Arc<Samples>) -> Result<()> {
    let (clock, mut ticks, mut calls) = (Clock::start(), interval(CONNECT_INTERVAL), JoinSet::new());
    while samples.phase() != Phase::Over {
        ticks.tick().await;
        let (stage, samples) = (Arc::clone(stage), Arc::clone(samples));
        calls.spawn(async move {
            let (phase, began) = (samples.phase(), clock.now());
            let outcome = match client(&stage, &stage.verifier, NEWCOMER) {
                Ok(client) => call(&client, &stage.good, CONNECT_LIMIT).await,
                Err(error) => Err(format!("{error:#}")),
            };
            samples.record(Kind::Newcomer, phase, clock.since(began), outcome);
        });
    }
    calls.join_all().await;
    Ok(())
}

/// One Verify, which must be VALID.
async fn call(client: &Client, token: &str, limit: Duration) -> Result<(), String> {
    match timeout(limit, client.clone().verify(grpc::verify(token))).await {
        Ok(Ok(response)) if response.get_ref().verdict() == Verdict::Valid => Ok(()),
        Ok(Ok(response)) => Err(format!("verdict {:?}", response.get_ref().verdict())),
        Ok(Err(status)) => Err(of_status(&status)),
        Err(_elapsed) => Err(format!("no answer within {limit:?}")),
    }
}
