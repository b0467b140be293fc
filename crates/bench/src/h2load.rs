//! nghttp2's h2load, an independent measurement of the cost of a call. It repeats one recorded request and checks the
//! HTTP status only. The server's own counters, read before and after, must show that every answer was VALID.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use key_authority_testkit::clock::Clock;
use key_authority_testkit::process::command;

use crate::key_set::{KeySet, Presented};
use crate::load::{self, Target};
use crate::scrape;
use crate::usage::Usage;

const CALLS: u32 = 100_000;

/// Its result: the CPU time of the server per call in microseconds, and calls per second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct H2loadResult {
    pub(crate) server_us: f64,
    pub(crate) per_second: f64,
}

/// A request that is repeated.
#[derive(Debug, Clone)]
pub(crate) struct RecordedRequest {
    /// Path and query.
    pub(crate) path: &'static str,
    pub(crate) headers: Vec<String>,
    /// The body of a POST; None for a GET.
    pub(crate) body: Option<Vec<u8>>,
    /// Whether it is a call that counts as one of gRPC.
    pub(crate) is_grpc: bool,
}

impl RecordedRequest {
    /// A Verify call by gRPC.
    pub(crate) fn verify(target: &Target, key_set: KeySet) -> Result<Self> {
        Ok(Self {
            path: "/keyauthority.v1.KeyAuthority/Verify",
            headers: vec![
                "content-type: application/grpc".to_owned(),
                "te: trailers".to_owned(),
                format!("authorization: Bearer {}", target.token),
            ],
            body: Some(load::encoded_request(&key_set.presented(0, Presented::Valid)?)?.to_vec()),
            is_grpc: true,
        })
    }
}

/// Sends the request on 8 connections with 32 in flight on each, to the server whose CPU time `usage` reads. `metrics` is
/// the address of the server's metrics, if it has any.
pub(crate) async fn measure(
    address: SocketAddr,
    usage: &Usage,
    metrics: Option<SocketAddr>,
    request: &RecordedRequest,
    work: &Path,
) -> Result<H2loadResult> {
    let mut h2load = command("h2load");
    h2load.args(["-n", &CALLS.to_string(), "-c", "8", "-m", "32"]);
    if let Some(body) = &request.body {
        let file = work.join("request.bin");
        std::fs::write(&file, body).context("cannot write the request")?;
        h2load.arg("-d").arg(&file);
    }
    for header in &request.headers {
        h2load.args(["-H", header]);
    }
    h2load.arg(format!("http://{address}{}", request.path)).kill_on_drop(true);
    let counters = match metrics {
        Some(address) => Some((address, scrape::verify_counters(address).await?)),
        None => None,
    };
    let (clock, before) = (Clock::start(), usage.cpu()?);
    let output = h2load.output().await.context("cannot run h2load; install it with scripts/install-tools --bench")?;
    let (taken, used) = (clock.elapsed(), usage.cpu()?.saturating_sub(before));
    let stdout = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !stdout.contains(&format!("{CALLS} succeeded, 0 failed")) {
        bail!("h2load: {stdout}{}", String::from_utf8_lossy(&output.stderr));
    }
    let calls = f64::from(CALLS);
    if let Some((address, before)) = counters {
        let after = scrape::verify_counters(address).await?;
        let ([ok_before, valid_before], [ok_after, valid_after]) = (before, after);
        if valid_after - valid_before < calls || (request.is_grpc && ok_after - ok_before < calls) {
            bail!("h2load: not every answer was OK and VALID; counters before: {before:?}, after: {after:?}");
        }
    }
    Ok(H2loadResult { server_us: used.as_secs_f64() * 1e6 / calls, per_second: calls / taken.as_secs_f64() })
}
