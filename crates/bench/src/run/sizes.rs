//! CPU time, memory and start-up against the number of keys.

use anyhow::Result;
use key_authority_testkit::plot::{Line, Plot};
use key_authority_testkit::say;
use key_authority_testkit::server::Server;

use super::Bench;
use super::servers::{Pair, median};
use crate::load::{Mode, Plan};
use crate::report::Table;
use crate::usage::Usage;

pub(super) const SIZES: &str = "Number of keys";
pub(super) const BYTES: &str = "memory, bytes a key";
pub(super) const RESIDENT: &str = "memory, MiB";
pub(super) const VERIFY: &str = "Verify, µs";
const MIB: f64 = 1024.0 * 1024.0;

/// Start-up and memory of the server that the other measurements used.
pub(super) fn measure_current(bench: &mut Bench, pair: &Pair) -> Result<()> {
    let columns = ["keys", "start, s", "memory after all of the above, MiB", "most memory, MiB"];
    let mut table =
        Table::new("Start and memory", "On SQLite; a server is ready when it has its first lease.", &columns);
    let memory = Usage::of(&pair.ours.process)?.memory()?;
    let figures = [pair.ours.started_in.as_secs_f64(), mib(memory.now), mib(memory.most)];
    table.add(bench.keys().to_string(), figures.map(Some));
    bench.report.add(table);
    Ok(())
}

/// Measures each number of keys with a new server.
pub(super) async fn measure(bench: &mut Bench) -> Result<()> {
    let columns =
        ["keys", VERIFY, "bare, µs", "BatchVerify, µs", "VerifyStream, µs", "start, s", RESIDENT, "most, MiB", BYTES];
    let note = "Server CPU per answer. Memory is the resident memory of a ready server, before any call. Bytes a key \
                are the growth since the smallest set.";
    let mut table = Table::new(SIZES, note, &columns);
    let mut smallest = None;
    let mut lines = ["Verify", "bare framework", "BatchVerify", "VerifyStream"].map(|name| (name, Vec::new()));
    for keys in bench.args.sizes.clone() {
        say!("{keys} keys");
        let pair = Box::pin(Pair::start(bench, keys)).await?;
        let memory = Usage::of(&pair.ours.process)?.memory()?;
        let (first_keys, first_memory) = *smallest.get_or_insert((keys, memory.now));
        let (unary, bare) = pair.side_by_side(bench.plan(pair.key_set, Mode::Unary, 8, 32), bench.args.rounds).await?;
        let batch = median_us(bench, &pair, bench.plan(pair.key_set, Mode::Batch(100), 4, 4)).await?;
        let stream = median_us(bench, &pair, bench.plan(pair.key_set, Mode::Stream, 1, 512)).await?;
        let cpu_us = [unary.server_us, bare.server_us, batch, stream];
        for ((_, points), cpu) in lines.iter_mut().zip(cpu_us) {
            points.push((as_float(keys), cpu));
        }
        let Server { started_in, .. } = pair.ours;
        let grown = as_float(memory.now) - as_float(first_memory);
        let bytes = (keys > first_keys).then(|| grown / as_float(keys - first_keys));
        let rest = [started_in.as_secs_f64(), mib(memory.now), mib(memory.most)];
        table.add(keys.to_string(), cpu_us.into_iter().chain(rest).map(Some).chain([bytes]));
    }
    bench.report.add(table);
    let lines = lines.into_iter().map(|(name, points)| Line { name: name.into(), points });
    bench.plots.push(Plot {
        name: "keys".into(),
        title: "Server CPU of an answer against the number of keys".into(),
        x_label: "keys".into(),
        y_label: "µs".into(),
        is_x_logarithmic: true,
        lines: lines.collect(),
    });
    Ok(())
}

async fn median_us(bench: &Bench, pair: &Pair, plan: Plan) -> Result<f64> {
    let mut rounds = Vec::new();
    for _ in 0..bench.args.rounds.max(1) {
        rounds.push(crate::load::run(pair.ours()?, plan).await?);
    }
    Ok(median(rounds)?.server_us)
}

fn mib(bytes: u64) -> f64 {
    as_float(bytes) / MIB
}

#[expect(clippy::cast_precision_loss, reason = "a float represents these counts exactly")]
pub(super) fn as_float(number: u64) -> f64 {
    number as f64
}
