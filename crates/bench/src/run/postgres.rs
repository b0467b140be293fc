//! Start-up on PostgreSQL, and Verify under mixed load: during changes, while a second replica loads every key, and
//! beside a loaded second replica.

use std::time::Duration;

use anyhow::{Result, anyhow};
use hdrhistogram::Histogram;
use key_authority_testkit::clock::Clock;
use key_authority_testkit::database::Database;
use key_authority_testkit::say;

use super::servers::{ours, target};
use super::{Bench, mixed_load};
use crate::fill::Authority;
use crate::key_set::KeySet;
use crate::load::{self, Measured, Mode, Plan, Target};
use crate::report::Table;

pub(super) const START: &str = "Start on PostgreSQL";
pub(super) const COPY: &str = "psql \\copy, s";
/// Calls per second: low enough that the machine is not saturated under mixed load.
const RATE: f64 = 2_000.0;
/// The tables that a server reads at its start.
const TABLES: [&str; 2] = ["api_key", "api_key_secret"];

/// Measures all of it, if there is a PostgreSQL server.
pub(super) async fn measure(bench: &mut Bench) -> Result<()> {
    let Some(server) = bench.args.postgres.clone() else {
        say!("skipping `postgres`: no --postgres URL");
        return Ok(());
    };
    let key_set = KeySet::new(bench.keys());
    let database = Database::create(&server, "bench")?;
    let folder = bench.work.path().join("postgres");
    let authority = Box::pin(Authority::make(&folder, Some(database.url().as_str()), key_set)).await?;
    database.run("VACUUM ANALYZE")?;
    let copied = copy(&database)?;
    let first = ours(bench, &authority, "first").await?;
    let mut table =
        Table::new(START, "Both read the same columns on the same machine.", &["keys", "start, s", COPY, "ratio"]);
    let started = first.started_in.as_secs_f64();
    table.add(key_set.count.to_string(), [started, copied.as_secs_f64(), started / copied.as_secs_f64()].map(Some));
    bench.report.add(table);

    let target = target(&first, key_set, true)?;
    let plan = Plan { rate: Some(RATE), ..bench.plan(key_set, Mode::Unary, 8, 0) };
    let quiet = load::run(target.clone(), plan).await?;
    let (changing, changes) = beside_changes(&target, plan).await?;
    let (second, loading) = tokio::join!(ours(bench, &authority, "second"), load::run(target.clone(), plan));
    let (second, loading) = (second?, loading?);
    let both = load::run(target, plan).await?;
    say!("the second replica was ready after {:.1?}", second.started_in);

    let columns =
        ["beside Verify at 2,000 calls/s", "p50, µs", "p99, µs", "p99 ratio to quiet", "server CPU, µs an answer"];
    let mut table = Table::new("Mixed load", "One replica on PostgreSQL, open loop.", &columns);
    let changing_row = format!("{} changes/s", mixed_load::CHANGES);
    let rows: [(&str, &Measured); 4] = [
        ("nothing", &quiet),
        (&changing_row, &changing),
        ("a second replica that loads", &loading),
        ("a second replica", &both),
    ];
    for (name, measured) in rows {
        table.add(
            name,
            [measured.p50_us, measured.p99_us, measured.p99_us / quiet.p99_us, measured.server_us].map(Some),
        );
    }
    bench.report.add(table);
    let mut table =
        Table::new("Changes", "UpdateKey during Verify, until it returns.", &["rate", "p50, ms", "p99, ms"]);
    let at = |quantile| Duration::from_micros(changes.value_at_quantile(quantile)).as_secs_f64() * 1e3;
    table.add(changing_row, [at(0.5), at(0.99)].map(Some));
    bench.report.add(table);
    Ok(())
}

async fn beside_changes(target: &Target, plan: Plan) -> Result<(Measured, Histogram<u64>)> {
    let mut taken = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    let measured = tokio::select! {
        measured = load::run(target.clone(), plan) => measured?,
        changed = mixed_load::change(target.address, plan.key_set, &mut taken) => {
            return Err(changed.err().unwrap_or_else(|| anyhow!("the changes ended early")));
        }
    };
    Ok((measured, taken))
}

/// How long psql takes to read the tables that a server reads at its start.
fn copy(database: &Database) -> Result<Duration> {
    let clock = Clock::start();
    for table in TABLES {
        database.run(&format!("\\copy {table} TO '/dev/null'"))?;
    }
    Ok(clock.elapsed())
}
