//! Rows of a CSV file whose content may be broken: an invalid row does not affect the rows after it. The usual readers
//! take what follows a quote that is never closed for one cell, up to the end of the file.

use std::io::{self, Read};

use super::lines::{self, Line, Lines};

/// The rows of a file.
pub(crate) struct Rows<R> {
    lines: Lines<R>,
}

/// The cells of a row or its error, and the line where the row begins.
pub(super) type Row = (u64, Result<Vec<String>, String>);

impl<R: Read> Rows<R> {
    pub(super) fn of(lines: Lines<R>) -> Self {
        Self { lines }
    }

    /// The next row. Empty lines, and rows of empty cells, are skipped.
    ///
    /// A quoted cell may contain line breaks. If its end is not found, only its first line counts as the invalid row,
    /// and the lines after that are read as rows of their own.
    pub(super) fn next(&mut self) -> io::Result<Option<Row>> {
        while let Some(first) = self.lines.next()? {
            let number = first.number;
            let row = self.row(first)?;
            if !row.as_ref().is_ok_and(|cells| cells.iter().all(String::is_empty)) {
                return Ok(Some((number, row)));
            }
        }
        Ok(None)
    }

    fn row(&mut self, first: Line) -> io::Result<Result<Vec<String>, String>> {
        let mut row = Cells::default();
        if let Err(rule) = row.add(&first.bytes) {
            return Ok(Err(rule.into()));
        }
        let mut bytes = first.bytes;
        let mut following = Vec::new();
        while row.place == Place::Quoted {
            let next = if bytes.len() > lines::LINE_BYTES_MAX { None } else { self.lines.next()? };
            let is_read = next.is_some_and(|line| {
                let added = row.add(&line.bytes);
                bytes.extend_from_slice(&line.bytes);
                following.push(line);
                added.is_ok()
            });
            if !is_read {
                self.lines.unread(following);
                return Ok(Err("has a quoted cell without a closing quote".into()));
            }
        }
        Ok(lines::text(&bytes).and_then(|_| row.end()))
    }
}

/// The place after a part of a row.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// At the start of a cell, or after spaces at its start.
    #[default]
    Start,
    /// In a cell without quotes.
    Plain,
    /// In a quoted cell.
    Quoted,
    /// After a quote in a quoted cell: the end of the cell, or the first half of a doubled quote.
    AfterQuote,
    /// After a quoted cell and a space.
    Closed,
    /// After a carriage return, which is part of the line break.
    End,
}

/// The cells of a row as far as they are read.
#[derive(Default)]
struct Cells {
    place: Place,
    ended: Vec<Vec<u8>>,
    current: Vec<u8>,
}

impl Cells {
    /// Reads a line of the row.
    fn add(&mut self, line: &[u8]) -> Result<(), &'static str> {
        for &byte in line {
            self.place = match (self.place, byte) {
                (Place::Quoted, b'"') => Place::AfterQuote,
                (Place::Quoted, _) | (Place::AfterQuote, b'"') => self.push(byte, Place::Quoted),
                (Place::Start, b'"') => {
                    self.current.clear();
                    Place::Quoted
                }
                (_, b'\r' | b'\n') => Place::End,
                (Place::End, _) => return Err("has a carriage return within; end lines with LF or CR LF"),
                (_, b',') => {
                    self.ended.push(std::mem::take(&mut self.current));
                    Place::Start
                }
                (Place::AfterQuote | Place::Closed, b' ' | b'\t') => Place::Closed,
                (Place::AfterQuote | Place::Closed, _) => return Err("has text after the closing quote of a cell"),
                (Place::Start, b' ' | b'\t') => self.push(byte, Place::Start),
                (Place::Start | Place::Plain, _) => self.push(byte, Place::Plain),
            };
        }
        Ok(())
    }

    fn push(&mut self, byte: u8, place: Place) -> Place {
        self.current.push(byte);
        place
    }

    /// The cells of the whole row, without spaces around them.
    fn end(mut self) -> Result<Vec<String>, String> {
        self.ended.push(self.current);
        self.ended.iter().map(|cell| lines::text(cell).map(|cell| cell.trim().to_owned())).collect()
    }
}
