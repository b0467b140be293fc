//! What is printed, and in which form: results on standard output, remarks on standard error.

use std::io::{self, Write as _};

use anstream::{AutoStream, ColorChoice};
use clap::ValueEnum;
use prost::{Message, Name};

use crate::errors::Error;
use crate::json;
use crate::table::Table;

/// The form of what is printed on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// For programs: the answer of the authority, as grpcurl prints it
    Json,
    /// A new token and nothing else; for commands that show one
    Token,
}

/// Standard output.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    pub(crate) format: Format,
    is_coloured: bool,
}

impl Console {
    /// Colours are for terminals, and not for those of people who want none (`NO_COLOR`).
    pub(crate) fn new(format: Format) -> Self {
        Self { format, is_coloured: AutoStream::choice(&io::stdout()) != ColorChoice::Never }
    }

    /// Shows an answer: as it is to programs, as a table to people.
    pub(crate) fn show<M: Message + Name>(self, answer: &M, table: impl FnOnce() -> Table) -> Result<(), Error> {
        match self.format {
            Format::Json => print(&json::text(answer)?),
            Format::Table | Format::Token => self.table(table()),
        }
    }

    /// Shows people a table.
    pub(crate) fn table(self, table: Table) -> Result<(), Error> {
        print(&table.render(self.is_coloured))
    }
}

/// Prints a line, or several, on standard output.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Error::Output)
}

/// Tells people something that is no result.
pub(crate) fn note(text: &str) {
    // Nothing can be done about a console that is gone.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Asks people for a line, which they type beside the question.
pub(crate) fn prompt(question: &str) -> io::Result<()> {
    let mut console = io::stderr();
    write!(console, "{question}")?;
    console.flush()
}
