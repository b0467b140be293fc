//! Results: Markdown on standard output, JSON in a file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::progress;
use crate::trouble::{Attempt as _, Trouble};

/// Prints `markdown`, and writes `report` to `json` if it is named.
pub(crate) fn publish(markdown: &str, report: &impl Serialize, json: Option<&Path>) -> Result<(), Trouble> {
    progress::print(markdown);
    let Some(file) = json else { return Ok(()) };
    let text = serde_json::to_string_pretty(report).attempt("the report")?;
    std::fs::write(file, text + "\n").attempt(file.display())
}

/// How often each came.
pub(crate) fn list(counts: &BTreeMap<String, u64>) -> String {
    if counts.is_empty() {
        return "none".to_owned();
    }
    counts.iter().map(|(name, count)| format!("{count} × {name}")).collect::<Vec<_>>().join(", ")
}
