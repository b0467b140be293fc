//! nghttp2's h2load, which is not ours: a second opinion on what a call costs. It sends one recorded question again and
//! again, and knows of HTTP's status only. So the server's own counts are read before and after: each answer must be one of
//! gRPC's OK, about a valid token.

use std::net::SocketAddr;
use std::path::Path;

use crate::clock::Clock;
use crate::load::{self, Target};
use crate::process::command;
use crate::scrape;
use crate::stock::{Presented, Stock};
use crate::trouble::{Attempt as _, Trouble};

const CALLS: u32 = 100_000;

/// What it saw: the CPU time of the server for a call in microseconds, and calls a second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opinion {
    pub(crate) server_us: f64,
    pub(crate) per_second: f64,
}

/// Asks `Verify` on 8 connections with 32 calls in flight on each. `metrics` is where the server counts, if it does.
pub(crate) async fn ask(
    target: &Target,
    metrics: Option<SocketAddr>,
    stock: Stock,
    work: &Path,
) -> Result<Opinion, Trouble> {
    let question = work.join("question.bin");
    std::fs::write(&question, load::recorded(&stock.presented(0, Presented::Valid)?)?).attempt("a question")?;
    let mut h2load = command("h2load");
    h2load.args(["-n", &CALLS.to_string(), "-c", "8", "-m", "32", "-d"]).arg(&question);
    h2load.args(["-H", "content-type: application/grpc", "-H", "te: trailers"]);
    h2load.args(["-H", &format!("authorization: Bearer {}", target.token)]);
    h2load.arg(format!("http://{}/keyauthority.v1.KeyAuthority/Verify", target.address)).kill_on_drop(true);
    let counted = match metrics {
        Some(address) => Some((address, scrape::right_answers(address).await?)),
        None => None,
    };
    let (clock, before) = (Clock::start(), target.usage.cpu()?);
    let output = h2load.output().await.attempt("h2load (scripts/install-tools --bench)")?;
    let (taken, used) = (clock.elapsed(), target.usage.cpu()?.saturating_sub(before));
    let said = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || !said.contains(&format!("{CALLS} succeeded, 0 failed")) {
        return Err(format!("h2load: {said}{}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let calls = f64::from(CALLS);
    if let Some((address, before)) = counted {
        let after = scrape::right_answers(address).await?;
        if before.iter().zip(&after).any(|(before, after)| after - before < calls) {
            return Err(format!("h2load: not every answer was right: {before:?} before, {after:?} after").into());
        }
    }
    Ok(Opinion { server_us: used.as_secs_f64() * 1e6 / calls, per_second: calls / taken.as_secs_f64() })
}
