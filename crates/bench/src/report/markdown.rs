//! A report as Markdown.

use std::fmt::Write as _;

use key_authority_testkit::plot::number;

use super::{Report, Table};

pub(super) fn report(report: &Report) -> String {
    let mut text = String::new();
    for fact in &report.facts {
        let _ = writeln!(text, "- {fact}");
    }
    for known in &report.tables {
        text.push_str(&table(known));
    }
    text
}

pub(super) fn table(table: &Table) -> String {
    let mut text = format!("\n## {}\n\n", table.title);
    if !table.note.is_empty() {
        let _ = writeln!(text, "{}\n", table.note);
    }
    let _ = writeln!(text, "| {} |", table.columns.join(" | "));
    let _ = writeln!(text, "|---|{}", "---:|".repeat(table.columns.len().saturating_sub(1)));
    for row in &table.rows {
        let figures = row.figures.iter().map(|figure| figure.map_or_else(|| "–".to_owned(), number));
        let _ = writeln!(text, "| {} | {} |", row.name, figures.collect::<Vec<_>>().join(" | "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_cell_for_each_column() {
        let mut known = Table::new("Costs", "", &["what", "µs", "1/s"]);
        known.add("unary", [Some(1.5), None]);
        assert_eq!(table(&known), "\n## Costs\n\n| what | µs | 1/s |\n|---|---:|---:|\n| unary | 1.50 | – |\n");
    }
}
