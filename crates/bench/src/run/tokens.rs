//! The cost of invalid tokens.

use anyhow::{Context as _, Result};

use super::Bench;
use super::servers::Pair;
use crate::key_set::Presented;
use crate::load::{self, Mode, Plan};
use crate::report::Table;
use crate::scrape;

pub(super) const TOKENS: &str = "Tokens";
pub(super) const STATEMENTS: &str = "statements to the database";

/// Measures each kind of token, and counts the statements that calls send to the database.
pub(super) async fn measure(bench: &mut Bench, pair: &Pair) -> Result<()> {
    let columns = ["token", "server CPU, µs an answer", "ratio to a valid one", STATEMENTS];
    let note = "On streams, where the share of the framework is smallest. Statements are those that calls send.";
    let mut table = Table::new(TOKENS, note, &columns);
    let metrics = pair.ours.http.context("the server has no metrics")?;
    let kinds = [
        ("valid", Presented::Valid),
        ("forged", Presented::Forged),
        ("unknown", Presented::Unknown),
        ("malformed", Presented::Malformed),
    ];
    let mut valid_us = None;
    for (name, presented) in kinds {
        let plan = Plan { presented, ..bench.plan(pair.key_set, Mode::Stream, 1, 512) };
        let before = scrape::statements(metrics).await?;
        let measured = load::run(pair.ours()?, plan).await?;
        let statements = scrape::statements(metrics).await? - before;
        let valid_us = *valid_us.get_or_insert(measured.server_us);
        table.add(name, [measured.server_us, measured.server_us / valid_us, statements].map(Some));
    }
    bench.report.add(table);
    Ok(())
}
