//! Verify in company, on PostgreSQL: beside changes, beside a second replica that loads every key, and beside one that has.

use std::path::Path;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::Bench;
use super::authorities::{ours, target};
use super::company;
use crate::clock::Clock;
use crate::fill::Authority;
use crate::load::{self, Measured, Mode, Plan, Target};
use crate::progress::say;
use crate::report::Table;
use crate::stock::Stock;
use crate::trouble::{Attempt as _, Trouble};

pub(super) const START: &str = "Start on PostgreSQL";
pub(super) const COPY: &str = "psql \\copy, s";
/// Calls a second: few enough that the machine is not full, whatever else goes on.
const RATE: f64 = 2_000.0;
/// The columns that a server reads at its start.
const TABLES: [&str; 2] = ["api_key", "api_key_secret"];

/// A database that goes when this does.
struct Database {
    server: String,
    name: String,
}

/// Measures all of it, if there is a PostgreSQL.
pub(super) async fn measure(bench: &mut Bench) -> Result<(), Trouble> {
    let Some(server) = bench.args.postgres.clone() else {
        say!("without --postgres nothing is measured on it");
        return Ok(());
    };
    let stock = Stock::new(bench.keys());
    let database = Database::create(&server)?;
    let folder = bench.work.path().join("postgres");
    let authority = Box::pin(Authority::make(&folder, Some(&database.url()), stock)).await?;
    database.run("VACUUM ANALYZE")?;
    let copied = database.copy()?;
    let first = ours(bench, &authority, "first").await?;
    let mut table = Table::new(START, "The same columns, to the same machine.", &["keys", "start, s", COPY, "ratio"]);
    let started = first.started_in.as_secs_f64();
    table.add(stock.count.to_string(), [started, copied.as_secs_f64(), started / copied.as_secs_f64()].map(Some));
    bench.report.add(table);

    let asked = target(&first, stock, true)?;
    let plan = Plan { rate: Some(RATE), ..bench.plan(stock, Mode::Unary, 8, 0) };
    let quiet = load::run(asked.clone(), plan).await?;
    let (changing, changes) = beside_changes(&asked, plan).await?;
    let (second, loading) = tokio::join!(ours(bench, &authority, "second"), load::run(asked.clone(), plan));
    let (second, loading) = (second?, loading?);
    let both = load::run(asked, plan).await?;
    say!("the second replica was ready after {:.1?}", second.started_in);

    let columns =
        ["beside Verify at 2,000 calls/s", "p50, µs", "p99, µs", "p99 ratio to quiet", "server CPU, µs an answer"];
    let mut table = Table::new("In company", "One replica on PostgreSQL, open loop.", &columns);
    let changing_row = format!("{} changes/s", company::CHANGES);
    let rows: [(&str, &Measured); 4] = [
        ("nothing", &quiet),
        (&changing_row, &changing),
        ("a second replica that loads", &loading),
        ("a second replica", &both),
    ];
    for (name, seen) in rows {
        table.add(name, [seen.p50_us, seen.p99_us, seen.p99_us / quiet.p99_us, seen.server_us].map(Some));
    }
    bench.report.add(table);
    let mut table =
        Table::new("Changes", "UpdateKey beside Verify, until it is over.", &["rate", "p50, ms", "p99, ms"]);
    let at = |quantile| Duration::from_micros(changes.value_at_quantile(quantile)).as_secs_f64() * 1e3;
    table.add(changing_row, [at(0.5), at(0.99)].map(Some));
    bench.report.add(table);
    Ok(())
}

async fn beside_changes(asked: &Target, plan: Plan) -> Result<(Measured, Histogram<u64>), Trouble> {
    let mut taken = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    let measured = tokio::select! {
        measured = load::run(asked.clone(), plan) => measured?,
        changed = company::change(asked.address, plan.stock, &mut taken) => {
            return Err(changed.err().unwrap_or_else(|| "changes ended".into()));
        }
    };
    Ok((measured, taken))
}

impl Database {
    fn create(server: &str) -> Result<Self, Trouble> {
        let database = Self { server: server.to_owned(), name: format!("bench_{}", std::process::id()) };
        psql(server, &format!("CREATE DATABASE {}", database.name))?;
        Ok(database)
    }

    fn url(&self) -> String {
        let server = self.server.rsplit_once('/').map_or(self.server.as_str(), |(server, _)| server);
        format!("{server}/{}", self.name)
    }

    fn run(&self, sql: &str) -> Result<(), Trouble> {
        psql(&self.url(), sql)
    }

    /// How long psql takes to read what a server reads at its start.
    fn copy(&self) -> Result<Duration, Trouble> {
        let clock = Clock::start();
        for table in TABLES {
            self.run(&format!("\\copy {table} TO '{}'", Path::new("/dev/null").display()))?;
        }
        Ok(clock.elapsed())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Err(trouble) = psql(&self.server, &format!("DROP DATABASE {} WITH (FORCE)", self.name)) {
            say!("{trouble}");
        }
    }
}

/// Runs one statement with psql, to its end.
fn psql(url: &str, sql: &str) -> Result<(), Trouble> {
    let mut psql = std::process::Command::new("psql");
    psql.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command", sql, url]);
    let output = psql.output().attempt("psql (scripts/install-tools)")?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned().into()) }
}
