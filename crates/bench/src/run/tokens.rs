//! What tokens cost that are none.

use super::Bench;
use super::authorities::Pair;
use crate::load::{self, Mode, Plan};
use crate::report::Table;
use crate::scrape;
use crate::stock::Presented;
use crate::trouble::Trouble;

pub(super) const TOKENS: &str = "Tokens";
pub(super) const STATEMENTS: &str = "statements to the database";

/// Measures each kind in turn, and counts what calls asked of the database meanwhile.
pub(super) async fn measure(bench: &mut Bench, pair: &Pair) -> Result<(), Trouble> {
    let columns = ["token", "server CPU, µs an answer", "ratio to a valid one", STATEMENTS];
    let note = "On streams, where what the framework costs hides least. Statements are those of calls.";
    let mut table = Table::new(TOKENS, note, &columns);
    let metrics = pair.ours.http.ok_or("the server has no metrics")?;
    let kinds = [
        ("valid", Presented::Valid),
        ("forged", Presented::Forged),
        ("unknown", Presented::Unknown),
        ("malformed", Presented::Malformed),
    ];
    let mut valid_us = None;
    for (name, presented) in kinds {
        let plan = Plan { presented, ..bench.plan(pair.stock, Mode::Stream, 1, 512) };
        let before = scrape::statements(metrics).await?;
        let measured = load::run(pair.ours()?, plan).await?;
        let statements = scrape::statements(metrics).await? - before;
        let valid_us = *valid_us.get_or_insert(measured.server_us);
        table.add(name, [measured.server_us, measured.server_us / valid_us, statements].map(Some));
    }
    bench.report.add(table);
    Ok(())
}
