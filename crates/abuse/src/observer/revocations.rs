//! The operator, who revokes a key each half second. A revocation that returned must hold.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use key_authority_proto::v1::{RevokeKeyRequest, Verdict};
use key_authority_testkit::clock::Clock;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::answers::of_status;
use crate::client::{Client, OPERATOR, client};
use crate::grpc;
use crate::samples::{Kind, Phase, Samples};
use crate::stage::{IssuedKey, Stage};

const INTERVAL: Duration = Duration::from_millis(500);
/// How long a revocation is awaited. The bound is shorter; this shows by how much it is exceeded.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) async fn revoke(stage: &Arc<Stage>, samples: &Arc<Samples>) -> Result<()> {
    let client = client(stage, &stage.root, OPERATOR)?;
    let (clock, mut ticks, mut calls) = (Clock::start(), interval(INTERVAL), JoinSet::new());
    for victim in stage.victims.clone() {
        ticks.tick().await;
        if samples.phase() == Phase::Over {
            break;
        }
        let (stage, samples, client) = (Arc::clone(stage), Arc::clone(samples), client.clone());
        calls.spawn(async move {
            let (phase, began) = (samples.phase(), clock.now());
            let outcome = match timeout(LIMIT, call(&client, &victim)).await {
                Ok(outcome) => outcome,
                Err(_elapsed) => Err(format!("no answer within {LIMIT:?}")),
            };
            let (latency, is_done) = (clock.since(began), outcome.is_ok());
            samples.record(Kind::Revoke, phase, latency, outcome);
            if is_done && is_valid(&client, &victim).await {
                stage.broken("a revoked token was VALID");
            }
        });
    }
    calls.join_all().await;
    Ok(())
}

async fn call(client: &Client, victim: &IssuedKey) -> Result<(), String> {
    let request = RevokeKeyRequest { key_id: victim.id.clone(), ..RevokeKeyRequest::default() };
    client.clone().revoke_key(request).await.map(drop).map_err(|status| of_status(&status))
}

async fn is_valid(client: &Client, victim: &IssuedKey) -> bool {
    let answer = timeout(LIMIT, client.clone().verify(grpc::verify(&victim.token))).await;
    matches!(answer, Ok(Ok(response)) if response.get_ref().verdict() == Verdict::Valid)
}
