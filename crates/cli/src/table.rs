//! Tables without borders: a header and rows, or names and values. Text is never truncated or wrapped, so that it can
//! be searched.

use comfy_table::{Cell, Color, Table as Grid, presets};

use crate::escape::visible;

/// The colour category of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Caution,
    Bad,
}

/// A cell with a tone. Characters that would act on the terminal, or change the order of the text, are shown by number.
pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Cell {
    let cell = Cell::new(visible(&text.into()));
    match tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Caution => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red),
    }
}

/// A cell without a tone.
pub(crate) fn plain(text: impl Into<String>) -> Cell {
    toned(text, Tone::Plain)
}

/// A table.
pub(crate) struct Table(Grid);

impl Table {
    /// A table with a header and rows.
    pub(crate) fn list(header: &[&str]) -> Self {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING);
        grid.set_header(header.iter().copied());
        Self(grid)
    }

    /// A table of names and values.
    pub(crate) fn record() -> Self {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING);
        Self(grid)
    }

    /// Adds a row.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.0.add_row(cells);
    }

    /// Adds a name and a value. An empty value is left out.
    pub(crate) fn pair(&mut self, name: &str, value: Cell) {
        if !value.content().is_empty() {
            self.0.add_row(vec![Cell::new(name), value]);
        }
    }

    /// Renders the table without a trailing line break.
    pub(crate) fn render(mut self, is_coloured: bool) -> String {
        if is_coloured {
            self.0.enforce_styling();
        } else {
            self.0.force_no_tty();
        }
        for column in self.0.column_iter_mut() {
            column.set_padding((0, 2));
        }
        self.0.trim_fmt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Table {
        let mut table = Table::list(&["KEY", "STATE"]);
        table.row(vec![plain("laptop"), toned("revoked", Tone::Bad)]);
        table
    }

    #[test]
    fn columns_are_aligned() {
        assert_eq!(sample().render(false), "KEY     STATE\nlaptop  revoked");
    }

    #[test]
    fn colours_are_used_if_enabled() {
        assert!(sample().render(true).contains("\u{1b}[38;5;9mrevoked"), "{:?}", sample().render(true));
    }

    #[test]
    fn a_record_leaves_out_empty_values() {
        let mut table = Table::record();
        table.pair("key", plain("ci"));
        table.pair("name", plain(""));
        table.pair("state", plain("active"));
        assert_eq!(table.render(false), "key    ci\nstate  active");
    }
}
