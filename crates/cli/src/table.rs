//! Tables without lines: a header and rows, or names and values. Nothing is cut off or wrapped, so that they can be searched.

use comfy_table::{Cell, Color, Table as Grid, presets};

/// What a value means for whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Caution,
    Bad,
}

/// A text and its tone.
pub(crate) fn toned(text: impl Into<String>, tone: Tone) -> Cell {
    let cell = Cell::new(text.into());
    match tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Caution => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red),
    }
}

/// A text.
pub(crate) fn plain(text: impl Into<String>) -> Cell {
    toned(text, Tone::Plain)
}

/// A table.
pub(crate) struct Table(Grid);

impl Table {
    /// A header and rows.
    pub(crate) fn list(header: &[&str]) -> Self {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING);
        grid.set_header(header.iter().copied());
        Self(grid)
    }

    /// Names and values.
    pub(crate) fn record() -> Self {
        let mut grid = Grid::new();
        grid.load_style(presets::NOTHING);
        Self(grid)
    }

    /// A row of a list.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.0.add_row(cells);
    }

    /// A value of a record; one that is empty is left out.
    pub(crate) fn pair(&mut self, name: &str, value: Cell) {
        if !value.content().is_empty() {
            self.0.add_row(vec![Cell::new(name), value]);
        }
    }

    /// The text, without a line's end after it.
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
    fn colours_come_when_they_are_wanted() {
        assert!(sample().render(true).contains("\u{1b}[38;5;9mrevoked"), "{:?}", sample().render(true));
    }

    #[test]
    fn a_record_leaves_out_what_is_empty() {
        let mut table = Table::record();
        table.pair("key", plain("ci"));
        table.pair("name", plain(""));
        table.pair("state", plain("active"));
        assert_eq!(table.render(false), "key    ci\nstate  active");
    }
}
