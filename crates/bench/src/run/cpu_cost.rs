//! CPU time per answer, beside the bare framework, Redis and h2load's measurement.

use anyhow::Result;

use super::Bench;
use super::servers::{Pair, median};
use crate::h2load::{self, RecordedRequest};
use crate::load::Mode;
use crate::redis::{GetPlan, Redis};
use crate::report::Table;

pub(super) const COSTS: &str = "Costs";
pub(super) const UNARY: &str = "Verify, 8 connections × 32";
pub(super) const ONE: &str = "Verify, 1 in flight";
pub(super) const BATCH: &str = "BatchVerify of 100, 4 × 4";
pub(super) const STREAM: &str = "VerifyStream, 1 stream × 512";
pub(super) const REDIS: &str = "Redis";
pub(super) const PIPELINED: &str = "GET, 8 connections × 32 pipelined";

/// The measured kinds of calls: mode, connections, in flight on each.
const WAYS: [(&str, Mode, usize, usize); 4] = [
    (UNARY, Mode::Unary, 8, 32),
    (ONE, Mode::Unary, 1, 1),
    (BATCH, Mode::Batch(100), 4, 4),
    (STREAM, Mode::Stream, 1, 512),
];

/// Measures each kind of call, the real server and the bare framework alternately.
pub(super) async fn measure(bench: &mut Bench, pair: &Pair) -> Result<()> {
    let columns = [
        "way to ask",
        "server CPU, µs an answer",
        "bare, µs",
        "ratio",
        "answers/s",
        "bare, 1/s",
        "p50, µs",
        "p99, µs",
        "bare p99, µs",
        "p99 ratio",
        "generator CPU, µs",
    ];
    let note = "Closed loop, random keys, the caller's token on each call. CPU is that of the server's process.";
    let mut table = Table::new(COSTS, note, &columns);
    for (name, mode, connections, in_flight) in WAYS {
        let plan = bench.plan(pair.key_set, mode, connections, in_flight);
        let (ours, bare) = pair.side_by_side(plan, bench.args.rounds).await?;
        let figures = [
            ours.server_us,
            bare.server_us,
            ours.server_us / bare.server_us,
            ours.per_second,
            bare.per_second,
            ours.p50_us,
            ours.p99_us,
            bare.p99_us,
            ours.p99_us / bare.p99_us,
            ours.generator_us,
        ];
        table.add(name, figures.map(Some));
    }
    bench.report.add(table);
    Ok(())
}

/// Measures Redis with the same number of keys.
pub(super) async fn redis(bench: &mut Bench) -> Result<()> {
    let redis = Redis::start(bench.keys(), bench.work.path()).await?;
    let columns = ["command", "server CPU, µs an answer", "answers/s", "p50, µs", "p99, µs", "generator CPU, µs"];
    let note = "Debian's redis-server without persistence, the same number of keys, values of 64 bytes.";
    let mut table = Table::new(REDIS, note, &columns);
    for (name, connections, depth) in [(PIPELINED, 8, 32), ("GET, 256 connections, not pipelined", 256, 1)] {
        let plan = GetPlan { connections, depth, warm_up: bench.warm_up(), time: bench.time() };
        let mut rounds = Vec::new();
        for _ in 0..bench.args.rounds.max(1) {
            rounds.push(redis.get(plan).await?);
        }
        let measured = median(rounds)?;
        let figures =
            [measured.server_us, measured.per_second, measured.p50_us, measured.p99_us, measured.generator_us];
        table.add(name, figures.map(Some));
    }
    bench.report.add(table);
    Ok(())
}

/// Measures with h2load.
pub(super) async fn h2load(bench: &mut Bench, pair: &Pair) -> Result<()> {
    let (target, bare) = (pair.ours()?, pair.bare()?);
    let (request, work) = (RecordedRequest::verify(&target, pair.key_set)?, bench.work.path());
    let ours = h2load::measure(target.address, &target.usage, pair.ours.http, &request, work).await?;
    let bare = h2load::measure(bare.address, &bare.usage, None, &request, work).await?;
    let note = "One repeated request, 8 connections × 32. h2load does not check the answers; the server's counters show \
                that each is OK and VALID.";
    let columns = ["generator", "server CPU, µs an answer", "bare, µs", "ratio", "answers/s", "bare, 1/s"];
    let mut table = Table::new("Second opinion", note, &columns);
    let ratio = ours.server_us / bare.server_us;
    table.add("h2load", [ours.server_us, bare.server_us, ratio, ours.per_second, bare.per_second].map(Some));
    bench.report.add(table);
    Ok(())
}
