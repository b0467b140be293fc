//! Latency against offered load: an open loop at shares of what the slower of the two can do in a closed one, where calls
//! come in bunches and cost less each.

use super::Bench;
use super::authorities::Pair;
use super::costs::{COSTS, UNARY};
use crate::load::{self, Mode, Plan};
use crate::report::{Line, Plot, Table};
use crate::trouble::Trouble;

/// Offered load where nothing was measured to go by, in calls a second.
const PEAK_UNKNOWN: f64 = 20_000.0;

/// Measures ours and bare at each rate.
pub(super) async fn measure(bench: &mut Bench, pair: &Pair) -> Result<(), Trouble> {
    let columns = [
        "Verify, calls/s offered",
        "p50, µs",
        "p99, µs",
        "bare p50, µs",
        "bare p99, µs",
        "p99 ratio",
        "server CPU, µs an answer",
        "bare, µs",
    ];
    let note = "Open loop on 8 connections; counted from when each call was due.";
    let mut table = Table::new("Offered load", note, &columns);
    let peak = |column| bench.report.figure(COSTS, UNARY, column).unwrap_or(PEAK_UNKNOWN);
    let peak = peak("answers/s").min(peak("bare, 1/s"));
    let (mut ours_line, mut bare_line) = (Vec::new(), Vec::new());
    for share in [0.05, 0.1, 0.2, 0.3, 0.4, 0.5] {
        let rate = (peak * share / 100.0).round() * 100.0;
        let plan = Plan { rate: Some(rate), ..bench.plan(pair.stock, Mode::Unary, 8, 0) };
        let ours = load::run(pair.ours()?, plan).await?;
        let bare = load::run(pair.bare()?, plan).await?;
        let ratio = ours.p99_us / bare.p99_us;
        let figures =
            [ours.p50_us, ours.p99_us, bare.p50_us, bare.p99_us, ratio, ours.server_us, bare.server_us].map(Some);
        table.add(format!("{rate:.0}"), figures);
        ours_line.push((rate, ours.p99_us));
        bare_line.push((rate, bare.p99_us));
    }
    bench.report.add(table);
    bench.plots.push(Plot {
        name: "latency".into(),
        title: "Latency of Verify against offered load".into(),
        x_label: "calls a second".into(),
        y_label: "p99, µs".into(),
        is_x_logarithmic: false,
        lines: vec![
            Line { name: "ours".into(), points: ours_line },
            Line { name: "bare framework".into(), points: bare_line },
        ],
    });
    Ok(())
}
