//! Latency against offered load: an open loop at fractions of the closed-loop throughput of the slower server. In a
//! closed loop calls arrive in bunches and cost less each.

use anyhow::Result;
use key_authority_testkit::plot::{Line, Plot};

use super::Bench;
use super::cpu_cost::{COSTS, UNARY};
use super::servers::Pair;
use crate::load::{self, Mode, Plan};
use crate::report::Table;

/// The assumed throughput if the closed loop was not measured, in calls per second.
const PEAK_DEFAULT: f64 = 20_000.0;

/// Measures the real server and the bare framework at each rate.
pub(super) async fn measure(bench: &mut Bench, pair: &Pair) -> Result<()> {
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
    let note = "Open loop on 8 connections. Latency counts from the instant at which a call was due.";
    let mut table = Table::new("Offered load", note, &columns);
    let peak = |column| bench.report.figure(COSTS, UNARY, column).unwrap_or(PEAK_DEFAULT);
    let peak = peak("answers/s").min(peak("bare, 1/s"));
    let (mut ours_line, mut bare_line) = (Vec::new(), Vec::new());
    for share in [0.05, 0.1, 0.2, 0.3, 0.4, 0.5] {
        let rate = (peak * share / 100.0).round() * 100.0;
        let plan = Plan { rate: Some(rate), ..bench.plan(pair.key_set, Mode::Unary, 8, 0) };
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
