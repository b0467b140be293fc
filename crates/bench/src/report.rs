//! The report: tables of figures, as Markdown for people and as JSON for the next run to compare with.

mod compare;
mod markdown;
mod plot;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::progress;
use crate::trouble::{Attempt as _, Trouble};

pub(crate) use self::plot::{Line, Plot};

/// Figures under a common heading. A figure is known by table, row and column.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    /// What is to be known of how they came about.
    pub(crate) note: String,
    /// What the figures are, unit last; the first column names the rows.
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

/// One row of figures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// One a column; none where there is nothing to measure.
    pub(crate) figures: Vec<Option<f64>>,
}

/// All that a run has measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The machine and the program, a fact a line.
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
    /// Takes a table in, and prints it, since the next one may take a while.
    pub(crate) fn add(&mut self, table: Table) {
        progress::print(&markdown::table(&table));
        self.tables.push(table);
    }

    /// What a figure is, if it was measured.
    pub(crate) fn figure(&self, title: &str, row: &str, column: &str) -> Option<f64> {
        let table = self.tables.iter().find(|table| table.title == title)?;
        let place = table.columns.iter().position(|name| name == column)?.checked_sub(1)?;
        *table.rows.iter().find(|known| known.name == row)?.figures.get(place)?
    }

    /// Writes `report.md`, `report.json` and the plots into `folder`.
    pub(crate) fn write(&self, folder: &Path, plots: &[Plot]) -> Result<(), Trouble> {
        std::fs::create_dir_all(folder).attempt(folder.display())?;
        let write = |name: &str, text: String| {
            let file = folder.join(name);
            std::fs::write(&file, text).attempt(file.display())
        };
        write("report.json", serde_json::to_string_pretty(self)? + "\n")?;
        let images = plots.iter().map(|plot| format!("\n![{}]({}.svg)\n", plot.title, plot.name));
        write("report.md", markdown::report(self) + &images.collect::<String>())?;
        plots.iter().try_for_each(|plot| write(&format!("{}.svg", plot.name), plot.svg()))
    }

    /// Prints how this one differs from an earlier one.
    pub(crate) fn compare(&self, earlier: &Path) -> Result<(), Trouble> {
        let text = std::fs::read(earlier).attempt(earlier.display())?;
        let earlier: Self = serde_json::from_slice(&text).attempt(earlier.display())?;
        progress::print(&compare::differences(&earlier, self));
        Ok(())
    }
}
