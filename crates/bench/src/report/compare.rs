//! The differences to an earlier report.

use std::fmt::Write as _;

use super::Report;
use key_authority_testkit::plot::number;

/// Every figure that both reports have, before and now.
pub(super) fn differences(earlier: &Report, now: &Report) -> String {
    let mut text = "\n## Compared\n\n| what | before | now | change |\n|---|---:|---:|---:|\n".to_owned();
    for table in &now.tables {
        for row in &table.rows {
            for (column, figure) in table.columns.iter().skip(1).zip(&row.figures) {
                let before = earlier.figure(&table.title, &row.name, column);
                let (Some(before), Some(figure)) = (before, *figure) else { continue };
                let change = if before == 0.0 { 0.0 } else { (figure / before - 1.0) * 100.0 };
                let what = format!("{}: {}, {column}", table.title, row.name);
                let _ = writeln!(text, "| {what} | {} | {} | {change:+.1} % |", number(before), number(figure));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Table;
    use super::*;

    fn report(figures: [Option<f64>; 2]) -> Report {
        let mut table = Table::new("Costs", "", &["what", "µs", "1/s"]);
        table.add("unary", figures);
        Report { tables: vec![table], ..Report::default() }
    }

    #[test]
    fn only_figures_of_both_reports_are_compared() {
        let text = differences(&report([Some(2.0), None]), &report([Some(3.0), Some(5.0)]));
        assert!(text.ends_with("|---:|\n| Costs: unary, µs | 2.00 | 3.00 | +50.0 % |\n"), "{text}");
    }
}
