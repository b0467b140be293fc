//! The goals of the project beside the measured figures.

use super::cpu_cost::{BATCH, COSTS, ONE, PIPELINED, REDIS, STREAM, UNARY};
use super::postgres::START;
use super::sizes::{BYTES, RESIDENT, SIZES, VERIFY};
use super::tokens::{STATEMENTS, TOKENS};
use crate::report::{Report, Table};

const CPU: &str = "server CPU, µs an answer";

/// Adds a table of the goals whose figures were measured.
pub(super) fn add(report: &mut Report) {
    let mut table = Table::new(
        "Goals",
        "Upper limits; a ratio of at most 1 meets the goal.",
        &["what", "goal", "measured", "ratio"],
    );
    let figure = |table, row, column| report.figure(table, row, column);
    let million = |column| figure(SIZES, "1000000", column);
    let token = |name| figure(TOKENS, name, "ratio to a valid one");
    let worst = |figures: [Option<f64>; 3]| figures.into_iter().flatten().reduce(f64::max);
    let statements = ["forged", "unknown", "malformed"].map(|name| figure(TOKENS, name, STATEMENTS));
    let growth = figure(SIZES, "10000000", VERIFY).zip(figure(SIZES, "1000", VERIFY)).map(|(most, least)| most / least);
    let start = report.tables.iter().find(|table| table.title == START).and_then(|table| table.rows.first());
    let start = start.and_then(|row| row.figures.last().copied().flatten());
    let lines = [
        ("Verify: server CPU, in that of the bare framework", Some(1.0), figure(COSTS, UNARY, "ratio")),
        ("Verify, 1 in flight: p99, in that of the bare framework", Some(1.2), figure(COSTS, ONE, "p99 ratio")),
        ("VerifyStream: server CPU, µs an answer", Some(1.0), figure(COSTS, STREAM, CPU)),
        ("… and no more than Redis, pipelined", figure(REDIS, PIPELINED, CPU), figure(COSTS, STREAM, CPU)),
        ("BatchVerify of 100: server CPU, µs an answer", Some(0.35), figure(COSTS, BATCH, CPU)),
        ("Memory at 1,000,000 keys, bytes a key", Some(200.0), million(BYTES)),
        ("Memory with 1,000 keys, MiB", Some(40.0), figure(SIZES, "1000", RESIDENT)),
        ("Start, in what psql takes to \\copy the same out", Some(2.0), start),
        ("Forged, unknown, malformed: server CPU, in that of a valid one", Some(1.0), {
            worst([token("forged"), token("unknown"), token("malformed")])
        }),
        ("… and statements to the database", Some(0.0), worst(statements)),
        ("Verify at 10,000,000 keys, in that at 1,000", Some(1.5), growth),
    ];
    for (what, goal, measured) in lines {
        let (Some(goal), Some(measured)) = (goal, measured) else { continue };
        table.add(what, [Some(goal), Some(measured), (goal > 0.0).then(|| measured / goal)]);
    }
    if !table.rows.is_empty() {
        report.add(table);
    }
}
