//! nghttp2's h2load, an independent measurement of the cost of a call. It repeats one recorded request and checks the
//! HTTP status only. The server's own counters, read before and after, must show that every answer was OK and VALID.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use key_authority_testkit::clock::Clock;
use key_authority_testkit::process::command;

use crate::key_set::{KeySet, Presented};
use crate::load::{self, Target};
use crate::scrape;

const CALLS: u32 = 100_000;

/// Its result: the CPU time of the server per call in microseconds, and calls per second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct H2loadResult {
    pub(crate) server_us: f64,
    pub(crate) per_second: f64,
}

/// Calls `Verify` on 8 connections with 32 calls in flight on each. `metrics` is the address of the server's metrics,
/// if it has any.
pub(crate) async fn measure(
    target: &Target,
    metrics: Option<SocketAddr>,
    key_set: KeySet,
    work: &Path,
) -> Result<H2loadResult> {
    let request = work.join("request.bin");
    std::fs::write(&request, load::encoded_request(&key_set.presented(0, Presented::Valid)?)?)
        .context("cannot write the request")?;
    let mut h2load = command("h2load");
    h2load.args(["-n", &CALLS.to_string(), "-c", "8", "-m", "32", "-d"]).arg(&request);
    h2load.args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
    h2load.args(["-H", &format!("authorization: Bearer {}", target.token)]);
    h2load.arg(format!("http://{}/keyauthority.v1.KeyAuthority/Verify", target.address)).kill_on_drop(true);
    let counters = match metrics {
        Some(address) => Some((address, scrape::verify_counters(address).await?)),
        None => None,
    };
    let (clock, before) = (Clock::start(), target.usage.cpu()?);
    let output = h2load.output().await.context("cannot run h2load; install it with scripts/install-tools --bench")?;
    let (taken, used) = (clock.elapsed(), target.usage.cpu()?.saturating_sub(before));
    let stdout = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !stdout.contains(&format!("{CALLS} succeeded, 0 failed")) {
        bail!("h2load: {stdout}{}", String::from_utf8_lossy(&output.stderr));
    }
    let calls = f64::from(CALLS);
    if let Some((address, before)) = counters {
        let after = scrape::verify_counters(address).await?;
        if before.iter().zip(&after).any(|(before, after)| after - before < calls) {
            bail!("h2load: not every answer was OK and VALID; counters before: {before:?}, after: {after:?}");
        }
    }
    Ok(H2loadResult { server_us: used.as_secs_f64() * 1e6 / calls, per_second: calls / taken.as_secs_f64() })
}
