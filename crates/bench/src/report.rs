//! The report: tables of figures, as Markdown and as JSON, which `--compare` reads.

mod compare;
mod markdown;

use std::path::Path;

use anyhow::{Context as _, Result};
use key_authority_testkit::plot::Plot;
use key_authority_testkit::progress;
use serde::{Deserialize, Serialize};

/// Figures under a common heading. Table, row and column identify a figure.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// How they were measured.
    pub(crate) note: String,
    /// The names of the columns, unit last; the first column names the rows.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// One row of figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// One per column; None where there is nothing to measure.
    pub(crate) figures: Vec<Option<f64>>,
}

/// The results of a run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Machine, programs and settings, one per line.
    pub(crate) facts: Vec<String>,
    pub(crate) tables: Vec<Table>,
}

impl Table {
    pub(crate) fn new(title: &str, note: &str, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Self { title: title.to_owned(), note: note.to_owned(), columns, rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, name: impl Into<String>, figures: impl IntoIterator<Item = Option<f64>>) {
        self.rows.push(Row { name: name.into(), figures: figures.into_iter().collect() });
    }
}

impl Report {
    /// Adds a table, and prints it at once, since the next one may take minutes.
    pub(crate) fn add(&mut self, table: Table) {
        progress::print(&markdown::table(&table));
        self.tables.push(table);
    }

    /// The value of a figure; None if it was not measured.
    pub(crate) fn figure(&self, title: &str, row: &str, column: &str) -> Option<f64> {
        let table = self.tables.iter().find(|table| table.title == title)?;
        let place = table.columns.iter().position(|name| name == column)?.checked_sub(1)?;
        *table.rows.iter().find(|known| known.name == row)?.figures.get(place)?
    }

    /// Writes `report.md`, `report.json` and the plots into `folder`.
    pub(crate) fn write(&self, folder: &Path, plots: &[Plot]) -> Result<()> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let write = |name: &str, text: String| {
            let file = folder.join(name);
            std::fs::write(&file, text).with_context(|| file.display().to_string())
        };
        write("report.json", serde_json::to_string_pretty(self)? + "\n")?;
        let images = plots.iter().map(|plot| format!("\n![{}]({}.svg)\n", plot.title, plot.name));
        write("report.md", markdown::report(self) + &images.collect::<String>())?;
        plots.iter().try_for_each(|plot| write(&format!("{}.svg", plot.name), plot.svg()))
    }

    /// Prints the differences to an earlier report.
    pub(crate) fn compare(&self, earlier: &Path) -> Result<()> {
        let text = std::fs::read(earlier).with_context(|| earlier.display().to_string())?;
        let earlier: Self = serde_json::from_slice(&text).with_context(|| earlier.display().to_string())?;
        progress::print(&compare::differences(&earlier, self));
        Ok(())
    }
}
