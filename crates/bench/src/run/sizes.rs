//! Cost, memory and start against the number of keys.

use super::Bench;
use super::authorities::Pair;
use crate::load::{Mode, Plan};
use crate::process::Server;
use crate::progress::say;
use crate::report::{Line, Plot, Table};
use crate::trouble::Trouble;

pub(super) const SIZES: &str = "Number of keys";
pub(super) const BYTES: &str = "memory, bytes a key";
pub(super) const RESIDENT: &str = "memory, MiB";
pub(super) const VERIFY: &str = "Verify, µs";
const MIB: f64 = 1024.0 * 1024.0;

/// What the server of the other measurements needed.
pub(super) fn one(bench: &mut Bench, pair: &Pair) -> Result<(), Trouble> {
    let columns = ["keys", "start, s", "memory after all of the above, MiB", "most memory, MiB"];
    let mut table = Table::new("Start and memory", "On SQLite; ready is when it has its first lease.", &columns);
    let memory = pair.ours.process.usage()?.memory()?;
    let figures = [pair.ours.started_in.as_secs_f64(), mib(memory.now), mib(memory.most)];
    table.add(bench.keys().to_string(), figures.map(Some));
    bench.report.add(table);
    Ok(())
}

/// Measures each size with a server of its own.
pub(super) async fn measure(bench: &mut Bench) -> Result<(), Trouble> {
    let columns =
        ["keys", VERIFY, "bare, µs", "BatchVerify, µs", "VerifyStream, µs", "start, s", RESIDENT, "most, MiB", BYTES];
    let note = "Server CPU for one answer. Memory is what is resident once the server is ready, before any call; bytes a \
                key are what it grew by since the smallest set.";
    let mut table = Table::new(SIZES, note, &columns);
    let mut smallest = None;
    let mut lines = ["Verify", "bare framework", "BatchVerify", "VerifyStream"].map(|name| (name, Vec::new()));
    for keys in bench.args.sizes.clone() {
        say!("{keys} keys");
        let pair = Box::pin(Pair::start(bench, keys)).await?;
        let memory = pair.ours.process.usage()?.memory()?;
        let (first_keys, first_memory) = *smallest.get_or_insert((keys, memory.now));
        let (unary, bare) = pair.side_by_side(bench.plan(pair.stock, Mode::Unary, 8, 32), bench.args.rounds).await?;
        let batch = costs_us(bench, &pair, bench.plan(pair.stock, Mode::Batch(100), 4, 4)).await?;
        let stream = costs_us(bench, &pair, bench.plan(pair.stock, Mode::Stream, 1, 512)).await?;
        let costs = [unary.server_us, bare.server_us, batch, stream];
        for ((_, points), cost) in lines.iter_mut().zip(costs) {
            points.push((as_float(keys), cost));
        }
        let Server { started_in, .. } = pair.ours;
        let grown = as_float(memory.now) - as_float(first_memory);
        let bytes = (keys > first_keys).then(|| grown / as_float(keys - first_keys));
        let rest = [started_in.as_secs_f64(), mib(memory.now), mib(memory.most)];
        table.add(keys.to_string(), costs.into_iter().chain(rest).map(Some).chain([bytes]));
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

async fn costs_us(bench: &Bench, pair: &Pair, plan: Plan) -> Result<f64, Trouble> {
    let mut rounds = Vec::new();
    for _ in 0..bench.args.rounds.max(1) {
        rounds.push(crate::load::run(pair.ours()?, plan).await?);
    }
    Ok(super::authorities::middle(rounds)?.server_us)
}

fn mib(bytes: u64) -> f64 {
    as_float(bytes) / MIB
}

#[expect(clippy::cast_precision_loss, reason = "counts far below what a float counts exactly")]
pub(super) fn as_float(number: u64) -> f64 {
    number as f64
}
