//! A report as Markdown.

use std::fmt::Write as _;

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

/// A number with three significant digits, or all digits of its integer part if it has more.
pub(super) fn number(number: f64) -> String {
    let size = number.abs();
    let decimals =
        [(100.0, 0), (10.0, 1), (1.0, 2)].iter().find(|(bound, _)| size >= *bound).map_or(3, |found| found.1);
    let text = format!("{number:.decimals$}");
    if size < 10_000.0 {
        return text;
    }
    let groups: Vec<&[u8]> = text.as_bytes().rchunks(3).rev().collect();
    groups.iter().map(|group| String::from_utf8_lossy(group)).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_significant_digits_or_all_integer_digits() {
        let shown = [0.0312, 1.234, 12.34, 123.4, 1234.0, 12345.6, 1_234_567.0].map(number);
        assert_eq!(shown, ["0.031", "1.23", "12.3", "123", "1234", "12,346", "1,234,567"]);
    }

    #[test]
    fn a_table_has_a_cell_for_each_column() {
        let mut known = Table::new("Costs", "", &["what", "µs", "1/s"]);
        known.add("unary", [Some(1.5), None]);
        assert_eq!(table(&known), "\n## Costs\n\n| what | µs | 1/s |\n|---|---:|---:|\n| unary | 1.50 | – |\n");
    }
}
