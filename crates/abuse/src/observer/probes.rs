//! The probes of a kubelet: `/livez` and `/readyz`, each over a new connection.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use key_authority_testkit::clock::Clock;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::client::PROBE;
use crate::peer::connect;
use crate::samples::{Kind, Phase, Samples};
use crate::stage::Stage;

const INTERVAL: Duration = Duration::from_millis(100);
/// The default of Kubernetes.
const LIMIT: Duration = Duration::from_secs(1);

pub(super) async fn probe(stage: &Arc<Stage>, samples: &Arc<Samples>) -> Result<()> {
    let (clock, mut ticks, mut probes) = (Clock::start(), interval(INTERVAL), JoinSet::new());
    while samples.phase() != Phase::Over {
        ticks.tick().await;
        for (kind, path) in [(Kind::Livez, "/livez"), (Kind::Readyz, "/readyz")] {
            let (stage, samples) = (Arc::clone(stage), Arc::clone(samples));
            probes.spawn(async move {
                let (phase, began) = (samples.phase(), clock.now());
                let outcome = match timeout(LIMIT, get(&stage, path)).await {
                    Ok(outcome) => outcome.map_err(|error| format!("{error:#}")),
                    Err(_elapsed) => Err(format!("no answer within {LIMIT:?}")),
                };
                samples.record(kind, phase, clock.since(began), outcome);
            });
        }
    }
    probes.join_all().await;
    Ok(())
}

async fn get(stage: &Stage, path: &str) -> Result<()> {
    let mut stream = connect(stage.http, PROBE).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.context("cannot send")?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await.context("the connection was closed")?;
    anyhow::ensure!(status.ends_with(b" 200"), "{}", String::from_utf8_lossy(&status));
    Ok(())
}
