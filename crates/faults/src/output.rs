//! Results: Markdown to standard output, JSON to a file.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use key_authority_testkit::progress;
use serde::Serialize;

/// Prints `markdown`, and writes `report` to the file `json` if there is one.
pub(crate) fn publish(markdown: &str, report: &impl Serialize, json: Option<&Path>) -> Result<()> {
    progress::print(markdown);
    let Some(file) = json else { return Ok(()) };
    let text = serde_json::to_string_pretty(report).context("cannot encode the report")?;
    std::fs::write(file, text + "\n").with_context(|| file.display().to_string())
}

/// The entries with their counts, for output.
pub(crate) fn list(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    counts.iter().map(|(name, count)| format!("{count} × {name}")).collect::<Vec<_>>().join(", ")
}
